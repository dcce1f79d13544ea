//! The conformance suite on the local engine: on the simulated disk, and on files.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tercet_log::conformance::{Node, Subject};
use tercet_log::local::{
    DataDirectory, Durability, LocalFabric, LocalLog, LocalMeta, LocalOptions, META_DIR,
};
use tercet_log::sim::{Chance, Fault, Operation, SimDisk};

use crate::local::{self, DIR};

mod small_segments {
    tercet_log::conformance_tests!(crate::conformance::Simulated::with_small_segments);
}

mod usual_segments {
    tercet_log::conformance_tests!(crate::conformance::Simulated::as_usual);
}

mod files {
    tercet_log::conformance_tests!(crate::conformance::Files::new);
}

/// The engine on the simulated disk.
struct Simulated {
    disk: Mutex<SimDisk>,
    options: LocalOptions,
}

impl Simulated {
    fn with_small_segments() -> Self {
        Self::with(local::small(&mut Chance::new(3)))
    }

    fn as_usual() -> Self {
        Self::with(LocalOptions::default())
    }

    fn with(options: LocalOptions) -> Self {
        Self { disk: Mutex::new(SimDisk::new()), options }
    }

    fn restart(&self, node: Node, end: impl FnOnce(&SimDisk) -> SimDisk) {
        let mut disk = self.disk.lock();
        assert_eq!(disk.violations(), [""; 0]);
        *disk = end(&disk);
        // What the node does while it is dropped happens to the disk of before.
        drop(node);
    }
}

impl Subject for Simulated {
    fn open(&self) -> Node {
        let disk = Arc::new(self.disk.lock().clone());
        disk.forget_errors();
        let log =
            LocalLog::open(disk.clone(), Path::new(DIR), 0, self.options.clone()).expect("the log opens");
        let meta =
            LocalMeta::open(disk, Path::new(META_DIR), self.options.clone()).expect("the metadata opens");
        Node { log: Arc::new(log), meta: Arc::new(meta), fabric: Arc::new(LocalFabric), keep: Box::new(()) }
    }

    fn kill(&self, node: Node) {
        self.restart(node, SimDisk::after_kill);
    }

    fn cut_power(&self, node: Node, seed: u64) {
        self.restart(node, |disk| disk.after_power_cut(seed));
    }

    fn lose_next_answer(&self, _node: &Node) -> bool {
        let disk = self.disk.lock();
        let operation = if disk.steps().is_multiple_of(2) { Operation::Write } else { Operation::Sync };
        disk.fail(Fault::eio(operation, &format!("{DIR}/0")));
        true
    }

    fn fill(&self, _node: &Node, full: bool) -> bool {
        let disk = self.disk.lock();
        disk.set_capacity(full.then(|| disk.used()));
        true
    }
}

/// The engine on files, whose system stays on: every end is the end of the process.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
}

impl Subject for Files {
    fn open(&self) -> Node {
        let directory = DataDirectory::open(self.0.path()).expect("the directory opens");
        let log = directory.open_shard(0, LocalOptions::default()).expect("the log opens");
        let meta = directory.open_meta(Durability::Fsync).expect("the metadata opens");
        Node {
            log: Arc::new(log),
            meta: Arc::new(meta),
            fabric: Arc::new(LocalFabric),
            keep: Box::new(directory),
        }
    }

    fn kill(&self, node: Node) {
        drop(node);
    }

    fn cut_power(&self, node: Node, _seed: u64) {
        drop(node);
    }
}
