//! One observer.

use tercet_coap::block::BlockSize;
use tercet_coap::endpoint::{Handle, Tag};
use tercet_coap::oscore::ProtectError;
use tercet_coap::{Code, Options, OwnedMessage, Time, Token, Writer};

use crate::coap::answer::Lease;
use crate::coap::oscore::Protection;
use crate::coap::peer::Origin;

/// A relation: a client and its token, to a filter.
#[derive(Debug)]
pub struct Observer {
    /// The client.
    pub origin: Origin,
    /// What the client calls the relation.
    pub token: Token,
    /// The watch, by its number.
    pub watch: u32,
    /// Its group there.
    pub group: u32,
    /// Its place in the group.
    pub place: u32,
    /// The next observer of the same client.
    pub next_of_client: Option<u32>,
    /// Tells successive owners of a slot apart.
    pub serial: u32,
    /// The confirmable notification under way.
    pub outstanding: Option<Handle>,
    /// Notifications since the last confirmable one; `None` before the first.
    pub since_confirmable: Option<u16>,
    /// When the last confirmable one was sent, in seconds.
    pub confirmable_at: u32,
    /// The longest time between two of these, in seconds.
    pub check_within: u32,
    /// Its place among the observers of what it observes, if their number is limited.
    pub lease: Option<Lease>,
    /// Its place among all observers.
    pub place_among_all: Lease,
    /// The largest block that it asked for when it registered.
    pub block: BlockSize,
    /// How its notifications are protected, if it registered under OSCORE.
    pub protection: Option<Box<Protection>>,
}

impl Observer {
    /// What its notifications are called in the message layer.
    #[must_use]
    pub fn tag(&self, slot: u32) -> Tag {
        Tag(u64::from(self.serial) << 32 | u64::from(slot))
    }

    /// Whether the next notification is to be confirmable.
    #[must_use]
    pub fn is_to_confirm(&self, every: u16, now: Time) -> bool {
        let Some(since) = self.since_confirmable else { return true };
        let silent = (now.as_secs() as u32).saturating_sub(self.confirmable_at);
        since.saturating_add(1) >= every || silent >= self.check_within
    }

    /// A notification as it is protected for this observer; `Ok(None)` if it goes as it is.
    ///
    /// # Errors
    /// It cannot be protected now.
    pub fn protect(
        &mut self,
        code: Code,
        options: Options<'_>,
        payload: &[u8],
    ) -> Result<Option<OwnedMessage>, ProtectError> {
        let Some(protection) = self.protection.as_deref_mut() else { return Ok(None) };
        let write = |writer: &mut Writer<'_>| {
            writer.options(options).payload(payload);
        };
        protection.protect(code, self.token.as_bytes(), write).map(Some)
    }

    /// A notification was sent.
    pub fn sent(&mut self, handle: Option<Handle>, confirmable: bool, now: Time) {
        if confirmable {
            self.outstanding = handle;
            self.since_confirmable = Some(0);
            self.confirmable_at = now.as_secs() as u32;
        } else {
            self.since_confirmable = self.since_confirmable.map(|since| since.saturating_add(1));
        }
    }
}

/// Slot and serial of the observer that a message was sent to.
#[must_use]
pub fn of_tag(tag: Tag) -> (u32, u32) {
    (tag.0 as u32, (tag.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_observer_is_small() {
        assert!(size_of::<Observer>() <= 224, "{}", size_of::<Observer>());
    }
}
