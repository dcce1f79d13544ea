//! The tables of the configuration file by name.

use super::schema::{Entry, Section, Table};
use super::{Amqp, Auth, Coap, Config, Limits, Listen, Listener, Log, Mqtt, Redirect, Server, Tls};

/// Tables at the root of the file; `listener` is a list of tables.
pub const SECTIONS: &[&str] =
    &["server", "listen", "tls", "listener", "limits", "mqtt", "amqp", "coap", "auth", "log"];

/// Whether the root of the file may hold the single table `name`.
pub(super) fn is_section(name: &str) -> bool {
    name != "listener" && SECTIONS.contains(&name)
}

/// The table at `path` (`limits`, `listener.0`, `listener.0.tls`); optional ones are created. `None` when
/// there is no such table.
pub(super) fn find<'c>(config: &'c mut Config, path: &str) -> Option<&'c mut dyn Table> {
    Some(match path {
        "server" => &mut config.server,
        "listen" => &mut config.listen,
        "tls" => config.tls.get_or_insert_default(),
        "limits" => &mut config.limits,
        "mqtt" => &mut config.mqtt,
        "amqp" => &mut config.amqp,
        "coap" => &mut config.coap,
        "auth" => &mut config.auth,
        "log" => &mut config.log,
        _ => {
            let mut parts = path.strip_prefix("listener.")?.split('.');
            let listener = config.listeners.get_mut(parts.next()?.parse::<usize>().ok()?)?;
            match (parts.next(), parts.next()) {
                (None, _) => listener,
                (Some("tls"), None) => listener.tls.get_or_insert_default(),
                (Some("redirect"), None) => listener.redirect.get_or_insert_default(),
                _ => return None,
            }
        }
    })
}

/// The path as the file writes it: `[[listener]]`, `[listener.tls]`, `[limits]`.
pub(super) fn display(path: &str) -> String {
    let parts: Vec<_> = path.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    match parts.as_slice() {
        ["listener"] => "[[listener]]".into(),
        parts => format!("[{}]", parts.join(".")),
    }
}

/// A table with its name, documentation and default values.
pub struct Described {
    /// Name as in [`Section::PATH`].
    pub path: &'static str,
    /// Documentation, one entry per line.
    pub doc: &'static [&'static str],
    /// Keys with their defaults.
    pub entries: Vec<Entry>,
    /// Whether the file writes it as often as needed, or not at all unless wanted.
    pub optional: bool,
}

fn describe<S: Section>(path: &'static str, optional: bool) -> Described {
    Described { path, doc: S::DOC, entries: S::default().entries(), optional }
}

/// Every table with its defaults, in the order of the documentation.
pub fn all() -> Vec<Described> {
    vec![
        describe::<Server>(Server::PATH, false),
        describe::<Listen>(Listen::PATH, false),
        describe::<Limits>(Limits::PATH, false),
        describe::<Mqtt>(Mqtt::PATH, false),
        describe::<Amqp>(Amqp::PATH, false),
        describe::<Coap>(Coap::PATH, false),
        describe::<Auth>(Auth::PATH, false),
        describe::<Log>(Log::PATH, false),
        describe::<Tls>(Tls::PATH, true),
        describe::<Listener>(Listener::PATH, true),
        describe::<Tls>("listener.tls", true),
        describe::<Redirect>(Redirect::PATH, true),
    ]
}

/// The tables that have a key of this name, as the file writes them.
pub(super) fn homes_of(key: &str) -> Vec<String> {
    let key = key.replace('_', "-");
    let has = |table: &Described| table.entries.iter().any(|entry| entry.key == key);
    all().iter().filter(|table| has(table)).map(|table| display(table.path)).collect()
}

/// The tables of a configuration with their current values: path (`listener.0.tls`) and entries.
/// `listeners` are the ones to show.
pub fn current(config: &Config, listeners: &[Listener]) -> Vec<(String, Vec<Entry>)> {
    let mut tables = vec![
        (Server::PATH.to_owned(), config.server.entries()),
        (Listen::PATH.to_owned(), config.listen.entries()),
        (Limits::PATH.to_owned(), config.limits.entries()),
        (Mqtt::PATH.to_owned(), config.mqtt.entries()),
        (Amqp::PATH.to_owned(), config.amqp.entries()),
        (Coap::PATH.to_owned(), config.coap.entries()),
        (Auth::PATH.to_owned(), config.auth.entries()),
        (Log::PATH.to_owned(), config.log.entries()),
    ];
    tables.extend(config.tls.iter().map(|tls| (Tls::PATH.to_owned(), tls.entries())));
    for (i, listener) in listeners.iter().enumerate() {
        tables.push((format!("listener.{i}"), listener.entries()));
        tables.extend(listener.tls.iter().map(|tls| (format!("listener.{i}.tls"), tls.entries())));
        tables.extend(listener.redirect.iter().map(|to| (format!("listener.{i}.redirect"), to.entries())));
    }
    tables
}
