//! Paths as topics: each segment is one level.

use std::str;

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
pub(super) fn join(segments: &[&[u8]], topic: &mut String) -> Result<Wildcards, &'static str> {
    topic.clear();
    let mut wildcards = Wildcards::None;
    if segments.len() > MOST_LEVELS {
        return Err("the topic has too many levels");
    }
    for (index, segment) in segments.iter().enumerate() {
        let level = str::from_utf8(segment).map_err(|_| "a level of the topic is not UTF-8")?;
        match level {
            "+" => wildcards = Wildcards::Some,
            "#" if index + 1 == segments.len() => wildcards = Wildcards::Some,
            "#" => return Err("the wildcard # is the last level"),
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

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let segments: Vec<&[u8]> = path.iter().map(|segment| segment.as_bytes()).collect();
            let mut topic = "before".to_owned();
            let joined = join(&segments, &mut topic).map_err(|_| ());
            assert_eq!(joined.map(|wildcards| (topic.as_str(), wildcards)), expected, "{path:?}");
        }
        assert!(join(&[b"\xff"], &mut String::new()).is_err());
        assert!(join(&[&b"a"[..]; 201], &mut String::new()).is_err());
    }
}
