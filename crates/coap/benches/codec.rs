//! How long the codec takes for what a server does most.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tercet_coap::senml::Pack;
use tercet_coap::{Code, Kind, Limits, Number, OptionBuf, Writer, datagram, link_format, stream};

fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::datagram(&mut bytes, Kind::Confirmable, 0x1234, Code::PUT, &[1, 2, 3, 4])
        .text(Number::URI_HOST, "broker.example")
        .text(Number::URI_PATH, "ps")
        .text(Number::URI_PATH, "site")
        .text(Number::URI_PATH, "temperature")
        .uint(Number::CONTENT_FORMAT, 0)
        .payload(&[b'x'; 64]);
    bytes
}

fn datagrams(c: &mut Criterion) {
    let bytes = request();
    let limits = Limits::default();
    let mut group = c.benchmark_group("datagram");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode a PUT of 64 bytes", |b| {
        b.iter(|| datagram::decode(black_box(&bytes), &limits))
    });
    let message = datagram::decode(&bytes, &limits).expect("well-formed").message;
    group.bench_function("judge its options", |b| b.iter(|| black_box(message).options.judge()));
    group.bench_function("look for three options", |b| {
        b.iter(|| {
            let options = black_box(message).options;
            (
                options.get(Number::URI_HOST),
                options.uint(Number::CONTENT_FORMAT),
                options.uint(Number::BLOCK2),
            )
        });
    });
    let mut out = Vec::with_capacity(256);
    group.bench_function("write a response of 64 bytes", |b| {
        b.iter(|| {
            out.clear();
            Writer::datagram(
                &mut out,
                Kind::Acknowledgement,
                0x1234,
                Code::CONTENT,
                black_box(&[1, 2, 3, 4]),
            )
            .option(Number::ETAG, &[7; 8])
            .uint(Number::CONTENT_FORMAT, 0)
            .uint(Number::MAX_AGE, 3600)
            .payload(&[b'x'; 64]);
        });
    });
    group.bench_function("put five options together out of order", |b| {
        b.iter(|| {
            let mut options = OptionBuf::new();
            for number in black_box([60, 11, 15, 3, 11]) {
                options.add(Number(number), b"value");
            }
            options
        });
    });
}

fn frames(c: &mut Criterion) {
    let mut bytes = Vec::new();
    for _ in 0..100 {
        Writer::stream(&mut bytes, Code::PUT, b"tk").text(Number::URI_PATH, "ps").payload(&[b'x'; 64]);
    }
    let mut group = c.benchmark_group("stream");
    group.throughput(Throughput::Elements(100));
    group.bench_function("decode a PUT of 64 bytes", |b| {
        b.iter(|| {
            let mut rest = black_box(&bytes[..]);
            while let Ok(Some((_, used))) = stream::decode(rest, &Limits::default()) {
                rest = &rest[used..];
            }
        });
    });
}

fn payloads(c: &mut Criterion) {
    let links: String = (0..100).map(|n| format!("</ps/{n}>;rt=\"core.ps.data\";ct=50;obs,")).collect();
    let links = links.trim_end_matches(',');
    c.bench_function("parse 100 links", |b| b.iter(|| link_format::parse(black_box(links))));
    let records: String = (0..100).map(|n| format!("{{\"n\":\"t{n}\",\"v\":{n}.5,\"t\":-{n}}},")).collect();
    let json = format!("[{}]", records.trim_end_matches(','));
    c.bench_function("parse 100 records of SenML in JSON", |b| {
        b.iter(|| Pack::from_json(black_box(&json), 100))
    });
    let cbor = Pack::from_json(&json, 100).expect("SenML").to_cbor();
    c.bench_function("parse 100 records of SenML in CBOR", |b| {
        b.iter(|| Pack::from_cbor(black_box(&cbor), 100))
    });
}

criterion_group!(benches, datagrams, frames, payloads);
criterion_main!(benches);
