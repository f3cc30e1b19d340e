//! Masks in an answer the secrets of the request. Many receivers show in an error page what they received, and more people
//! may read that page than may know the secret.
//!
//! A secret is found in the form in which it was sent. It is also found as a receiver writes it into JSON, HTML, a URL or a
//! form, even if one of these is within another. The text is read in several ways, each with other escapes decoded. The
//! alternative, a search for each spelling of a secret, has too many spellings: an escape may be written in several ways, and
//! every program has its own view of what needs one.

use std::fmt;
use std::ops::Range;

use domain::webhook::secret::WebhookSecret;
use domain::webhook::url::{MASK, WebhookUrl};
use memchr::memmem;
use reqwest::Request;

/// In bytes. A shorter text occurs in answers that have nothing to do with it.
const SHORTEST: usize = 6;
/// How many nested escapes are decoded. A document within another is common, but not more than that.
const LAYERS: usize = 2;

/// The secrets of a request. `Debug` does not show them.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// The values of headers that are marked as secret, the secrets in the URL, and the secrets that sign the message.
    pub(crate) fn of<'a>(
        request: &Request,
        url: &WebhookUrl,
        signing: impl IntoIterator<Item = &'a WebhookSecret>,
    ) -> Self {
        let headers = request.headers().values();
        let headers = headers.filter(|value| value.is_sensitive());
        let headers = headers.filter_map(|value| value.to_str().ok());
        // Whole, and without its first word: a receiver may repeat a token without its scheme, and the scheme is not a
        // secret.
        let without_scheme = |value| str::split_once(value, ' ').map(|(_, rest)| rest);
        let headers = headers.flat_map(|value| std::iter::once(value).chain(without_scheme(value)));
        // A user without a password may be a token.
        let of_url = url.basic_auth().map(
            |(user, password)| {
                if password.is_empty() { user } else { password }
            },
        );
        let signing = signing
            .into_iter()
            .flat_map(|secret| std::iter::once(secret.reveal()).chain(secret.encoded_key()));
        let all = headers.chain(signing).map(str::to_owned).chain(of_url);
        Self(all.filter(|secret| secret.len() >= SHORTEST).collect())
    }

    /// The text with `***` in place of each secret, and in place of the beginning of a secret that the end of the text cuts.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mut hidden = Vec::new();
        Reading::of(text).search(&self.0, LAYERS, &mut hidden);
        without(text, hidden)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets([redacted])")
    }
}

/// The text with [`MASK`] in place of these ranges. Ranges that overlap are hidden as one.
fn without(text: &str, mut hidden: Vec<Range<usize>>) -> String {
    hidden.sort_by_key(|range| range.start);
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for range in hidden {
        if range.start >= end {
            masked.push_str(&text[end..range.start]);
            masked.push_str(MASK);
        }
        end = end.max(range.end);
    }
    masked.push_str(&text[end..]);
    masked
}

/// A text with some escapes decoded.
struct Reading {
    /// It is not always UTF-8: a percent escape stands for one byte.
    bytes: Vec<u8>,
    /// Where each byte comes from in the original text, and last where the source of the last byte ends.
    origins: Vec<usize>,
    /// Where the text ends. An escape that is cut there is not in `bytes`.
    end: usize,
}

impl Reading {
    /// The text without decoding.
    fn of(text: &str) -> Self {
        // It was cut within a character.
        let whole = text.strip_suffix(char::REPLACEMENT_CHARACTER);
        let bytes = whole.unwrap_or(text).as_bytes();
        Self {
            bytes: bytes.to_vec(),
            origins: (0..=bytes.len()).collect(),
            end: text.len(),
        }
    }

    /// Finds secrets in this reading, and in readings with up to `layers` more escapes decoded.
    fn search(&self, secrets: &[String], layers: usize, hidden: &mut Vec<Range<usize>>) {
        for secret in secrets {
            self.find(secret.as_bytes(), hidden);
        }
        if layers > 0 {
            for (mark, escape) in ESCAPES {
                if self.bytes.contains(&mark) {
                    self.unescaped(escape).search(secrets, layers - 1, hidden);
                }
            }
        }
    }

    fn find(&self, secret: &[u8], hidden: &mut Vec<Range<usize>>) {
        let whole = memmem::find_iter(&self.bytes, secret);
        hidden.extend(whole.map(|at| self.origins[at]..self.origins[at + secret.len()]));
        let beginning = (SHORTEST..secret.len())
            .rev()
            .find(|&length| self.bytes.ends_with(&secret[..length]));
        if let Some(length) = beginning {
            hidden.push(self.origins[self.bytes.len() - length]..self.end);
        }
    }

