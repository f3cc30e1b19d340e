//! The log of a function.

/// Starts logging. The environment of Lambda sets the level and the format. A release build has no log calls below INFO (see
/// `tracing` in the workspace), since they would contain organizations' ids.
pub fn init() {
    lambda_runtime::tracing::init_default_subscriber();
}
