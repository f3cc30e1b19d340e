//! The domain and the stores that two functions or more need.
//!
//! What one function alone needs lives in that function. Modules are named after nouns of the domain; identifiers are
//! types of their own, made by parsing, so that past the edge no plain string is an organization or a version.

pub mod announcement;
pub mod api;
pub mod aws;
pub mod config;
pub mod cors;
pub mod cursor;
pub mod date;
pub mod delivery;
pub mod delivery_store;
pub mod fields;
pub mod id;
pub mod json;
pub mod message;
pub mod metrics;
pub mod object;
pub mod organization;
pub mod query;
pub mod queue;
pub mod report;
pub mod report_store;
pub mod tls;
pub mod token;
pub mod version;
pub mod webhook;
pub mod webhook_store;
