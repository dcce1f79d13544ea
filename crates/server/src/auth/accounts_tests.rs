//! Logging in with accounts that are managed at run time, and as AMQP does it.

use std::sync::mpsc;
use std::time::Duration;

use tercet_broker::access::{Credential, GUEST, Permission};
use tercet_broker::refusal::ReplyCode;
use tercet_net::{Peer, PeerAddress, ProxiedPeer};

use crate::auth::password_file::{Credentials, HashChoice};
use crate::auth::password_hash::ArgonCost;
use crate::auth::{
    AnonymousPolicy, AuthRequest, AuthSettings, Authenticator, CertifiedUser, Denial, FailureLimit, Identity,
    Mechanism, OutsideRules, PasswordFile, PeerOrigin, PoolLimits, Proof, SaslOffer, Users, Verdict,
};

const CHEAP: HashChoice =
    HashChoice { cost: ArgonCost { memory_kib: 64, passes: 1 }, scram_iterations: Some(4096) };
const LOCAL: PeerOrigin = PeerOrigin::unix();
const BAD: Verdict = Verdict::Denied(Denial::BadCredentials);

fn authenticator(file: Option<&[(&str, &str)]>) -> Authenticator {
    let users = file.map(|entries| {
        let mut file = PasswordFile::default();
        for (name, password) in entries {
            file.set_password(name, &(*password).into(), CHEAP).unwrap();
        }
        Users::new(&file)
    });
    let pool = PoolLimits { threads: 1, ..PoolLimits::default() };
    Authenticator::new(users, AuthSettings { pool, ..AuthSettings::default() }).unwrap()
}

fn add(authenticator: &Authenticator, user: &str, password: &str) {
    let credentials = Credentials::new(&password.into(), CHEAP).unwrap();
    let credential = Credential::Hash(credentials.to_string().into());
    authenticator.access().set_user(user, Some(credential), None).unwrap();
}

fn offer(peer: PeerOrigin) -> SaslOffer {
    SaslOffer { certificate: CertifiedUser::NotUsed, peer, anonymous: AnonymousPolicy::LoopbackOnly }
}

fn remote() -> PeerOrigin {
    PeerOrigin::direct([192, 0, 2, 1].into())
}

fn plain(authenticator: &Authenticator, user: &str, password: &str, peer: PeerOrigin) -> Verdict {
    let response = format!("\0{user}\0{password}");
    sasl(authenticator, "PLAIN", response.as_bytes(), &offer(peer))
}

fn sasl(authenticator: &Authenticator, mechanism: &str, response: &[u8], offer: &SaslOffer) -> Verdict {
    let (send, receive) = mpsc::channel();
    let done = move |verdict| send.send(verdict).unwrap();
    let now = authenticator.begin_sasl(mechanism, response, offer, done).unwrap();
    now.unwrap_or_else(|| receive.recv().unwrap())
}

fn mqtt(authenticator: &Authenticator, user: &str, password: &str, peer: PeerOrigin) -> Verdict {
    let request = AuthRequest {
        user: Some(user.into()),
        password: Some(password.into()),
        peer,
        certificate: CertifiedUser::NotUsed,
        anonymous: AnonymousPolicy::LoopbackOnly,
    };
    let (send, receive) = mpsc::channel();
    let now = authenticator.begin(request, move |verdict| send.send(verdict).unwrap());
    now.unwrap_or_else(|| receive.recv().unwrap())
}

fn granted(user: &str) -> Verdict {
    Verdict::Granted(Identity::user(user.into(), Proof::Password))
}

