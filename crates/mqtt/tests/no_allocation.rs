//! Decoding allocates nothing, and neither does a state machine with nothing to remember.

#![allow(unsafe_code, reason = "a counting allocator has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroU16;

use tercet_mqtt::{Allocator, Limits, PublishHeader, Version, alias, decode, inflight};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls are passed on unchanged to the system's allocator; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
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

#[test]
fn decoding_allocates_nothing() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/decode");
    let (mut valid, mut invalid) = (0, 0);
    for file in std::fs::read_dir(directory).expect("the corpus is there") {
        let data = std::fs::read(file.expect("readable").path()).expect("readable");
        for version in [Version::V31, Version::V311, Version::V5] {
            let count = allocations(|| match decode(&data, version, &Limits::default()) {
                Ok(_) => valid += 1,
                Err(_) => invalid += 1,
            });
            assert_eq!(count, 0, "{data:02X?}");
        }
    }
    assert!(valid > 20 && invalid > 20, "{valid} {invalid}");
}

#[test]
fn idle_machines_allocate_nothing() {
    let maximum = NonZeroU16::MAX;
    let count = allocations(|| {
        let _ids = Allocator::new();
        let mut outbound: inflight::Outbound<u64> = inflight::Outbound::new(maximum);
        let mut inbound = inflight::Inbound::new(maximum);
        let _from: alias::Inbound = alias::Inbound::new(32);
        let mut to = alias::Outbound::new(0);
        to.assign("a/topic");
        outbound.reconnected(maximum);
        inbound.reconnected(maximum);
    });
    assert_eq!(count, 0);
}

#[test]
fn a_header_is_written_with_one_allocation_at_most() {
    let header =
        PublishHeader { message_expiry: Some(1), payload_len: 1000, ..PublishHeader::new("a/topic") };
    let mut out = Vec::new();
    assert_eq!(allocations(|| assert!(header.write(Version::V5, &mut out).is_none())), 1);
    out.clear();
    assert_eq!(allocations(|| assert!(header.write(Version::V5, &mut out).is_none())), 0);
}
