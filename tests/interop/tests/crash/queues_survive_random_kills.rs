//! A broker is killed at random moments while durable publishers and subscribers work at QoS 1 and 2.
//!
//! Every confirmed message arrives: at QoS 1 at least once, at QoS 2 exactly once, in the order of its publisher and
//! topic, under the packet identifier that it had. What was acknowledged a moment before the kill does not come again.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use tercet_interop::broker::binary;
use tercet_interop::lives::Lives;
use tercet_interop::{Random, Version};

use crate::end_of_kills;
use crate::publisher::{Publisher, Sizes};
use crate::subscriber::{Habit, Ledger, Subscriber, Totals};

/// What the broker is told in every storm.
pub(crate) const QUIET: &str = "[log]\nconnections = false\n";

#[test]
fn queues_survive_random_kills() {
    survive("queues_survive_random_kills", QUIET, Sizes::Small);
}

/// The same with so many bytes that checkpoints are taken and segments given back all the time, and with so little
/// memory for messages that most are read back from the disk.
#[test]
fn queues_on_disk_survive_random_kills() {
    // The queue of a subscriber that is seldom there has no limit that it could reach.
    let limits = "[limits]\nmessage-memory = \"1MiB\"\nmax-queued-bytes = \"1TiB\"\n";
    let toml = format!("{QUIET}{limits}");
    survive("queues_on_disk_survive_random_kills", &toml, Sizes::Large);
}

fn survive(name: &str, toml: &str, sizes: Sizes) {
    let mut random = Random::seeded(name);
    let lives = Lives::begin(toml);
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
    let kills = storm(&lives, &mut random, subscribers, &totals, sizes);
    for ledger in &ledgers {
        eprintln!("{kills} kills, {}", ledger.judge(&lives));
    }
    finish(lives);
}

/// Ends the last life and looks at what it has left behind: a log without damage and without messages.
pub(crate) fn finish(lives: Lives) {
    let directory = lives.directory().clone();
    lives.finish();
    let report = tercet(&["log", "check", "--json"], &[&directory.path().join("data")]);
    let log = report["logs"].as_array().unwrap().iter().find(|log| log["log"] == "shard-0").unwrap();
    assert_eq!((&report["ok"], &log["holds"]["queued"]), (&true.into(), &0.into()), "{report:#}");
}

/// Lets publishers and subscribers work while the broker is killed and revived, and while its data are backed up.
/// Returns how often it was killed.
pub(crate) fn storm(
    lives: &Lives,
    random: &mut Random,
    subscribers: Vec<Subscriber<'_>>,
    totals: &Totals,
    sizes: Sizes,
) -> usize {
    let end = end_of_kills();
    thread::scope(|scope| {
        for subscriber in subscribers {
            scope.spawn(|| subscriber.run(totals));
        }
        scope.spawn(|| back_up(lives, end));
        let mut killer = random.fork();
        let killer = scope.spawn(move || lives.storm(&mut killer, end));
        let publishers: Vec<_> = [Version::V5, Version::V311, Version::V5]
            .into_iter()
            .enumerate()
            .map(|(n, version)| {
                let publisher = Publisher::new(lives, format!("p{n}"), version, sizes, random.fork());
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

/// Makes a backup now and then, whether the broker lives or dies: each is a data directory that a broker starts on.
fn back_up(lives: &Lives, end: Instant) {
    let data = lives.directory().path().join("data");
    let copy = lives.directory().path().join("copy");
    while Instant::now() < end {
        let report = tercet(&["backup", "--json", "--data"], &[&data, &copy]);
        assert_eq!(report["ok"], true, "{report:#}");
        fs::remove_dir_all(&copy).unwrap();
        thread::sleep(Duration::from_secs(1));
    }
}

/// Runs a command with paths behind it, which reports in JSON.
fn tercet(command: &[&str], paths: &[&Path]) -> serde_json::Value {
    let output = Command::new(binary()).args(command).args(paths).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
