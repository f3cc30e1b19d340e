//! What the tests have in common: a browser, a system that somebody has signed in to, and what is to be seen there.

pub(crate) mod browser;
pub(crate) mod crawl;
mod driver;
pub(crate) mod looks;
pub(crate) mod stage;
pub(crate) mod tour;
