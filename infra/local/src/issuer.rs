//! An issuer of identities for the local stack.

use std::fmt;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::routing::get;
use axum::{Json, Router};
use domain::organization::OrganizationId;
use identity::{COGNITO_GROUPS, IdentityOptions, Role};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tempfile::NamedTempFile;
use time::{Duration, OffsetDateTime};

const PATH: &str = "/development-issuer";
const AUDIENCE: &str = "sonarqube-reports";
/// Who every token is about.
const SUBJECT: &str = "developer";
/// The private key, as PKCS #8, in the data folder.
const KEY_FILE: &str = "issuer.pk8";

/// An OIDC issuer for development, never for production: whoever can run code with it is whoever they like.
///
/// Whoever reaches its port gets the public key and nothing else. Tokens are made by code and by the command line of the
/// person whose machine it is; no endpoint gives them.
#[derive(Clone)]
pub struct DevelopmentIssuer {
    url: String,
    key: EncodingKey,
    public: Jwk,
}

impl DevelopmentIssuer {
    /// The issuer of the API at this URL. With a data folder its key survives a restart, and tokens with it.
    ///
    /// # Errors
    /// A data folder that cannot be used, or whose key is broken.
    pub fn open(api_url: &str, data: Option<&Path>) -> anyhow::Result<Self> {
        let pkcs8 = match data {
            None => generate()?,
            Some(folder) => {
                let path = folder.join(KEY_FILE);
                kept(&path).with_context(|| format!("the issuer's key {}", path.display()))?
            }
        };
        let key = EncodingKey::from_ec_der(&pkcs8);
        let mut public =
            Jwk::from_encoding_key(&key, Algorithm::ES256).context("read the issuer's key")?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        // By its thumbprint a new key is told from an old one at the same address.
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        Ok(Self {
            url: format!("{}{PATH}", api_url.trim_end_matches('/')),
            key,
            public,
        })
    }

    /// What the issuer serves, for the listener of the API.
    pub fn router(&self) -> Router {
        let configuration = json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/jwks.json", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        let keys = json!({ "keys": [self.public] });
        Router::new()
            .route(
                &format!("{PATH}/.well-known/openid-configuration"),
                get(async || Json(configuration)),
            )
            .route(&format!("{PATH}/jwks.json"), get(async || Json(keys)))
    }

    /// What a function needs to believe this issuer.
    pub fn options(&self) -> IdentityOptions {
        IdentityOptions {
            issuer: self.url.clone(),
            audience: AUDIENCE.to_owned(),
            roles_claim: COGNITO_GROUPS.to_owned(),
        }
    }

    /// A token of a person with these roles.
    pub fn token(
        &self,
        roles: &[(OrganizationId, Role)],
        now: OffsetDateTime,
        validity: Duration,
    ) -> anyhow::Result<String> {
        let groups: Vec<_> = roles
            .iter()
            .map(|(org, role)| format!("org/{org}/{role}"))
            .collect();
        let claims = json!({
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": now.unix_timestamp(),
            "exp": (now + validity).unix_timestamp(),
            COGNITO_GROUPS: groups,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid.clone_from(&self.public.common.key_id);
        jsonwebtoken::encode(&header, &claims, &self.key).context("sign a token")
    }
}

impl fmt::Debug for DevelopmentIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevelopmentIssuer")
            .field("url", &self.url)
            .field("key", &format_args!("[redacted]"))
            .finish()
    }
}

/// The key in this file, which is made if need be.
fn kept(path: &Path) -> anyhow::Result<Vec<u8>> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    // Under its name the file is whole or not there, and only its owner may read it, which is how temporary files are
    // made. The command line and a stack may both get here: the first to finish is right.
    let folder = path.parent().context("the file is in a folder")?;
    let mut file = NamedTempFile::new_in(folder)?;
    let key = generate()?;
    io::Write::write_all(&mut file, &key)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.context("it was there, and is gone")
        }
        Err(failed) => Err(failed.error.into()),
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(key) => Ok(Some(key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn generate() -> anyhow::Result<Vec<u8>> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .context("generate the issuer's key")?;
    Ok(key.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{IdentityProvider, VerifyError};
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use uuid::Uuid;

    const ORG: OrganizationId = OrganizationId::new(Uuid::from_u128(1));
    const VALIDITY: Duration = Duration::hours(1);

    #[tokio::test]
    async fn its_tokens_are_believed_where_it_is_configured() {
        let (listener, url) = listen().await;
        let issuer = DevelopmentIssuer::open(&url, None).unwrap();
        let _tasks = serve(listener, &issuer);
        let provider = IdentityProvider::new(issuer.options()).unwrap();
        let now = OffsetDateTime::now_utc();

        let other = OrganizationId::new(Uuid::from_u128(2));
        let roles = [(ORG, Role::Administrator), (other, Role::Viewer)];
        let token = issuer.token(&roles, now, VALIDITY).unwrap();
        let identity = provider.verify(&token, now).await.unwrap();
        assert_eq!(identity.subject, "developer");
        for (org, role) in roles {
            assert_eq!(identity.role_in(org), Some(role));
        }
        let late = provider.verify(&token, now + VALIDITY * 2).await;
        assert!(matches!(late, Err(VerifyError::Expired)), "{late:?}");

        let stranger = DevelopmentIssuer::open(&url, None).unwrap();
        let token = stranger.token(&roles, now, VALIDITY).unwrap();
        let result = provider.verify(&token, now).await;
        assert!(matches!(result, Err(VerifyError::Invalid(_))), "{result:?}");
    }

    #[tokio::test]
    async fn its_key_survives_a_restart_and_is_its_owners() {
        let data = TempDir::new().unwrap();
        let (listener, url) = listen().await;
        let before = DevelopmentIssuer::open(&url, Some(data.path())).unwrap();
        let now = OffsetDateTime::now_utc();
        let token = before.token(&[(ORG, Role::Owner)], now, VALIDITY).unwrap();
        let file = data.path().join(KEY_FILE);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1);

        let after = DevelopmentIssuer::open(&url, Some(data.path())).unwrap();
        let _tasks = serve(listener, &after);
        let provider = IdentityProvider::new(after.options()).unwrap();
        let identity = provider.verify(&token, now).await.unwrap();
        assert_eq!(identity.role_in(ORG), Some(Role::Owner));

        std::fs::write(&file, "broken").unwrap();
        assert!(DevelopmentIssuer::open(&url, Some(data.path())).is_err());
    }

    #[test]
    fn all_who_open_a_new_folder_have_one_key() {
        let data = TempDir::new().unwrap();
        let open = || DevelopmentIssuer::open("http://127.0.0.1:1", Some(data.path())).unwrap();
        let keys = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap().public)
                .collect::<Vec<_>>()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }

    #[tokio::test]
    async fn it_gives_away_its_public_key_only() {
        let (listener, url) = listen().await;
        let issuer = DevelopmentIssuer::open(&url, None).unwrap();
        let _tasks = serve(listener, &issuer);
        let keys: serde_json::Value = reqwest::get(format!("{url}{PATH}/jwks.json"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let mut members: Vec<_> = keys["keys"][0].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        for path in ["", "/", "/token", "/authorize"] {
            let response = reqwest::get(format!("{url}{PATH}{path}")).await.unwrap();
            assert_eq!(response.status(), 404, "{path}");
        }
        let shown = format!("{issuer:?}");
        assert!(shown.contains("[redacted]"), "{shown}");
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    fn serve(listener: TcpListener, issuer: &DevelopmentIssuer) -> JoinSet<()> {
        let router = issuer.router();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        tasks
    }
}
