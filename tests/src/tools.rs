//! Programs that are not part of the project.

use std::process::{Command, Output};

/// The program, where it is installed. CI installs all of them, so there an absent one is a failure.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment says what is installed"
)]
pub fn find(program: &str) -> Option<Command> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "CI has no {program}"
    );
    is_there.then(|| Command::new(program))
}

/// Whether all of these are installed; see [`find`].
pub fn are_there(programs: &[&str]) -> bool {
    programs.iter().all(|program| find(program).is_some())
}

/// Runs a command to its end, which must be a success.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