    fn unescaped(&self, escape: Escape) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut origins = Vec::with_capacity(self.origins.len());
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            let length = match escape(&self.bytes[at..], &mut bytes) {
                Ok(length) => length,
                Err(Not::AnEscape) => {
                    bytes.push(byte);
                    1
                }
                Err(Not::AllOfIt) => break,
            };
            origins.resize(bytes.len(), self.origins[at]);
            at += length;
        }
        origins.push(self.origins[at]);
        let end = self.end;
        Self {
            bytes,
            origins,
            end,
        }
    }
}

/// Decodes the escape at the beginning of some bytes: appends what it stands for, and gives its length.
type Escape = fn(&[u8], &mut Vec<u8>) -> Result<usize, Not>;

/// Each with a byte that all its escapes begin with.
const ESCAPES: [(u8, Escape); 4] = [
    (b'\\', backslash),
    (b'&', entity),
    (b'%', percent),
    (b'+', form),
];

/// What the bytes are, if not an escape.
#[derive(Debug)]
enum Not {
    AnEscape,
    /// They may begin an escape, but end before it does.
    AllOfIt,
}

/// Escapes of JSON (RFC 8259, section 7), including PHP's `\/`, and of JavaScript, with `\'` and `\x2f`. Escapes for control
/// characters, such as `\n`, are left: no secret has control characters.
fn backslash(bytes: &[u8], decoded: &mut Vec<u8>) -> Result<usize, Not> {
    let escaped = after(b"\\", bytes)?;
    match escaped {
        [] => Err(Not::AllOfIt),
        [b'u', digits @ ..] => {
            let first = hexadecimal(digits, 4)?;
            if !(0xd800..0xdc00).contains(&first) {
                push(char::from_u32(first), decoded)?;
                return Ok(6);
            }
            // A character that needs more than 16 bits is written as two escapes (RFC 8259, section 7).
            let second = hexadecimal(after(b"\\u", &digits[4..])?, 4)?;
            let units = [first, second].map(|unit| unit as u16);
            let char = char::decode_utf16(units).next();
            push(char.and_then(Result::ok), decoded)?;
            Ok(12)
        }
        [b'x', digits @ ..] => {
            push(char::from_u32(hexadecimal(digits, 2)?), decoded)?;
            Ok(4)
        }
        [sign, ..] if sign.is_ascii_punctuation() => {
            decoded.push(*sign);
            Ok(2)
        }
        _ => Err(Not::AnEscape),
    }
}

/// Escapes of HTML and XML: by number, and by the names that both have.
fn entity(bytes: &[u8], decoded: &mut Vec<u8>) -> Result<usize, Not> {
    /// The longest text between `&` and `;`, in bytes, with room for some zeros before the largest number.
    const LONGEST: usize = 12;
    let name = after(b"&", bytes)?;
    let name = &name[..name.len().min(LONGEST + 1)];
    let Some(length) = name.iter().position(|&byte| byte == b';') else {
        let is_cut = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
        return Err(if name.len() <= LONGEST && name.iter().all(is_cut) {
            Not::AllOfIt
        } else {
            Not::AnEscape
        });
    };
    let char = match &name[..length] {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => None,
    };
    push(char, decoded)?;
    Ok(length + 2)
}

/// Escapes of a URL (RFC 3986, section 2.1).
fn percent(bytes: &[u8], decoded: &mut Vec<u8>) -> Result<usize, Not> {
    let digits = after(b"%", bytes)?;
    decoded.push(hexadecimal(digits, 2)? as u8);
    Ok(3)
}

/// Escapes of a form (`application/x-www-form-urlencoded`).
fn form(bytes: &[u8], decoded: &mut Vec<u8>) -> Result<usize, Not> {
    if bytes.starts_with(b"+") {
        decoded.push(b' ');
        Ok(1)
    } else {
        percent(bytes, decoded)
    }
}

/// The bytes after this prefix.
fn after<'a>(beginning: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Not> {
    bytes
        .strip_prefix(beginning)
        .ok_or(if beginning.starts_with(bytes) {
            Not::AllOfIt
        } else {
            Not::AnEscape
        })
}

/// The number that the first `count` bytes are.
fn hexadecimal(bytes: &[u8], count: usize) -> Result<u32, Not> {
    let digits = &bytes[..bytes.len().min(count)];
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Not::AnEscape);
    }
    if digits.len() < count {
        return Err(Not::AllOfIt);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or(Not::AnEscape)
}

fn number(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok()?;
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

fn push(char: Option<char>, decoded: &mut Vec<u8>) -> Result<(), Not> {
    let char = char.ok_or(Not::AnEscape)?;
    decoded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
