//! The address that a webhook's messages go to.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::{Host, Url};

/// The longest URL, in characters (`SonarQube`).
pub const MAX_CHARACTERS: usize = 512;
/// The longest name of a host, written with dots. RFC 1035, section 2.3.4, allows 255 octets, and two of them are the length
/// of the first label and the empty label at the end.
const MAX_NAME_BYTES: usize = 253;
/// The longest label of a name (RFC 1035, section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;
/// Replaces what is not shown.
pub const MASK: &str = "***";

/// The URL of a webhook, perhaps with a user and a password, which are sent as Basic authentication.
///
/// It is stored and shown as it was given, also where a request to it is spelled otherwise (`https://host` and
/// `https://host/`): a client that compares what it wanted with what there is finds no difference. Only a text that is no URI
/// (RFC 3986) is shown as the URL standard writes it.
///
/// `Debug` shows [`WebhookUrl::masked`]. There is no `Display`, so nothing prints the password by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    given: String,
    url: Url,
}

/// Why a text is not the URL of a webhook. The messages are for whoever wrote the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum InvalidUrl {
    #[error("is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    #[error("contains a space or a control character; write it as %20, or remove it")]
    Space,
    /// Browsers and libraries disagree whether `\` is a `/`, and so which part is the host.
    #[error("contains a backslash; write '/', or '%5C' where a backslash is meant")]
    Backslash,
    #[error("is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    #[error("begins with neither https:// nor http://")]
    Scheme,
    #[error("names no host that can be called")]
    Host,
    #[error("names port 0, which nothing can listen on")]
    Port,
    #[error("contains a '#', and what follows one is never sent; remove it, or write it as %23")]
    Fragment,
    #[error("has a password without a user; write user:password@ or neither")]
    PasswordWithoutUser,
    /// RFC 7617, section 2, allows neither a colon in the user nor control characters.
    #[error(
        "has a user or a password that cannot be sent: after each '%' stand two hexadecimal digits, together they are \
         UTF-8 without control characters, and the user has no colon"
    )]
    UserInfo,
}

impl WebhookUrl {
    /// The host as it will be called. A number in any spelling is an address here, and never a name.
    pub fn host(&self) -> Host<&str> {
        self.url.host().expect("a URL without a host is not made")
    }

    /// Whether others can read on the way what is sent.
    pub fn is_plain_http(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The user and the password. A missing password is empty.
    pub fn basic_auth(&self) -> Option<(String, String)> {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        (!self.url.username().is_empty()).then(|| {
            let password = self.url.password().unwrap_or_default();
            (decoded(self.url.username()), decoded(password))
        })
    }

    /// The URL of the request, without user and password.
    pub fn without_userinfo(&self) -> Url {
        let mut url = self.url.clone();
        set(url.set_username(""));
        set(url.set_password(None));
        url
    }

    /// The URL to show. It keeps the user and masks the password. A user without a password may well be a token, so it is
    /// masked too.
    pub fn masked(&self) -> String {
        self.with_userinfo(|user, password| match password {
            None | Some("") => MASK.to_owned(),
            Some(_) => format!("{user}:{MASK}"),
        })
    }

    /// The URL as `SonarQube` shows it: each character of user and password, as the URL has them, becomes a star (`HttpUrlHelper` in its
    /// source).
    pub fn starred(&self) -> String {
        let stars = |text: &str| "*".repeat(text.chars().count());
        self.with_userinfo(|user, password| match password {
            None => stars(user),
            Some(password) => format!("{}:{}", stars(user), stars(password)),
        })
    }

    /// Scheme, host and port, which decide who gets what is sent.
    pub fn origin(&self) -> url::Origin {
        self.url.origin()
    }

    /// Whether requests to both are the same, however they are spelled.
    pub fn is_same_address(&self, other: &Self) -> bool {
        self.url == other.url
    }

    /// The whole URL as it was given, for the store.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    fn of(text: String, url: Url) -> Self {
        let given = if is_uri(&text) { text } else { url.to_string() };
        Self { given, url }
    }

    /// The URL as it was given, with something else in place of user and password, if it has them.
    fn with_userinfo(&self, shown: impl Fn(&str, Option<&str>) -> String) -> String {
        if self.url.username().is_empty() {
            return self.given.clone();
        }
        // A URI says this with one `@` before the path.
        let (scheme, behind) = self.given.split_once("://").unwrap_or_default();
        let (userinfo, behind) = behind.split_once('@').unwrap_or_default();
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        format!("{scheme}://{}@{behind}", shown(user, password))
    }
}

fn set(result: Result<(), ()>) {
    result.expect("a URL with a host may have userinfo");
}

