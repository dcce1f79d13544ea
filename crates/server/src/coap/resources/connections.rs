//! `/mqtt/connection`: connections as EMQX's gateway has them, for devices that know no better.
//!
//! A client logs in once and gets a token. Requests that bring client identifier and token are made in the name that was
//! logged in, from whatever address they come. Whoever reads the datagrams reads the token: this is no substitute for DTLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tercet_coap::{Code, ContentFormat};

use super::Call;
use super::topic_data::unavailable;
use crate::auth::Identity;
use crate::coap::answer::Answer;
use crate::coap::caller::Caller;
use crate::coap::context::CoapContext;
use crate::coap::response::Response;

/// Connections; beyond that nobody gets a new one.
const MOST: usize = 100_000;
/// A connection ends when it was not used for so long.
const IDLE: Duration = Duration::from_secs(900);
/// Connections looked at for having ended when one is made.
const SWEPT: usize = 8;

/// The connections of all reactors.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_client: Mutex<HashMap<Arc<str>, Connection>>,
}

#[derive(Debug)]
struct Connection {
    token: u64,
    identity: Identity,
    used: Instant,
}

impl Connections {
    /// Makes a connection, in the place of an earlier one of the client. `None` if there are as many as can be.
    fn open(&self, client_id: &str, identity: Identity, token: u64, now: Instant) -> Option<()> {
        let mut connections = self.by_client.lock();
        let over: Vec<_> = connections
            .iter()
            .take(SWEPT)
            .filter(|(_, one)| one.is_over(now))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for id in over {
            connections.remove(&id);
        }
        if connections.len() >= MOST && !connections.contains_key(client_id) {
            connections.retain(|_, one| !one.is_over(now));
            if connections.len() >= MOST {
                return None;
            }
        }
        connections.insert(Arc::from(client_id), Connection { token, identity, used: now });
        Some(())
    }

    /// Who the client with this identifier and token is.
    pub(super) fn find(&self, client_id: &str, token: &str, now: Instant) -> Option<(Arc<str>, Identity)> {
        let mut connections = self.by_client.lock();
        let (id, connection) = connections.get_key_value_mut(client_id)?;
        if !connection.has_token(token) || connection.is_over(now) {
            return None;
        }
        connection.used = now;
        Some((Arc::clone(id), connection.identity.clone()))
    }

    /// Ends a connection.
    fn close(&self, client_id: &str) {
        self.by_client.lock().remove(client_id);
    }
}

impl Connection {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) > IDLE
    }

    fn has_token(&self, token: &str) -> bool {
        let token = token.parse::<u64>().unwrap_or(0);
        self.token.to_be_bytes().ct_eq(&token.to_be_bytes()).into()
    }
}

/// Serves `/mqtt/connection`. The caller is already what its credentials or token made of it.
pub(super) fn serve(call: &Call<'_>, cx: &CoapContext<'_>) -> Answer {
    let query = &call.asked.query;
    let Some(client_id) = query.client_id.filter(|id| !id.is_empty()) else {
        return Response::diagnostic(Code::BAD_REQUEST, "clientid is missing").into();
    };
    let connections = &cx.shared.coap.resources.connections;
    match (call.request.code, query.token) {
        (Code::POST, _) => open(client_id, call.caller, connections, cx),
        (Code::PUT | Code::DELETE, None) => {
            Response::diagnostic(Code::BAD_REQUEST, "token is missing").into()
        }
        // That it is right was found out before.
        (Code::PUT, Some(_)) => Response::new(Code::CHANGED).into(),
        (Code::DELETE, Some(_)) => {
            connections.close(client_id);
            Response::new(Code::DELETED).into()
        }
        _ => Response::new(Code::METHOD_NOT_ALLOWED).into(),
    }
}

fn open(client_id: &str, caller: &Caller, connections: &Connections, cx: &CoapContext<'_>) -> Answer {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return unavailable("the system has no random numbers");
    }
    // 0 is what a token that is no number stands for.
    let token = u64::from_be_bytes(bytes) | 1;
    match connections.open(client_id, caller.identity.clone(), token, cx.now.monotonic) {
        Some(()) => {
            let response = Response::content(ContentFormat::TEXT, token.to_string());
            Response { code: Code::CREATED, ..response }.into()
        }
        None => unavailable("there are as many connections as can be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_known_by_client_and_token_until_it_idles() {
        let (connections, now) = (Connections::default(), Instant::now());
        connections.open("dev", Identity::anonymous(), 77, now).unwrap();
        assert!(connections.find("dev", "77", now).is_some());
        for (client, token) in [("dev", "78"), ("dev", ""), ("dev", "x"), ("other", "77")] {
            assert!(connections.find(client, token, now).is_none(), "{client} {token}");
        }
        let later = now + IDLE;
        assert!(connections.find("dev", "77", later).is_some());
        assert!(connections.find("dev", "77", later + IDLE + Duration::from_secs(1)).is_none());
        connections.open("dev", Identity::anonymous(), 79, now).unwrap();
        assert!(connections.find("dev", "77", now).is_none());
        connections.close("dev");
        assert!(connections.find("dev", "79", now).is_none());
    }

    #[test]
    fn what_idles_makes_room() {
        let (connections, now) = (Connections::default(), Instant::now());
        for number in 0..MOST {
            connections.open(&number.to_string(), Identity::anonymous(), 1, now).unwrap();
        }
        assert!(connections.open("new", Identity::anonymous(), 1, now).is_none());
        assert!(connections.open("7", Identity::anonymous(), 1, now).is_some());
        let later = now + IDLE + Duration::from_secs(1);
        assert!(connections.open("new", Identity::anonymous(), 1, later).is_some());
    }
}
