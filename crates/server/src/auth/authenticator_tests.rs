//! Verdicts, the cache, the limits and what happens around a reload.

use super::*;
use crate::auth::password_file::{HashChoice, PasswordFile};
use crate::auth::password_hash::ArgonCost;
use crate::auth::{EnhancedAuth, Step};
use std::sync::mpsc::{self, Receiver};
use tercet_scram::{METHOD, ScramClient};

const CHEAP: HashChoice =
    HashChoice { cost: ArgonCost { memory_kib: 64, passes: 1 }, scram_iterations: Some(4096) };

fn users(entries: &[(&str, &str)]) -> Option<Users> {
    let mut file = PasswordFile::default();
    for (name, password) in entries {
        file.set_password(name, &(*password).into(), CHEAP).unwrap();
    }
    Some(Users::new(&file))
}

fn settings() -> AuthSettings {
    let pool = PoolLimits { threads: 1, ..PoolLimits::default() };
    AuthSettings { pool, ..AuthSettings::default() }
}

fn authenticator(entries: &[(&str, &str)]) -> Authenticator {
    Authenticator::new(users(entries), settings()).unwrap()
}

const LOCAL: PeerOrigin = PeerOrigin::unix();

fn remote() -> PeerOrigin {
    PeerOrigin::direct([192, 0, 2, 1].into())
}

fn request(user: &str, password: &str) -> AuthRequest {
    AuthRequest { user: Some(user.into()), password: Some(password.into()), ..anonymous(remote()) }
}

fn anonymous(peer: PeerOrigin) -> AuthRequest {
    AuthRequest {
        user: None,
        password: None,
        peer,
        certificate: CertifiedUser::NotUsed,
        anonymous: AnonymousPolicy::LoopbackOnly,
    }
}

/// The verdict, and whether it was given at once.
fn ask(authenticator: &Authenticator, request: AuthRequest) -> (Verdict, bool) {
    let (send, receive) = mpsc::channel();
    match authenticator.begin(request, move |verdict| send.send(verdict).unwrap()) {
        Some(verdict) => {
            assert!(receive.recv().is_err(), "the answer came twice");
            (verdict, true)
        }
        None => (receive.recv().unwrap(), false),
    }
}

fn granted(user: &str) -> Verdict {
    Verdict::Granted(Identity::user(user.into(), Proof::Password))
}

const BAD: Verdict = Verdict::Denied(Denial::BadCredentials);
const BANNED: Verdict = Verdict::Denied(Denial::Banned);
const NOT_AUTHORIZED: Verdict = Verdict::Denied(Denial::NotAuthorized);
const NOBODY: Verdict = Verdict::Granted(Identity::anonymous());

#[test]
fn anonymous_clients_are_judged_by_policy_and_real_address() {
    use AnonymousPolicy::{Allow, Deny, LoopbackOnly};
    let loopback = PeerOrigin::direct("::ffff:127.0.0.1".parse().unwrap());
    let behind_local_proxy = PeerOrigin { ip: Some([127, 0, 0, 1].into()), is_local: false };
    let cases = [
        (LoopbackOnly, LOCAL, NOBODY),
        (LoopbackOnly, loopback, NOBODY),
        (LoopbackOnly, remote(), NOT_AUTHORIZED),
        (LoopbackOnly, behind_local_proxy, NOT_AUTHORIZED),
        (Allow, remote(), NOBODY),
        (Deny, LOCAL, NOT_AUTHORIZED),
    ];
    let (with_users, without) =
        (authenticator(&[("ann", "pw")]), Authenticator::new(None, settings()).unwrap());
    for (policy, peer, expected) in cases {
        let asked = AuthRequest { anonymous: policy, ..anonymous(peer) };
        assert_eq!(ask(&with_users, asked.clone()), (expected.clone(), true), "{policy:?} {peer:?}");
        // Nobody checks a name when no users are configured, so it is not believed either.
        let claimed = AuthRequest { user: Some("admin".into()), password: Some("x".into()), ..asked };
        assert_eq!(ask(&without, claimed), (expected, true), "{policy:?} {peer:?}");
    }
}

