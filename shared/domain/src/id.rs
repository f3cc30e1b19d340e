//! Identifiers that are UUIDs.

use time::OffsetDateTime;
use uuid::Uuid;

/// A text that is not a UUID of the usual form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UUID looks like 00000000-0000-0000-0000-000000000001")]
pub struct InvalidUuid;

/// Parses the hyphenated form only. The `uuid` crate also reads three other forms, but one id should have one spelling.
pub fn parse_uuid(text: &str) -> Result<Uuid, InvalidUuid> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(InvalidUuid);
    }
    Uuid::try_parse(text).map_err(|_| InvalidUuid)
}

/// A new version 7 UUID (RFC 9562). Such ids sort by time, to the millisecond.
pub fn time_ordered(now: OffsetDateTime) -> Uuid {
    let random = Uuid::new_v4().into_bytes();
    time_ordered_of(now, random.last_chunk().expect("it is longer"))
}

/// The version 7 UUID of this time, with these bits instead of random ones. The first twelve bits hold the fraction of the
/// millisecond, so that ids of close times sort by time too (RFC 9562, section 6.2, method 3).
pub fn time_ordered_of(time: OffsetDateTime, bits: &[u8; 10]) -> Uuid {
    const MILLISECOND: i128 = 1_000_000;
    let nanoseconds = time.unix_timestamp_nanos().rem_euclid(MILLISECOND);
    let fraction = u16::try_from(nanoseconds * 4096 / MILLISECOND).unwrap_or_default();
    let mut bits = *bits;
    bits[..2].copy_from_slice(&fraction.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(milliseconds(time), &bits).into_uuid()
}

/// Unix milliseconds, within the 48 bits that such an id has for them. A time outside is moved to the nearest one inside.
pub fn milliseconds(time: OffsetDateTime) -> u64 {
    const MAX: i128 = (1 << 48) - 1;
    let milliseconds = time.unix_timestamp_nanos().div_euclid(1_000_000);
    u64::try_from(milliseconds.clamp(0, MAX)).unwrap_or_default()
}

/// Defines the id type of one kind of thing, so that ids of two kinds cannot be confused. Each type says for itself what
/// `Debug` shows.
#[macro_export]
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(::uuid::Uuid);

        impl $name {
            /// The id with this UUID.
            pub const fn new(uuid: ::uuid::Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> ::uuid::Uuid {
                self.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::id::InvalidUuid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::parse_uuid(text).map(Self)
            }
        }
    };
}
