//! What the query of a registration or of its renewal says (RFC 9176 §5).

use tercet_coap::uri::{Scheme, Uri};

use crate::coap::resources::is_of_caller;

/// The parameters as they are given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `ep`.
    pub(super) name: Option<String>,
    /// `d`.
    pub(super) sector: Option<String>,
    /// `lt`, in seconds.
    pub(super) lifetime: Option<u32>,
    /// `base`: scheme and authority alone.
    pub(super) base: Option<String>,
    /// All others, which become attributes of the endpoint.
    pub(super) attributes: Vec<(String, Option<String>)>,
}

/// Longest name of an endpoint or a sector, in bytes.
const LONGEST_NAME: usize = 63;
/// Most attributes of an endpoint.
const MOST_ATTRIBUTES: usize = 16;

impl Parameters {
    /// Reads the arguments of a query; the error is for the diagnostic payload.
    pub(super) fn read<'a>(query: impl Iterator<Item = &'a [u8]>) -> Result<Self, &'static str> {
        let mut read = Parameters::default();
        for argument in query {
            let argument = std::str::from_utf8(argument).map_err(|_| "the query is not UTF-8")?;
            if is_of_caller(argument) {
                continue;
            }
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            };
            let value_of = || value.ok_or("a parameter has no value");
            match name {
                "ep" => set(&mut read.name, short_name(value_of()?)?)?,
                "d" => set(&mut read.sector, short_name(value_of()?)?)?,
                "lt" => set(&mut read.lifetime, lifetime(value_of()?)?)?,
                "base" => set(&mut read.base, base(value_of()?)?)?,
                "" => return Err("a parameter has no name"),
                // Names that a lookup gives a meaning of its own.
                "href" | "page" | "count" | "rt" | "anchor" => return Err("the parameter is reserved"),
                _ if read.attributes.len() == MOST_ATTRIBUTES => return Err("too many attributes"),
                _ if !name.bytes().all(is_name) => return Err("an attribute's name is not valid"),
                _ => read.attributes.push((name.to_owned(), value.map(str::to_owned))),
            }
        }
        Ok(read)
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    if slot.replace(value).is_some() { Err("a parameter is there twice") } else { Ok(()) }
}

/// parmname of RFC 5987, as attributes of links are written.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte)
}

fn short_name(value: &str) -> Result<String, &'static str> {
    let valid = (1..=LONGEST_NAME).contains(&value.len()) && !value.chars().any(char::is_control);
    if valid { Ok(value.to_owned()) } else { Err("ep and d have 1 to 63 bytes without control characters") }
}

fn lifetime(value: &str) -> Result<u32, &'static str> {
    let parsed = value.parse().ok().filter(|seconds| *seconds >= 1);
    parsed.ok_or("lt is a number of seconds from 1 to 4294967295")
}

/// The scheme and authority of a URI of any scheme; one of CoAP is checked as such.
fn base(value: &str) -> Result<String, &'static str> {
    const WRONG: &str = "base is a URI of a scheme and an authority";
    let (scheme, rest) = value.split_once("://").ok_or(WRONG)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_authority = |byte: u8| byte.is_ascii_graphic() && !b"/?#<>\"\\^`{|}".contains(&byte);
    if scheme.is_empty()
        || authority.is_empty()
        || !scheme.bytes().all(is_scheme)
        || !authority.bytes().all(is_authority)
    {
        return Err(WRONG);
    }
    if Scheme::from_name(scheme).is_some() && value.parse::<Uri>().is_err() {
        return Err(WRONG);
    }
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, &'static str> {
        Parameters::read(query.split('&').filter(|argument| !argument.is_empty()).map(str::as_bytes))
    }

    #[test]
    fn known_parameters_are_checked_and_others_become_attributes() {
        let all =
            read("ep=node1&u=me&p=secret&d=hall&lt=60&base=coap://[2001:db8::1]:61616/&et=oic.d.sensor&con")
                .unwrap();
        assert_eq!((all.name.as_deref(), all.sector.as_deref()), (Some("node1"), Some("hall")));
        assert_eq!((all.lifetime, all.base.as_deref()), (Some(60), Some("coap://[2001:db8::1]:61616")));
        let attributes = [("et".to_owned(), Some("oic.d.sensor".to_owned())), ("con".to_owned(), None)];
        assert_eq!(all.attributes, attributes);
        assert_eq!(read(""), Ok(Parameters::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = format!("ep={}", "x".repeat(64));
        let many: String = (0..17).map(|at| format!("a{at}=1&")).collect();
        for query in [
            "ep",
            "ep=",
            "ep=a&ep=b",
            long.as_str(),
            "lt=0",
            "lt=4294967296",
            "lt=-1",
            "lt=x",
            "base=h",
            "base=coap://",
            "base=coap://h:99999",
            "base=coap://h/path",
            "base=://h",
            "base=coap://a<b",
            "=x",
            "rt=x",
            "page=1",
            "a b=1",
            &many,
        ] {
            assert!(read(query).is_err(), "{query}");
        }
        assert!(Parameters::read([&b"ep=\xff"[..]].into_iter()).is_err());
    }
}
