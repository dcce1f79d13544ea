//! Who holds a message's record in the log: every entry and value that was recorded, from then until it is gone.

use std::collections::HashMap;

use tercet_broker::journal::Place;

use crate::support::{Traffic, World};

fn holders(world: &World) -> HashMap<Place, usize> {
    let mut counts = HashMap::new();
    world.vhost.for_each_holder(|stored| *counts.entry(stored.place()).or_default() += 1);
    counts
}

#[test]
fn after_any_operation_the_journal_counts_exactly_the_holders_there_are() {
    let mut most = 0;
    for seed in 0..1_500 {
        let mut traffic = Traffic::new(seed);
        for step in 0..80 {
            traffic.step();
            let counted = traffic.world.journal.holders();
            assert_eq!(
                counted,
                holders(&traffic.world),
                "seed {seed}, step {step}\n{}",
                traffic.done.join("\n")
            );
            most = most.max(counted.values().copied().max().unwrap_or(0));
        }
    }
    assert!(most > 2, "some messages had several holders");
}

#[test]
fn when_everything_is_gone_nothing_is_held() {
    for seed in 0..300 {
        let mut traffic = Traffic::new(seed);
        for _ in 0..60 {
            traffic.step();
        }
        let world = &mut traffic.world;
        for client in ["ann", "bob", "cid", "dot", "eve"] {
            world.vhost.remove_session(client, world.now, &mut world.effects);
        }
        let mut cleaner = world.connect(crate::support::ConnectOptions::clean("cleaner"));
        for topic in ["a", "a/b", "a/c", "b", "b/c", "c"] {
            world.publish_retained(&mut cleaner, topic, "", 1);
        }
        assert_eq!(world.journal.holders(), HashMap::new(), "seed {seed}\n{}", traffic.done.join("\n"));
    }
}
