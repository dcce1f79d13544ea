//! Reading a configuration from its sources, in rising precedence: file, environment, flags.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{ConfigErrors, Origin, Origins, Problem};
use super::schema::Input;
use super::setting::{Fault, TomlValue, describe, quote};
use super::suggest::closest;
use super::{Config, Listener, check, tables};

/// Longest configuration file read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Most `[[listener]]` tables accepted.
const MAX_LISTENERS: usize = 1000;

/// A configuration file, already read.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name, for messages.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is larger than 4 MiB or is not UTF-8.
    pub fn read(path: PathBuf) -> Result<Self, ConfigErrors> {
        let refuse = |what: String, hint: Option<String>| {
            let problem = Problem { origin: Origin::Default, what, hint };
            ConfigErrors { file: Some(path.clone()), problems: vec![problem] }
        };
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_FILE_BYTES => return Err(refuse("larger than 4 MiB".into(), None)),
            _ => {}
        }
        match std::fs::read(&path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self { path, text }),
                Err(_) => Err(refuse("not UTF-8 text".into(), None)),
            },
            Err(error) => {
                let missing = error.kind() == std::io::ErrorKind::NotFound;
                let hint = missing.then(|| format!("create it with: tercet config init {}", path.display()));
                Err(refuse(format!("cannot read the file: {error}"), hint))
            }
        }
    }
}

/// A command line flag that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as typed, for messages (`--mqtt`).
    pub name: &'static str,
    /// The key that it sets (`listen.mqtt`); `log` takes a filter such as `info,mqtt=debug`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// Everything a configuration is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<File>,
    /// Environment variables; those that are not ours are ignored.
    pub env: Vec<(String, String)>,
    /// Flags of the command line.
    pub flags: Vec<Flag>,
}

/// A configuration and where its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where each value was set.
    pub origins: Origins,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Reads, merges, checks and resolves a configuration.
///
/// # Errors
/// Every mistake in every source, not only the first.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut loader = Loader::new();
    if let Some(file) = &sources.file {
        loader.file(&file.text);
    }
    loader.environment(&sources.env);
    for flag in &sources.flags {
        loader.text(flag.key, &flag.value, Origin::Flag(flag.name));
    }
    check::resolve(&mut loader.config, &loader.origins, &mut loader.problems);
    let file = sources.file.as_ref().map(|file| file.path.clone());
    if loader.problems.is_empty() {
        Ok(Loaded { config: loader.config, origins: loader.origins, file })
    } else {
        Err(ConfigErrors::new(file, loader.problems))
    }
}

/// Translates byte offsets of a text into lines and columns.
struct Lines<'a> {
    text: &'a str,
}

impl Lines<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

struct Loader {
    /// `listeners` holds only the `[[listener]]` tables until [`check::resolve`].
    config: Config,
    origins: Origins,
    problems: Vec<Problem>,
}

impl Loader {
    fn new() -> Self {
        let config = Config { listeners: Vec::new(), ..Config::default() };
        Self { config, origins: Origins::default(), problems: Vec::new() }
    }

