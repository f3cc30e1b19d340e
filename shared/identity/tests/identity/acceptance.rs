//! Tokens that are accepted.

use identity::IdentityProvider;
use serde_json::json;

use crate::support::issuer::{AUDIENCE, DISCOVERY, KEYS, TestIssuer, options};
use crate::support::signing::{EC, ec_jwk, es256, header, rs256, rsa_jwk};
use crate::support::{NOW, refused};

#[tokio::test]
async fn rs256_and_es256_are_accepted() {
    let issuer = TestIssuer::start(&[rsa_jwk("r"), ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    for (token, name) in [
        (rs256(&header("RS256", "r"), &issuer.claims()), "RS256"),
        (es256(&header("ES256", "e"), &issuer.claims()), "ES256"),
    ] {
        let identity = provider.verify(&token, NOW).await.expect(name);
        assert_eq!(identity.subject, "someone", "{name}");
    }
    assert_eq!((issuer.count(DISCOVERY), issuer.count(KEYS)), (1, 1));
}

#[tokio::test]
async fn without_kid_the_only_key_is_meant() {
    // A key for something else is as if it were not there.
    let mut encryption = rsa_jwk("r");
    encryption["use"] = "enc".into();
    let issuer = TestIssuer::start(&[encryption, ec_jwk("e", &EC)]).await;
    let token = es256(&json!({ "alg": "ES256" }), &issuer.claims());
    issuer.provider().verify(&token, NOW).await.unwrap();
}

#[tokio::test]
async fn one_kid_may_name_a_key_of_each_kind() {
    let issuer = TestIssuer::start(&[rsa_jwk("k"), ec_jwk("k", &EC)]).await;
    let token = es256(&header("ES256", "k"), &issuer.claims());
    issuer.provider().verify(&token, NOW).await.unwrap();
}

#[tokio::test]
async fn keys_that_are_not_understood_do_not_hide_the_others() {
    let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "q", "pub": "AA" });
    let broken = json!({ "kty": "EC", "crv": "P-256", "x": "!", "y": 7, "kid": "b" });
    let issuer = TestIssuer::start(&[unknown, broken, json!(5), ec_jwk("e", &EC)]).await;
    issuer
        .provider()
        .verify(&issuer.token(), NOW)
        .await
        .unwrap();
}

#[tokio::test]
async fn claims_within_their_bounds_are_accepted() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let provider = issuer.provider();
    let now = NOW.unix_timestamp();
    for (claim, value) in [
        ("aud", json!(["others", AUDIENCE])),
        ("exp", json!(now - 59)),
        ("exp", json!(now as f64 + 0.5)),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(now + 60)),
        ("nbf", json!(i64::MIN)),
        ("sub", json!("ж".repeat(255))),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value.clone();
        let token = es256(&header("ES256", "e"), &claims);
        let result = provider.verify(&token, NOW).await;
        assert!(result.is_ok(), "{claim} = {value}: {result:?}");
    }
}

#[tokio::test]
async fn an_issuer_may_end_in_a_slash() {
    let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
    let name = format!("{}/", issuer.url);
    issuer.set(DISCOVERY, issuer.configuration(&name, &issuer.url));
    let provider = IdentityProvider::new(options(&name)).unwrap();

    let mut claims = issuer.claims();
    claims["iss"] = name.into();
    let token = es256(&header("ES256", "e"), &claims);
    provider.verify(&token, NOW).await.unwrap();
    // Without the slash it is another issuer.
    refused(&provider, &issuer.token(), "'iss'").await;
}
