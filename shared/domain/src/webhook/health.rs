//! The health of a webhook's receiver: a circuit breaker, and the rules by which a webhook is disabled.
//!
//! *Closed*, everything is sent. *Open*, nothing is: the receiver seems to be down, and the webhook is paused. After the
//! pause the circuit is *half-open*: whoever claims the probe, by a conditional write, tries one delivery after the other
//! until one tells how the receiver does. So a receiver that is down costs one request per wait, however much is due.
//!
//! A receiver that answers with an error of its own may do so because of one message. Its circuit is half-open during the
//! whole pause, without a probe: each batch, and each round of the sweep, tries until its first failure. Otherwise one such
//! message would make every other one late.
//!
//! All of it is one pure state machine: [`admission`] says how it starts, [`step`] what a verdict changes, [`finish`] what
//! is left to do at the end. Each gives *effects*, which the caller carries out in their order. What cannot be carried out
//! is not lost: the next verdict about the receiver says it again.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::schedule::{End, RetryPolicy};
use crate::date::timestamp;

/// A batch that has worked for so long may not know of a failure that another one has recorded in the meantime.
const LONG: Duration = Duration::seconds(5);

/// The health of a receiver as it is stored with its webhook.
///
/// It changes without the webhook's revision: otherwise an administrator's change would collide with deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The first failure since the last success, in the form of [`timestamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// The end of the pause, in the same form. It stays when the pause is over: the next one to send has to claim the
    /// probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// Whether the receiver answers during the pause, if only with an error of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_answering: bool,
    /// Whether the receiver set the end of the pause itself. Then a success of what was sent before does not end it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_told_to_wait: bool,
}

/// Why a webhook is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// An administrator disabled it.
    Administrator,
    /// Its receiver answered 410 (Standard Webhooks: it wants no more messages).
    Gone,
    /// For days no delivery has succeeded.
    NoSuccess,
    /// A delivery has failed as often as the webhook's schedule has it tried.
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

/// What an attempt says of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It took the message.
    Success,
    /// It is there, and refused the message.
    Refused,
    /// It is there, and has no use for the message, which says nothing of how it does.
    NotWanted,
    /// It answered with an error of its own, maybe because of this message.
    Erring,
    /// It seems to be down.
    Down,
    /// It wants to be left alone until this time.
    ToldToWait(OffsetDateTime),
    /// It wants no more messages.
    Gone,
}

impl Verdict {
    /// From when on the delivery may be tried again; nothing after a success.
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

/// Whether and how deliveries to a webhook may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The circuit is closed: all of them.
    All,
    /// It is half-open in the midst of a pause: one after the other, until the first failure.
    OneByOne,
    /// The pause is over: one after the other, by whoever claims the probe.
    Probe,
    /// The circuit is open: none before the pause is over.
    Paused,
    /// None before the webhook is enabled.
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

/// The circuit breaker while a batch is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Deliveries are sent.
    Closed,
    /// One delivery is sent at a time, until a verdict closes or opens the circuit.
    HalfOpen {
        /// The probe that was claimed: until this time nobody else tries.
        probe: Option<OffsetDateTime>,
    },
    /// Nothing is sent.
    Open,
    /// Nothing is sent, since the webhook is disabled.
    Disabled,
}

/// What the deliveries of a batch to one webhook know of their receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether deliveries may be sent.
    pub circuit: Circuit,
    /// Since when deliveries fail, as far as it is known here, in the form of [`timestamp`].
    failing_since: Option<String>,
    /// The last success, unless a failure after it may be the receiver's state.
    last_success: Option<OffsetDateTime>,
    /// When the batch began.
    began: OffsetDateTime,
    /// Whether the batch began in the midst of a pause. Then an error of the receiver's own does not renew the pause:
    /// otherwise new messages that always fail would put off for ever what waits.
    in_pause: bool,
    /// Until when the receiver has said that it wants to be left alone. What succeeds after that was sent before.
    told_to_wait_until: Option<OffsetDateTime>,
    /// Whether a half-open circuit has shown that the receiver is there.
    has_recovered: bool,
}

/// How long a receiver is left alone, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Until when.
    pub until: OffsetDateTime,
    /// See [`Health::is_answering`].
    pub is_answering: bool,
    /// See [`Health::is_told_to_wait`].
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

/// What has to be done because of a verdict, or at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Record with the webhook that a delivery failed, and its pause, if there is a new one.
    RecordFailure(Option<Pause>),
    /// Record that a delivery succeeded. That ends a pause, unless the receiver has set its end itself.
    RecordSuccess,
    /// The same, only for a failure before this time, which another batch may have recorded.
    RecordSuccessSince(OffsetDateTime),
    /// End the pause of a receiver that is there. Its deliveries still fail.
    EndPause,
    /// Disable the webhook, as it was read, and with a time only if it has been failing since then.
    Disable {
        /// Why.
        reason: DisabledReason,
        /// See [`Health::failing_since`].
        failing_since: Option<String>,
    },
    /// Give the probe back that was claimed until this time: nothing was tried.
    ReturnProbe(OffsetDateTime),
    /// Have the receiver called again at this time, which it has set itself: sooner than the sweep, if the queue can wait
    /// so long.
    CallAt(OffsetDateTime),
    /// Put everything on the queue that is due for this webhook: the receiver is there again.
    ReplayDue,
}

impl State {
    /// The state of a batch that begins with this admission, and for [`Admission::Probe`] with the end of the claim, if it
    /// got the probe.
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

    /// The same state once the webhook is known to be disabled.
    #[must_use]
    pub fn disabled(self) -> Self {
        Self {
            circuit: Circuit::Disabled,
            ..self
        }
    }

    /// Sets the circuit. A webhook that is disabled stays so.
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

/// What a verdict changes, and what has to be done because of it.
pub fn step(
    mut state: State,
    verdict: Verdict,
    now: OffsetDateTime,
    policy: &RetryPolicy,
) -> (State, Vec<Effect>) {
    let mut effects = Vec::new();
    match verdict {
        // Who has no use for a message is there, too.
        Verdict::Success | Verdict::NotWanted => {
            state.has_recovered |= state.is_half_open();
            if verdict == Verdict::Success {
                state.last_success = Some(now);
            }
            // What the receiver did last decides, also when it failed at another message a moment ago.
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
                // It is there, and that is what was to be found out.
                state.circuit = Circuit::Closed;
                state.has_recovered = true;
                effects.push(Effect::EndPause);
            }
            fail(&mut state, None, now, policy, &mut effects);
        }
        Verdict::Erring => {
            // It has just taken another message, so this one may be to blame. One success excuses one failure.
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
            // What the receiver has said itself is not shortened by what comes of earlier requests.
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

/// A delivery failed: it is recorded, and after too long a time without a success the webhook is disabled.
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

/// What is left to do when a batch has ended.
pub fn finish(state: &State) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Circuit::HalfOpen { probe: Some(until) } = state.circuit {
        // There was no verdict, so somebody else may try.
        effects.push(Effect::ReturnProbe(until));
    }
    if let Some(at) = state.last_success
        && at - state.began > LONG
    {
        effects.push(Effect::RecordSuccessSince(at));
    }
    // A receiver that wants to be left alone is called at its time, and what that shows brings the others.
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
