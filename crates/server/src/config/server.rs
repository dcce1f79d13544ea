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
        /// Directory of everything the broker keeps: sessions with their messages, retained messages, and
        /// the credentials of a first administrator. Created if it is not there; one broker at a time may use it.
        data: PathBuf = PathBuf::from("./tercet-data") => Restart;
        /// What an acknowledged durable message survives. "fsync": a power cut, for which the broker waits
        /// for the disk before it acknowledges. "os": the end of the broker, however that comes about, but not
        /// that of the operating system. "memory": nothing; the data directory is not used.
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
