//! Making reports and publishing them, as the command line does it and whoever else publishes over HTTP.

pub mod client;
pub mod report;
pub mod steady;
