//! JSON without duplicate names in objects.
//!
//! The standard does not define what a duplicate name means (RFC 8259, section 4), and parsers differ. The identity of a
//! report must not depend on that.

use std::error::Error as _;
use std::fmt;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::api::{ApiError, ErrorCode};
use crate::text::shortened;

/// Reads the body of a request, a JSON object of at most `max` bytes.
///
/// # Errors
/// `body_too_large` (413), `invalid_json` (400).
pub async fn object(body: Body, max: usize) -> Result<Value, ApiError> {
    parse_object(&bytes(body, max).await?)
}

/// Reads the body of a request, of at most `max` bytes.
///
/// # Errors
/// `body_too_large` (413), or `invalid_json` (400) for a body that breaks off.
pub async fn bytes(body: Body, max: usize) -> Result<Bytes, ApiError> {
    to_bytes(body, max)
        .await
        .map_err(|error| match error.source() {
            Some(source) if source.is::<LengthLimitError>() => too_large(max),
            _ => ApiError::new(
                ErrorCode::InvalidJson,
                "the body could not be read to its end",
            ),
        })
}

/// The error for a body of more than `max` bytes.
pub fn too_large(max: usize) -> ApiError {
    let message = format!("the body may have at most {max} bytes");
    ApiError::new(ErrorCode::BodyTooLarge, message)
}

/// Reads a JSON object.
///
/// # Errors
/// `invalid_json` (400).
pub fn parse_object(bytes: &[u8]) -> Result<Value, ApiError> {
    let not_an_object = |reason: String| {
        let message = format!("the body must be a JSON object: {reason}");
        ApiError::new(ErrorCode::InvalidJson, message)
    };
    let value = parse(bytes).map_err(|error| not_an_object(error.to_string()))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(not_an_object("it is JSON, but no object".to_owned()))
    }
}

/// Reads JSON.
///
/// # Errors
/// The text is not JSON, or has a duplicate name.
fn parse(json: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(json).map(|Strict(value)| value)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!(
                    "'{}' stands twice",
                    shortened(&name)
                )));
            }
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(value)) = elements.next_element()? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_as_serde_json_reads_it() {
        let json =
            r#"{"a": [null, true, -1, 18446744073709551615, 1.5, "é\n", {}], "b": {"a": []}}"#;
        assert_eq!(
            parse(json.as_bytes()).unwrap(),
            serde_json::from_str::<Value>(json).unwrap()
        );
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_it_is() {
        for json in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"b": {"a": 1, "\u0061": 2}}"#,
            r#"[{"a": [], "c": 1, "a": {}}]"#,
        ] {
            let error = parse(json.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("'a' stands twice"), "{json}: {error}");
        }
    }
}
