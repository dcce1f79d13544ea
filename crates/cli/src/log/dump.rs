//! `tercet log dump`: the records of a log, one line each.

use std::io::{self, BufWriter, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value};
use tercet_log::inspect::{Item, check};
use tercet_log::local::META_SHARD;
use tercet_log::position::Position;
use tercet_log::record::Records;

use super::record::{CHECKPOINT_KINDS, Described, KINDS, describe, describe_checkpoint};
use super::survey::{Names, place_name};
use super::{directory_argument, failure, open};
use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::sources::json_flag;

/// The command line.
pub(super) fn command() -> Command {
    let kinds = KINDS.iter().map(|(_, name)| *name).chain(CHECKPOINT_KINDS).chain(["unknown"]);
    Command::new("dump")
        .about("Print the records of the log, one line each")
        .long_about(
            "Prints the records of the log, one line each: first those of the checkpoint, then those of the log, oldest \
             first. A place is the position of a batch and the offset in it.\n\nExit code 1 if something could not be read; \
             everything else is printed.",
        )
        .after_help(
            "Examples:\n  tercet log dump --kind enqueued,settled\n  \
             tercet log dump --json /var/lib/tercet | jq 'select(.client == \"sensor-7\")'",
        )
        .arg(directory_argument())
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(PossibleValuesParser::new(kinds))
                .hide_possible_values(true)
                .help("Only records of these kinds, separated by commas"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("POSITION")
                .value_parser(position)
                .help("Only batches at or behind this position, such as 0x40; without the checkpoint"),
        )
        .arg(
            Arg::new("payload")
                .long("payload")
                .value_name("BYTES")
                .value_parser(value_parser!(usize))
                .default_value("64")
                .help("Show so many bytes of each payload"),
        )
        .arg(json_flag("Print a JSON object for each record"))
}

fn position(text: &str) -> Result<Position, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map(Position::new).map_err(|error| error.to_string())
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let data = open(matches)?;
    let mut printer = Printer {
        kinds: matches.get_many::<String>("kind").map(|kinds| kinds.cloned().collect()),
        from: matches.get_one::<Position>("from").copied(),
        payload: matches.get_one::<usize>("payload").copied().unwrap_or(64),
        json: matches.get_flag("json"),
        out: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
        names: Names::default(),
        unreadable: 0,
        written: Ok(()),
    };
    let logs = data.logs().map_err(|error| failure(&error))?;
    let mut damaged = 0;
    for (dir, shard) in logs.into_iter().filter(|(_, shard)| *shard != META_SHARD) {
        let report = check(&data.disk(), &dir, shard, &mut |item| printer.item(item));
        let report = report.map_err(|error| failure(&error))?;
        for damage in &report.damage {
            talk(&format!(
                "error: {} is damaged at offset {}: {}",
                data.path().join(&damage.path).display(),
                damage.offset,
                damage.reason
            ));
        }
        damaged += report.damage.len();
    }
    let unreadable = printer.finish()?;
    if damaged + unreadable > 0 { Err(Failure::Reported(Exit::Failed)) } else { Ok(()) }
}

struct Printer<W: Write> {
    kinds: Option<Vec<String>>,
    from: Option<Position>,
    payload: usize,
    json: bool,
    out: W,
    names: Names,
    unreadable: usize,
    written: io::Result<()>,
}

impl<W: Write> Printer<W> {
    fn item(&mut self, item: Item<'_>) {
        let (part, batch, payload) = match item {
            Item::Part { number, payload } => (Some(number), Position::NONE, payload),
            Item::Batch { position, payload, .. } => (None, position, payload),
        };
        // Whoever read the output may have gone away.
        if self.written.is_err() {
            return;
        }
        let is_wanted = self.from.is_none_or(|from| part.is_none() && batch >= from);
        for raw in Records::new(payload) {
            let (offset, mut described) = match raw {
                Ok(raw) if part.is_some() => (raw.offset, describe_checkpoint(&raw)),
                Ok(raw) => (raw.offset, describe(&raw, batch, self.payload)),
                Err(error) => {
                    let problem = Some(error.to_string());
                    (error.offset, Described { kind: "unknown", fields: Vec::new(), problem })
                }
            };
            self.names.learn(&described);
            self.unreadable += usize::from(described.problem.is_some());
            if !is_wanted {
                continue;
            }
            if described.field("client").is_none()
                && let Some(client) = self.names.of(&described)
            {
                described.fields.insert(1, ("client", client.into()));
            }
            if self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| kind == described.kind)) {
                let place = place_name(part, batch, offset);
                let line =
                    if self.json { json_line(place, described) } else { text_line(&place, &described) };
                self.written = writeln!(self.out, "{line}");
                if self.written.is_err() {
                    return;
                }
            }
        }
    }

    fn finish(mut self) -> Result<usize, Failure> {
        match self.written.and_then(|()| self.out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(self.unreadable),
        }
    }
}

fn json_line(place: String, described: Described) -> String {
    let mut object = Map::new();
    object.insert("place".into(), place.into());
    object.insert("kind".into(), described.kind.into());
    object.extend(described.fields.into_iter().map(|(name, value)| (name.replace('-', "_"), value)));
    if let Some(problem) = described.problem {
        object.insert("problem".into(), problem.into());
    }
    Value::Object(object).to_string()
}

fn text_line(place: &str, described: &Described) -> String {
    let mut line = format!("{place:<18} {:<16}", described.kind);
    for (name, value) in &described.fields {
        line.push_str(&match value {
            // A place reads better without quotes; all other text may hold anything.
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') => {
                format!(" {name}={text}")
            }
            other => format!(" {name}={other}"),
        });
    }
    if let Some(problem) = &described.problem {
        line.push_str(&format!(" ! {problem}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn positions_are_hexadecimal_or_decimal() {
        assert_eq!(position("0x40"), Ok(Position::new(64)));
        assert_eq!(position("64"), Ok(Position::new(64)));
        assert!(position("x").is_err() && position("0x").is_err());
    }

    #[test]
    fn text_that_could_break_a_line_is_quoted() {
        let fields = vec![("topic", json!("a/b")), ("payload", json!("two\nlines")), ("qos", json!(1))];
        let described = Described { kind: "message", fields, problem: None };
        let line = text_line("0x40+0", &described);
        assert_eq!(line, "0x40+0             message          topic=a/b payload=\"two\\nlines\" qos=1");
    }
}
