//! What every function has around its work: configuration, telemetry, metrics.

pub mod clock;
pub mod config;
pub mod metrics;
pub mod telemetry;
