//! The fuzz targets over their corpus and over random bytes.

use std::path::Path;

use crate::{fuzz_bodies, material};

use proptest::prelude::*;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let files = std::fs::read_dir(&directory).expect("the corpus is there");
    files.map(|file| std::fs::read(file.expect("readable").path()).expect("readable")).collect()
}

#[test]
fn the_corpora_pass() {
    let (packets, filters) = (corpus("decode"), corpus("filter"));
    assert!(packets.len() > 20 && filters.len() > 5, "{} {}", packets.len(), filters.len());
    packets.iter().for_each(|data| fuzz_bodies::check_decode(data));
    filters.iter().for_each(|data| fuzz_bodies::check_filter(data));
}

/// Bytes with a valid fixed header before them, so that more than the header is tried.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..120)).prop_map(|(first, body)| {
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend(body);
        bytes
    })
}

/// A valid packet with a few bytes changed, inserted or taken out.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..3u8);
    (material::material(), 0..3usize, 0..15usize, proptest::collection::vec(change, 1..4)).prop_map(
        |(material, version, packet, changes)| {
            let version = material::VERSIONS[version];
            let views = material::Views::new(&material, version);
            let packets = views.packets();
            let mut bytes = Vec::new();
            tercet_mqtt::encode(&packets[packet % packets.len()], version, &mut bytes).expect("valid");
            for (index, byte, kind) in changes {
                let at = index.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ if bytes.len() > 1 => {
                        bytes.remove(at);
                    }
                    _ => {}
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_pass(data in proptest::collection::vec(any::<u8>(), 0..60)) {
        fuzz_bodies::check_decode(&data);
    }

    #[test]
    fn arbitrary_bodies_pass(data in framed()) {
        fuzz_bodies::check_decode(&data);
    }

    #[test]
    fn damaged_packets_pass(data in damaged()) {
        fuzz_bodies::check_decode(&data);
    }

    #[test]
    fn arbitrary_filters_pass(text in "[a-c+#/$]{0,8}\n[a-c/$]{0,8}") {
        fuzz_bodies::check_filter(text.as_bytes());
    }
}
