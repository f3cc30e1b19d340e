use super::super::schedule::{RetryLimits, Schedule};
use super::*;
use rstest::rstest;
use time::macros::datetime;

use Circuit::{Closed, Open};
use Effect::{EndPause, RecordFailure, RecordSuccess};
use Verdict::{Down, Erring, Gone, Refused, Success, ToldToWait};

mod sequences;

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn policy() -> RetryPolicy {
    RetryLimits::default().with(Schedule::Hourly)
}

fn wait() -> Duration {
    Duration::try_from(policy().wait()).unwrap()
}

/// The pause after an error that is no answer to how long to wait.
fn pause(is_answering: bool) -> Option<Pause> {
    Some(Pause {
        until: NOW + wait(),
        is_answering,
        is_told_to_wait: false,
    })
}

fn told(until: OffsetDateTime) -> Option<Pause> {
    Some(Pause {
        until,
        is_answering: false,
        is_told_to_wait: true,
    })
}

/// Longer than the pauses of ours.
fn later() -> OffsetDateTime {
    NOW + Duration::hours(3)
}

fn gone() -> Effect {
    Effect::Disable {
        reason: DisabledReason::Gone,
        failing_since: None,
    }
}

/// A batch to a healthy receiver.
fn healthy() -> State {
    State::new(Admission::All, None, &Health::default(), NOW)
}

fn failing(since: OffsetDateTime) -> Health {
    Health {
        failing_since: Some(timestamp(since)),
        ..Health::default()
    }
}

/// A batch that claimed the probe.
fn probing() -> State {
    let until = Some(NOW + wait());
    let health = failing(NOW - wait());
    State::new(Admission::Probe, until, &health, NOW)
}

/// A batch in the midst of the pause of a receiver that answers.
fn one_by_one() -> State {
    let health = failing(NOW - wait());
    State::new(Admission::OneByOne, None, &health, NOW)
}

/// The circuit and the effects after these verdicts, of which the last one's effects are given.
fn after(mut state: State, verdicts: &[Verdict]) -> (State, Vec<Effect>) {
    let mut effects = Vec::new();
    for verdict in verdicts {
        (state, effects) = step(state, *verdict, NOW, &policy());
    }
    (state, effects)
}

#[test]
fn what_is_stored_says_how_a_batch_begins() {
    let paused = |until: OffsetDateTime, is_answering| Health {
        paused_until: Some(timestamp(until)),
        is_answering,
        ..failing(NOW)
    };
    let minute = Duration::minutes(1);
    for (is_enabled, health, expected) in [
        (true, Health::default(), Admission::All),
        (true, failing(NOW), Admission::All),
        (true, paused(NOW + minute, false), Admission::Paused),
        (true, paused(NOW + minute, true), Admission::OneByOne),
        (true, paused(NOW, false), Admission::Probe),
        (true, paused(NOW - minute, true), Admission::Probe),
        (false, Health::default(), Admission::Disabled),
        (false, paused(NOW - minute, false), Admission::Disabled),
    ] {
        assert_eq!(admission(is_enabled, &health, NOW), expected, "{health:?}");
    }
}

#[test]
fn the_circuit_at_the_beginning_follows_from_the_admission() {
    let until = NOW + wait();
    let begin = |admission, probe| State::new(admission, probe, &Health::default(), NOW).circuit;
    let half_open = |probe| Circuit::HalfOpen { probe };
    assert_eq!(begin(Admission::All, None), Circuit::Closed);
    assert_eq!(begin(Admission::OneByOne, None), half_open(None));
    assert_eq!(begin(Admission::Probe, Some(until)), half_open(Some(until)));
    assert_eq!(
        begin(Admission::Probe, None),
        Circuit::Open,
        "somebody else has the probe"
    );
    assert_eq!(begin(Admission::Paused, None), Circuit::Open);
    assert_eq!(begin(Admission::Disabled, None), Circuit::Disabled);
}

