//! What the CoAP face counts.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

macro_rules! counters {
    ($( $(#[$doc:meta])* $name:ident, )*) => {
        /// What one reactor has counted since it reported last.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $( $(#[$doc])* pub $name: u64, )*
            /// Observers at this moment.
            pub observers: u64,
            /// Those that were there when it reported last.
            reported_observers: u64,
        }

        /// The counts of all reactors.
        #[derive(Debug, Default)]
        pub struct Counts {
            $( $(#[$doc])* pub $name: AtomicU64, )*
            /// Observers at this moment.
            pub observers: AtomicU64,
        }

        /// The counts of all reactors at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counted {
            $( $(#[$doc])* pub $name: u64, )*
            /// Observers.
            pub observers: u64,
        }

        impl Counts {
            /// Looks at them.
            #[must_use]
            pub fn look(&self) -> Counted {
                Counted { $( $name: self.$name.load(Relaxed), )* observers: self.observers.load(Relaxed) }
            }

            /// Adds what a reactor has counted, which begins again from nothing.
            pub fn add(&self, counters: &mut Counters) {
                let observers = counters.observers;
                $(
                    if counters.$name != 0 {
                        self.$name.fetch_add(std::mem::take(&mut counters.$name), Relaxed);
                    }
                )*
                if observers != counters.reported_observers {
                    self.observers.fetch_add(observers.wrapping_sub(counters.reported_observers), Relaxed);
                    counters.reported_observers = observers;
                }
            }
        }
    };
}

counters! {
    /// Requests.
    requests,
    /// Notifications sent to observers.
    notifications,
    /// Clients that were asked to show that they receive what is sent to them.
    challenges,
    /// Requests that were turned away because too many others were waiting.
    turned_away,
    /// Datagrams sent.
    datagrams_sent,
    /// Datagrams that the system refused to send.
    datagrams_lost,
    /// Datagrams that were longer than any that is taken.
    oversized,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_observers_come_and_go() {
        let counts = Counts::default();
        let (mut one, mut other) = (Counters::default(), Counters::default());
        (one.requests, one.observers, other.observers) = (3, 2, 5);
        counts.add(&mut one);
        counts.add(&mut other);
        (one.requests, one.observers) = (1, 0);
        counts.add(&mut one);
        counts.add(&mut one);
        let counted = counts.look();
        assert_eq!((counted.requests, counted.observers), (4, 5));
    }
}
