//! One publisher, many observers.

use super::super::wire::{Datagram, Kind, Template, code, option, path};
use super::super::{Mail, Notified, Script, Turn, Wrong};

/// The last client changes a resource as soon as all others, who observe it, have heard of its last change.
///
/// Observers may be told of the last change only (RFC 7641 §1.3), so a notification of an earlier one, or of one
/// that an observer knows already, is not counted.
#[derive(Debug)]
pub struct FanOut {
    observers: usize,
    register: Template,
    change: Template,
    /// The number of the last change, and when it was asked for.
    version: u64,
    changed_at: u64,
    /// Which version each observer has seen; `None` before it is registered.
    seen: Vec<Option<u64>>,
    registered: usize,
    behind: usize,
    repeated: u64,
}

impl FanOut {
    /// `observers` observers of a resource, and one client more that changes it.
    pub fn new(resource: &str, observers: usize) -> Self {
        let path = path(resource);
        let options = [&[(option::OBSERVE, &[][..])], path.as_slice()].concat();
        FanOut {
            observers,
            register: Template::new(Kind::Confirmable, code::GET, &options, b""),
            change: Template::new(Kind::Confirmable, code::PUT, &path, &[0]),
            version: 0,
            changed_at: 0,
            seen: vec![None; observers],
            registered: 0,
            behind: 0,
            repeated: 0,
        }
    }

    /// Whether all observers are registered.
    pub fn is_registered(&self) -> bool {
        self.registered == self.observers
    }

    /// Whether all observers know the last change.
    pub fn is_settled(&self) -> bool {
        self.behind == 0
    }

    /// Changes made.
    pub fn changes(&self) -> u64 {
        self.version
    }

    /// Notifications that told nothing new.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }
}

impl Script for FanOut {
    fn ask(&mut self, client: usize, mail: &mut Mail) -> Turn {
        if client < self.observers {
            if self.seen[client].is_some() {
                return Turn::Ended;
            }
            mail.add(&self.register);
            return Turn::Asked;
        }
        if !self.is_registered() || self.behind > 0 {
            return Turn::Waits;
        }
        self.version += 1;
        self.changed_at = mail.now();
        self.behind = self.observers;
        self.change.set_payload(format!("{:032}", self.version).as_bytes());
        mail.add(&self.change);
        Turn::Asked
    }

    fn answered(&mut self, client: usize, answer: &Datagram<'_>) -> Result<u64, Wrong> {
        if client == self.observers {
            let stored = matches!(answer.code, code::CHANGED | code::CREATED);
            return if stored { Ok(0) } else { Err(Wrong::of(answer)) };
        }
        self.seen[client] = Some(0);
        self.registered += 1;
        let observes = answer.code == code::CONTENT && answer.uint(option::OBSERVE).is_some();
        if observes { Ok(0) } else { Err(Wrong::of(answer)) }
    }

    fn notified(&mut self, client: usize, answer: &Datagram<'_>, _: u64) -> Result<Notified, Wrong> {
        let told = std::str::from_utf8(answer.payload()).ok().and_then(|text| text.parse().ok());
        let observed = answer.code == code::CONTENT && answer.uint(option::OBSERVE).is_some();
        let (true, Some(version)) = (observed, told) else { return Err(Wrong::of(answer)) };
        let seen = self.seen.get_mut(client).and_then(Option::as_mut).ok_or_else(|| Wrong::of(answer))?;
        if version != self.version || *seen == version {
            self.repeated += 1;
            return Ok(Notified { units: 0, since: None });
        }
        *seen = version;
        self.behind -= 1;
        Ok(Notified { units: 1, since: Some(self.changed_at) })
    }
}
