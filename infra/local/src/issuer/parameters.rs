//! Parameters of a request: of its query, or of a form that is its body.

use url::form_urlencoded;

/// Names and values, as they came.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The value of a parameter that stands once and is not empty: others are as good as absent (RFC 6749, 3.1).
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(its_name, _)| its_name == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) if !value.is_empty() => Some(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once() {
        let parameters = Parameters::parse(b"a=1&b=2&b=2&c=&d=%26+x");
        assert_eq!(parameters.one("a"), Some("1"));
        assert_eq!(parameters.one("d"), Some("& x"));
        for name in ["b", "c", "e"] {
            assert_eq!(parameters.one(name), None, "{name}");
        }
    }
}
