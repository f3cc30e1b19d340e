//! JWTs made by hand, good ones and wrong ones, and the keys that sign them.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

// Making an RSA key takes a while, and one serves every test.
pub(crate) static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
pub(crate) static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
pub(crate) static OTHER_EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| ec(&ECDSA_P256_SHA256_FIXED_SIGNING));

pub(crate) fn header(alg: &str, kid: &str) -> Value {
    json!({ "typ": "JWT", "alg": alg, "kid": kid })
}

pub(crate) fn rs256(header: &Value, claims: &Value) -> String {
    token(header, claims, sign_rs256)
}

pub(crate) fn es256(header: &Value, claims: &Value) -> String {
    token(header, claims, sign_es256)
}

/// A JWT made by hand, since no library makes the wrong ones.
pub(crate) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub(crate) fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

pub(crate) fn sign_rs256(message: &[u8]) -> Vec<u8> {
    sign_rsa(&RSA_PKCS1_SHA256, message)
}

pub(crate) fn sign_es256(message: &[u8]) -> Vec<u8> {
    sign_ec(&EC, message)
}

pub(crate) fn sign_rsa(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

pub(crate) fn sign_ec(key: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(&SystemRandom::new(), message)
        .unwrap()
        .as_ref()
        .to_vec()
}

/// The same ECDSA signature in the form of X.509, which JWTs do not use.
pub(crate) fn asn1(signature: &[u8]) -> Vec<u8> {
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

pub(crate) fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

pub(crate) fn rsa_jwk(kid: &str) -> Value {
    let public = RSA.public_key();
    json!({
        "kty": "RSA",
        "use": "sig",
        "kid": kid,
        "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
        "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
    })
}

pub(crate) fn ec_jwk(kid: &str, key: &EcdsaKeyPair) -> Value {
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