#[rstest]
#[case::a_success_changes_nothing(healthy(), &[Success], Closed, &[])]
#[case::a_success_ends_what_failed(healthy(), &[Refused, Success], Closed, &[RecordSuccess])]
#[case::the_second_success_ends_nothing(healthy(), &[Refused, Success, Success], Closed, &[])]
#[case::a_refusal_leaves_the_circuit_closed(healthy(), &[Refused], Closed, &[RecordFailure(None)])]
#[case::a_receiver_that_is_down_is_paused(healthy(), &[Down], Open, &[RecordFailure(pause(false))])]
#[case::a_receiver_that_errs_is_paused_too(healthy(), &[Erring], Open, &[RecordFailure(pause(true))])]
#[case::one_success_excuses_an_error(healthy(), &[Success, Erring], Closed, &[RecordFailure(None)])]
#[case::one_success_excuses_no_second_error(healthy(), &[Success, Erring, Erring], Open, &[RecordFailure(pause(true))])]
#[case::a_success_excuses_no_outage(healthy(), &[Success, Down], Open, &[RecordFailure(pause(false))])]
#[case::an_outage_ends_the_excuse(healthy(), &[Success, Down, Erring], Open, &[RecordFailure(pause(true))])]
#[case::the_receiver_says_how_long(healthy(), &[ToldToWait(later())], Open, &[RecordFailure(told(later()))])]
#[case::an_outage_does_not_shorten_what_the_receiver_said(
    healthy(), &[ToldToWait(later()), Down], Open, &[RecordFailure(None)]
)]
#[case::an_error_does_not_shorten_what_the_receiver_said(
    healthy(), &[ToldToWait(later()), Erring], Open, &[RecordFailure(None)]
)]
#[case::a_success_does_not_shorten_what_the_receiver_said(healthy(), &[ToldToWait(later()), Success], Open, &[])]
#[case::the_receiver_may_say_anew_how_long(
    healthy(), &[ToldToWait(NOW), ToldToWait(later())], Open, &[RecordFailure(told(later()))]
)]
#[case::gone_is_gone(healthy(), &[Gone], Open, &[gone()])]
#[case::a_late_success_closes_the_circuit(healthy(), &[Down, Success], Closed, &[RecordSuccess])]
#[case::a_probe_that_succeeds_closes_the_circuit(probing(), &[Success], Closed, &[RecordSuccess])]
#[case::a_probe_that_is_refused_closes_the_circuit_too(probing(), &[Refused], Closed, &[EndPause, RecordFailure(None)])]
#[case::a_probe_that_fails_opens_the_circuit(probing(), &[Down], Open, &[RecordFailure(pause(false))])]
#[case::a_probe_that_errs_renews_the_pause(probing(), &[Erring], Open, &[RecordFailure(pause(true))])]
#[case::an_error_in_a_pause_does_not_renew_it(one_by_one(), &[Erring], Open, &[RecordFailure(None)])]
#[case::an_outage_in_a_pause_renews_it(one_by_one(), &[Down], Open, &[RecordFailure(pause(false))])]
#[case::a_success_in_a_pause_ends_it(one_by_one(), &[Success], Closed, &[RecordSuccess])]
#[case::a_refusal_in_a_pause_ends_it(one_by_one(), &[Refused], Closed, &[EndPause, RecordFailure(None)])]
fn each_verdict_has_its_effects(
    #[case] state: State,
    #[case] verdicts: &[Verdict],
    #[case] circuit: Circuit,
    #[case] effects_of_the_last: &[Effect],
) {
    let (state, effects) = after(state, verdicts);
    assert_eq!((state.circuit, &*effects), (circuit, effects_of_the_last));
}

