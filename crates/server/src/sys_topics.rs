//! The `$SYS/broker/...` topics, with the names and formats of Mosquitto.
//!
//! All of them are retained and published again only when their value has changed. They count neither as messages
//! received nor against the limits of retained messages, and nobody but the broker can publish them.

use std::time::{Duration, Instant};

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::message::{Properties, Publication, Qos};
use tercet_broker::session::SessionId;
use tercet_broker::vhost::Vhost;

use crate::metrics::snapshot::Snapshot;
use crate::shared::Shared;

/// What a topic says.
enum Content {
    /// Computed from the snapshot.
    Value(fn(&View<'_>) -> String),
    /// Average per minute of something that is counted, over each of [`PERIODS`].
    Load(fn(&Snapshot) -> u64),
}

/// What values are computed from.
struct View<'a> {
    snapshot: &'a Snapshot,
    peaks: Peaks,
}

/// Greatest values seen.
#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    clients: usize,
    memory: u64,
}

/// Over what load is averaged: end of the topic and length.
const PERIODS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// Every topic below `$SYS/broker/`; those of loads have an end for each period.
const TOPICS: &[(&str, Content)] = &[
    ("version", Content::Value(|_| format!("tercet version {}", env!("CARGO_PKG_VERSION")))),
    ("uptime", Content::Value(|view| format!("{} seconds", view.snapshot.uptime.as_secs()))),
    ("clients/total", Content::Value(|view| view.snapshot.census.sessions.to_string())),
    ("clients/maximum", Content::Value(|view| view.peaks.clients.to_string())),
    ("clients/connected", Content::Value(connected)),
    ("clients/disconnected", Content::Value(disconnected)),
    // Older names of the two above.
    ("clients/active", Content::Value(connected)),
    ("clients/inactive", Content::Value(disconnected)),
    ("clients/expired", Content::Value(|view| view.snapshot.totals.sessions_expired.to_string())),
    ("subscriptions/count", Content::Value(|view| view.snapshot.subscriptions.to_string())),
    (
        "shared_subscriptions/count",
        Content::Value(|view| view.snapshot.census.shared_subscriptions.to_string()),
    ),
    ("retained messages/count", Content::Value(|view| view.snapshot.retained.to_string())),
    ("messages/stored", Content::Value(stored)),
    ("store/messages/count", Content::Value(stored)),
    (
        "store/messages/bytes",
        Content::Value(|view| (view.snapshot.retained_bytes + view.snapshot.census.queued_bytes).to_string()),
    ),
    ("messages/received", Content::Value(|view| view.snapshot.totals.packets_received.to_string())),
    ("messages/sent", Content::Value(|view| packets_sent(view.snapshot).to_string())),
    ("publish/messages/received", Content::Value(|view| view.snapshot.totals.publish_received.to_string())),
    ("publish/messages/sent", Content::Value(|view| view.snapshot.totals.publish_sent.to_string())),
    ("publish/messages/dropped", Content::Value(|view| dropped(view.snapshot).to_string())),
    (
        "publish/bytes/received",
        Content::Value(|view| view.snapshot.totals.publish_bytes_received.to_string()),
    ),
    ("publish/bytes/sent", Content::Value(|view| view.snapshot.totals.publish_bytes_sent.to_string())),
    ("bytes/received", Content::Value(|view| view.snapshot.totals.bytes_received.to_string())),
    ("bytes/sent", Content::Value(|view| view.snapshot.totals.bytes_sent.to_string())),
    ("heap/current", Content::Value(|view| memory(view.snapshot).to_string())),
    ("heap/maximum", Content::Value(|view| view.peaks.memory.to_string())),
    ("load/messages/received", Content::Load(|snapshot| snapshot.totals.packets_received)),
    ("load/messages/sent", Content::Load(packets_sent)),
    ("load/publish/received", Content::Load(|snapshot| snapshot.totals.publish_received)),
    ("load/publish/sent", Content::Load(|snapshot| snapshot.totals.publish_sent)),
    ("load/publish/dropped", Content::Load(dropped)),
    ("load/bytes/received", Content::Load(|snapshot| snapshot.totals.bytes_received)),
    ("load/bytes/sent", Content::Load(|snapshot| snapshot.totals.bytes_sent)),
    ("load/sockets", Content::Load(|snapshot| snapshot.totals.sockets_accepted)),
    (
        "load/connections",
        Content::Load(|snapshot| snapshot.totals.connects + snapshot.totals.connects_refused),
    ),
];

