//! The issuer's keys: when it is asked for them, what is believed, and what holds while it does not answer.

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use identity::VerifyError;
use serde_json::json;
use time::Duration;

use crate::support::issuer::{Answer, DISCOVERY, KEYS, TestIssuer, keys};
use crate::support::signing::{EC, OTHER_EC, ec_jwk, es256, header, sign_ec, token};
use crate::support::{NOW, refused, unavailable};

#[tokio::test]
async fn concurrent_tokens_share_a_fetch() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    let token = issuer.token();
    let results = join_all((0..20).map(|_| provider.verify(&token, NOW))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!((issuer.count(DISCOVERY), issuer.count(KEYS)), (1, 1));

    // So do clones, and keys that are unknown or old.
    let later = NOW + Duration::hours(2);
    let clones = [provider.clone(), provider.clone(), provider];
    let results = join_all(clones.iter().map(|clone| clone.verify(&token, later))).await;
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(VerifyError::Expired))),
        "{results:?}"
    );
    assert_eq!((issuer.count(DISCOVERY), issuer.count(KEYS)), (1, 2));
}

#[tokio::test]
async fn concurrent_tokens_share_a_failure() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    issuer.set(KEYS, Answer::Status(503));
    let provider = issuer.provider();
    let token = issuer.token();
    let results = join_all((0..20).map(|_| provider.verify(&token, NOW))).await;
    for result in results {
        assert!(
            matches!(result, Err(VerifyError::Unavailable(_))),
            "{result:?}"
        );
    }
    assert_eq!(issuer.count(KEYS), 1);
}

#[tokio::test]
async fn a_caller_who_goes_away_does_not_leave_the_others_without_keys() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    let token = issuer.token();
    let mut gone = Box::pin(provider.verify(&token, NOW));
    assert!(
        gone.as_mut().now_or_never().is_none(),
        "it waits for the issuer"
    );
    let mut waiting = Box::pin(provider.verify(&token, NOW));
    assert!(
        waiting.as_mut().now_or_never().is_none(),
        "it waits for the first"
    );
    drop(gone);
    waiting.await.unwrap();
}

#[tokio::test]
async fn nothing_is_asked_before_the_first_token() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let _provider = issuer.provider();
    tokio::task::yield_now().await;
    assert_eq!(issuer.count(DISCOVERY), 0);
}

#[tokio::test]
async fn the_first_fetch_is_repeated_until_it_succeeds() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    let token = issuer.token();
    for (path, good) in [
        (DISCOVERY, issuer.configuration(&issuer.url, &issuer.url)),
        (KEYS, keys(&[ec_jwk("e", &EC)])),
    ] {
        issuer.set(path, Answer::Status(500));
        let before = issuer.count(path);
        for times in 1..=2 {
            unavailable(&provider, &token, NOW, "500").await;
            assert_eq!(issuer.count(path), before + times);
        }
        issuer.set(path, good);
    }
    provider.verify(&token, NOW).await.unwrap();
}

#[tokio::test]
async fn keys_are_fetched_again_after_an_hour() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    for (after, fetches) in [
        (0, 1),
        (3599, 1),
        (3600, 2),
        (3601, 2),
        (7199, 2),
        (7200, 3),
    ] {
        let now = NOW + Duration::seconds(after);
        provider.verify(&issuer.token_at(now), now).await.unwrap();
        assert_eq!(issuer.count(KEYS), fetches, "after {after} s");
    }
    assert_eq!(issuer.count(DISCOVERY), 1);
}

