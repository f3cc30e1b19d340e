//! The claims of a JWT whose signature is verified.

use std::collections::BTreeMap;

use domain::line;
use domain::organization::OrganizationId;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::error::{VerifyError, invalid};
use crate::person::{Identity, Role};

/// The claim in which Cognito gives a person's groups.
pub const COGNITO_GROUPS: &str = "cognito:groups";

/// The issuer to trust, and what its tokens must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityOptions {
    /// The issuer, spelled exactly as in its tokens' `iss`.
    pub issuer: String,
    /// The value that a token's `aud` must contain.
    pub audience: String,
    /// The claim with the roles, such as [`COGNITO_GROUPS`].
    pub roles_claim: String,
}

/// How far the issuer's clock may differ from ours, in seconds. RFC 7519, section 4.1.4, allows "a few minutes" at most.
const LEEWAY_SECONDS: i64 = 60;

/// The longest e-mail address, in characters. RFC 5321, section 4.5.3.1.3: a path has 256 octets, with two brackets.
const MAX_EMAIL_CHARACTERS: usize = 254;

/// A date after every real one.
const FAR_FUTURE: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// The longest subject, in characters (OIDC Core 1.0, section 2).
const MAX_SUBJECT_CHARACTERS: usize = 255;

/// Checks that the claims answer the request with this nonce (OIDC Core 1.0, section 3.1.3.7).
pub(super) fn answers(claims: &Map<String, Value>, nonce: &str) -> Result<(), VerifyError> {
    if claims.get("nonce").and_then(Value::as_str) == Some(nonce) {
        return Ok(());
    }
    Err(invalid(
        "the JWT's 'nonce' is not that of the request for it",
    ))
}

/// The person whom the claims are about.
pub(super) fn identity(
    claims: &Map<String, Value>,
    options: &IdentityOptions,
    now: OffsetDateTime,
) -> Result<Identity, VerifyError> {
    if claims.get("iss").and_then(Value::as_str) != Some(&options.issuer) {
        return Err(invalid(format!(
            "the JWT's 'iss' is not {}",
            options.issuer
        )));
    }
    if !texts(claims.get("aud")).any(|audience| audience == options.audience) {
        return Err(invalid(format!(
            "the JWT's 'aud' does not have {}",
            options.audience
        )));
    }

    let now = now.unix_timestamp();
    let exp = claims
        .get("exp")
        .and_then(seconds)
        .ok_or_else(|| invalid("the JWT has no 'exp' that is a number"))?;
    if now >= exp.saturating_add(LEEWAY_SECONDS) {
        return Err(VerifyError::Expired);
    }
    if let Some(nbf) = claims.get("nbf") {
        let nbf = seconds(nbf).ok_or_else(|| invalid("the JWT's 'nbf' is not a number"))?;
        if now.saturating_add(LEEWAY_SECONDS) < nbf {
            return Err(invalid("the JWT is not valid yet"));
        }
    }

    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .filter(|subject| (1..=MAX_SUBJECT_CHARACTERS).contains(&subject.chars().count()))
        .ok_or_else(|| {
            invalid(format!(
                "the JWT has no 'sub' of 1 to {MAX_SUBJECT_CHARACTERS} characters"
            ))
        })?;
    // The subject appears in lines of the log, and must not begin a new one.
    if subject.contains(line::is_broken_by) {
        return Err(invalid(
            "the JWT's 'sub' has a line break or another control character",
        ));
    }
    let email = claims.get("email").and_then(Value::as_str);
    let email = email.filter(|it| {
        it.chars().count() <= MAX_EMAIL_CHARACTERS && !it.contains(line::is_broken_by)
    });
    // A date beyond the representable ones stays in the far future.
    let expires_at = OffsetDateTime::from_unix_timestamp(exp).unwrap_or(FAR_FUTURE);
    Ok(Identity {
        subject: subject.to_owned(),
        email: email.map(str::to_owned),
        expires_at,
        roles: roles(claims.get(&options.roles_claim)),
    })
}

/// The highest role in each organization. A text of another form is a group that others use, and not an error.
fn roles(claim: Option<&Value>) -> BTreeMap<OrganizationId, Role> {
    let mut roles = BTreeMap::new();
    for (org, role) in texts(claim).filter_map(membership) {
        let highest = roles.entry(org).or_insert(role);
        *highest = role.max(*highest);
    }
    roles
}

/// Reads `org/<uuid>/<role>`.
fn membership(text: &str) -> Option<(OrganizationId, Role)> {
    let (org, role) = text.strip_prefix("org/")?.split_once('/')?;
    Some((org.parse().ok()?, role.parse().ok()?))
}

/// The texts of a claim that is a text or a list with texts.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let values = match claim {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    values.iter().filter_map(Value::as_str)
}

/// A `NumericDate`: seconds since 1970, perhaps with a fraction, which is cut off.
fn seconds(value: &Value) -> Option<i64> {
    // A cast of a float saturates, so the far future stays the far future.
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
