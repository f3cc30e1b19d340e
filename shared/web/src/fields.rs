//! Reads a JSON object field by field. An error says which field is wrong and how.
//!
//! A derived `Deserialize` would also say that, but in one text that a program cannot split into code and parameter.

use std::collections::BTreeSet;

use domain::report::limits::{MAX_PROJECT_KEY, is_project_key};
use serde_json::{Map, Value};

use crate::api::{ApiError, ErrorCode};
use crate::text::{did_you_mean, shortened};

/// The fields of an object that have not been read yet.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    /// The path of the object, for example `files[0].`.
    path: String,
}

impl Fields {
    /// The fields of an object. Every field must be one of `known`.
    pub fn of(value: Value, path: String, known: &[&str]) -> Result<Self, ApiError> {
        let Value::Object(object) = value else {
            let name = path.trim_end_matches('.');
            return Err(invalid(ErrorCode::InvalidField, name, "must be an object"));
        };
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            let name = shortened(name);
            let message = format!(
                "there is no field '{path}{name}'{}",
                did_you_mean(&name, known)
            );
            return Err(
                ApiError::new(ErrorCode::UnknownField, message).parameter(format!("{path}{name}"))
            );
        }
        Ok(Self { object, path })
    }

    /// The value of a field that may be absent, or `null`.
    pub fn optional(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// The value of a field that may be absent; `Some(None)` for `null`. It is for fields whose `null` differs from absence.
    pub fn nullable(&mut self, name: &str) -> Option<Option<Value>> {
        let value = self.object.remove(name)?;
        Some(Some(value).filter(|value| !value.is_null()))
    }

    /// The value of a required field.
    pub fn required(&mut self, name: &str) -> Result<Value, ApiError> {
        let path = self.path(name);
        self.optional(name).ok_or_else(|| {
            ApiError::new(ErrorCode::MissingField, format!("{path}: is required")).parameter(path)
        })
    }

    /// A required text of 1 to `max` characters without control characters.
    pub fn text(&mut self, name: &str, max: usize) -> Result<String, ApiError> {
        let value = self.required(name)?;
        text(value, &self.path(name), max)
    }

    /// The same for an optional field.
    pub fn optional_text(&mut self, name: &str, max: usize) -> Result<Option<String>, ApiError> {
        let path = self.path(name);
        self.optional(name)
            .map(|value| text(value, &path, max))
            .transpose()
    }

    /// A required text that `parse` accepts.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        code: ErrorCode,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ApiError> {
        let value = self.required(name)?;
        let path = self.path(name);
        let text = value
            .as_str()
            .ok_or_else(|| invalid(code, &path, "must be text"))?;
        parse(text).map_err(|reason| {
            invalid(
                code,
                &path,
                &format!("'{}' is refused: {reason}", shortened(text)),
            )
        })
    }

    /// A required whole number from 0 to `max`. A larger one gives an error with the second code.
    pub fn number(
        &mut self,
        name: &str,
        (code, too_large): (ErrorCode, ErrorCode),
        max: u64,
    ) -> Result<u64, ApiError> {
        let value = self.required(name)?;
        let number = whole_number(&value).filter(|&number| number <= max);
        number.ok_or_else(|| {
            let is_too_large = value.as_f64().is_some_and(|number| number > max as f64);
            let code = if is_too_large { too_large } else { code };
            let message = format!(
                "must be a whole number from 0 to {max}, and is {}",
                shortened(&value.to_string())
            );
            invalid(code, &self.path(name), &message)
        })
    }

    /// Whether a field is true, if it is there.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        let path = self.path(name);
        self.optional(name)
            .map(|value| boolean(&value, &path))
            .transpose()
    }

    /// The full path of a field.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }
}

/// A number without a fraction that is not negative. JSON Schema takes `7.0` for a whole number as well as `7`, and some
/// languages write it so.
pub fn whole_number(value: &Value) -> Option<u64> {
    /// Up to this number, a floating-point number is exactly what was written.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let written_as_float = || {
        let number = value.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..=EXACT).contains(&number);
        is_whole.then_some(number as u64)
    };
    value.as_u64().or_else(written_as_float)
}

