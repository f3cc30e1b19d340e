//! What a function writes to its log.

/// Logs as Lambda wants it: its environment says how much, and in which format.
pub fn init() {
    lambda_runtime::tracing::init_default_subscriber();
}
