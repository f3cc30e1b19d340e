//! The health of a webhook's receiver: a circuit breaker, and the rules by which a webhook is disabled.
//!
//! The circuit breaker has three states ([`Circuit`]):
//!
//! - *Closed*: every delivery is sent.
//! - *Open*: no delivery is sent. The receiver seems to be down, and the webhook is paused.
//! - *Half-open*: after the pause, one batch claims the probe by a conditional write. It tries one delivery after the other
//!   until a verdict shows how the receiver does. So a receiver that is down costs one request per wait, however many
//!   deliveries are due.
//!
//! A receiver may answer with an error of its own because of a single message. Its circuit is half-open during the whole
//! pause, without a probe: each batch, and each round of the sweep, tries until its first failure. Otherwise one such message
//! would delay all others.
//!
//! The whole is one pure state machine. [`admission`] gives the first state, [`step`] gives what a verdict changes, and
//! [`finish`] gives what remains to do at the end. Each gives *effects*, which the caller carries out in their order. An
//! effect that fails is not lost: the next verdict about the receiver repeats it.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::schedule::{End, RetryPolicy};
use crate::date::timestamp;

/// A batch that has run for longer than this may not know of a failure that another batch recorded in the meantime.
const LONG: Duration = Duration::seconds(5);

/// The health of a receiver as it is stored with its webhook.
///
/// A change of it does not change the webhook's revision. Otherwise an administrator's change would conflict with deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The first failure since the last success, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// The end of the pause, in the same form. It remains after the pause: the next batch has to claim the probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// Whether the receiver answers during the pause, though with an error of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_answering: bool,
    /// Whether the receiver set the end of the pause itself. Then the success of an earlier request does not end the pause.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_told_to_wait: bool,
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// An administrator disabled it.
    Administrator,
    /// Its receiver answered 410, which means in Standard Webhooks that it wants no more messages.
    Gone,
    /// No delivery has succeeded for days.
    NoSuccess,
    /// A delivery failed on every attempt of the webhook's schedule.
    RetriesExhausted,
}

impl DisabledReason {
    /// The reason's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Gone => "gone",
            Self::NoSuccess => "no_success",
            Self::RetriesExhausted => "retries_exhausted",
        }
    }
}

/// What an attempt says of the receiver's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took the message.
    Success,
    /// It answers, but refused the message.
    Refused,
    /// It answers, but does not want this message. That says nothing of its health.
    NotWanted,
    /// It answered with an error of its own, perhaps because of this message.
    Erring,
    /// It seems to be down.
    Down,
    /// It asks to be left alone until this time.
    ToldToWait(OffsetDateTime),
    /// It wants no more messages.
    Gone,
}

impl Verdict {
    /// From when on the delivery may be tried again; `None` after a success.
    pub fn due_again(self, now: OffsetDateTime, policy: &RetryPolicy) -> Option<OffsetDateTime> {
        match self {
            Self::Success => None,
            Self::ToldToWait(until) => Some(policy.not_before(now, until)),
            Self::Refused | Self::NotWanted | Self::Erring | Self::Down | Self::Gone => {
                Some(now + policy.wait())
            }
        }
    }
}

/// Whether and how deliveries to a webhook may be tried, by the state of the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The circuit is closed: all deliveries may be tried.
    All,
    /// The circuit is half-open during a pause: one delivery after the other, until the first failure.
    OneByOne,
    /// The pause is over, and the circuit is half-open: the holder of the probe tries one delivery after the other.
    Probe,
    /// The circuit is open: none may be tried before the pause is over.
    Paused,
    /// The webhook is disabled: none may be tried before it is enabled.
    Disabled,
}

/// What the stored health of a webhook allows at `now`.
pub fn admission(is_enabled: bool, health: &Health, now: OffsetDateTime) -> Admission {
    match &health.paused_until {
        _ if !is_enabled => Admission::Disabled,
        None => Admission::All,
        Some(until) if *until <= timestamp(now) => Admission::Probe,
        Some(_) if health.is_answering => Admission::OneByOne,
        Some(_) => Admission::Paused,
    }
}

