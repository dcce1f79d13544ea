//! A broker is killed at random moments while durable publishers and subscribers work at QoS 1 and 2.
//!
//! Every confirmed message arrives: at QoS 1 at least once, at QoS 2 exactly once, in the order of its publisher and
//! topic, under the packet identifier that it had. What was acknowledged a moment before the kill does not come again.

use std::sync::Arc;
use std::thread;

use tercet_interop::lives::Lives;
use tercet_interop::{Random, Version};

use crate::end_of_kills;
use crate::publisher::Publisher;
use crate::subscriber::{Habit, Ledger, Subscriber, Totals};

#[test]
fn queues_survive_random_kills() {
    let mut random = Random::seeded("queues_survive_random_kills");
    let lives = Lives::begin("[log]\nconnections = false\n");
    let totals = Totals::default();
    let habits = [Habit::Prompt, Habit::Slow, Habit::Absent];
    let ledgers = habits.map(|_| Arc::new(Ledger::default()));
    let subscribers: Vec<Subscriber<'_>> = habits
        .into_iter()
        .zip(&ledgers)
        .zip([Version::V5, Version::V311, Version::V5])
        .enumerate()
        .map(|(n, ((habit, ledger), version))| {
            Subscriber::new(&lives, ledger, &format!("s{n}"), version, (habit, false), random.fork())
        })
        .collect();
    let kills = storm(&lives, &mut random, subscribers, &totals);
    for ledger in &ledgers {
        let (arrived, returned) = ledger.judge(&lives);
        eprintln!("{kills} kills, {arrived} messages, {returned} came back within the time allowed");
        assert!(arrived > 0);
    }
    lives.finish();
}

/// Lets publishers and subscribers work while the broker is killed and revived. Returns how often that was.
pub(crate) fn storm(
    lives: &Lives,
    random: &mut Random,
    subscribers: Vec<Subscriber<'_>>,
    totals: &Totals,
) -> usize {
    let end = end_of_kills();
    thread::scope(|scope| {
        for subscriber in subscribers {
            scope.spawn(|| subscriber.run(totals));
        }
        let killer = random.fork();
        let killer = scope.spawn(move || lives.storm(&mut killer.clone(), end));
        let publishers: Vec<_> = [Version::V5, Version::V311, Version::V5]
            .into_iter()
            .enumerate()
            .map(|(n, version)| {
                let publisher = Publisher::new(lives, format!("p{n}"), version, random.fork());
                scope.spawn(move || publisher.run(end))
            })
            .collect();
        let counts = publishers.into_iter().map(|publisher| publisher.join().expect("it publishes"));
        let counts: Vec<_> = counts.flatten().collect();
        let kills = killer.join().expect("it kills");
        *totals.lock().unwrap() = Some(counts);
        kills
    })
}
