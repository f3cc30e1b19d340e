//! What Python (PEP 440) and Maven write behind the numbers of a version, where SemVer has no place for it: `24.7.0rc1`,
//! `1.0.dev3`, `5.3.1.RELEASE`.
//!
//! Each is a word and a number, in any letter case, with `.`, `-`, `_` or nothing around. A qualifier behind another one
//! says of which it is: `1.0rc1.dev2` comes before `1.0rc1`, as `1.0.dev2` before `1.0`.

use super::{RELEASE, push_number, without_leading_zeros};

/// What may stand around a word.
const SEPARATORS: [char; 3] = ['.', '-', '_'];

/// The words that are a qualifier.
struct Qualifier {
    words: &'static [&'static str],
    /// Its order, as a character of the key.
    rank: char,
    /// A qualifier stands only behind those of an earlier place. Otherwise it would be a guess what is meant: `1.0a1b2`.
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Stage,
    After,
    Build,
}

/// In their order. PEP 440 has `dev`, `a`, `b`, `rc`, `post` and further spellings of these, Maven the others.
const QUALIFIERS: [Qualifier; 7] = [
    Qualifier {
        words: &["dev"],
        rank: '1',
        place: Place::Build,
    },
    Qualifier {
        words: &["a", "alpha"],
        rank: '2',
        place: Place::Stage,
    },
    Qualifier {
        words: &["b", "beta"],
        rank: '3',
        place: Place::Stage,
    },
    Qualifier {
        words: &["m", "milestone"],
        rank: '4',
        place: Place::Stage,
    },
    Qualifier {
        words: &["rc", "c", "cr", "pre", "preview"],
        rank: '5',
        place: Place::Stage,
    },
    Qualifier {
        words: &["snapshot"],
        rank: '6',
        place: Place::Build,
    },
    Qualifier {
        words: &["post", "sp", "rev", "r"],
        rank: '8',
        place: Place::After,
    },
];
/// The rank of having no further qualifier.
const END: char = '7';

/// What says that it is the release, as no qualifier does.
const RELEASES: [&str; 3] = ["release", "final", "ga"];

/// Before the qualifiers of what precedes the release. No identifier is empty, so this lies behind SemVer's numeric
/// identifiers and before the others: whoever asks for `1.0-0` and later gets `1.0rc1` as well.
const BEFORE_RELEASE: &str = "2!";
/// Before the qualifiers of what comes after the release. The next thing after it is another number.
const AFTER_RELEASE: &str = "4";

/// What follows the numbers in the sort key, `None` for a text that is not made of qualifiers.
///
/// Each qualifier is its rank and its number, and [`END`] is behind the last one.
pub(super) fn sort_key(text: &str) -> Option<String> {
    if RELEASES.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return Some(RELEASE.to_owned());
    }
    let mut key = String::new();
    let mut place = None;
    let mut rest = text;
    loop {
        let (word, behind) = split_behind(rest, |char| char.is_ascii_alphabetic());
        let is_named = |it: &&Qualifier| it.words.iter().any(|it| it.eq_ignore_ascii_case(word));
        let qualifier = QUALIFIERS.iter().find(is_named)?;
        if place >= Some(qualifier.place) {
            return None;
        }
        place = Some(qualifier.place);
        let (number, behind) = number(behind);
        key.push(qualifier.rank);
        push_number(&mut key, without_leading_zeros(number));
        if behind.is_empty() {
            break;
        }
        rest = without_separator(behind);
    }
    key.push(END);
    let is_after = key.starts_with(|rank| rank > END);
    let side = if is_after {
        AFTER_RELEASE
    } else {
        BEFORE_RELEASE
    };
    Some(format!("{side}{key}"))
}

/// The number of a qualifier, 0 where there is none, and what is behind it.
fn number(text: &str) -> (&str, &str) {
    let (digits, behind) = split_behind(without_separator(text), |char| char.is_ascii_digit());
    if digits.is_empty() {
        ("0", text)
    } else {
        (digits, behind)
    }
}

fn without_separator(text: &str) -> &str {
    text.strip_prefix(SEPARATORS).unwrap_or(text)
}

/// Splits behind the characters at the beginning that are such.
fn split_behind(text: &str, is_such: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|char| !is_such(char)).unwrap_or(text.len()))
}
