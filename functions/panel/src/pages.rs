//! The pages.

pub(crate) mod complaint;
pub(crate) mod confirm;
pub(crate) mod deliveries;
pub(crate) mod organization;
pub(crate) mod products;
pub(crate) mod reports;
pub(crate) mod secrets;
pub(crate) mod sign_in;
pub(crate) mod sources;
pub(crate) mod tokens;
pub(crate) mod webhooks;
