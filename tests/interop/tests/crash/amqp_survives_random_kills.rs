//! A broker is killed at random moments while clients of AMQP publish persistent messages with confirms, some of them
//! delayed, consume in transactions, reject some of them to a dead letter queue, and make and remove bindings. A stream
//! gets a copy of everything.
//!
//! Whatever was confirmed is there in the next life: every confirmed message comes until its acknowledgement is confirmed, and
//! then never again; one that has moved to the dead letters is in one place only; a binding is there or gone.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use tercet_interop::Random;
use tercet_interop::lives::Lives;

use crate::amqp_clients::{are_empty, bind, check_bindings, check_history, consume, publish, run, set_up};
use crate::amqp_ledger::{Ledger, Place};
use crate::end_of_kills;
use crate::queues_survive_random_kills::QUIET;

/// How long it may take until everything is settled once the kills are over.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn queues_bindings_and_dead_letters_survive_random_kills() {
    survive("queues_bindings_and_dead_letters_survive_random_kills", QUIET);
}

/// The same with so little memory for messages that most are read back from the disk.
#[test]
fn queues_of_amqp_on_disk_survive_random_kills() {
    let toml = format!("{QUIET}[limits]\nmessage-memory = \"64KiB\"\n");
    survive("queues_of_amqp_on_disk_survive_random_kills", &toml);
}

fn survive(name: &str, toml: &str) {
    let mut random = Random::seeded(name);
    let lives = Lives::begin(toml);
    let (ledger, done) = (Ledger::default(), AtomicBool::new(false));
    run(set_up(&lives));
    let end = end_of_kills();
    let kills = thread::scope(|scope| {
        let (lives, ledger, done) = (&lives, &ledger, &done);
        let mut publishers = Vec::new();
        for publisher in 0..2 {
            let random = random.fork();
            publishers.push(scope.spawn(move || run(publish(lives, ledger, publisher, end, random))));
        }
        for place in [Place::Work, Place::Work, Place::Dead] {
            let random = random.fork();
            scope.spawn(move || run(consume(lives, ledger, place, done, random)));
        }
        let binder = random.fork();
        let binder = scope.spawn(move || run(bind(lives, ledger, end, binder)));
        let mut killer = random.fork();
        let kills = lives.storm(&mut killer, end);
        // Whatever goes wrong with one of them, the others must not wait for ever.
        let published = publishers.into_iter().all(|publisher| publisher.join().is_ok());
        let bound = binder.join().is_ok();
        let settled = published && settles(lives, ledger);
        done.store(true, SeqCst);
        assert!(published && bound, "a client gave up");
        assert!(settled, "missing: {:?}", ledger.missing());
        kills
    });
    run(check_bindings(&lives, &ledger));
    run(check_history(&lives, &ledger));
    eprintln!("{kills} kills, {}", ledger.summary());
    lives.finish();
}

/// Waits until every confirmed message has come, and nothing is left in the queues.
fn settles(lives: &Lives, ledger: &Ledger) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if ledger.missing().is_empty() && run(are_empty(lives)) {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
