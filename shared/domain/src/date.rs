//! Points in time: dates that others give, and our own timestamps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// A date with a time and an offset, kept exactly as it was given.
///
/// The format is RFC 3339 with up to nine fractional digits. The offset may also be without a colon, as `SonarQube` writes it
/// (`2022-05-15T16:45:31+0000`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GivenDate {
    text: String,
    instant: OffsetDateTime,
}

impl GivenDate {
    /// The text exactly as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The point in time that the text means, in UTC.
    pub fn instant(&self) -> OffsetDateTime {
        self.instant
    }
}

/// Why a text is not a date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDate {
    /// The text has a date and a time, but no offset from UTC.
    #[error("it has no offset from UTC; append 'Z' or for example '+02:00'")]
    NoOffset,
    /// Any other fault.
    #[error("a date looks like 2025-12-17T09:05:48.5946432+00:00")]
    NotADate,
}

impl FromStr for GivenDate {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        // `time` accepts more than the format in some places. This is the shape that is accepted here.
        let bytes = text.as_bytes();
        let shape_of =
            |range: std::ops::Range<usize>| bytes.get(range).map(shape).unwrap_or_default();
        if shape_of(0..19) != "0000-00-00T00:00:00" {
            return Err(InvalidDate::NotADate);
        }
        let rest = &text[19..];
        let (fraction, offset) = rest.split_at(rest.find(['Z', '+', '-']).unwrap_or(rest.len()));
        let digits = if fraction.is_empty() {
            Some("0")
        } else {
            fraction.strip_prefix('.')
        };
        if !digits.is_some_and(|it| {
            (1..=9).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_digit())
        }) {
            return Err(InvalidDate::NotADate);
        }
        let offset = match shape(offset.as_bytes()).as_str() {
            "" => return Err(InvalidDate::NoOffset),
            "Z" | "+00:00" | "-00:00" => offset.to_owned(),
            "+0000" | "-0000" => format!("{}:{}", &offset[..3], &offset[3..]),
            _ => return Err(InvalidDate::NotADate),
        };
        let instant =
            OffsetDateTime::parse(&format!("{}{fraction}{offset}", &text[..19]), &Rfc3339)
                .map_err(|_| InvalidDate::NotADate)?;
        // Near the end of the year 9999 an offset can lead beyond the last date in UTC.
        let instant = instant
            .checked_to_offset(UtcOffset::UTC)
            .ok_or(InvalidDate::NotADate)?;
        Ok(Self {
            text: text.to_owned(),
            instant,
        })
    }
}

/// The text with every ASCII digit replaced by `0`.
fn shape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| {
            if byte.is_ascii_digit() {
                '0'
            } else {
                char::from(byte)
            }
        })
        .collect()
}

impl fmt::Display for GivenDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for GivenDate {
    type Error = InvalidDate;

    fn try_from(text: String) -> Result<Self, InvalidDate> {
        text.parse()
    }
}

impl From<GivenDate> for String {
    fn from(date: GivenDate) -> Self {
        date.text
    }
}

/// One of our own times as text: UTC, with seven fractional digits. The width is fixed, so the texts sort as the times do.
pub fn timestamp(at: OffsetDateTime) -> String {
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]+00:00"
    );
    at.to_offset(UtcOffset::UTC)
        .format(&FORMAT)
        .expect("every component of the format is part of a date with a time")
}

