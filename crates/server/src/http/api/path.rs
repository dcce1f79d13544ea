//! What a request is about: the segments of its path and its query, percent-decoded (RFC 3986 §2.1).

use hyper::Uri;

use super::PREFIX;
use super::problem::Problem;

/// Most segments of a path.
const MAX_SEGMENTS: usize = 8;
/// Most parameters of a query.
const MAX_PARAMETERS: usize = 16;

/// Path and query.
#[derive(Debug)]
pub(super) struct Target {
    segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// Takes a path and query apart.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Problem> {
        let not_text =
            || Problem::bad_request("path or query is not percent-encoded UTF-8", "encode / as %2F");
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Option<Vec<_>> =
            path.split('/').take(MAX_SEGMENTS + 1).map(|part| decode(part, false)).collect();
        let query = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let query: Option<Vec<_>> = query
            .take(MAX_PARAMETERS)
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                Some((decode(name, true)?, decode(value, true)?))
            })
            .collect();
        Ok(Self { segments: segments.ok_or_else(not_text)?, query: query.ok_or_else(not_text)? })
    }

    /// The segments behind the prefix.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// A parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Problem::bad_request(format!("{name} is not a number"), format!("{name}=100")))
        };
        self.parameter(name).map(parse).transpose()
    }

    /// A parameter that is set or not.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| matches!(value, "" | "true" | "1"))
    }
}

/// Decodes `%XX`, and `+` in queries; `None` when that is not UTF-8 or has no two hex digits behind a `%`.
fn decode(text: &str, in_query: bool) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high << 4 | low).ok()?
            }
            b'+' if in_query => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded_part_by_part() {
        let target = |uri: &str| Target::parse(&uri.parse().unwrap());
        let found = target("/api/v1/queues/%2F/a%20b+c%2Fd/?name=x%26y+z&flag&n=7&bad=x").unwrap();
        assert_eq!(found.segments(), ["v1", "queues", "/", "a b+c/d"]);
        assert_eq!(found.parameter("name"), Some("x&y z"));
        assert!(found.flag("flag") && !found.flag("name") && !found.flag("other"));
        assert_eq!(found.number("n").unwrap(), Some(7));
        assert_eq!(found.number("none").unwrap(), None);
        assert!(found.number("bad").is_err());
        for uri in ["/api/%", "/api/%2", "/api/%zz", "/api/%ff", "/api/v1?a=%ff", "/api/%+1"] {
            assert!(target(uri).is_err(), "{uri}");
        }
    }
}
