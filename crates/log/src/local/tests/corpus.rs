//! Data directories that earlier versions wrote must be read for ever: `tests/corpus` has one for each format.
//!
//! ```text
//! cargo test -p tercet-log write_the_corpus -- --ignored    # once per format, then commit it
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{append, batch, read};
use crate::disk::Disk;
use crate::engine::{Meta, ShardLog};
use crate::inspect;
use crate::local::{DataDirectory, Durability, LocalOptions};
use crate::position::Position;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn options() -> LocalOptions {
    LocalOptions { smallest: 8 << 10, largest: 8 << 10, background: false, ..LocalOptions::default() }
}

fn payload(n: u8) -> Vec<u8> {
    (0..=n).cycle().take(100 + 60 * usize::from(n)).collect()
}

#[test]
#[ignore = "writes the corpus of a new format"]
fn write_the_corpus() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let data = DataDirectory::open(dir.path()).expect("made");
        let meta = data.open_meta(Durability::Fsync).expect("opened");
        meta.compare_and_set("users/ada", 0, Some(b"hash")).expect("set");
        meta.compare_and_set("users/bob", 0, Some(b"hash")).expect("set");
        meta.compare_and_set("users/bob", 2, None).expect("removed");
        for first in [0, 9] {
            let log = data.open_shard(0, options()).expect("opened");
            let mut claim = log.claim().expect("claimed");
            for n in first..first + 9 {
                append(&log, &mut claim, &payload(n));
                if n == 11 {
                    let mut writer = log.begin_checkpoint().expect("begun");
                    writer.write(&mut batch(b"first part")).expect("written");
                    writer.write(&mut batch(b"second part")).expect("written");
                    writer.commit(claim.next).expect("in force");
                }
            }
        }
    }
    let to = corpus().join(format!(
        "format-{}",
        fs::read_to_string(dir.path().join("FORMAT")).expect("there").split_at(7).1.trim()
    ));
    inspect::backup(dir.path(), &to).expect("written");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("copied");
        }
    }
}

#[test]
fn directories_of_every_format_are_read() {
    let formats = ["format-1"];
    assert_eq!(fs::read_dir(corpus()).expect("listed").count(), formats.len());
    for format in formats {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data");
        copy(&corpus().join(format), &path);
        let data = DataDirectory::open_existing(&path).expect("known");
        let disk: Arc<dyn Disk> = data.disk();
        let report = inspect::check(&disk, Path::new("shard-0"), 0, &mut |_| {}).expect("readable");
        assert!(report.damage.is_empty() && report.torn.is_none(), "{format}: {report:?}");
        let keys = data.open_meta(Durability::Fsync).expect("opened").list("").expect("listed");
        assert_eq!(
            keys.iter().map(|(key, value)| (key.as_str(), value.revision)).collect::<Vec<_>>(),
            [("users/ada", 1)]
        );
        let log = data.open_shard(0, options()).expect("opened");
        let all: Vec<_> =
            read(&log, Position::NONE).expect("readable").into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(all, (0..18).map(payload).collect::<Vec<_>>(), "{format}");
        let from = {
            let mut checkpoint = log.checkpoint().expect("readable").expect("there");
            assert_eq!(checkpoint.parts.next().expect("whole"), Some(&b"first part"[..]));
            assert_eq!(checkpoint.parts.next().expect("whole"), Some(&b"second part"[..]));
            assert_eq!(checkpoint.parts.next().expect("whole"), None);
            checkpoint.replay_from
        };
        assert_eq!(read(&log, from).expect("readable").len(), 6, "{format}");
        let mut claim = log.claim().expect("claimed");
        assert_eq!((claim.epoch, claim.last_number), (3, 18), "{format}");
        append(&log, &mut claim, b"goes on");
        assert_eq!(read(&log, from).expect("readable").len(), 7, "{format}");
    }
}