impl FromStr for WebhookUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        // This checks the text itself, because parsing removes line breaks and changes backslashes.
        if text.chars().count() > MAX_CHARACTERS {
            return Err(InvalidUrl::TooLong);
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(InvalidUrl::Space);
        }
        if text.contains('\\') {
            return Err(InvalidUrl::Backslash);
        }
        let url = Url::parse(text).map_err(|error| match error {
            // Most often the scheme is missing.
            url::ParseError::RelativeUrlWithoutBase => InvalidUrl::Scheme,
            url::ParseError::EmptyHost => InvalidUrl::Host,
            error => InvalidUrl::Syntax(error),
        })?;
        // The URL standard also finds a host in `https:host`, but RFC 3986 does not.
        let has_authority = text[url.scheme().len()..].starts_with("://");
        if !matches!(url.scheme(), "http" | "https") || !has_authority {
            return Err(InvalidUrl::Scheme);
        }
        if url.host().is_none() {
            return Err(InvalidUrl::Host);
        }
        if url.port() == Some(0) {
            return Err(InvalidUrl::Port);
        }
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        check_userinfo(&url)?;
        // The URL standard accepts some hosts that RFC 3986 does not, such as `a"b`, and a request to them is never sent.
        // Others can never resolve.
        let is_sendable = match url.host() {
            Some(Host::Domain(name)) => name.bytes().all(is_of_a_name) && has_lengths_of_dns(name),
            _ => true,
        };
        if !is_sendable {
            return Err(InvalidUrl::Host);
        }
        let url = Self::of(text.to_owned(), url);
        // Escapes make it longer, and it must be valid when it is sent back.
        if url.given.len() > MAX_CHARACTERS {
            return Err(InvalidUrl::TooLong);
        }
        Ok(url)
    }
}

/// Whether a text that the URL standard takes is a URI too (RFC 3986): it has only the characters that one may have, and host
/// and userinfo stand where both find them. Brackets would have to stand around an address; a text that has some is none.
fn is_uri(text: &str) -> bool {
    let is_of_a_uri =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte);
    let (scheme, behind) = text.split_once("://").unwrap_or_default();
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
        && !authority.is_empty()
        && authority.matches('@').count() <= 1
        && text.bytes().all(is_of_a_uri)
}

/// Whether a registered name may have this byte (RFC 3986, section 3.2.2; a `%` never comes out of parsing a URL).
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Whether the domain name system could have such a name. Neither the name with its dots nor a label may be too long, and no
/// label may be empty. Only the dot at the end of an absolute name may have no label after it.
fn has_lengths_of_dns(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut labels = name.split('.');
    name.len() <= MAX_NAME_BYTES && labels.all(|label| (1..=MAX_LABEL_BYTES).contains(&label.len()))
}

fn check_userinfo(url: &Url) -> Result<(), InvalidUrl> {
    if url.username().is_empty() && url.password().is_some() {
        return Err(InvalidUrl::PasswordWithoutUser);
    }
    let user = decoded(url.username()).ok_or(InvalidUrl::UserInfo)?;
    decoded(url.password().unwrap_or_default()).ok_or(InvalidUrl::UserInfo)?;
    if user.contains(':') {
        return Err(InvalidUrl::UserInfo);
    }
    Ok(())
}

/// The decoded text; `None` when the percent encoding is malformed or the text has control characters.
fn decoded(text: &str) -> Option<String> {
    let whole = text.split('%').skip(1).all(|escape| {
        let digits = escape.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    (whole && !decoded.contains(char::is_control)).then(|| decoded.into_owned())
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({})", self.masked())
    }
}

impl Serialize for WebhookUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Takes a stored URL whatever it is. It was checked by the rules of its time. Under stricter rules a stored webhook could not be
/// read, and so neither called nor repaired.
impl<'de> Deserialize<'de> for WebhookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        let url = Url::parse(&given)
            .map_err(|error| de::Error::custom(format!("the URL of a webhook: {error}")))?;
        if url.host().is_none() || !matches!(url.scheme(), "http" | "https") {
            return Err(de::Error::custom("the URL of a webhook is not an http URL"));
        }
        Ok(Self::of(given, url))
    }
}

#[cfg(test)]
mod tables;

#[cfg(test)]
mod tests {
    use super::*;
    use http::Uri;
    use proptest::prelude::*;

