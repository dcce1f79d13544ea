//! What is due when: a timing wheel.
//!
//! A timer is named by a small number of the owner's; to set, move and cancel one takes constant time, and nothing is
//! allocated once the wheel has seen its largest population. Time is counted in ticks of [`TICK_MILLIS`], rounded up: a
//! timer is never early and at most one tick late. A timer beyond the wheel's horizon waits at the horizon and is set again
//! there.

use alloc::{boxed::Box, vec, vec::Vec};

use crate::Time;

/// The length of a tick in milliseconds.
const TICK_MILLIS: u64 = 16;
/// Slots of the wheel, which thus looks 16 s ahead.
const SLOTS: usize = 1024;
const NONE: u32 = u32::MAX;

/// Timers in the order of when they are due.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// The first timer of each slot.
    slots: Box<[u32]>,
    /// One bit per slot: it has timers.
    occupied: [u64; SLOTS / 64],
    /// By the name of the timer.
    timers: Vec<Timer>,
    /// Ticks up to this one have been run.
    done: u64,
    set: usize,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    previous: u32,
    next: u32,
    /// The slot it waits in; `NONE` if it is not set.
    slot: u32,
    /// The tick it is due at.
    due: u64,
}

const UNSET: Timer = Timer { previous: NONE, next: NONE, slot: NONE, due: 0 };

impl Wheel {
    /// A wheel without timers.
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: [0; SLOTS / 64],
            timers: Vec::new(),
            done: 0,
            set: 0,
        }
    }

    /// Sets `timer` to be due at `due`, wherever it was set before.
    pub(crate) fn set(&mut self, timer: u32, due: Time, now: Time) {
        self.cancel(timer);
        if self.set == 0 {
            self.done = self.done.max(past_ticks(now));
        }
        let index = timer as usize;
        if index >= self.timers.len() {
            self.timers.resize(index + 1, UNSET);
        }
        self.link(timer, due_tick(due));
        self.set += 1;
    }

    /// Takes `timer` out, if it is set.
    pub(crate) fn cancel(&mut self, timer: u32) {
        if self.unlink(timer).is_some() {
            self.set -= 1;
        }
    }

    /// When [`Self::pop_due`] is to be called next.
    pub(crate) fn next_due(&self) -> Option<Time> {
        (self.set > 0).then(|| Time::from_millis(self.next_tick() * TICK_MILLIS))
    }

    /// Takes out a timer that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u32> {
        let now = past_ticks(now);
        while self.set > 0 {
            let tick = self.next_tick();
            if tick > now {
                break;
            }
            self.done = tick - 1;
            let first = *self.slots.get(tick as usize % SLOTS)?;
            let due = self.unlink(first)?;
            if due <= tick {
                self.set -= 1;
                return Some(first);
            }
            // It waited at the horizon.
            self.done = tick;
            self.link(first, due);
            self.done = tick - 1;
        }
        None
    }

    /// The first tick that has timers; meaningless without any.
    fn next_tick(&self) -> u64 {
        let first = self.done + 1;
        let slot = first as usize % SLOTS;
        let (word, bit) = (slot / 64, slot % 64);
        let words = self.occupied.len();
        let ahead = self.occupied.get(word).map_or(0, |bits| bits >> bit);
        if ahead != 0 {
            return first + u64::from(ahead.trailing_zeros());
        }
        // The last word looked at is the first one again, for the slots before `bit`.
        let mut distance = 64 - bit as u64;
        for step in 1..=words {
            let bits = self.occupied.get((word + step) % words).copied().unwrap_or(0);
            if bits != 0 {
                return first + distance + u64::from(bits.trailing_zeros());
            }
            distance += 64;
        }
        first
    }

    fn link(&mut self, timer: u32, due: u64) {
        let tick = due.clamp(self.done + 1, self.done + SLOTS as u64 - 1);
        let slot = tick as usize % SLOTS;
        let Some(head) = self.slots.get_mut(slot) else { return };
        let next = core::mem::replace(head, timer);
        if let Some(entry) = self.timers.get_mut(timer as usize) {
            *entry = Timer { previous: NONE, next, slot: slot as u32, due };
        }
        if let Some(entry) = self.timers.get_mut(next as usize) {
            entry.previous = timer;
        }
        if let Some(bits) = self.occupied.get_mut(slot / 64) {
            *bits |= 1 << (slot % 64);
        }
    }

    /// Takes `timer` out of its slot and says at which tick it was due.
    fn unlink(&mut self, timer: u32) -> Option<u64> {
        let entry = self.timers.get_mut(timer as usize)?;
        let Timer { previous, next, slot, due } = core::mem::replace(entry, UNSET);
        let head = self.slots.get_mut(slot as usize)?;
        match self.timers.get_mut(previous as usize) {
            Some(entry) => entry.next = next,
            None => *head = next,
        }
        if *head == NONE
            && let Some(bits) = self.occupied.get_mut(slot as usize / 64)
        {
            *bits &= !(1 << (slot % 64));
        }
        if let Some(entry) = self.timers.get_mut(next as usize) {
            entry.previous = previous;
        }
        Some(due)
    }
}

/// Ticks that have passed at `now`.
fn past_ticks(now: Time) -> u64 {
    (now.as_secs().saturating_mul(1000) + u64::from(now.subsec_millis())) / TICK_MILLIS
}

/// The first tick that is not before `due`.
fn due_tick(due: Time) -> u64 {
    (due.as_secs().saturating_mul(1000) + u64::from(due.subsec_nanos().div_ceil(1_000_000)))
        .div_ceil(TICK_MILLIS)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Cancel(u32),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..40_u32, prop_oneof![0..100_u64, 0..60_000_u64]).prop_map(|(timer, ahead)| Step::Set(timer, ahead)),
            1 => (0..40_u32).prop_map(Step::Cancel),
            2 => prop_oneof![0..50_u64, 0..20_000_u64].prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Every timer that is set and not cancelled is popped once, never early, and no later than one tick after.
        #[test]
        fn timers_are_popped_once_and_in_time(start in 0..1_000_000_u64, steps in proptest::collection::vec(step(), 0..120)) {
            let mut wheel = Wheel::new();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = start;
            for step in steps.into_iter().chain([Step::Wait(100_000)]) {
                match step {
                    Step::Set(timer, ahead) => {
                        wheel.set(timer, Time::from_millis(now + ahead), Time::from_millis(now));
                        model.insert(timer, now + ahead);
                    }
                    Step::Cancel(timer) => {
                        wheel.cancel(timer);
                        model.remove(&timer);
                    }
                    Step::Wait(time) => {
                        let until = now + time;
                        while let Some(due) = wheel.next_due() {
                            let at = (due.as_millis() as u64).max(now);
                            if at > until {
                                break;
                            }
                            now = at;
                            while let Some(timer) = wheel.pop_due(Time::from_millis(now)) {
                                let due = model.remove(&timer).expect("set and not yet popped");
                                prop_assert!(now >= due && now <= due + 2 * TICK_MILLIS, "{timer}: {due} popped at {now}");
                            }
                        }
                        now = until;
                        prop_assert!(model.values().all(|&due| due + 2 * TICK_MILLIS > now), "{model:?} at {now}");
                    }
                }
            }
            prop_assert!(model.is_empty());
            prop_assert_eq!(wheel.next_due(), None);
        }
    }
}
