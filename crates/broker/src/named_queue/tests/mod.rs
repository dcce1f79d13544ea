//! Behaviour of one queue, driven by hand in virtual time.

mod dead_letters;
mod delivering;
mod durable;
mod expiring;
mod getting;
mod journal;
mod limiting;
mod model;
mod returning;
mod streaming;
mod threads;
mod through_exchanges;
mod world;

use self::world::{Line, World, settings};
