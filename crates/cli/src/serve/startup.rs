//! What a start prints: the broker, its listeners, who may connect, and what to do next.

use std::fmt::Write as _;

use tercet_server::BoundListener;
use tercet_server::config::{Anonymous, Config, Durability, Loaded, Protocol};
use tercet_server::storage::Recovery;

use super::users::Users;

/// The start-up block, without the `ready` line.
pub(super) fn block(
    loaded: &Loaded,
    recovery: Option<&Recovery>,
    listeners: &[BoundListener],
    users: &Users,
) -> String {
    let config = &loaded.config;
    let mut text = format!("tercet {}  pid {}  ", env!("CARGO_PKG_VERSION"), std::process::id());
    match config.server.durability {
        Durability::Memory => text.push_str("in memory  "),
        Durability::Fsync | Durability::Os => {
            let _ = write!(text, "data {}  ", config.server.data.display());
        }
    }
    match &loaded.file {
        Some(file) => writeln!(text, "config: {}", file.display()),
        None => writeln!(text, "config: built-in defaults"),
    }
    .unwrap_or_default();
    for listener in listeners {
        let _ = writeln!(text, "  {:<6} {}", listener.name, addresses(config, listener));
    }
    let _ = writeln!(text, "  {:<6} {}", "auth", who(config, users));
    if let Some(recovery) = recovery {
        let _ = writeln!(text, "  {:<6} {}", "state", found(recovery));
    }
    match config.server.durability {
        Durability::Memory => text.push_str(
            "  ! Sessions and messages are in memory only: a restart forgets them. To keep them: tercet serve --data DIR\n",
        ),
        Durability::Os => text.push_str(
            "  ! Acknowledged messages do not survive a power cut. To wait for the disk: durability = \"fsync\"\n",
        ),
        Durability::Fsync => {}
    }
    warnings(&mut text, config, users);
    text
}

/// The address of a listener with everything that can be reached through it.
fn addresses(config: &Config, listener: &BoundListener) -> String {
    let address = &listener.address;
    let configured = config.listeners.iter().find(|one| one.name == listener.name);
    let path = configured.map_or("/mqtt", |one| one.websocket_path.as_str());
    let secure = if listener.tls { "s" } else { "" };
    match listener.protocol {
        Protocol::Mqtt | Protocol::Amqp if listener.tls => format!("{address} (TLS)"),
        Protocol::Mqtt | Protocol::Amqp => address.clone(),
        Protocol::Coap if listener.tls => format!("{address}/udp (DTLS)"),
        Protocol::Coap => format!("{address}/udp"),
        Protocol::CoapTcp if listener.tls => format!("{address} (TLS)"),
        Protocol::CoapTcp => address.clone(),
        Protocol::Http => format!("http{secure}://{address}  ws{secure}://{address}{path}"),
        Protocol::Ws => format!("ws{secure}://{address}{path}"),
    }
}

/// What the data directory held.
fn found(recovery: &Recovery) -> String {
    if recovery.sessions + recovery.queues + recovery.queued + recovery.retained == 0 {
        return "nothing stored yet".to_owned();
    }
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let queues = match recovery.queues {
        0 => String::new(),
        queues => format!(", {}", plural(queues, "queue")),
    };
    format!(
        "{}{queues}, {} queued, {} retained, read in {} ms",
        plural(recovery.sessions, "session"),
        plural(recovery.queued, "message"),
        recovery.retained,
        recovery.took.as_millis()
    )
}

fn who(config: &Config, users: &Users) -> String {
    let anonymous = |wanted| config.listeners.iter().any(|listener| config.anonymous(listener) == wanted);
    let strangers = if anonymous(Anonymous::Allow) {
        "anyone, without a password"
    } else if anonymous(Anonymous::Loopback) {
        "programs on this machine, without a password"
    } else {
        "nobody without a password"
    };
    match users {
        // Whether that user has been removed is not known here; it is told to those who try.
        Users::None if config.listeners.iter().any(|listener| listener.protocol == Protocol::Amqp) => {
            format!("{strangers}; AMQP as guest, password guest")
        }
        Users::None => strangers.to_owned(),
        Users::File(file) | Users::Created { file, .. } => {
            format!("users of {}; {strangers}", file.display())
        }
    }
}

fn warnings(text: &mut String, config: &Config, users: &Users) {
    if let Users::Created { file, user, password } = users {
        let _ = writeln!(
            text,
            "  ! Other machines can connect and there were no users: created {user} with password {password}\n    \
             It is shown only now. To change it: tercet passwd {} {user}",
            file.display()
        );
    }
    let open = |listener: &&tercet_server::config::Listener| !listener.bind.is_local();
    match config.listeners.iter().find(open) {
        None => text.push_str(
            "  ! Only programs on this machine can connect. To open it: tercet serve --bind 0.0.0.0\n    \
             (clients then need a password; without users of your own a first one is created and shown)\n",
        ),
        Some(listener) if config.anonymous(listener) == Anonymous::Allow => {
            let _ = writeln!(
                text,
                "  ! Anyone who reaches {} can connect. To ask for passwords: remove anonymous = \"allow\"",
                listener.bind
            );
        }
        Some(_) => {}
    }
}

