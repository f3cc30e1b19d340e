//! The issuer behind a listener: its keys, and whom it lets in.

mod flow;
mod support;

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::issuer::entry::ENTRY_FILE;
use identity::{IdentityProvider, VerifyError};
use reqwest::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
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
async fn its_keys_survive_a_restart_and_are_its_owners() {
    let data = TempDir::new().unwrap();
    let (listener, url) = listen().await;
    let before = DevelopmentIssuer::open(&url, Some(data.path())).unwrap();
    let now = OffsetDateTime::now_utc();
    let token = before.token(&[(ORG, Role::Owner)], now, VALIDITY).unwrap();
    for name in [KEY_FILE, ENTRY_FILE] {
        let file = data.path().join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 2);

    let after = DevelopmentIssuer::open(&url, Some(data.path())).unwrap();
    assert_eq!(after.enter_url(), before.enter_url());
    let _tasks = serve(listener, &after);
    let provider = IdentityProvider::new(after.options()).unwrap();
    let identity = provider.verify(&token, now).await.unwrap();
    assert_eq!(identity.role_in(ORG), Some(Role::Owner));
    let entered = get_page(&before.enter_url(), None).await;
    assert_eq!(entered.status(), 303);

    for name in [KEY_FILE, ENTRY_FILE] {
        let file = data.path().join(name);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, "broken").unwrap();
        let opened = DevelopmentIssuer::open(&url, Some(data.path()));
        assert!(opened.is_err(), "{name}");
        std::fs::write(&file, whole).unwrap();
    }
}

#[test]
fn all_who_open_a_new_folder_have_the_same_keys() {
    let data = TempDir::new().unwrap();
    let open = || DevelopmentIssuer::open("http://127.0.0.1:1", Some(data.path())).unwrap();
    let opened = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    for issuer in &opened {
        assert_eq!(issuer.public, opened[0].public);
        assert_eq!(issuer.enter_url(), opened[0].enter_url());
    }
}

#[tokio::test]
async fn it_gives_away_its_public_key_only() {
    let (listener, url) = listen().await;
    let issuer = DevelopmentIssuer::open(&url, None).unwrap();
    let _tasks = serve(listener, &issuer);
    let keys: Value = reqwest::get(format!("{url}{PATH}/jwks.json"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut members: Vec<_> = keys["keys"][0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    for (path, status) in [("", 404), ("/", 404), ("/token", 405), ("/authorize", 403)] {
        let response = reqwest::get(format!("{url}{PATH}{path}")).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let response = post_form(&format!("{url}{PATH}/token"), None, &[]).await;
    assert_eq!(response.status(), 400);
    let shown = format!("{issuer:?}");
    assert!(shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains(issuer.entry.reveal()), "{shown}");
}

#[tokio::test]
async fn who_has_the_key_enters_and_nobody_else() {
    let (listener, url) = listen().await;
    let issuer = DevelopmentIssuer::open(&url, None).unwrap();
    let _tasks = serve(listener, &issuer);
    let link = issuer.enter_url();
    let (enter, key) = link.split_once("?key=").unwrap();
    assert_eq!(enter, format!("{url}{PATH}/enter"));
    assert_eq!(key.len(), 32);

    let entered = get_page(&link, None).await;
    assert_eq!(entered.status(), 303);
    assert_eq!(entered.headers()[LOCATION], format!("{url}/panel/"));
    let cookie = entered.headers()[SET_COOKIE].to_str().unwrap();
    let port = url.rsplit_once(':').unwrap().1;
    assert!(cookie.starts_with(&format!("development-issuer-{port}=")));
    assert!(cookie.ends_with("; Path=/development-issuer; HttpOnly; SameSite=Lax"));
    assert!(!cookie.contains(key), "{cookie}");

    let other = DevelopmentIssuer::open(&url, None).unwrap().enter_url();
    let short = &link[..link.len() - 1];
    let twice = format!("{enter}?key={key}&key={key}");
    for link in [enter, &other, short, &twice, &format!("{enter}?key=")] {
        let response = get_page(link, None).await;
        assert_eq!(response.status(), 403, "{link}");
        assert_eq!(response.headers().get(SET_COOKIE), None, "{link}");
        let page = response.text().await.unwrap();
        assert!(page.contains("local.env") && page.contains("printed"));
        assert!(!page.contains(key), "{link}");
    }
}

#[tokio::test]
async fn by_another_name_it_answers_nothing_but_its_public_key() {
    let (listener, url) = listen().await;
    let issuer = DevelopmentIssuer::open(&url, None).unwrap();
    let _tasks = serve(listener, &issuer);
    let port = url.rsplit_once(':').unwrap().1;
    let names = [
        format!("attacker.example:{port}"),
        format!("localhost:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{port}0"),
    ];
    for name in names {
        let call = async |request: reqwest::RequestBuilder| {
            request.header(HOST, &name).send().await.unwrap().status()
        };
        for path in ["authorize", "logout"] {
            let status = call(client().get(format!("{url}{PATH}/{path}"))).await;
            assert_eq!(status, 403, "{name} {path}");
        }
        assert_eq!(call(client().get(issuer.enter_url())).await, 403, "{name}");
        for path in ["authorize", "token", "revoke"] {
            let status = call(client().post(format!("{url}{PATH}/{path}"))).await;
            assert_eq!(status, 403, "{name} {path}");
        }
        for path in [".well-known/openid-configuration", "jwks.json"] {
            let status = call(client().get(format!("{url}{PATH}/{path}"))).await;
            assert_eq!(status, 200, "{name} {path}");
        }
    }
    assert_eq!(issuer.token_requests(), 0);
}

#[test]
fn its_host_is_what_browsers_say() {
    for (url, host) in [
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://localhost:80", "localhost"),
        ("https://[::1]", "[::1]"),
        ("https://api.example:444/v1", "api.example:444"),
    ] {
        assert_eq!(host_of(url).unwrap(), host);
    }
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

fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(Policy::none());
    builder.build().unwrap()
}

async fn get_page(url: &str, cookie: Option<&str>) -> reqwest::Response {
    let mut request = client().get(url);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    request.send().await.unwrap()
}

async fn post_form(url: &str, cookie: Option<&str>, form: &[(&str, &str)]) -> reqwest::Response {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let mut request = client()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, cookie);
    }
    request.send().await.unwrap()
}