/// One of several values, by its name. `what` names the kind of value in the error.
///
/// # Errors
/// With this code, when the value is not a text or not one of the names.
pub fn one_of<T: Copy>(
    value: &Value,
    code: ErrorCode,
    path: &str,
    what: &str,
    known: &[(&str, T)],
) -> Result<T, ApiError> {
    let name = value
        .as_str()
        .ok_or_else(|| invalid(code, path, "must be text"))?;
    let found = known.iter().find(|(of, _)| *of == name);
    found.map(|(_, it)| *it).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(name, &names);
        let message = format!("'{}' is no {what}{hint}", shortened(name));
        invalid(code, path, &message)
    })
}

/// Either truth value.
pub fn boolean(value: &Value, path: &str) -> Result<bool, ApiError> {
    let refused = || invalid(ErrorCode::InvalidField, path, "must be true or false");
    value.as_bool().ok_or_else(refused)
}

/// What `read` makes of each element of an array, in their order.
///
/// # Errors
/// Those of `read`; with this code: two are the same.
pub fn each_once<T: Clone + Ord>(
    values: Vec<Value>,
    code: ErrorCode,
    path: &str,
    read: impl Fn(Value, &str) -> Result<T, ApiError>,
) -> Result<Vec<T>, ApiError> {
    let mut seen = BTreeSet::new();
    let read = |(position, value)| {
        let path = format!("{path}[{position}]");
        let thing = read(value, &path)?;
        match seen.insert(thing.clone()) {
            true => Ok(thing),
            false => Err(invalid(code, &path, "stands twice")),
        }
    };
    values.into_iter().enumerate().map(read).collect()
}

/// A text of 1 to `max` characters, none of them a control character.
pub fn text(value: Value, path: &str, max: usize) -> Result<String, ApiError> {
    match value {
        Value::String(text) if !(1..=max).contains(&text.chars().count()) => Err(invalid(
            ErrorCode::InvalidField,
            path,
            &format!("must have 1 to {max} characters"),
        )),
        Value::String(text) if text.chars().any(char::is_control) => Err(invalid(
            ErrorCode::InvalidField,
            path,
            "must not hold control characters",
        )),
        Value::String(text) => Ok(text),
        _ => Err(invalid(ErrorCode::InvalidField, path, "must be text")),
    }
}

/// A project key by `SonarQube`'s rule: letters, digits, `-`, `_`, `.` and `:`, and at least one that is not a digit. The key
/// goes into a header of webhooks, so it must have no other characters.
pub fn project_key(value: Value, path: &str) -> Result<String, ApiError> {
    let key = text(value, path, MAX_PROJECT_KEY)?;
    if !is_project_key(&key) {
        let message = "may hold letters, digits, '-', '_', '.' and ':', and must hold one that is not a digit";
        return Err(invalid(ErrorCode::InvalidField, path, message));
    }
    Ok(key)
}

/// An error about the field at `path`.
pub fn invalid(code: ErrorCode, path: &str, message: &str) -> ApiError {
    ApiError::new(code, format!("{path}: {message}")).parameter(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn number(value: Value) -> Result<u64, ErrorCode> {
        let codes = (ErrorCode::InvalidField, ErrorCode::FileTooLarge);
        let mut fields = Fields::of(json!({"size": value}), String::new(), &["size"]).unwrap();
        fields
            .number("size", codes, 500)
            .map_err(|error| error.code())
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (value, expected) in [
            (json!(0), 0),
            (json!(500), 500),
            (json!(0.0), 0),
            (json!(-0.0), 0),
            (json!(499.0), 499),
            (json!(5e2), 500),
        ] {
            assert_eq!(number(value.clone()), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_whole_number_or_too_large_is_refused() {
        for (value, code) in [
            (json!(1.5), ErrorCode::InvalidField),
            (json!(-1), ErrorCode::InvalidField),
            (json!(-1.0), ErrorCode::InvalidField),
            (json!("1"), ErrorCode::InvalidField),
            (json!(true), ErrorCode::InvalidField),
            (json!(501), ErrorCode::FileTooLarge),
            (json!(501.0), ErrorCode::FileTooLarge),
            (json!(1e300), ErrorCode::FileTooLarge),
            (json!(u64::MAX), ErrorCode::FileTooLarge),
        ] {
            assert_eq!(number(value.clone()), Err(code), "{value}");
        }
    }
}
