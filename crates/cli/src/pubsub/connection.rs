//! From settings to a connected client; what is said about the connection; and what ends a run from outside.

use std::time::Duration;

use tercet_client::mqtt::{
    Builder, Client, Event, Messages, Overflow, Properties, Property, ReasonCode, Version,
};
use tercet_client::{Backoff, Result};

use super::exit::{Outcome, say};
use super::settings::{Dialect, Settings};

/// Messages between network and output.
const INBOX: usize = 8192;

/// Connects.
pub(super) async fn connect(settings: &Settings) -> Result<(Client, Messages)> {
    let wanted = &settings.connection;
    let mut builder = Builder::from_address(wanted.address())?
        .version(wanted.version)
        .clean_start(wanted.clean)
        .tls(wanted.tls.clone())
        .nodelay(wanted.nodelay)
        .subscription_ids(false)
        .alias_topics(settings.dialect == Dialect::Tercet)
        .reconnect(wanted.reconnect.then(Backoff::default));
    if settings.talk.debug {
        say(&format!("connecting to {}\n", builder.endpoint()));
    }
    // What the address says holds unless a flag says otherwise.
    if wanted.keep_alive != 60 {
        builder = builder.keep_alive(Duration::from_secs(wanted.keep_alive.into()));
    }
    if let Some(id) = client_id(settings) {
        builder = builder.client_id(id);
    }
    if let Some(name) = &wanted.username {
        builder = builder.username(name);
    }
    if let Some(password) = &wanted.password {
        builder = builder.password(password.clone());
    }
    if wanted.scram {
        builder = builder.scram_sha_256();
    }
    if let Some(will) = &wanted.will {
        builder = builder.will(will.clone());
    }
    if let Some(address) = wanted.bind {
        builder = builder.bind(address);
    }
    if let Some(limit) = wanted.inflight {
        builder = builder.inflight(limit);
    }
    if settings.dialect != Dialect::Tercet {
        // The originals take no aliases unless told to, and a format may show them (%A).
        builder = builder.property(Property::TopicAliasMaximum(0));
    }
    for property in &wanted.connect_properties {
        builder = builder.property(property.clone());
    }
    if let (Version::V5, Some(seconds)) = (wanted.version, wanted.session_expiry) {
        builder = builder.session_expiry(seconds);
    }
    let (client, messages) = builder.connect_with_inbox(INBOX, Overflow::Block).await?;
    if settings.talk.debug {
        let connack = client.connack();
        let session = if connack.session_present { "continues" } else { "is new" };
        say(&format!("connected as \"{}\"; the session {session}\n", connack.client_id));
    }
    tell_events(settings, &client);
    Ok((client, messages))
}

/// The client id asked for; MQTT 3.1 needs one, of at most 23 letters.
fn client_id(settings: &Settings) -> Option<String> {
    let wanted = &settings.connection;
    let process = std::process::id();
    match (&wanted.client_id, &wanted.id_prefix) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(prefix)) => Some(format!("{prefix}{process}")),
        (None, None) if wanted.version == Version::V31 => Some(format!("tercet-{process}")),
        (None, None) => None,
    }
}

/// Says on stderr when the connection is lost and found.
fn tell_events(settings: &Settings, client: &Client) {
    let ours = settings.dialect == Dialect::Tercet;
    if settings.talk.quiet || !(ours || settings.talk.debug) {
        return;
    }
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Event::Disconnected { reason, retry_in: Some(delay) } => {
                    say(&format!("warning: {reason}; next attempt in {:.1} s\n", delay.as_secs_f32()));
                }
                Event::Connected { session_present, .. } => {
                    let session = if session_present { "" } else { "; the broker had forgotten the session" };
                    say(&format!("connected again{session}\n"));
                }
                _ => {}
            }
        }
    });
}

/// Ends the connection in the way that the outcome calls for.
pub(super) async fn leave(settings: &Settings, client: &Client, outcome: &Outcome) {
    let early = matches!(outcome, Outcome::TimedOut | Outcome::Interrupted);
    let mosquitto = matches!(settings.dialect, Dialect::Mosquitto(_));
    let reason = if early && mosquitto { ReasonCode::DisconnectWithWill } else { ReasonCode::Success };
    let properties: Properties = settings.connection.disconnect_properties.clone();
    client.disconnect_with(reason, properties).await;
}

/// Resolves after the time, never without one.
pub(super) async fn expired(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
