//! The panel, as people have it: in Chromium, by `WebDriver`. Each test has a system and a browser of its own.
//!
//! Without `chromedriver` and `chromium` in the PATH every test says so and ends, unless the variable CI is set. What holds pages
//! against WCAG needs axe-core besides: `AXE=path/to/axe.min.js` (`npm pack axe-core`).
//!
//! `SCREENSHOTS=/tmp/shots cargo test -p tests --test browser screenshots` makes pictures of every page and state.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accessibility;
mod crawling;
mod deliveries;
mod elsewhere;
mod entering;
mod hostile;
mod keyboard;
mod reports;
mod screenshots;
mod scripts_off;
mod support;
mod webhooks;
