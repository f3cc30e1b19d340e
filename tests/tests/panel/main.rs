//! The panel, as far as HTTP goes. What only a browser shows is in `tests/browser`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod guard;
mod imports;
mod managing;
mod products;
mod roles;
mod seams;
mod sessions;
mod stage;
