//! Who is calling: a person whom an OIDC issuer vouches for by a JWT (RFC 7519).

mod claims;
mod issuer;
mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use domain::organization::OrganizationId;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::issuer::Issuer;
use crate::keys::KeyCache;

/// The claim in which Cognito gives a person's groups.
pub const COGNITO_GROUPS: &str = "cognito:groups";

/// How long a JWT may be, in bytes. API Gateway lets through no more than 10,240 bytes of all headers together, so no
/// token that is meant for us is longer.
const MAX_JWT_BYTES: usize = 16 * 1024;

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

/// Verifies JWTs of one issuer. Clones share what is known of the issuer's keys.
#[derive(Clone, Debug)]
pub struct IdentityProvider {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: IdentityOptions,
    keys: KeyCache,
}

impl IdentityProvider {
    /// A provider that has not asked its issuer yet: it does when the first token comes.
    ///
    /// # Errors
    /// An issuer that is not an https URL (or http on loopback), an empty audience or roles claim.
    pub fn new(options: IdentityOptions) -> anyhow::Result<Self> {
        anyhow::ensure!(!options.audience.is_empty(), "the audience is empty");
        anyhow::ensure!(
            !options.roles_claim.is_empty(),
            "the name of the claim with the roles is empty"
        );
        let keys = KeyCache::new(Issuer::new(&options.issuer)?);
        Ok(Self {
            shared: Arc::new(Shared { options, keys }),
        })
    }

    /// The person behind a JWT.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn verify(&self, jwt: &str, now: OffsetDateTime) -> Result<Identity, VerifyError> {
        if jwt.len() > MAX_JWT_BYTES {
            return Err(invalid(format!(
                "the JWT is longer than {MAX_JWT_BYTES} bytes"
            )));
        }
        let header = jsonwebtoken::decode_header(jwt).map_err(|_| not_a_jwt())?;
        // The header is not verified yet, so it only narrows what is accepted. Refused here, it costs no request to
        // the issuer.
        if !ALGORITHMS.contains(&header.alg) {
            return Err(not_a_jwt());
        }
        // RFC 7515, section 4.1.11: whoever does not understand what is critical must refuse. Nothing is understood.
        if header.crit.is_some() {
            return Err(invalid("the JWT has the header 'crit'"));
        }

        let Shared { options, keys } = &*self.shared;
        let key = keys.find(header.kid.as_deref(), header.alg, now).await?;
        let claims =
            jsonwebtoken::decode::<Map<String, Value>>(jwt, &key.key, &signature_by(key.algorithm))
                .map_err(|error| match error.kind() {
                    ErrorKind::InvalidSignature => {
                        invalid("the JWT's signature is not the issuer's")
                    }
                    // The header could be read above.
                    ErrorKind::Json(_) => {
                        invalid("the JWT's claims are not of the form of RFC 7519")
                    }
                    _ => not_a_jwt(),
                })?
                .claims;
        claims::identity(&claims, options, now)
    }
}

/// The algorithms that may sign: the ones that issuers use. Neither can be mistaken for one with a shared secret.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// Only the signature, by the one algorithm that the key is for. The library reads claims by its own clock and accepts an
/// `iss` that is a list, so they are looked at in `claims`.
fn signature_by(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// A person whom the issuer vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The issuer's id of the person, from the claim `sub`.
    pub subject: String,
    /// The highest role in each organization.
    roles: BTreeMap<OrganizationId, Role>,
}

impl Identity {
    /// The highest role that the person has in an organization.
    pub fn role_in(&self, org: OrganizationId) -> Option<Role> {
        self.roles.get(&org).copied()
    }
}

/// What somebody is in an organization. A higher role may do whatever a lower one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Changes reports.
    Editor,
    /// Changes how the organization works, its webhooks among that.
    Administrator,
    /// Owns the organization.
    Owner,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Editor, Self::Administrator, Self::Owner];

    /// The role's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Administrator => "administrator",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole)
    }
}

/// A text that is not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("roles are viewer, editor, administrator and owner")]
pub struct UnknownRole;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The token is not good. The reason may be shown to whoever sent it: it says what was expected, and nothing of the
    /// token.
    #[error("{0}")]
    Invalid(String),
    /// The token was good, and is over.
    #[error("the JWT has expired")]
    Expired,
    /// The issuer could not be asked for its keys. That is no fault of the caller.
    #[error("the issuer's keys are not known")]
    Unavailable(#[source] anyhow::Error),
}

fn invalid(reason: impl Into<String>) -> VerifyError {
    VerifyError::Invalid(reason.into())
}

fn not_a_jwt() -> VerifyError {
    invalid("the bearer token is not a JWT that is signed by RS256 or ES256")
}
