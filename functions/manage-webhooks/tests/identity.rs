//! Identities against a real issuer on loopback, whose answers the tests choose and count.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use manage_webhooks::identity::{
    COGNITO_GROUPS, Identity, IdentityOptions, IdentityProvider, Role, VerifyError,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use shared::organization::OrganizationId;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const AUDIENCE: &str = "reports";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

// Making an RSA key takes a while, and one serves every test.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static EC: LazyLock<EcdsaKeyPair> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
static OTHER_EC: LazyLock<EcdsaKeyPair> = LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));

mod accepted {
    use super::*;

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
}

mod refused {
    use super::*;

    #[tokio::test]
    async fn claims_that_are_wrong_or_missing_are_refused() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let now = NOW.unix_timestamp();
        for (claim, value, reason) in [
            ("iss", json!("https://example.org"), "'iss'"),
            ("iss", json!([issuer.url]), "'iss'"),
            ("iss", Value::Null, "'iss'"),
            ("aud", json!("others"), "'aud'"),
            ("aud", json!([]), "'aud'"),
            ("aud", json!(["others", 1]), "'aud'"),
            ("aud", json!({ AUDIENCE: AUDIENCE }), "'aud'"),
            ("aud", json!("Reports"), "'aud'"),
            ("aud", Value::Null, "'aud'"),
            ("exp", Value::Null, "'exp'"),
            ("exp", json!((now + 60).to_string()), "'exp'"),
            ("exp", json!([now + 60]), "claims"),
            ("nbf", json!(now + 61), "not valid yet"),
            ("nbf", json!(1e300), "not valid yet"),
            ("nbf", json!(now.to_string()), "'nbf'"),
            ("sub", Value::Null, "'sub'"),
            ("sub", json!(""), "'sub'"),
            ("sub", json!(7), "'sub'"),
            ("sub", json!("x".repeat(256)), "'sub'"),
        ] {
            let mut claims = issuer.claims();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(claim);
            } else {
                claims[claim] = value;
            }
            refused(&provider, &es256(&header("ES256", "e"), &claims), reason).await;
        }
        assert_eq!(issuer.count(KEYS), 1);
    }

    #[tokio::test]
    async fn an_expired_token_is_told_as_such() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let now = NOW.unix_timestamp();
        for exp in [json!(now - 60), json!(0), json!(i64::MIN), json!(-1e300)] {
            let mut claims = issuer.claims();
            claims["exp"] = exp.clone();
            let token = es256(&header("ES256", "e"), &claims);
            let error = provider.verify(&token, NOW).await.unwrap_err();
            assert!(matches!(error, VerifyError::Expired), "{exp}: {error:?}");
        }
    }

    #[tokio::test]
    async fn an_expired_token_of_somebody_else_is_merely_invalid() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let mut claims = issuer.claims();
        claims["exp"] = 0.into();
        let token = token(&header("ES256", "e"), &claims, |message| {
            sign_ec(&OTHER_EC, message)
        });
        refused(&issuer.provider(), &token, "signature").await;
    }

    #[tokio::test]
    async fn signatures_of_others_are_refused() {
        let issuer = TestIssuer::start(&[rsa_jwk("r"), ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let claims = issuer.claims();
        let es = header("ES256", "e");
        let good = es256(&es, &claims);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (head, _) = message.split_once('.').unwrap();

        let mut administrator = claims.clone();
        administrator[COGNITO_GROUPS] = json!(["org/00000000-0000-0000-0000-000000000001/owner"]);
        let mut with_own_key = es.clone();
        with_own_key["jwk"] = ec_jwk("e", &OTHER_EC);
        let own = |header: &Value| token(header, &claims, |message| sign_ec(&OTHER_EC, message));
        let mut with_own_url = es.clone();
        with_own_url["jku"] = format!("{}/own", issuer.url).into();
        for (name, token) in [
            ("another key", own(&es)),
            ("a key in the header", own(&with_own_key)),
            ("a URL in the header", own(&with_own_url)),
            (
                "other claims",
                format!("{head}.{}.{signature}", part(&administrator)),
            ),
            ("zeros", token(&es, &claims, |_| vec![0; 64])),
            ("nothing", token(&es, &claims, |_| vec![])),
            (
                "ECDSA as ASN.1",
                token(&es, &claims, |message| asn1(&sign_ec(&EC, message))),
            ),
            (
                "another RSA",
                token(&header("RS256", "r"), &claims, |_| vec![1; 256]),
            ),
        ] {
            println!("{name}");
            refused(&provider, &token, "signature").await;
        }
        assert_eq!(issuer.count("/own"), 0);
    }

    #[tokio::test]
    async fn the_header_does_not_choose_the_algorithm() {
        let issuer = TestIssuer::start(&[rsa_jwk("r"), ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let claims = issuer.claims();
        for (alg, kid) in [("ES256", "r"), ("RS256", "e")] {
            for sign in [sign_rs256, sign_es256] {
                let token = token(&header(alg, kid), &claims, sign);
                refused(&provider, &token, "another algorithm").await;
            }
        }
    }

    #[tokio::test]
    async fn other_algorithms_are_refused_without_asking_the_issuer() {
        let issuer = TestIssuer::start(&[rsa_jwk("r"), ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let claims = issuer.claims();
        let rsa = |alg, encoding: &'static dyn RsaEncoding| {
            token(&header(alg, "r"), &claims, |message| {
                sign_rsa(encoding, message)
            })
        };
        let mut tokens = vec![
            rsa("RS384", &RSA_PKCS1_SHA384),
            rsa("PS256", &RSA_PSS_SHA256),
            token(&header("none", "e"), &claims, |_| vec![]),
            token(&header("None", "e"), &claims, |_| vec![]),
            token(&header("es256", "e"), &claims, sign_es256),
            token(&json!({ "kid": "e" }), &claims, sign_es256),
        ];
        // HS256 with what everybody knows of a public key.
        let modulus = rsa_jwk("r")["n"].as_str().unwrap().to_owned();
        let public = RSA.public_key();
        for secret in [
            public.as_ref().to_vec(),
            AsDer::<PublicKeyX509Der<'_>>::as_der(public)
                .unwrap()
                .as_ref()
                .to_vec(),
            URL_SAFE_NO_PAD.decode(&modulus).unwrap(),
            modulus.into_bytes(),
            EC.public_key().as_ref().to_vec(),
            rsa_jwk("r").to_string().into_bytes(),
        ] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            for kid in ["r", "e"] {
                tokens.push(token(&header("HS256", kid), &claims, |message| {
                    hmac::sign(&key, message).as_ref().to_vec()
                }));
            }
        }
        for token in tokens {
            refused(&provider, &token, "RS256 or ES256").await;
        }
        assert_eq!((issuer.count(DISCOVERY), issuer.count(KEYS)), (0, 0));
    }

    #[tokio::test]
    async fn what_is_not_a_jwt_is_refused_without_asking_the_issuer() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let good = issuer.token();
        for text in [
            "",
            ".",
            "..",
            "...",
            "srt_abc",
            "a.b.c",
            &format!("{good}."),
            &format!(".{good}"),
            &format!("{good}.{good}"),
            &format!("{} .b.c", part(&header("ES256", "e"))),
            &format!("{}.b.c", part(&json!([]))),
            "ж.ж.ж",
        ] {
            refused(&provider, text, "not a JWT").await;
        }
        assert_eq!(issuer.count(DISCOVERY), 0);
    }

    #[tokio::test]
    async fn a_payload_that_is_no_object_is_refused_although_it_is_signed() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let deep: Value = (0..100).fold(json!(1), |inner, _| json!([inner]));
        for payload in [json!([]), json!(null), json!("text"), deep] {
            let token = es256(&header("ES256", "e"), &payload);
            refused(&provider, &token, "claims").await;
        }
    }

    #[tokio::test]
    async fn a_critical_header_is_refused() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let mut header = header("ES256", "e");
        header["crit"] = json!(["b64"]);
        header["b64"] = false.into();
        let token = es256(&header, &issuer.claims());
        refused(&issuer.provider(), &token, "'crit'").await;
    }

    #[tokio::test]
    async fn a_long_jwt_is_refused_unread() {
        const MAX: usize = 16 * 1024;
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        refused(&provider, &"x".repeat(MAX), "not a JWT").await;
        refused(&provider, &"x".repeat(MAX + 1), "longer than 16384 bytes").await;

        let mut claims = issuer.claims();
        claims["padding"] = "x".repeat(13_000).into();
        let long = es256(&header("ES256", "e"), &claims);
        assert!(long.len() > MAX, "{}", long.len());
        refused(&provider, &long, "longer than 16384 bytes").await;
    }

    #[tokio::test]
    async fn without_kid_several_keys_are_ambiguous() {
        let issuer = TestIssuer::start(&[rsa_jwk("r"), ec_jwk("e", &EC)]).await;
        let provider = issuer.provider();
        let token = es256(&json!({ "alg": "ES256" }), &issuer.claims());
        refused(&provider, &token, "'kid'").await;
        let later = provider.verify(&token, NOW + Duration::minutes(2)).await;
        assert!(matches!(later, Err(VerifyError::Invalid(_))), "{later:?}");
        assert_eq!(issuer.count(KEYS), 1, "newer keys would not help");
    }

    #[tokio::test]
    async fn without_kid_the_only_key_still_chooses_the_algorithm() {
        let issuer = TestIssuer::start(&[rsa_jwk("r")]).await;
        let token = es256(&json!({ "alg": "ES256" }), &issuer.claims());
        refused(&issuer.provider(), &token, "another algorithm").await;
    }

    #[tokio::test]
    async fn keys_for_anything_else_are_ignored() {
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let p384 = ec(&ECDSA_P384_SHA384_FIXED_SIGNING);
        let mut on_p384 = ec_jwk("k", &p384);
        on_p384["crv"] = "P-384".into();
        on_p384.as_object_mut().unwrap().remove("alg");
        for key in [
            with(rsa_jwk("k"), "use", "enc".into()),
            with(rsa_jwk("k"), "use", "tls".into()),
            with(rsa_jwk("k"), "alg", "RS512".into()),
            with(rsa_jwk("k"), "alg", "PS256".into()),
            with(rsa_jwk("k"), "alg", "RSA-OAEP".into()),
            with(rsa_jwk("k"), "alg", "HS256".into()),
            with(rsa_jwk("k"), "key_ops", json!(["encrypt"])),
            with(ec_jwk("k", &EC), "use", "enc".into()),
            with(ec_jwk("k", &EC), "alg", "ECDH-ES".into()),
            with(ec_jwk("k", &EC), "crv", "secp256k1".into()),
            on_p384,
            json!({ "kty": "oct", "kid": "k", "k": "c2VjcmV0" }),
        ] {
            let issuer = TestIssuer::start(std::slice::from_ref(&key)).await;
            let provider = issuer.provider();
            println!("{key}");
            for token in [
                rs256(&header("RS256", "k"), &issuer.claims()),
                es256(&header("ES256", "k"), &issuer.claims()),
            ] {
                refused(&provider, &token, "does not have").await;
            }
        }
    }
}

