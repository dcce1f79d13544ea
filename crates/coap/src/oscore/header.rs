//! The value of the OSCORE option: a COSE header, compressed (RFC 8613 §6.1).

use alloc::vec::Vec;

use super::UnprotectError;

/// Flags of the first byte.
mod flag {
    pub(super) const PARTIAL_IV: u8 = 0b0000_0111;
    pub(super) const KID: u8 = 0b0000_1000;
    pub(super) const KID_CONTEXT: u8 = 0b0001_0000;
    pub(super) const RESERVED: u8 = 0b1110_0000;
}

/// What the OSCORE option says about how the message is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header<'a> {
    /// The sequence number of the sender, 1 to 5 bytes; the nonce of the request is used without one.
    pub partial_iv: Option<&'a [u8]>,
    /// The ID Context.
    pub kid_context: Option<&'a [u8]>,
    /// The Sender ID of the sender.
    pub kid: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Reads the value of the option.
    pub fn decode(value: &'a [u8]) -> Result<Self, UnprotectError> {
        let Some((&flags, rest)) = value.split_first() else { return Ok(Self::default()) };
        // RFC 8613 §2: without flags, the value is empty.
        if flags == 0 || flags & flag::RESERVED != 0 {
            return Err(UnprotectError::Cose);
        }
        let (partial_iv, rest) = match usize::from(flags & flag::PARTIAL_IV) {
            0 => (None, rest),
            len @ 1..=5 => {
                let (partial_iv, rest) = rest.split_at_checked(len).ok_or(UnprotectError::Cose)?;
                // Only the number 0 begins with a zero.
                if len > 1 && partial_iv.starts_with(&[0]) {
                    return Err(UnprotectError::Cose);
                }
                (Some(partial_iv), rest)
            }
            _ => return Err(UnprotectError::Cose),
        };
        let (kid_context, rest) = if flags & flag::KID_CONTEXT == 0 {
            (None, rest)
        } else {
            let (&len, rest) = rest.split_first().ok_or(UnprotectError::Cose)?;
            let (context, rest) = rest.split_at_checked(usize::from(len)).ok_or(UnprotectError::Cose)?;
            (Some(context), rest)
        };
        match (flags & flag::KID != 0, rest) {
            (true, kid) => Ok(Self { partial_iv, kid_context, kid: Some(kid) }),
            (false, []) => Ok(Self { partial_iv, kid_context, kid: None }),
            (false, _) => Err(UnprotectError::Cose),
        }
    }

    /// Appends the value of the option. Parts that are longer than they can be are left out.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let partial_iv = self.partial_iv.filter(|bytes| (1..=5).contains(&bytes.len())).unwrap_or_default();
        let kid_context =
            self.kid_context.and_then(|context| Some((u8::try_from(context.len()).ok()?, context)));
        let flags = partial_iv.len() as u8
            | if self.kid.is_some() { flag::KID } else { 0 }
            | if kid_context.is_some() { flag::KID_CONTEXT } else { 0 };
        if flags == 0 {
            return;
        }
        out.push(flags);
        out.extend_from_slice(partial_iv);
        if let Some((len, context)) = kid_context {
            out.push(len);
            out.extend_from_slice(context);
        }
        out.extend_from_slice(self.kid.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        // RFC 8613 §6.3 and Appendix C.
        let cases: [(&[u8], Header<'_>); 5] = [
            (&[], Header::default()),
            (&[0x09, 0x05, 0x25], Header { partial_iv: Some(&[5]), kid_context: None, kid: Some(&[0x25]) }),
            (&[0x09, 0x00], Header { partial_iv: Some(&[0]), kid_context: None, kid: Some(&[]) }),
            (
                &[0x19, 0x05, 0x08, 0x44, 0x61, 0x6c, 0x65, 0x6b, 0x76, 0x61, 0x6e, 0x25],
                Header { partial_iv: Some(&[5]), kid_context: Some(b"Dalekvan"), kid: Some(&[0x25]) },
            ),
            (&[0x01, 0x07], Header { partial_iv: Some(&[7]), kid_context: None, kid: None }),
        ];
        for (bytes, header) in cases {
            assert_eq!(Header::decode(bytes), Ok(header));
            let mut out = Vec::new();
            header.encode(&mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn what_is_not_well_formed() {
        let cases: [&[u8]; 12] = [
            &[0x00],
            &[0x00, 0x01],
            &[0x20],
            &[0x89, 0x01],
            &[0x06, 1, 2, 3, 4, 5, 6],
            &[0x07, 1, 2, 3, 4, 5, 6, 7],
            &[0x02, 0x01],
            &[0x02, 0x00, 0x01],
            &[0x10],
            &[0x10, 0x02, 0x01],
            &[0x19, 0x01, 0xFF, 0x00],
            &[0x01, 0x01, 0x02],
        ];
        for bytes in cases {
            assert_eq!(Header::decode(bytes), Err(UnprotectError::Cose), "{bytes:02X?}");
        }
    }
}
