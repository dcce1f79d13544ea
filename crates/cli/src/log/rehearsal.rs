//! What a broker that starts on a data directory would find in it: its own recovery, without the broker and without a
//! change to the directory.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::event::{Event, EventSink};
use tercet_broker::hosts::Hosts;
use tercet_broker::journal::LogJournal;
use tercet_broker::limits::Limits;
use tercet_broker::metrics::Metrics;
use tercet_broker::permission::Permissions;
use tercet_log::disk::Disk;
use tercet_log::engine::Claim;
use tercet_log::group_commit::{GroupCommit, Settings};
use tercet_log::inspect::Report;
use tercet_log::local::{LocalLog, LocalOptions};

use super::size;

/// What a broker would find.
pub(crate) struct Contents {
    sessions: usize,
    shared_subscriptions: usize,
    virtual_hosts: usize,
    queues: usize,
    queued: usize,
    queued_bytes: usize,
    retained: usize,
    /// Queue entries and retained values whose message is not in the log any more.
    missing: u64,
    /// Bytes of the log that are still needed for the messages in it.
    live_bytes: u64,
}

impl Contents {
    /// Whether messages that it should hold are not in the log any more.
    pub(crate) fn has_gaps(&self) -> bool {
        self.missing > 0
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "sessions": self.sessions,
            "shared_subscriptions": self.shared_subscriptions,
            "virtual_hosts": self.virtual_hosts,
            "queues": self.queues,
            "queued": self.queued,
            "queued_bytes": self.queued_bytes,
            "retained": self.retained,
            "missing": self.missing,
            "live_bytes": self.live_bytes,
        })
    }

    /// In one line.
    pub(crate) fn to_text(&self) -> String {
        let queues = match self.queues {
            0 => String::new(),
            some => format!(", {}", count(some, "queue")),
        };
        let mut text = format!(
            "{}, {}{queues}, {} ({}), {}",
            count(self.sessions, "session"),
            count(self.shared_subscriptions, "shared subscription"),
            count(self.queued, "queued message"),
            size(self.queued_bytes as u64),
            count(self.retained, "retained value"),
        );
        if self.virtual_hosts > 1 {
            text.push_str(&format!(", in {}", count(self.virtual_hosts, "virtual host")));
        }
        if self.missing > 0 {
            text.push_str(&format!(", {} that the log has lost", count(self.missing as usize, "message")));
        }
        text
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

struct NoEvents;

impl EventSink for NoEvents {
    fn event(&self, _event: Event) {}
}

/// Recovers what the log in `dir` of `disk` says. `report` is that of the same log.
///
/// # Errors
/// In words, why a broker would not start on it.
pub(crate) fn rehearse(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    shard: u32,
    report: &Report,
) -> Result<Contents, String> {
    let options = LocalOptions { background: false, ..LocalOptions::default() };
    let log = LocalLog::open(Arc::clone(disk), dir, shard, options).map_err(|error| error.to_string())?;
    // Nothing is ever appended under it: no committer is started.
    let last_number = report.segments.iter().map(|segment| segment.last_number).max().unwrap_or(0);
    let claim = Claim { epoch: 0, next: report.end.unwrap_or_default(), last_number };
    let journal = LogJournal::new(GroupCommit::new(Arc::new(log), claim, Settings::default()));
    let hosts = Hosts::new(
        Limits::default(),
        Permissions::allow_all(),
        Some(journal),
        Arc::new(NoEvents),
        Arc::new(Metrics::default()),
    );
    let recovered = hosts.recover(Now::read(), &mut Effects::default()).map_err(|error| error.to_string())?;
    let vhost = hosts.default_host();
    let census = vhost.census();
    let queues = hosts.queue_census();
    Ok(Contents {
        sessions: census.sessions,
        shared_subscriptions: census.shared_subscriptions,
        virtual_hosts: hosts.all().len(),
        queues: queues.queues,
        queued: census.queued + queues.queued,
        queued_bytes: census.queued_bytes + queues.queued_bytes,
        retained: vhost.retained().len(),
        missing: recovered.missing,
        live_bytes: recovered.live_bytes,
    })
}
