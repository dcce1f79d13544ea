//! SASL as AMQP 0-9-1 uses it: what a client says in `connection.start-ok`, and whom it may be.

use std::fmt;

use tercet_amqp::field::Table;
use tercet_broker::refusal::{Refusal, ReplyCode};
use tercet_scram::Secret;

use super::authenticator::{AnonymousPolicy, Login};
use super::certified_user::CertifiedUser;
use super::identity::PeerOrigin;

/// A way to say who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// User name and password (RFC 4616).
    Plain,
    /// The same in a field table.
    Amqplain,
    /// The name in the client's certificate.
    External,
    /// Nobody in particular: a user that the configuration names.
    Anonymous,
}

impl Mechanism {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Amqplain => "AMQPLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Plain, Self::Amqplain, Self::External, Self::Anonymous];
        all.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a client may log in on its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslOffer {
    /// What its certificate says. On a listener that takes user names from certificates nothing else counts.
    pub certificate: CertifiedUser,
    /// Where it really comes from.
    pub peer: PeerOrigin,
    /// The policy of the listener on clients without a name.
    pub anonymous: AnonymousPolicy,
}

impl SaslOffer {
    /// The mechanisms, the preferred one first. `anonymous_user`: whom anonymous clients are taken for, if they may.
    pub(super) fn mechanisms(&self, anonymous_user: bool) -> Vec<Mechanism> {
        if self.certificate != CertifiedUser::NotUsed {
            return vec![Mechanism::External];
        }
        let mut offered = vec![Mechanism::Plain, Mechanism::Amqplain];
        if anonymous_user && self.anonymous.admits(self.peer) {
            offered.push(Mechanism::Anonymous);
        }
        offered
    }
}

/// What a client asks for, understood.
#[derive(Debug)]
pub(super) enum Claim {
    Password(Login),
    Certificate,
    Anonymous,
}

/// Understands the mechanism and response of `connection.start-ok`.
///
/// # Errors
/// 503 for a mechanism that is not among `offered`, 502 for a response that is not one.
pub(super) fn claim(
    mechanism: &str,
    response: &[u8],
    offered: &[Mechanism],
    peer: PeerOrigin,
) -> Result<Claim, Refusal> {
    let known = Mechanism::of_name(mechanism).filter(|mechanism| offered.contains(mechanism));
    let Some(known) = known else {
        let shown: String = mechanism.chars().take(64).filter(|c| !c.is_control()).collect();
        let text = format!("unknown authentication mechanism '{shown}'");
        return Err(Refusal::new(ReplyCode::CommandInvalid, text));
    };
    let password = |pair: Option<(&[u8], &[u8])>| {
        let (user, password) = pair.ok_or_else(|| {
            Refusal::new(ReplyCode::SyntaxError, format!("the response is not one of mechanism {known}"))
        })?;
        // A name that is not text is nobody's.
        let user = String::from_utf8_lossy(user).into_owned().into_boxed_str();
        Ok(Claim::Password(Login { user, password: Secret::new(password.to_vec()), peer }))
    };
    match known {
        Mechanism::Plain => password(plain(response)),
        Mechanism::Amqplain => password(amqplain(response)),
        Mechanism::External => Ok(Claim::Certificate),
        Mechanism::Anonymous => Ok(Claim::Anonymous),
    }
}

/// `[authorization] NUL user NUL password`. Nobody acts for another, so an authorization identity is the user or empty.
fn plain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = response.split(|byte| *byte == 0);
    let (acting_for, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let well_formed = parts.next().is_none() && (acting_for.is_empty() || acting_for == user);
    well_formed.then_some((user, password))
}

/// A table with `LOGIN` and `PASSWORD`, without the length before it.
fn amqplain(response: &[u8]) -> Option<(&[u8], &[u8])> {
    use tercet_amqp::field::Value::LongStr;
    let table = Table::parse(response, 1).ok()?;
    match (table.get("LOGIN")?, table.get("PASSWORD")?) {
        (LongStr(user), LongStr(password)) => Some((user, password)),
        _ => None,
    }
}

/// 403, as clients with the capability `authentication_failure_close` are told. It does not tell why.
#[must_use]
pub fn login_refused(mechanism: &str) -> Refusal {
    let shown: String = mechanism.chars().take(64).filter(|c| !c.is_control()).collect();
    Refusal::access_refused(format!(
        "Login was refused using authentication mechanism {shown}. For details see the broker logfile."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::TableBuf;

    const LOCAL: PeerOrigin = PeerOrigin::unix();

    fn offer(certificate: CertifiedUser, anonymous: AnonymousPolicy) -> SaslOffer {
        SaslOffer { certificate, peer: PeerOrigin::direct([192, 0, 2, 1].into()), anonymous }
    }

    #[test]
    fn what_is_offered_depends_on_listener_and_configuration() {
        use AnonymousPolicy::{Allow, LoopbackOnly};
        use Mechanism::{Amqplain, Anonymous, External, Plain};
        let certified = CertifiedUser::Name("dev".into());
        let cases = [
            (offer(CertifiedUser::NotUsed, Allow), true, vec![Plain, Amqplain, Anonymous]),
            (offer(CertifiedUser::NotUsed, Allow), false, vec![Plain, Amqplain]),
            (offer(CertifiedUser::NotUsed, LoopbackOnly), true, vec![Plain, Amqplain]),
            (offer(certified, Allow), true, vec![External]),
            (offer(CertifiedUser::Missing, Allow), true, vec![External]),
        ];
        for (offer, anonymous_user, expected) in cases {
            assert_eq!(offer.mechanisms(anonymous_user), expected, "{offer:?}");
        }
    }

    #[test]
    fn responses_of_plain() {
        type Pair<'a> = Option<(&'a str, &'a [u8])>;
        let cases: [(&[u8], Pair<'_>); 9] = [
            (b"\0guest\0guest", Some(("guest", b"guest"))),
            (b"ann\0ann\0pw", Some(("ann", b"pw"))),
            (b"\0\0", Some(("", b""))),
            (b"\0ann\0", Some(("ann", b""))),
            (b"bob\0ann\0pw", None),
            (b"\0ann\0pw\0", None),
            (b"\0ann", None),
            (b"ann", None),
            (b"", None),
        ];
        for (response, expected) in cases {
            let found = claim("PLAIN", response, &[Mechanism::Plain], LOCAL);
            match (found, expected) {
                (Ok(Claim::Password(login)), Some((user, password))) => {
                    assert_eq!((&*login.user, login.password.expose()), (user, password));
                }
                (Err(refusal), None) => assert_eq!(refusal.code, ReplyCode::SyntaxError, "{response:?}"),
                (found, _) => panic!("{response:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn responses_of_amqplain() {
        let mut table = TableBuf::new();
        table.put("LOGIN", "ann").unwrap().put("PASSWORD", "p\0w").unwrap();
        let offered = [Mechanism::Amqplain];
        let good = claim("AMQPLAIN", table.as_table().as_bytes(), &offered, LOCAL).unwrap();
        let Claim::Password(login) = good else { panic!("{good:?}") };
        assert_eq!((&*login.user, login.password.expose()), ("ann", &b"p\0w"[..]));
        let mut without = TableBuf::new();
        without.put("LOGIN", "ann").unwrap();
        let mut number = TableBuf::new();
        number.put("LOGIN", "ann").unwrap().put("PASSWORD", 7_i64).unwrap();
        for bad in [without.as_table().as_bytes(), number.as_table().as_bytes(), b"", b"\x05LOG", b"\xff"] {
            let refusal = claim("AMQPLAIN", bad, &offered, LOCAL).unwrap_err();
            assert_eq!(refusal.code, ReplyCode::SyntaxError, "{bad:?}");
        }
    }

    #[test]
    fn mechanisms_that_are_not_offered_are_unknown() {
        let offered = [Mechanism::Plain];
        for name in ["EXTERNAL", "ANONYMOUS", "plain", "", "CRAM-MD5", "X\r\n"] {
            let refusal = claim(name, b"\0a\0b", &offered, LOCAL).unwrap_err();
            assert_eq!(refusal.code, ReplyCode::CommandInvalid, "{name}");
            assert!(!refusal.text.contains('\n'));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let claim = claim("PLAIN", b"\0ann\0hunter2", &[Mechanism::Plain], LOCAL).unwrap();
        assert!(!format!("{claim:?}").contains("hunter2"));
    }
}