#[test]
fn the_built_in_guest_comes_only_from_this_machine() {
    let loopback =
        |address: &str| PeerAddress::from(std::net::SocketAddr::new(address.parse().unwrap(), 5000));
    let proxied = |by: &str, client: Option<&str>| {
        let client = client.map(loopback);
        PeerOrigin::of(&Peer::proxied(loopback(by), ProxiedPeer { client, ..ProxiedPeer::default() }))
    };
    let cases = [
        (LOCAL, true),
        (PeerOrigin::direct("127.0.0.1".parse().unwrap()), true),
        (PeerOrigin::direct("127.8.9.1".parse().unwrap()), true),
        (PeerOrigin::direct("::1".parse().unwrap()), true),
        (PeerOrigin::direct("::ffff:127.0.0.1".parse().unwrap()), true),
        (PeerOrigin::direct("::ffff:192.0.2.1".parse().unwrap()), false),
        (PeerOrigin::direct("::127.0.0.1".parse().unwrap()), false),
        (PeerOrigin::direct("0.0.0.0".parse().unwrap()), false),
        (remote(), false),
        (proxied("127.0.0.1", Some("127.0.0.1")), true),
        // What a proxy says about its client makes nobody local, nor does a proxy that is local itself.
        (proxied("192.0.2.9", Some("127.0.0.1")), false),
        (proxied("127.0.0.1", Some("192.0.2.1")), false),
        (proxied("127.0.0.1", None), false),
    ];
    let authenticator = authenticator(None);
    for (peer, expected) in cases {
        let expected = if expected { granted(GUEST) } else { Verdict::Denied(Denial::LoopbackOnly) };
        assert_eq!(plain(&authenticator, "guest", "guest", peer), expected, "{peer:?}");
    }
    assert_eq!(plain(&authenticator, "guest", "Guest", LOCAL), BAD);
    assert_eq!(plain(&authenticator, "guest", "", LOCAL), BAD);
    // With a password of its own it still does: its name is the first that everybody tries.
    add(&authenticator, "guest", "own");
    assert_eq!(plain(&authenticator, "guest", "own", remote()), Verdict::Denied(Denial::LoopbackOnly));
    assert_eq!(plain(&authenticator, "guest", "own", LOCAL), granted("guest"));
    assert_eq!(plain(&authenticator, "guest", "guest", LOCAL), BAD);
    authenticator.access().remove_user("guest").unwrap();
    assert_eq!(plain(&authenticator, "guest", "own", LOCAL), BAD);
    assert_eq!(plain(&authenticator, "guest", "guest", LOCAL), BAD);
}

#[test]
fn with_a_password_file_there_is_no_built_in_guest() {
    let without = authenticator(Some(&[("ann", "pw")]));
    assert_eq!(plain(&without, "guest", "guest", LOCAL), BAD);
    assert_eq!(plain(&without, "ann", "pw", remote()), granted("ann"));
    let own = authenticator(Some(&[("guest", "own")]));
    assert_eq!(plain(&own, "guest", "own", remote()), granted("guest"));
}

#[test]
fn accounts_log_in_on_every_face_and_changes_count_at_once() {
    let authenticator = authenticator(None);
    let nobody = Verdict::Granted(Identity::anonymous());
    assert_eq!(mqtt(&authenticator, "ann", "pw", LOCAL), nobody, "without users no name is asked for");
    add(&authenticator, "ann", "pw");
    assert!(authenticator.has_users());
    for face in [plain, mqtt] {
        assert_eq!(face(&authenticator, "ann", "pw", remote()), granted("ann"));
        assert_eq!(face(&authenticator, "ann", "PW", LOCAL), BAD);
        assert_eq!(face(&authenticator, "bob", "pw", LOCAL), BAD);
    }
    assert!(authenticator.start_enhanced(tercet_scram::METHOD, LOCAL, None).is_ok());
    add(&authenticator, "ann", "new");
    assert_eq!(plain(&authenticator, "ann", "pw", LOCAL), BAD);
    assert_eq!(plain(&authenticator, "ann", "new", LOCAL), granted("ann"));
    authenticator.access().remove_user("ann").unwrap();
    assert_eq!(plain(&authenticator, "ann", "new", LOCAL), BAD);
    authenticator.access().set_user("dev", Some(Credential::NoPassword), None).unwrap();
    assert_eq!(plain(&authenticator, "dev", "", LOCAL), BAD, "no password is not the empty password");
}

