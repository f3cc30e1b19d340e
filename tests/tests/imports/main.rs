//! Reports of what a source's server has found: from its call to what webhooks are told, and whatever may go wrong between.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod checking;
mod failing;
mod missed;
mod seams;
mod settings;
mod whole;
