//! What the fuzz targets do with their input. The same functions run over a corpus and random bytes in every
//! `cargo test`, so that they cannot rot.

use tercet_mqtt::topic::{TopicFilter, TopicName, filter_matches};
use tercet_mqtt::{
    DecodeError, Limits, Packet, Publish, PublishHeader, Version, decode, encode, encoded_len, frame_length,
};

/// Decodes `data` as a packet of every version and checks that whatever comes out is consistent.
pub(crate) fn check_decode(data: &[u8]) {
    let strict = Limits { strict_utf8: true, check_payload_format: true, ..Limits::default() };
    for version in [Version::V31, Version::V311, Version::V5] {
        for limits in [Limits::default(), Limits::protocol(), strict] {
            let result = decode(data, version, &limits);
            check_prefixes(data, version, &limits, &result);
            match result {
                Ok(Some((packet, len))) => check_packet(&packet, &data[..len], version, &limits),
                Ok(None) => {}
                Err(error) => assert!(error.reason.is_error() && !error.to_string().is_empty()),
            }
        }
    }
}

/// A part of the input is not a packet yet, or is known to be wrong in the same way as the whole.
fn check_prefixes(
    data: &[u8],
    version: Version,
    limits: &Limits,
    whole: &Result<Option<(Packet<'_>, usize)>, DecodeError>,
) {
    let end = match whole {
        Ok(Some((_, len))) => *len,
        _ => data.len(),
    };
    for len in (0..end).take(64).chain(end.saturating_sub(4)..end) {
        match (decode(&data[..len], version, limits), whole) {
            (Ok(None), _) => {}
            (Err(part), Err(whole)) => assert_eq!(part, *whole),
            (Ok(Some(part)), _) => assert_eq!(Ok(Some(part)), *whole),
            (Err(part), _) => panic!("{part} after {len} bytes, but not in the whole"),
        }
    }
}

/// What was decoded can be encoded, and is the same after it.
fn check_packet(packet: &Packet<'_>, bytes: &[u8], version: Version, limits: &Limits) {
    assert_eq!(frame_length(bytes, limits), Ok(Some(bytes.len())));
    let mut again = Vec::new();
    encode(packet, version, &mut again).expect("a decoded packet can be encoded");
    assert_eq!(again.len(), encoded_len(packet, version));
    assert!(again.len() <= bytes.len(), "the shortest form is never longer");
    assert_eq!(decode(&again, version, limits), Ok(Some((*packet, again.len()))));
    assert!(!format!("{packet:?}").is_empty());
    match packet {
        Packet::Publish(publish) => check_relay(publish, version, limits),
        Packet::Subscribe(subscribe) => {
            assert!(!subscribe.subscriptions.is_empty());
            for subscription in subscribe.subscriptions {
                let text = subscription.filter.as_str();
                assert_eq!(TopicFilter::parse(text, limits), Ok(subscription.filter));
            }
        }
        Packet::Unsubscribe(unsubscribe) => assert!(!unsubscribe.filters.is_empty()),
        _ => {}
    }
}

/// A message keeps its properties when it is passed on by [`PublishHeader`].
fn check_relay(publish: &Publish<'_>, version: Version, limits: &Limits) {
    let mut properties = Vec::new();
    publish.properties.write_forwarded(&mut properties);
    assert_eq!(properties.len(), publish.properties.forwarded_len());
    let subscription_ids: Vec<u32> = publish.properties.subscription_ids.iter().collect();
    let header = PublishHeader {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        properties: &properties,
        message_expiry: publish.properties.message_expiry,
        topic_alias: publish.properties.topic_alias,
        subscription_ids: &subscription_ids,
        payload_len: publish.payload.len(),
    };
    let mut out = b"before".to_vec();
    let id_at = header.write(version, &mut out).map(|at| at + 6);
    out.extend_from_slice(publish.payload);
    assert_eq!(out.len() - 6, header.encoded_len(version));
    let id = id_at.map(|at| u16::from_be_bytes([out[at], out[at + 1]]));
    assert_eq!(id, publish.packet_id.map(|id| id.get()));
    let (again, len) = decode(&out[6..], version, limits).expect("valid").expect("complete");
    assert_eq!(len, out.len() - 6);
    assert_eq!(again, Packet::Publish(*publish));
}

/// Takes `data` for a filter and a topic name, separated by a newline, and checks matching against a plain definition.
pub(crate) fn check_filter(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let Some((filter, topic)) = text.split_once('\n') else { return };
    let limits = Limits::default();
    let (filter, topic) = (TopicFilter::parse(filter, &limits), TopicName::parse(topic, &limits));
    let (Ok(filter), Ok(topic)) = (filter, topic) else { return };
    let matches = filter.matches(topic.as_str());
    assert_eq!(matches, filter_matches(filter.filter(), topic.as_str()));
    let filter_levels: Vec<&str> = filter.filter().split('/').collect();
    let topic_levels: Vec<&str> = topic.as_str().split('/').collect();
    let hidden = topic.as_str().starts_with('$') && matches!(filter_levels[0], "+" | "#");
    assert_eq!(matches, !hidden && levels_match(&filter_levels, &topic_levels));
    if !filter.has_wildcard() {
        assert_eq!(matches, filter.filter() == topic.as_str());
    }
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && levels_match(filter, topic),
        _ => false,
    }
}