#[tokio::test]
async fn a_key_that_the_issuer_took_back_is_refused_after_an_hour() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();
    for left in [vec![ec_jwk("new", &OTHER_EC)], vec![]] {
        issuer.set(KEYS, keys(&left));
        let later = NOW + Duration::hours(1);
        let result = provider.verify(&issuer.token_at(later), later).await;
        assert!(matches!(result, Err(VerifyError::Invalid(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_new_key_is_found_by_its_kid() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();

    issuer.set(KEYS, keys(&[ec_jwk("e", &EC), ec_jwk("new", &OTHER_EC)]));
    let new = token(&header("ES256", "new"), &issuer.claims(), |message| {
        sign_ec(&OTHER_EC, message)
    });
    let later = NOW + Duration::seconds(60);
    provider.verify(&new, later).await.unwrap();
    provider.verify(&issuer.token(), later).await.unwrap();
    assert_eq!(issuer.count(KEYS), 2);
}

#[tokio::test]
async fn concurrent_tokens_of_a_new_key_share_a_fetch() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();
    issuer.set(KEYS, keys(&[ec_jwk("new", &EC)]));
    let new = es256(&header("ES256", "new"), &issuer.claims());
    let later = NOW + Duration::minutes(1);
    let results = join_all((0..5).map(|_| provider.verify(&new, later))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(issuer.count(KEYS), 2);
}

#[tokio::test]
async fn a_token_whose_key_is_known_does_not_wait_for_a_fetch() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();
    issuer.set(KEYS, Answer::Never);
    for (now, kid) in [
        (NOW + Duration::minutes(1), "x"),
        (NOW + Duration::hours(1), "e"),
    ] {
        let slow = es256(&header("ES256", kid), &issuer.claims_at(now));
        let mut waiting = Box::pin(provider.verify(&slow, now));
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits");
        let token = issuer.token_at(now);
        let result = provider.verify(&token, now).now_or_never();
        result.expect("it does not wait").unwrap();
    }
}

#[tokio::test]
async fn unknown_kids_are_asked_for_once_a_minute() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    for (after, fetches) in [
        (0, 1),
        (1, 1),
        (59, 1),
        (60, 2),
        (61, 2),
        (119, 2),
        (120, 3),
    ] {
        let now = NOW + Duration::seconds(after);
        for kid in ["x", "y", ""] {
            let token = es256(&header("ES256", kid), &issuer.claims());
            let result = provider.verify(&token, now).await;
            assert!(matches!(result, Err(VerifyError::Invalid(_))), "{result:?}");
        }
        assert_eq!(issuer.count(KEYS), fetches, "after {after} s");
    }
}

#[tokio::test]
async fn keys_survive_an_outage_of_a_day() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();
    issuer.set(KEYS, Answer::Status(503));
    issuer.set(DISCOVERY, Answer::Status(503));

    for (after, attempts) in [(3600, 1), (3601, 1), (3659, 1), (3660, 2), (86_399, 3)] {
        let now = NOW + Duration::seconds(after);
        provider.verify(&issuer.token_at(now), now).await.unwrap();
        // After the first failure it is asked again where the keys are.
        let asked = issuer.count(KEYS) + issuer.count(DISCOVERY) - 2;
        assert_eq!(asked, attempts, "after {after} s");
    }
    let day = NOW + Duration::hours(24);
    unavailable(&provider, &issuer.token_at(day), day, "503").await;

    issuer.set(DISCOVERY, issuer.configuration(&issuer.url, &issuer.url));
    issuer.set(KEYS, keys(&[ec_jwk("e", &EC)]));
    provider.verify(&issuer.token_at(day), day).await.unwrap();
}

#[tokio::test]
async fn during_an_outage_an_unknown_kid_is_not_the_callers_fault() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();
    issuer.set(KEYS, Answer::Status(503));
    let new = es256(&header("ES256", "new"), &issuer.claims());
    refused(&provider, &new, "does not have").await;
    unavailable(&provider, &new, NOW + Duration::minutes(1), "503").await;
    unavailable(&provider, &new, NOW + Duration::seconds(61), "503").await;
    assert_eq!(issuer.count(KEYS), 2);

    issuer.set(KEYS, keys(&[ec_jwk("e", &EC)]));
    let result = provider.verify(&new, NOW + Duration::minutes(2)).await;
    assert!(matches!(result, Err(VerifyError::Invalid(_))), "{result:?}");
}

