//! What the message layer costs per request: decode, match, answer, as a server.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tercet_coap::{
    Code, Kind, Number, Time, Writer,
    endpoint::{Endpoint, Heading, Incoming, Outgoing, Settings, Tag},
};

const NOW: Time = Time::from_secs(1_000);
const PEERS: u32 = 1_000;

fn request(code: Code, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::datagram(&mut bytes, Kind::Confirmable, 0, code, &[1, 2, 3, 4])
        .text(Number::URI_PATH, "ps")
        .text(Number::URI_PATH, "temperature")
        .payload(payload);
    bytes
}

/// Requests of many peers, each counting its Message IDs upwards.
fn serve(criterion: &mut Criterion, name: &str, code: Code, answer: Code, payload: &'static [u8]) {
    let mut endpoint: Endpoint<u32> = Endpoint::new(Settings::default(), 7);
    let mut out = Outgoing::new();
    let mut bytes = request(code, payload);
    let mut count = 0_u32;
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            let (peer, id) = (count % PEERS, (count / PEERS) as u16);
            count = count.wrapping_add(1);
            bytes[2..4].copy_from_slice(&id.to_be_bytes());
            let incoming = endpoint.receive(peer, black_box(&bytes), NOW, &mut out);
            if let Incoming::Request { reply, message } = incoming {
                let write = |writer: &mut Writer<'_>| {
                    writer.payload(b"21.5");
                };
                endpoint.respond(reply, answer, message.token, write, NOW, &mut out);
            }
            if out.len() >= 32 {
                black_box(out.iter().count());
                out.clear();
            }
        });
    });
}

fn get(criterion: &mut Criterion) {
    serve(criterion, "get", Code::GET, Code::CONTENT, b"");
}

fn put(criterion: &mut Criterion) {
    serve(criterion, "put", Code::PUT, Code::CHANGED, b"21.5");
}

/// Notifications to many observers.
fn notify(criterion: &mut Criterion) {
    let mut endpoint: Endpoint<u32> = Endpoint::new(Settings::default(), 7);
    let mut out = Outgoing::new();
    let mut count = 0_u32;
    let mut now = NOW;
    criterion.bench_function("notify", |bencher| {
        bencher.iter(|| {
            count = count.wrapping_add(1);
            if count.is_multiple_of(PEERS) {
                // No peer is sent more than its Message IDs allow.
                now += Time::from_millis(10);
            }
            let heading = Heading { code: Code::CONTENT, token: &[1, 2, 3, 4], tag: Tag(count.into()) };
            let write = |writer: &mut Writer<'_>| {
                writer.uint(Number::OBSERVE, count & 0xFF_FFFF).payload(b"21.5");
            };
            black_box(endpoint.send_non_confirmable(count % PEERS, heading, write, now, &mut out)).ok();
            if out.len() >= 32 {
                black_box(out.iter().count());
                out.clear();
            }
        });
    });
}

criterion_group!(benches, get, put, notify);
criterion_main!(benches);