#[test]
fn users_of_the_file_win_over_accounts_of_the_same_name() {
    let authenticator = authenticator(None);
    add(&authenticator, "ann", "old");
    authenticator.access().set_permission("ann", "/", Permission::everything()).unwrap();
    let mut file = PasswordFile::default();
    file.set_password("ann", &"file".into(), CHEAP).unwrap();
    file.set_password("boss", &"file".into(), CHEAP).unwrap();
    let administrators = ["boss".to_owned()];
    let rules = OutsideRules { administrators: &administrators, restricted: false };
    authenticator.set_users(Some(Users::new(&file)), rules);
    assert_eq!(plain(&authenticator, "ann", "file", LOCAL), granted("ann"));
    assert_eq!(plain(&authenticator, "ann", "old", LOCAL), BAD);
    let access = authenticator.access();
    assert!(access.tags("boss").may_administer() && !access.tags("ann").may_administer());
    assert!(access.rights("ann", "/").is_some());
}

#[test]
fn certificates_and_anonymous_clients() {
    let authenticator = authenticator(None);
    let named = SaslOffer { certificate: CertifiedUser::Name("dev".into()), ..offer(remote()) };
    assert_eq!(authenticator.sasl_mechanisms(&named), [Mechanism::External]);
    let expected = Verdict::Granted(Identity::user("dev".into(), Proof::Certificate));
    assert_eq!(sasl(&authenticator, "EXTERNAL", b"ignored", &named), expected);
    let missing = SaslOffer { certificate: CertifiedUser::Missing, ..offer(LOCAL) };
    assert_eq!(sasl(&authenticator, "EXTERNAL", b"", &missing), Verdict::Denied(Denial::NotAuthorized));
    for (mechanism, offer) in [("PLAIN", &named), ("EXTERNAL", &offer(LOCAL)), ("ANONYMOUS", &offer(LOCAL))] {
        let refused = authenticator.begin_sasl(mechanism, b"\0a\0b", offer, |_| panic!("not asked"));
        assert_eq!(refused.unwrap_err().code, ReplyCode::CommandInvalid, "{mechanism}");
    }
    authenticator.set_anonymous_user(Some("visitor"));
    let visitor = Verdict::Granted(Identity::user("visitor".into(), Proof::Assumed));
    assert_eq!(sasl(&authenticator, "ANONYMOUS", b"x", &offer(LOCAL)), visitor);
    assert!(!authenticator.sasl_mechanisms(&offer(remote())).contains(&Mechanism::Anonymous));
    let open = SaslOffer { anonymous: AnonymousPolicy::Allow, ..offer(remote()) };
    assert_eq!(sasl(&authenticator, "ANONYMOUS", b"", &open), visitor);
    authenticator.set_anonymous_user(Some(GUEST));
    assert_eq!(sasl(&authenticator, "ANONYMOUS", b"", &open), Verdict::Denied(Denial::LoopbackOnly));
    authenticator.set_anonymous_user(None);
    assert!(authenticator.begin_sasl("ANONYMOUS", b"", &open, |_| panic!("not asked")).is_err());
}

#[test]
fn unknown_users_cost_a_hash_and_count_as_failures() {
    let failures = FailureLimit { burst: 3, refill: Duration::from_secs(3600), addresses: 8 };
    let pool = PoolLimits { threads: 1, ..PoolLimits::default() };
    let settings = AuthSettings { pool, failures, ..AuthSettings::default() };
    let authenticator = Authenticator::new(None, settings).unwrap();
    let (send, receive) = mpsc::channel();
    let asked = authenticator.begin_sasl("PLAIN", b"\0nobody\0pw", &offer(remote()), move |verdict| {
        send.send(verdict).unwrap();
    });
    assert_eq!(asked, Ok(None), "it is hashed on another thread");
    assert_eq!(receive.recv(), Ok(BAD));
    for _ in 0..2 {
        assert_eq!(plain(&authenticator, "nobody", "pw", remote()), BAD);
    }
    assert_eq!(plain(&authenticator, "nobody", "pw", remote()), Verdict::Denied(Denial::Banned));
    assert_eq!(plain(&authenticator, "guest", "guest", LOCAL), granted("guest"));
}
