//! An issuer of identities for the local stack, with which the web panel signs in.

mod authorize;
mod entry;
mod grants;
mod guard;
mod kept;
mod page;
mod parameters;
mod person;
mod redeem;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use domain::organization::OrganizationId;
use identity::{COGNITO_GROUPS, IdentityOptions, Role};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::issuer::entry::EntryKey;
use crate::issuer::grants::{Grants, SignIn};

const PATH: &str = "/development-issuer";
const AUDIENCE: &str = "sonarqube-reports";
/// Who every token is about, but those of the panel, which may be about others.
const SUBJECT: &str = "developer";
/// The private key, as PKCS #8, in the data folder.
const KEY_FILE: &str = "issuer.pk8";
/// How long an ID token of the panel is good, unless a test says otherwise.
const ID_TOKEN_VALIDITY: Duration = Duration::minutes(15);

/// An OIDC issuer for development, never for production: whoever can run code with it is whoever they like.
///
/// Whoever can read the data folder gets tokens, and nobody else who reaches its port: they get the public key and pages
/// that say no. Code and the command line make tokens of the private key. Its endpoints make them for who has come by
/// [`enter_url`](Self::enter_url), whose key is in the same folder: by the authorization code grant, with PKCE (RFC 7636).
#[derive(Clone)]
pub struct DevelopmentIssuer {
    url: String,
    /// Without a slash at the end.
    api_url: String,
    /// What requests have to say in `Host`.
    host: String,
    key: EncodingKey,
    public: Jwk,
    entry: EntryKey,
    first_validity: Duration,
    later_validity: Duration,
    /// One for all clones.
    grants: Arc<Mutex<Grants>>,
}

impl DevelopmentIssuer {
    /// The client id of the web panel. It is the audience of the ID tokens that the endpoints give.
    pub const PANEL_CLIENT: &str = "sonarqube-reports-panel";

