//! What every function needs around its work: configuration, telemetry and metrics.

pub mod clock;
pub mod config;
pub mod metrics;
pub mod telemetry;
