//! Who sends a request: HTTP basic authentication (RFC 7617), checked as AMQP logins are.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, StatusCode};
use tercet_broker::access::{GUEST, Tags};
use tercet_net::Peer;
use tokio::sync::oneshot;

use super::origin;
use super::problem::Problem;
use crate::auth::{Denial, Login, PeerOrigin, Secret, Verdict};
use crate::shared::Shared;

/// Who asks, and what it may manage.
#[derive(Debug)]
pub(super) struct Caller {
    /// The user, who has proven to be that.
    pub(super) user: Arc<str>,
    /// Its tags.
    pub(super) tags: Tags,
}

/// Finds out who asks.
pub(super) async fn identify(headers: &HeaderMap, shared: &Shared, peer: &Peer) -> Result<Caller, Problem> {
    let peer = PeerOrigin::of(peer);
    let login = login(headers, peer)?;
    if *login.user == *GUEST && !origin::is_sent_to_loopback(headers) {
        return Err(Problem::unauthorized(
            "user guest is only let in by the address of this machine or as localhost",
            "use http://127.0.0.1 or another user",
        ));
    }
    let (send, receive) = oneshot::channel();
    let begun = shared.authenticator.begin_login(login, move |verdict| {
        // Nobody waits any more when the connection is gone.
        let _ = send.send(verdict);
    });
    let verdict = match begun {
        Some(verdict) => verdict,
        None => receive.await.unwrap_or(Verdict::Busy),
    };
    let user = match verdict {
        Verdict::Granted(identity) => {
            identity.name().cloned().ok_or_else(|| refused(Denial::NotAuthorized))?
        }
        Verdict::Denied(denial) => return Err(refused(denial)),
        Verdict::Busy => {
            return Err(Problem::later(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many logins are waiting",
                "try again in a while",
            ));
        }
    };
    let tags = shared.authenticator.access().tags(&user);
    if !tags.may_manage() {
        return Err(Problem::not_permitted(
            format!("user '{user}' may not use the control API"),
            format!("an administrator can allow it: tercet user tags {user} management"),
        ));
    }
    Ok(Caller { user, tags })
}

fn login(headers: &HeaderMap, peer: PeerOrigin) -> Result<Login, Problem> {
    let how = "curl -u USER:PASSWORD, or tercet with -u USER -P PASSWORD";
    let header =
        headers.get(AUTHORIZATION).ok_or_else(|| Problem::unauthorized("no credentials were sent", how))?;
    let decoded = header.to_str().ok().and_then(|header| {
        let (scheme, encoded) = header.split_once(' ')?;
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(encoded.trim()).ok())??;
        Some(decoded)
    });
    let parts = decoded.as_deref().and_then(|decoded| {
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let (user, password) = decoded.split_at(colon);
        Some((std::str::from_utf8(user).ok()?, password.get(1..)?))
    });
    match parts {
        Some((user, password)) => {
            Ok(Login { user: user.into(), password: Secret::new(password.to_vec()), peer })
        }
        None => Err(Problem::unauthorized("the credentials are not those of HTTP basic authentication", how)),
    }
}

fn refused(denial: Denial) -> Problem {
    match denial {
        Denial::LoopbackOnly => Problem::unauthorized(
            "user guest is only let in from the machine that the server runs on",
            "create another user there: tercet user add NAME --tags administrator",
        ),
        Denial::Banned => Problem::later(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-failures",
            "too many wrong passwords came from this address",
            "wait a while, then use the right one",
        ),
        Denial::BadCredentials | Denial::NotAuthorized => {
            Problem::unauthorized("user name or password is wrong", "tercet user list shows the users")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn credentials_are_read_up_to_the_first_colon() {
        let cases = [
            ("Basic YW5uOnB3", Some(("ann", "pw"))),
            ("basic YW5uOnA6dw==", Some(("ann", "p:w"))),
            ("Basic Og==", Some(("", ""))),
            ("Basic YW5u", None),
            ("Basic !", None),
            ("Basic", None),
            ("Bearer YW5uOnB3", None),
            ("Basic /zpwdw==", None),
        ];
        for (header, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
            let found = login(&headers, PeerOrigin::unix()).ok();
            let found = found.as_ref().map(|login| (&*login.user, login.password.expose()));
            assert_eq!(found, expected.map(|(user, password)| (user, password.as_bytes())), "{header}");
        }
    }
}