#[test]
fn passwords_are_checked_once_and_then_remembered() {
    let authenticator = authenticator(&[("ann", "pw"), ("bob", "pw")]);
    assert_eq!(ask(&authenticator, request("ann", "pw")), (granted("ann"), false));
    assert_eq!(ask(&authenticator, request("ann", "pw")), (granted("ann"), true));
    assert_eq!(ask(&authenticator, request("bob", "pw")), (granted("bob"), false));
    assert_eq!(ask(&authenticator, request("ann", "PW")), (BAD, false));
}

#[test]
fn wrong_and_incomplete_credentials_are_refused() {
    let authenticator = authenticator(&[("ann", "pw")]);
    for (user, password) in
        [("ann", ""), ("ann", "pw\0"), ("Ann", "pw"), ("", ""), ("", "pw"), ("carol", "pw")]
    {
        assert_eq!(ask(&authenticator, request(user, password)), (BAD, false), "{user} {password}");
    }
    let name_only = AuthRequest { password: None, ..request("ann", "") };
    let password_only = AuthRequest { user: None, ..request("", "pw") };
    for asked in [name_only, password_only] {
        let asked = AuthRequest { anonymous: AnonymousPolicy::Allow, peer: LOCAL, ..asked };
        assert_eq!(ask(&authenticator, asked), (BAD, true));
    }
}

#[test]
fn a_password_file_without_users_lets_no_name_in() {
    let authenticator = authenticator(&[]);
    assert_eq!(ask(&authenticator, request("ann", "")), (BAD, false));
}

#[test]
fn certificates_replace_passwords_where_a_listener_says_so() {
    let authenticator = authenticator(&[("ann", "pw")]);
    let named = AuthRequest { certificate: CertifiedUser::Name("device-7".into()), ..request("ann", "pw") };
    let expected = Verdict::Granted(Identity::user("device-7".into(), Proof::Certificate));
    assert_eq!(ask(&authenticator, named), (expected, true));
    let missing = AuthRequest {
        certificate: CertifiedUser::Missing,
        anonymous: AnonymousPolicy::Allow,
        ..request("ann", "pw")
    };
    assert_eq!(ask(&authenticator, missing), (NOT_AUTHORIZED, true));
}

#[test]
fn too_many_failures_stop_one_address_but_not_its_known_clients_nor_others() {
    let failures = FailureLimit { burst: 3, refill: Duration::from_secs(3600), addresses: 8 };
    let authenticator =
        Authenticator::new(users(&[("ann", "pw"), ("bob", "pw")]), AuthSettings { failures, ..settings() })
            .unwrap();
    assert_eq!(ask(&authenticator, request("ann", "pw")), (granted("ann"), false));
    for _ in 0..3 {
        assert_eq!(ask(&authenticator, request("bob", "guess")), (BAD, false));
    }
    assert_eq!(ask(&authenticator, request("bob", "guess")), (BANNED, true));
    assert_eq!(ask(&authenticator, request("bob", "pw")), (BANNED, true));
    assert_eq!(ask(&authenticator, request("ann", "pw")), (granted("ann"), true));
    let elsewhere = AuthRequest { peer: LOCAL, ..request("bob", "pw") };
    assert_eq!(ask(&authenticator, elsewhere), (granted("bob"), false));
    let scram = authenticator.start_enhanced(METHOD, remote(), None);
    assert_eq!(scram.err(), Some(EnhancedRefusal::Denied(Denial::Banned)));
}

/// Keeps the only thread of the pool busy until the sender is dropped.
fn occupy(authenticator: &Authenticator) -> mpsc::Sender<()> {
    let (release, blocked) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let wait = move |_| {
        started.send(()).unwrap();
        let _ = blocked.recv();
    };
    let blocker = AuthRequest { peer: PeerOrigin::direct([198, 51, 100, 1].into()), ..request("nobody", "") };
    assert_eq!(authenticator.begin(blocker, wait), None);
    running.recv().unwrap();
    release
}

fn enqueue(authenticator: &Authenticator, request: AuthRequest) -> Result<Receiver<Verdict>, Verdict> {
    let (send, receive) = mpsc::channel();
    match authenticator.begin(request, move |verdict| drop(send.send(verdict))) {
        None => Ok(receive),
        Some(verdict) => Err(verdict),
    }
}

