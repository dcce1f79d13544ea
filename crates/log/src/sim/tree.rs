//! The directory tree: names that are there, names that are durable, and the files behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::chance::Chance;
use super::content::Bytes;
use super::file::SimInode;

/// Names a file for as long as the disk lives.
pub(super) type Inode = u64;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Directory,
    File(Inode),
}

/// A change, as it is recorded and can be repeated.
#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateDir { path: PathBuf },
    Create { path: PathBuf, inode: Inode },
    Rename { from: PathBuf, to: PathBuf, inode: Inode },
    Remove { path: PathBuf, inode: Inode },
    SyncDir { path: PathBuf },
    Write { inode: Inode, offset: u64, bytes: Bytes },
    SetLength { inode: Inode, length: u64 },
    Sync { inode: Inode, changes: u64 },
    FailSync { inode: Inode, seed: u64 },
}

/// A tree of files.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Changes of names that are not durable, in order.
    pending: Vec<Step>,
    files: BTreeMap<Inode, SimInode>,
    next: Inode,
}

impl Tree {
    pub(super) fn node(&self, path: &Path) -> Option<Node> {
        if path.as_os_str().is_empty() {
            return Some(Node::Directory);
        }
        self.names.get(path).copied()
    }

    pub(super) fn file(&self, inode: Inode) -> Option<&SimInode> {
        self.files.get(&inode)
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> Option<&mut SimInode> {
        self.files.get_mut(&inode)
    }

    /// The inode of the next file to be created.
    pub(super) fn next_inode(&self) -> Inode {
        self.next
    }

    /// The names in a directory.
    pub(super) fn list(&self, directory: &Path) -> Vec<String> {
        let inside = self.names.keys().filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    /// The files with a name, in order.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Inode, &SimInode)> {
        self.names.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.as_path(), *inode, self.files.get(inode)?)),
            Node::Directory => None,
        })
    }

    /// A name of a file, or `removed`.
    pub(super) fn name_of(&self, inode: Inode) -> &Path {
        let found = self.names.iter().find(|(_, node)| **node == Node::File(inode));
        found.map_or(Path::new("removed"), |(path, _)| path)
    }

    /// Bytes taken by files that have a name or are open, in whole pages.
    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<_> = self.files().map(|(_, inode, _)| inode).collect();
        let taking = self.files.iter().filter(|(inode, file)| file.handles > 0 || named.contains(inode));
        taking.map(|(_, file)| pages(file.length())).sum()
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::CreateDir { .. } | Step::Create { .. } | Step::Rename { .. } | Step::Remove { .. } => {
                if let Step::Create { inode, .. } = step {
                    self.files.insert(*inode, SimInode::default());
                    self.next = inode + 1;
                }
                change_name(&mut self.names, step);
                self.pending.push(step.clone());
            }
            Step::SyncDir { path } => self.sync_dir(path),
            Step::Write { inode, offset, bytes } => self.change(*inode, |file| file.write(bytes, *offset)),
            Step::SetLength { inode, length } => self.change(*inode, |file| file.set_length(*length)),
            Step::Sync { inode, changes } => self.change(*inode, |file| file.sync(*changes)),
            Step::FailSync { inode, seed } => {
                self.change(*inode, |file| file.fail_sync(&mut Chance::new(*seed)));
            }
        }
    }

    /// What a power cut leaves.
    pub(super) fn after_power_cut(&self, chance: &mut Chance) -> Self {
        let mut names = self.durable.clone();
        // A journal keeps the order of changes; POSIX does not ask for that.
        let in_order = !chance.one_in(3);
        let first = match chance.below(3) {
            0 => 0,
            1 => self.pending.len() as u64,
            _ => chance.below(self.pending.len() as u64 + 1),
        };
        for (index, step) in self.pending.iter().enumerate() {
            if if in_order { (index as u64) < first } else { chance.one_in(2) } {
                change_name(&mut names, step);
            }
        }
        remove_orphans(&mut names);
        let files = self.kept(&names, |file| file.settled(chance));
        Self { durable: names.clone(), names, pending: Vec::new(), files, next: self.next }
    }

    /// What the end of a process leaves: everything, but for open handles.
    pub(super) fn after_kill(&self) -> Self {
        let mut tree = self.clone();
        tree.files.values_mut().for_each(|file| file.handles = 0);
        tree
    }

    /// Forgets files that nothing can lead to any more.
    pub(super) fn forget_removed(&mut self) {
        let mut reachable: BTreeSet<_> = self.names.values().chain(self.durable.values()).copied().collect();
        for step in &self.pending {
            if let Step::Create { inode, .. } | Step::Rename { inode, .. } | Step::Remove { inode, .. } = step
            {
                reachable.insert(Node::File(*inode));
            }
        }
        self.files.retain(|inode, file| file.handles > 0 || reachable.contains(&Node::File(*inode)));
    }

    fn change(&mut self, inode: Inode, change: impl FnOnce(&mut SimInode)) {
        if let Some(file) = self.files.get_mut(&inode) {
            change(file);
        }
    }

    fn sync_dir(&mut self, directory: &Path) {
        let (durable, pending) = (&mut self.durable, &mut self.pending);
        pending.retain(|step| {
            let inside = match step {
                Step::CreateDir { path } | Step::Create { path, .. } | Step::Remove { path, .. } => {
                    path.parent() == Some(directory)
                }
                Step::Rename { from, to, .. } => {
                    from.parent() == Some(directory) || to.parent() == Some(directory)
                }
                _ => false,
            };
            if inside {
                change_name(durable, step);
            }
            !inside
        });
        self.forget_removed();
    }

    fn kept(
        &self,
        names: &BTreeMap<PathBuf, Node>,
        mut settle: impl FnMut(&SimInode) -> SimInode,
    ) -> BTreeMap<Inode, SimInode> {
        let inodes = names.values().filter_map(|node| match node {
            Node::File(inode) => Some(*inode),
            Node::Directory => None,
        });
        inodes.filter_map(|inode| Some((inode, settle(self.files.get(&inode)?)))).collect()
    }
}

/// Bytes of the pages that so many bytes take.
pub(super) fn pages(length: u64) -> u64 {
    length.div_ceil(4096) * 4096
}

/// A path without `.` and the like.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn change_name(names: &mut BTreeMap<PathBuf, Node>, step: &Step) {
    match step {
        Step::CreateDir { path } => {
            names.insert(path.clone(), Node::Directory);
        }
        Step::Create { path, inode } => {
            names.insert(path.clone(), Node::File(*inode));
        }
        Step::Rename { to, inode, .. } => {
            // What gave it the name `from` may be lost without the renaming being lost. A file never has two names.
            names.retain(|_, node| *node != Node::File(*inode));
            names.insert(to.clone(), Node::File(*inode));
        }
        Step::Remove { path, inode } if names.get(path) == Some(&Node::File(*inode)) => {
            names.remove(path);
        }
        _ => {}
    }
}

/// Names in directories that are not there lead nowhere.
fn remove_orphans(names: &mut BTreeMap<PathBuf, Node>) {
    let directories: BTreeSet<PathBuf> =
        names.iter().filter(|(_, node)| **node == Node::Directory).map(|(path, _)| path.clone()).collect();
    names.retain(|path, _| {
        path.ancestors().skip(1).all(|above| above.as_os_str().is_empty() || directories.contains(above))
    });
}

impl Step {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Write { inode, offset, bytes } => {
                format!("Write {{ inode: {inode}, offset: {offset}, bytes: {} }}", bytes.len())
            }
            other => format!("{other:?}"),
        }
    }
}
