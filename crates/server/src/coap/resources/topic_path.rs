//! Paths as topics: each segment is one level.

use std::fmt::Write;
use std::str;

use tercet_coap::uri::parse_path_and_query;

/// Levels of a topic.
const MOST_LEVELS: usize = 200;

/// Whether a path has wildcards, and so names many topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wildcards {
    /// It names one topic.
    None,
    /// It is a filter.
    Some,
}

/// Puts the segments together as a topic or filter of MQTT. `topic` is replaced by it.
///
/// A segment is a level, whatever is in it: one with a slash would become two levels, and is refused.
///
/// # Errors
/// It is neither; says why.
pub(super) fn join<'a>(
    segments: impl ExactSizeIterator<Item = &'a [u8]>,
    topic: &mut String,
) -> Result<Wildcards, &'static str> {
    topic.clear();
    let mut wildcards = Wildcards::None;
    let levels = segments.len();
    if levels > MOST_LEVELS {
        return Err("the topic has too many levels");
    }
    for (index, segment) in segments.enumerate() {
        let level = str::from_utf8(segment).map_err(|_| "a level of the topic is not UTF-8")?;
        match level {
            "+" => wildcards = Wildcards::Some,
            "#" if index + 1 == levels => wildcards = Wildcards::Some,
            "#" => return Err("the wildcard # is the last level"),
            // They must not be sent (RFC 7252 §5.10.1).
            "." | ".." => return Err("a level of a topic is neither . nor .."),
            _ if level.contains(['/', '+', '#', '\0']) => {
                return Err("a level of a topic has none of the characters / + # and NUL");
            }
            _ => {}
        }
        if index > 0 {
            topic.push('/');
        }
        topic.push_str(level);
    }
    if topic.is_empty() { Err("the topic is empty") } else { Ok(wildcards) }
}

/// The topic of a name that is not taken apart.
///
/// # Errors
/// It is none that can be published; says why.
pub(super) fn of_name(name: &str) -> Result<String, &'static str> {
    let levels: Vec<_> = name.split('/').map(str::as_bytes).collect();
    let mut topic = String::new();
    match join(levels.into_iter(), &mut topic)? {
        Wildcards::None => Ok(topic),
        Wildcards::Some => Err("a topic that is published has no wildcards"),
    }
}

/// The topic that a reference to `/ps/<topic>` on this server names.
///
/// # Errors
/// It is none; says why.
pub(super) fn of_reference(reference: &str) -> Result<String, &'static str> {
    const REASON: &str = "topic-data is a path below /ps";
    if !reference.starts_with("/ps/") {
        return Err(REASON);
    }
    let (segments, query) = parse_path_and_query(reference).map_err(|_| REASON)?;
    if !query.is_empty() {
        return Err(REASON);
    }
    let levels: Vec<_> = segments.iter().skip(1).map(String::as_bytes).collect();
    let mut topic = String::new();
    match join(levels.into_iter(), &mut topic)? {
        Wildcards::None => Ok(topic),
        Wildcards::Some => Err(REASON),
    }
}

/// Whether a topic has a path. One with a level `.` or `..` has none.
pub(super) fn has_path(topic: &str) -> bool {
    topic.split('/').all(|level| !matches!(level, "." | ".."))
}

/// The reference to the data of a topic that has a path.
pub(super) fn reference(topic: &str) -> String {
    let mut reference = String::from("/ps/");
    for byte in topic.bytes() {
        // RFC 3986 §3.3: what a segment has as it is, and the slashes between them.
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            reference.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(reference, "%{byte:02X}");
        }
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_are_levels() {
        for (path, expected) in [
            (&["a", "b"][..], Ok(("a/b", Wildcards::None))),
            (&["a", "", "b", ""], Ok(("a//b/", Wildcards::None))),
            (&["", ""], Ok(("/", Wildcards::None))),
            (&["a", "+", "b"], Ok(("a/+/b", Wildcards::Some))),
            (&["#"], Ok(("#", Wildcards::Some))),
            (&["$SYS", "broker"], Ok(("$SYS/broker", Wildcards::None))),
            (&[""], Err(())),
            (&["a/b"], Err(())),
            (&["a+"], Err(())),
            (&["#", "a"], Err(())),
            (&["a\0"], Err(())),
            (&["a", ".."], Err(())),
            (&["."], Err(())),
        ] {
            let segments: Vec<&[u8]> = path.iter().map(|segment| segment.as_bytes()).collect();
            let mut topic = "before".to_owned();
            let joined = join(segments.into_iter(), &mut topic).map_err(|_| ());
            assert_eq!(joined.map(|wildcards| (topic.as_str(), wildcards)), expected, "{path:?}");
        }
        assert!(join([&b"\xff"[..]].into_iter(), &mut String::new()).is_err());
        assert!(join([&b"a"[..]; 201].into_iter(), &mut String::new()).is_err());
    }

    #[test]
    fn only_paths_below_ps_refer_to_data() {
        assert_eq!(of_reference("/ps/a/b%20c"), Ok("a/b c".into()));
        for reference in [
            "/ps",
            "/ps/",
            "ps/a",
            "/a",
            "coap://h/ps/a",
            "/ps/a?b",
            "/ps/%2F",
            "/ps/+",
            "/ps/../x",
            "/ps/%zz",
        ] {
            assert!(of_reference(reference).is_err(), "{reference}");
        }
    }

    proptest! {
        #[test]
        fn a_reference_leads_back_to_its_topic(topic in "[^/+#\\x00]{1,8}(/[^+#\\x00]{0,8}){0,3}") {
            prop_assume!(has_path(&topic));
            prop_assert_eq!(of_reference(&reference(&topic)), Ok(topic));
        }
    }
}