mod asking_the_issuer {
    use super::*;

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

    // Time stands still, and jumps to the next deadline when everything waits.
    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_does_not_answer_is_waited_for_five_seconds() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        issuer.set(DISCOVERY, Answer::Never);
        let provider = issuer.provider();
        let token = issuer.token();
        let begun = tokio::time::Instant::now();
        let result = tokio::time::timeout(
            std::time::Duration::from_secs(60),
            provider.verify(&token, NOW),
        );
        let error = result.await.expect("there is a deadline").unwrap_err();
        assert!(matches!(error, VerifyError::Unavailable(_)), "{error:?}");
        assert_eq!(begun.elapsed().as_secs(), 5);
    }

    #[tokio::test]
    async fn an_issuer_that_is_not_there_is_unavailable() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let (provider, token) = (issuer.provider(), issuer.token());
        issuer.stop().await;
        unavailable(&provider, &token, NOW, DISCOVERY).await;
    }
}

#[test]
fn an_issuer_is_https_or_on_loopback() {
    for good in [
        "https://example.org",
        "https://example.org/",
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc",
        "http://127.0.0.1:9000/development-issuer",
        "http://127.9.9.9",
        "http://localhost:8080/realms/x",
        "http://[::1]:80",
    ] {
        let result = IdentityProvider::new(options(good));
        assert!(result.is_ok(), "{good}: {result:?}");
    }
    for bad in [
        "",
        "example.org",
        "http://example.org",
        "http://10.0.0.1",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://127.0.0.1@example.org",
        "http://[::2]",
        "ftp://127.0.0.1",
        "https://example.org?a=b",
        "https://example.org#a",
    ] {
        assert!(IdentityProvider::new(options(bad)).is_err(), "{bad}");
    }
    let without_audience = IdentityOptions {
        audience: String::new(),
        ..options("https://example.org")
    };
    assert!(IdentityProvider::new(without_audience).is_err());
}

