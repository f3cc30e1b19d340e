//! Byte ranges (RFC 9110, section 14) and preconditions (section 13).

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// The range that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requested {
    /// Everything: there is no range, or none that is understood. A request for several ranges counts as one of these. A
    /// server may ignore them (section 14.2).
    Everything,
    /// These bytes; the range is not empty.
    Part(Range<u64>),
    /// Nothing that exists.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` for a representation with this length and entity tag.
pub(crate) fn requested(headers: &HeaderMap, length: u64, etag: &str) -> Requested {
    // A date in If-Range cannot match, since there is no Last-Modified; nor can a weak tag.
    if headers
        .get(header::IF_RANGE)
        .is_some_and(|value| value.as_bytes() != etag.as_bytes())
    {
        return Requested::Everything;
    }
    let Some(range) = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return Requested::Everything;
    };
    parse(range, length).unwrap_or(Requested::Everything)
}

fn parse(header: &str, length: u64) -> Option<Requested> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.is_empty() {
        Requested::Unsatisfiable
    } else {
        Requested::Part(range)
    })
}

/// Reads a number of digits only. One that is too large for 64 bits counts as the largest.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Whether `If-None-Match` names the tag, compared weakly (section 13.1.2).
pub(crate) fn none_match_fails(headers: &HeaderMap, etag: &str) -> bool {
    names(headers, &header::IF_NONE_MATCH, |tag| {
        tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

/// Whether there is an `If-Match` that does not name the tag, compared strongly (section 13.1.1).
pub(crate) fn match_fails(headers: &HeaderMap, etag: &str) -> bool {
    headers.contains_key(header::IF_MATCH) && !names(headers, &header::IF_MATCH, |tag| tag == etag)
}

fn names(headers: &HeaderMap, name: &header::HeaderName, is_same: impl Fn(&str) -> bool) -> bool {
    // Our tags have no comma, so a list may be split at each comma.
    let lists = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || is_same(tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    fn of(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (range, expected) in [
            ("bytes=0-0", Requested::Part(0..1)),
            ("bytes=0-99", Requested::Part(0..100)),
            ("bytes=90-", Requested::Part(90..100)),
            ("bytes=90-1000", Requested::Part(90..100)),
            ("bytes=90-99999999999999999999999", Requested::Part(90..100)),
            ("bytes=-10", Requested::Part(90..100)),
            ("bytes=-1000", Requested::Part(0..100)),
            ("Bytes = 5-6", Requested::Part(5..7)),
            ("bytes=100-", Requested::Unsatisfiable),
            ("bytes=100-200", Requested::Unsatisfiable),
            ("bytes=99999999999999999999999-", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=5-4", Requested::Everything),
            ("bytes=0-1,5-6", Requested::Everything),
            ("bytes=", Requested::Everything),
            ("bytes=-", Requested::Everything),
            ("bytes=a-b", Requested::Everything),
            ("bytes=+1-2", Requested::Everything),
            ("items=0-1", Requested::Everything),
        ] {
            assert_eq!(
                requested(&of(header::RANGE, range), 100, "\"a\""),
                expected,
                "{range}"
            );
        }
    }

    #[test]
    fn a_range_holds_only_for_the_representation_that_if_range_names() {
        for (if_range, expected) in [
            ("\"a\"", Requested::Part(0..1)),
            ("\"b\"", Requested::Everything),
            ("W/\"a\"", Requested::Everything),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Requested::Everything),
        ] {
            let mut headers = of(header::RANGE, "bytes=0-0");
            headers.extend(of(header::IF_RANGE, if_range));
            assert_eq!(requested(&headers, 100, "\"a\""), expected, "{if_range}");
        }
    }

    #[test]
    fn preconditions_compare_entity_tags() {
        for (list, weakly, strongly) in [
            ("\"a\"", true, true),
            ("*", true, true),
            ("\"x\", \"a\" ,\"y\"", true, true),
            ("W/\"a\"", true, false),
            ("\"b\"", false, false),
            ("a", false, false),
        ] {
            assert_eq!(
                none_match_fails(&of(header::IF_NONE_MATCH, list), "\"a\""),
                weakly,
                "{list}"
            );
            assert_eq!(
                !match_fails(&of(header::IF_MATCH, list), "\"a\""),
                strongly,
                "{list}"
            );
        }
        assert!(
            !match_fails(&HeaderMap::new(), "\"a\"")
                && !none_match_fails(&HeaderMap::new(), "\"a\"")
        );
    }

    proptest! {
        #[test]
        fn any_range_lies_within_the_length(range in "(bytes=)?[0-9-]{0,22}|.{0,20}", length in any::<u64>()) {
            if let Some(Requested::Part(part)) = parse(&range, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
