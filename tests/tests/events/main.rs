//! Calls of SonarQube and `CodeScoring`: taken, kept, and told to webhooks in each format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod codescoring;
mod managing;
mod receivers;
mod receiving;
mod relaying;
mod sonarqube;
mod support;
