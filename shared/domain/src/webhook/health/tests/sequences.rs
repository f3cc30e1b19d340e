//! Random histories of a webhook: messages come, time passes, its receiver does this and that, functions end half-way. What
//! the store does with an effect is modelled here, in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the receiver does with each message.
#[derive(Clone, Copy, Debug)]
enum Receiver {
    Takes,
    Refuses,
    Errs,
    IsDown,
    /// It errs at every message whose number is divisible by this.
    ErrsAt(u32),
    /// It wants to be left alone for so many minutes.
    TellsToWait(i64),
}

impl Receiver {
    fn verdict(self, message: u32, now: OffsetDateTime) -> Verdict {
        match self {
            Self::Takes => Verdict::Success,
            Self::Refuses => Verdict::Refused,
            Self::Errs => Verdict::Erring,
            Self::IsDown => Verdict::Down,
            Self::ErrsAt(number) if message.is_multiple_of(number) => Verdict::Erring,
            Self::ErrsAt(_) => Verdict::Success,
            Self::TellsToWait(minutes) => Verdict::ToldToWait(now + Duration::minutes(minutes)),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many messages come, in one batch.
    Messages(u32),
    Minutes(i64),
    Becomes(Receiver),
    /// The next function ends when it has carried out so many effects and attempts.
    EndsAfter(u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let receiver = prop_oneof![
        Just(Receiver::Takes),
        Just(Receiver::Refuses),
        Just(Receiver::Errs),
        Just(Receiver::IsDown),
        (1..4_u32).prop_map(Receiver::ErrsAt),
        (1..24 * 60_i64).prop_map(Receiver::TellsToWait),
    ];
    let event = prop_oneof![
        4 => (1..4_u32).prop_map(Event::Messages),
        4 => (1..180_i64).prop_map(Event::Minutes),
        2 => receiver.prop_map(Event::Becomes),
        1 => (0..4_u32).prop_map(Event::EndsAfter),
    ];
    prop::collection::vec(event, 1..60)
}

/// A webhook, its deliveries, and what the store has of them.
#[derive(Debug)]
struct World {
    now: OffsetDateTime,
    receiver: Receiver,
    health: Health,
    is_enabled: bool,
    /// When each message that is not delivered is due.
    due: BTreeMap<u32, OffsetDateTime>,
    count: u32,
    /// How much the next function can still do, if it is to end half-way.
    strength: Option<u32>,
    /// When messages were sent.
    sent: Vec<OffsetDateTime>,
}

impl World {
    fn new() -> Self {
        Self {
            now: NOW,
            receiver: Receiver::Takes,
            health: Health::default(),
            is_enabled: true,
            due: BTreeMap::new(),
            count: 0,
            strength: None,
            sent: Vec::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Messages(count) => {
                let numbers: Vec<u32> = (self.count..self.count + count).collect();
                self.count += count;
                let due = numbers.iter().map(|number| (*number, self.now));
                self.due.extend(due);
                self.batch(numbers);
            }
            Event::Minutes(minutes) => self.pass(Duration::minutes(minutes)),
            Event::Becomes(receiver) => self.receiver = receiver,
            Event::EndsAfter(strength) => self.strength = Some(strength),
        }
    }

    /// Lets time pass, with a round at each full hour.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let hours = |at: OffsetDateTime| at.unix_timestamp().div_euclid(3600);
        while hours(self.now) < hours(end) {
            let next = (hours(self.now) + 1) * 3600;
            self.now = OffsetDateTime::from_unix_timestamp(next).unwrap();
            self.round();
        }
        self.now = end;
    }

    /// Puts everything that is due back on the queue, as the sweep does.
    fn round(&mut self) {
        let admission = admission(self.is_enabled, &self.health, self.now);
        if !matches!(admission, Admission::Disabled | Admission::Paused) {
            let due = self.due.iter().filter(|(_, at)| **at <= self.now);
            let mut due: Vec<(OffsetDateTime, u32)> =
                due.map(|(number, at)| (*at, *number)).collect();
            // What has waited longest goes first. Otherwise one message that always fails would keep the others waiting.
            due.sort_unstable();
            self.batch(due.into_iter().map(|(_, number)| number).collect());
        }
    }

    /// Delivers messages, as a function does that may end half-way.
    fn batch(&mut self, messages: Vec<u32>) {
        let mut strength = self.strength.take().unwrap_or(u32::MAX);
        let mut is_exhausted = move || {
            let is_over = strength == 0;
            strength = strength.saturating_sub(1);
            is_over
        };
        if messages.is_empty() {
            return;
        }
        let read = self.health.clone();
        let admission = admission(self.is_enabled, &read, self.now);
        let probe = (admission == Admission::Probe).then_some(self.now + wait());
        if let Some(until) = probe {
            self.health.paused_until = Some(timestamp(until));
            self.health.is_told_to_wait = false;
        }
        let mut state = State::new(admission, probe, &read, self.now);
        for message in messages {
            if matches!(state.circuit, Circuit::Open | Circuit::Disabled) {
                break;
            }
            if is_exhausted() {
                return;
            }
            self.sent.push(self.now);
            let verdict = self.receiver.verdict(message, self.now);
            match verdict.due_again(self.now, &policy()) {
                None => self.due.remove(&message),
                Some(at) => self.due.insert(message, at),
            };
            let effects;
            (state, effects) = step(state, verdict, self.now, &policy());
            let disables = |it: &Effect| matches!(it, Effect::Disable { .. });
            assert!(
                verdict != Verdict::Success || !effects.iter().any(disables),
                "disabled at a success"
            );
            for effect in effects {
                if is_exhausted() {
                    return;
                }
                state = self.carry_out(effect, state, &read);
            }
        }
        for effect in finish(&state) {
            if is_exhausted() {
                return;
            }
            state = self.carry_out(effect, state, &read);
        }
    }

    /// What the store does, and what the function knows then.
    fn carry_out(&mut self, effect: Effect, state: State, read: &Health) -> State {
        let now = timestamp(self.now);
        let stored = &mut self.health;
        let is_waiting = stored.is_told_to_wait && stored.paused_until > Some(now.clone());
        match effect {
            Effect::RecordFailure(pause) => {
                stored.failing_since.get_or_insert(now);
                if let Some(pause) = pause {
                    stored.paused_until = Some(timestamp(pause.until));
                    stored.is_answering = pause.is_answering;
                    stored.is_told_to_wait = pause.is_told_to_wait;
                }
            }
            Effect::RecordSuccess if !is_waiting => *stored = Health::default(),
            Effect::RecordSuccessSince(at)
                if !is_waiting && stored.failing_since < Some(timestamp(at)) =>
            {
                *stored = Health::default();
            }
            Effect::RecordSuccess | Effect::RecordSuccessSince(_) => {}
            Effect::EndPause => {
                *stored = Health {
                    failing_since: stored.failing_since.take(),
                    ..Health::default()
                };
            }
            Effect::Disable { failing_since, .. } => {
                if failing_since.is_none() || failing_since == stored.failing_since {
                    self.is_enabled = false;
                    return state.disabled();
                }
            }
            Effect::ReturnProbe(until) => {
                if stored.paused_until == Some(timestamp(until)) {
                    stored.paused_until.clone_from(&read.paused_until);
                }
            }
            // The round does it too, if only later.
            Effect::CallAt(_) => {}
            // What is replayed is handled after this batch.
            Effect::ReplayDue => self.round(),
        }
        state
    }
}

proptest! {
    // A case is a week of a webhook's life.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_due_is_forgotten_and_a_pause_ends(events in events()) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            let longest = timestamp(world.now + Duration::days(1));
            prop_assert!(
                world.health.paused_until.as_ref().is_none_or(|until| *until <= longest),
                "{:?} at {}", world.health, world.now
            );
        }
        world.receiver = Receiver::Takes;
        world.strength = None;
        if !world.is_enabled {
            let waiting = world.due.clone();
            world.pass(Duration::days(2));
            prop_assert_eq!(&world.due, &waiting, "while it is disabled nothing is sent, and nothing is lost");
            // An administrator enables it.
            world.is_enabled = true;
            world.health = Health::default();
        }
        world.pass(Duration::days(1) + Duration::hours(2));
        prop_assert!(world.due.is_empty(), "{:?} {:?}", world.due, world.health);
        world.happen(Event::Messages(1));
        prop_assert_eq!(&world.health, &Health::default(), "it is well again");
    }

    #[test]
    fn a_dead_receiver_costs_one_request_per_wait(events in events()) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        world.strength = None;
        world.receiver = Receiver::IsDown;
        world.happen(Event::Messages(3));
        world.pass(Duration::days(1));
        let begin = world.sent.len();
        for _ in 0..30 {
            world.happen(Event::Messages(3));
            world.happen(Event::Minutes(17));
        }
        let sent = &world.sent[begin..];
        for (one, next) in sent.iter().zip(sent.iter().skip(1)) {
            prop_assert!(*next - *one >= wait(), "{one} and {next}");
        }
        prop_assert!(!world.is_enabled || sent.len() >= 8, "it is tried again: {sent:?}");
    }

    #[test]
    fn a_receiver_that_takes_something_each_hour_is_never_disabled(events in events(), number in 2..4_u32) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }
        prop_assume!(world.is_enabled);
        world.strength = None;
        world.receiver = Receiver::Takes;
        world.pass(Duration::days(1) + Duration::hours(2));
        world.receiver = Receiver::ErrsAt(number);
        for _ in 0..8 * 24 {
            world.happen(Event::Messages(number));
            world.happen(Event::Minutes(60));
        }
        prop_assert!(world.is_enabled);
    }
}
