//! Log output: structured lines to stderr, text on a terminal and JSON otherwise, with a level per module.
//!
//! Invariant: a thread that serves connections never waits for the log. It formats its line and appends it
//! to a bounded buffer ([`queue`]); one thread writes the buffer out. When that thread cannot keep up, lines
//! are dropped, counted and reported.
//!
//! Lines about single connections use the target [`CONNECTIONS`], so that `log.connections` can switch them
//! off and `log.modules` can filter them as module `connection`.

mod queue;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, reload};

use self::queue::{LineQueue, write_lines};
use crate::config::{Level, Log, LogFormat};

/// Target of the line that each connect and disconnect writes.
pub const CONNECTIONS: &str = "tercet::connection";

/// How long the end of the process waits for the last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Bytes of formatted lines that may wait for the writer; about fifty thousand lines, so that
/// a fleet that reconnects at once is logged completely.
const QUEUE_BYTES: usize = 8 << 20;

/// The running log. Dropping it writes what is left, for at most a second.
#[derive(Debug)]
pub struct Logging {
    queue: Arc<LineQueue>,
    filter: reload::Handle<Targets, Registry>,
    writer: Option<JoinHandle<()>>,
}

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The writer thread could not be created.
    #[error("cannot start the log writer: {0}")]
    Thread(#[from] io::Error),
    /// Another subscriber is installed in this process.
    #[error("a log subscriber is installed already")]
    Installed,
}

impl Logging {
    /// Sends the log of the whole process to stderr.
    ///
    /// # Errors
    /// Logging runs already, or its thread cannot be created.
    pub fn start(log: &Log) -> Result<Self, LoggingError> {
        let terminal = io::stderr().is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let json = match log.format {
            LogFormat::Auto => !terminal,
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        let (logging, subscriber) = Self::to(log, io::stderr(), Style { json, color })?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Installed)?;
        Ok(logging)
    }

    fn to(
        log: &Log,
        out: impl Write + Send + 'static,
        style: Style,
    ) -> Result<(Self, Box<dyn Subscriber + Send + Sync>), LoggingError> {
        let queue = Arc::new(LineQueue::new(QUEUE_BYTES));
        let (filter, handle) = reload::Layer::new(targets(log));
        let lines = Arc::clone(&queue);
        let format = tracing_subscriber::fmt::layer().with_writer(move || queue::Line(Arc::clone(&lines)));
        let base = tracing_subscriber::registry().with(filter);
        let subscriber: Box<dyn Subscriber + Send + Sync> = if style.json {
            let format = format.json().flatten_event(true).with_current_span(false).with_span_list(false);
            Box::new(base.with(format))
        } else {
            Box::new(base.with(format.with_ansi(style.color)))
        };
        let lines = Arc::clone(&queue);
        let writer = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&lines, out, style.json))?;
        Ok((Self { queue, filter: handle, writer: Some(writer) }, subscriber))
    }

    /// Applies changed levels. The format stays as it was.
    pub fn reconfigure(&self, log: &Log) {
        // Fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.filter.reload(targets(log));
    }

    /// Waits until every line so far is written; false when that takes longer than `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        self.queue.flush(limit)
    }

    /// Lines dropped since the start because the output was too slow.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.queue.close();
        // A blocked output must not keep the process from ending.
        if self.queue.flush(LAST_LINES)
            && let Some(writer) = self.writer.take()
        {
            let _ = writer.join();
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Style {
    json: bool,
    color: bool,
}

const fn level_filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Our own modules at the configured levels; libraries only from warnings on.
fn targets(log: &Log) -> Targets {
    let level = level_filter(log.level);
    let mut targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("tercet", level);
    if !log.connections {
        targets = targets.with_target(CONNECTIONS, LevelFilter::OFF);
    }
    for (module, level) in &log.modules.0 {
        for path in module_paths(module) {
            targets = targets.with_target(path, level_filter(*level));
        }
    }
    targets
}

/// What a module name of the configuration stands for: a full path itself, a short name the part of the
/// server and the crate of that name.
fn module_paths(module: &str) -> Vec<String> {
    if module.contains("::") || module.starts_with("tercet") {
        return vec![module.to_owned()];
    }
    vec![
        format!("tercet_server::{module}"),
        format!("tercet_{module}"),
        format!("tercet::{module}"),
        module.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tracing::{debug, info, warn};

    use super::*;
    use crate::config::ModuleLevels;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: &Log, json: bool, emit: impl FnOnce(&Logging)) -> String {
        let sink = Sink::default();
        let (logging, subscriber) = Logging::to(log, sink.clone(), Style { json, color: false }).unwrap();
        tracing::subscriber::with_default(subscriber, || emit(&logging));
        drop(logging);
        sink.text()
    }

    #[test]
    fn text_has_level_target_message_and_fields() {
        let text = logged(&Log::default(), false, |_| info!(target: CONNECTIONS, client = "a", "connected"));
        assert!(text.ends_with("Z  INFO tercet::connection: connected client=\"a\"\n"), "{text}");
    }

    #[test]
    fn json_is_one_flat_object_per_line() {
        let text = logged(&Log::default(), true, |_| {
            info!(target: CONNECTIONS, client = "a\nb", "connected");
            warn!(target: "tercet_server::mqtt", "second");
        });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["client"], "a\nb");
        assert_eq!(lines[0]["message"], "connected");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["target"], "tercet_server::mqtt");
    }

    #[test]
    fn levels_by_module_and_reload() {
        let mut log = Log { level: Level::Warn, ..Log::default() };
        log.modules.0.insert("mqtt".into(), Level::Debug);
        let text = logged(&log, false, |logging| {
            debug!(target: "tercet_server::mqtt", "one");
            debug!(target: "tercet_mqtt::codec", "two");
            debug!(target: "tercet_server::http", "HIDDEN");
            info!(target: "rustls", "HIDDEN");
            warn!(target: "rustls", "three");
            logging.reconfigure(&Log {
                level: Level::Info,
                modules: ModuleLevels::default(),
                ..Log::default()
            });
            debug!(target: "tercet_server::mqtt", "HIDDEN");
            info!(target: "tercet_server::http", "four");
            info!(target: "rustls", "HIDDEN");
            info!(target: CONNECTIONS, "five");
            logging.reconfigure(&Log { connections: false, ..Log::default() });
            info!(target: CONNECTIONS, "HIDDEN");
        });
        assert!(!text.contains("HIDDEN"), "{text}");
        for word in ["one", "two", "three", "four", "five"] {
            assert!(text.contains(&format!(": {word}\n")), "{word}: {text}");
        }
    }
}
