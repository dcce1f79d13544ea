//! Both sides against each other, against the RFC's example, and against broken input.

use super::*;
use proptest::prelude::*;

/// RFC 7677 §3.
const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &[u8] =
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn rfc_credentials() -> ScramCredentials {
    let salt = message::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    ScramCredentials::derive_with_salt(b"pencil", 4096, &salt).unwrap()
}

fn rfc_challenge() -> Challenge {
    let first = ClientFirst::parse(CLIENT_FIRST).unwrap();
    first.challenge_with_nonce(rfc_credentials(), SERVER_NONCE).0
}

fn rfc_client() -> ScramClient {
    ScramClient::with_nonce("user", Secret::from("pencil"), CLIENT_NONCE.to_owned()).unwrap().0
}

#[test]
fn the_server_follows_the_example_of_rfc_7677() {
    let first = ClientFirst::parse(CLIENT_FIRST).unwrap();
    assert_eq!(first.user(), "user");
    let (challenge, message) = first.challenge_with_nonce(rfc_credentials(), SERVER_NONCE);
    assert_eq!(message, SERVER_FIRST);
    assert_eq!(challenge.verify(CLIENT_FINAL).unwrap(), SERVER_FINAL);
}

#[test]
fn the_client_follows_the_example_of_rfc_7677() {
    let password = Secret::from("pencil");
    let (client, message) = ScramClient::with_nonce("user", password, CLIENT_NONCE.to_owned()).unwrap();
    assert_eq!(message, CLIENT_FIRST);
    let (check, message) = client.answer(SERVER_FIRST).unwrap();
    assert_eq!(message, CLIENT_FINAL);
    assert_eq!(check.verify(SERVER_FINAL), Ok(()));
}

#[test]
fn both_sides_agree_for_names_and_passwords_of_all_kinds() {
    for (user, password) in [("a", "b"), ("x=y,z", "p,=w"), ("Jürgen", "Größe ✓"), ("=2C", ",p=,r=")] {
        let stored = ScramCredentials::derive(password.as_bytes(), MIN_ITERATIONS).unwrap();
        let (client, first) = ScramClient::new(user, Secret::from(password)).unwrap();
        let parsed = ClientFirst::parse(&first).unwrap();
        assert_eq!(parsed.user(), user);
        let (challenge, message) = parsed.challenge(stored).unwrap();
        let (check, answer) = client.answer(&message).unwrap();
        assert_eq!(check.verify(&challenge.verify(&answer).unwrap()), Ok(()));
    }
}

#[test]
fn a_wrong_password_is_refused_by_the_server() {
    let (client, first) = ScramClient::new("user", Secret::from("pencils")).unwrap();
    let (challenge, message) = ClientFirst::parse(&first).unwrap().challenge(rfc_credentials()).unwrap();
    let (_, answer) = client.answer(&message).unwrap();
    assert_eq!(challenge.verify(&answer), Err(ScramError::Proof));
}

#[test]
fn a_server_that_does_not_know_the_user_is_refused_by_the_client() {
    let (check, _) = rfc_client().answer(SERVER_FIRST).unwrap();
    let mut forged = SERVER_FINAL.to_vec();
    forged[5] ^= 1;
    assert_eq!(check.verify(&forged), Err(ScramError::Proof));
    for (message, expected) in [
        (&b"e=invalid-proof"[..], ScramError::Refused),
        (b"", ScramError::Malformed),
        (b"v=", ScramError::Malformed),
        (b"v=AAAA", ScramError::Proof),
    ] {
        let (check, _) = rfc_client().answer(SERVER_FIRST).unwrap();
        assert_eq!(check.verify(message), Err(expected));
    }
}