fn connected(view: &View<'_>) -> String {
    view.snapshot.census.connected.to_string()
}

fn disconnected(view: &View<'_>) -> String {
    let census = &view.snapshot.census;
    census.sessions.saturating_sub(census.connected).to_string()
}

fn stored(view: &View<'_>) -> String {
    (view.snapshot.retained + view.snapshot.census.queued).to_string()
}

fn packets_sent(snapshot: &Snapshot) -> u64 {
    snapshot.totals.publish_sent + snapshot.totals.answers_sent
}

/// What Mosquitto counts as dropped: queues and output that were full.
fn dropped(snapshot: &Snapshot) -> u64 {
    snapshot.totals.dropped_outbox_full + snapshot.totals.dropped_queue_full
}

/// Memory that is the process's own; what the allocator keeps is not told apart.
fn memory(snapshot: &Snapshot) -> u64 {
    snapshot.process.anonymous.unwrap_or_default()
}

/// One topic and what was last said about it.
struct Published {
    topic: String,
    value: String,
}

/// A counter's average per minute over each period.
struct Load {
    read: fn(&Snapshot) -> u64,
    count: u64,
    averages: [f64; PERIODS.len()],
}

/// Publishes the topics.
pub struct SysTopics {
    /// In the order of [`TOPICS`], loads with one for each period.
    published: Vec<Published>,
    loads: Vec<Load>,
    peaks: Peaks,
    last: Option<Instant>,
}

impl Default for SysTopics {
    fn default() -> Self {
        let mut published = Vec::new();
        let mut loads = Vec::new();
        let mut add = |topic: String| published.push(Published { topic, value: String::new() });
        for (name, content) in TOPICS {
            match content {
                Content::Value(_) => add(format!("$SYS/broker/{name}")),
                Content::Load(read) => {
                    loads.push(Load { read: *read, count: 0, averages: [0.0; PERIODS.len()] });
                    PERIODS.iter().for_each(|(period, _)| add(format!("$SYS/broker/{name}/{period}")));
                }
            }
        }
        Self { published, loads, peaks: Peaks::default(), last: None }
    }
}

impl SysTopics {
    /// Publishes what has changed if `interval` has passed since the last time; without an interval it takes all
    /// topics back.
    pub fn tick(&mut self, interval: Option<Duration>, shared: &Shared, now: Now, effects: &mut Effects) {
        let Some(interval) = interval else { return self.take_back(&shared.vhost, now, effects) };
        if self.last.is_some_and(|last| now.monotonic.saturating_duration_since(last) < interval) {
            return;
        }
        let snapshot = Snapshot::take(shared);
        self.publish(&snapshot, &shared.vhost, now, effects);
    }

    fn publish(&mut self, snapshot: &Snapshot, vhost: &Vhost, now: Now, effects: &mut Effects) {
        let elapsed = self.last.replace(now.monotonic);
        let elapsed = elapsed.map(|last| now.monotonic.saturating_duration_since(last));
        self.peaks.clients = self.peaks.clients.max(snapshot.census.sessions);
        self.peaks.memory = self.peaks.memory.max(memory(snapshot));
        for load in &mut self.loads {
            load.update(snapshot, elapsed);
        }
        let view = View { snapshot, peaks: self.peaks };
        for (published, value) in self.published.iter_mut().zip(values(&view, &self.loads)) {
            if published.value != value {
                vhost.publish_own(&publication(&published.topic, &value), now, effects);
                published.value = value;
            }
        }
    }

    fn take_back(&mut self, vhost: &Vhost, now: Now, effects: &mut Effects) {
        if self.last.take().is_none() {
            return;
        }
        for published in &mut self.published {
            if !std::mem::take(&mut published.value).is_empty() {
                vhost.publish_own(&publication(&published.topic, ""), now, effects);
            }
        }
    }
}

