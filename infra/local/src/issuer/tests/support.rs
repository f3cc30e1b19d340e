//! A panel as far as the issuer sees it.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(super) const CLIENT: &str = DevelopmentIssuer::PANEL_CLIENT;
/// The example of RFC 7636, appendix B.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(super) const STATE: &str = "s&t\"a<t>e";
pub(super) const NONCE: &str = "the nonce";

/// A panel whose user has entered.
pub(super) struct Panel {
    pub(super) issuer: DevelopmentIssuer,
    pub(super) url: String,
    pub(super) cookie: String,
    _tasks: JoinSet<()>,
}

impl Panel {
    pub(super) async fn start() -> Self {
        Self::with(|issuer| issuer).await
    }

    pub(super) async fn with(change: impl FnOnce(DevelopmentIssuer) -> DevelopmentIssuer) -> Self {
        let (listener, url) = listen().await;
        let issuer = change(DevelopmentIssuer::open(&url, None).unwrap());
        let _tasks = serve(listener, &issuer);
        let entered = get_page(&issuer.enter_url(), None).await;
        let cookie = entered.headers()[SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        Self {
            issuer,
            url,
            cookie: format!("other=1; {cookie}"),
            _tasks,
        }
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{PATH}/{path}", self.url)
    }

    pub(super) fn callback(&self) -> String {
        format!("{}/panel/callback", self.url)
    }

    /// The parameters of a sign-in, one of them replaced or, without a value, left out.
    pub(super) fn asked<'a>(
        &'a self,
        callback: &'a str,
        changed: (&'a str, Option<&'a str>),
    ) -> Vec<(&'a str, &'a str)> {
        [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", callback),
            ("scope", "openid email"),
            ("state", STATE),
            ("nonce", NONCE),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("role", "viewer"),
        ]
        .into_iter()
        .filter_map(|(name, value)| match changed {
            (its, value) if its == name => Some((name, value?)),
            _ => Some((name, value)),
        })
        .collect()
    }

    pub(super) async fn sign_in(&self, role: &str) -> String {
        let callback = self.callback();
        let form = self.asked(&callback, ("role", Some(role)));
        let response = post_form(&self.at("authorize"), Some(&self.cookie), &form).await;
        assert_eq!(response.status(), 303);
        let location = Url::parse(response.headers()[LOCATION].to_str().unwrap()).unwrap();
        assert!(location.as_str().starts_with(&format!("{callback}?")));
        let pairs: Vec<_> = location.query_pairs().into_owned().collect();
        assert_eq!(pairs[1], ("state".to_owned(), STATE.to_owned()));
        assert_eq!(pairs[0].0, "code");
        assert_eq!(pairs[0].1.len(), 32);
        pairs[0].1.clone()
    }

    pub(super) async fn redeem(&self, code: &str, changed: (&str, &str)) -> (u16, Value) {
        let callback = self.callback();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", CLIENT),
            ("redirect_uri", &callback),
            ("code_verifier", VERIFIER),
        ]
        .map(|(name, value)| match changed {
            (its, value) if its == name => (name, value),
            _ => (name, value),
        });
        self.token(&form).await
    }

    pub(super) async fn refresh(&self, token: &str) -> (u16, Value) {
        self.token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", CLIENT),
        ])
        .await
    }

    pub(super) async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let response = post_form(&self.at("token"), None, form).await;
        let status = response.status().as_u16();
        assert_eq!(response.headers()["cache-control"], "no-store");
        (status, response.json().await.unwrap())
    }
}

pub(super) const UNCHANGED: (&str, &str) = ("", "");

pub(super) fn refused(error: &str) -> (u16, Value) {
    (400, json!({ "error": error }))
}

pub(super) fn claims(tokens: &Value) -> Value {
    let token = tokens["id_token"].as_str().unwrap();
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

pub(super) fn refresh_token(tokens: &Value) -> &str {
    tokens["refresh_token"].as_str().unwrap()
}
