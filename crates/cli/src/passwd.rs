//! `tercet passwd`: creates, changes and deletes users in a password file.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;
use tercet_scram::DEFAULT_ITERATIONS;
use tercet_server::auth::password_file::{Change, HashChoice, ReadError};
use tercet_server::auth::{PasswordFile, Secret};

use crate::exit::{Exit, Failure};
use crate::output::{data, talk};
use crate::sources::json_flag;

/// Longest password: the longest binary field of MQTT.
const MAX_PASSWORD_BYTES: usize = 65_535;

/// The command line.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, short, help| {
        Arg::new(name).long(name).short(short).action(ArgAction::SetTrue).help(help)
    };
    Command::new("passwd")
        .about("Create, change and delete users in a password file")
        .long_about(
            "Creates, changes and deletes users in a password file.\n\nWithout --batch the password is asked for \
             twice on a terminal, or read from the first line of stdin. Passwords are stored as argon2id hashes; \
             files of Mosquitto are read and kept compatible.",
        )
        .after_help(
            "Examples:\n  tercet passwd users.txt alice\n  tercet passwd -b users.txt bob secret\n  \
             tercet passwd -D users.txt bob\n  tercet passwd --list users.txt",
        )
        .arg(Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)).help("Password file; created if it does not exist"))
        .arg(Arg::new("user").value_name("USER").required_unless_present("list").help("Name of the user"))
        .arg(Arg::new("password").value_name("PASSWORD").requires("batch").help("Password, with --batch"))
        .arg(flag("batch", 'b', "Take the password from the command line, where other users can see it").requires("password"))
        .arg(flag("create", 'c', "Begin a new file, dropping the users of an existing one").conflicts_with_all(["delete", "list"]))
        .arg(flag("delete", 'D', "Delete the user").conflicts_with_all(["batch", "list"]))
        .arg(flag("list", 'l', "List the users").conflicts_with_all(["batch", "user"]))
        .arg(Arg::new("no-scram").long("no-scram").action(ArgAction::SetTrue).help("Store no SCRAM-SHA-256 credentials"))
        .arg(json_flag("Print the list as JSON").requires("list"))
}

/// Runs it.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(path) = matches.get_one::<PathBuf>("file") else { return Ok(()) };
    if matches.get_flag("list") {
        return list(&read_file(path)?, matches.get_flag("json"));
    }
    let user = matches.get_one::<String>("user").map(String::as_str).unwrap_or_default();
    if matches.get_flag("delete") {
        return delete(path, user);
    }
    let mut file =
        if matches.get_flag("create") || !path.exists() { PasswordFile::default() } else { read_file(path)? };
    let password = match matches.get_one::<String>("password") {
        Some(password) => Secret::new(password.clone().into_bytes()),
        None => ask(user)?,
    };
    if password.expose().is_empty() || password.expose().len() > MAX_PASSWORD_BYTES {
        return Err(Failure::failed("a password has between 1 and 65535 bytes").exit_with(Exit::Usage));
    }
    let choice = HashChoice {
        scram_iterations: (!matches.get_flag("no-scram")).then_some(DEFAULT_ITERATIONS),
        ..HashChoice::default()
    };
    let change = file
        .set_password(user, &password, choice)
        .map_err(|error| Failure::failed(error.to_string()).exit_with(Exit::Usage))?;
    write_file(&file, path)?;
    let done = match change {
        Change::Added => "added",
        Change::Updated => "changed",
    };
    talk(&format!("{done} user {user} in {}", path.display()));
    Ok(())
}

fn read_file(path: &Path) -> Result<PasswordFile, Failure> {
    PasswordFile::read(path).map_err(|error| match error {
        ReadError::Io(error) => Failure::failed(format!("cannot read {}: {error}", path.display())),
        ReadError::Lines(lines) => {
            let lines: Vec<_> = lines.iter().map(|line| format!("{}: {line}", path.display())).collect();
            Failure::failed(lines.join("\nerror: ")).exit_with(Exit::BadConfiguration)
        }
    })
}

fn write_file(file: &PasswordFile, path: &Path) -> Result<(), Failure> {
    file.write(path).map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

fn list(file: &PasswordFile, json: bool) -> Result<(), Failure> {
    if json {
        let users: Vec<_> = file
            .users()
            .map(|(name, stored)| json!({"user": name, "scram": stored.scram.is_some()}))
            .collect();
        return data(&format!("{}\n", json!(users)));
    }
    data(&file.users().map(|(name, _)| format!("{name}\n")).collect::<String>())
}

fn delete(path: &Path, user: &str) -> Result<(), Failure> {
    let mut file = read_file(path)?;
    if !file.remove(user) {
        return Err(Failure::failed(format!("there is no user {user} in {}", path.display()))
            .hint(format!("to see who is: tercet passwd --list {}", path.display())));
    }
    write_file(&file, path)?;
    talk(&format!("deleted user {user} from {}", path.display()));
    Ok(())
}

/// Asks twice on a terminal; otherwise reads the first line of stdin.
/// Asks for a new password: twice on a terminal, else the first line of stdin.
pub(crate) fn ask(user: &str) -> Result<Secret, Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot read the password: {error}"));
    if !std::io::stdin().is_terminal() {
        let mut line = Vec::new();
        let stdin = std::io::stdin().lock();
        let limit = MAX_PASSWORD_BYTES as u64 + 2;
        std::io::Read::take(stdin, limit).read_until(b'\n', &mut line).map_err(cannot)?;
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        return Ok(Secret::new(line));
    }
    let first = rpassword::prompt_password(format!("Password for {user}: ")).map_err(cannot)?;
    let second = rpassword::prompt_password("Again: ").map_err(cannot)?;
    if first != second {
        return Err(Failure::failed("the passwords differ"));
    }
    Ok(Secret::new(first.into_bytes()))
}
