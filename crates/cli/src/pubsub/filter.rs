//! Topic filters on the command line: whether one is valid, and whether it matches a topic (`-T`).

use tercet_client::mqtt::{Limits, TopicFilter};

/// Whether a broker may take it ([MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.8.2-1]).
pub(super) fn is_valid(filter: &str) -> bool {
    TopicFilter::parse(filter, &Limits::protocol()).is_ok()
}

/// Whether the topic matches the filter; never if the filter is not valid.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    TopicFilter::parse(filter, &Limits::protocol()).is_ok_and(|filter| filter.matches(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_whole_levels() {
        for (filter, valid) in
            [("a/+/b", true), ("#", true), ("a/#", true), ("a/#/b", false), ("a+", false), ("", false)]
        {
            assert_eq!(is_valid(filter), valid, "{filter}");
        }
        assert!(matches("a/+", "a/b"));
        assert!(!matches("a/+", "a/b/c"));
        assert!(!matches("a+", "a+"));
    }
}
