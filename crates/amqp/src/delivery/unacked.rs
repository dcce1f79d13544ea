//! Deliveries of a channel that the consumer has not acknowledged: the server's side.

use crate::delivery::outstanding::Outstanding;
use crate::error::{Error, ErrorKind};
use crate::method::MethodId;

/// Delivery tags of one channel and what they stand for.
///
/// Tags begin at 1 and are shared by basic.deliver and basic.get-ok; deliveries that need no acknowledgement use one
/// up too.
#[derive(Clone, Debug)]
pub struct Unacked<T> {
    last: u64,
    outstanding: Outstanding<T>,
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Unacked<T> {
    /// Nothing was delivered.
    pub const fn new() -> Self {
        Self { last: 0, outstanding: Outstanding::new() }
    }

    /// The tag of the next delivery, which is to be acknowledged.
    #[inline]
    pub fn deliver(&mut self, delivery: T) -> u64 {
        self.last += 1;
        self.outstanding.push(self.last, delivery);
        self.last
    }

    /// The tag of the next delivery, which needs no acknowledgement.
    #[inline]
    pub fn deliver_acknowledged(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// How many deliveries are outstanding.
    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// No delivery is outstanding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Outstanding deliveries in their order, with their tags.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.outstanding.iter()
    }

    /// Settles what an ack, nack or reject with this id speaks of, in the order of delivery: the delivery `tag`, with
    /// `multiple` all up to it, and with `multiple` and tag 0 all.
    ///
    /// ```
    /// use tercet_amqp::delivery::Unacked;
    /// use tercet_amqp::method::basic::Ack;
    ///
    /// let mut unacked = Unacked::new();
    /// for name in ["a", "b", "c"] {
    ///     unacked.deliver(name);
    /// }
    /// let settled: Vec<_> = unacked.settle(2, true, 7, Ack::ID)?.collect();
    /// assert_eq!(settled, [(1, "a"), (2, "b")]);
    /// assert!(unacked.settle(2, true, 7, Ack::ID).is_err(), "not outstanding any more");
    /// # Ok::<(), tercet_amqp::Error>(())
    /// ```
    ///
    /// # Errors
    /// When `tag` is not outstanding, even with `multiple`: 406 on the channel, and nothing is settled.
    pub fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        channel: u16,
        method: MethodId,
    ) -> Result<impl Iterator<Item = (u64, T)>, Error> {
        let unknown = || Error::new(ErrorKind::DeliveryTag(tag), channel, Some(method));
        let (one, up_to) = match (multiple, tag) {
            (true, 0) => (None, self.last),
            (true, _) if !self.outstanding.contains(tag) => return Err(unknown()),
            (true, _) => (None, tag),
            (false, _) => (Some((tag, self.outstanding.take(tag).ok_or_else(unknown)?)), 0),
        };
        Ok(one.into_iter().chain(self.outstanding.take_up_to(up_to)))
    }

    /// Takes deliveries back that were settled too early, with their tags: a transaction that is rolled back.
    pub fn restore(&mut self, deliveries: impl IntoIterator<Item = (u64, T)>) {
        self.outstanding.restore(deliveries);
    }

    /// Takes all deliveries in their order: to requeue them when the channel ends, or for basic.recover.
    pub fn take_all(&mut self) -> impl Iterator<Item = (u64, T)> {
        self.outstanding.take_up_to(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::basic::Ack;
    use crate::reply_code::ReplyCode;

    fn settle(unacked: &mut Unacked<u64>, tag: u64, multiple: bool) -> Option<Vec<u64>> {
        match unacked.settle(tag, multiple, 3, Ack::ID) {
            Ok(settled) => Some(settled.map(|(tag, value)| (tag == value).then_some(tag).unwrap()).collect()),
            Err(error) => {
                assert_eq!((error.code, error.channel), (ReplyCode::PreconditionFailed, 3));
                assert!(!error.ends_connection());
                assert_eq!(error.text(), format!("PRECONDITION_FAILED - unknown delivery tag {tag}"));
                None
            }
        }
    }

    #[test]
    fn tags_are_settled_once() {
        let mut unacked = Unacked::new();
        for tag in 1..=10 {
            assert_eq!(unacked.deliver(tag), tag);
        }
        assert_eq!(settle(&mut unacked, 4, false), Some(vec![4]));
        for (tag, multiple) in [(4, false), (4, true), (0, false), (11, false), (11, true), (u64::MAX, true)]
        {
            assert_eq!(settle(&mut unacked, tag, multiple), None, "{tag} {multiple}");
        }
        assert_eq!(unacked.len(), 9, "an unknown tag settles nothing");
        assert_eq!(settle(&mut unacked, 6, true), Some(vec![1, 2, 3, 5, 6]));
        assert_eq!(unacked.deliver_acknowledged(), 11);
        assert_eq!(unacked.deliver(12), 12);
        assert_eq!(settle(&mut unacked, 11, false), None, "it needs no acknowledgement");
        assert_eq!(settle(&mut unacked, 0, true), Some(vec![7, 8, 9, 10, 12]));
        assert_eq!(settle(&mut unacked, 0, true), Some(vec![]), "all of nothing");
        assert!(unacked.is_empty());
    }

    #[test]
    fn what_is_restored_has_its_place_and_tag_again() {
        let mut unacked = Unacked::new();
        (1..=5).for_each(|tag| assert_eq!(unacked.deliver(tag), tag));
        settle(&mut unacked, 1, false);
        let held: Vec<_> = unacked.settle(4, true, 3, Ack::ID).unwrap().collect();
        assert_eq!(unacked.deliver(6), 6);
        unacked.restore(held);
        assert_eq!(unacked.len(), 5);
        assert_eq!(settle(&mut unacked, 3, false), Some(vec![3]));
        assert_eq!(settle(&mut unacked, 0, true), Some(vec![2, 4, 5, 6]));
    }

    #[test]
    fn what_is_left_comes_back_in_order() {
        let mut unacked = Unacked::new();
        (1..=5).for_each(|tag| assert_eq!(unacked.deliver(tag), tag));
        settle(&mut unacked, 3, false);
        assert_eq!(unacked.iter().map(|(tag, _)| tag).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(unacked.take_all().map(|(tag, _)| tag).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!((unacked.len(), unacked.deliver(6)), (0, 6));
    }
}
