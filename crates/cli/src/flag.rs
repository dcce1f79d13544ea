//! Flags of the command line in the few forms that commands for clients have.

use clap::{Arg, ArgAction};

/// A flag with a value, shown as `what` in the help.
pub(crate) fn value(
    id: &'static str,
    short: Option<char>,
    name: &'static str,
    what: &'static str,
    help: &'static str,
) -> Arg {
    let arg = Arg::new(id).long(name).value_name(what).help(help);
    short.into_iter().fold(arg, Arg::short)
}

/// A flag without a value, and without a letter.
pub(crate) fn long(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}
