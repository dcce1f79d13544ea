//! `tercet status`

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::api::{Api, print, shown};
use super::connection;
use crate::exit::Failure;

/// The command line.
pub(super) fn command() -> Command {
    connection::with_flags(Command::new("status").about("Ask a running broker how it is"))
        .after_help("Examples:\n  tercet status\n  tercet status --json | jq .connections")
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    let status = api.get("status")?;
    print(matches, &status, people)?;
    if status.get("ready") == Some(&Value::Bool(false)) {
        return Err(Failure::failed("the broker is not ready"));
    }
    Ok(())
}

fn people(status: &Value) -> String {
    let value = |name: &str| shown(status.pointer(name).unwrap_or(&Value::Null));
    let mut text = String::new();
    let state = if status.get("ready") == Some(&Value::Bool(true)) { "ready" } else { "NOT READY" };
    let uptime = status.get("uptime_seconds").and_then(Value::as_u64).unwrap_or_default();
    let _ = writeln!(
        text,
        "{} {}  pid {}  up {}  {state}",
        value("/product"),
        value("/version"),
        value("/pid"),
        duration(uptime)
    );
    for reason in status.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(text, "  ! {}", shown(reason));
    }
    for listener in status.get("listeners").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| shown(listener.get(name).unwrap_or(&Value::Null));
        let _ = writeln!(text, "  {:<14} {} connections", of("name"), of("connections"));
    }
    let memory = status.get("memory_bytes").and_then(Value::as_u64);
    let memory =
        memory.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
    for (name, shown) in [
        ("memory", memory),
        ("sessions", value("/sessions")),
        ("subscriptions", value("/subscriptions")),
        ("retained", value("/retained")),
        ("in sessions", value("/session_messages")),
        ("queues", value("/queues")),
        ("in queues", value("/queue_messages")),
        ("consumers", value("/consumers")),
    ] {
        let _ = writeln!(text, "  {name:<14} {shown}");
    }
    text
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
