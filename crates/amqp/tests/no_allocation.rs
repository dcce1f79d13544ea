//! Decoding allocates nothing, nor do lookups and state machines at rest; what is built allocates what it holds.

#![allow(unsafe_code, reason = "a counting allocator has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tercet_amqp::content::{Assembly, BasicProperties, Progress, write_content};
use tercet_amqp::delivery::{Confirms, Publishes, Unacked};
use tercet_amqp::field::{Table, TableBuf, Value};
use tercet_amqp::method::{basic, queue};
use tercet_amqp::state::{Channel, Connection, Role};
use tercet_amqp::{Limits, Payload, decode};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls are passed on unchanged to the system's allocator; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(action: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    action();
    ALLOCATIONS.with(Cell::get) - before
}

fn message() -> Vec<u8> {
    let mut inner = TableBuf::new();
    inner.put("deep", 1i64).expect("short");
    let mut headers = TableBuf::new();
    headers.put("x-delay", 5000i32).expect("short").put("table", inner.as_table()).expect("short");
    let mut list = Vec::new();
    let properties = BasicProperties {
        content_type: Some("text/plain"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        expiration: Some("60000"),
        ..Default::default()
    };
    let properties = properties.encode(&mut list).expect("short");
    let publish = basic::Publish { exchange: "amq.topic", routing_key: "a.b", ..Default::default() };
    let mut bytes = Vec::new();
    write_content(1, &publish.into(), properties, &[7; 10_000], 4096, &mut bytes).expect("short");
    let declare = queue::Declare { queue: "q", arguments: headers.as_table(), ..Default::default() };
    declare.write(1, &mut bytes).expect("short");
    bytes
}

#[test]
fn decoding_and_judging_allocate_nothing() {
    let bytes = message();
    let (mut complete, mut frames) = (0, 0);
    let count = allocations(|| {
        let (mut rest, mut assembly, limits) = (&bytes[..], Assembly::new(), Limits::default());
        let mut channel = Channel::new(1, Role::Server);
        let _ = channel.receive(&Payload::Method(tercet_amqp::method::channel::Open {}.into()));
        while let Ok(Some((frame, used))) = decode(rest, &limits) {
            rest = &rest[used..];
            frames += 1;
            assert!(channel.receive(&frame.payload).is_ok());
            complete += usize::from(assembly.receive(1, &frame.payload) == Ok(Progress::Complete));
            match frame.payload {
                Payload::Header(header) => {
                    let properties = header.properties;
                    assert_eq!(properties.expiration(), Ok(Some("60000")));
                    assert_eq!(properties.validate(32), Ok(()));
                    let headers = properties.headers().ok().flatten().unwrap_or_default();
                    assert_eq!(headers.get("x-delay"), Some(Value::I32(5000)));
                    assert_eq!(headers.iter().count(), 2);
                }
                Payload::Method(method) => {
                    assert_eq!(method.info().id.class / 10, if complete > 0 { 5 } else { 6 })
                }
                _ => {}
            }
        }
        assert!(rest.is_empty());
    });
    assert_eq!((count, complete, frames), (0, 1, 6));
}

#[test]
fn damage_makes_nobody_allocate() {
    let bytes = message();
    let mut refused = 0;
    for at in 0..bytes.len().min(300) {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let count = allocations(|| {
                let mut rest = &damaged[..];
                loop {
                    match decode(rest, &Limits::default()) {
                        Ok(Some((frame, used))) => {
                            if let Payload::Header(header) = frame.payload {
                                refused += usize::from(header.properties.validate(32).is_err());
                            }
                            rest = &rest[used..];
                        }
                        Ok(None) => break,
                        Err(_) => {
                            refused += 1;
                            break;
                        }
                    }
                }
            });
            assert_eq!(count, 0, "bit {bit} of byte {at}");
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn machines_at_rest_allocate_nothing() {
    let count = allocations(|| {
        let _connection = Connection::new(Role::Server);
        let _channel = Channel::new(1, Role::Client);
        let mut unacked: Unacked<u64> = Unacked::new();
        unacked.deliver_acknowledged();
        let _confirms: Confirms<u64> = Confirms::new();
        Publishes::new().flush(|_| {});
        let _table = TableBuf::new();
    });
    assert_eq!(count, 0);
}

#[test]
fn writing_into_room_that_is_there_allocates_nothing() {
    let publish = basic::Publish { exchange: "amq.topic", routing_key: "a.b", ..Default::default() };
    let (mut out, mut list) = (Vec::with_capacity(4096), Vec::with_capacity(256));
    let count = allocations(|| {
        for _ in 0..10 {
            out.clear();
            let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
            let properties = properties.encode(&mut list).expect("short");
            write_content(1, &publish.into(), properties, &[1; 100], 4096, &mut out).expect("short");
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_changed_header_costs_no_more_than_its_size() {
    let mut headers = TableBuf::new();
    headers.put("a", "b").expect("short");
    let table: Table<'_> = headers.as_table();
    let (mut list, mut out) = (Vec::new(), Vec::new());
    let properties = BasicProperties { headers: Some(table), ..Default::default() };
    let properties = properties.encode(&mut list).expect("short");
    LARGEST.with(|largest| largest.set(0));
    properties.with_header("c", Some(Value::Bool(true)), &mut out).expect("valid");
    let largest = LARGEST.with(Cell::get);
    assert!(largest < 64, "{largest}");
}
