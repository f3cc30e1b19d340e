//! What every HTTP function shares: the error envelope and the access log, strict queries and JSON, cursors, CORS, and the
//! Lambda runtime.
//!
//! It depends on the domain, and on none of the stores and clients of the functions.

pub mod api;
pub mod base;
pub mod bearer;
pub mod cors;
pub mod cursor;
pub mod fields;
pub mod json;
pub mod lambda;
pub mod query;
pub mod text;
