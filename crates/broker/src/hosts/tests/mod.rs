//! Virtual hosts above a log on a simulated disk: what comes back is what was there, whatever checkpoint it begins with, and
//! whenever the power went.

mod ending;
mod restarting;
mod walk;
mod world;

pub(super) use self::walk::Walk;
pub(super) use self::world::World;
