//! A bit turns over on the disk: the log says where, or loses nothing, but never gives anything else.

use std::path::PathBuf;
use std::time::Duration;

use tercet_log::error::{Damage, LogError};
use tercet_log::local::LocalOptions;
use tercet_log::position::Position;
use tercet_log::sim::{Chance, SimDisk, for_each_seed};

use crate::expected::{Entry, Saved, batch, read_checkpoint, write_checkpoint};
use crate::local::{self, DIR};

#[test]
fn a_bit_that_turned_over_is_reported_where_it_is_or_loses_nothing() {
    let reported = std::cell::Cell::new(0);
    let seeds = for_each_seed(3000, Duration::from_secs(2), |seed| {
        let mut chance = Chance::new(seed);
        let log = Log::new(&mut chance);
        // Several bits of the same log, one at a time: making it costs more than reading it.
        for _ in 0..20 {
            let flip = log.choose(&mut chance);
            reported.set(reported.get() + u64::from(log.survives(&flip)));
        }
    });
    assert!(
        reported.get() > seeds,
        "most bits matter, only {} of {} were reported",
        reported.get(),
        seeds * 20
    );
}

/// A bit of a file.
#[derive(Debug)]
struct Flip {
    path: PathBuf,
    byte: u64,
    bit: u64,
}

/// A log that has come to rest.
struct Log {
    disk: SimDisk,
    options: LocalOptions,
    batches: Vec<Entry>,
    saved: Option<Saved>,
    /// Behind the last batch, to be found again.
    end: Position,
}

impl Log {
    fn new(chance: &mut Chance) -> Self {
        let (disk, options) = (SimDisk::new(), local::small(chance));
        let log = local::open(&disk, &options).expect("the log opens");
        let mut claim = log.claim().expect("claimed");
        let mut batches = Vec::new();
        let mut saved = None;
        for index in 0..8 + chance.below(20) {
            let length = 1 + chance.below(4000) as usize;
            let entry = Entry { position: claim.next, payload: chance.bytes(length).into() };
            log.append(&mut claim, &mut batch(&entry.payload)).expect("taken");
            batches.push(entry);
            if index == 5 && chance.one_in(2) {
                let checkpoint = Saved {
                    replay_from: if chance.one_in(2) { claim.next } else { batches[2].position },
                    parts: vec![chance.bytes(700), chance.bytes(3000)],
                };
                write_checkpoint(&*log, &checkpoint).expect("in force");
                saved = Some(checkpoint);
            }
        }
        Self { disk, options, batches, saved, end: claim.next }
    }

    /// A bit of a segment or the checkpoint, mostly where something was written.
    fn choose(&self, chance: &mut Chance) -> Flip {
        let files = self.disk.files();
        let (path, length) = files[chance.below(files.len() as u64) as usize].clone();
        let header = chance.one_in(4);
        let byte = if header { chance.below(64) } else { chance.below(length) };
        Flip { path, byte, bit: chance.below(8) }
    }

    /// Whether it was reported.
    fn survives(&self, flip: &Flip) -> bool {
        let disk = self.disk.after_kill();
        assert!(disk.flip(&flip.path, flip.byte * 8 + flip.bit));
        match self.recover(&disk) {
            Ok(()) => false,
            Err(LogError::Damaged(damage)) => {
                Self::is_right(&damage, flip);
                true
            }
            // The version is not covered by anything but its own meaning: better refused than misread.
            Err(LogError::NewerFormat { path, .. }) => {
                assert_eq!(path, flip.path);
                true
            }
            Err(error) => unreachable!("{flip:?}: {error}"),
        }
    }

    fn recover(&self, disk: &SimDisk) -> Result<(), LogError> {
        let log = local::open(disk, &self.options)?;
        let saved = read_checkpoint(&*log)?;
        assert!(saved == self.saved, "another checkpoint");
        let from = saved.map_or(Position::NONE, |saved| saved.replay_from);
        let mut expected = self.batches.iter().filter(|entry| entry.position >= from);
        let mut reader = log.read(from)?;
        while let Some((position, payload)) = reader.next()? {
            let entry = expected.next().expect("no more than was appended");
            assert_eq!(position, entry.position);
            assert!(*payload == *entry.payload, "{position} is unchanged");
        }
        drop(reader);
        // A last batch that is not whole cannot be told from one that was torn.
        let rest: Vec<_> = expected.map(|entry| entry.position).collect();
        assert!(rest.len() <= 1, "{rest:?} are gone without a word");
        let claim = log.claim()?;
        assert_eq!(claim.next, rest.first().copied().unwrap_or(self.end));
        Ok(())
    }

    fn is_right(damage: &Damage, flip: &Flip) {
        assert_eq!(damage.path, flip.path, "{damage}");
        assert!(damage.path.starts_with(DIR) && damage.offset <= flip.byte, "{damage}, but it is {flip:?}");
        assert!(!damage.reason.is_empty() && !damage.affected.is_empty());
    }
}
