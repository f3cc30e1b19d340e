use super::*;
use crate::sender::request;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

fn secrets(url: &str, headers: &[(&'static str, &str)], signing: &[&str]) -> Secrets {
    let url: WebhookUrl = url.parse().unwrap();
    let headers = headers.iter().map(|(name, value)| {
        let mut value = HeaderValue::from_str(value).unwrap();
        value.set_sensitive(!name.ends_with("public"));
        (name.parse().unwrap(), value)
    });
    let request = request(&url, HeaderMap::from_iter(headers), Bytes::new()).unwrap();
    let signing: Vec<WebhookSecret> = signing
        .iter()
        .map(|secret| WebhookSecret::parse(secret).unwrap())
        .collect();
    Secrets::of(&request, &url, &signing)
}

fn masked(secret: &str, answer: &str) -> String {
    Secrets(vec![secret.to_owned()]).mask(answer)
}

#[test]
fn a_secret_that_an_answer_repeats_is_masked() {
    let secrets = secrets(
        "https://user:pass%20word@receiver.example/",
        &[
            ("x-token", "Bearer abcdef.ghijkl"),
            ("x-public", "everybody"),
        ],
        &[
            "a secret/of=sixteen",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
        ],
    );
    for (answer, shown) in [
        ("x-token: Bearer abcdef.ghijkl;", "x-token: ***;"),
        ("Basic dXNlcjpwYXNzIHdvcmQ=", "***"),
        ("Basic dXNlcjpwYXNzIHdvcmQ%3d", "***"),
        ("no token abcdef.ghijkl here", "no token *** here"),
        ("the Bearer has expired", "the Bearer has expired"),
        ("pass word, pass word", "***, ***"),
        ("pass%20word, pass+word", "***, ***"),
        ("user, everybody may pass", "user, everybody may pass"),
        ("signed by a secret/of=sixteen", "signed by ***"),
        ("signed by a secret\\/of=sixteen", "signed by ***"),
        ("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "***"),
        ("key MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "key ***"),
        ("cut at Bearer abc", "cut at ***"),
        ("cut at a secret\\/o", "cut at ***"),
    ] {
        assert_eq!(secrets.mask(answer), shown, "{answer}");
    }
    assert_eq!(format!("{secrets:?}"), "Secrets([redacted])");
}

#[test]
fn a_user_without_a_password_is_a_secret_and_one_with_a_password_is_not() {
    let answer = "unknown: tok/en-of-mine (dG9rL2VuLW9mLW1pbmU6)";
    for url in [
        "https://tok%2Fen-of-mine@receiver.example/",
        "https://tok%2Fen-of-mine:@receiver.example/",
    ] {
        assert_eq!(secrets(url, &[], &[]).mask(answer), "unknown: *** (***)");
    }
    let with_password = secrets(
        "https://tok%2Fen-of-mine:password@receiver.example/",
        &[],
        &[],
    );
    assert_eq!(with_password.mask(answer), answer);
}

#[test]
fn every_usual_escape_is_known() {
    let secret = "k/=\"&'<é😀> z+%";
    for answer in [
        "k\\/=\\\"&'<é😀> z+%",
        "k\\/\\u003d\\u0022\\u0026\\u0027\\u003C\\u00E9\\ud83d\\uDE00\\u003E z\\u002b%",
        "k/\\x3d\\\"\\x26\\'<é😀> z+%",
        "k/=&quot;&amp;&#39;&lt;é😀&gt; z+%",
        "k&#x2F;&#x3d;&#34;&#038;&apos;&#60;&#233;&#x1F600;&gt;&#32;z&#43;&#37;",
        "k%2F%3D%22%26%27%3C%C3%A9%F0%9F%98%80%3E%20z%2B%25",
        "k%2f%3d%22%26'%3c%c3%a9%f0%9f%98%80%3e+z%2b%25",
        // As some write a URL: what may stand in it is not escaped.
        "k/=%22&'%3C%C3%A9%F0%9F%98%80%3E%20z+%25",
        // One document in another.
        "k\\\\/=\\\\\\\"&'<é😀> z+%",
        "k/=\\u0026quot;\\u0026amp;\\u0026#39;\\u0026lt;é😀\\u0026gt; z+%",
        "k\\/=\\&quot;&amp;&#39;&lt;é😀&gt; z+%",
        "k%252F%253D%2522%2526%2527%253C%25C3%25A9%25F0%259F%2598%2580%253E%2520z%252B%2525",
    ] {
        assert_eq!(masked(secret, answer), "***", "{answer}");
        let within = format!("Ω{answer}Ω{answer}Ω");
        assert_eq!(masked(secret, &within), "Ω***Ω***Ω", "{answer}");
    }
}

#[test]
fn what_only_looks_like_an_escape_is_left_as_it_is() {
    let secret = "a%41b\\u0041&amp;+";
    assert_eq!(masked(secret, "(a%41b\\u0041&amp;+)"), "(***)");
    assert_eq!(masked(secret, "(a%41b\\\\u0041&amp;+)"), "(***)");
    assert_eq!(masked(secret, "(a%2541b%5Cu0041%26amp%3B%2B)"), "(***)");
    for answer in [
        "100 %",
        "100 %z",
        "%",
        "%4",
        "&",
        "&x",
        "&;",
        "&#;",
        "&#x;",
        "&#xd800;",
        "& co",
        "\\",
        "\\u",
        "\\u12",
        "\\ud83d",
        "\\ud83d\\",
        "\\ud83d\\u",
        "\\ud83d\\u0041",
        "\\ude00",
        "\\x",
        "\\n",
        "+",
        "\u{fffd}",
        "&#99999999999999999999;",
        "%ff%fe",
    ] {
        for answer in [
            answer.to_owned(),
            format!("{answer}."),
            format!(".{answer}é"),
        ] {
            assert_eq!(masked("secret", &answer), answer);
        }
    }
}

#[test]
fn secrets_that_overlap_are_hidden_whole() {
    let both = Secrets(vec!["abcdef".to_owned(), "cdefghij".to_owned()]);
    assert_eq!(both.mask("[abcdefghij]"), "[***]");
    let one_in_the_other = Secrets(vec!["cdefgh".to_owned(), "abcdefghij".to_owned()]);
    assert_eq!(one_in_the_other.mask("[abcdefghij]"), "[***]");
    // Also where one of them is escaped: the shorter one leaves no rest of the longer.
    let escaped = Secrets(vec!["cdefgh".to_owned(), "ab/cdefgh/ij".to_owned()]);
    assert_eq!(escaped.mask("[ab\\/cdefgh\\/ij]"), "[***]");
}

#[test]
fn what_is_cut_within_a_character_is_masked_too() {
    let bytes = "it is geheim€".as_bytes();
    for length in bytes.len() - 3..=bytes.len() {
        let answer = String::from_utf8_lossy(&bytes[..length]);
        assert_eq!(masked("geheim€€", &answer), "it is ***", "{length}");
    }
}

/// How receivers write a character of what they repeat.
type Encoding = (&'static str, fn(char) -> String);

const ENCODINGS: [Encoding; 11] = [
    ("as it is", |char| char.to_string()),
    ("JSON", |char| {
        let json = serde_json::to_string(&char).unwrap();
        json[1..json.len() - 1].to_owned()
    }),
    ("JSON of PHP", |char| match char {
        '/' => "\\/".to_owned(),
        '"' | '\\' => format!("\\{char}"),
        char if char.is_ascii() => char.to_string(),
        char => utf16(char),
    }),
    ("JSON in a page", |char| match char {
        char if char.is_ascii_alphanumeric() => char.to_string(),
        char => utf16(char),
    }),
    ("HTML by names", |char| match char {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        char => char.to_string(),
    }),
    ("HTML by decimal numbers", |char| match char {
        char if char.is_ascii_alphanumeric() => char.to_string(),
        char => format!("&#{:03};", char as u32),
    }),
    ("HTML by hexadecimal numbers", |char| match char {
        char if char.is_ascii_alphanumeric() => char.to_string(),
        char => format!("&#x{:x};", char as u32),
    }),
    ("URL", |char| by_bytes(char, |byte| format!("%{byte:02X}"))),
    ("URL in lower case", |char| {
        by_bytes(char, |byte| format!("%{byte:02x}"))
    }),
    ("form", |char| {
        by_bytes(char, |byte| match byte {
            b' ' => "+".to_owned(),
            byte => format!("%{byte:02X}"),
        })
    }),
    ("backslashes", |char| match char {
        '\'' | '"' | '\\' => format!("\\{char}"),
        char => char.to_string(),
    }),
];

fn utf16(char: char) -> String {
    let units = char.encode_utf16(&mut [0; 2]).to_vec();
    units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn by_bytes(char: char, escape: fn(u8) -> String) -> String {
    if char.is_ascii_alphanumeric() {
        return char.to_string();
    }
    char.to_string().bytes().map(escape).collect()
}

proptest! {
    // Each of them tries every pair of encodings.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One encoding within another, and a place to cut the answer at.
    #[test]
    fn no_way_to_write_a_secret_lets_it_through(secret in "[ -~äß€😀]{6,20}", cut: prop::sample::Index) {
        for (inner, encode_inner) in ENCODINGS {
            for (outer, encode_outer) in ENCODINGS {
                let written: Vec<String> = secret
                    .chars()
                    .map(|char| encode_inner(char).chars().map(encode_outer).collect())
                    .collect();
                let whole = written.concat();
                let answer = format!("\n{whole}\n{whole}\n");
                prop_assert_eq!(masked(&secret, &answer), "\n***\n***\n", "{} in {}", inner, outer);
                let six = 1 + written[..6].concat().len();
                let cut = answer.ceil_char_boundary(six + cut.index(whole.len() + 2 - six));
                prop_assert_eq!(masked(&secret, &answer[..cut]), "\n***", "{} in {}: {}", inner, outer, cut);
            }
        }
    }
}

proptest! {
    #[test]
    fn an_answer_without_secrets_is_left_as_it_is(answer in "([ -~ä€😀]|\\\\u[0-9a-f]{4}|&#x?[0-9]{1,6};|%[0-9a-f]{2}){0,60}") {
        let secrets = Secrets(vec!["\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}".to_owned()]);
        prop_assert_eq!(secrets.mask(&answer), answer);
    }
}
