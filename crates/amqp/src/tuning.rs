//! What both sides of a connection agree on (connection.tune, connection.tune-ok).

use crate::error::{Error, ErrorKind};
use crate::limits::{FRAME_LEAST, FRAME_MIN, Limits};
use crate::method::connection::{Tune, TuneOk};

/// The parameters of a connection: offered, wished for, or agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// The highest channel number; 0 for no limit but 65,535.
    pub channel_max: u16,
    /// The greatest frame in bytes, with its overhead; 0 for no limit.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u16,
}

impl Default for Tuning {
    /// What RabbitMQ offers: 2,047 channels, frames of 128 KiB, a heartbeat each minute.
    fn default() -> Self {
        Self { channel_max: 2047, frame_max: 131_072, heartbeat: 60 }
    }
}

impl Tuning {
    /// A server's offer.
    pub const fn offer(&self) -> Tune {
        Tune { channel_max: self.channel_max, frame_max: self.frame_max, heartbeat: self.heartbeat }
    }

    /// For a server that offered `self`: what the client settled on. The heartbeat is the client's to choose, as with
    /// RabbitMQ; 0 turns it off.
    ///
    /// # Errors
    /// When the client exceeds the offer (0, no limit, exceeds every limit) or its frames are smaller than
    /// [`FRAME_LEAST`] (RabbitMQ since 4.1), unless those of the offer are: 530.
    pub fn accept(&self, settled: &TuneOk) -> Result<Self, Error> {
        let fail = |what, value, limit, above| {
            Err(Error::new(ErrorKind::Tuning { what, value, limit, above }, 0, Some(TuneOk::ID)))
        };
        let TuneOk { channel_max, frame_max, heartbeat } = *settled;
        if exceeds(channel_max.into(), self.channel_max.into()) {
            return fail("channel_max", channel_max.into(), self.channel_max.into(), true);
        }
        if exceeds(frame_max, self.frame_max) {
            return fail("frame_max", frame_max, self.frame_max, true);
        }
        if frame_max != 0 && frame_max < self.least_frame() {
            return fail("frame_max", frame_max, self.least_frame(), false);
        }
        Ok(Self { channel_max, frame_max, heartbeat })
    }

    /// For a client that wishes for `self`: what to answer to the server's offer. For each parameter the smaller value
    /// counts, and 0 is no wish.
    ///
    /// # Errors
    /// When the server offers frames smaller than [`FRAME_MIN`].
    pub fn answer(&self, offer: &Tune) -> Result<Self, Error> {
        let frame_max = lesser(self.frame_max, offer.frame_max);
        if frame_max != 0 && frame_max < FRAME_MIN {
            let kind =
                ErrorKind::Tuning { what: "frame_max", value: frame_max, limit: FRAME_MIN, above: false };
            return Err(Error::new(kind, 0, Some(Tune::ID)));
        }
        // The lesser of two numbers of 16 bits has 16 bits.
        let short = |a: u16, b: u16| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        Ok(Self {
            channel_max: short(self.channel_max, offer.channel_max),
            frame_max,
            heartbeat: short(self.heartbeat, offer.heartbeat),
        })
    }

    /// The smallest frames that a client may settle on.
    const fn least_frame(&self) -> u32 {
        if self.frame_max != 0 && self.frame_max < FRAME_LEAST { FRAME_MIN } else { FRAME_LEAST }
    }

    /// A client's answer.
    pub const fn tune_ok(&self) -> TuneOk {
        TuneOk { channel_max: self.channel_max, frame_max: self.frame_max, heartbeat: self.heartbeat }
    }

    /// These limits with the agreed size of frames.
    pub const fn limits(&self, limits: Limits) -> Limits {
        Limits { frame_max: self.frame_max, ..limits }
    }

    /// Whether a channel may have this number.
    ///
    /// # Errors
    /// When it is above the maximum: 530.
    pub fn check_channel(&self, number: u16) -> Result<(), Error> {
        if self.channel_max != 0 && number > self.channel_max {
            return Err(Error::new(ErrorKind::ChannelMax(self.channel_max), 0, None));
        }
        Ok(())
    }
}

const fn exceeds(value: u32, limit: u32) -> bool {
    limit != 0 && (value == 0 || value > limit)
}

const fn lesser(a: u32, b: u32) -> u32 {
    if a == 0 || (b != 0 && b < a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply_code::ReplyCode;

    #[test]
    fn a_client_stays_within_the_offer() {
        let offer = Tuning::default();
        let settle = |channel_max, frame_max| offer.accept(&TuneOk { channel_max, frame_max, heartbeat: 0 });
        assert_eq!(
            settle(10, 8192),
            Ok(Tuning { channel_max: 10, frame_max: 8192, heartbeat: 0 }),
            "the heartbeat is off when the client says so"
        );
        assert!(settle(2047, 131_072).is_ok());
        for (channel_max, frame_max, text) in [
            (
                0,
                4096,
                "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)",
            ),
            (
                2048,
                4096,
                "NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047)",
            ),
            (
                1,
                0,
                "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072)",
            ),
            (
                1,
                131_073,
                "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072)",
            ),
            (
                1,
                8191,
                "NOT_ALLOWED - negotiated frame_max = 8191 is lower than the minimum allowed value (8192)",
            ),
        ] {
            let error = settle(channel_max, frame_max).unwrap_err();
            assert_eq!((error.code, error.text().as_str()), (ReplyCode::NotAllowed, text));
        }
        let small = Tuning { frame_max: 4096, ..offer };
        assert!(small.accept(&small.tune_ok()).is_ok(), "what is offered may be taken");
        let open = Tuning { channel_max: 0, frame_max: 0, heartbeat: 0 };
        assert!(open.accept(&TuneOk { channel_max: 0, frame_max: 0, heartbeat: 0 }).is_ok());
    }

    #[test]
    fn the_smaller_wish_counts_and_zero_is_none() {
        for (wish, offer, agreed) in [
            ((0, 0, 0), (2047, 131_072, 60), (2047, 131_072, 60)),
            ((8, 8192, 10), (0, 0, 0), (8, 8192, 10)),
            ((9, 4096, 30), (5, 9999, 20), (5, 4096, 20)),
        ] {
            let make = |(channel_max, frame_max, heartbeat)| Tuning { channel_max, frame_max, heartbeat };
            assert_eq!(make(wish).answer(&make(offer).offer()), Ok(make(agreed)));
        }
        assert!(Tuning::default().answer(&Tune { channel_max: 1, frame_max: 100, heartbeat: 0 }).is_err());
    }

    #[test]
    fn channels_have_a_highest_number() {
        assert!(Tuning::default().check_channel(2047).is_ok());
        assert_eq!(Tuning::default().check_channel(2048).unwrap_err().code, ReplyCode::NotAllowed);
        assert!(Tuning { channel_max: 0, ..Tuning::default() }.check_channel(u16::MAX).is_ok());
    }
}