    fn problem(&mut self, origin: Origin, what: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { origin, what: what.into(), hint });
    }

    fn file(&mut self, text: &str) {
        let lines = Lines { text };
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        let mut broken_lines = Vec::new();
        for error in syntax_errors {
            let origin = lines.origin(error.span().map_or(0, |span| span.start));
            if let Origin::File { line, .. } = origin {
                // A second complaint about the same line is an echo of the first.
                if broken_lines.contains(&line) {
                    continue;
                }
                broken_lines.push(line);
            }
            self.problem(origin, syntax_message(error.message(), text, error.span()), None);
        }
        let before = self.problems.len();
        for (key, value) in root.get_ref() {
            self.root_key(&lines, key, value);
        }
        let is_echo = |problem: &Problem| match problem.origin {
            Origin::File { line, .. } => broken_lines.contains(&line),
            _ => false,
        };
        let mut found = self.problems.split_off(before);
        found.retain(|problem| !is_echo(problem));
        self.problems.append(&mut found);
    }

    fn root_key(
        &mut self,
        lines: &Lines<'_>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &TomlValue<'_>,
    ) {
        let name = key.get_ref().as_ref();
        match (name, value.get_ref()) {
            ("listener", DeValue::Array(items)) if items.len() > MAX_LISTENERS => {
                self.problem(
                    lines.origin(key.span().start),
                    format!("more than {MAX_LISTENERS} listeners"),
                    None,
                );
            }
            ("listener", DeValue::Array(items)) => {
                for item in items {
                    self.listener(lines, item);
                }
            }
            ("listener", other) => {
                let what = format!("listener: expected a list of tables, found {}", describe(other));
                self.problem(
                    lines.origin(key.span().start),
                    what,
                    Some("write [[listener]] in double brackets".into()),
                );
            }
            (name, DeValue::Table(table)) if tables::is_section(name) => self.table(lines, name, table),
            (name, other) if tables::is_section(name) => {
                let what = format!("{name}: expected a table, found {}", describe(other));
                let hint = match (name, other) {
                    ("mqtt", DeValue::String(address)) => {
                        format!("an address goes under [listen]: mqtt = {}", quote(address))
                    }
                    _ => format!("write [{name}] on a line of its own and its keys below"),
                };
                self.problem(lines.origin(key.span().start), what, Some(hint));
            }
            (name, other) => {
                let (what, hint) = match other {
                    DeValue::Table(_) | DeValue::Array(_) => unknown_section(name),
                    _ => unknown_key(name, "", Vec::new()),
                };
                self.problem(lines.origin(key.span().start), what, hint);
            }
        }
    }

    fn listener(&mut self, lines: &Lines<'_>, item: &TomlValue<'_>) {
        let path = format!("listener.{}", self.config.listeners.len());
        let DeValue::Table(table) = item.get_ref() else {
            let what = format!("listener: expected a table, found {}", describe(item.get_ref()));
            self.problem(lines.origin(item.span().start), what, None);
            return;
        };
        self.config.listeners.push(Listener::default());
        self.origins.set(path.clone(), lines.origin(item.span().start));
        self.table(lines, &path, table);
    }

    fn table(&mut self, lines: &Lines<'_>, path: &str, table: &DeTable<'_>) {
        if path == "tls" || path.ends_with(".tls") || path.ends_with(".redirect") {
            let first = table.keys().map(|key| key.span().start).min();
            self.origins.set(path.to_owned(), first.map_or(Origin::Default, |offset| lines.origin(offset)));
            tables::find(&mut self.config, path);
        }
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let nested = path.starts_with("listener.")
                && matches!(name, "tls" | "redirect")
                && path.split('.').count() == 2;
            let full = format!("{path}.{name}");
            match value.get_ref() {
                DeValue::Table(inner) if nested => self.table(lines, &full, inner),
                other if nested => {
                    let what = format!("{name}: expected a table, found {}", describe(other));
                    let hint = format!("write [listener.{name}] below its [[listener]]");
                    self.problem(lines.origin(value.span().start), what, Some(hint));
                }
                _ => {
                    let at = (lines.origin(key.span().start), lines.origin(value.span().start));
                    let fault_at = |span: std::ops::Range<usize>| lines.origin(span.start);
                    self.set(path, name, Input::Toml(value), at, &fault_at);
                }
            }
        }
    }

    /// Sets one key and records where, or why not. `at` is the place of the key and of its value.
    fn set(
        &mut self,
        path: &str,
        key: &str,
        input: Input<'_>,
        at: (Origin, Origin),
        fault_at: &dyn Fn(std::ops::Range<usize>) -> Origin,
    ) {
        let Some(table) = tables::find(&mut self.config, path) else { return };
        match table.set(key, input) {
            Some(Ok(())) => {}
            Some(Err(Fault { what, hint, span })) => {
                let origin = span.map_or(at.1, fault_at);
                self.problem(origin, format!("{key}: {what}"), hint);
            }
            None => {
                let known = table.entries().into_iter().map(|entry| entry.key).collect();
                let (what, hint) = unknown_key(key, path, known);
                self.problem(at.0, what, hint);
                return;
            }
        }
        self.origins.set(format!("{path}.{key}"), at.0);
    }

    fn environment(&mut self, env: &[(String, String)]) {
        let mut ours: Vec<_> = env.iter().filter(|(name, _)| name.starts_with("TERCET_")).collect();
        // Shorter first, so that TERCET_LISTENER__9 comes before TERCET_LISTENER__10; TERCET_LOG before
        // the keys that refine it.
        ours.sort_by_key(|(name, _)| (name.split("__").nth(1).map_or(0, str::len), name.as_str()));
        for (name, value) in ours {
            if name == "TERCET_LOG" {
                self.text("log", value, Origin::Env(name.clone()));
            }
            let Some(rest) = name.strip_prefix("TERCET_").filter(|rest| rest.contains("__")) else {
                continue;
            };
            let key = rest.split("__").map(|part| part.to_ascii_lowercase().replace('_', "-"));
            self.text(&key.collect::<Vec<_>>().join("."), value, Origin::Env(name.clone()));
        }
    }

    /// Sets `full_key` from text: an environment variable or a flag.
    fn text(&mut self, full_key: &str, value: &str, origin: Origin) {
        if full_key == "log" {
            match self.config.log.set_filter(value) {
                Ok(()) => self.origins.set("log.level".into(), origin),
                Err(fault) => self.problem(origin, fault.what, fault.hint),
            }
            return;
        }
        let Some((path, key)) = full_key.rsplit_once('.') else {
            self.problem(origin, format!("unknown key {}", quote(full_key)), None);
            return;
        };
        if let Some(what) = self.make_room(path) {
            self.problem(origin, what, Some("tables are numbered from 0, without gaps".into()));
            return;
        }
        if tables::find(&mut self.config, path).is_none() {
            let (what, hint) = unknown_section(path);
            self.problem(origin, what, hint);
            return;
        }
        if path == "tls" || path.ends_with(".tls") || path.ends_with(".redirect") {
            self.origins.set(path.to_owned(), origin.clone());
        }
        let fault_at = |_| origin.clone();
        self.set(path, key, Input::Text(value), (origin.clone(), origin.clone()), &fault_at);
    }

    /// Adds the listener that `path` names when it is the next one; says why not when it is beyond.
    fn make_room(&mut self, path: &str) -> Option<String> {
        let index = path.strip_prefix("listener.")?.split('.').next()?;
        let count = self.config.listeners.len();
        match index.parse::<usize>() {
            Ok(index) if index < count => None,
            Ok(index) if index == count && count < MAX_LISTENERS => {
                self.config.listeners.push(Listener::default());
                None
            }
            Ok(index) => Some(format!("listener {index} does not exist: there are {count}")),
            Err(_) => Some(format!("{} is not the number of a listener", quote(index))),
        }
    }
}

