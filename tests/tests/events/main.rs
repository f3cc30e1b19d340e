//! Calls of SonarQube: taken, kept, and told to webhooks in each format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod managing;
mod receivers;
mod receiving;
mod relaying;
mod sonarqube;
