//! Sign-in with an issuer: the authorization code flow of OIDC Core 1.0, section 3.1, with PKCE (RFC 7636).
//!
//! Nothing is stored here. [`Attempt`] is what a request for a sign-in has to remember, and [`Tokens`] are its result.

use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::issuer::{Endpoints, Issuer};

/// As many random bits as a session's secret has.
const RANDOM_BYTES: usize = 32;
/// The requested scopes. A refresh token comes with them if the issuer gives one to this client.
const SCOPE: &str = "openid email";

/// A client of the issuer, as which people sign in.
#[derive(Debug)]
pub struct SignIn {
    issuer: Issuer,
    name: String,
    client: String,
    secret: Option<ClientSecret>,
    endpoints: OnceCell<Endpoints>,
}

/// The secret of a confidential client. `Debug` does not show it.
#[derive(Clone)]
pub struct ClientSecret(pub String);

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// What a request for a sign-in has to remember until its answer comes. The browser that made the request keeps it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Comes back with the code, so that an unrequested answer is noticed.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Proves to the token endpoint that the same client made the request (RFC 7636).
    pub verifier: String,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt([redacted])")
    }
}

/// What the issuer gives for a code or for a refresh token. `Debug` does not show it.
#[derive(Clone, Deserialize)]
pub struct Tokens {
    /// The person, as a JWT that is not verified yet.
    pub id_token: String,
    /// The refresh token, if the issuer gives one.
    #[serde(default)]
    pub refresh_token: Option<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The issuer says that the code or the refresh token is not valid, or not any more.
    #[error("the issuer refuses it: {0}")]
    Refused(String),
    /// The issuer cannot be reached, or gives an unexpected answer.
    #[error("the issuer cannot be asked")]
    Unavailable(#[source] anyhow::Error),
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Attempt {
    /// A new attempt with random values.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
        })
    }
}

impl SignIn {
    /// Sign-in with this issuer as this client. The issuer is asked for its endpoints when somebody first signs in.
    ///
    /// # Errors
    /// The issuer is not an https URL (or http on loopback).
    pub fn new(
        issuer: &str,
        client: impl Into<String>,
        secret: Option<ClientSecret>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            issuer: Issuer::new(issuer)?,
            name: issuer.to_owned(),
            client: client.into(),
            secret,
            endpoints: OnceCell::new(),
        })
    }

    /// Asks the issuer for its endpoints, which takes a request the first time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn prepare(&self) -> Result<(), SignInError> {
        self.endpoints().await.map(|_| ())
    }

    /// The address at which a person signs in. From there the browser goes to `redirect_uri`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn address(&self, attempt: &Attempt, redirect_uri: &str) -> Result<Url, SignInError> {
        let mut url = self.endpoints().await?.authorization.clone();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.client),
            ("redirect_uri", redirect_uri),
            ("scope", SCOPE),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &challenge(&attempt.verifier)),
            ("code_challenge_method", "S256"),
        ]);
        Ok(url)
    }

    /// The tokens for a code.
    pub async fn redeem(
        &self,
        code: &str,
        attempt: &Attempt,
        redirect_uri: &str,
    ) -> Result<Tokens, SignInError> {
        self.tokens(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", &attempt.verifier),
        ])
        .await
    }

    /// New tokens. Some issuers give another refresh token each time, which invalidates the one before.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, SignInError> {
        self.tokens(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ])
        .await
    }

    /// Revokes a refresh token at the issuer (RFC 7009). At an issuer without such an endpoint the token expires by itself.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), SignInError> {
        let Some(url) = &self.endpoints().await?.revocation else {
            return Ok(());
        };
        let form = [
            ("token", refresh_token),
            ("token_type_hint", "refresh_token"),
        ];
        let (status, _) = self.post(url, &form).await?;
        if status.is_success() {
            return Ok(());
        }
        let error = anyhow::anyhow!("POST {url}: the answer is {status}");
        Err(SignInError::Unavailable(error))
    }

    /// The address at which the person also signs out of the issuer. From there the browser goes to `back`. `None` if the
    /// issuer has no such address (OIDC RP-Initiated Logout 1.0).
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sign_out_address(&self, back: &str) -> Result<Option<Url>, SignInError> {
        let Some(mut url) = self.endpoints().await?.end_session.clone() else {
            return Ok(None);
        };
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", &self.client);
        // Cognito has a logout of its own ("Logout endpoint", Amazon Cognito Developer Guide).
        if self.is_cognito() {
            query.append_pair("logout_uri", back);
        } else {
            // Without `id_token_hint`: the token names the person's organizations, and the browser keeps addresses.
            query.append_pair("post_logout_redirect_uri", back);
        }
        drop(query);
        Ok(Some(url))
    }

    fn is_cognito(&self) -> bool {
        self.name.starts_with("https://cognito-idp.")
    }

    async fn endpoints(&self) -> Result<&Endpoints, SignInError> {
        let endpoints = self.endpoints.get_or_try_init(|| self.issuer.endpoints());
        endpoints.await.map_err(SignInError::Unavailable)
    }

    async fn tokens(&self, form: &[(&str, &str)]) -> Result<Tokens, SignInError> {
        let url = &self.endpoints().await?.token;
        let (status, body) = self.post(url, form).await?;
        let read = || -> anyhow::Result<Tokens> {
            anyhow::ensure!(status.is_success(), "the answer is {status}");
            // The message of serde might repeat a part of a token.
            let tokens = serde_json::from_slice(&body).ok();
            tokens.context("the answer has no ID token")
        };
        let refusal: Option<Refusal> = serde_json::from_slice(&body).ok();
        let refused = refusal.filter(|_| matches!(status.as_u16(), 400 | 401));
        match refused {
            // This is our fault and not the person's: the client's secret is wrong.
            Some(Refusal { error }) if error == "invalid_client" => {
                let error = anyhow::anyhow!("POST {url}: the issuer does not know the client");
                return Err(SignInError::Unavailable(error));
            }
            Some(Refusal { error }) => return Err(SignInError::Refused(error)),
            None => {}
        }
        read()
            .with_context(|| format!("POST {url}"))
            .map_err(SignInError::Unavailable)
    }

    async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<(reqwest::StatusCode, Vec<u8>), SignInError> {
        let mut form = form.to_vec();
        let login = match &self.secret {
            Some(secret) => Some((self.client.as_str(), secret.0.as_str())),
            None => {
                form.push(("client_id", &self.client));
                None
            }
        };
        let answer = self.issuer.post(url, &form, login).await;
        answer.map_err(SignInError::Unavailable)
    }
}

/// RFC 7636, section 4.2.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).context("get random bytes for a sign-in")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge(verifier), expected);
    }

    #[test]
    fn each_attempt_is_another() {
        let (one, other) = (Attempt::new().unwrap(), Attempt::new().unwrap());
        assert_ne!(one.state, other.state);
        assert_ne!(one.nonce, other.nonce);
        assert_ne!(one.verifier, other.verifier);
        assert_eq!(one.verifier.len(), 43);
        assert!(!format!("{one:?}").contains(&one.verifier));
    }
}
