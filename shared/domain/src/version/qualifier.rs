//! The qualifiers that Python (PEP 440) and Maven write after the numbers of a version, where SemVer has no place for them:
//! `24.7.0rc1`, `1.0.dev3`, `5.3.1.RELEASE`.
//!
//! Each is a word and a number, in any letter case, with `.`, `-`, `_` or nothing around it. A second qualifier qualifies the
//! first one: `1.0rc1.dev2` comes before `1.0rc1`, as `1.0.dev2` comes before `1.0`.

use super::{RELEASE, push_number, without_leading_zeros};

/// What may stand around a word.
const SEPARATORS: [char; 3] = ['.', '-', '_'];

/// A kind of qualifier.
struct Qualifier {
    words: &'static [&'static str],
    /// Its order, as a character of the key.
    rank: char,
    /// A qualifier may only follow those of an earlier place. Otherwise the meaning would be a guess, as in `1.0a1b2`.
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Stage,
    After,
    Build,
}

/// In their order. PEP 440 has `dev`, `a`, `b`, `rc`, `post` and other spellings of these. Maven has the others.
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
/// The rank that ends a list of qualifiers.
const END: char = '7';

/// The words for the release itself. They mean the same as no qualifier.
const RELEASES: [&str; 3] = ["release", "final", "ga"];

/// What precedes the qualifiers of versions before the release. No identifier is empty, so this sorts after SemVer's numeric
/// identifiers and before the others. A range from `1.0-0` also contains `1.0rc1`.
const BEFORE_RELEASE: &str = "2!";
/// What precedes the qualifiers of versions after the release. The next larger key has another number.
const AFTER_RELEASE: &str = "4";

/// The part of the sort key after the numbers; `None` for a text that is not made of qualifiers.
///
/// Each qualifier is its rank and its number. [`END`] follows the last one.
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

/// The number of a qualifier, 0 where there is none, and the text after it.
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

/// Splits after the leading characters for which `is_such` holds.
fn split_behind(text: &str, is_such: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|char| !is_such(char)).unwrap_or(text.len()))
}
