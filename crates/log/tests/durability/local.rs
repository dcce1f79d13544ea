//! The local engine on the simulated disk.

use std::path::Path;
use std::sync::Arc;

use tercet_log::engine::ShardLog;
use tercet_log::error::LogError;
use tercet_log::local::{Durability, LocalLog, LocalOptions};
use tercet_log::sim::{Chance, SimDisk};

pub(crate) const DIR: &str = "shard-0";

/// Segments so small that a short run fills many of them.
pub(crate) fn small(chance: &mut Chance) -> LocalOptions {
    let smallest = 4096 << (1 + chance.below(4));
    LocalOptions {
        smallest,
        largest: smallest << chance.below(4),
        background: false,
        ..LocalOptions::default()
    }
}

pub(crate) fn without_sync(options: LocalOptions) -> LocalOptions {
    LocalOptions { durability: Durability::Os, ..options }
}

pub(crate) fn open(disk: &SimDisk, options: &LocalOptions) -> Result<Arc<dyn ShardLog>, LogError> {
    let log = LocalLog::open(Arc::new(disk.clone()), Path::new(DIR), 0, options.clone())?;
    Ok(Arc::new(log))
}
