//! How long the codec takes for what a server does most.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tercet_amqp::content::{BasicProperties, Properties, write_content};
use tercet_amqp::delivery::{Publishes, Unacked};
use tercet_amqp::field::{Table, TableBuf};
use tercet_amqp::method::{basic, queue};
use tercet_amqp::state::{Channel, Role};
use tercet_amqp::{Limits, Method, Payload, decode};

const BODY: [u8; 64] = [0x42; 64];

fn table() -> TableBuf {
    let mut table = TableBuf::new();
    for name in ["x-message-ttl", "x-max-length", "x-expires"] {
        table.put(name, 60_000i32).expect("short");
    }
    table.put("x-dead-letter-exchange", "dead").expect("short");
    table
}

fn publish() -> Method<'static> {
    basic::Publish { exchange: "amq.topic", routing_key: "site.7.machine.42", ..Default::default() }.into()
}

fn deliver(delivery_tag: u64) -> Method<'static> {
    let routing_key = "site.7.machine.42";
    basic::Deliver {
        consumer_tag: "ctag1.1",
        delivery_tag,
        redelivered: false,
        exchange: "amq.topic",
        routing_key,
    }
    .into()
}

fn properties<'a>(headers: Option<Table<'a>>, list: &'a mut Vec<u8>) -> Properties<'a> {
    let all = BasicProperties {
        content_type: Some("application/json"),
        headers,
        delivery_mode: Some(2),
        correlation_id: Some("7c3f"),
        ..Default::default()
    };
    all.encode(list).expect("short")
}

fn decoding(c: &mut Criterion) {
    let mut list = Vec::new();
    let properties = properties(None, &mut list);
    let mut bytes = Vec::new();
    for _ in 0..100 {
        write_content(1, &publish(), properties, &BODY, 131_072, &mut bytes).expect("short");
    }
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(100));
    group.bench_function("publish, header, body of 64 bytes", |b| {
        let limits = Limits::default();
        let mut channel = Channel::new(1, Role::Server);
        let open = tercet_amqp::method::channel::Open {};
        channel.receive(&Payload::Method(open.into())).expect("closed");
        b.iter(|| {
            let mut rest = black_box(&bytes[..]);
            while let Ok(Some((frame, used))) = decode(rest, &limits) {
                rest = &rest[used..];
                let _ = black_box(channel.receive(&frame.payload));
            }
        });
    });
    group.throughput(Throughput::Elements(1));
    let table = table();
    let mut declare = Vec::new();
    let method = queue::Declare { queue: "tasks", arguments: table.as_table(), ..Default::default() };
    method.write(1, &mut declare).expect("short");
    group.bench_function("queue.declare with four arguments", |b| {
        b.iter(|| decode(black_box(&declare), &Limits::default()));
    });
    group.finish();
}

fn encoding(c: &mut Criterion) {
    let mut list = Vec::new();
    let properties = properties(None, &mut list);
    let mut out = Vec::new();
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("deliver, header, body of 64 bytes", |b| {
        b.iter(|| {
            out.clear();
            write_content(1, &deliver(black_box(7)), properties, &BODY, 131_072, &mut out)
        });
    });
    group.bench_function("ack", |b| {
        b.iter(|| {
            out.clear();
            basic::Ack { delivery_tag: black_box(9), multiple: true }.write(1, &mut out)
        });
    });
    group.finish();
}

fn looking_up(c: &mut Criterion) {
    let table = table();
    let mut list = Vec::new();
    let properties = properties(Some(table.as_table()), &mut list);
    let mut out = Vec::new();
    let mut group = c.benchmark_group("properties");
    group.bench_function("delivery-mode behind headers", |b| {
        b.iter(|| black_box(&properties).delivery_mode())
    });
    group.bench_function("a header", |b| {
        b.iter(|| {
            black_box(&properties)
                .headers()
                .map(|headers| headers.map(|table| table.get("x-expires").is_some()))
        });
    });
    group.bench_function("all", |b| b.iter(|| black_box(&properties).decode(32)));
    group.bench_function("without a header", |b| {
        b.iter(|| black_box(&properties).with_header("x-expires", None, &mut out).map(drop));
    });
    group.finish();
}

fn acknowledging(c: &mut Criterion) {
    let mut group = c.benchmark_group("acknowledge");
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 deliveries one by one", |b| {
        let mut unacked = Unacked::new();
        b.iter(|| {
            let first = unacked.deliver(0u64);
            for at in 1..100 {
                unacked.deliver(at);
            }
            for tag in first..first + 100 {
                let _ = black_box(unacked.settle(tag, false, 1, basic::Ack::ID).map(Iterator::count));
            }
        });
    });
    group.bench_function("100 publishes confirmed together", |b| {
        let mut publishes = Publishes::new();
        b.iter(|| {
            for _ in 0..100 {
                let number = publishes.publish();
                publishes.confirm(number);
            }
            publishes.flush(|answer| {
                black_box(answer);
            });
        });
    });
    group.finish();
}

criterion_group!(benches, decoding, encoding, looking_up, acknowledging);
criterion_main!(benches);
