//! Tokens that are refused, and why.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, KeyPair as _, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use identity::{COGNITO_GROUPS, IdentityProvider, VerifyError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use time::Duration;

use crate::support::issuer::{AUDIENCE, DISCOVERY, KEYS, TestIssuer, options};
use crate::support::signing::{
    EC, OTHER_EC, RSA, asn1, ec, ec_jwk, es256, header, part, rs256, rsa_jwk, sign_ec, sign_es256,
    sign_rs256, sign_rsa, token,
};
use crate::support::{NOW, refused};

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
        ("sub", json!("x\n12:00:00 webhook"), "control character"),
        ("sub", json!("\rx"), "control character"),
        ("sub", json!("x\u{1b}[2K"), "control character"),
        ("sub", json!("x\u{0}"), "control character"),
        ("sub", json!("x\u{85}y"), "control character"),
        ("sub", json!("x\u{2028}y"), "line break"),
        ("sub", json!("x\u{202e}y"), "control character"),
        ("sub", json!("x\u{2067}y"), "control character"),
        ("sub", json!("x\u{2029}y"), "line break"),
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
