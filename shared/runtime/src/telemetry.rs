//! What a function writes to its log.

/// Logs as Lambda wants it: its environment says how much, and in which format. What lies below INFO is not in a release build
/// at all (see `tracing` in the workspace): it would hold organizations' ids.
pub fn init() {
    lambda_runtime::tracing::init_default_subscriber();
}
