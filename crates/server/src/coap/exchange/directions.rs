//! What the options of a request say about how it is to be dealt with, gathered in one pass.

use tercet_coap::option::Judgement;
use tercet_coap::{Number, Options};

/// What the options of a request say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions<'a> {
    /// Observe (RFC 7641): 0 registers, 1 deregisters.
    pub observe: Option<u32>,
    /// Block1 (RFC 7959): a part of the request's body.
    pub block1: Option<u32>,
    /// Block2: a part of the response's body is asked for.
    pub block2: Option<u32>,
    /// Whether Q-Block1 or Q-Block2 stand for them (RFC 9177).
    pub q_block: Option<QBlock>,
    /// Size1: how large the whole body will be.
    pub size1: Option<u32>,
    /// Whether Size2 asks how large the response's body is.
    pub asks_size2: bool,
    /// No-Response (RFC 7967): classes of responses that are not wanted.
    pub no_response: u8,
    /// Echo (RFC 9175).
    pub echo: Option<&'a [u8]>,
    /// OSCORE (RFC 8613).
    pub oscore: Option<&'a [u8]>,
    /// Whether it is meant for a proxy.
    pub for_proxy: bool,
}

/// Which of the two options of RFC 9177 there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QBlock {
    /// A part of the request's body.
    One,
    /// Parts of the response's body are asked for.
    Two,
    /// Both.
    Both,
}

impl<'a> Directions<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// The first critical option that is not understood (RFC 7252 §5.4.1).
    #[inline]
    pub fn read(options: Options<'a>) -> Result<Self, Number> {
        if let Judgement::BadOption(number) = options.judge_by(is_understood) {
            return Err(number);
        }
        let mut found = Self::default();
        for (number, value) in options {
            match number {
                // An elective option of a wrong length is as good as unknown.
                Number::OBSERVE if value.len() <= 3 => {
                    found.observe.get_or_insert(uint(value));
                }
                Number::BLOCK1 => found.block1 = Some(uint(value)),
                Number::BLOCK2 => found.block2 = Some(uint(value)),
                Number::Q_BLOCK1 => found.q_block = Some(QBlock::One),
                Number::Q_BLOCK2 => {
                    let after_one = matches!(found.q_block, Some(QBlock::One | QBlock::Both));
                    found.q_block = Some(if after_one { QBlock::Both } else { QBlock::Two });
                }
                Number::SIZE1 if value.len() <= 4 => {
                    found.size1.get_or_insert(uint(value));
                }
                Number::SIZE2 if value.len() <= 4 => found.asks_size2 = true,
                Number::NO_RESPONSE => {
                    if let [value] = *value {
                        found.no_response = value;
                    }
                }
                Number::ECHO if (1..=40).contains(&value.len()) => {
                    found.echo.get_or_insert(value);
                }
                Number::OSCORE => found.oscore = Some(value),
                Number::PROXY_URI | Number::PROXY_SCHEME => found.for_proxy = true,
                _ => {}
            }
        }
        Ok(found)
    }

    /// Whether a response of this class is unwanted.
    #[must_use]
    pub fn suppresses(&self, class: u8) -> bool {
        class
            .checked_sub(1)
            .is_some_and(|bit| u32::from(self.no_response).checked_shr(bit.into()).unwrap_or(0) & 1 == 1)
    }
}

fn is_understood(number: Number) -> bool {
    number != Number::EDHOC
}

/// The value of an option that is an integer; leading zeros do not matter (RFC 7252 §3.2).
fn uint(value: &[u8]) -> u32 {
    value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use tercet_coap::OptionBuf;

    use super::*;

    #[test]
    fn options_are_read_or_the_first_bad_one_is_named() {
        let mut options = OptionBuf::new();
        options.add(Number::OBSERVE, &[]).add(Number::URI_PATH, b"ps").add(Number::BLOCK2, &[0, 6]);
        options.add(Number::NO_RESPONSE, &[26]);
        let found = Directions::read(options.as_options()).unwrap();
        assert_eq!((found.observe, found.block2, found.no_response), (Some(0), Some(6), 26));
        assert!(found.suppresses(2) && found.suppresses(4) && found.suppresses(5) && !found.suppresses(3));
        for bad in [9999, Number::EDHOC.0] {
            let mut options = options.clone();
            options.add(Number(bad), &[]);
            assert_eq!(Directions::read(options.as_options()), Err(Number(bad)));
        }
    }

    #[test]
    fn elective_options_of_a_wrong_length_are_passed_over() {
        let mut options = OptionBuf::new();
        options.add(Number::OBSERVE, &[0; 4]).add(Number::NO_RESPONSE, &[2, 2]).add(Number::ECHO, &[]);
        assert_eq!(Directions::read(options.as_options()), Ok(Directions::default()));
    }
}
