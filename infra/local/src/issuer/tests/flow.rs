//! What a panel does with the issuer, and what others try.

use super::support::*;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

#[tokio::test]
async fn a_panel_signs_in_and_stays_signed_in() {
    let validity = (Duration::seconds(30), Duration::seconds(90));
    let panel = Panel::with(|issuer| issuer.with_validity(validity.0, validity.1)).await;
    let provider = IdentityProvider::new(IdentityOptions {
        audience: CLIENT.to_owned(),
        ..panel.issuer.options()
    })
    .unwrap();
    for (role, subject, held) in [
        ("administrator", "developer", Some(Role::Administrator)),
        ("editor", "developer-editor", Some(Role::Editor)),
        ("viewer", "developer-viewer", Some(Role::Viewer)),
        ("nobody", "developer-nobody", None),
    ] {
        let code = panel.sign_in(role).await;
        let (status, first) = panel.redeem(&code, UNCHANGED).await;
        assert_eq!(status, 200, "{first}");
        assert_eq!(first["token_type"], "Bearer");
        assert_eq!(first["expires_in"], 30);
        assert!(first["access_token"].is_string());
        let said = claims(&first);
        assert_eq!(said["nonce"], NONCE);
        assert_eq!(said["email"], format!("{role}@localhost"));
        assert_eq!(said["auth_time"], said["iat"]);

        let (status, later) = panel.refresh(refresh_token(&first)).await;
        assert_eq!(status, 200, "{later}");
        assert_eq!(later["expires_in"], 90);
        assert_ne!(refresh_token(&first), refresh_token(&later));
        assert_eq!(claims(&later).get("nonce"), None);
        assert_eq!(claims(&later)["auth_time"], said["auth_time"]);

        let now = OffsetDateTime::now_utc();
        for tokens in [&first, &later] {
            let token = tokens["id_token"].as_str().unwrap();
            let identity = provider.verify(token, now).await.unwrap();
            assert_eq!(identity.subject, subject);
            assert_eq!(identity.role_in(crate::DEMO_ORGANIZATION), held);
        }
        // The API has another audience.
        let api = IdentityProvider::new(panel.issuer.options()).unwrap();
        let token = first["id_token"].as_str().unwrap();
        assert!(api.verify(token, now).await.is_err());
    }
    assert_eq!(panel.issuer.token_requests(), 8);
}

