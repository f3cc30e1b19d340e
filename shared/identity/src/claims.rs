//! What a JWT says, once its signature is known to be good.

use std::collections::BTreeMap;

use domain::line;
use domain::organization::OrganizationId;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::error::{VerifyError, invalid};
use crate::person::{Identity, Role};

/// The claim in which Cognito gives a person's groups.
pub const COGNITO_GROUPS: &str = "cognito:groups";

/// Whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityOptions {
    /// The issuer, spelled exactly as in its tokens' `iss`.
    pub issuer: String,
    /// What a token's `aud` must have.
    pub audience: String,
    /// The claim that has the roles, such as [`COGNITO_GROUPS`].
    pub roles_claim: String,
}

/// How far the issuer's clock may be from ours, in seconds. RFC 7519, section 4.1.4: "a few minutes" at most.
const LEEWAY_SECONDS: i64 = 60;

/// How long a subject may be. OIDC Core 1.0, section 2.
const MAX_SUBJECT_CHARACTERS: usize = 255;

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
    // It stands in lines of the log, and must not begin one.
    if subject.contains(line::is_broken_by) {
        return Err(invalid(
            "the JWT's 'sub' has a line break or another control character",
        ));
    }
    Ok(Identity {
        subject: subject.to_owned(),
        roles: roles(claims.get(&options.roles_claim)),
    })
}

/// The highest role in each organization. What is not of our form is a group that others use, and no error.
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

/// A `NumericDate`: seconds since 1970, maybe with a fraction, which is cut off.
fn seconds(value: &Value) -> Option<i64> {
    // Casting a float saturates, so the far future stays the far future.
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
