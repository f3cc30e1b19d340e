use super::super::schedule::{RetryLimits, Schedule};
use super::*;
use time::macros::datetime;

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

/// What is shown, the state before, the verdicts; the circuit after them, and the effects of the last one.
type Row = (&'static str, State, Vec<Verdict>, Circuit, Vec<Effect>);

#[test]
fn each_verdict_has_its_effects() {
    use Effect::{EndPause, RecordFailure, RecordSuccess};
    use Verdict::{Down, Erring, Gone, Refused, Success, ToldToWait};
    let later = NOW + Duration::hours(3);
    let gone = || Effect::Disable {
        reason: DisabledReason::Gone,
        failing_since: None,
    };
    let (closed, open) = (Circuit::Closed, Circuit::Open);
    let rows: Vec<Row> = vec![
        (
            "a success changes nothing",
            healthy(),
            vec![Success],
            closed,
            vec![],
        ),
        (
            "a success ends what failed",
            healthy(),
            vec![Refused, Success],
            closed,
            vec![RecordSuccess],
        ),
        (
            "the second success ends nothing",
            healthy(),
            vec![Refused, Success, Success],
            closed,
            vec![],
        ),
        (
            "a refusal leaves the circuit closed",
            healthy(),
            vec![Refused],
            closed,
            vec![RecordFailure(None)],
        ),
        (
            "a receiver that is down is paused",
            healthy(),
            vec![Down],
            open,
            vec![RecordFailure(pause(false))],
        ),
        (
            "so is one that errs",
            healthy(),
            vec![Erring],
            open,
            vec![RecordFailure(pause(true))],
        ),
        (
            "one success excuses an error",
            healthy(),
            vec![Success, Erring],
            closed,
            vec![RecordFailure(None)],
        ),
        (
            "and no second one",
            healthy(),
            vec![Success, Erring, Erring],
            open,
            vec![RecordFailure(pause(true))],
        ),
        (
            "a success excuses no outage",
            healthy(),
            vec![Success, Down],
            open,
            vec![RecordFailure(pause(false))],
        ),
        (
            "an outage ends the excuse",
            healthy(),
            vec![Success, Down, Erring],
            open,
            vec![RecordFailure(pause(true))],
        ),
        (
            "the receiver says how long",
            healthy(),
            vec![ToldToWait(later)],
            open,
            vec![RecordFailure(told(later))],
        ),
        (
            "and what was sent before does not shorten it",
            healthy(),
            vec![ToldToWait(later), Down],
            open,
            vec![RecordFailure(None)],
        ),
        (
            "nor an error",
            healthy(),
            vec![ToldToWait(later), Erring],
            open,
            vec![RecordFailure(None)],
        ),
        (
            "nor a success",
            healthy(),
            vec![ToldToWait(later), Success],
            open,
            vec![],
        ),
        (
            "but the receiver may say it anew",
            healthy(),
            vec![ToldToWait(NOW), ToldToWait(later)],
            open,
            vec![RecordFailure(told(later))],
        ),
        ("gone is gone", healthy(), vec![Gone], open, vec![gone()]),
        (
            "a late success closes the circuit",
            healthy(),
            vec![Down, Success],
            closed,
            vec![RecordSuccess],
        ),
        (
            "a probe that succeeds closes it",
            probing(),
            vec![Success],
            closed,
            vec![RecordSuccess],
        ),
        (
            "a probe that is refused too",
            probing(),
            vec![Refused],
            closed,
            vec![EndPause, RecordFailure(None)],
        ),
        (
            "a probe that fails opens it",
            probing(),
            vec![Down],
            open,
            vec![RecordFailure(pause(false))],
        ),
        (
            "a probe that errs renews the pause",
            probing(),
            vec![Erring],
            open,
            vec![RecordFailure(pause(true))],
        ),
        (
            "an error in a pause does not",
            one_by_one(),
            vec![Erring],
            open,
            vec![RecordFailure(None)],
        ),
        (
            "an outage in a pause does",
            one_by_one(),
            vec![Down],
            open,
            vec![RecordFailure(pause(false))],
        ),
        (
            "a success in a pause ends it",
            one_by_one(),
            vec![Success],
            closed,
            vec![RecordSuccess],
        ),
        (
            "a refusal in a pause ends it",
            one_by_one(),
            vec![Refused],
            closed,
            vec![EndPause, RecordFailure(None)],
        ),
    ];
    for (what, state, verdicts, circuit, effects) in rows {
        let (state, given) = after(state, &verdicts);
        assert_eq!((state.circuit, given), (circuit, effects), "{what}");
    }
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
