//! One place of a queue: 32 bytes, whether its message is in memory or only in the log.

use std::sync::Arc;

use tercet_log::position::{Place, Position};

use crate::body::{Body, BodyRef, Stored};
use crate::filter::SubscriptionIds;
use crate::message::{Message, Qos};
use crate::queue::Stage;
use crate::record::{Entry, EntryRef, Loan};

/// A slot of a queue. An entry of the usual shape lies within it; one with several subscription identifiers does not
/// fit and lies elsewhere.
#[derive(Debug)]
pub(super) enum Slot {
    /// The entry was settled, or never was.
    Settled,
    /// The message is in memory.
    Hot { flags: Flags, id: u32, message: Arc<Message>, loan: Option<Box<Loan>> },
    /// The message is only in the log. The fields are those of [`Stored`].
    Cold { flags: Flags, id: u32, batch: Position, offset: u32, len: u32, size: u32 },
    /// Several subscription identifiers.
    Rare { flags: Flags, entry: Box<Entry> },
}

/// Guarantee, retain flag, stage, whether it was handed out before, and whether its record may have several holders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags(u8);

impl Flags {
    const RETAIN: u8 = 1 << 2;
    const REDELIVERED: u8 = 1 << 5;
    const SHARED: u8 = 1 << 6;

    fn new(qos: Qos, retain: bool) -> Self {
        Self(qos as u8 | if retain { Self::RETAIN } else { 0 })
    }

    fn qos(self) -> Qos {
        match self.0 & 0b11 {
            0 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            _ => Qos::ExactlyOnce,
        }
    }

    fn stage(self) -> Stage {
        match (self.0 >> 3) & 0b11 {
            0 => Stage::Ready,
            1 => Stage::Sent,
            _ => Stage::Released,
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        let number = match stage {
            Stage::Ready => 0,
            Stage::Sent => 1,
            Stage::Released => 2,
        };
        self.0 = self.0 & !(0b11 << 3) | number << 3;
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

impl Slot {
    /// A ready entry that was not handed out yet.
    pub(super) fn new(entry: Entry) -> Self {
        let mut flags = Flags::new(entry.qos, entry.retain);
        let id = match entry.ids {
            SubscriptionIds::None => 0,
            SubscriptionIds::One(id) => id,
            SubscriptionIds::Many(_) => return Self::Rare { flags, entry: Box::new(entry) },
        };
        match entry.body {
            Body::Memory(message) => Self::Hot { flags, id, message, loan: entry.loan },
            // What is on loan is handed out from memory; should it come otherwise, nothing of it is lost.
            Body::Log(_) if entry.loan.is_some() => Self::Rare { flags, entry: Box::new(entry) },
            Body::Log(stored) => {
                flags.set(Flags::SHARED, stored.shared);
                let Place { batch, offset } = stored.place();
                Self::Cold { flags, id, batch, offset, len: stored.len, size: stored.size }
            }
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Settled)
    }

    /// Takes the entry out.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let (flags, id, body, loan) = match std::mem::replace(self, Self::Settled) {
            Self::Settled => return None,
            Self::Rare { entry, .. } => return Some(*entry),
            Self::Hot { flags, id, message, loan } => (flags, id, Body::Memory(message), loan),
            Self::Cold { flags, id, batch, offset, len, size } => {
                (flags, id, Body::Log(stored(flags, batch, offset, len, size)), None)
            }
        };
        Some(Entry { body, ids: ids(id), loan, qos: flags.qos(), retain: flags.has(Flags::RETAIN) })
    }

    /// The entry, if it is not settled.
    pub(super) fn entry(&self) -> Option<EntryRef<'_>> {
        let body = self.body()?;
        let flags = self.flags()?;
        let (ids, loan) = match self {
            Self::Settled => return None,
            Self::Hot { id, loan, .. } => (slice(id), loan.as_deref()),
            Self::Cold { id, .. } => (slice(id), None),
            Self::Rare { entry, .. } => (entry.ids.as_slice(), entry.loan.as_deref()),
        };
        Some(EntryRef { body, ids, loan, qos: flags.qos(), retain: flags.has(Flags::RETAIN) })
    }

