//! Publishes that are to be confirmed: the server's side.

use std::collections::VecDeque;

/// The publishes of a channel since confirm.select, and which of them are settled.
///
/// Messages are settled in any order; [`flush`](Self::flush) makes as few answers of it as possible, so it should be
/// called once for many. The oldest publish that is not settled costs a byte for each that comes after it.
#[derive(Clone, Debug, Default)]
pub struct Publishes {
    /// The states of all publishes from `first` on.
    states: VecDeque<State>,
    /// How many publishes came before those in `states`.
    before: u64,
    /// Something was settled and not answered.
    dirty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Confirmed,
    Rejected,
    Answered,
}

/// An answer to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// basic.ack
    Ack {
        /// The publish.
        number: u64,
        /// And all before it.
        multiple: bool,
    },
    /// basic.nack of one publish.
    Nack {
        /// The publish.
        number: u64,
    },
}

impl Publishes {
    /// Nothing was published.
    pub const fn new() -> Self {
        Self { states: VecDeque::new(), before: 0, dirty: false }
    }

    /// The number of the publish that has just been received.
    #[inline]
    pub fn publish(&mut self) -> u64 {
        self.states.push_back(State::Pending);
        self.before + self.states.len() as u64
    }

    /// All queues have taken the message. False if it was settled before, or never published.
    #[inline]
    pub fn confirm(&mut self, number: u64) -> bool {
        self.settle(number, State::Confirmed)
    }

    /// A queue has refused the message. False if it was settled before, or never published.
    pub fn reject(&mut self, number: u64) -> bool {
        self.settle(number, State::Rejected)
    }

    /// How many publishes are not settled or not answered, or came after such a one.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Everything is answered.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    fn settle(&mut self, number: u64, state: State) -> bool {
        let at = number.checked_sub(self.before + 1).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.states.get_mut(at)) {
            Some(place) if *place == State::Pending => {
                *place = state;
                self.dirty = true;
                true
            }
            _ => false,
        }
    }

    /// Answers all that was settled since the last time: one ack for the confirmed publishes before the first that is
    /// pending or rejected, one for each other.
    pub fn flush(&mut self, mut answer: impl FnMut(Answer)) {
        if !core::mem::take(&mut self.dirty) {
            return;
        }
        let is_done = |state: &State| matches!(state, State::Confirmed | State::Answered);
        let done = self.states.iter().take_while(|state| is_done(state)).count();
        let states = self.states.iter().take(done);
        let confirmed = states.clone().filter(|state| **state == State::Confirmed).count();
        if confirmed > 0 {
            // The last of them that was not answered: one that was may follow it.
            let last = states.rev().position(|state| *state == State::Confirmed).unwrap_or(0);
            let number = self.before + (done - last) as u64;
            answer(Answer::Ack { number, multiple: confirmed > 1 });
        }
        self.drop_front(done);
        for (number, state) in (self.before + 1..).zip(&mut self.states) {
            match *state {
                State::Confirmed => answer(Answer::Ack { number, multiple: false }),
                State::Rejected => answer(Answer::Nack { number }),
                State::Pending | State::Answered => continue,
            }
            *state = State::Answered;
        }
        let answered = self.states.iter().take_while(|state| **state == State::Answered).count();
        self.drop_front(answered);
    }

    fn drop_front(&mut self, count: usize) {
        self.states.drain(..count);
        self.before += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flushed(publishes: &mut Publishes) -> Vec<Answer> {
        let mut answers = Vec::new();
        publishes.flush(|answer| answers.push(answer));
        answers
    }

    #[test]
    fn a_run_from_the_first_is_one_answer() {
        let mut publishes = Publishes::new();
        (1..=6).for_each(|number| assert_eq!(publishes.publish(), number));
        assert_eq!(flushed(&mut publishes), []);
        for number in [2, 1, 3, 5] {
            assert!(publishes.confirm(number));
        }
        assert!(
            !publishes.confirm(2) && !publishes.reject(2) && !publishes.confirm(0) && !publishes.confirm(7)
        );
        let ack = |number, multiple| Answer::Ack { number, multiple };
        assert_eq!(flushed(&mut publishes), [ack(3, true), ack(5, false)]);
        assert!(publishes.confirm(4));
        assert_eq!(flushed(&mut publishes), [ack(4, false)], "5 was answered");
        assert!(publishes.reject(6));
        assert_eq!(flushed(&mut publishes), [Answer::Nack { number: 6 }]);
        assert!(publishes.is_empty());
        assert_eq!(publishes.publish(), 7);
    }

    #[test]
    fn no_answer_covers_a_rejected_publish() {
        let mut publishes = Publishes::new();
        (1..=4).for_each(|number| assert_eq!(publishes.publish(), number));
        assert!(publishes.reject(2));
        [1, 3, 4].iter().for_each(|&number| assert!(publishes.confirm(number)));
        assert_eq!(
            flushed(&mut publishes),
            [
                Answer::Ack { number: 1, multiple: false },
                Answer::Nack { number: 2 },
                Answer::Ack { number: 3, multiple: false },
                Answer::Ack { number: 4, multiple: false }
            ]
        );
        assert!(publishes.is_empty());
    }
}
