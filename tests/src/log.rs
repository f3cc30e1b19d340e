//! What the system logs while tests run: no line may hold an organization's id, since that is the key to its reports, nor a secret.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};

use domain::organization::OrganizationId;
use local::STAND_INS;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

#[derive(Debug, Default)]
struct Watched {
    organizations: HashSet<OrganizationId>,
    secrets: Vec<String>,
    /// Lines that hold the id of one of the organizations, or one of the secrets.
    leaks: Vec<String>,
}

static WATCHED: LazyLock<Mutex<Watched>> = LazyLock::new(Mutex::default);

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on no line may hold the organization's id.
pub fn watch(org: OrganizationId) {
    begin();
    watched().organizations.insert(org);
}

/// From now on no line may hold this text, of letters and digits: so there is no other way to write it.
pub fn watch_secret(secret: &str) {
    begin();
    watched().secrets.push(secret.to_owned());
}

fn begin() {
    /// For all tests of this process: what they start logs from threads and tasks of its own.
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let targets = Targets::new()
            .with_default(LEVEL)
            .with_targets(STAND_INS.map(|target| (target, LevelFilter::OFF)));
        let watcher = Watcher.with_filter(targets);
        let subscriber = tracing_subscriber::registry().with(watcher);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// What a release build logs at the most; see the features of `tracing` in the workspace.
const LEVEL: Level = Level::INFO;

/// Takes note of a line that a process has printed.
pub fn read(line: &str) {
    let mut watched = watched();
    let has_secret = watched.secrets.iter().any(|it| line.contains(it));
    if has_secret || uuids(line).any(|org| watched.organizations.contains(&org)) {
        watched.leaks.push(line.to_owned());
    }
}

/// The lines that held an organization's id or a secret since this was asked last.
pub fn leaks() -> Vec<String> {
    std::mem::take(&mut watched().leaks)
}

/// Whatever in a text has the form of an organization's id.
fn uuids(text: &str) -> impl Iterator<Item = OrganizationId> {
    const LENGTH: usize = 36;
    let starts = 0..(text.len() + 1).saturating_sub(LENGTH);
    starts.filter_map(|at| text.get(at..at + LENGTH)?.to_lowercase().parse().ok())
}

/// Reads every line before anybody formats it: messages, fields, and the fields of spans.
struct Watcher;

impl<S: Subscriber> Layer<S> for Watcher {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut text = Text::default();
        attributes.record(&mut text);
        read(&text.0);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        values.record(&mut text);
        read(&text.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        read(&text.0);
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_line_with_an_organization_is_found_wherever_the_id_stands() {
        let org = OrganizationId::new(Uuid::new_v4());
        watch(org);
        tracing::info!("nothing of an organization");
        assert!(leaks().is_empty());
        tracing::info!("reports of {org}");
        tracing::warn!(key = format!("reports/{org}/0"), "it is in a field");
        let _span = tracing::info_span!("request", %org);
        read(&format!("é{}.", org.to_string().to_uppercase()));
        assert_eq!(leaks().len(), 4);
        watch_secret("0Secret1");
        tracing::info!("name=n&secret=0Secret1");
        assert_eq!(leaks().len(), 1);
        tracing::info!("reports of {}", org.digest());
        tracing::info!("reports of {:?}", org);
        assert!(leaks().is_empty());
    }
}
