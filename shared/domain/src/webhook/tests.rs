mod rotation;

use super::*;
use crate::report::change::{ReportChange, ReportEvent};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::macros::datetime;

const CREATED: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const CHANGED: OffsetDateTime = datetime!(2026-03-02 12:00 UTC);
const MILLISECOND: Duration = Duration::MILLISECOND;

/// A webhook that was made at [`CREATED`], as it was stored before former settings were noted.
fn webhook(project: Option<&str>, events: &[ReportEvent]) -> Webhook {
    let mut stored = json!({
        "org": "00000000-0000-0000-0000-000000000001", "id": "00000000-0000-0000-0000-000000000002", "revision": 1,
        "name": "n", "url": "https://receiver.example/", "secret": "a secret of sixteen", "events": events,
        "createdAt": timestamp(CREATED), "updatedAt": timestamp(CREATED),
    });
    if let Some(project) = project {
        stored["project"] = project.into();
    }
    serde_json::from_value(stored).unwrap()
}

fn change(project: &str, event: ReportEvent, stored: &str) -> ReportChange {
    serde_json::from_value(json!({
        "event": event, "org": "00000000-0000-0000-0000-000000000001", "revision": 7,
        "summary": {
            "projectName": "Name", "id": "00000000-0000-0000-0000-000000000004", "reportType": "CWE Top 25",
            "reportVersion": 2024, "projectVersion": "1.0", "date": "2025-12-17T09:05:48Z",
            "uploadDate": stored, "vulnerabilitiesCount": 1, "securityRating": "A",
        },
        "details": {"projectKey": project},
    }))
    .unwrap()
}

fn wants(webhook: &Webhook, project: &str, event: ReportEvent, stored: OffsetDateTime) -> bool {
    webhook.wants(&change(project, event, &timestamp(stored)).into())
}

#[test]
fn a_webhook_is_told_of_what_is_stored_after_it_was_made() {
    let webhook = webhook(None, &[]);
    for (stored, expected) in [
        (CREATED - Duration::DAY, false),
        (CREATED - CLOCKS - MILLISECOND, false),
        (CREATED - CLOCKS, true),
        (CREATED, true),
        (CREATED + Duration::DAY, true),
    ] {
        let told = wants(&webhook, "a", ReportEvent::Published, stored);
        assert_eq!(told, expected, "{stored}");
    }
    // What was published before may be deleted afterwards.
    let mut deleted = change(
        "a",
        ReportEvent::Deleted,
        &timestamp(CREATED - Duration::DAY),
    );
    deleted.deleted_at = Some(timestamp(CREATED));
    assert!(
        !webhook.wants(&deleted.clone().into()),
        "it has to name the event"
    );
    let named = self::webhook(None, &[ReportEvent::Deleted]);
    assert!(named.wants(&deleted.clone().into()));
    deleted.deleted_at = Some(timestamp(CREATED - Duration::DAY));
    assert!(!named.wants(&deleted.into()));
    // An item that somebody wrote by hand.
    let odd = change("a", ReportEvent::Published, "yesterday");
    assert!(webhook.wants(&odd.into()));
}

#[test]
fn what_came_to_be_included_counts_from_then_on_and_what_was_included_counts_as_before() {
    use ReportEvent::{Published, Updated};
    let before = webhook(Some("a"), &[Published]).settings;
    for (project, events, is_new) in [
        (None, vec![Published], [("b", Published), ("c", Published)]),
        (Some("b"), vec![Published], [("b", Published); 2]),
        (Some("a"), vec![Published, Updated], [("a", Updated); 2]),
        (Some("a"), vec![], [("a", Updated); 2]),
        (None, vec![], [("a", Updated), ("b", Published)]),
    ] {
        let mut webhook = webhook(project, &events);
        webhook.note_former(&before, CHANGED);
        let early = CHANGED - Duration::HOUR;
        for (project, event) in is_new {
            assert!(!wants(&webhook, project, event, early), "{webhook:?}");
            assert!(wants(&webhook, project, event, CHANGED - CLOCKS));
        }
        let is_kept = project != Some("b");
        assert_eq!(wants(&webhook, "a", Published, early), is_kept);
        assert!(!wants(&webhook, "a", Published, CREATED - Duration::HOUR));
        let stored: Value = serde_json::to_value(&webhook).unwrap();
        assert_eq!(serde_json::from_value::<Webhook>(stored).unwrap(), webhook);
    }
}

#[test]
fn what_was_included_all_along_is_told_in_spite_of_an_interlude() {
    use ReportEvent::Published;
    let mut webhook = webhook(None, &[]);
    let mut set = |project: Option<&str>, at: OffsetDateTime| {
        let before = webhook.settings.clone();
        webhook.settings.wanted.projects = project.into_iter().map(str::to_owned).collect();
        webhook.note_former(&before, at);
    };
    set(Some("a"), CHANGED);
    set(None, CHANGED + Duration::MINUTE);
    let at = |minutes| CHANGED + Duration::minutes(minutes);
    let told = |project, stored| wants(&webhook, project, Published, stored);
    assert!(told("b", at(-60)), "it was, and is, and is announced late");
    assert!(!told("b", CHANGED + Duration::seconds(30)));
    assert!(told("a", CHANGED + Duration::seconds(30)));
    assert!(told("b", at(2)));
}

#[test]
fn of_two_changes_both_count() {
    use ReportEvent::{Published, Updated};
    let mut webhook = webhook(Some("a"), &[Published]);
    let before = webhook.settings.clone();
    webhook.settings.wanted.projects = BTreeSet::new();
    webhook.note_former(&before, CHANGED);
    let before = webhook.settings.clone();
    webhook.settings.wanted.events = BTreeSet::new();
    webhook.note_former(&before, CHANGED + Duration::HOUR);
    let early = CHANGED - Duration::HOUR;
    assert!(wants(&webhook, "a", Published, early));
    assert!(!wants(&webhook, "b", Published, early));
    let between = CHANGED + Duration::minutes(30);
    assert!(wants(&webhook, "b", Published, between));
    assert!(!wants(&webhook, "b", Updated, between));
}

#[test]
fn of_very_many_changes_the_latest_are_remembered() {
    let mut webhook = webhook(None, &[]);
    for number in 0..50 {
        let before = webhook.settings.clone();
        webhook.settings.wanted.projects = BTreeSet::from([format!("p{number}")]);
        webhook.note_former(&before, CHANGED + Duration::minutes(number));
    }
    assert_eq!(webhook.former.len(), MAX_FORMER);
    let same = webhook.settings.clone();
    webhook.note_former(&same, CHANGED + Duration::DAY);
    assert_eq!(
        webhook.former.last().unwrap().wanted.only_project(),
        Some("p48")
    );
}
