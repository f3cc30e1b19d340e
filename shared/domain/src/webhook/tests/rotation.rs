//! Secrets that are replaced.

use crate::date::timestamp;
use crate::webhook::secret::{Secrets, TooManySecrets, WebhookSecret};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

fn secret(number: u8) -> WebhookSecret {
    WebhookSecret::parse(&format!("the secret number {number}")).unwrap()
}

fn secrets() -> Secrets {
    Secrets::new(Some(secret(0)))
}

fn signing(secrets: &Secrets, now: OffsetDateTime) -> Vec<WebhookSecret> {
    secrets.signing(now).cloned().collect()
}

#[test]
fn all_secrets_of_a_day_sign_and_then_are_erased() {
    let start = datetime!(2026-03-01 12:00 UTC);
    let at = |hours| start + Duration::hours(hours);
    let mut secrets = secrets();
    for number in 1..=4 {
        secrets
            .rotate(secret(number), at(i64::from(number)))
            .unwrap();
    }
    let all = [4, 3, 2, 1, 0].map(secret);
    assert_eq!(signing(&secrets, at(5)), all);
    let full = secrets.rotate(secret(5), at(5)).unwrap_err();
    assert_eq!(full, TooManySecrets(timestamp(at(25))));
    assert_eq!(signing(&secrets, at(5)), all, "nothing has changed");

    // The first one's time is over, and there is room for another.
    assert_eq!(signing(&secrets, at(25)), [4, 3, 2, 1].map(secret));
    secrets.rotate(secret(5), at(25)).unwrap();
    assert_eq!(signing(&secrets, at(25)), [5, 4, 3, 2, 1].map(secret));
    secrets.forget_expired(at(100));
    assert_eq!(secrets.previous_secrets, []);
}

#[test]
fn going_back_to_a_secret_takes_no_further_room() {
    let start = datetime!(2026-03-01 12:00 UTC);
    let mut secrets = secrets();
    for number in [1, 0, 1, 0, 1, 1] {
        secrets.rotate(secret(number), start).unwrap();
    }
    assert_eq!(signing(&secrets, start), [1, 0].map(secret));
}

#[test]
fn what_signs_for_the_first_time_has_nothing_before_it() {
    let now = datetime!(2026-03-01 12:00 UTC);
    let mut secrets = Secrets::default();
    assert_eq!(signing(&secrets, now), []);
    secrets.rotate(secret(1), now).unwrap();
    assert_eq!(signing(&secrets, now), [secret(1)]);
    assert_eq!(secrets.previous_until(now), None);
    secrets.rotate(secret(2), now).unwrap();
    let end = timestamp(now + Duration::DAY);
    assert_eq!(secrets.previous_until(now), Some(end.as_str()));
    assert_eq!(secrets.previous_until(now + Duration::DAY), None);
}
