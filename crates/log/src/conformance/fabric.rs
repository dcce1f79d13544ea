//! The node bus.

use std::time::Duration;

use super::Subject;
use crate::engine::{Lane, NodeId};

/// Alone or not: it is not among its own peers, and frames to nobody vanish.
pub fn a_node_knows_itself_and_drops_what_nobody_takes(subject: &dyn Subject) {
    let node = subject.open();
    let fabric = &*node.fabric;
    let (me, peers) = (fabric.node(), fabric.peers());
    assert!(!peers.contains(&me), "{me:?} is no peer of itself");
    let nobody = NodeId(peers.iter().map(|peer| peer.0).max().unwrap_or(0).max(me.0).wrapping_add(1));
    for lane in [Lane::AtMostOnce, Lane::Control, Lane::Delivery] {
        fabric.send(nobody, lane, b"to nobody");
    }
    assert_eq!(fabric.receive(Duration::from_millis(1)), None);
    drop(node);
    assert_eq!(subject.open().fabric.node(), me, "a node keeps its name");
}
