//! `tercet coap`: a CoAP client with the flags of libcoap's `coap-client`, and a small server.
//!
//! [`flags`] is the command line, `settings` what it means, `connection` the client that comes of it. `exchange` makes one
//! request, `observer` follows a resource, `discoverer` lists resources, `pinger` asks for signs of life, `file_server`
//! serves. `show` prints, and `exit` says how it ended.

mod connection;
mod discoverer;
mod exchange;
mod exit;
mod file_server;
mod flags;
mod format;
mod observer;
mod pinger;
mod settings;
mod show;

use crate::interrupt::interrupted;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use exit::Outcome;
use settings::{Job, Settings};

/// The command line.
pub(crate) fn command() -> Command {
    flags::command()
}

/// Runs what clap matched.
pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else { return exit::usage("", "no such command") };
    match Settings::understand(name, matches) {
        Ok(settings) => execute(&settings),
        Err(text) => exit::usage(name, &text),
    }
}

fn execute(settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::finish(Outcome::Failed(format!("cannot start: {error}"))),
    };
    let outcome = runtime.block_on(async {
        // An observation says goodbye to the server before it ends; anything else just ends.
        if let Job::Observe(job) = &settings.job {
            return observer::run(settings, job).await;
        }
        tokio::select! {
            outcome = work(settings) => outcome,
            () = interrupted() => Outcome::Interrupted,
        }
    });
    exit::finish(outcome)
}

async fn work(settings: &Settings) -> Outcome {
    match &settings.job {
        Job::Request(job) => exchange::run(settings, job).await,
        Job::Observe(job) => observer::run(settings, job).await,
        Job::Discover(job) => discoverer::run(settings, job).await,
        Job::Ping(count) => pinger::run(settings, *count).await,
        Job::Serve(job) => file_server::run(job).await,
    }
}
