//! Who is calling: a person whose identity an OIDC issuer asserts by a JWT (RFC 7519). Also how such a person signs in.

mod claims;
mod error;
mod issuer;
mod keys;
mod person;
mod provider;
pub mod sign_in;

pub use claims::{COGNITO_GROUPS, IdentityOptions};
pub use error::VerifyError;
pub use person::{Identity, Role, UnknownRole};
pub use provider::IdentityProvider;
