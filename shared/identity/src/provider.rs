//! Verifies the JWTs of an issuer.

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::claims::{self, IdentityOptions};
use crate::error::{VerifyError, invalid, not_a_jwt};
use crate::issuer::Issuer;
use crate::keys::KeyCache;
use crate::person::Identity;

/// The longest JWT, in bytes. API Gateway allows 10,240 bytes for all headers together, so no valid token is longer.
const MAX_JWT_BYTES: usize = 16 * 1024;

/// Verifies JWTs of one issuer. Clones share the cache of the issuer's keys.
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
    /// A provider that has not asked its issuer yet. It does so when the first token comes.
    ///
    /// # Errors
    /// The issuer is not an https URL (or http on loopback), or the audience or the roles claim is empty.
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

    /// The person whom a JWT identifies.
    pub async fn verify(&self, jwt: &str, now: OffsetDateTime) -> Result<Identity, VerifyError> {
        let claims = self.claims(jwt, now).await?;
        claims::identity(&claims, &self.shared.options, now)
    }

    /// The person whom a JWT identifies. The issuer gave the JWT in answer to the request with this nonce.
    pub async fn verify_answer(
        &self,
        jwt: &str,
        nonce: &str,
        now: OffsetDateTime,
    ) -> Result<Identity, VerifyError> {
        let claims = self.claims(jwt, now).await?;
        claims::answers(&claims, nonce)?;
        claims::identity(&claims, &self.shared.options, now)
    }

    /// The claims of a JWT with a valid signature of the issuer's. Nothing else is checked.
    async fn claims(
        &self,
        jwt: &str,
        now: OffsetDateTime,
    ) -> Result<Map<String, Value>, VerifyError> {
        if jwt.len() > MAX_JWT_BYTES {
            return Err(invalid(format!(
                "the JWT is longer than {MAX_JWT_BYTES} bytes"
            )));
        }
        let header = jsonwebtoken::decode_header(jwt).map_err(|_| not_a_jwt())?;
        // The header is not verified yet, so it can only narrow what is accepted. A refusal here costs no request to the
        // issuer.
        if !ALGORITHMS.contains(&header.alg) {
            return Err(not_a_jwt());
        }
        // RFC 7515, section 4.1.11: a critical header that is not understood must be refused. None is understood here.
        if header.crit.is_some() {
            return Err(invalid("the JWT has the header 'crit'"));
        }

        let key = self
            .shared
            .keys
            .find(header.kid.as_deref(), header.alg, now)
            .await?;
        let claims =
            jsonwebtoken::decode::<Map<String, Value>>(jwt, &key.key, &signature_by(key.algorithm))
                .map_err(|error| match error.kind() {
                    ErrorKind::InvalidSignature => {
                        invalid("the JWT's signature is not the issuer's")
                    }
                    // The header has been parsed above.
                    ErrorKind::Json(_) => {
                        invalid("the JWT's claims are not of the form of RFC 7519")
                    }
                    _ => not_a_jwt(),
                })?;
        Ok(claims.claims)
    }
}

/// The accepted signature algorithms: the ones that issuers use. Neither can be confused with one that uses a shared secret.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// Validates the signature only, by the one algorithm that the key is for. The library would check claims by its own clock,
/// and accepts an `iss` that is a list, so `claims` checks them.
fn signature_by(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}
