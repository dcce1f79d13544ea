//! Concise problem details: what went wrong, in CBOR (RFC 9290), Content-Format 257.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use thiserror::Error;

use crate::code::Code;

/// Keys of the standard details (RFC 9290 §2).
mod key {
    pub(super) const TITLE: i64 = -1;
    pub(super) const DETAIL: i64 = -2;
    pub(super) const INSTANCE: i64 = -3;
    pub(super) const RESPONSE_CODE: i64 = -4;
    pub(super) const BASE_URI: i64 = -5;
    pub(super) const BASE_LANGUAGE: i64 = -6;
}

/// The tag of text with a language (RFC 9290 Appendix A).
const LANGUAGE_TAG: u64 = 38;

/// What went wrong. Custom details are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problem {
    /// What kind of problem it is, the same for each that is like it.
    pub title: Option<String>,
    /// What is special about this one.
    pub detail: Option<String>,
    /// A URI that names this one.
    pub instance: Option<String>,
    /// The response code that the problem was first reported with.
    pub response_code: Option<Code>,
    /// What relative references in the details are relative to.
    pub base_uri: Option<String>,
    /// The language of the texts that do not name theirs.
    pub base_language: Option<String>,
}

/// Bytes that are no problem details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not concise problem details")]
pub struct NotProblem;

impl From<minicbor::decode::Error> for NotProblem {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

impl Problem {
    /// A problem with a title and a response code.
    pub fn new(code: Code, title: &str) -> Self {
        Self { title: Some(title.to_string()), response_code: Some(code), ..Self::default() }
    }

    /// Reads problem details. Nothing may follow them.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotProblem> {
        let mut decoder = Decoder::new(bytes);
        let mut problem = Self::default();
        let mut left = decoder.map()?;
        while left != Some(0) {
            if left.is_none() && decoder.datatype()? == Type::Break {
                decoder.skip()?;
                break;
            }
            problem.entry(&mut decoder)?;
            left = left.map(|left| left - 1);
        }
        if decoder.position() == bytes.len() { Ok(problem) } else { Err(NotProblem) }
    }

    fn entry(&mut self, decoder: &mut Decoder<'_>) -> Result<(), NotProblem> {
        let key = match decoder.datatype()? {
            // Custom details have a URI or an unsigned number.
            Type::String | Type::StringIndef => {
                decoder.skip()?;
                None
            }
            _ => Some(decoder.i64()?),
        };
        match key {
            Some(key::TITLE) => self.title = Some(text(decoder)?),
            Some(key::DETAIL) => self.detail = Some(text(decoder)?),
            Some(key::INSTANCE) => self.instance = Some(decoder.str()?.to_string()),
            Some(key::RESPONSE_CODE) => self.response_code = Some(Code(decoder.u8()?)),
            Some(key::BASE_URI) => self.base_uri = Some(decoder.str()?.to_string()),
            Some(key::BASE_LANGUAGE) => self.base_language = Some(decoder.str()?.to_string()),
            _ => decoder.skip()?,
        }
        Ok(())
    }

    /// Appends the details.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let texts = [
            (key::TITLE, &self.title),
            (key::DETAIL, &self.detail),
            (key::INSTANCE, &self.instance),
            (key::BASE_URI, &self.base_uri),
            (key::BASE_LANGUAGE, &self.base_language),
        ];
        let entries = texts.iter().filter(|(_, text)| text.is_some()).count()
            + usize::from(self.response_code.is_some());
        let mut encoder = Encoder::new(out);
        // Writing to a vector cannot fail.
        let _ = (|| {
            encoder.map(entries as u64)?;
            if let Some(code) = self.response_code {
                encoder.i64(key::RESPONSE_CODE)?.u8(code.0)?;
            }
            for (key, text) in texts {
                if let Some(text) = text {
                    encoder.i64(key)?.str(text)?;
                }
            }
            Ok::<_, minicbor::encode::Error<core::convert::Infallible>>(())
        })();
    }
}

/// Text, or text with its language.
fn text(decoder: &mut Decoder<'_>) -> Result<String, NotProblem> {
    if decoder.datatype()? != Type::Tag {
        return Ok(decoder.str()?.to_string());
    }
    if decoder.tag()? != Tag::new(LANGUAGE_TAG) {
        return Err(NotProblem);
    }
    let Some(parts @ (2 | 3)) = decoder.array()? else { return Err(NotProblem) };
    decoder.str()?;
    let text = decoder.str()?.to_string();
    if parts == 3 {
        decoder.skip()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let problem =
            Problem { detail: Some("no such sensor".into()), ..Problem::new(Code::NOT_FOUND, "unknown") };
        let mut bytes = Vec::new();
        problem.encode(&mut bytes);
        assert_eq!(Problem::decode(&bytes), Ok(problem));
        bytes.push(0);
        assert_eq!(Problem::decode(&bytes), Err(NotProblem));
    }

    #[test]
    fn what_others_write() {
        // {-1: 38(["en", "title"]), "https://example.org/x": {0: 1}, 7: {1: [2]}}, of indefinite length.
        let mut bytes = alloc::vec![0xBF, 0x20, 0xD8, 38, 0x82, 0x62, b'e', b'n', 0x65];
        bytes.extend_from_slice(b"title\x75https://example.org/x\xA1\x00\x01\x07\xA1\x01\x81\x02\xFF");
        let problem = Problem { title: Some("title".into()), ..Problem::default() };
        assert_eq!(Problem::decode(&bytes), Ok(problem));
        for cut in 0..bytes.len() {
            assert_eq!(Problem::decode(&bytes[..cut]), Err(NotProblem));
        }
    }
}
