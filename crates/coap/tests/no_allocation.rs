//! Decoding allocates nothing, and neither does writing into a buffer that has room.

#![allow(unsafe_code, reason = "a counting allocator has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tercet_coap::option::Judgement;
use tercet_coap::stream::{self, Connection};
use tercet_coap::{Code, Kind, Limits, Number, Writer, datagram};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; the count is a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations an action makes.
fn count(action: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    action();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_request_is_read_and_answered_without_allocation() {
    let mut request = Vec::new();
    Writer::datagram(&mut request, Kind::Confirmable, 7, Code::GET, b"token")
        .uint(Number::OBSERVE, 0)
        .text(Number::URI_PATH, "ps")
        .text(Number::URI_PATH, "house")
        .text(Number::URI_QUERY, "x=1")
        .uint(Number::ACCEPT, 50);
    let limits = Limits::default();
    let mut answer = Vec::with_capacity(256);
    let made = count(|| {
        let received = datagram::decode(&request, &limits).expect("well-formed");
        let message = received.message;
        assert_eq!(message.options.judge(), Judgement::Acceptable);
        assert_eq!(message.path().count(), 2);
        assert_eq!(message.options.uint(Number::ACCEPT), Some(50));
        assert!(message.options.texts(Number::URI_QUERY).eq(["x=1"]));
        Writer::datagram(&mut answer, Kind::Acknowledgement, received.id, Code::CONTENT, message.token)
            .option(Number::ETAG, &[1; 8])
            .uint(Number::CONTENT_FORMAT, 50)
            .uint(Number::MAX_AGE, 3600)
            .payload(&[b'x'; 64]);
    });
    assert_eq!(made, 0);
    assert!(!answer.is_empty());
}

#[test]
fn malformed_datagrams_are_refused_without_allocation() {
    let mut refused = 0;
    for seed in 0..50_000u32 {
        let noise = seed.wrapping_mul(0x9E37_79B9).rotate_left(seed % 31).to_be_bytes();
        let data = [[0x40 | noise[0] & 0x3F, noise[1], 0, 1], noise, noise].concat();
        let made = count(|| refused += u32::from(datagram::decode(&data, &Limits::default()).is_err()));
        assert_eq!(made, 0, "{data:02X?}");
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn frames_are_read_and_written_without_allocation() {
    let mut frames = Vec::with_capacity(4096);
    let made = count(|| {
        Writer::stream(&mut frames, Code::CSM, &[]).uint(Number(2), 70_000);
        Writer::stream(&mut frames, Code::PUT, b"tk").text(Number::URI_PATH, "a").payload(&[7; 300]);
        let mut connection = Connection::new();
        let mut rest = &frames[..];
        let limits = Limits::default();
        while let Ok(Some((message, used))) = stream::decode(rest, &limits) {
            connection.receive(&message);
            rest = &rest[used..];
        }
        assert!(rest.is_empty() && connection.is_ready());
    });
    assert_eq!(made, 0);
}
