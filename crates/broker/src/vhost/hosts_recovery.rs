//! All virtual hosts while they are being rebuilt: each record and image goes to the one whose number it bears.
//!
//! Records about unknown virtual hosts are skipped, like those about unknown sessions: they were ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::body::Stored;
use crate::clock::Now;
use crate::effects::Effects;
use crate::hosts::VhostId;
use crate::journal::Place;
use crate::record::checkpoint_record::CheckpointRecord;
use crate::record::{HostRecord, OwnedRecord};
use crate::session::SessionId;
use crate::vhost::Vhost;
use crate::vhost::recovery::{Contradiction, Recovery};

/// Makes a virtual host, of which nothing is known yet but its number and name; `None` if there can be no other.
pub(crate) type MakeHost<'a> = dyn FnMut(VhostId, Arc<str>) -> Option<Arc<Vhost>> + 'a;

/// See the module documentation.
pub(crate) struct HostsRecovery<'a> {
    hosts: BTreeMap<VhostId, Recovery<'a>>,
    make: &'a mut MakeHost<'a>,
    /// Cut of the checkpoint as a whole.
    begun: Place,
    next_host: u64,
}

const ONLY_ONE: Contradiction = Contradiction("there are several virtual hosts");

impl<'a> HostsRecovery<'a> {
    pub(crate) fn new(default: &'a Vhost, make: &'a mut MakeHost<'a>) -> Self {
        let hosts = BTreeMap::from([(default.id(), default.recover())]);
        Self { hosts, make, begun: Place::default(), next_host: 1 }
    }

    /// A virtual host is known by now. An earlier one of that name was being ended.
    fn insert(&mut self, id: VhostId, name: Arc<str>) -> Result<(), Contradiction> {
        self.next_host = self.next_host.max(id.0 + 1);
        if self.hosts.contains_key(&id) {
            return Ok(());
        }
        self.hosts.retain(|_, host| *host.vhost().name() != name);
        let host = (self.make)(id, name).ok_or(ONLY_ONE)?;
        self.hosts.insert(id, Recovery::of(host));
        Ok(())
    }

    /// Puts the next image of a checkpoint in place.
    pub(crate) fn load(&mut self, host: VhostId, image: CheckpointRecord) -> Result<(), Contradiction> {
        if let CheckpointRecord::Begin(begin) = &image {
            self.begun = begin.cut;
            self.next_host = self.next_host.max(begin.next_host);
            self.insert(host, Arc::clone(&begin.name))?;
        }
        let known = self.hosts.get_mut(&host);
        known.ok_or(Contradiction("an image has no virtual host"))?.load(image)
    }

    /// Applies the next record, which is at `place` of the log, unless an image shows it already.
    pub(crate) fn apply_at(
        &mut self,
        host: VhostId,
        record: OwnedRecord,
        place: Place,
    ) -> Result<(), Contradiction> {
        if place < self.begun {
            return Ok(());
        }
        match record {
            OwnedRecord::Host(HostRecord::Created { name }) => return self.insert(host, name),
            OwnedRecord::Host(HostRecord::Deleted) if host != VhostId::DEFAULT => {
                self.hosts.remove(&host);
            }
            record => {
                if let Some(known) = self.hosts.get_mut(&host) {
                    known.apply_at(record, place);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn note_publisher(&mut self, host: VhostId, publisher: SessionId) {
        if let Some(known) = self.hosts.get_mut(&host) {
            known.note_publisher(publisher);
        }
    }

    pub(crate) fn for_each_holder(&self, mut look: impl FnMut(Stored)) {
        self.hosts.values().for_each(|host| host.for_each_holder(&mut look));
    }

    /// The number that the next virtual host gets.
    pub(crate) fn next_host(&self) -> u64 {
        self.next_host
    }

    /// Ends the rebuilding; returns the virtual hosts that were made.
    pub(crate) fn finish(self, now: Now, effects: &mut Effects) -> Vec<Arc<Vhost>> {
        let hosts = self.hosts.into_values();
        hosts.filter_map(|host| host.finish_with(now, effects)).collect()
    }
}
