//! Every metric with its name, meaning and value: the one place that knows a metric.

use super::snapshot::Snapshot;
use crate::storage::LogState;

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; its labels tell something.
    Info,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

/// The values of a metric: one, or one for each value of its label.
pub type Samples = Vec<(String, Value)>;

/// A metric.
pub struct Metric {
    /// Name as scrapers see it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Unit, which is also the end of the name (before `_total`).
    pub unit: Option<&'static str>,
    /// The label that tells its values apart.
    pub label: Option<&'static str>,
    /// What it means.
    pub help: &'static str,
    read: fn(&Snapshot) -> Samples,
}

impl Metric {
    /// Its values; none when they are not known.
    #[must_use]
    pub fn samples(&self, snapshot: &Snapshot) -> Samples {
        (self.read)(snapshot)
    }

    /// The name of the family: without the ending that samples of its kind have.
    #[must_use]
    pub fn family(&self) -> &'static str {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        self.name.strip_suffix(ending).unwrap_or(self.name)
    }

    /// The name of the family without the unit.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let family = self.family();
        let stem = self.unit.and_then(|unit| family.strip_suffix(unit)?.strip_suffix('_'));
        stem.unwrap_or(family)
    }
}

fn one(value: Value) -> Samples {
    vec![(String::new(), value)]
}

fn known(value: Option<Value>) -> Samples {
    value.map(one).unwrap_or_default()
}

macro_rules! metrics {
    ($($kind:ident $name:literal $([$unit:literal])? $({$label:literal})? $help:literal = $read:expr;)+) => {
        /// All metrics, in the order in which they are written out.
        pub static METRICS: &[Metric] = &[$(
            Metric {
                name: $name,
                kind: Kind::$kind,
                unit: metrics!(@option $($unit)?),
                label: metrics!(@option $($label)?),
                help: $help,
                read: $read,
            },
        )+];
    };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
}

/// A value of the log; none when there is no log.
fn of_log(snapshot: &Snapshot, value: impl Fn(&LogState) -> Value) -> Samples {
    known(snapshot.log.as_ref().map(value))
}

/// A counter of the core under another name.
macro_rules! total {
    ($name:ident) => {
        |snapshot| one(Value::Whole(snapshot.totals.$name))
    };
}