/// A time as `SonarQube` writes it: in whole seconds, and without a colon in the offset.
pub fn sonar_date(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    time.to_offset(UtcOffset::UTC)
        .format(format)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;
    use time::{Date, Duration, Month};

    #[test]
    fn dates_are_kept_as_given() {
        for (text, instant) in [
            (
                "2025-12-17T09:05:48.5946432+00:00",
                datetime!(2025-12-17 09:05:48.5946432 UTC),
            ),
            (
                "2022-05-15T16:45:31+0000",
                datetime!(2022-05-15 16:45:31 UTC),
            ),
            (
                "2022-05-15T16:45:31-0330",
                datetime!(2022-05-15 20:15:31 UTC),
            ),
            ("2022-05-15T16:45:31Z", datetime!(2022-05-15 16:45:31 UTC)),
            (
                "2024-02-29T23:59:59.1+02:00",
                datetime!(2024-02-29 21:59:59.1 UTC),
            ),
        ] {
            let date: GivenDate = text.parse().unwrap();
            assert_eq!(date.as_str(), text);
            assert_eq!(date.instant(), instant, "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        assert_eq!(
            "2025-12-17T09:05:48".parse::<GivenDate>(),
            Err(InvalidDate::NoOffset)
        );
        assert_eq!(
            "2025-12-17T09:05:48.594".parse::<GivenDate>(),
            Err(InvalidDate::NoOffset)
        );
        for text in [
            "",
            "2025-12-17",
            "2025-12-17 09:05:48Z",
            "2025-12-17t09:05:48z",
            "2025-13-17T09:05:48Z",
            "2025-02-29T09:05:48Z",
            "2025-12-17T25:05:48Z",
            "2025-12-17T09:05:48.Z",
            "2025-12-17T09:05:48,5Z",
            "2025-12-17T09:05:48.1234567890Z",
            "2025-12-17T09:05:48+2",
            "2025-12-17T09:05:48+25:00",
            "٢025-12-17T09:05:48Z",
            "2025-12-17T09:05:48Z ",
            "2025-12-17T09:05:48é+00:00",
            "9999-12-31T23:59:59-23:59",
            "2025-12-17T09:05:48.5+00:00[UTC]",
        ] {
            assert_eq!(
                text.parse::<GivenDate>(),
                Err(InvalidDate::NotADate),
                "{text}"
            );
        }
    }

    #[test]
    fn our_timestamps_have_a_fixed_width_in_utc() {
        assert_eq!(
            timestamp(datetime!(2025-12-17 11:05:48.5946432 +2)),
            "2025-12-17T09:05:48.5946432+00:00"
        );
        assert_eq!(
            timestamp(datetime!(2025-01-02 03:04:05 UTC)),
            "2025-01-02T03:04:05.0000000+00:00"
        );
    }

    proptest! {
        #[test]
        fn what_looks_like_a_date_is_the_point_in_time_that_it_says_or_none(
            (year, month, day) in (1..9999_i32, 0..=13_u8, 0..=32_u8),
            (hour, minute, second) in (0..=24_u8, 0..=60_u8, 0..60_u8),
            fraction in "[0-9]{0,10}",
            (offset, minutes) in prop::sample::select(vec![("Z", 0), ("-00:00", 0), ("+0000", 0), ("+02:00", 120), ("-0330", -210)]),
        ) {
            let dot = if fraction.is_empty() { "" } else { "." };
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}{offset}");
            let says = || {
                let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
                let nanoseconds = (fraction.len() <= 9).then(|| format!("{fraction:0<9}"))?;
                let time = date.with_hms_nano(hour, minute, second, nanoseconds.parse().ok()?).ok()?;
                Some(time.assume_utc() - Duration::minutes(minutes))
            };
            match text.parse::<GivenDate>() {
                Ok(date) => {
                    prop_assert_eq!(date.as_str(), &text);
                    prop_assert_eq!(Some(date.instant()), says(), "{}", text);
                }
                Err(error) => prop_assert_eq!((error, says()), (InvalidDate::NotADate, None), "{}", text),
            }
        }

        #[test]
        fn any_text_is_a_date_as_it_stands_or_an_error(
            text in ".{0,40}|2025-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.0-9Z+-]{0,12}",
        ) {
            if let Ok(date) = text.parse::<GivenDate>() {
                prop_assert_eq!(date.as_str(), &text);
                let ours: GivenDate = timestamp(date.instant()).parse().unwrap();
                prop_assert!((ours.instant() - date.instant()).abs() < Duration::MICROSECOND);
            }
        }
    }
}
