//! Where the broker is and who asks: the flags of every command that uses the control API.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::exit::{Exit, Failure};

const HEADING: &str = "Connection";

/// User and password of a broker without users, on the same machine.
const GUEST: &str = "guest";

/// A broker, and who asks it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<Tls>,
    pub(super) user: String,
    pub(super) password: String,
}

/// How its certificate is checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) authorities: Option<PathBuf>,
    pub(super) any_name: bool,
}

/// Adds the flags to a command.
pub(super) fn with_flags(command: Command) -> Command {
    let value = |name: &'static str, short: Option<char>, kind: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name(kind).help(help).help_heading(HEADING);
        match short {
            Some(short) => arg.short(short),
            None => arg,
        }
    };
    command
        .disable_help_flag(true)
        .arg(
            value("host", Some('h'), "HOST", "Broker [default: 127.0.0.1]; without a value: this help")
                .num_args(0..=1),
        )
        .arg(
            value("port", Some('p'), "PORT", "Port of HTTP [default: 15672, with TLS 15671]")
                .value_parser(value_parser!(u16).range(1..)),
        )
        .arg(
            value("url", Some('L'), "URL", "http[s]://[user:password@]host[:port]")
                .env("TERCET_API_URL")
                .hide_env_values(true),
        )
        .arg(value("username", Some('u'), "NAME", "User who asks [default: guest]").env("TERCET_USER"))
        .arg(
            value("password", Some('P'), "PASSWORD", "Password; without a value: asked for")
                .num_args(0..=1)
                .env("TERCET_PASSWORD")
                .hide_env_values(true),
        )
        .arg(
            value("cafile", None, "FILE", "Authorities to trust (PEM); means TLS")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("insecure")
                .long("insecure")
                .action(ArgAction::SetTrue)
                .help("Do not check the broker's name; means TLS")
                .help_heading(HEADING),
        )
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print this help"))
        .arg(crate::sources::json_flag("Print what the broker answers, as JSON"))
}

/// A bare `-h` asks for help.
pub(super) fn wants_help(matches: &ArgMatches) -> bool {
    matches.value_source("host") == Some(ValueSource::CommandLine)
        && matches.get_one::<String>("host").is_none()
}

/// What the flags say.
pub(super) fn of(matches: &ArgMatches) -> Result<Connection, Failure> {
    let text = |name| matches.get_one::<String>(name).map(String::as_str);
    let given = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    let mut connection = match text("url") {
        // What a flag says holds against an address from the environment.
        Some(url) if given("url") || !(given("host") || given("port")) => parse(url)?,
        _ => Connection {
            host: "127.0.0.1".to_owned(),
            port: 0,
            tls: None,
            user: GUEST.to_owned(),
            password: GUEST.to_owned(),
        },
    };
    if let Some(host) = text("host") {
        connection.host = host.to_owned();
    }
    if let Some(port) = matches.get_one::<u16>("port") {
        connection.port = *port;
    }
    let authorities = matches.get_one::<PathBuf>("cafile").cloned();
    if authorities.is_some() || matches.get_flag("insecure") {
        connection.tls = Some(Tls { authorities, any_name: matches.get_flag("insecure") });
    }
    if connection.port == 0 {
        connection.port = if connection.tls.is_some() { 15671 } else { 15672 };
    }
    if let Some(user) = text("username") {
        if connection.user != user {
            connection.password.clear();
        }
        connection.user = user.to_owned();
    }
    if let Some(password) = text("password") {
        connection.password = password.to_owned();
    } else if given("password") || connection.password.is_empty() {
        let asked = rpassword::prompt_password(format!("Password of {}: ", connection.user));
        connection.password =
            asked.map_err(|error| Failure::failed(format!("cannot read the password: {error}")))?;
    }
    if connection.user.contains(':') {
        return Err(Failure::failed("a user name with a colon cannot be sent").exit_with(Exit::Usage));
    }
    Ok(connection)
}

/// Reads `http[s]://[user:password@]host[:port]`.
fn parse(url: &str) -> Result<Connection, Failure> {
    let wrong = |why: &str| {
        Failure::failed(format!("not an address of the control API: {why}"))
            .hint("http://127.0.0.1:15672, or https://user:password@host")
            .exit_with(Exit::Usage)
    };
    let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (None, rest),
        (_, Some(rest)) => (Some(Tls::default()), rest),
        (None, None) => return Err(wrong("it begins with neither http:// nor https://")),
    };
    let (credentials, place) = match rest.trim_end_matches('/').rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest.trim_end_matches('/')),
    };
    if place.is_empty() || place.contains('/') {
        return Err(wrong("it has no host, or a path"));
    }
    // The colons of an IPv6 address stand between brackets.
    let (host, port) = match place.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong("its port is not a number"))?),
        None => (place, 0),
    };
    let (user, password) = match credentials {
        Some(credentials) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            let decoded =
                |text| decode(text).ok_or_else(|| wrong("user or password is not percent-encoded UTF-8"));
            (decoded(user)?, decoded(password)?)
        }
        None => (GUEST.to_owned(), GUEST.to_owned()),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Connection { host, port, tls, user, password })
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            u8::try_from(digit(bytes.next())? << 4 | digit(bytes.next())?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Connection, Failure> {
        let command = with_flags(Command::new("x").no_binary_name(true));
        of(&command.try_get_matches_from(args).unwrap())
    }

    #[test]
    fn flags_and_addresses_say_where_and_who() {
        let shown = |args: &[&str]| {
            let it = parsed(args).unwrap();
            format!("{} {} {} {}:{}", it.host, it.port, it.tls.is_some(), it.user, it.password)
        };
        let cases: [(&[&str], &str); 8] = [
            (&[], "127.0.0.1 15672 false guest:guest"),
            (&["-h", "b", "-p", "80"], "b 80 false guest:guest"),
            (&["-u", "ann", "-P", "p:w"], "127.0.0.1 15672 false ann:p:w"),
            (&["-L", "http://b"], "b 15672 false guest:guest"),
            (&["-L", "https://ann:a%40b%3A@b/"], "b 15671 true ann:a@b:"),
            (&["-L", "https://ann:x@[::1]:8443", "-P", "y"], "::1 8443 true ann:y"),
            (&["-L", "http://[::1]", "-p", "1"], "::1 1 false guest:guest"),
            (&["--insecure"], "127.0.0.1 15671 true guest:guest"),
        ];
        for (args, expected) in cases {
            assert_eq!(shown(args), expected, "{args:?}");
        }
        for url in ["mqtt://b", "http://", "http://b:x", "http://b/api", "http://%ff@b"] {
            assert_eq!(parsed(&["-L", url]).unwrap_err().exit(), Exit::Usage, "{url}");
        }
    }
}