#[test]
fn days_without_a_success_disable_the_webhook() {
    let limit = Duration::days(5);
    let since = |since: OffsetDateTime| State::new(Admission::All, None, &failing(since), NOW);
    let disables = |state: State, verdict| {
        let (_, effects) = step(state, verdict, NOW, &policy());
        effects.into_iter().find_map(|effect| match effect {
            Effect::Disable {
                reason,
                failing_since,
            } => Some((reason, failing_since)),
            _ => None,
        })
    };
    let expected = Some((DisabledReason::NoSuccess, Some(timestamp(NOW - limit))));
    for verdict in [
        Verdict::Refused,
        Verdict::Erring,
        Verdict::Down,
        Verdict::ToldToWait(NOW),
    ] {
        assert_eq!(
            disables(since(NOW - limit), verdict),
            expected,
            "{verdict:?}"
        );
        let almost = since(NOW - limit + Duration::SECOND);
        assert_eq!(disables(almost, verdict), None, "{verdict:?}");
    }
    // Who has no use for a message is there.
    for verdict in [Verdict::Success, Verdict::NotWanted] {
        assert_eq!(disables(since(NOW - limit), verdict), None);
        let (state, _) = step(since(NOW - limit), verdict, NOW, &policy());
        assert_eq!(
            disables(state, Verdict::Down),
            None,
            "the time begins anew with a success"
        );
    }
}

#[test]
fn a_webhook_that_is_disabled_stays_so() {
    for verdict in [
        Verdict::Success,
        Verdict::Refused,
        Verdict::Erring,
        Verdict::Down,
        Verdict::ToldToWait(NOW),
        Verdict::Gone,
    ] {
        let (state, _) = step(healthy().disabled(), verdict, NOW, &policy());
        assert_eq!(state.circuit, Circuit::Disabled, "{verdict:?}");
    }
}

#[test]
fn the_end_of_a_batch_leaves_nothing_undone() {
    let until = NOW + wait();
    assert_eq!(finish(&healthy()), []);
    assert_eq!(finish(&probing()), [Effect::ReturnProbe(until)]);
    assert_eq!(finish(&one_by_one()), [], "nothing was claimed");
    let (soon, later) = (NOW + Duration::SECOND, NOW + Duration::MINUTE);
    let told = |state| {
        let (state, _) = step(state, Verdict::ToldToWait(soon), NOW, &policy());
        step(state, Verdict::ToldToWait(later), NOW, &policy()).0
    };
    assert_eq!(finish(&told(healthy())), [Effect::CallAt(later)]);
    assert_eq!(finish(&told(healthy()).disabled()), []);
    let (recovered, _) = step(probing(), Verdict::Success, NOW, &policy());
    let rest = finish(&told(recovered));
    assert_eq!(rest, [Effect::CallAt(later)], "what waits goes on waiting");
    for verdict in [Verdict::Success, Verdict::Refused] {
        let (state, _) = after(probing(), &[verdict]);
        assert_eq!(finish(&state), [Effect::ReplayDue], "{verdict:?}");
    }
    let (state, _) = after(probing(), &[Verdict::Down]);
    assert_eq!(finish(&state), [], "the pause was renewed");

    let late = NOW + LONG + Duration::SECOND;
    let (state, _) = step(healthy(), Verdict::Success, late, &policy());
    assert_eq!(finish(&state), [Effect::RecordSuccessSince(late)]);
    let (state, _) = step(state, Verdict::Down, late, &policy());
    assert_eq!(finish(&state), [], "the failure is newer");
}

#[test]
fn what_failed_is_due_again_when_the_pause_is_over() {
    let later = NOW + Duration::hours(3);
    for (verdict, expected) in [
        (Verdict::Success, None),
        (Verdict::Refused, Some(NOW + wait())),
        (Verdict::Erring, Some(NOW + wait())),
        (Verdict::Down, Some(NOW + wait())),
        (Verdict::Gone, Some(NOW + wait())),
        (Verdict::ToldToWait(later), Some(later)),
    ] {
        assert_eq!(verdict.due_again(NOW, &policy()), expected, "{verdict:?}");
    }
}
