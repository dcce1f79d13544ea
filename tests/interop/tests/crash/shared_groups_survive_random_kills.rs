//! A broker is killed at random moments while the members of a shared subscription work at QoS 1 and 2: each message is
//! handled by one of them at least, at QoS 2 by exactly one, and what was acknowledged does not come to another.

use std::sync::Arc;

use tercet_interop::lives::Lives;
use tercet_interop::{Random, Version};

use crate::publisher::Sizes;
use crate::queues_survive_random_kills::{QUIET, finish, storm};
use crate::subscriber::{Habit, Ledger, Subscriber, Totals};

#[test]
fn shared_groups_survive_random_kills() {
    let mut random = Random::seeded("shared_groups_survive_random_kills");
    let lives = Lives::begin(QUIET);
    let totals = Totals::default();
    let ledger = Arc::new(Ledger::default());
    let members = [(Habit::Prompt, Version::V5), (Habit::Slow, Version::V311), (Habit::Absent, Version::V5)]
        .into_iter()
        .enumerate()
        .map(|(n, (habit, version))| {
            Subscriber::new(&lives, &ledger, &format!("m{n}"), version, (habit, true), random.fork())
        })
        .collect();
    let kills = storm(&lives, &mut random, members, &totals, Sizes::Small);
    eprintln!("{kills} kills, {}", ledger.judge(&lives));
    finish(lives);
}
