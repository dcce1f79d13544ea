//! An open file.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::content::Bytes;
use super::disk::{SimDisk, State};
use super::fault::{self, Operation};
use super::file::SimInode;
use super::tree::{Inode, Step};
use crate::disk::File;

/// An open file of a [`SimDisk`].
pub(super) struct SimFile {
    disk: SimDisk,
    inode: Inode,
}

impl SimFile {
    pub(super) fn open(disk: &SimDisk, state: &mut State, inode: Inode) -> Arc<dyn File> {
        if let Some(file) = state.tree.file_mut(inode) {
            file.handles += 1;
        }
        Arc::new(Self { disk: disk.clone(), inode })
    }

    fn enter(&self, state: &mut State, operation: Operation) -> Result<(), (io::Error, usize)> {
        let path = state.tree.name_of(self.inode).to_owned();
        state.enter(operation, &path)
    }

    fn length(&self, state: &State) -> u64 {
        state.tree.file(self.inode).map_or(0, SimInode::length)
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.disk.0.state.lock().tree.name_of(self.inode).display())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.0.state.lock();
        if let Some(file) = state.tree.file_mut(self.inode) {
            file.handles = file.handles.saturating_sub(1);
        }
        state.tree.forget_removed();
    }
}

impl File for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.state.lock();
        self.enter(&mut state, Operation::Read).map_err(|(error, _)| error)?;
        state.control.count(self.inode, |counts| counts.reads += 1);
        Ok(state.tree.file(self.inode).map_or(0, |file| file.read(into, offset)))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let (mut written, mut result) = (bytes.len(), Ok(()));
        if let Err((error, before)) = self.enter(&mut state, Operation::Write) {
            written = before.min(written);
            if error.kind() != io::ErrorKind::StorageFull {
                state.control.failed(self.inode);
            }
            result = Err(error);
        }
        let end = offset + written as u64;
        let room = state.space_for(self.length(&state), end);
        if room < end {
            written = room.saturating_sub(offset) as usize;
            result = result.and(Err(fault::no_space()));
        }
        if written > 0 {
            let bytes = Bytes::new(bytes.get(..written).unwrap_or_default());
            state.apply(Step::Write { inode: self.inode, offset, bytes });
        }
        if result.is_ok() {
            state.control.count(self.inode, |counts| {
                counts.writes += 1;
                counts.bytes += written as u64;
            });
        }
        result
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        self.enter(&mut state, Operation::Allocate).map_err(|(error, _)| error)?;
        let length = self.length(&state);
        if state.space_for(length, len) < len {
            return Err(fault::no_space());
        }
        if len > length {
            state.apply(Step::SetLength { inode: self.inode, length: len });
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        self.enter(&mut state, Operation::Truncate).map_err(|(error, _)| error)?;
        if len < self.length(&state) {
            state.apply(Step::SetLength { inode: self.inode, length: len });
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.state.lock();
        let changes = state.tree.file(self.inode).map_or(0, SimInode::changes);
        if state.control.holding {
            state.control.held += 1;
            self.disk.0.syncs.notify_all();
            while state.control.holding && !state.control.is_off() {
                self.disk.0.syncs.wait(&mut state);
            }
            state.control.held -= 1;
        }
        let path = state.tree.name_of(self.inode).to_owned();
        state.control.check_sync(self.inode, &path);
        if let Err((error, _)) = state.enter(Operation::Sync, &path) {
            if !state.control.is_off() {
                state.control.failed(self.inode);
                let seed = state.control.steps;
                state.apply(Step::FailSync { inode: self.inode, seed });
            }
            return Err(error);
        }
        state.apply(Step::Sync { inode: self.inode, changes });
        state.control.count(self.inode, |counts| counts.syncs += 1);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.0.state.lock();
        if state.control.is_off() { Err(fault::eio()) } else { Ok(self.length(&state)) }
    }
}
