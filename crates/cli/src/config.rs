//! `tercet config init | check | show`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use tercet_server::config::{ConfigErrors, Loaded, Origin, Problem, check, document, load, show};

use crate::exit::{Exit, Failure};
use crate::output::{data, talk};
use crate::sources::{DEFAULT_FILE, file_argument, file_name, json_flag, read};

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("config")
        .about("Write, check or show the configuration")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("init")
                .about("Write a file with every key, its meaning and its default")
                .arg(file_argument("File to write [default: tercet.toml]; - for stdout"))
                .arg(
                    Arg::new("force")
                        .long("force")
                        .action(ArgAction::SetTrue)
                        .help("Replace the file if it exists"),
                ),
        )
        .subcommand(
            Command::new("check")
                .about("Report every mistake, with its place")
                .arg(file_argument("File to check [default: $TERCET_CONFIG, or tercet.toml if it exists]"))
                .arg(json_flag("Report as JSON")),
        )
        .subcommand(
            Command::new("show")
                .about("Print the values in effect")
                .arg(file_argument("File to read [default: $TERCET_CONFIG, or tercet.toml if it exists]"))
                .arg(
                    Arg::new("origin")
                        .long("origin")
                        .action(ArgAction::SetTrue)
                        .help("Say where each value was set"),
                )
                .arg(json_flag("Print as JSON")),
        )
}

/// Runs it.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("init", matches)) => {
            let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_else(|| DEFAULT_FILE.into());
            init(&file, matches.get_flag("force"))
        }
        Some(("check", matches)) => check_file(file_name(matches, "file"), matches.get_flag("json")),
        Some(("show", matches)) => {
            let loaded = load_file(file_name(matches, "file"))?;
            let origin = matches.get_flag("origin");
            data(&if matches.get_flag("json") {
                format!("{:#}\n", show::to_json(&loaded, origin))
            } else {
                show::to_toml(&loaded, origin)
            })
        }
        _ => Err(Failure::Reported(Exit::Usage)),
    }
}

fn init(file: &Path, force: bool) -> Result<(), Failure> {
    let text = document::commented_file();
    if file == Path::new("-") {
        return data(&text);
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!force);
    let written = options.open(file).and_then(|mut out| out.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            talk(&format!("wrote {}: every key with its default, commented out", file.display()));
            talk(&format!("try:  tercet config check {0}      tercet serve --config {0}", file.display()));
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::failed(format!("{} exists already", file.display()))
                .hint(format!("to replace it: tercet config init --force {}", file.display())))
        }
        Err(error) => Err(Failure::failed(format!("cannot write {}: {error}", file.display()))),
    }
}

fn load_file(file: Option<PathBuf>) -> Result<Loaded, ConfigErrors> {
    load(&read(file, Vec::new())?)
}

/// Loads the configuration and checks that the files it names can be read.
pub(crate) fn complete(loaded: Loaded) -> Result<Loaded, ConfigErrors> {
    let unreadable = check::unreadable_files(&loaded.config);
    if unreadable.is_empty() {
        return Ok(loaded);
    }
    let problem = |(key, what): (String, String)| {
        let origin = loaded.origins.of(&key);
        Problem { origin, what: format!("{key}: {what}"), hint: None }
    };
    Err(ConfigErrors { problems: unreadable.into_iter().map(problem).collect(), file: loaded.file })
}

fn check_file(file: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let name =
        file.as_ref().map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    match load_file(file).and_then(complete) {
        Ok(loaded) => {
            let listeners = &loaded.config.listeners;
            if json {
                let names: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
                return data(&format!(
                    "{}\n",
                    json!({"ok": true, "file": name, "listeners": names, "problems": []})
                ));
            }
            let list: Vec<_> =
                listeners.iter().map(|listener| format!("{} {}", listener.name, listener.bind)).collect();
            data(&format!("ok: {name}: {}\n", list.join(", ")))
        }
        Err(errors) if json => {
            let problems: Vec<_> =
                errors.problems.iter().map(|problem| problem_json(&errors, problem)).collect();
            data(&format!("{}\n", json!({"ok": false, "file": name, "problems": problems})))?;
            Err(Failure::Reported(Exit::BadConfiguration))
        }
        Err(errors) => {
            let count = errors.problems.len();
            talk(&errors.to_string());
            talk(&format!("{count} {} in {name}", if count == 1 { "mistake" } else { "mistakes" }));
            Err(Failure::Reported(Exit::BadConfiguration))
        }
    }
}

fn problem_json(errors: &ConfigErrors, problem: &Problem) -> Value {
    let mut object = json!({
        "where": problem.origin.describe(errors.file.as_deref()),
        "what": problem.what,
        "hint": problem.hint,
    });
    if let Origin::File { line, column } = problem.origin {
        object["line"] = line.into();
        object["column"] = column.into();
    }
    object
}