#[test]
fn bad_first_messages_are_refused() {
    use ScramError::{Authorization, ChannelBinding, Extension, Malformed, Text};
    let cases: &[(&[u8], ScramError)] = &[
        (b"", Malformed),
        (b"n", Malformed),
        (b"n,", Malformed),
        (b"n,,", Malformed),
        (b"x,,n=user,r=abc", Malformed),
        (b"p=tls-unique,,n=user,r=abc", ChannelBinding),
        (b"n,,m=ext,n=user,r=abc", Extension),
        (b"n,,n=,r=abc", Malformed),
        (b"n,,n=user", Malformed),
        (b"n,,n=user,r=", Malformed),
        (b"n,,r=abc,n=user", Malformed),
        (b"n,,n=user,r=a\x7fc", Malformed),
        (b"n,,n=user,r=abc,,", Malformed),
        (b"n,,n=user,r=abc,x", Malformed),
        (b"n,,n=us=er,r=abc", Malformed),
        (b"n,,n=us=2cer,r=abc", Malformed),
        (b"n,,n=us\x07er,r=abc", Text),
        (b"n,,n=us\0er,r=abc", Malformed),
        (b"n,,n=us\xffer,r=abc", Malformed),
        (b"n,a=admin,n=user,r=abc", Authorization),
        (b"n,admin,n=user,r=abc", Malformed),
    ];
    for (message, expected) in cases {
        let shown = String::from_utf8_lossy(message);
        assert_eq!(ClientFirst::parse(message).map(|_| ()), Err(*expected), "{shown}");
    }
    let long = [b"n,,n=user,r=".as_slice(), &[b'a'; MAX_MESSAGE_BYTES]].concat();
    assert_eq!(ClientFirst::parse(&long).map(|_| ()), Err(Malformed));
}

#[test]
fn harmless_variants_of_the_first_message_are_accepted() {
    for message in [
        &b"y,,n=user,r=abc"[..],
        b"n,a=user,n=user,r=abc",
        b"n,,n=user,r=abc,x=unknown,y=more",
        "n,,n=us\u{ad}er,r=abc".as_bytes(),
    ] {
        assert_eq!(ClientFirst::parse(message).unwrap().user(), "user");
    }
}

#[test]
fn bad_final_messages_are_refused() {
    use ScramError::{ChannelBinding, Extension, Malformed, Nonce, Proof};
    let good = String::from_utf8(CLIENT_FINAL.to_vec()).unwrap();
    let cases = [
        (String::new(), Malformed),
        (good.replace(",p=", ",q="), Malformed),
        (good.replace("c=biws", "c=eSws"), ChannelBinding),
        (good.replace("c=biws", "c=!"), Malformed),
        (good.replace("c=biws", "m=biws"), Extension),
        (good.replace("r=rOpr", "r=rOpq"), Nonce),
        (good.replace("k0,p", "k,p"), Nonce),
        (good.replace("p=dH", "p=dI"), Proof),
        (good.replace("p=dHzb", "p="), Malformed),
        (good.replace(",p=", ",x=1,p="), Proof),
        (format!("{good},x=1"), Malformed),
    ];
    for (message, expected) in cases {
        assert_eq!(rfc_challenge().verify(message.as_bytes()), Err(expected), "{message}");
    }
}

#[test]
fn bad_challenges_are_refused_by_the_client() {
    use ScramError::{Extension, Iterations, Malformed, Nonce};
    let good = String::from_utf8(SERVER_FIRST.to_vec()).unwrap();
    let cases = [
        (String::new(), Malformed),
        (good.replace("r=rO", "r=RO"), Nonce),
        (good.replace(SERVER_NONCE, ""), Nonce),
        (good.replace("i=4096", "i=1"), Iterations),
        (good.replace("i=4096", "i=4000000000"), Iterations),
        (good.replace("i=4096", "i=+4096"), Malformed),
        (good.replace("s=W", "s=!"), Malformed),
        (format!("m=x,{good}"), Extension),
    ];
    for (message, expected) in cases {
        assert_eq!(rfc_client().answer(message.as_bytes()).map(|_| ()), Err(expected), "{message}");
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let shown = format!("{:?} {:?}", rfc_client(), rfc_challenge());
    assert!(!shown.contains("pencil"), "{shown}");
}

proptest! {
    #[test]
    fn no_input_makes_either_side_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ClientFirst::parse(&data);
        prop_assert!(rfc_challenge_cheap().verify(&data).is_err());
    }

    #[test]
    fn damaged_messages_never_pass(position in 0..CLIENT_FINAL.len(), replacement in any::<u8>()) {
        let mut damaged = CLIENT_FINAL.to_vec();
        prop_assume!(damaged[position] != replacement);
        damaged[position] = replacement;
        prop_assert!(rfc_challenge_cheap().verify(&damaged).is_err());
    }
}

/// The same challenge, without deriving the keys each time.
fn rfc_challenge_cheap() -> Challenge {
    use std::sync::OnceLock;
    static CREDENTIALS: OnceLock<ScramCredentials> = OnceLock::new();
    let credentials = CREDENTIALS.get_or_init(rfc_credentials).clone();
    ClientFirst::parse(CLIENT_FIRST).unwrap().challenge_with_nonce(credentials, SERVER_NONCE).0
}