#[tokio::test]
async fn keys_that_moved_are_found_again() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    provider.verify(&issuer.token(), NOW).await.unwrap();

    issuer.set(KEYS, Answer::Status(404));
    issuer.set(
        DISCOVERY,
        issuer.configuration(&issuer.url, &format!("{}/moved", issuer.url)),
    );
    issuer.set("/moved/keys", keys(&[ec_jwk("new", &EC)]));
    let new = es256(&header("ES256", "new"), &issuer.claims());
    unavailable(&provider, &new, NOW + Duration::minutes(1), "404").await;
    provider
        .verify(&new, NOW + Duration::minutes(2))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_configuration_of_another_issuer_is_not_believed() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    for other in [
        "https://example.org".to_owned(),
        format!("{}/", issuer.url),
        issuer.url.to_uppercase(),
    ] {
        issuer.set(DISCOVERY, issuer.configuration(&other, &issuer.url));
        unavailable(&provider, &issuer.token(), NOW, "is of the issuer").await;
    }
    assert_eq!(issuer.count(KEYS), 0);
}

#[tokio::test]
async fn keys_are_not_fetched_by_plain_http_from_elsewhere() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    for elsewhere in [
        "http://192.0.2.1",
        "http://localhost.example.org",
        "ftp://127.0.0.1",
    ] {
        issuer.set(DISCOVERY, issuer.configuration(&issuer.url, elsewhere));
        unavailable(&provider, &issuer.token(), NOW, "is not https").await;
    }
    issuer.set(DISCOVERY, issuer.configuration(&issuer.url, "keys"));
    unavailable(&provider, &issuer.token(), NOW, "jwks_uri 'keys").await;
}

#[tokio::test]
async fn a_redirect_is_a_failure() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    issuer.set("/elsewhere", keys(&[ec_jwk("e", &EC)]));
    issuer.set(KEYS, Answer::Redirect("/elsewhere"));
    unavailable(&provider, &issuer.token(), NOW, "302").await;
    assert_eq!(issuer.count("/elsewhere"), 0);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_a_failure() {
    const MAX: usize = 256 * 1024;
    let issuer = TestIssuer::start(&[]).await;
    let provider = issuer.provider();
    let set = |bytes: usize| {
        let mut text = json!({ "keys": [ec_jwk("e", &EC)] }).to_string();
        text.push_str(&" ".repeat(bytes - text.len()));
        Answer::Body(text)
    };
    issuer.set(KEYS, set(MAX + 1));
    unavailable(&provider, &issuer.token(), NOW, "more than 262144 bytes").await;
    issuer.set(KEYS, set(MAX));
    provider.verify(&issuer.token(), NOW).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_a_failure() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    for text in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"keys": {}}"#,
        r#"{"keys": [}"#,
    ] {
        issuer.set(KEYS, Answer::Body(text.to_owned()));
        unavailable(&provider, &issuer.token(), NOW, "/keys").await;
    }
}

// This takes five seconds. tokio's clock stands still only with a feature for tests, for which tokio and all that stands on
// it would be compiled once more.
#[tokio::test]
async fn an_issuer_that_does_not_answer_is_waited_for_five_seconds() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    issuer.set(DISCOVERY, Answer::Never);
    let provider = issuer.provider();
    let token = issuer.token();
    let begun = std::time::Instant::now();
    // So long API Gateway waits.
    let result = tokio::time::timeout(
        std::time::Duration::from_secs(29),
        provider.verify(&token, NOW),
    );
    let error = result.await.expect("there is a deadline").unwrap_err();
    assert!(matches!(error, VerifyError::Unavailable(_)), "{error:?}");
    // Not less. A machine that is busy may take it longer.
    assert!(begun.elapsed().as_secs() >= 5);
    assert_eq!(issuer.count(DISCOVERY), 1);
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_unavailable() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let (provider, token) = (issuer.provider(), issuer.token());
    issuer.stop().await;
    unavailable(&provider, &token, NOW, DISCOVERY).await;
}
