//! URLs that are meant to be misread: which of them are refused, and which host the others have.

use super::*;

fn host_of(text: &str) -> Result<String, InvalidUrl> {
    text.parse::<WebhookUrl>().map(|url| url.host().to_string())
}

fn check<'a>(table: impl IntoIterator<Item = (&'a str, Result<&'a str, InvalidUrl>)>) {
    let wrong: Vec<String> = table
        .into_iter()
        .map(|(text, expected)| (text, host_of(text), expected.map(str::to_owned)))
        .filter(|(_, got, expected)| got != expected)
        .map(|(text, got, expected)| format!("{text:?}: {got:?}, not {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_number_in_any_spelling_is_an_address() {
    check([
        ("https://0177.0.0.1/", Ok("127.0.0.1")),
        ("https://0x7f.1/", Ok("127.0.0.1")),
        ("https://0300.0250.1/", Ok("192.168.0.1")),
        ("https://127.0.1/", Ok("127.0.0.1")),
        ("https://127.1/", Ok("127.0.0.1")),
        ("https://2130706433/", Ok("127.0.0.1")),
        ("https://0x7f000001./", Ok("127.0.0.1")),
        ("https://0x/", Ok("0.0.0.0")),
        ("https://①②⑦.⓪.⓪.①/", Ok("127.0.0.1")),
        ("https://１２７.0.0.1/", Ok("127.0.0.1")),
        ("https://127\u{ff61}0\u{ff61}0\u{ff61}1/", Ok("127.0.0.1")),
        ("https://127\u{3002}0\u{3002}0\u{3002}1/", Ok("127.0.0.1")),
        ("https://127\u{ff0e}0\u{ff0e}0\u{ff0e}1/", Ok("127.0.0.1")),
        ("https://127%2e0%2e0%2e1/", Ok("127.0.0.1")),
        ("https://%31%32%37.0.0.1/", Ok("127.0.0.1")),
        ("https://[::ffff:127.0.0.1]/", Ok("[::ffff:7f00:1]")),
    ]);
    for text in [
        "https://08.0.0.1/",
        "https://127.0.0.256/",
        "https://4294967296/",
        "https://1.2.3.4.5/",
        "https://receiver.1/",
        "https://receiver.0x1/",
    ] {
        let expected = InvalidUrl::Syntax(url::ParseError::InvalidIpv4Address);
        assert_eq!(host_of(text), Err(expected), "{text}");
    }
}

#[test]
fn there_is_one_host_and_it_is_the_one_that_is_called() {
    use InvalidUrl as E;
    let idna = Err(E::Syntax(url::ParseError::IdnaError));
    let port = Err(E::Syntax(url::ParseError::InvalidPort));
    check([
        // Without slashes, and with more than two.
        ("http:receiver.example", Err(E::Scheme)),
        ("https:receiver.example/hook", Err(E::Scheme)),
        ("https:/receiver.example/hook", Err(E::Scheme)),
        ("HTTPS://receiver.example/", Ok("receiver.example")),
        ("https:///receiver.example/", Ok("receiver.example")),
        // Userinfo that is empty, or has more of its own signs.
        ("https://@receiver.example/", Ok("receiver.example")),
        ("https://:@receiver.example/", Ok("receiver.example")),
        ("https://a:@receiver.example/", Ok("receiver.example")),
        ("https://a:b:c@receiver.example/", Ok("receiver.example")),
        ("https://a:b@c@receiver.example/", Ok("receiver.example")),
        ("https://:b@receiver.example/", Err(E::PasswordWithoutUser)),
        ("https://8.8.8.8?@169.254.169.254", Ok("8.8.8.8")),
        ("https://8.8.8.8/@169.254.169.254", Ok("8.8.8.8")),
        ("https://8.8.8.8#@169.254.169.254", Err(E::Fragment)),
        ("https://8.8.8.8\\@169.254.169.254", Err(E::Backslash)),
        ("https://8.8.8.8@169.254.169.254", Ok("169.254.169.254")),
        ("https://8.8.8.8%40169.254.169.254/", idna),
        // Bytes that end a name elsewhere.
        ("https://receiver%00.example/", idna),
        ("https://receiver.example%00/", idna),
        ("https://receiver%2f.example/", idna),
        ("https://receiver%3a80.example/", idna),
        ("https://receiver%252eexample/", idna),
        ("https://receiver%2eexample/", Ok("receiver.example")),
        // Ports.
        ("https://receiver.example:0/", Err(E::Port)),
        ("https://receiver.example:00000/", Err(E::Port)),
        ("https://receiver.example:65536/", port),
        ("https://receiver.example:-1/", port),
        ("https://receiver.example:+1/", port),
        ("https://receiver.example:65535/", Ok("receiver.example")),
        ("https://receiver.example:/", Ok("receiver.example")),
    ]);
    let url = |text: &str| text.parse::<WebhookUrl>().expect(text);
    assert_eq!(url("https://:@receiver.example/").basic_auth(), None);
    assert_eq!(
        url("https://a:b:c@receiver.example/").basic_auth(),
        Some(("a".to_owned(), "b:c".to_owned()))
    );
}

#[test]
fn a_name_that_can_never_resolve_is_refused() {
    let label = |length| "a".repeat(length);
    // As long as a name may be: three labels of 63, and one of 61.
    let longest = format!("{0}.{0}.{0}.{1}", label(63), label(61));
    assert_eq!(longest.len(), 253);
    let named = |name: &str| host_of(&format!("https://{name}/"));
    for name in [
        "receiver.example".to_owned(),
        "receiver.example.".to_owned(),
        format!("{}.example", label(63)),
        format!("{longest}."),
        longest.clone(),
    ] {
        assert_eq!(named(&name), Ok(name.clone()));
    }
    // What counts is the form that is asked for: `xn--` and, of so many letters, as many and two more.
    assert_eq!(
        named(&"ä".repeat(57)).map(|name| name.len()),
        Ok(63),
        "the longest label of such letters"
    );
    assert_eq!(named(&"ä".repeat(58)), Err(InvalidUrl::Host));
    for name in [
        "receiver.example..".to_owned(),
        "receiver.example%2e%2e".to_owned(),
        "receiver.example\u{3002}\u{3002}".to_owned(),
        "127.0.0.1..".to_owned(),
        "receiver..example".to_owned(),
        ".receiver.example".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{}.example", label(64)),
        format!("receiver.{}", label(64)),
        format!("{0}.{0}.{0}.{1}", label(63), label(62)),
        format!("{0}.{0}.{0}.{0}.{1}", label(63), label(9)),
        vec![label(1); 133].join("."),
    ] {
        assert_eq!(named(&name), Err(InvalidUrl::Host), "{name}");
    }
}

#[test]
fn messages_go_by_http_and_https_only() {
    for text in [
        "about:blank",
        "blob:https://receiver.example/1",
        "chrome://settings/",
        "data:text/html,receiver",
        "dict://receiver.example:2628/",
        "file:///etc/passwd",
        "file://receiver.example/",
        "ftp://receiver.example/",
        "gopher://receiver.example/",
        "imap://receiver.example/",
        "jar:https://receiver.example!/",
        "javascript:alert(1)",
        "javascript://receiver.example/",
        "ldap://receiver.example/",
        "mailto:a@receiver.example",
        "netdoc:///etc/passwd",
        "sftp://receiver.example/",
        "smtp://receiver.example/",
        "ssh://receiver.example/",
        "tel:+41000000000",
        "telnet://receiver.example/",
        "tftp://receiver.example/",
        "unix:/run/receiver.sock",
        "urn:isbn:0000000000",
        "view-source:https://receiver.example/",
        "ws://receiver.example/",
        "wss://receiver.example/",
        "httpss://receiver.example/",
        "http+unix://receiver.example/",
    ] {
        assert_eq!(host_of(text), Err(InvalidUrl::Scheme), "{text}");
    }
}