/// The values of all topics, in their order.
fn values(view: &View<'_>, loads: &[Load]) -> Vec<String> {
    let mut loads = loads.iter();
    let mut values = Vec::new();
    for (_, content) in TOPICS {
        match content {
            Content::Value(value) => values.push(value(view)),
            Content::Load(_) => {
                let averages = loads.next().map(|load| load.averages).unwrap_or_default();
                values.extend(averages.map(|average| format!("{average:.2}")));
            }
        }
    }
    values
}

impl Load {
    /// Moves the averages towards the rate since the last time, the more the longer that is ago.
    fn update(&mut self, snapshot: &Snapshot, elapsed: Option<Duration>) {
        let count = (self.read)(snapshot);
        let before = std::mem::replace(&mut self.count, count);
        let Some(seconds) = elapsed.map(|elapsed| elapsed.as_secs_f64()).filter(|seconds| *seconds > 0.0)
        else {
            return;
        };
        let per_minute = count.saturating_sub(before) as f64 * 60.0 / seconds;
        for (average, (_, period)) in self.averages.iter_mut().zip(PERIODS) {
            *average = per_minute + (-seconds / period).exp() * (*average - per_minute);
        }
    }
}

fn publication<'a>(topic: &'a str, value: &'a str) -> Publication<'a> {
    Publication {
        topic,
        payload: value.as_bytes(),
        properties: Properties::NONE,
        qos: Qos::AtMostOnce,
        retain: true,
        expiry: None,
        publisher: SessionId(0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tercet_broker::limits::Limits;
    use tercet_broker::metrics::Metrics;
    use tercet_broker::permission::Permissions;

    use super::*;
    use crate::event_log::EventLog;

    fn vhost(limits: Limits) -> Vhost {
        Vhost::new(limits, Permissions::allow_all(), None, Arc::new(EventLog), Arc::new(Metrics::default()))
    }

    fn value(vhost: &Vhost, name: &str) -> Option<String> {
        let message = vhost.retained().get(&format!("$SYS/broker/{name}"))?;
        Some(String::from_utf8(message.payload.to_vec()).unwrap())
    }

    /// What Mosquitto 2.0.11 publishes.
    const MOSQUITTO: &[&str] = &[
        "bytes/received",
        "bytes/sent",
        "clients/active",
        "clients/connected",
        "clients/disconnected",
        "clients/expired",
        "clients/inactive",
        "clients/maximum",
        "clients/total",
        "heap/current",
        "heap/maximum",
        "load/bytes/received/15min",
        "load/bytes/received/1min",
        "load/bytes/received/5min",
        "load/bytes/sent/15min",
        "load/bytes/sent/1min",
        "load/bytes/sent/5min",
        "load/connections/15min",
        "load/connections/1min",
        "load/connections/5min",
        "load/messages/received/15min",
        "load/messages/received/1min",
        "load/messages/received/5min",
        "load/messages/sent/15min",
        "load/messages/sent/1min",
        "load/messages/sent/5min",
        "load/publish/dropped/15min",
        "load/publish/dropped/1min",
        "load/publish/dropped/5min",
        "load/publish/received/15min",
        "load/publish/received/1min",
        "load/publish/received/5min",
        "load/publish/sent/15min",
        "load/publish/sent/1min",
        "load/publish/sent/5min",
        "load/sockets/15min",
        "load/sockets/1min",
        "load/sockets/5min",
        "messages/received",
        "messages/sent",
        "messages/stored",
        "publish/bytes/received",
        "publish/bytes/sent",
        "publish/messages/dropped",
        "publish/messages/received",
        "publish/messages/sent",
        "retained messages/count",
        "shared_subscriptions/count",
        "store/messages/bytes",
        "store/messages/count",
        "subscriptions/count",
        "uptime",
        "version",
    ];

    #[test]
    fn names_are_those_of_mosquitto() {
        let mut ours: Vec<_> = SysTopics::default().published.into_iter().map(|one| one.topic).collect();
        ours.sort();
        let theirs: Vec<_> = MOSQUITTO.iter().map(|name| format!("$SYS/broker/{name}")).collect();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn values_look_as_mosquitto_writes_them() {
        let mut snapshot = Snapshot::default();
        snapshot.totals.packets_received = 12;
        snapshot.totals.publish_sent = 3;
        snapshot.totals.answers_sent = 4;
        snapshot.totals.dropped_queue_full = 5;
        snapshot.totals.dropped_outbox_full = 6;
        snapshot.totals.dropped_expired = 7;
        snapshot.census.sessions = 9;
        snapshot.census.connected = 4;
        snapshot.census.queued = 100;
        snapshot.census.queued_bytes = 1000;
        snapshot.retained = 11;
        snapshot.retained_bytes = 10;
        snapshot.uptime = Duration::from_millis(90_900);
        let vhost = vhost(Limits::default());
        SysTopics::default().publish(&snapshot, &vhost, Now::read(), &mut Effects::default());
        let expected = BTreeMap::from([
            ("uptime", "90 seconds"),
            ("version", concat!("tercet version ", env!("CARGO_PKG_VERSION"))),
            ("clients/total", "9"),
            ("clients/maximum", "9"),
            ("clients/connected", "4"),
            ("clients/disconnected", "5"),
            ("clients/active", "4"),
            ("clients/inactive", "5"),
            ("messages/received", "12"),
            ("messages/sent", "7"),
            ("messages/stored", "111"),
            ("store/messages/count", "111"),
            ("store/messages/bytes", "1010"),
            ("publish/messages/sent", "3"),
            ("publish/messages/dropped", "11"),
            ("load/messages/received/1min", "0.00"),
        ]);
        for (name, expected) in expected {
            assert_eq!(value(&vhost, name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn loads_are_averages_per_minute() {
        let vhost = vhost(Limits::default());
        let mut topics = SysTopics::default();
        let mut snapshot = Snapshot::default();
        let start = Now::read();
        topics.publish(&snapshot, &vhost, start, &mut Effects::default());
        snapshot.totals.publish_received = 100;
        topics.publish(&snapshot, &vhost, start.after(Duration::from_secs(10)), &mut Effects::default());
        // 600 a minute for ten seconds: 600 * (1 - exp(-10/60)) and so on.
        let loads =
            ["1min", "5min", "15min"].map(|period| value(&vhost, &format!("load/publish/received/{period}")));
        assert_eq!(loads.map(Option::unwrap), ["92.11", "19.67", "6.63"]);
        // Nothing more: they fade.
        topics.publish(&snapshot, &vhost, start.after(Duration::from_secs(70)), &mut Effects::default());
        assert_eq!(value(&vhost, "load/publish/received/1min").as_deref(), Some("33.89"));
    }

    #[test]
    fn only_what_changed_is_published_again() {
        let vhost = vhost(Limits::default());
        let mut topics = SysTopics::default();
        let mut snapshot = Snapshot::default();
        let now = Now::read();
        topics.publish(&snapshot, &vhost, now, &mut Effects::default());
        let (version, sent) = (
            vhost.retained().get("$SYS/broker/version").unwrap(),
            vhost.retained().get("$SYS/broker/bytes/sent").unwrap(),
        );
        snapshot.totals.bytes_sent = 1;
        topics.publish(&snapshot, &vhost, now.after(Duration::from_secs(1)), &mut Effects::default());
        assert!(Arc::ptr_eq(&version, &vhost.retained().get("$SYS/broker/version").unwrap()));
        assert!(!Arc::ptr_eq(&sent, &vhost.retained().get("$SYS/broker/bytes/sent").unwrap()));
    }

    #[test]
    fn they_do_not_count_against_the_limits_and_can_be_taken_back() {
        let vhost = vhost(Limits { max_retained: 1, ..Limits::default() });
        let mut topics = SysTopics::default();
        let (now, mut effects) = (Now::read(), Effects::default());
        topics.publish(&Snapshot::default(), &vhost, now, &mut effects);
        assert_eq!(vhost.retained().len(), MOSQUITTO.len());
        vhost.publish_own(&publication("a", "1"), now, &mut effects);
        vhost.publish_own(&publication("b", "1"), now, &mut effects);
        assert_eq!(vhost.retained().len(), MOSQUITTO.len() + 1);
        assert_eq!(effects.counters.publish_received, 0);
        topics.take_back(&vhost, now, &mut effects);
        assert_eq!(vhost.retained().len(), 1);
        vhost.publish_own(&publication("b", "1"), now, &mut effects);
        assert_eq!(vhost.retained().len(), 1);
    }
}