    /// The issuer of the API at this URL. With a data folder its keys survive a restart, and tokens with them.
    ///
    /// # Errors
    /// A data folder that cannot be used, or whose keys are broken.
    pub fn open(api_url: &str, data: Option<&Path>) -> anyhow::Result<Self> {
        let pkcs8 = kept::kept(data, KEY_FILE, generate)?;
        let key = EncodingKey::from_ec_der(&pkcs8);
        let mut public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).context("read the issuer's key")?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        // By its thumbprint a new key is told from an old one at the same address.
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        let api_url = api_url.trim_end_matches('/');
        Ok(Self {
            url: format!("{api_url}{PATH}"),
            api_url: api_url.to_owned(),
            host: host_of(api_url)?,
            key,
            public,
            entry: EntryKey::open(data)?,
            first_validity: ID_TOKEN_VALIDITY,
            later_validity: ID_TOKEN_VALIDITY,
            grants: Arc::default(),
        })
    }

    /// The same issuer with other validities of the panel's ID tokens: of the first one after a sign-in, and of those that
    /// a refresh gives. It has to be said before [`router`](Self::router).
    pub fn with_validity(self, first: Duration, later: Duration) -> Self {
        Self {
            first_validity: first,
            later_validity: later,
            ..self
        }
    }

    /// The same issuer for a panel at another address than its own: that of the API, without a slash at the end. It has to be
    /// said before [`router`](Self::router).
    pub fn with_panel_at(self, api_url: &str) -> Self {
        Self {
            api_url: api_url.trim_end_matches('/').to_owned(),
            ..self
        }
    }

    /// What the issuer serves, for the listener of the API.
    pub fn router(&self) -> Router {
        let configuration = self.configuration();
        let keys = json!({ "keys": [self.public] });
        let guarded = Router::new()
            .route(&format!("{PATH}/enter"), get(entry::enter))
            .route(
                &format!("{PATH}/authorize"),
                get(authorize::ask).post(authorize::sign_in),
            )
            .route(&format!("{PATH}/token"), post(redeem::token))
            .route(&format!("{PATH}/revoke"), post(redeem::revoke))
            .route(&format!("{PATH}/logout"), get(authorize::sign_out))
            .route_layer(middleware::from_fn_with_state(self.clone(), guard::guard))
            .with_state(self.clone());
        Router::new()
            .route(
                &format!("{PATH}/.well-known/openid-configuration"),
                get(async || Json(configuration)),
            )
            .route(&format!("{PATH}/jwks.json"), get(async || Json(keys)))
            .merge(guarded)
    }

    fn configuration(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks.json"),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "revocation_endpoint": format!("{url}/revoke"),
            "end_session_endpoint": format!("{url}/logout"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// What a function needs to believe this issuer.
    pub fn options(&self) -> IdentityOptions {
        IdentityOptions {
            issuer: self.url.clone(),
            audience: AUDIENCE.to_owned(),
            roles_claim: COGNITO_GROUPS.to_owned(),
        }
    }

    /// The link by which its owner enters, and then is at the panel. It is a secret.
    pub fn enter_url(&self) -> String {
        format!("{}/enter?key={}", self.url, self.entry.reveal())
    }

    /// A token of a person with these roles.
    pub fn token(
        &self,
        roles: &[(OrganizationId, Role)],
        now: OffsetDateTime,
        validity: Duration,
    ) -> anyhow::Result<String> {
        self.sign(&self.claims(AUDIENCE, SUBJECT, roles, now, validity))
    }

    /// How many requests the token endpoint got.
    pub fn token_requests(&self) -> usize {
        self.grants().token_requests
    }

    /// From now on every refresh is refused, as if the session had ended.
    pub fn refuse_refreshes(&self) {
        self.grants().refuses_refreshes = true;
    }

    /// A token for the panel: with `nonce` the first of a sign-in, without it a later one. Gives also how long it is good.
    fn id_token(
        &self,
        sign_in: SignIn,
        nonce: Option<&str>,
        now: OffsetDateTime,
    ) -> anyhow::Result<(String, Duration)> {
        let validity = match nonce {
            Some(_) => self.first_validity,
            None => self.later_validity,
        };
        let person = sign_in.person;
        let roles: Vec<_> = person
            .role()
            .map(|role| (crate::DEMO_ORGANIZATION, role))
            .into_iter()
            .collect();
        let mut claims = self.claims(Self::PANEL_CLIENT, person.subject(), &roles, now, validity);
        claims["email"] = format!("{}@localhost", person.name()).into();
        claims["auth_time"] = sign_in.at.unix_timestamp().into();
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        Ok((self.sign(&claims)?, validity))
    }

    fn claims(
        &self,
        audience: &str,
        subject: &str,
        roles: &[(OrganizationId, Role)],
        now: OffsetDateTime,
        validity: Duration,
    ) -> Value {
        let groups: Vec<_> = roles
            .iter()
            .map(|(org, role)| format!("org/{org}/{role}"))
            .collect();
        json!({
            "iss": self.url,
            "aud": audience,
            "sub": subject,
            "iat": now.unix_timestamp(),
            "exp": (now + validity).unix_timestamp(),
            COGNITO_GROUPS: groups,
        })
    }

    fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid.clone_from(&self.public.common.key_id);
        jsonwebtoken::encode(&header, claims, &self.key).context("sign a token")
    }

    /// The only address to which a code goes.
    fn callback(&self) -> String {
        format!("{}/panel/callback", self.api_url)
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DevelopmentIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevelopmentIssuer")
            .field("url", &self.url)
            .field("key", &format_args!("[redacted]"))
            .finish_non_exhaustive()
    }
}

/// What a browser says in `Host` for this URL.
fn host_of(url: &str) -> anyhow::Result<String> {
    let parsed = Url::parse(url).with_context(|| format!("read the API's URL {url}"))?;
    let host = parsed
        .host_str()
        .with_context(|| format!("the API's URL {url} has no host"))?;
    Ok(match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn generate() -> anyhow::Result<Vec<u8>> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .context("generate the issuer's key")?;
    Ok(key.as_ref().to_vec())
}

/// 128 random bits, as 32 hexadecimal digits.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).context("random bytes")?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests;
