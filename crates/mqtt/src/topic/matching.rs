//! Whether a topic filter means a topic name.

/// Whether `filter` (without the prefix of a shared subscription) matches the topic name `topic` (MQTT 5.0 §4.7).
///
/// A filter that begins with a wildcard does not match names that begin with `$` [MQTT-4.7.2-1]. `a/#` matches `a` too.
/// Meant for clients and tests; a server with many filters wants a tree.
///
/// ```
/// use tercet_mqtt::topic::filter_matches;
///
/// assert!(filter_matches("sport/+/player1", "sport/tennis/player1"));
/// assert!(filter_matches("sport/#", "sport"));
/// assert!(!filter_matches("#", "$SYS/broker/uptime"));
/// ```
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if filter.is_empty() || topic.is_empty() {
        return false;
    }
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::filter_matches;

    #[test]
    fn matching() {
        let cases = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("+/tennis/#", "sport/tennis", true),
            ("#", "a/b", true),
            ("#", "/", true),
            ("a", "A", false),
            ("a/b", "a", false),
            ("a", "a/b", false),
            ("a//b", "a//b", true),
            ("a/+/b", "a//b", true),
            ("/a", "a", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("a/+", "a/$x", true),
            ("", "a", false),
            ("#", "", false),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(filter_matches(filter, topic), expected, "{filter:?} {topic:?}");
        }
    }
}
