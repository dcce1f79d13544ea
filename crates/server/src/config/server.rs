//! `[server]`: the process as a whole.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::choice::Durability;
use super::schema::section;
use super::setting::{Auto, Limit};

section! {
    /// The process as a whole.
    Server, "server" {
        /// Directory of everything the broker keeps. Created when something is stored there: in this
        /// version only the credentials of a first administrator, as messages and sessions live in memory.
        data: PathBuf = PathBuf::from("./tercet-data") => Restart;
        /// How safe an acknowledged durable message is. In this version state lives in memory whatever
        /// is chosen, and the start-up block says so.
        durability: Durability = Durability::Fsync => Restart;
        /// Threads that serve connections. "auto" is one per core available to the process.
        threads: Auto<NonZeroUsize> = Auto::Auto => Restart;
        /// Interval between updates of the `$SYS/broker` topics. "off" publishes none.
        sys_interval: Limit<Duration> = Limit::At(Duration::from_secs(10)) => Live;
        /// How long a shutdown waits for clients to take what is on its way to them before it closes
        /// their connections. A second signal ends the wait.
        drain_timeout: Duration = Duration::from_secs(10) => Live, in Duration::ZERO..=Duration::from_secs(3600);
        /// File that receives the real address of every listener as JSON, written atomically once
        /// everything listens.
        ports_file: Option<PathBuf> = None => Restart;
    }
}
