//! The configuration files that libcoap has for OSCORE: lines of `keyword,encoding,value`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use thiserror::Error;

use super::context::Parameters;
use super::{ID_MAX, REPLAY_WINDOW};

/// Greatest size of a file in bytes, and of one value in it.
const FILE_MAX: usize = 1 << 20;
const VALUE_MAX: usize = 255;

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct ConfError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Reads the contexts of a file. The first `master_secret` of each begins it; libcoap's own files have one.
///
/// Known are `master_secret`, `master_salt`, `id_context`, `sender_id`, `recipient_id` (which may be repeated),
/// `replay_window`, `rfc8613_b_1_2`, and, with the only values that this library has, `aead_alg`, `hkdf_alg` and
/// `rfc8613_b_2`; `ssn_freq` is accepted, and how numbers are stored is for the caller to decide. Encodings are `ascii`,
/// `hex`, `integer`, `text` and `bool`; quotes around values and `#` comments may be there or not.
pub fn parse_conf(text: &str) -> Result<Vec<Parameters>, ConfError> {
    if text.len() > FILE_MAX {
        return Err(ConfError { line: 1, what: "the file is larger than 1 MiB".to_string() });
    }
    let mut contexts: Vec<(usize, Draft)> = Vec::new();
    for (position, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: &str| ConfError { line: position + 1, what: what.to_string() };
        let entry = Entry::parse(line).map_err(at)?;
        if contexts.is_empty() || entry.keyword == "master_secret" {
            contexts.push((position + 1, Draft::default()));
        }
        if let Some((_, draft)) = contexts.last_mut() {
            draft.take(&entry).map_err(at)?;
        }
    }
    contexts
        .into_iter()
        .map(|(line, draft)| draft.finish().map_err(|what| ConfError { line, what: what.to_string() }))
        .collect()
}

struct Entry<'a> {
    keyword: &'a str,
    encoding: &'a str,
    value: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Result<Self, &'static str> {
        let mut fields = line.splitn(3, ',').map(str::trim);
        let (Some(keyword), Some(encoding), Some(value)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err("not of the form keyword,encoding,value");
        };
        let value = match value.strip_prefix('"') {
            Some(quoted) => {
                let (value, rest) = quoted.split_once('"').ok_or("the value has no closing quote")?;
                let rest = rest.trim_start();
                if !rest.is_empty() && !rest.starts_with('#') {
                    return Err("something follows the value");
                }
                value
            }
            None => value.split_once('#').map_or(value, |(value, _)| value.trim_end()),
        };
        Ok(Self { keyword, encoding, value })
    }

    fn bytes(&self) -> Result<Vec<u8>, &'static str> {
        let bytes = match self.encoding {
            "ascii" => self.value.as_bytes().to_vec(),
            "hex" => from_hex(self.value).ok_or("the value is not hexadecimal")?,
            _ => return Err("the encoding has to be ascii or hex"),
        };
        if bytes.len() > VALUE_MAX { Err("the value is longer than 255 bytes") } else { Ok(bytes) }
    }

    fn id(&self) -> Result<Vec<u8>, &'static str> {
        let bytes = self.bytes()?;
        if bytes.len() > ID_MAX { Err("an identifier has at most 7 bytes") } else { Ok(bytes) }
    }

    fn bool(&self) -> Result<bool, &'static str> {
        match (self.encoding, self.value) {
            ("bool", "true") => Ok(true),
            ("bool", "false") => Ok(false),
            _ => Err("the value has to be bool,true or bool,false"),
        }
    }

    fn integer(&self) -> Result<i64, &'static str> {
        if self.encoding != "integer" {
            return Err("the encoding has to be integer");
        }
        self.value.parse().map_err(|_| "the value is not an integer")
    }

    /// The value is this number, or this name.
    fn is(&self, number: i64, name: &str) -> Result<(), &'static str> {
        let fits = match self.encoding {
            "text" => self.value.eq_ignore_ascii_case(name),
            _ => self.integer()? == number,
        };
        if fits { Ok(()) } else { Err("this algorithm is not there") }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[derive(Default)]
struct Draft {
    secret: Option<Vec<u8>>,
    salt: Option<Vec<u8>>,
    id_context: Option<Vec<u8>>,
    sender_id: Option<Vec<u8>>,
    recipient_ids: Vec<Vec<u8>>,
    window: Option<u8>,
    echo: Option<bool>,
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("the keyword occurs twice"),
    }
}