/// The state of the circuit breaker while a batch is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Deliveries are sent.
    Closed,
    /// One delivery is sent at a time, until a verdict closes or opens the circuit.
    HalfOpen {
        /// The claimed probe. Nobody else tries before this time.
        probe: Option<OffsetDateTime>,
    },
    /// Nothing is sent.
    Open,
    /// Nothing is sent, because the webhook is disabled.
    Disabled,
}

/// What a batch of deliveries to one webhook knows of the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The state of the circuit breaker.
    pub circuit: Circuit,
    /// Since when deliveries fail, as far as this batch knows, in the form of [`timestamp`].
    failing_since: Option<String>,
    /// The last success; `None` when a later failure may show the receiver's state.
    last_success: Option<OffsetDateTime>,
    /// When the batch began.
    began: OffsetDateTime,
    /// Whether the batch began during a pause. Then an error of the receiver's own does not renew the pause. Otherwise new
    /// messages that always fail would delay the waiting deliveries for ever.
    in_pause: bool,
    /// Until when the receiver asked to be left alone. A success after that belongs to an earlier request.
    told_to_wait_until: Option<OffsetDateTime>,
    /// Whether the receiver answered while the circuit was half-open.
    has_recovered: bool,
}

/// How long a receiver is left alone, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Its end.
    pub until: OffsetDateTime,
    /// Whether the receiver answers during the pause ([`Health::is_answering`]).
    pub is_answering: bool,
    /// Whether the receiver set the end of the pause itself ([`Health::is_told_to_wait`]).
    pub is_told_to_wait: bool,
}

impl Pause {
    fn for_a_wait(now: OffsetDateTime, policy: &RetryPolicy, is_answering: bool) -> Self {
        Self {
            until: now + policy.wait(),
            is_answering,
            is_told_to_wait: false,
        }
    }
}

/// What the caller has to do after a verdict, or at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Record with the webhook that a delivery failed, and the new pause, if there is one.
    RecordFailure(Option<Pause>),
    /// Record that a delivery succeeded. That ends a pause, unless the receiver set its end itself.
    RecordSuccess,
    /// Record the success, but only over a failure before this time, which another batch may have recorded.
    RecordSuccessSince(OffsetDateTime),
    /// End the pause of a receiver that answers. Its deliveries still fail.
    EndPause,
    /// Disable the webhook if it has not changed since it was read. With a time, it must also have been failing since then.
    Disable {
        /// Why.
        reason: DisabledReason,
        /// Since when its deliveries must have been failing ([`Health::failing_since`]).
        failing_since: Option<String>,
    },
    /// Give back the probe that was claimed until this time, because nothing was tried.
    ReturnProbe(OffsetDateTime),
    /// Call the receiver again at this time, which it set itself. That is sooner than the sweep, if the queue can wait so
    /// long.
    CallAt(OffsetDateTime),
    /// Put every due delivery of this webhook on the queue, because the receiver answers again.
    ReplayDue,
}

impl State {
    /// The state of a batch that begins with this admission. For [`Admission::Probe`], `probe` is the end of the claim if
    /// this batch got the probe.
    pub fn new(
        admission: Admission,
        probe: Option<OffsetDateTime>,
        health: &Health,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            circuit: match admission {
                Admission::All => Circuit::Closed,
                Admission::OneByOne => Circuit::HalfOpen { probe: None },
                Admission::Probe if probe.is_some() => Circuit::HalfOpen { probe },
                Admission::Probe | Admission::Paused => Circuit::Open,
                Admission::Disabled => Circuit::Disabled,
            },
            failing_since: health.failing_since.clone(),
            last_success: None,
            began: now,
            in_pause: admission == Admission::OneByOne,
            told_to_wait_until: None,
            has_recovered: false,
        }
    }

    /// The same state after the webhook is found to be disabled.
    #[must_use]
    pub fn disabled(self) -> Self {
        Self {
            circuit: Circuit::Disabled,
            ..self
        }
    }

    /// Sets the circuit. The circuit of a disabled webhook does not change.
    fn set(&mut self, circuit: Circuit) {
        if self.circuit != Circuit::Disabled {
            self.circuit = circuit;
        }
    }

    fn is_told_to_wait(&self) -> bool {
        self.told_to_wait_until.is_some()
    }

    fn is_half_open(&self) -> bool {
        matches!(self.circuit, Circuit::HalfOpen { .. })
    }
}