#[tokio::test]
async fn the_page_asks_as_whom_to_sign_in() {
    let panel = Panel::start().await;
    let callback = panel.callback();
    let asked = panel.asked(&callback, ("role", None));
    let url = Url::parse_with_params(&panel.at("authorize"), asked).unwrap();
    let response = get_page(url.as_str(), Some(&panel.cookie)).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let page = response.text().await.unwrap();
    assert!(page.contains(r#"<html lang="en">"#) && page.contains("<h1>Sign in as</h1>"));
    for (name, value) in [
        ("state", "s&amp;t&quot;a&lt;t&gt;e"),
        ("nonce", NONCE),
        ("redirect_uri", &callback),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("scope", "openid email"),
    ] {
        let input = format!(r#"<input type="hidden" name="{name}" value="{value}">"#);
        assert!(page.contains(&input), "{page}");
    }
    for (name, label) in [
        ("administrator", "Administrator"),
        ("editor", "Editor"),
        ("viewer", "Viewer"),
        ("nobody", "Nobody"),
    ] {
        let button = format!(
            r#"<button type="submit" id="{name}" name="role" value="{name}">{label}</button>"#
        );
        assert!(page.contains(&button), "{page}");
    }
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self' {}; frame-ancestors 'none'; base-uri 'none'",
        STANDARD.encode(Sha256::digest(style)),
        panel.url
    );
    for (name, value) in [
        ("content-security-policy", policy.as_str()),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(headers[name], value);
    }
}

#[tokio::test]
async fn a_wrong_request_leads_nowhere() {
    let panel = Panel::start().await;
    let callback = panel.callback();
    let longer = format!("{callback}/");
    let query = format!("{callback}?a=b");
    let plus = CHALLENGE.replace('-', "+");
    for changed in [
        ("response_type", Some("token")),
        ("client_id", Some("sonarqube-reports")),
        ("redirect_uri", Some("https://attacker.example/")),
        ("redirect_uri", Some(&longer)),
        ("redirect_uri", Some(&query)),
        ("redirect_uri", None),
        ("scope", Some("email openidx")),
        ("state", None),
        ("nonce", Some("")),
        ("code_challenge", None),
        ("code_challenge", Some(&CHALLENGE[1..])),
        ("code_challenge", Some(&plus)),
        ("code_challenge_method", Some("plain")),
        ("code_challenge_method", None),
    ] {
        let asked = panel.asked(&callback, changed);
        let url = Url::parse_with_params(&panel.at("authorize"), &asked).unwrap();
        for response in [
            get_page(url.as_str(), Some(&panel.cookie)).await,
            post_form(&panel.at("authorize"), Some(&panel.cookie), &asked).await,
        ] {
            assert_eq!(response.status(), 400, "{changed:?}");
            assert_eq!(response.headers().get(LOCATION), None, "{changed:?}");
        }
    }
    for role in [Some("owner"), Some("Viewer"), None] {
        let asked = panel.asked(&callback, ("role", role));
        let response = post_form(&panel.at("authorize"), Some(&panel.cookie), &asked).await;
        assert_eq!(response.status(), 400, "{role:?}");
    }
}

#[tokio::test]
async fn nobody_signs_in_without_the_cookie_or_by_a_form_of_another_page() {
    let panel = Panel::start().await;
    let callback = panel.callback();
    let asked = panel.asked(&callback, ("", None));
    let url = Url::parse_with_params(&panel.at("authorize"), &asked).unwrap();
    let (name, value) = panel.cookie.rsplit_once('=').unwrap();
    let wrong = format!("{name}={}", value.replace(|_: char| true, "0"));
    let key = format!("{name}={}", panel.issuer.entry.reveal());
    let renamed = format!("other={value}");
    for cookie in [None, Some(&wrong), Some(&key), Some(&renamed)] {
        let cookie = cookie.map(String::as_str);
        for response in [
            get_page(url.as_str(), cookie).await,
            post_form(&panel.at("authorize"), cookie, &asked).await,
        ] {
            assert_eq!(response.status(), 403, "{cookie:?}");
            let page = response.text().await.unwrap();
            assert!(page.contains("local.env"), "{cookie:?}");
        }
    }
    for (site, status) in [
        ("same-origin", 303),
        ("same-site", 403),
        ("cross-site", 403),
        ("none", 403),
    ] {
        let body = url.query().unwrap().to_owned();
        let request = client().post(panel.at("authorize")).body(body);
        let request = request
            .header(COOKIE, &panel.cookie)
            .header("sec-fetch-site", site);
        assert_eq!(request.send().await.unwrap().status(), status, "{site}");
    }
}

#[tokio::test]
async fn a_code_is_good_once_and_for_who_asked_for_it() {
    let panel = Panel::start().await;
    let code = panel.sign_in("viewer").await;
    assert_eq!(panel.redeem(&code, UNCHANGED).await.0, 200);
    assert_eq!(
        panel.redeem(&code, UNCHANGED).await,
        refused("invalid_grant")
    );

    let there = format!("{}/panel/", panel.url);
    for (changed, expected) in [
        (("code_verifier", CHALLENGE), refused("invalid_grant")),
        (("code_verifier", ""), refused("invalid_request")),
        (("redirect_uri", there.as_str()), refused("invalid_grant")),
        (
            ("client_id", "other"),
            (401, json!({ "error": "invalid_client" })),
        ),
    ] {
        let code = panel.sign_in("viewer").await;
        assert_eq!(panel.redeem(&code, changed).await, expected, "{changed:?}");
        // The first attempt used it up.
        let again = panel.redeem(&code, UNCHANGED).await;
        assert_eq!(again, refused("invalid_grant"), "{changed:?}");
    }
    let code = panel.sign_in("viewer").await;
    for (grant_type, error) in [
        ("password", "unsupported_grant_type"),
        ("", "invalid_request"),
    ] {
        let changed = ("grant_type", grant_type);
        assert_eq!(panel.redeem(&code, changed).await, refused(error));
    }
    let other = panel.redeem("0123456789abcdef0123456789abcdef", UNCHANGED);
    assert_eq!(other.await, refused("invalid_grant"));
}

#[tokio::test]
async fn a_refresh_token_ends_when_it_is_used_revoked_or_all_are_refused() {
    let panel = Panel::start().await;
    let code = panel.sign_in("editor").await;
    let (_, first) = panel.redeem(&code, UNCHANGED).await;
    assert_eq!(first["expires_in"], 900);
    let (_, second) = panel.refresh(refresh_token(&first)).await;
    let again = panel.refresh(refresh_token(&first)).await;
    assert_eq!(again, refused("invalid_grant"));
    let (status, third) = panel.refresh(refresh_token(&second)).await;
    assert_eq!(status, 200);
    assert_eq!(third["expires_in"], 900);

    // Another client ends nothing, and is not told so.
    let revoke = async |token: &str, client: &str| {
        let form = [("token", token), ("client_id", client)];
        let revoked = post_form(&panel.at("revoke"), None, &form).await;
        assert_eq!(revoked.status(), 200);
    };
    revoke(refresh_token(&third), "other").await;
    let (status, fourth) = panel.refresh(refresh_token(&third)).await;
    assert_eq!(status, 200);
    revoke(refresh_token(&fourth), CLIENT).await;
    revoke(refresh_token(&fourth), CLIENT).await;
    let revoked = panel.refresh(refresh_token(&fourth)).await;
    assert_eq!(revoked, refused("invalid_grant"));

    let code = panel.sign_in("editor").await;
    let (_, tokens) = panel.redeem(&code, UNCHANGED).await;
    panel.issuer.refuse_refreshes();
    let refreshed = panel.refresh(refresh_token(&tokens)).await;
    assert_eq!(refreshed, refused("invalid_grant"));
    let code = panel.sign_in("editor").await;
    assert_eq!(panel.redeem(&code, UNCHANGED).await.0, 200);
}

#[tokio::test]
async fn a_sign_out_leads_back_to_the_panel_only() {
    let panel = Panel::start().await;
    for (to, client, status) in [
        ("/panel/", CLIENT, 303),
        ("/panel/signed-out", CLIENT, 303),
        ("/panel/", "other", 400),
        ("/panel", CLIENT, 400),
        ("/panel/callback", CLIENT, 400),
        (".attacker.example/panel/", CLIENT, 400),
    ] {
        let to = format!("{}{to}", panel.url);
        let parameters = [
            ("id_token_hint", "a.b.c"),
            ("client_id", client),
            ("post_logout_redirect_uri", &to),
        ];
        let url = Url::parse_with_params(&panel.at("logout"), parameters).unwrap();
        let response = get_page(url.as_str(), Some(&panel.cookie)).await;
        assert_eq!(response.status(), status, "{to}");
        let location = response.headers().get(LOCATION);
        assert_eq!(location.is_some_and(|it| it == &to), status == 303, "{to}");
        assert_eq!(response.headers().get(SET_COOKIE), None, "{to}");
    }
    let without = get_page(&panel.at("logout"), None).await;
    assert_eq!(without.status(), 400);
}

#[tokio::test]
async fn its_configuration_says_what_it_can() {
    let panel = Panel::start().await;
    let response = get_page(&panel.at(".well-known/openid-configuration"), None).await;
    let configuration: Value = response.json().await.unwrap();
    for (name, path) in [
        ("authorization_endpoint", "authorize"),
        ("token_endpoint", "token"),
        ("end_session_endpoint", "logout"),
        ("revocation_endpoint", "revoke"),
        ("jwks_uri", "jwks.json"),
    ] {
        assert_eq!(configuration[name], panel.at(path));
    }
    for (name, values) in [
        ("code_challenge_methods_supported", json!(["S256"])),
        ("response_types_supported", json!(["code"])),
        (
            "grant_types_supported",
            json!(["authorization_code", "refresh_token"]),
        ),
        ("token_endpoint_auth_methods_supported", json!(["none"])),
    ] {
        assert_eq!(configuration[name], values);
    }
}
