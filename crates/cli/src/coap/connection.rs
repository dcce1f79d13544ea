//! From settings to a client and its requests.

use std::io::Read;

use tercet_client::coap::{Builder, Client, Oscore, Request, Result};

use super::exit::Outcome;
use super::settings::{self, Body, Settings};

/// Connects.
pub(super) async fn connect(settings: &Settings) -> Result<Client> {
    let wanted = &settings.connection;
    let mut builder = Builder::new(&wanted.url)?.tls(wanted.tls.clone()).uri_host(wanted.uri_host);
    if let Some(timeout) = wanted.timeout {
        builder = builder.timeout(timeout).connect_timeout(timeout);
    }
    if let Some(bytes) = wanted.max_message {
        builder = builder.max_message(bytes);
    }
    if let Some((user, key)) = &wanted.psk {
        builder = builder.psk(user.as_str(), key.as_slice());
    }
    if let Some(file) = &wanted.oscore {
        builder = builder.oscore(Oscore::load(file)?);
    }
    builder.connect().await
}

/// The request of a job.
pub(super) fn request(client: &Client, job: &settings::Request) -> Result<Request, Outcome> {
    let mut request = client.request(job.method, &job.path).payload(body(&job.body)?);
    if let Some(uri) = &job.proxy_uri {
        request = request.proxy_uri(uri);
    }
    if let Some(format) = job.content_format {
        request = request.content_format(format);
    }
    if let Some(format) = job.accept {
        request = request.accept(format);
    }
    for (number, value) in &job.options {
        request = request.option(*number, value);
    }
    if let Some(token) = &job.token {
        request = request.token(token.clone());
    }
    if let Some((number, size)) = job.block {
        request = request.block_size(size);
        if let Some(number) = number {
            request = request.first_block(number);
        }
    }
    if let Some(hops) = job.hop_limit {
        request = request.hop_limit(hops);
    }
    Ok(if job.confirmable { request } else { request.non_confirmable() })
}

fn body(source: &Body) -> Result<Vec<u8>, Outcome> {
    match source {
        Body::None => Ok(Vec::new()),
        Body::Bytes(bytes) => Ok(bytes.clone()),
        Body::File(path) => std::fs::read(path)
            .map_err(|error| Outcome::Failed(format!("cannot read {}: {error}", path.display()))),
        Body::Stdin => {
            let mut bytes = Vec::new();
            match std::io::stdin().lock().read_to_end(&mut bytes) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(Outcome::Failed(format!("cannot read stdin: {error}"))),
            }
        }
    }
}