    fn parse(text: &str) -> WebhookUrl {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_not_the_url_of_a_webhook_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", InvalidUrl::Scheme),
            ("receiver.example/hook", InvalidUrl::Scheme),
            ("ftp://receiver.example/", InvalidUrl::Scheme),
            ("file:///etc/passwd", InvalidUrl::Scheme),
            ("https://", InvalidUrl::Host),
            ("https://a\"b/", InvalidUrl::Host),
            ("https://a{b}/", InvalidUrl::Host),
            ("https://receiver.example:0/", InvalidUrl::Port),
            ("https://receiver.example/#part", InvalidUrl::Fragment),
            ("https://receiver.example/#", InvalidUrl::Fragment),
            ("https://receiver.example/a b", InvalidUrl::Space),
            (" https://receiver.example/", InvalidUrl::Space),
            ("https://receiver.example/\n", InvalidUrl::Space),
            ("https://receiver.example/\u{a0}", InvalidUrl::Space),
            ("https://receiver.example/\u{0}", InvalidUrl::Space),
            ("https:\\\\receiver.example/", InvalidUrl::Backslash),
            (
                "https://:pass@receiver.example/",
                InvalidUrl::PasswordWithoutUser,
            ),
            ("https://us%zzer@receiver.example/", InvalidUrl::UserInfo),
            ("https://user:%@receiver.example/", InvalidUrl::UserInfo),
            ("https://user:%f@receiver.example/", InvalidUrl::UserInfo),
            ("https://user:%ff@receiver.example/", InvalidUrl::UserInfo),
            (
                "https://user:%0d%0a@receiver.example/",
                InvalidUrl::UserInfo,
            ),
            (
                "https://us%3Aer:pass@receiver.example/",
                InvalidUrl::UserInfo,
            ),
            (
                "https://receiver.example:99999/",
                InvalidUrl::Syntax(url::ParseError::InvalidPort),
            ),
        ] {
            assert_eq!(text.parse::<WebhookUrl>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn the_limit_of_the_length_is_sonarqubes_and_holds_for_what_is_escaped_too() {
        let of_length =
            |length: usize| format!("https://receiver.example/{:a<1$}", "", length - 25);
        assert_eq!(parse(&of_length(512)).as_str().len(), 512);
        assert_eq!(
            of_length(513).parse::<WebhookUrl>(),
            Err(InvalidUrl::TooLong)
        );
        let escaped = |letters| format!("https://receiver.example/{}", "ä".repeat(letters));
        assert_eq!(escaped(82).parse::<WebhookUrl>(), Err(InvalidUrl::TooLong));
        assert_eq!(parse(&escaped(81)).as_str().len(), 25 + 6 * 81);
    }

    #[test]
    fn a_url_is_shown_as_it_was_given_and_called_as_the_standard_has_it() {
        for (given, called) in [
            ("http://receiver.example", "http://receiver.example/"),
            ("http://receiver.example:80/x", "http://receiver.example/x"),
            ("HTTP://Receiver.example/X", "http://receiver.example/X"),
            (
                "http://receiver.example/a/../b",
                "http://receiver.example/b",
            ),
            (
                "http://receiver.example?x=1",
                "http://receiver.example/?x=1",
            ),
        ] {
            let url = parse(given);
            assert_eq!(
                (url.as_str(), &*url.masked(), &*url.starred()),
                (given, given, given)
            );
            assert_eq!(url.without_userinfo().as_str(), called);
            assert_eq!(serde_json::to_string(&url).unwrap(), format!("\"{given}\""));
        }
        // What no URI has.
        for (given, called) in [
            (
                "http://receiver.example/é|?x=1",
                "http://receiver.example/%C3%A9|?x=1",
            ),
            ("https:///receiver.example/@", "https://receiver.example/@"),
            ("http://[::ffff:1]:9001", "http://[::ffff:1]:9001/"),
        ] {
            assert_eq!(
                (parse(given).as_str(), &*parse(given).masked()),
                (called, called)
            );
        }
        for (given, masked, starred) in [
            (
                "HTTPS://user:pass@Receiver.example",
                "HTTPS://user:***@Receiver.example",
                "HTTPS://****:****@Receiver.example",
            ),
            (
                "https:////user:pass@receiver.example",
                "https://user:***@receiver.example/",
                "https://****:****@receiver.example/",
            ),
            (
                "https://user:p@:ss@receiver.example?a@b",
                "https://user:***@receiver.example/?a@b",
                "https://****:*********@receiver.example/?a@b",
            ),
            (
                "https://user:pass@receiver.example?a@b",
                "https://user:***@receiver.example?a@b",
                "https://****:****@receiver.example?a@b",
            ),
            (
                "https://üser:päss@receiver.example/",
                "https://%C3%BCser:***@receiver.example/",
                "https://*********:*********@receiver.example/",
            ),
        ] {
            let url = parse(given);
            assert_eq!(
                (&*url.masked(), &*url.starred()),
                (masked, starred),
                "{given}"
            );
        }
    }

    #[test]
    fn the_password_is_decoded_for_the_receiver_and_never_shown() {
        let url = parse("https://us%C3%A4r:p%40ss:word@receiver.example/hook?a=1");
        assert_eq!(
            url.basic_auth(),
            Some(("usär".to_owned(), "p@ss:word".to_owned()))
        );
        assert_eq!(
            url.without_userinfo().as_str(),
            "https://receiver.example/hook?a=1"
        );
        assert_eq!(
            url.masked(),
            "https://us%C3%A4r:***@receiver.example/hook?a=1"
        );
        assert_eq!(format!("{url:?}"), format!("WebhookUrl({})", url.masked()));
        assert_eq!(
            url.starred(),
            "https://*********:***********@receiver.example/hook?a=1"
        );
    }

    #[test]
    fn a_user_without_a_password_is_taken_for_a_token() {
        for (text, starred) in [
            (
                "https://token@receiver.example/",
                "https://*****@receiver.example/",
            ),
            (
                "https://token:@receiver.example/",
                "https://*****:@receiver.example/",
            ),
        ] {
            let url = parse(text);
            assert_eq!(url.basic_auth(), Some(("token".to_owned(), String::new())));
            assert_eq!(url.masked(), "https://***@receiver.example/");
            assert_eq!(url.starred(), starred);
        }
        let plain = parse("http://receiver.example:8080/a%20b");
        assert_eq!(plain.basic_auth(), None);
        assert_eq!(plain.masked(), plain.as_str());
        assert_eq!(plain.starred(), plain.as_str());
        assert!(plain.is_plain_http() && !parse("HTTPS://receiver.example").is_plain_http());
    }

    #[test]
    fn a_url_is_stored_whole_and_read_also_when_it_would_be_refused_today() {
        let url = parse("https://user:secret@receiver.example/");
        let json = serde_json::to_string(&url).unwrap();
        assert_eq!(json, "\"https://user:secret@receiver.example/\"");
        assert_eq!(serde_json::from_str::<WebhookUrl>(&json).unwrap(), url);
        for refused in [
            "https://receiver.example/#part",
            "https://us%3Aer:%ff@receiver.example/",
            "https://receiver.example:0/",
        ] {
            assert!(refused.parse::<WebhookUrl>().is_err());
            let stored: WebhookUrl = serde_json::from_str(&format!("\"{refused}\"")).unwrap();
            assert_eq!(stored.as_str(), refused);
            let _ = (stored.host(), stored.basic_auth(), stored.masked());
        }
        assert!(serde_json::from_str::<WebhookUrl>("\"gopher://receiver.example/\"").is_err());
        // Whatever somebody has written into the table, no password is shown.
        for stored in [
            "https://user:p@ssword@receiver.example/",
            "https:user:p%40ssword@receiver.example/x://y@z",
            "https:////user:p%40ssword@receiver.example/",
            "https://user:p%40ssword@receiver.example\\\\path@x",
        ] {
            let stored: WebhookUrl = serde_json::from_str(&format!("\"{stored}\"")).unwrap();
            assert_eq!(stored.basic_auth().unwrap().1, "p@ssword");
            for shown in [stored.masked(), stored.starred(), format!("{stored:?}")] {
                assert!(!shown.contains("ssword"), "{shown}");
            }
        }
    }

    #[test]
    fn another_spelling_is_another_url_of_the_same_address() {
        let (one, other) = (
            parse("https://receiver.example"),
            parse("HTTPS://receiver.example:443/"),
        );
        assert!(one != other && one.is_same_address(&other));
        assert!(!one.is_same_address(&parse("https://user@receiver.example")));
        assert!(!one.is_same_address(&parse("https://receiver.example/hook")));
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_accepted_again_and_can_be_sent(
            text in "https?://{1,3}([!-~ä]{0,8}(:[!-~ä]{0,8})?@)?[!-~äß。１Ⓛ]{1,20}(:[0-9]{1,5})?[/?]?[!-~ä]{0,20}",
        ) {
            if let Ok(url) = text.parse::<WebhookUrl>() {
                prop_assert_eq!(&parse(url.as_str()), &url);
                prop_assert!(url.as_str().is_ascii());
                let sent = url.without_userinfo();
                prop_assert_eq!(Some(&*url.host().to_string()), sent.host_str());
                // A colon ends the user where they are sent (RFC 7617).
                let user = url.basic_auth().map(|(user, _)| user);
                prop_assert!(user.is_none_or(|user| !user.is_empty() && !user.contains(':')));
                prop_assert!(sent.username().is_empty() && sent.password().is_none());
                let uri: Uri = sent.as_str().parse().unwrap();
                prop_assert_eq!(uri.host(), sent.host_str());
                // What is shown is the same URL, of nobody.
                for shown in [url.masked(), url.starred()] {
                    let shown = parse(&shown);
                    prop_assert_eq!(shown.without_userinfo(), sent.clone());
                    let (user, password) = shown.basic_auth().unwrap_or_default();
                    let is_hidden = |text: &str| text.bytes().all(|byte| byte == b'*');
                    prop_assert!(is_hidden(&password) && (is_hidden(&user) || !password.is_empty()));
                }
            }
        }
    }
}