/// Commands to try, fit to the listeners; `None` when MQTT is reachable only through TLS or WebSocket.
pub(super) fn commands_to_try(listeners: &[BoundListener], users: &Users) -> Option<String> {
    let listener = listeners.iter().find(|one| one.protocol == Protocol::Mqtt && !one.tls)?;
    let address: std::net::SocketAddr = listener.address.parse().ok()?;
    let mut flags = String::new();
    if !address.ip().is_loopback() && !address.ip().is_unspecified() {
        let _ = write!(flags, " -h {}", address.ip());
    }
    if address.port() != 1883 {
        let _ = write!(flags, " -p {}", address.port());
    }
    if let Users::Created { user, .. } = users {
        let _ = write!(flags, " -u {user} -P PASSWORD");
    }
    Some(format!("try:  tercet sub{flags} 'demo/#'      tercet pub{flags} demo/hi hello"))
}

#[cfg(test)]
mod tests {
    use tercet_server::config::{Flag, Sources, load};

    use super::*;

    fn bound(name: &str, protocol: Protocol, address: &str) -> BoundListener {
        BoundListener { name: name.into(), protocol, tls: false, address: address.into() }
    }

    fn loaded(flags: &[(&'static str, &'static str, &str)]) -> Loaded {
        let flags =
            flags.iter().map(|(name, key, value)| Flag { name, key, value: (*value).into() }).collect();
        load(&Sources { flags, ..Sources::default() }).unwrap()
    }

    #[test]
    fn defaults_say_how_to_open_the_broker_and_what_was_found() {
        let listeners = [
            bound("mqtt", Protocol::Mqtt, "127.0.0.1:1883"),
            bound("amqp", Protocol::Amqp, "127.0.0.1:5672"),
            bound("http", Protocol::Http, "127.0.0.1:15672"),
        ];
        let recovery = Recovery {
            sessions: 1,
            queued: 1200,
            retained: 30,
            took: std::time::Duration::from_millis(7),
            ..Recovery::default()
        };
        let text = block(&loaded(&[]), Some(&recovery), &listeners, &Users::None);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with(concat!("tercet ", env!("CARGO_PKG_VERSION"), "  pid ")));
        assert!(lines[0].ends_with("  data ./tercet-data  config: built-in defaults"));
        assert_eq!(lines[1], "  mqtt   127.0.0.1:1883");
        assert_eq!(lines[2], "  amqp   127.0.0.1:5672");
        assert_eq!(lines[3], "  http   http://127.0.0.1:15672  ws://127.0.0.1:15672/mqtt");
        assert_eq!(
            lines[4],
            "  auth   programs on this machine, without a password; AMQP as guest, password guest"
        );
        assert_eq!(lines[5], "  state  1 session, 1200 messages queued, 30 retained, read in 7 ms");
        assert_eq!(
            lines[6],
            "  ! Only programs on this machine can connect. To open it: tercet serve --bind 0.0.0.0"
        );
        assert_eq!(
            commands_to_try(&listeners, &Users::None).unwrap(),
            "try:  tercet sub 'demo/#'      tercet pub demo/hi hello"
        );
    }

    #[test]
    fn an_open_broker_shows_its_new_administrator() {
        let listeners = [bound("mqtt", Protocol::Mqtt, "0.0.0.0:40001")];
        let loaded =
            loaded(&[("--bind", "listen.bind", "0.0.0.0"), ("--memory", "server.durability", "memory")]);
        let users = Users::Created { file: "d/passwords".into(), user: "admin", password: "once".into() };
        let text = block(&loaded, None, &listeners, &users);
        assert!(text.lines().next().unwrap().contains("  in memory  "));
        assert!(text.contains("created admin with password once\n"));
        assert!(text.contains("To change it: tercet passwd d/passwords admin\n"));
        assert!(text.contains("users of d/passwords; nobody without a password\n"));
        assert!(!text.contains("Only programs on this machine") && text.contains("in memory only"));
        assert_eq!(
            commands_to_try(&listeners, &users).unwrap(),
            "try:  tercet sub -p 40001 -u admin -P PASSWORD 'demo/#'      \
             tercet pub -p 40001 -u admin -P PASSWORD demo/hi hello"
        );
    }

    #[test]
    fn an_open_broker_without_passwords_is_warned_about() {
        let loaded =
            loaded(&[("--bind", "listen.bind", "0.0.0.0"), ("--anonymous", "auth.anonymous", "allow")]);
        let text = block(&loaded, Some(&Recovery::default()), &[], &Users::None);
        assert!(text.contains("  state  nothing stored yet\n"), "{text}");
        assert!(text.contains("  ! Anyone who reaches 0.0.0.0:1883 can connect."), "{text}");
    }
}
