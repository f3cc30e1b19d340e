//! What every HTTP function shares: the error envelope and the access log, strict queries and JSON, cursors, CORS,
//! and how it runs on Lambda.
//!
//! It knows the domain and nothing that the functions work with.

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
