//! What a person at the terminal sees, or a log of CI.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;

use sonarqube::Step;
use tracing::level_filters::LevelFilter;

/// How wide a bar is, in characters.
const WIDTH: usize = 24;

/// Prints a line.
pub(crate) fn say(text: &str) {
    // Nobody may be reading any more; that is no reason to stop.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Logs to standard error, as plain lines.
pub(crate) fn log() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .init();
}

/// A bar for each step on a terminal; elsewhere a line when it begins.
pub(crate) struct Bars {
    is_terminal: bool,
    current: Mutex<Option<Step>>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            current: Mutex::new(None),
        }
    }

    pub(crate) fn show(&self, step: &Step, done: usize, of: usize) {
        let name = match step {
            Step::Project => "the project".to_owned(),
            Step::Standard(standard) => format!("findings of {standard}"),
            Step::Rules => "rules".to_owned(),
        };
        let Ok(mut current) = self.current.lock() else {
            return;
        };
        let is_new = current.as_ref() != Some(step);
        *current = Some(step.clone());
        if !self.is_terminal {
            if is_new {
                say(&format!("Reading {name}"));
            }
            return;
        }
        let filled = (WIDTH * done).checked_div(of).unwrap_or(WIDTH).min(WIDTH);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled));
        let end = if done >= of { "\n" } else { "" };
        let _ = write!(io::stdout(), "\r[{bar}] Reading {name}{end}");
        let _ = io::stdout().flush();
    }
}
