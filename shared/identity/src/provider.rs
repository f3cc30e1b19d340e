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

/// How long a JWT may be, in bytes. API Gateway lets through no more than 10,240 bytes of all headers together, so no
/// token that is meant for us is longer.
const MAX_JWT_BYTES: usize = 16 * 1024;

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
        let claims = self.claims(jwt, now).await?;
        claims::identity(&claims, &self.shared.options, now)
    }

    /// The person behind a JWT that the issuer gave in answer to the request with this nonce.
    ///
    /// # Errors
    /// See [`VerifyError`].
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

    /// What a JWT says, when its signature is the issuer's. The rest of it is not looked at.
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
        // The header is not verified yet, so it only narrows what is accepted. Refused here, it costs no request to
        // the issuer.
        if !ALGORITHMS.contains(&header.alg) {
            return Err(not_a_jwt());
        }
        // RFC 7515, section 4.1.11: whoever does not understand what is critical must refuse. Nothing is understood.
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
                    // The header could be read above.
                    ErrorKind::Json(_) => {
                        invalid("the JWT's claims are not of the form of RFC 7519")
                    }
                    _ => not_a_jwt(),
                })?;
        Ok(claims.claims)
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
