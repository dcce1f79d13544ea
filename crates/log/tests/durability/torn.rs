//! Batches torn by one power cut after the other, at the same place.

use tercet_log::engine::ShardLog;
use tercet_log::local::LocalOptions;
use tercet_log::position::Position;
use tercet_log::sim::SimDisk;

use crate::expected::batch;
use crate::local;

/// The first 8 bytes of a batch, its magic and length, lie in one sector, the rest of the header and the payload in the
/// next one: together with the beginning of another batch of that length, the rest would be whole again.
#[test]
fn halves_of_two_batches_never_make_one() {
    let disk = SimDisk::new();
    let log = local::open(&disk, &options()).expect("the log opens");
    let mut claim = log.claim().expect("claimed");
    log.append(&mut claim, &mut batch(&[1; 464])).expect("taken");
    disk.power_off_after(1);
    log.append(&mut claim, &mut batch(&[2; 100])).expect_err("written, and not synced");
    let mut torn = 0;
    for seed in 0..100 {
        let disk = disk.after_power_cut(seed);
        let log = local::open(&disk, &options()).expect("the log opens");
        if payloads(&*log).len() == 2 {
            continue;
        }
        torn += 1;
        let mut claim = log.claim().expect("claimed");
        disk.power_off_after(1);
        log.append(&mut claim, &mut batch(&[3; 100])).expect_err("written, and not synced");
        for cut in 0..20 {
            let log = local::open(&disk.after_power_cut(cut), &options()).expect("the log opens");
            let second = payloads(&*log).into_iter().nth(1);
            assert!(second.is_none_or(|payload| payload == [3; 100]), "seed {seed}, cut {cut}");
        }
    }
    assert!(torn > 20, "{torn} of 100 were torn");
}

fn options() -> LocalOptions {
    LocalOptions { background: false, smallest: 16 << 10, ..LocalOptions::default() }
}

fn payloads(log: &dyn ShardLog) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut reader = log.read(Position::NONE).expect("readable");
    while let Some((_, payload)) = reader.next().expect("whole") {
        payloads.push(payload.to_vec());
    }
    payloads
}
