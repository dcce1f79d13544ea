//! The disk as tests see it, and as the engine does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::chance::Chance;
use super::control::Control;
use super::fault::{self, Fault, Operation};
use super::history::History;
use super::open_file::SimFile;
use super::tree::{Inode, Node, Step, Tree, pages, plain};
use crate::disk::{Disk, File};

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// A sync was held, or released.
    pub(super) syncs: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) control: Control,
}

/// What was done to a file, or to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes that succeeded.
    pub writes: u64,
    /// Bytes written by them.
    pub bytes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Reads that succeeded.
    pub reads: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files()).finish()
    }
}

impl SimDisk {
    /// An empty disk without end.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Tree::default(), Control::default())
    }

    /// Another disk with what the end of the process leaves: everything that was written. Faults are gone, violations
    /// stay.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let state = self.0.state.lock();
        Self::with(state.tree.after_kill(), state.control.reborn())
    }

    /// Another disk with what a power cut may leave, one of the possibilities per seed: all that is synced, and of the rest
    /// any part. Faults are gone, violations stay.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let state = self.0.state.lock();
        Self::with(state.tree.after_power_cut(&mut Chance::new(seed)), state.control.reborn())
    }

    /// After so many more steps every operation fails, as if the power were off; [`SimDisk::after_power_cut`] goes on
    /// from there.
    pub fn power_off_after(&self, steps: u64) {
        self.0.state.lock().control.power_off_after(steps);
        self.0.syncs.notify_all();
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.state.lock().control.is_off()
    }

    /// Makes an operation fail, besides those that have been made to fail before.
    pub fn fail(&self, fault: Fault) {
        self.0.state.lock().control.faults.push(fault);
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        self.0.state.lock().control.faults.clear();
    }

    /// Lets files take up so many bytes, in pages of 4096, and no more.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.state.lock().control.capacity = bytes;
    }

    /// Bytes taken by files that have a name or are open.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.state.lock().tree.used()
    }

    /// Turns a bit of a file over, in memory and on the disk. False if it is not there.
    #[must_use]
    pub fn flip(&self, path: &Path, bit: u64) -> bool {
        let tree = &mut self.0.state.lock().tree;
        let Some(Node::File(inode)) = tree.node(&plain(path)) else { return false };
        tree.file_mut(inode).is_some_and(|file| file.flip(bit))
    }

    /// The system drops what it holds in memory and takes for clean. That changes what is read only after a sync that
    /// failed.
    pub fn drop_caches(&self) {
        let tree = &mut self.0.state.lock().tree;
        let inodes: Vec<_> = tree.files().map(|(_, inode, _)| inode).collect();
        for inode in inodes {
            if let Some(file) = tree.file_mut(inode) {
                file.drop_cache();
            }
        }
    }

    /// Syncs of files wait from now on, until [`SimDisk::release_syncs`].
    pub fn hold_syncs(&self) {
        self.0.state.lock().control.holding = true;
    }

    /// Lets the syncs that wait go on, and those to come.
    pub fn release_syncs(&self) {
        self.0.state.lock().control.holding = false;
        self.0.syncs.notify_all();
    }

    /// Returns when so many syncs wait.
    pub fn await_held_syncs(&self, count: u64) {
        let mut state = self.0.state.lock();
        while state.control.held < count {
            self.0.syncs.wait(&mut state);
        }
    }

    /// Steps (operations that change anything) so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.state.lock().control.steps
    }

    /// Keeps every step from now on, for [`SimDisk::history`].
    pub fn record(&self) {
        let mut state = self.0.state.lock();
        let start = (state.tree.after_kill(), state.control.steps);
        state.control.history = Some(History::new(start.0, start.1, state.control.capacity));
    }

    /// What was recorded.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.0.state.lock().control.history.clone()
    }

    /// What was done to a file since the disk was made, under whatever name: the name it has now counts.
    #[must_use]
    pub fn counts(&self, path: &Path) -> Counts {
        let state = self.0.state.lock();
        let Some(Node::File(inode)) = state.tree.node(&plain(path)) else { return Counts::default() };
        state.control.counts.get(&inode).copied().unwrap_or_default()
    }

    /// What was done to all files, those that are gone included.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.0.state.lock().control.total
    }

    /// Broken rules: files that were synced again after an error.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.0.state.lock().control.violations.clone()
    }

    /// The files are opened by another process from now on, which cannot know of errors before.
    pub fn forget_errors(&self) {
        self.0.state.lock().control.forget_errors();
    }

    /// Files and their lengths, in order.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.0.state.lock();
        state.tree.files().map(|(path, _, file)| (path.to_owned(), file.length())).collect()
    }

    pub(super) fn with(tree: Tree, control: Control) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(State { tree, control }), syncs: Condvar::new() }))
    }
}