/// The parser's message, except where it speaks of strings or numbers that the writer did not mean.
fn syntax_message(message: &str, text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let rest = span.and_then(|span| text.get(span.start..)).unwrap_or_default();
    if message.starts_with("string values must be quoted") || message.starts_with("invalid float") {
        let word: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || "-_./:".contains(*c)).take(40).collect();
        if rest.is_empty() || rest.starts_with(['\n', '\r', '#']) {
            return "syntax error: the value is missing".into();
        }
        if word.starts_with(char::is_alphabetic) {
            return format!("syntax error: text stands in quotes: {}", quote(&word));
        }
    }
    format!("syntax error: {message}")
}

fn unknown_section(name: &str) -> (String, Option<String>) {
    let mut what = format!("unknown table [{name}]");
    if let Some(known) = closest(name, tables::SECTIONS.iter().copied()) {
        what.push_str(&format!("; did you mean [{known}]?"));
    }
    (what, None)
}

/// Message and hint for a key that the table at `path` does not have ("" is the root).
fn unknown_key(key: &str, path: &str, known: Vec<String>) -> (String, Option<String>) {
    let display = tables::display(path);
    let mut what = match path {
        "" => format!("unknown key {} outside of a table", quote(key)),
        _ => format!("unknown key {} in {display}", quote(key)),
    };
    if let Some(known) = closest(key, known.iter().map(String::as_str)) {
        what.push_str(&format!("; did you mean {}?", quote(known)));
        return (what, None);
    }
    let homes = tables::homes_of(key);
    let hint = (!homes.is_empty()).then(|| format!("{} belongs to {}", quote(key), homes.join(" or ")));
    (what, hint)
}

#[cfg(test)]
mod tests;
