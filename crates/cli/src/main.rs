//! The `tercet` program: the broker and the tools around it.
//!
//! Each command lives in a module of its own with `command()`, its command line, and `run()`. Results go to
//! stdout, everything else to stderr; [`exit`] has the exit codes.

mod allocator;
mod backup;
mod coap;
mod commands;
mod config;
mod control;
mod exit;
mod flag;
mod interrupt;
mod log;
mod manual;
mod output;
mod passwd;
mod pubsub;
mod serve;
mod sources;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let by_name = args.split_first().and_then(|(name, rest)| pubsub::multicall(name, rest.iter().cloned()));
    by_name.unwrap_or_else(|| commands::run(args))
}
