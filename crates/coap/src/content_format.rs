//! Content-Formats: numbers for media types and their codings (RFC 7252 §12.3).

use core::fmt;

/// A media type with its parameters and content coding, as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentFormat(pub u16);

macro_rules! formats {
    ($($number:literal $media_type:literal $([$coding:literal])? $($(#[$doc:meta])* $name:ident)?;)*) => {
        impl ContentFormat {
            $($($(#[$doc])* pub const $name: Self = Self($number);)?)*

            /// The media type with its parameters; `None` when the registry of this library does not have the number.
            pub const fn media_type(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($media_type),)*
                    _ => None,
                }
            }
        }

        /// The registry: number, media type, content coding.
        const REGISTRY: &[(u16, &str, Option<&str>)] = &[$(($number, $media_type, formats!(@coding $($coding)?)),)*];
    };
    (@coding) => { None };
    (@coding $coding:literal) => { Some($coding) };
}

formats! {
    0 "text/plain; charset=utf-8" /** Text. */ TEXT;
    16 "application/cose; cose-type=\"cose-encrypt0\"";
    17 "application/cose; cose-type=\"cose-mac0\"";
    18 "application/cose; cose-type=\"cose-sign1\"";
    19 "application/ace+cbor";
    21 "image/gif";
    22 "image/jpeg";
    23 "image/png";
    40 "application/link-format" /** Links (RFC 6690). */ LINK_FORMAT;
    41 "application/xml" /** XML. */ XML;
    42 "application/octet-stream" /** Any bytes. */ OCTET_STREAM;
    47 "application/exi" /** Compressed XML. */ EXI;
    50 "application/json" /** JSON. */ JSON;
    51 "application/json-patch+json" /** A list of changes (RFC 6902). */ JSON_PATCH;
    52 "application/merge-patch+json" /** A change by example (RFC 7396). */ MERGE_PATCH;
    60 "application/cbor" /** CBOR. */ CBOR;
    61 "application/cwt";
    62 "application/multipart-core";
    63 "application/cbor-seq" /** A sequence of CBOR items. */ CBOR_SEQUENCE;
    64 "application/edhoc+cbor-seq";
    65 "application/cid-edhoc+cbor-seq";
    96 "application/cose; cose-type=\"cose-encrypt\"";
    97 "application/cose; cose-type=\"cose-mac\"";
    98 "application/cose; cose-type=\"cose-sign\"";
    101 "application/cose-key";
    102 "application/cose-key-set";
    110 "application/senml+json" /** Measurements (RFC 8428). */ SENML_JSON;
    111 "application/sensml+json";
    112 "application/senml+cbor" /** Measurements (RFC 8428). */ SENML_CBOR;
    113 "application/sensml+cbor";
    114 "application/senml-exi";
    115 "application/sensml-exi";
    140 "application/yang-data+cbor; id=sid";
    256 "application/coap-group+json";
    257 "application/concise-problem-details+cbor" /** What went wrong (RFC 9290). */ PROBLEM_DETAILS;
    258 "application/swid+cbor";
    271 "application/dots+cbor";
    272 "application/missing-blocks+cbor-seq" /** Blocks that did not arrive (RFC 9177). */ MISSING_BLOCKS;
    280 "application/pkcs7-mime; smime-type=server-generated-key";
    281 "application/pkcs7-mime; smime-type=certs-only";
    284 "application/pkcs8";
    285 "application/csrattrs";
    286 "application/pkcs10";
    287 "application/pkix-cert";
    290 "application/aif+cbor";
    291 "application/aif+json";
    310 "application/senml+xml";
    311 "application/sensml+xml";
    320 "application/senml-etch+json";
    322 "application/senml-etch+cbor";
    340 "application/yang-data+cbor";
    341 "application/yang-data+cbor; id=name";
    432 "application/td+json";
    606 "application/core-pubsub+cbor" /** Properties of a topic; the number awaits its registration. */ CORE_PUBSUB;
    10000 "application/vnd.ocf+cbor";
    10001 "application/oscore" /** What OSCORE has protected (RFC 8613). */ OSCORE;
    10002 "application/javascript";
    11050 "application/json" ["deflate"];
    11060 "application/cbor" ["deflate"];
    11542 "application/vnd.oma.lwm2m+tlv";
    11543 "application/vnd.oma.lwm2m+json";
    11544 "application/vnd.oma.lwm2m+cbor";
    20000 "text/css";
    30000 "image/svg+xml";
}

impl ContentFormat {
    /// The content coding, where it is not the identity.
    pub fn content_coding(self) -> Option<&'static str> {
        REGISTRY.iter().find(|entry| entry.0 == self.0).and_then(|entry| entry.2)
    }

    /// The number for a media type without content coding, as a `Content-Type` header or an MQTT property has it.
    ///
    /// Case and space do not matter, quotes around values of parameters neither, and `charset=utf-8` may be there or
    /// not. `None` when there is no number.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Self::from_coded(media_type, None)
    }

    /// The number for a media type with a content coding; `None` and `identity` are the same.
    pub fn from_coded(media_type: &str, coding: Option<&str>) -> Option<Self> {
        let coding = coding.filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        let same_coding = |other: Option<&str>| match (coding, other) {
            (Some(coding), Some(other)) => coding.eq_ignore_ascii_case(other),
            (coding, other) => coding.is_none() && other.is_none(),
        };
        REGISTRY
            .iter()
            .find(|&&(_, other, other_coding)| {
                same_coding(other_coding) && same_media_type(media_type, other)
            })
            .map(|&(number, ..)| Self(number))
    }

    /// The payload is text in UTF-8: `text/*`, JSON and what is built on it, XML, link format.
    pub fn is_text(self) -> bool {
        self.content_coding().is_none()
            && self.media_type().is_some_and(|media_type| {
                let essence = essence(media_type);
                essence.starts_with("text/")
                    || ["json", "xml", "javascript", "link-format"]
                        .iter()
                        .any(|suffix| essence.ends_with(suffix))
            })
    }
}

/// The media type without parameters.
fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The parameters that distinguish: all but `charset=utf-8`, which is what is meant anyway.
fn parameters(media_type: &str) -> impl Iterator<Item = (&str, &str)> {
    media_type
        .split(';')
        .skip(1)
        .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .filter(|(name, value)| {
            let is_utf8 = name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8");
            !(name.is_empty() || is_utf8)
        })
}

fn same_media_type(one: &str, other: &str) -> bool {
    let found_in = |some: &str, others: &str| {
        parameters(some).all(|(name, value)| {
            parameters(others).any(|(other, other_value)| {
                name.eq_ignore_ascii_case(other) && value.eq_ignore_ascii_case(other_value)
            })
        })
    };
    essence(one).eq_ignore_ascii_case(essence(other)) && found_in(one, other) && found_in(other, one)
}

impl fmt::Display for ContentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.media_type(), self.content_coding()) {
            (Some(media_type), None) => f.write_str(media_type),
            (Some(media_type), Some(coding)) => write!(f, "{media_type} ({coding})"),
            (None, _) => write!(f, "content-format {}", self.0),
        }
    }
}

