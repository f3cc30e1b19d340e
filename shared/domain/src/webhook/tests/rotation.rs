//! Secrets that are replaced.

use super::super::*;
use time::macros::datetime;

fn secret(number: u8) -> WebhookSecret {
    WebhookSecret::parse(&format!("the secret number {number}")).unwrap()
}

fn settings() -> Settings {
    Settings {
        name: "n".to_owned(),
        url: "https://receiver.example/".parse().unwrap(),
        secret: secret(0),
        previous_secrets: Vec::new(),
        project: None,
        events: BTreeSet::new(),
        headers: Vec::new(),
        format: Format::default(),
        schedule: Schedule::default(),
    }
}

fn signing(settings: &Settings, now: OffsetDateTime) -> Vec<WebhookSecret> {
    settings.signing_secrets(now).cloned().collect()
}

#[test]
fn all_secrets_of_a_day_sign_and_then_are_erased() {
    let start = datetime!(2026-03-01 12:00 UTC);
    let at = |hours| start + Duration::hours(hours);
    let mut settings = settings();
    for number in 1..=4 {
        settings
            .rotate(secret(number), at(i64::from(number)))
            .unwrap();
    }
    let all = [4, 3, 2, 1, 0].map(secret);
    assert_eq!(signing(&settings, at(5)), all);
    let full = settings.rotate(secret(5), at(5)).unwrap_err();
    assert_eq!(full, TooManySecrets(timestamp(at(25))));
    assert_eq!(signing(&settings, at(5)), all, "nothing has changed");

    // The first one's time is over, and there is room for another.
    assert_eq!(signing(&settings, at(25)), [4, 3, 2, 1].map(secret));
    settings.rotate(secret(5), at(25)).unwrap();
    assert_eq!(signing(&settings, at(25)), [5, 4, 3, 2, 1].map(secret));
    settings.forget_expired(at(100));
    assert_eq!(settings.previous_secrets, []);
}

#[test]
fn going_back_to_a_secret_takes_no_further_room() {
    let start = datetime!(2026-03-01 12:00 UTC);
    let mut settings = settings();
    for number in [1, 0, 1, 0, 1, 1] {
        settings.rotate(secret(number), start).unwrap();
    }
    assert_eq!(signing(&settings, start), [1, 0].map(secret));
}
