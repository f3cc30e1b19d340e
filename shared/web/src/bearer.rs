//! Bearer tokens in requests (RFC 6750), and the errors that refuse them.

use axum::http::{HeaderMap, HeaderValue, header};
use domain::token::TokenRefused;

use crate::api::{ApiError, ErrorCode};

/// The token of `Authorization: Bearer <token>` (RFC 6750).
///
/// # Errors
/// `missing_token` (401).
pub fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = || {
        unauthorized(
            ErrorCode::MissingToken,
            "send the header 'Authorization: Bearer <token>'",
        )
    };
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(missing)?
        .to_str()
        .map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        Ok(token.trim())
    } else {
        Err(missing())
    }
}

/// An error with the challenge that its status 401 requires (RFC 6750, section 3).
pub fn unauthorized(code: ErrorCode, message: impl Into<String>) -> ApiError {
    // RFC 6750, section 3.1: without a token the challenge names no error.
    let challenge = if code == ErrorCode::MissingToken {
        "Bearer"
    } else {
        "Bearer error=\"invalid_token\""
    };
    ApiError::new(code, message).header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    )
}

/// The answer when one of our own tokens is refused.
pub fn refused(refused: &TokenRefused) -> ApiError {
    let code = match refused {
        TokenRefused::Unknown => ErrorCode::InvalidToken,
        TokenRefused::Revoked(_) => ErrorCode::RevokedToken,
        TokenRefused::Expired(_) => ErrorCode::ExpiredToken,
        TokenRefused::Right(_) => {
            return ApiError::new(ErrorCode::InsufficientRight, refused.to_string());
        }
    };
    unauthorized(code, refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::token::TokenSecret;
    use proptest::prelude::*;

    /// A token of ours, or what is nearly one, or whatever stands in a header.
    fn token() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(TokenSecret::generate().unwrap().reveal().to_owned()),
            "srt_[0-9A-Za-z_-]{40,46}",
            "[!-~]{0,50}",
        ]
    }

    proptest! {
        #[test]
        fn what_follows_the_scheme_is_the_token(
            scheme in "Bearer|bearer|BEARER|Basic|", spaces in " {0,2}", token in token(),
        ) {
            let value = format!("{scheme}{spaces}{token}");
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())]);
            let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !spaces.is_empty();
            match bearer(&headers) {
                Ok(found) => prop_assert_eq!((found, true), (&*token, is_bearer)),
                Err(error) => prop_assert_eq!((error.code(), false), (ErrorCode::MissingToken, is_bearer)),
            }
        }

        #[test]
        fn a_token_of_ours_is_256_bits_as_they_were_made(token in token()) {
            let made = TokenSecret::generate().unwrap();
            prop_assert_eq!(TokenSecret::parse(made.reveal()), Some(made.clone()));
            if let Some(secret) = TokenSecret::parse(&token) {
                prop_assert_eq!(secret.reveal(), &token);
                prop_assert_eq!(token.len(), made.reveal().len());
            }
        }
    }
}