/// The next state after a verdict, and the effects of the verdict.
pub fn step(
    mut state: State,
    verdict: Verdict,
    now: OffsetDateTime,
    policy: &RetryPolicy,
) -> (State, Vec<Effect>) {
    let mut effects = Vec::new();
    match verdict {
        // A receiver that does not want a message answers too.
        Verdict::Success | Verdict::NotWanted => {
            state.has_recovered |= state.is_half_open();
            if verdict == Verdict::Success {
                state.last_success = Some(now);
            }
            // The latest verdict decides, even if another message failed a moment ago.
            if !state.is_told_to_wait() {
                state.set(Circuit::Closed);
                if state.failing_since.take().is_some() {
                    effects.push(Effect::RecordSuccess);
                }
            }
        }
        Verdict::Gone => {
            state.set(Circuit::Open);
            effects.push(Effect::Disable {
                reason: DisabledReason::Gone,
                failing_since: None,
            });
        }
        Verdict::Refused => {
            if state.is_half_open() {
                // The receiver answers, which is what the probe was to find out.
                state.circuit = Circuit::Closed;
                state.has_recovered = true;
                effects.push(Effect::EndPause);
            }
            fail(&mut state, None, now, policy, &mut effects);
        }
        Verdict::Erring => {
            // The receiver has just taken another message, so this one may be to blame. One success excuses one failure.
            let is_excused = state.last_success.take().is_some();
            if !is_excused {
                state.set(Circuit::Open);
            }
            let pause = Pause::for_a_wait(now, policy, true);
            let is_new = !is_excused && !state.in_pause && !state.is_told_to_wait();
            fail(
                &mut state,
                is_new.then_some(pause),
                now,
                policy,
                &mut effects,
            );
        }
        Verdict::Down => {
            state.set(Circuit::Open);
            let pause = Pause::for_a_wait(now, policy, false);
            // The verdict on an earlier request does not shorten the pause that the receiver set itself.
            let is_new = !state.is_told_to_wait();
            fail(
                &mut state,
                is_new.then_some(pause),
                now,
                policy,
                &mut effects,
            );
        }
        Verdict::ToldToWait(until) => {
            let until = policy.not_before(now, until);
            state.set(Circuit::Open);
            state.told_to_wait_until = Some(until);
            let pause = Pause {
                until,
                is_answering: false,
                is_told_to_wait: true,
            };
            fail(&mut state, Some(pause), now, policy, &mut effects);
        }
    }
    (state, effects)
}

/// Records a failed delivery. The webhook is disabled if it has had no success for too long, or if its schedule has ended.
fn fail(
    state: &mut State,
    pause: Option<Pause>,
    now: OffsetDateTime,
    policy: &RetryPolicy,
    effects: &mut Vec<Effect>,
) {
    if pause.is_some() {
        state.last_success = None;
    }
    effects.push(Effect::RecordFailure(pause));
    let since = state.failing_since.get_or_insert_with(|| timestamp(now));
    if *since <= timestamp(now - policy.limits.disable_after) {
        effects.push(Effect::Disable {
            reason: DisabledReason::NoSuccess,
            failing_since: Some(since.clone()),
        });
    } else if policy.end() == Some(End::Disable) {
        effects.push(Effect::Disable {
            reason: DisabledReason::RetriesExhausted,
            failing_since: None,
        });
    }
}

/// What remains to do when a batch has ended.
pub fn finish(state: &State) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Circuit::HalfOpen { probe: Some(until) } = state.circuit {
        // There was no verdict, so another batch may try.
        effects.push(Effect::ReturnProbe(until));
    }
    if let Some(at) = state.last_success
        && at - state.began > LONG
    {
        effects.push(Effect::RecordSuccessSince(at));
    }
    // A receiver that asked to be left alone is called at its time. The verdict of that call then replays the others.
    if state.has_recovered && !state.is_told_to_wait() {
        effects.push(Effect::ReplayDue);
    }
    if let Some(until) = state.told_to_wait_until
        && state.circuit != Circuit::Disabled
    {
        effects.push(Effect::CallAt(until));
    }
    effects
}

#[cfg(test)]
mod tests;
