//! The bus of a single machine: there is nobody else on it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::engine::{Fabric, Lane, NodeId};

/// A cluster of one node.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFabric;

impl Fabric for LocalFabric {
    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn peers(&self) -> Arc<[NodeId]> {
        Arc::from([])
    }

    fn send(&self, _to: NodeId, _lane: Lane, _frame: &[u8]) {}

    fn receive(&self, wait: Duration) -> Option<(NodeId, Lane, Vec<u8>)> {
        thread::sleep(wait);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_there() {
        let fabric = LocalFabric;
        assert!(fabric.peers().is_empty());
        fabric.send(fabric.node(), Lane::Control, b"to myself");
        assert!(fabric.receive(Duration::ZERO).is_none());
    }
}