#[test]
fn a_full_queue_is_busy_and_what_waited_too_long_is_too() {
    let pool = PoolLimits { threads: 1, waiting: 2, ..PoolLimits::default() };
    let crowded = Authenticator::new(users(&[("ann", "pw")]), AuthSettings { pool, ..settings() }).unwrap();
    let release = occupy(&crowded);
    let waiting = enqueue(&crowded, request("ann", "pw")).unwrap();
    assert_eq!(enqueue(&crowded, request("ann", "pw")).unwrap_err(), Verdict::Busy);
    drop(release);
    assert_eq!(waiting.recv(), Ok(granted("ann")));

    let pool = PoolLimits { threads: 1, patience: Duration::ZERO, ..PoolLimits::default() };
    let hurried = Authenticator::new(users(&[("ann", "pw")]), AuthSettings { pool, ..settings() }).unwrap();
    assert_eq!(ask(&hurried, request("ann", "pw")), (Verdict::Busy, false));
}

#[test]
fn a_fleet_with_one_password_is_hashed_once_and_failures_stop_what_already_waits() {
    let failures = FailureLimit { burst: 2, refill: Duration::from_secs(3600), addresses: 8 };
    let authenticator =
        Authenticator::new(users(&[("ann", "pw")]), AuthSettings { failures, ..settings() }).unwrap();
    let release = occupy(&authenticator);
    let wait = |password| enqueue(&authenticator, request("ann", password)).unwrap();
    let waiting = ["pw", "1", "2", "3", "pw"].map(wait);
    drop(release);
    let verdicts = waiting.map(|verdict| verdict.recv().unwrap());
    assert_eq!(verdicts, [granted("ann"), BAD, BAD, BANNED, granted("ann")]);
}

#[test]
fn changed_users_are_in_force_for_requests_that_wait_and_for_remembered_logins() {
    let authenticator = authenticator(&[("ann", "pw"), ("bob", "pw")]);
    assert_eq!(ask(&authenticator, request("ann", "pw")), (granted("ann"), false));
    let release = occupy(&authenticator);
    let waiting = enqueue(&authenticator, request("bob", "pw")).unwrap();
    authenticator.set_users(users(&[("ann", "new")]), OutsideRules::default());
    drop(release);
    assert_eq!(waiting.recv(), Ok(BAD));
    assert_eq!(ask(&authenticator, request("ann", "pw")), (BAD, false));
    assert_eq!(ask(&authenticator, request("ann", "new")), (granted("ann"), false));
    authenticator.set_users(None, OutsideRules::default());
    assert_eq!(ask(&authenticator, request("ann", "new")), (NOT_AUTHORIZED, true));
}

#[test]
fn dropping_the_authenticator_answers_those_who_wait() {
    let authenticator = authenticator(&[("ann", "pw")]);
    let release = occupy(&authenticator);
    let waiting = enqueue(&authenticator, request("ann", "pw")).unwrap();
    let closing = std::thread::spawn(move || drop(authenticator));
    drop(release);
    closing.join().unwrap();
    assert!(matches!(waiting.recv(), Ok(Verdict::Busy | Verdict::Granted(_))));
}

#[test]
fn an_answer_that_panics_does_not_take_the_thread_with_it() {
    let authenticator = authenticator(&[("ann", "pw")]);
    assert_eq!(authenticator.begin(request("ann", "pw"), |_| panic!("deliberate")), None);
    assert_eq!(ask(&authenticator, request("ann", "other")), (BAD, false));
}

#[test]
fn requests_do_not_show_passwords() {
    assert!(!format!("{:?}", request("ann", "hunter2")).contains("hunter2"));
}

/// Runs SCRAM to its end and returns the last step.
fn scram(exchange: &mut dyn EnhancedAuth, user: &str, password: &str) -> Step {
    let (client, first) = ScramClient::new(user, password.into()).unwrap();
    let Step::Continue(challenge) = exchange.step(&first) else { panic!("no challenge") };
    let (check, answer) = client.answer(&challenge).unwrap();
    let last = exchange.step(&answer);
    if let Step::Done(_, proof) = &last {
        assert_eq!(check.verify(proof), Ok(()));
    }
    last
}

