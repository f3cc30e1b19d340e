//! What every HTTP function shares: the error envelope and the access log, strict queries and JSON, cursors, CORS.
//!
//! It knows the domain and nothing that the functions work with.

pub mod api;
pub mod bearer;
pub mod cors;
pub mod cursor;
pub mod fields;
pub mod json;
pub mod query;
pub mod text;