metrics! {
    Info "tercet_build_info" {"version"} "The version that runs." =
        |_| vec![(env!("CARGO_PKG_VERSION").to_owned(), Value::Whole(1))];
    Gauge "tercet_uptime_seconds" ["seconds"] "Time since the start." =
        |snapshot| one(Value::Real(snapshot.uptime.as_secs_f64()));

    Counter "tercet_received_bytes_total" ["bytes"] "Bytes read from MQTT clients, TLS and WebSocket framing aside." =
        total!(bytes_received);
    Counter "tercet_sent_bytes_total" ["bytes"] "Bytes written to MQTT clients, TLS and WebSocket framing aside." =
        total!(bytes_sent);
    Counter "tercet_packets_received_total" "Control packets received." = total!(packets_received);
    Counter "tercet_packets_sent_total" "Control packets sent." =
        |snapshot| one(Value::Whole(snapshot.totals.publish_sent + snapshot.totals.answers_sent));
    Counter "tercet_messages_received_total" "Messages received (PUBLISH packets)." = total!(publish_received);
    Counter "tercet_messages_received_bytes_total" ["bytes"] "Payload bytes of the messages received." =
        total!(publish_bytes_received);
    Counter "tercet_messages_sent_total" "Messages handed to clients (PUBLISH packets)." = total!(publish_sent);
    Counter "tercet_messages_sent_bytes_total" ["bytes"] "Payload bytes of the messages handed to clients." =
        total!(publish_bytes_sent);
    Counter "tercet_messages_unrouted_total" "Messages published that matched no subscription." = total!(unrouted);
    Counter "tercet_messages_dropped_total" {"reason"} "Deliveries that did not happen: the client does not read (outbox_full), its queue is full (queue_full), it takes no packets of that size (too_large), the message expired (expired), the right to receive was revoked (denied), the message could not be read back from disk (unreadable)." =
        |snapshot| {
            let totals = &snapshot.totals;
            let reasons = [
                ("outbox_full", totals.dropped_outbox_full),
                ("queue_full", totals.dropped_queue_full),
                ("too_large", totals.dropped_too_large),
                ("expired", totals.dropped_expired),
                ("denied", totals.dropped_denied),
                ("unreadable", totals.dropped_unreadable),
            ];
            reasons.map(|(reason, count)| (reason.to_owned(), Value::Whole(count))).into()
        };
    Counter "tercet_retained_refused_total" "Messages that could not be retained because the store is full." =
        total!(dropped_retained_full);
    Counter "tercet_subscriptions_refused_total" "Subscriptions refused because the client has as many as it may." =
        total!(refused_subscriptions);
    Counter "tercet_sessions_refused_total" "Clients refused because there are as many sessions as there may be." =
        total!(refused_sessions);
    Counter "tercet_log_refused_total" "Publications, subscriptions and new sessions refused because the log is full or cannot be written." =
        total!(refused_by_log);
    Counter "tercet_throttled_total" "Times that a client had to wait because it exceeded its rate." =
        total!(throttled);
    Counter "tercet_denied_total" {"action"} "Requests refused for lack of permission." =
        |snapshot| {
            let totals = &snapshot.totals;
            let actions = [("publish", totals.denied_publish), ("subscribe", totals.denied_subscribe)];
            actions.map(|(action, count)| (action.to_owned(), Value::Whole(count))).into()
        };
    Counter "tercet_wills_published_total" "Wills published." = total!(wills);
    Counter "tercet_crossing_addresses_without_form_total" "Messages to amq.topic whose routing key is no MQTT topic, so that only bindings were looked at." =
        total!(not_crossed);
    Counter "tercet_crossing_properties_not_carried_total" "Properties and headers that could not be carried from MQTT to AMQP or back." =
        total!(properties_not_carried);
    Counter "tercet_duplicates_dropped_total" "Messages that an exchange dropped because it had let the same one through before." =
        total!(duplicates);
    Counter "tercet_route_misses_total" "Publications whose route was not in the publisher's cache." =
        total!(route_misses);

    Counter "tercet_sockets_accepted_total" "Connections accepted, of clients and of HTTP." =
        total!(sockets_accepted);
    Counter "tercet_sockets_refused_total" "Connections refused because a limit was reached." =
        total!(sockets_refused);
    Counter "tercet_connects_total" "Clients let in (CONNECT)." = total!(connects);
    Counter "tercet_connects_refused_total" "Clients refused (CONNECT)." = total!(connects_refused);
    Counter "tercet_disconnects_total" "Connections of clients that ended." = total!(disconnects);
    Counter "tercet_takeovers_total" "Sessions taken over by another connection of the same client." =
        total!(takeovers);
    Counter "tercet_protocol_errors_total" "Connections closed for a malformed packet or another protocol error." =
        total!(protocol_errors);
    Counter "tercet_keep_alive_timeouts_total" "Connections closed because nothing came within the keep alive." =
        total!(keep_alive_timeouts);
    Gauge "tercet_listener_connections" {"listener"} "Open connections of each listener." =
        |snapshot| snapshot.listeners.iter().map(|(name, open)| (name.clone(), (*open).into())).collect();
    Gauge "tercet_amqp_connections" "Open AMQP connections that have passed their handshake." =
        |snapshot| one(snapshot.amqp.0.into());
    Gauge "tercet_amqp_channels" "Open AMQP channels." = |snapshot| one(snapshot.amqp.1.into());
    Counter "tercet_coap_requests_total" "Requests of CoAP clients, repeated ones not counted." =
        |snapshot| one(Value::Whole(snapshot.coap.requests));
    Counter "tercet_coap_notifications_total" "Notifications sent to observers of CoAP resources." =
        |snapshot| one(Value::Whole(snapshot.coap.notifications));
    Gauge "tercet_coap_observers" "Observations of CoAP resources that are open." =
        |snapshot| one(Value::Whole(snapshot.coap.observers));
    Counter "tercet_coap_challenges_total"
        "CoAP clients that were asked to show that they receive what is sent to their address." =
        |snapshot| one(Value::Whole(snapshot.coap.challenges));
    Counter "tercet_coap_busy_total" "CoAP requests that were turned away because too many others were waiting." =
        |snapshot| one(Value::Whole(snapshot.coap.turned_away));
    Counter "tercet_coap_datagrams_sent_total" "Datagrams sent to CoAP clients." =
        |snapshot| one(Value::Whole(snapshot.coap.datagrams_sent));
    Counter "tercet_coap_datagrams_lost_total" "Datagrams to CoAP clients that the system did not take." =
        |snapshot| one(Value::Whole(snapshot.coap.datagrams_lost));
    Counter "tercet_coap_datagrams_oversized_total" "Datagrams that were longer than any CoAP message taken." =
        |snapshot| one(Value::Whole(snapshot.coap.oversized));
    Gauge "tercet_reactor_connections" {"reactor"} "Connections of each reactor." =
        |snapshot| {
            let reactors = snapshot.reactors.iter().enumerate();
            reactors.map(|(index, reactor)| (index.to_string(), reactor.connections.into())).collect()
        };
    Gauge "tercet_reactor_load_ratio" ["ratio"] {"reactor"} "Share of its time that each reactor spends working, from 0 to 1; an idle one keeps its last value." =
        |snapshot| {
            let reactors = snapshot.reactors.iter().enumerate();
            reactors.map(|(index, reactor)| (index.to_string(), Value::Real(reactor.load))).collect()
        };

    Gauge "tercet_sessions" {"state"} "Sessions of clients that are connected and of clients that are not." =
        |snapshot| {
            let census = &snapshot.census;
            let offline = census.sessions.saturating_sub(census.connected);
            vec![("connected".to_owned(), census.connected.into()), ("disconnected".to_owned(), offline.into())]
        };
    Counter "tercet_sessions_expired_total" "Sessions that ended because their client did not come back." =
        total!(sessions_expired);
    Gauge "tercet_subscriptions" "Subscriptions; a shared one counts once, however many members it has." =
        |snapshot| one(snapshot.subscriptions.into());
    Gauge "tercet_shared_subscriptions" "Shared subscriptions." =
        |snapshot| one(snapshot.census.shared_subscriptions.into());
    Gauge "tercet_queued_messages" "Messages that wait in queues of sessions and shared subscriptions." =
        |snapshot| one(snapshot.census.queued.into());
    Gauge "tercet_queued_bytes" ["bytes"] "Bytes of the messages that wait, topics and properties included." =
        |snapshot| one(snapshot.census.queued_bytes.into());
    Gauge "tercet_queued_messages_in_memory" "Messages in queues that are in memory, those included that are sent and not acknowledged; the others are only on disk." =
        |snapshot| one(snapshot.census.in_memory.into());
    Gauge "tercet_queued_memory_bytes" ["bytes"] "Memory that messages in queues take up; one that several queues hold counts for each." =
        |snapshot| one(snapshot.census.memory.into());
    Gauge "tercet_inflight_messages" "Messages sent to clients that have not acknowledged them." =
        |snapshot| one(snapshot.census.in_flight.into());
    Gauge "tercet_retained_messages" "Retained messages, the broker's own included." =
        |snapshot| one(snapshot.retained.into());
    Gauge "tercet_retained_bytes" ["bytes"] "Bytes of the retained messages, topics and properties included." =
        |snapshot| one(snapshot.retained_bytes.into());
    Gauge "tercet_retained_memory_bytes" ["bytes"] "Memory that retained messages take up that are on disk as well." =
        |snapshot| one(snapshot.retained_memory.into());

    Counter "tercet_log_commits_total" "Batches of records that have been made durable, each with one sync." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.commits.commits));
    Counter "tercet_log_records_total" "Changes of durable state in them." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.commits.records));
    Counter "tercet_log_record_bytes_total" ["bytes"] "Bytes of the records." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.commits.bytes));
    Counter "tercet_log_written_bytes_total" ["bytes"] "Bytes written to the log's files: batches, checkpoints, prepared segments." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.files.bytes + log.files.other_bytes));
    Counter "tercet_log_append_seconds_total" ["seconds"] "Time spent making batches durable." =
        |snapshot| of_log(snapshot, |log| Value::Real(log.commits.appending.as_secs_f64()));
    Counter "tercet_log_syncs_total" "Syncs that batches waited for." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.files.syncs));
    Counter "tercet_log_sync_seconds_total" ["seconds"] "Time spent in them." =
        |snapshot| of_log(snapshot, |log| Value::Real(log.files.sync_time.as_secs_f64()));
    Counter "tercet_log_failures_total" "Batches that the log did not take at the first attempt, and every further attempt that failed." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.commits.failures));
    Counter "tercet_log_checkpoints_total" "Checkpoints put in force." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.files.checkpoints));
    Gauge "tercet_log_unconfirmed_bytes" ["bytes"] "Bytes of records that are not durable yet." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.commits.unconfirmed));
    Gauge "tercet_log_segments" "Files that the log is in, the spare one not counted." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.files.segments));
    Gauge "tercet_log_disk_bytes" ["bytes"] "Bytes that they take up, the spare one included." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.files.disk_bytes));
    Gauge "tercet_log_refusing" "1 while durable work is refused because the log is full or cannot be written, else 0." =
        |snapshot| of_log(snapshot, |log| Value::Whole(log.is_refusing().into()));
    Gauge "tercet_recovery_seconds" ["seconds"] "How long it took at the start to rebuild the state from the log." =
        |snapshot| of_log(snapshot, |log| Value::Real(log.recovery.took.as_secs_f64()));

    Gauge "tercet_memory_budget_bytes" ["bytes"] "Resident memory above which publishers are slowed down." =
        |snapshot| one(Value::Whole(snapshot.memory_budget));
    Gauge "tercet_memory_short" "1 while publishers are slowed down because the memory budget is exceeded, else 0." =
        |snapshot| one(Value::Whole(snapshot.memory_short.into()));

    Counter "process_cpu_seconds_total" ["seconds"] "Processor time used." =
        |snapshot| known(snapshot.process.cpu.map(|time| Value::Real(time.as_secs_f64())));
    Gauge "process_resident_memory_bytes" ["bytes"] "Resident memory." =
        |snapshot| known(snapshot.process.resident.map(Value::Whole));
    Gauge "process_anonymous_memory_bytes" ["bytes"] "Resident memory that belongs to no file." =
        |snapshot| known(snapshot.process.anonymous.map(Value::Whole));
    Gauge "process_virtual_memory_bytes" ["bytes"] "Virtual memory." =
        |snapshot| known(snapshot.process.virtual_memory.map(Value::Whole));
    Gauge "process_open_fds" "Open file descriptors." =
        |snapshot| known(snapshot.process.open_files.map(Value::Whole));
    Gauge "process_max_fds" "File descriptors that may be open." =
        |snapshot| known(snapshot.process.max_files.map(Value::Whole));
    Gauge "process_threads" "Threads." = |snapshot| known(snapshot.process.threads.map(Value::Whole));
}

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
        };
        let label = metric.label.map_or(String::new(), |label| format!("`{label}`"));
        page.push_str(&format!("| `{}` | {kind} | {label} | {} |\n", metric.name, metric.help));
    }
    page
}

