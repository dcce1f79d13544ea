//! What resources a server has, and what servers there are.

use serde_json::{Map, Value};
use tercet_client::coap::{Client, Link, ask_group, links};

use super::connection::connect;
use super::exit::Outcome;
use super::settings::{Discover, Settings};
use crate::output::data;

pub(super) async fn run(settings: &Settings, job: &Discover) -> Outcome {
    match discover(settings, job).await {
        Ok(()) => Outcome::Done,
        Err(outcome) => outcome,
    }
}

async fn discover(settings: &Settings, job: &Discover) -> Result<(), Outcome> {
    let query = job.uri.query.join("&");
    if is_group(job) {
        let path = if query.is_empty() { String::new() } else { format!("?{query}") };
        let path = format!("/.well-known/core{path}");
        let answers = ask_group(&settings.connection.url, &path, job.patience).await?;
        for answer in &answers {
            let server = answer.peer().map(|peer| format!("coap://{peer}"));
            print(&links(answer)?, server.as_deref(), job.json)?;
        }
        return if answers.is_empty() { Err(Outcome::TimedOut) } else { Ok(()) };
    }
    let client: Client = connect(settings).await?;
    print(&client.discover_matching(&query).await?, None, job.json)
}

/// The address is that of a group of servers.
fn is_group(job: &Discover) -> bool {
    use tercet_client::coap::Host;
    match &job.uri.host {
        Host::Address(address) => address.is_multicast(),
        Host::Zoned(address, _) => address.is_multicast(),
        Host::Name(_) => false,
    }
}

/// A line for each link; those of a group begin with their server.
fn print(links: &[Link<'_>], server: Option<&str>, json: bool) -> Result<(), Outcome> {
    let mut text = String::new();
    for link in links {
        if json {
            text.push_str(&object(link, server).to_string());
        } else {
            if let Some(server) = server {
                text.extend([server, " "]);
            }
            text.push_str(&link.to_string());
        }
        text.push('\n');
    }
    Ok(data(&text)?)
}

fn object(link: &Link<'_>, server: Option<&str>) -> Value {
    let mut object = Map::new();
    if let Some(server) = server {
        object.insert("server".into(), server.into());
    }
    object.insert("href".into(), (*link.target).into());
    for attribute in &link.attributes {
        let value = attribute.value.as_deref().map_or(Value::Bool(true), Value::from);
        object.insert((*attribute.name).into(), value);
    }
    Value::Object(object)
}
