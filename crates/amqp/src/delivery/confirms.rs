//! Publishes that the server has not confirmed: the client's side.

use crate::delivery::outstanding::Outstanding;
use crate::error::{Error, ErrorKind};
use crate::method::MethodId;

/// The publishes of a channel since confirm.select-ok, numbered from 1, and what belongs to them.
#[derive(Clone, Debug)]
pub struct Confirms<T> {
    last: u64,
    outstanding: Outstanding<T>,
}

impl<T> Default for Confirms<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Confirms<T> {
    /// Nothing was published.
    pub const fn new() -> Self {
        Self { last: 0, outstanding: Outstanding::new() }
    }

    /// The number of the next publish.
    #[inline]
    pub fn publish(&mut self, publish: T) -> u64 {
        self.last += 1;
        self.outstanding.push(self.last, publish);
        self.last
    }

    /// How many publishes are unconfirmed.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// No publish is unconfirmed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a basic.ack or basic.nack of the server speaks of, in the order of publishing. With `multiple`, `number`
    /// itself may have been confirmed before; 0 stands for all.
    ///
    /// # Errors
    /// When the number was never used, or is confirmed a second time on its own: 406.
    pub fn settle(
        &mut self,
        number: u64,
        multiple: bool,
        channel: u16,
        method: MethodId,
    ) -> Result<impl Iterator<Item = (u64, T)>, Error> {
        let unknown = || Error::new(ErrorKind::DeliveryTag(number), channel, Some(method));
        let (one, up_to) = match (multiple, number) {
            (true, 0) => (None, self.last),
            (true, _) if number > self.last => return Err(unknown()),
            (true, _) => (None, number),
            (false, _) => (Some((number, self.outstanding.take(number).ok_or_else(unknown)?)), 0),
        };
        Ok(one.into_iter().chain(self.outstanding.take_up_to(up_to)))
    }

    /// Takes all unconfirmed publishes in their order: what became of them is not known when the channel ends.
    pub fn take_all(&mut self) -> impl Iterator<Item = (u64, T)> {
        self.outstanding.take_up_to(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::basic::Ack;

    #[test]
    fn confirms_come_in_any_order() {
        let mut confirms = Confirms::new();
        for number in 1..=6u64 {
            assert_eq!(confirms.publish(number), number);
        }
        let mut settle = |number, multiple| {
            confirms
                .settle(number, multiple, 1, Ack::ID)
                .map(|settled| settled.map(|(number, _)| number).collect::<Vec<_>>())
                .ok()
        };
        assert_eq!(settle(3, false), Some(vec![3]));
        assert_eq!(settle(3, false), None);
        assert_eq!(settle(3, true), Some(vec![1, 2]));
        assert_eq!(settle(7, true), None);
        assert_eq!(settle(0, false), None);
        assert_eq!(settle(0, true), Some(vec![4, 5, 6]));
        assert!(confirms.is_empty());
    }
}
