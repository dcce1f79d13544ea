//! What every engine has to pass, whatever it keeps its log in.
//!
//! An engine is tested by implementing [`Subject`] for whatever it needs to be opened, and handing a function that makes one to
//! [`conformance_tests`](crate::conformance_tests), which makes a test of every scenario:
//!
//! ```ignore
//! tercet_log::conformance_tests!(crate::MySubject::new);
//! ```
//!
//! - [`shard_log`]: appending, reading, claims. [`space`]: extents, trimming, checkpoints, full disks.
//! - [`meta`]: small metadata. [`fabric`]: the node bus.
//! - [`filling`]: what the batches of the scenarios contain.

pub mod fabric;
mod filling;
pub mod meta;
pub mod shard_log;
pub mod space;

use std::any::Any;
use std::sync::Arc;

use crate::engine::{Fabric, Meta, ShardLog};

/// An engine under test: storage, and a way to open it. One node is open at a time; dropped, it is closed in order.
pub trait Subject {
    /// Opens the engine, for the first time or again.
    fn open(&self) -> Node;

    /// The process of this node ends without warning.
    fn kill(&self, node: Node);

    /// The machine of this node loses its power: nothing is left but what is durable, and any part of the rest, chosen by
    /// `seed`.
    fn cut_power(&self, node: Node, seed: u64);

    /// Sees to it that the next append ends with `Unknown`. False if this subject cannot.
    fn lose_next_answer(&self, node: &Node) -> bool {
        let _ = node;
        false
    }

    /// Takes away all free space (true) or gives it back (false). False if this subject cannot.
    fn fill(&self, node: &Node, full: bool) -> bool {
        let _ = (node, full);
        false
    }
}

/// An open engine.
pub struct Node {
    /// The log of one shard.
    pub log: Arc<dyn ShardLog>,
    /// Its metadata.
    pub meta: Arc<dyn Meta>,
    /// Its bus.
    pub fabric: Arc<dyn Fabric>,
    /// What has to live as long as these.
    pub keep: Box<dyn Any>,
}

/// Makes a test of every scenario. `$subject`, a path from the crate on, is called for each and returns a new [`Subject`] with nothing in it.
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr) => {
        $crate::conformance_tests! { @module $subject, shard_log,
            an_empty_log_has_nothing_to_read,
            batches_are_read_back_as_they_were_appended,
            reading_begins_at_any_batch_and_ends_at_the_end,
            parts_of_a_batch_are_read_back,
            what_is_confirmed_survives_every_end,
            a_claim_fences_the_claims_before_it,
            epochs_and_numbers_grow_over_restarts,
            a_batch_whose_answer_was_lost_is_there_once,
            reading_goes_on_beside_appending,
        }
        $crate::conformance_tests! { @module $subject, space,
            extents_cover_the_log,
            trimmed_extents_are_gone_and_the_rest_stays,
            a_checkpoint_is_read_back_and_replaced_as_a_whole,
            an_abandoned_checkpoint_changes_nothing,
            a_full_log_takes_the_same_batch_when_there_is_space_again,
            a_log_that_is_consumed_does_not_grow,
        }
        $crate::conformance_tests! { @module $subject, meta,
            a_key_changes_only_if_it_is_as_expected,
            revisions_grow_and_survive,
            keys_are_listed_by_prefix,
            changes_are_watched_by_prefix,
            a_lease_has_one_holder_at_a_time,
            a_lease_that_is_not_renewed_ends,
            nothing_is_lost_among_competing_writers,
            much_changed_metadata_stays_small_enough_to_open,
        }
        $crate::conformance_tests! { @module $subject, fabric,
            a_node_knows_itself_and_drops_what_nobody_takes,
        }
    };
    (@module $subject:expr, $module:ident, $($scenario:ident,)*) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    $crate::conformance::$module::$scenario(&($subject)());
                }
            )*
        }
    };
}