const INTRODUCTION: &str = "# Metrics

An \"http\" listener serves these at `/metrics`: as OpenMetrics to scrapers that accept it, in the Prometheus text
format to all others. No label holds a client, a user or a topic, so the number of series does not grow with the
load. Names beginning with `process_` are the usual ones of Prometheus; they are there on Linux only. Those beginning
with `tercet_log_` or `tercet_recovery_` are there only if state is kept on disk.

`tercet_sessions`, `tercet_queued_*` and `tercet_inflight_messages` are counted by walking all sessions, for which
at most a twentieth of the time of one thread is spent: with very many sessions they may be some seconds old.

| name | type | label | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names = HashSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()), "{name}");
            assert!(name.starts_with("tercet_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), metric.kind == Kind::Info, "{name}");
            let (family, stem) = (metric.family(), metric.stem());
            for unit in ["bytes", "seconds", "ratio"] {
                assert_eq!(family.ends_with(&format!("_{unit}")), metric.unit == Some(unit), "{name}");
            }
            assert_eq!(
                metric.unit.map_or(stem.to_owned(), |unit| format!("{stem}_{unit}")),
                family,
                "{name}"
            );
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        }
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == reference(),
            "docs/metrics.md is stale: UPDATE_DOCS=1 cargo test -p tercet-server reference_page"
        );
    }
}
