//! Where a command finds the configuration: the file, the environment, its flags.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use tercet_server::config::{ConfigErrors, File, Flag, Sources};

/// The file that is used when it exists and none is named.
pub(crate) const DEFAULT_FILE: &str = "tercet.toml";

/// `--json`.
pub(crate) fn json_flag(help: &'static str) -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help(help)
}

/// A positional `[FILE]` naming the configuration.
pub(crate) fn file_argument(help: &'static str) -> Arg {
    Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}

/// The file that `argument` names, else `TERCET_CONFIG`, else `tercet.toml` if it exists.
pub(crate) fn file_name(matches: &ArgMatches, argument: &str) -> Option<PathBuf> {
    let named = matches.get_one::<PathBuf>(argument).cloned();
    let from_env = || std::env::var_os("TERCET_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
    let present = || Path::new(DEFAULT_FILE).is_file().then(|| PathBuf::from(DEFAULT_FILE));
    named.or_else(from_env).or_else(present)
}

/// Reads the file and the environment.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(file: Option<PathBuf>, flags: Vec<Flag>) -> Result<Sources, ConfigErrors> {
    let file = file.map(File::read).transpose()?;
    // Names and values that are not UTF-8 are not ours.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("TERCET_"))
        .collect();
    Ok(Sources { file, env, flags })
}
