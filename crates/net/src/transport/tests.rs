use super::*;

#[test]
fn a_transport_is_small() {
    // In debug builds mio adds bookkeeping to its sockets.
    let limit = if cfg!(debug_assertions) { 80 } else { 64 };
    assert!(size_of::<Transport>() <= limit, "{}", size_of::<Transport>());
}