mod roles {
    use super::*;

    #[tokio::test]
    async fn the_highest_role_in_each_organization_counts() {
        let [a, b, c] = [1, 2, 3].map(|n| OrganizationId::new(Uuid::from_u128(n)));
        let people = People::start().await;
        let identity = people
            .with_roles(json!([
                format!("org/{a}/viewer"),
                format!("org/{a}/owner"),
                format!("org/{a}/editor"),
                format!("org/{b}/administrator"),
            ]))
            .await;
        assert_eq!(identity.role_in(a), Some(Role::Owner));
        assert_eq!(identity.role_in(b), Some(Role::Administrator));
        assert_eq!(identity.role_in(c), None);
    }

    #[tokio::test]
    async fn one_role_may_be_a_text() {
        let org = OrganizationId::new(Uuid::from_u128(1));
        let people = People::start().await;
        let identity = people.with_roles(json!(format!("org/{org}/editor"))).await;
        assert_eq!(identity.role_in(org), Some(Role::Editor));
    }

    #[tokio::test]
    async fn whatever_is_not_a_role_is_ignored() {
        let people = People::start().await;
        let org = OrganizationId::new(Uuid::from_u128(1));
        for other in [
            json!("administrators"),
            json!(format!("org/{org}")),
            json!(format!("org/{org}/")),
            json!(format!("org/{org}/root")),
            json!(format!("org/{org}/Owner")),
            json!(format!("org/{org}/owner/")),
            json!(format!("org/{org}/owner ")),
            json!(format!(" org/{org}/owner")),
            json!(format!("/org/{org}/owner")),
            json!(format!("ORG/{org}/owner")),
            json!(format!("org/{}/owner", org.uuid().simple())),
            json!(format!("org/{{{org}}}/owner")),
            json!("org/*/owner"),
            json!("org//owner"),
            json!(["org", org, "owner"]),
            json!({ "org": org }),
            json!(7),
            json!(null),
        ] {
            let identity = people
                .with_roles(json!([other, format!("org/{org}/viewer")]))
                .await;
            assert_eq!(identity.role_in(org), Some(Role::Viewer), "{other}");
            assert_eq!(
                people.with_roles(other.clone()).await.role_in(org),
                None,
                "{other}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_has_a_role_without_the_claim() {
        let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
        let org = OrganizationId::new(Uuid::from_u128(1));
        let mut claims = issuer.claims();
        claims["groups"] = json!([format!("org/{org}/owner")]);
        let token = es256(&header("ES256", "e"), &claims);
        let identity = issuer.provider().verify(&token, NOW).await.unwrap();
        assert_eq!(identity.role_in(org), None);

        let provider = IdentityProvider::new(IdentityOptions {
            roles_claim: "groups".to_owned(),
            ..options(&issuer.url)
        });
        let identity = provider.unwrap().verify(&token, NOW).await.unwrap();
        assert_eq!(identity.role_in(org), Some(Role::Owner));
    }

    #[test]
    fn roles_are_ordered_and_read_by_their_names() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn any_claim_is_read() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let people = runtime.block_on(People::start());
        let text =
            "(org/)?(00000000-0000-0000-0000-00000000000[12]|.{0,8})/?(viewer|owner|.{0,8})/?";
        let claims = (proptest::collection::vec(text, 0..4), any::<bool>());
        TestRunner::default()
            .run(&claims, |(texts, alone)| {
                let claim = match texts.as_slice() {
                    [text] if alone => json!(text),
                    texts => json!(texts),
                };
                let identity = runtime.block_on(people.with_roles(claim));
                for n in 1..=2 {
                    let org = OrganizationId::new(Uuid::from_u128(n));
                    let has = |role| {
                        texts
                            .iter()
                            .any(|text| *text == format!("org/{org}/{role}"))
                    };
                    let expected = Role::ALL.into_iter().rev().find(|role| has(*role));
                    prop_assert_eq!(identity.role_in(org), expected);
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn any_text_is_refused() {
        let provider = IdentityProvider::new(options("https://example.org")).unwrap();
        TestRunner::default()
            .run(&"[A-Za-z0-9_.-]{0,40}|.{0,20}", |text| {
                let result = provider.verify(&text, NOW).now_or_never();
                let refused = matches!(result, Some(Err(VerifyError::Invalid(_))));
                prop_assert!(refused, "{:?}", result);
                Ok(())
            })
            .unwrap();
    }

    /// People of one issuer, whose keys are fetched once.
    struct People {
        issuer: TestIssuer,
        provider: IdentityProvider,
    }

    impl People {
        async fn start() -> Self {
            let issuer = TestIssuer::start(&[ec_jwk("e", &EC)]).await;
            let provider = issuer.provider();
            Self { issuer, provider }
        }

        async fn with_roles(&self, claim: Value) -> Identity {
            let mut claims = self.issuer.claims();
            claims[COGNITO_GROUPS] = claim;
            let token = es256(&header("ES256", "e"), &claims);
            self.provider.verify(&token, NOW).await.unwrap()
        }
    }
}

/// The token is refused for this reason, which shows nothing of the token.
async fn refused(provider: &IdentityProvider, token: &str, reason: &str) {
    let error = provider.verify(token, NOW).await.unwrap_err();
    let VerifyError::Invalid(message) = &error else {
        panic!("{error:?}");
    };
    assert!(message.contains(reason), "{message} instead of {reason}");
    for part in token.split('.').filter(|part| part.len() > 3) {
        assert!(!format!("{error:?} {error}").contains(part), "{message}");
    }
}

/// The token can be neither accepted nor refused, for this reason.
async fn unavailable(provider: &IdentityProvider, token: &str, now: OffsetDateTime, reason: &str) {
    let error = provider.verify(token, now).await.unwrap_err();
    let VerifyError::Unavailable(cause) = &error else {
        panic!("{error:?}");
    };
    assert!(format!("{cause:#}").contains(reason), "{cause:#}");
    assert_eq!(error.to_string(), "the issuer's keys are not known");
}

/// What the issuer answers to a path.
#[derive(Clone)]
enum Answer {
    Body(String),
    Status(u16),
    Redirect(&'static str),
    Never,
}

struct TestIssuer {
    url: String,
    served: Arc<Mutex<Served>>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Served {
    answers: BTreeMap<String, Answer>,
    requests: Vec<String>,
}

impl TestIssuer {
    async fn start(jwks: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Mutex::new(Served::default()));
        let shared = Arc::clone(&served);
        let service = Router::new().fallback(async move |uri: Uri| answer(&shared, &uri).await);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, service).await.unwrap() });
        let issuer = Self { url, served, tasks };
        issuer.set(DISCOVERY, issuer.configuration(&issuer.url, &issuer.url));
        issuer.set(KEYS, keys(jwks));
        issuer
    }

    fn provider(&self) -> IdentityProvider {
        IdentityProvider::new(options(&self.url)).unwrap()
    }

    fn set(&self, path: &str, answer: Answer) {
        let mut served = self.served.lock().unwrap();
        served.answers.insert(path.to_owned(), answer);
    }

    fn count(&self, path: &str) -> usize {
        let served = self.served.lock().unwrap();
        served.requests.iter().filter(|uri| *uri == path).count()
    }

    fn configuration(&self, issuer: &str, keys_at: &str) -> Answer {
        let configuration = json!({ "issuer": issuer, "jwks_uri": format!("{keys_at}{KEYS}") });
        Answer::Body(configuration.to_string())
    }

    fn claims(&self) -> Value {
        self.claims_at(NOW)
    }

    fn claims_at(&self, now: OffsetDateTime) -> Value {
        json!({
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "someone",
            "exp": (now + Duration::minutes(5)).unix_timestamp(),
        })
    }

    /// A good token, by the key `e`.
    fn token(&self) -> String {
        self.token_at(NOW)
    }

    fn token_at(&self, now: OffsetDateTime) -> String {
        es256(&header("ES256", "e"), &self.claims_at(now))
    }

    async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn answer(served: &Mutex<Served>, uri: &Uri) -> Response {
    let answer = {
        let mut served = served.lock().unwrap();
        served.requests.push(uri.to_string());
        served.answers.get(uri.path()).cloned()
    };
    match answer {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Body(text)) => text.into_response(),
        Some(Answer::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Some(Answer::Never) => std::future::pending().await,
    }
}

fn options(issuer: &str) -> IdentityOptions {
    IdentityOptions {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.to_owned(),
        roles_claim: COGNITO_GROUPS.to_owned(),
    }
}

fn keys(jwks: &[Value]) -> Answer {
    Answer::Body(json!({ "keys": jwks }).to_string())
}

fn header(alg: &str, kid: &str) -> Value {
    json!({ "typ": "JWT", "alg": alg, "kid": kid })
}

fn rs256(header: &Value, claims: &Value) -> String {
    token(header, claims, sign_rs256)
}

fn es256(header: &Value, claims: &Value) -> String {
    token(header, claims, sign_es256)
}

/// A JWT made by hand, since no library makes the wrong ones.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn sign_rs256(message: &[u8]) -> Vec<u8> {
    sign_rsa(&RSA_PKCS1_SHA256, message)
}

fn sign_es256(message: &[u8]) -> Vec<u8> {
    sign_ec(&EC, message)
}

fn sign_rsa(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

fn sign_ec(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message)
        .unwrap()
        .as_ref()
        .to_vec()
}

/// The same ECDSA signature in the form of X.509, which JWTs do not use.
fn asn1(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        // Positive, so a leading zero where the first bit is set, and none too many.
        let significant: Vec<u8> = bytes
            .iter()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect();
        let sign = if significant[0] & 0x80 == 0 {
            &[][..]
        } else {
            &[0]
        };
        let content = [sign, &significant].concat();
        [
            &[2, u8::try_from(content.len()).unwrap()],
            content.as_slice(),
        ]
        .concat()
    };
    let content = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [
        &[0x30, u8::try_from(content.len()).unwrap()],
        content.as_slice(),
    ]
    .concat()
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

fn rsa_jwk(kid: &str) -> Value {
    let public = RSA.public_key();
    json!({
        "kty": "RSA",
        "use": "sig",
        "kid": kid,
        "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
    })
}

fn ec_jwk(kid: &str, key: &EcdsaKeyPair) -> Value {
    // SEC 1, section 2.3.3: 4, x, y.
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(x),
        "y": URL_SAFE_NO_PAD.encode(y),
    })
}
