//! Query parameters, read strictly: an unknown parameter is refused, so a misspelt filter never widens a result.

use domain::organization::OrganizationId;

use crate::api::{ApiError, ErrorCode};
use crate::text::{did_you_mean, shortened};

/// How many items a page has unless `limit` says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// How many items a page may have. This many of the largest possible reports stay below 6 MB, the limit of a buffered Lambda
/// response.
const MAX_LIMIT: usize = 1000;

/// The parameters of one request.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query string. Every name must be one of `known`.
    pub fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(raw.unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        match pairs
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            None => Ok(Self(pairs)),
            Some((name, _)) => {
                let name = shortened(name);
                let message = format!(
                    "there is no parameter '{name}'{}",
                    did_you_mean(&name, known)
                );
                Err(ApiError::new(ErrorCode::UnknownParameter, message).parameter(name))
            }
        }
    }

    /// The value of a parameter that may be absent, but not repeated.
    pub fn optional(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            let message = format!("{name}: is given more than once, but takes one value");
            return Err(ApiError::new(ErrorCode::DuplicateParameter, message).parameter(name));
        }
        Ok(value)
    }

    /// The value of a required parameter, which must not be repeated.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.optional(name)?.ok_or_else(|| {
            ApiError::new(ErrorCode::MissingParameter, format!("{name}: is required"))
                .parameter(name)
        })
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The parameter `limit`.
    pub fn limit(&self) -> Result<usize, ApiError> {
        self.limit_up_to(MAX_LIMIT)
    }

    /// The parameter `limit` where the maximum is lower than usual.
    pub fn limit_up_to(&self, most: usize) -> Result<usize, ApiError> {
        let Some(text) = self.optional("limit")? else {
            return Ok(DEFAULT_LIMIT.min(most));
        };
        // Digits only: `parse` alone would also take "+5".
        let number = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok()
        } else {
            None
        };
        number
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| {
                let message = format!(
                    "limit: '{}' is not a number from 1 to {most}",
                    shortened(text)
                );
                ApiError::new(ErrorCode::InvalidLimit, message).parameter("limit")
            })
    }

    /// The parameter `org`.
    pub fn organization(&self) -> Result<OrganizationId, ApiError> {
        let text = self.required("org")?;
        text.parse().map_err(|error| {
            let message = format!(
                "org: '{}' is not an organization's id: {error}",
                shortened(text)
            );
            ApiError::new(ErrorCode::InvalidOrganization, message).parameter("org")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_unknown_parameter_is_refused_with_the_nearest_known() {
        let known = ["org", "version", "minver", "maxver"];
        for (given, nearest) in [
            ("minversion", "minver"),
            ("Version", "version"),
            ("orgg", "org"),
            ("max_ver", "maxver"),
        ] {
            let error = Query::parse(Some(&format!("{given}=1")), &known).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnknownParameter);
            assert!(
                format!("{error:?}").contains(&format!("did you mean '{nearest}'?")),
                "{error:?}"
            );
        }
        let far = Query::parse(Some("zzz=1"), &known).unwrap_err();
        assert!(
            format!("{far:?}").contains("known are org, version, minver, maxver"),
            "{far:?}"
        );
    }

    #[test]
    fn a_parameter_that_takes_one_value_must_not_stand_twice() {
        let query = Query::parse(Some("org=1&org=2"), &["org"]).unwrap();
        assert_eq!(
            query.optional("org").unwrap_err().code(),
            ErrorCode::DuplicateParameter
        );
        assert_eq!(query.all("org").collect::<Vec<_>>(), ["1", "2"]);
    }

    /// A parameter that is known and takes nearly anything, or one that may be misspelt.
    fn parameter() -> impl Strategy<Value = (String, String)> {
        let id = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        prop_oneof![
            (Just("org".to_owned()), id),
            ("org|version|=", ".{0,10}"),
            ("[a-z=&%+]{1,4}", ".{0,10}"),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(pairs in prop::collection::vec(parameter(), 0..4)) {
            const KNOWN: [&str; 3] = ["org", "version", "="];
            let raw = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let is_known = |name: &String| KNOWN.contains(&name.as_str());
            let query = match Query::parse(Some(&raw), &KNOWN) {
                Ok(query) => query,
                Err(error) => {
                    prop_assert_eq!(error.code(), ErrorCode::UnknownParameter);
                    prop_assert!(!pairs.iter().all(|(name, _)| is_known(name)), "{}", raw);
                    return Ok(());
                }
            };
            prop_assert!(pairs.iter().all(|(name, _)| is_known(name)), "{}", raw);
            for name in KNOWN {
                let given: Vec<&str> = pairs.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str()).collect();
                prop_assert_eq!(query.all(name).collect::<Vec<_>>(), given.clone());
                match query.optional(name) {
                    Ok(value) => prop_assert_eq!(given, Vec::from_iter(value)),
                    Err(error) => prop_assert_eq!((error.code(), true), (ErrorCode::DuplicateParameter, given.len() > 1)),
                }
            }
            let org = query.required("org").ok().and_then(|text| text.parse().ok());
            prop_assert_eq!(query.organization().ok(), org);
        }

        #[test]
        fn any_query_is_read_or_refused(raw in "(org|version|%[0-9a-fA-F]{0,2}|=|&|\\+|.){0,12}") {
            if let Ok(query) = Query::parse(Some(&raw), &["org", "version", "="]) {
                prop_assert_eq!(query.optional("version").is_ok(), query.all("version").count() < 2);
                prop_assert!(query.organization().is_err(), "there is no id in {}", raw);
            }
        }
    }
}