impl fmt::Debug for ContentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_found_however_they_are_written() {
        let cases = [
            ("text/plain", Some(0)),
            ("Text/Plain;charset=\"UTF-8\"", Some(0)),
            ("text/plain; charset=latin1", None),
            ("application/json", Some(50)),
            ("application/json; charset=utf-8", Some(50)),
            ("application/cose;cose-type=cose-mac0", Some(17)),
            ("application/cose", None),
            ("application/yang-data+cbor", Some(340)),
            ("application/yang-data+cbor;id=sid", Some(140)),
            ("application/x-unheard-of", None),
            ("", None),
            (";", None),
        ];
        for (media_type, number) in cases {
            assert_eq!(ContentFormat::from_media_type(media_type), number.map(ContentFormat), "{media_type}");
        }
        assert_eq!(
            ContentFormat::from_coded("application/cbor", Some("Deflate")),
            Some(ContentFormat(11060))
        );
        assert_eq!(
            ContentFormat::from_coded("application/cbor", Some("identity")),
            Some(ContentFormat::CBOR)
        );
        assert_eq!(ContentFormat::from_coded("text/plain", Some("deflate")), None);
    }

    #[test]
    fn every_entry_is_found_again() {
        for &(number, media_type, coding) in REGISTRY {
            let format = ContentFormat(number);
            assert_eq!((format.media_type(), format.content_coding()), (Some(media_type), coding));
            assert_eq!(ContentFormat::from_coded(media_type, coding), Some(format));
        }
        assert!(REGISTRY.is_sorted_by_key(|entry| entry.0));
    }

    #[test]
    fn text() {
        let text: [u16; 6] = [0, 40, 41, 50, 110, 30000];
        assert!(text.iter().all(|&number| ContentFormat(number).is_text()));
        let binary: [u16; 7] = [42, 47, 60, 112, 11050, 22, 9];
        assert!(!binary.iter().any(|&number| ContentFormat(number).is_text()));
    }
}
