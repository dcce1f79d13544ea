//! A broker is killed at random moments while the members of a shared subscription work at QoS 1 and 2: each message is
//! handled by one of them at least, at QoS 2 by exactly one, and what was acknowledged does not come to another.

use std::sync::Arc;

use tercet_interop::lives::Lives;
use tercet_interop::{Random, Version};

use crate::queues_survive_random_kills::storm;
use crate::subscriber::{Habit, Ledger, Subscriber, Totals};

#[test]
fn shared_groups_survive_random_kills() {
    let mut random = Random::seeded("shared_groups_survive_random_kills");
    let lives = Lives::begin("[log]\nconnections = false\n");
    let totals = Totals::default();
    let ledger = Arc::new(Ledger::default());
    let members = [(Habit::Prompt, Version::V5), (Habit::Slow, Version::V311), (Habit::Absent, Version::V5)]
        .into_iter()
        .enumerate()
        .map(|(n, (habit, version))| {
            Subscriber::new(&lives, &ledger, &format!("m{n}"), version, (habit, true), random.fork())
        })
        .collect();
    let kills = storm(&lives, &mut random, members, &totals);
    let (arrived, returned) = ledger.judge(&lives);
    eprintln!("{kills} kills, {arrived} messages, {returned} came back within the time allowed");
    assert!(arrived > 0);
    lives.finish();
}