    /// Where its message is.
    pub(super) fn body(&self) -> Option<BodyRef<'_>> {
        match self {
            Self::Settled => None,
            Self::Hot { message, .. } => Some(BodyRef::Memory(message)),
            Self::Cold { flags, batch, offset, len, size, .. } => {
                Some(BodyRef::Log(stored(*flags, *batch, *offset, *len, *size)))
            }
            Self::Rare { entry, .. } => Some(entry.body.as_ref()),
        }
    }

    /// Puts its message elsewhere: the same one, read back, let go of, or moved within the log.
    pub(super) fn set_body(&mut self, body: Body) {
        match (&mut *self, body) {
            (Self::Settled, _) => {}
            (Self::Rare { entry, .. }, body) => entry.body = body,
            (Self::Hot { message, .. }, Body::Memory(other)) => *message = other,
            (Self::Cold { flags, id, .. }, Body::Memory(message)) => {
                *self = Self::Hot { flags: *flags, id: *id, message, loan: None };
            }
            (Self::Hot { loan: Some(_), .. }, Body::Log(_)) => {}
            (Self::Hot { flags, id, .. } | Self::Cold { flags, id, .. }, Body::Log(stored)) => {
                let (mut flags, id) = (*flags, *id);
                flags.set(Flags::SHARED, stored.shared);
                let Place { batch, offset } = stored.place();
                *self = Self::Cold { flags, id, batch, offset, len: stored.len, size: stored.size };
            }
        }
    }

    /// The message, if it is in memory.
    pub(super) fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Hot { message, .. } => Some(message),
            Self::Rare { entry, .. } => entry.body.message(),
            Self::Settled | Self::Cold { .. } => None,
        }
    }

    /// What it counts for against byte limits; 0 once settled.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Settled => 0,
            Self::Hot { message, .. } => message.size(),
            Self::Cold { size, .. } => *size as usize,
            Self::Rare { entry, .. } => entry.body.size(),
        }
    }

    /// Where the entry stands; a settled one counts as handed out.
    pub(super) fn stage(&self) -> Stage {
        self.flags().map_or(Stage::Sent, Flags::stage)
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(flags) = self.flags_mut() {
            flags.set_stage(stage);
        }
    }

    /// Whether it waits to be handed out.
    pub(super) fn is_ready(&self) -> bool {
        self.flags().is_some_and(|flags| flags.stage() == Stage::Ready)
    }

    pub(super) fn is_redelivered(&self) -> bool {
        self.flags().is_some_and(|flags| flags.has(Flags::REDELIVERED))
    }

    pub(super) fn set_redelivered(&mut self, redelivered: bool) {
        if let Some(flags) = self.flags_mut() {
            flags.set(Flags::REDELIVERED, redelivered);
        }
    }

    /// Whether the entry has to survive a restart, in a queue that does.
    pub(super) fn is_durable(&self) -> bool {
        match self {
            Self::Settled => false,
            Self::Hot { flags, loan, .. } => flags.qos() > Qos::AtMostOnce && loan.is_none(),
            Self::Cold { flags, .. } => flags.qos() > Qos::AtMostOnce,
            Self::Rare { entry, .. } => entry.is_durable(),
        }
    }

    fn flags(&self) -> Option<Flags> {
        match self {
            Self::Settled => None,
            Self::Hot { flags, .. } | Self::Cold { flags, .. } | Self::Rare { flags, .. } => Some(*flags),
        }
    }

    fn flags_mut(&mut self) -> Option<&mut Flags> {
        match self {
            Self::Settled => None,
            Self::Hot { flags, .. } | Self::Cold { flags, .. } | Self::Rare { flags, .. } => Some(flags),
        }
    }
}

fn stored(flags: Flags, batch: Position, offset: u32, len: u32, size: u32) -> Stored {
    Stored::new(Place { batch, offset }, len, size, flags.has(Flags::SHARED))
}

/// 0 is no identifier (MQTT 5 §3.8.2.1.2).
fn ids(id: u32) -> SubscriptionIds {
    if id == 0 { SubscriptionIds::None } else { SubscriptionIds::One(id) }
}

fn slice(id: &u32) -> &[u32] {
    if *id == 0 { &[] } else { std::slice::from_ref(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert_eq!(std::mem::size_of::<Slot>(), 32);
    }

    #[test]
    fn flags_do_not_touch_each_other() {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            for retain in [false, true] {
                for stage in [Stage::Sent, Stage::Released, Stage::Ready] {
                    for on in [false, true] {
                        let mut flags = Flags::new(qos, retain);
                        assert_eq!(flags.stage(), Stage::Ready);
                        flags.set(Flags::SHARED, on);
                        flags.set_stage(stage);
                        flags.set(Flags::REDELIVERED, !on);
                        let found =
                            (flags.qos(), flags.has(Flags::RETAIN), flags.stage(), flags.has(Flags::SHARED));
                        assert_eq!(found, (qos, retain, stage, on));
                        assert_eq!(flags.has(Flags::REDELIVERED), !on);
                    }
                }
            }
        }
    }
}
