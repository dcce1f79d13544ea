//! How long the codec takes for what a server does most.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tercet_mqtt::property::PublishProperties;
use tercet_mqtt::topic::{filter_matches, validate_name};
use tercet_mqtt::{
    AckKind, Connect, Limits, Packet, PacketId, Publish, PublishHeader, QoS, ReasonCode, Version, decode,
    encode, write_ack,
};

const TOPIC: &str = "site/7/machine/42/temperature";
const PAYLOAD: [u8; 64] = [0x42; 64];

fn encoded(packet: Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&packet, version, &mut bytes).expect("valid");
    bytes
}

fn decoding(c: &mut Criterion) {
    let limits = Limits::default();
    let plain =
        Publish { qos: QoS::AtLeastOnce, packet_id: PacketId::new(7), ..Publish::new(TOPIC, &PAYLOAD) };
    let properties = PublishProperties {
        message_expiry: Some(60),
        content_type: Some("application/json"),
        user_properties: (&[("source", "press"), ("unit", "celsius")]).into(),
        ..Default::default()
    };
    let connect = Connect {
        username: Some("user"),
        password: Some(b"password"),
        ..Connect::new(Version::V5, "client-0123456789")
    };
    let cases = [
        ("publish_64B_v3", Version::V311, Packet::Publish(plain)),
        ("publish_64B_v5", Version::V5, Packet::Publish(plain)),
        ("publish_64B_v5_properties", Version::V5, Packet::Publish(Publish { properties, ..plain })),
        ("connect_v5", Version::V5, Packet::Connect(connect)),
        ("puback_v5", Version::V5, Packet::PubAck(tercet_mqtt::Ack::success(PacketId::MIN))),
    ];
    let mut group = c.benchmark_group("decode");
    for (name, version, packet) in cases {
        let bytes = encoded(packet, version);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                if let Ok(Some((packet, used))) = decode(black_box(&bytes), version, &limits) {
                    // By reference, as a caller would look at it; nothing may be optimised away.
                    black_box(&packet);
                    black_box(used);
                }
            });
        });
    }
    group.finish();
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let mut out = Vec::with_capacity(4096);
    let header = PublishHeader {
        qos: QoS::AtLeastOnce,
        packet_id: PacketId::new(7),
        payload_len: PAYLOAD.len(),
        ..PublishHeader::new(TOPIC)
    };
    let full = PublishHeader { message_expiry: Some(60), subscription_ids: &[3], ..header };
    for (name, version, header) in [
        ("publish_64B_v3", Version::V311, header),
        ("publish_64B_v5", Version::V5, header),
        ("publish_64B_v5_properties", Version::V5, full),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let id_at = black_box(&header).write(version, &mut out);
                out.extend_from_slice(&PAYLOAD);
                black_box((id_at, out.len()))
            });
        });
    }
    let packet = Packet::Publish(Publish::new(TOPIC, &PAYLOAD));
    group.bench_function("packet_publish_64B_v5", |b| {
        b.iter(|| {
            out.clear();
            encode(black_box(&packet), Version::V5, &mut out)
        });
    });
    group.bench_function("puback_v5", |b| {
        b.iter(|| {
            out.clear();
            write_ack(AckKind::PubAck, Version::V5, black_box(PacketId::MIN), ReasonCode::Success, &mut out);
            out.len()
        });
    });
    group.finish();
}

fn topics(c: &mut Criterion) {
    let limits = Limits::default();
    let long = "level/".repeat(40);
    let mut group = c.benchmark_group("topic");
    for (name, topic) in
        [("validate_29B", TOPIC), ("validate_240B", &long), ("validate_utf8", "Werk/Köln/Halle/süd/°C")]
    {
        group.bench_function(name, |b| b.iter(|| validate_name(black_box(topic), &limits)));
    }
    group.bench_function("match", |b| {
        b.iter(|| filter_matches(black_box("site/+/machine/#"), black_box(TOPIC)))
    });
    group.finish();
}

criterion_group!(benches, decoding, encoding, topics);
criterion_main!(benches);
