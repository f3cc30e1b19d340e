//! Asks an issuer for its keys (OIDC Discovery 1.0, and the key sets of RFC 7517).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, RequestBuilder, StatusCode, Url, header, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How long an answer may take, from connecting to its last byte. A caller waits for it, and API Gateway waits 29 s at most.
const DEADLINE: Duration = Duration::from_secs(5);

/// The most bytes of an answer. Key sets have some 2 KB, and some 10 KB with certificates.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A key that may have signed a token.
#[derive(Debug)]
pub(super) struct Key {
    /// The `kid`.
    pub(super) id: Option<String>,
    /// The only algorithm that the key is for.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// An issuer: where its keys are.
#[derive(Debug)]
pub(super) struct Issuer {
    client: Client,
    name: String,
    discovery: Url,
    /// Whether the issuer is on this machine and uses no TLS.
    plain: bool,
}

impl Issuer {
    pub(super) fn new(name: &str) -> anyhow::Result<Self> {
        let url = Url::parse(name).with_context(|| format!("issuer '{name}' is not a URL"))?;
        let plain = is_plain_loopback(&url);
        anyhow::ensure!(
            url.scheme() == "https" || plain,
            "issuer '{name}' is neither https nor http on loopback"
        );
        anyhow::ensure!(
            url.query().is_none() && url.fragment().is_none(),
            "issuer '{name}' has a query or a fragment"
        );
        // Section 4.1: a slash at the end of the issuer is removed first.
        let discovery = format!(
            "{}/.well-known/openid-configuration",
            name.trim_end_matches('/')
        );
        Ok(Self {
            client: client(plain).context("make the client for the issuer")?,
            name: name.to_owned(),
            discovery: Url::parse(&discovery)?,
            plain,
        })
    }

    /// Where the issuer says that its keys are.
    pub(super) async fn jwks_uri(&self) -> anyhow::Result<Url> {
        let discovered: Discovered = self.get(&self.discovery).await?;
        // Section 4.3: otherwise one issuer could give out the keys for another's tokens.
        anyhow::ensure!(
            discovered.issuer == self.name,
            "{} is of the issuer '{}', not of '{}'",
            self.discovery,
            discovered.issuer,
            self.name
        );
        let url = Url::parse(&discovered.jwks_uri)
            .with_context(|| format!("the issuer's jwks_uri '{}'", discovered.jwks_uri))?;
        anyhow::ensure!(
            url.scheme() == "https" || (self.plain && is_plain_loopback(&url)),
            "the issuer's jwks_uri '{url}' is not https"
        );
        Ok(url)
    }

    /// The keys of a key set that may have signed tokens.
    pub(super) async fn keys(&self, jwks_uri: &Url) -> anyhow::Result<Vec<Arc<Key>>> {
        let set: KeySet = self.get(jwks_uri).await?;
        let given = set.keys.len();
        let keys: Vec<_> = set.keys.into_iter().filter_map(key).map(Arc::new).collect();
        if keys.is_empty() {
            // This is not an error: an issuer that withdrew its keys did so on purpose.
            tracing::warn!("none of the {given} keys of {jwks_uri} is for RS256 or ES256");
        }
        Ok(keys)
    }

    /// The addresses at which people sign in and out.
    pub(super) async fn endpoints(&self) -> anyhow::Result<Endpoints> {
        let discovered: Value = self.get(&self.discovery).await?;
        let endpoint = |name: &str| -> anyhow::Result<Option<Url>> {
            let Some(text) = discovered.get(name).and_then(Value::as_str) else {
                return Ok(None);
            };
            let url = Url::parse(text).with_context(|| format!("the issuer's {name} '{text}'"))?;
            anyhow::ensure!(
                url.scheme() == "https" || (self.plain && is_plain_loopback(&url)),
                "the issuer's {name} '{url}' is not https"
            );
            Ok(Some(url))
        };
        let required = |name: &str| {
            let endpoint = endpoint(name)?;
            endpoint.with_context(|| format!("{} has no {name}", self.discovery))
        };
        anyhow::ensure!(
            discovered.get("issuer").and_then(Value::as_str) == Some(&self.name),
            "{} is not of the issuer '{}'",
            self.discovery,
            self.name
        );
        Ok(Endpoints {
            authorization: required("authorization_endpoint")?,
            token: required("token_endpoint")?,
            end_session: endpoint("end_session_endpoint")?,
            revocation: endpoint("revocation_endpoint")?,
        })
    }

    async fn get<T: DeserializeOwned>(&self, url: &Url) -> anyhow::Result<T> {
        let answer = async {
            let (status, body) = answer(self.client.get(url.clone())).await?;
            // A redirect is not followed, and fails here.
            anyhow::ensure!(status.is_success(), "the answer is {status}");
            Ok(serde_json::from_slice(&body)?)
        };
        answer.await.with_context(|| format!("GET {url}"))
    }

    /// Sends a form, with the client's credentials if there are any (RFC 6749, section 2.3.1). Gives the status and the body,
    /// whatever they are.
    pub(super) async fn post(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        login: Option<(&str, &str)>,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(body);
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let request = match login {
            None => request,
            Some((name, secret)) => request.basic_auth(encoded(name), Some(encoded(secret))),
        };
        answer(request).await.with_context(|| format!("POST {url}"))
    }
}

/// The addresses at which people sign in and out.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) end_session: Option<Url>,
    pub(super) revocation: Option<Url>,
}

async fn answer(request: RequestBuilder) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let mut response = request.send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        anyhow::ensure!(
            body.len() + chunk.len() <= MAX_ANSWER_BYTES,
            "the answer has more than {MAX_ANSWER_BYTES} bytes"
        );
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

fn client(plain: bool) -> anyhow::Result<Client> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls::client_config()?)
        .timeout(DEADLINE)
        .https_only(!plain)
        // The keys are trusted because of the address that they come from, so nothing may lead elsewhere.
        .redirect(redirect::Policy::none())
        .no_proxy()
        // Requests are an hour apart, and Lambda freezes the function in between. A kept connection would be dead.
        .pool_max_idle_per_host(0)
        .build()?;
    Ok(client)
}

/// Whether a URL is plain http on loopback, for the local stack, whose issuer has no certificate. Nobody can replace what
/// stays on this machine. Anywhere else, somebody on the way could give us keys of their own.
fn is_plain_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    url.scheme() == "http"
        && (host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    /// Each key is read separately, so that a key of a new kind does not make the others unreadable.
    keys: Vec<Value>,
}

/// A key that may sign, by an accepted algorithm. The key itself says what it is for. A token's header cannot: whoever made
/// the token wrote it.
fn key(jwk: Value) -> Option<Key> {
    let Jwk { common, algorithm } = serde_json::from_value(jwk).ok()?;
    let may_verify = common
        .key_operations
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !may_verify || !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let (algorithm, key) = match &algorithm {
        AlgorithmParameters::RSA(rsa) => (
            Algorithm::RS256,
            DecodingKey::from_rsa_components(&rsa.n, &rsa.e).ok()?,
        ),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => (
            Algorithm::ES256,
            DecodingKey::from_ec_components(&ec.x, &ec.y).ok()?,
        ),
        _ => return None,
    };
    // An RSA key may be for another algorithm, such as PS256 or encryption.
    if common
        .key_algorithm
        .is_some_and(|only| only != KeyAlgorithm::from(algorithm))
    {
        return None;
    }
    Some(Key {
        id: common.key_id,
        algorithm,
        key,
    })
}