impl Draft {
    fn take(&mut self, entry: &Entry<'_>) -> Result<(), &'static str> {
        match entry.keyword {
            "master_secret" => once(&mut self.secret, entry.bytes()?),
            "master_salt" => once(&mut self.salt, entry.bytes()?),
            "id_context" => once(&mut self.id_context, entry.bytes()?),
            "sender_id" => once(&mut self.sender_id, entry.id()?),
            "recipient_id" => {
                self.recipient_ids.push(entry.id()?);
                Ok(())
            }
            "replay_window" => {
                let size = u8::try_from(entry.integer()?).ok().filter(|size| (1..=64).contains(size));
                once(&mut self.window, size.ok_or("the replay window is not between 1 and 64")?)
            }
            "ssn_freq" => {
                if entry.integer()? < 1 {
                    Err("ssn_freq has to be at least 1")
                } else {
                    Ok(())
                }
            }
            "aead_alg" => entry.is(10, "AES-CCM-16-64-128"),
            "hkdf_alg" => entry.is(-10, "direct+HKDF-SHA-256"),
            "rfc8613_b_1_2" => once(&mut self.echo, entry.bool()?),
            "rfc8613_b_2" => {
                if entry.bool()? {
                    Err("the exchange of RFC 8613 B.2 is not there")
                } else {
                    Ok(())
                }
            }
            _ => Err("unknown keyword"),
        }
    }

    fn finish(self) -> Result<Parameters, &'static str> {
        let parameters = Parameters {
            master_secret: self.secret.ok_or("master_secret is missing")?,
            master_salt: self.salt.unwrap_or_default(),
            id_context: self.id_context,
            sender_id: self.sender_id.ok_or("sender_id is missing")?,
            recipient_ids: self.recipient_ids,
            replay_window: self.window.unwrap_or(REPLAY_WINDOW),
            echo_after_restart: self.echo.unwrap_or(true),
        };
        parameters.check().map_err(|error| match error {
            super::ParametersError::NoRecipient => "recipient_id is missing",
            super::ParametersError::SameId => "two sides have the same identifier",
            _ => "no context can be derived from this",
        })?;
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_file_as_libcoap_has_it() {
        let text = "# Client\nmaster_secret,hex,\"0102030405060708090a0b0c0d0e0f10\"\nmaster_salt,hex,\"9e7ca92223786340\"\n\
                    sender_id,ascii,\"client\"\n  recipient_id,ascii,\"server\" # who\n\nreplay_window,integer,30\n\
                    aead_alg,integer,10\nhkdf_alg,text,\"direct+HKDF-SHA-256\"\nrfc8613_b_1_2,bool,false\nssn_freq,integer,5\n";
        let contexts = parse_conf(text).expect("valid");
        let [context] = &contexts[..] else { panic!("one context") };
        assert_eq!(context.master_secret, (1..=16).collect::<Vec<u8>>());
        assert_eq!(context.master_salt, [0x9e, 0x7c, 0xa9, 0x22, 0x23, 0x78, 0x63, 0x40]);
        assert_eq!(
            (&context.sender_id[..], &context.recipient_ids[..]),
            (&b"client"[..], &[b"server".to_vec()][..])
        );
        assert_eq!((context.replay_window, context.echo_after_restart), (30, false));
    }

    #[test]
    fn several_contexts_and_recipients() {
        let text = "master_secret,ascii,a\nsender_id,ascii,s\nrecipient_id,hex,01\nrecipient_id,hex,\"\"\n\
                    master_secret,ascii,b\nsender_id,ascii,s\nrecipient_id,hex,01\nid_context,ascii,x\n";
        let contexts = parse_conf(text).expect("valid");
        assert_eq!(contexts.len(), 2);
        assert_eq!(contexts[0].recipient_ids, [vec![1], vec![]]);
        assert_eq!(contexts[1].id_context.as_deref(), Some(&b"x"[..]));
        assert_eq!(parse_conf("# nothing\n"), Ok(vec![]));
    }

    #[test]
    fn mistakes_have_a_line() {
        let start = "master_secret,ascii,a\nsender_id,ascii,s\nrecipient_id,ascii,r\n";
        let long = "x".repeat(300);
        for line in [
            "nonsense",
            "a,b",
            "unheard_of,ascii,x",
            "master_salt,integer,1",
            "master_salt,hex,abc",
            "master_salt,hex,zz",
            "master_salt,ascii,\"open",
            "master_salt,ascii,\"a\" b",
            &alloc::format!("master_salt,ascii,{long}"),
            "recipient_id,ascii,12345678",
            "replay_window,integer,0",
            "replay_window,integer,65",
            "replay_window,integer,x",
            "aead_alg,integer,1",
            "hkdf_alg,text,other",
            "rfc8613_b_2,bool,true",
            "rfc8613_b_1_2,bool,maybe",
            "ssn_freq,integer,0",
            "sender_id,ascii,again",
        ] {
            let error = parse_conf(&alloc::format!("{start}{line}\n")).expect_err(line);
            assert_eq!(error.line, 4, "{line}: {error}");
        }
        for (text, what) in [
            ("sender_id,ascii,s\nrecipient_id,ascii,r", "line 1: master_secret is missing"),
            ("\nmaster_secret,ascii,a\nrecipient_id,ascii,r", "line 2: sender_id is missing"),
            ("master_secret,ascii,a\nsender_id,ascii,s", "line 1: recipient_id is missing"),
            (
                "master_secret,ascii,a\nsender_id,ascii,s\nrecipient_id,ascii,s",
                "line 1: two sides have the same identifier",
            ),
        ] {
            assert_eq!(parse_conf(text).map_err(|error| error.to_string()), Err(what.to_string()));
        }
    }
}