#[test]
fn scram_logs_in_and_tells_nothing_about_unknown_users() {
    let authenticator = authenticator(&[("ann", "pw")]);
    let begin = || authenticator.start_enhanced(METHOD, remote(), None).unwrap();
    assert_eq!(begin().method(), "SCRAM-SHA-256");
    let ann = Identity::user("ann".into(), Proof::Scram);
    assert!(matches!(scram(begin().as_mut(), "ann", "pw"), Step::Done(identity, _) if identity == ann));
    let failed = Step::Fail(Denial::BadCredentials);
    assert_eq!(scram(begin().as_mut(), "ann", "PW"), failed);
    assert_eq!(scram(begin().as_mut(), "carol", "pw"), failed);

    let challenge = |user: &str| {
        let Step::Continue(data) = begin().step(format!("n,,n={user},r=abc").as_bytes()) else { panic!() };
        let text = String::from_utf8(data).unwrap();
        let (nonce, rest) = text.split_once(',').unwrap();
        (nonce.len(), rest.len(), rest.to_owned())
    };
    let (known, unknown) = (challenge("ann"), challenge("carol"));
    assert_eq!((known.0, known.1), (unknown.0, unknown.1), "both look alike");
    assert_eq!(unknown, challenge("carol"), "the salt of an unknown user does not change");
    assert_ne!(unknown.2, challenge("dave").2);
}

#[test]
fn scram_messages_out_of_order_are_refused() {
    let authenticator = authenticator(&[("ann", "pw")]);
    let begin = || authenticator.start_enhanced(METHOD, remote(), None).unwrap();
    let refused = Step::Fail(Denial::NotAuthorized);

    // A client may begin without data and is asked once.
    let mut prompted = begin();
    assert_eq!(prompted.step(b""), Step::Continue(Vec::new()));
    assert!(matches!(scram(prompted.as_mut(), "ann", "pw"), Step::Done(..)));
    assert_eq!(prompted.step(b"n,,n=ann,r=abc"), refused, "it is over");
    let mut empty_twice = begin();
    assert_eq!(empty_twice.step(b""), Step::Continue(Vec::new()));
    assert_eq!(empty_twice.step(b""), refused);

    let mut repeated = begin();
    assert!(matches!(repeated.step(b"n,,n=ann,r=abc"), Step::Continue(_)));
    assert_eq!(repeated.step(b"n,,n=ann,r=abc"), refused);
    assert_eq!(repeated.step(b"n,,n=ann,r=abc"), refused);
}

#[test]
fn reauthentication_keeps_the_user() {
    let authenticator = authenticator(&[("ann", "pw"), ("bob", "pw")]);
    let ann = Identity::user("ann".into(), Proof::Password);
    let again = |known: &Identity| authenticator.start_enhanced(METHOD, remote(), Some(known)).unwrap();
    assert!(matches!(scram(again(&ann).as_mut(), "ann", "pw"), Step::Done(..)));
    assert_eq!(scram(again(&ann).as_mut(), "bob", "pw"), Step::Fail(Denial::NotAuthorized));
    let nobody = Identity::anonymous();
    assert_eq!(scram(again(&nobody).as_mut(), "bob", "pw"), Step::Fail(Denial::NotAuthorized));
}

#[test]
fn methods_that_nobody_can_use_are_not_offered() {
    let bad_method = Some(EnhancedRefusal::BadMethod);
    let with_scram = authenticator(&[("ann", "pw")]);
    for method in ["", "scram-sha-256", "SCRAM-SHA-256-PLUS", "PLAIN"] {
        assert_eq!(with_scram.start_enhanced(method, LOCAL, None).err(), bad_method, "{method}");
    }
    with_scram.set_users(None, OutsideRules::default());
    assert_eq!(with_scram.start_enhanced(METHOD, LOCAL, None).err(), bad_method);
    let switched_off = AuthSettings { scram: false, ..settings() };
    let without = Authenticator::new(users(&[("ann", "pw")]), switched_off).unwrap();
    assert_eq!(without.start_enhanced(METHOD, LOCAL, None).err(), bad_method);
}