impl State {
    /// Whether an operation may go on; else its error and the bytes it writes before.
    pub(super) fn enter(&mut self, operation: Operation, path: &Path) -> Result<(), (io::Error, usize)> {
        self.control.enter(operation, path)
    }

    pub(super) fn apply(&mut self, step: Step) {
        self.tree.apply(&step);
        self.control.applied(step);
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        match self.tree.node(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        match self.tree.node(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// How long a file of `length` bytes can get, if it is to have `wanted`.
    pub(super) fn space_for(&self, length: u64, wanted: u64) -> u64 {
        let Some(capacity) = self.control.capacity else { return wanted };
        if pages(wanted) <= pages(length) {
            return wanted;
        }
        let free = capacity.saturating_sub(self.tree.used()) / 4096 * 4096;
        wanted.min(pages(length) + free)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let (mut state, path) = (self.0.state.lock(), plain(path));
        state.enter(Operation::Open, &path).map_err(|(error, _)| error)?;
        let inode = state.inode(&path)?;
        Ok(SimFile::open(self, &mut state, inode))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let (mut state, path) = (self.0.state.lock(), plain(path));
        state.enter(Operation::Create, &path).map_err(|(error, _)| error)?;
        state.directory(path.parent().unwrap_or(Path::new("")))?;
        if state.tree.node(&path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.control.capacity.is_some_and(|capacity| state.tree.used() >= capacity) {
            return Err(fault::no_space());
        }
        let inode = state.tree.next_inode();
        state.apply(Step::Create { path, inode });
        Ok(SimFile::open(self, &mut state, inode))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (mut state, path) = (self.0.state.lock(), plain(path));
        state.enter(Operation::CreateDir, &path).map_err(|(error, _)| error)?;
        let mut missing = Vec::new();
        for above in path.ancestors() {
            match state.tree.node(above) {
                Some(Node::Directory) => break,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => missing.push(above.to_owned()),
            }
        }
        missing.into_iter().rev().for_each(|path| state.apply(Step::CreateDir { path }));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, from, to) = (self.0.state.lock(), plain(from), plain(to));
        state.enter(Operation::Rename, &from).map_err(|(error, _)| error)?;
        let inode = state.inode(&from)?;
        state.directory(to.parent().unwrap_or(Path::new("")))?;
        if state.tree.node(&to) == Some(Node::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from != to {
            state.apply(Step::Rename { from, to, inode });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, path) = (self.0.state.lock(), plain(path));
        state.enter(Operation::Remove, &path).map_err(|(error, _)| error)?;
        let inode = state.inode(&path)?;
        state.apply(Step::Remove { path, inode });
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let (mut state, path) = (self.0.state.lock(), plain(path));
        state.enter(Operation::List, &path).map_err(|(error, _)| error)?;
        state.directory(&path)?;
        Ok(state.tree.list(&path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (mut state, path) = (self.0.state.lock(), plain(path));
        state.enter(Operation::SyncDir, &path).map_err(|(error, _)| error)?;
        state.directory(&path)?;
        state.apply(Step::SyncDir { path });
        Ok(())
    }
}
