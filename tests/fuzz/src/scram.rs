//! SCRAM messages: nothing that was not made with the password is ever accepted, by either side.
//!
//! In the input, a line feed parts the first message of a client from its final one, and `NONCE` stands for the nonce
//! that the other side chose.

use tercet_scram::{ClientFirst, MIN_ITERATIONS, ScramClient, ScramCredentials};

/// The body of the target.
pub fn check(data: &[u8]) {
    let (first, last) = data.iter().position(|&byte| byte == b'\n').map_or((data, &[][..]), |at| {
        let (first, rest) = data.split_at(at);
        (first, &rest[1..])
    });
    server(first, last);
    client(first, last);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(stored) = text.parse::<ScramCredentials>()
    {
        assert_eq!(stored.to_string().parse().as_ref(), Ok(&stored));
        assert!(stored.iterations() >= MIN_ITERATIONS && stored.salt_len() > 0);
    }
}

fn server(first: &[u8], last: &[u8]) {
    let Ok(parsed) = ClientFirst::parse(first) else { return };
    assert!(!parsed.user().is_empty() && !parsed.user().contains('\0'));
    let nobody = ScramCredentials::decoy(&[7; 32], parsed.user(), None);
    let Ok((challenge, question)) = parsed.challenge(nobody) else { return };
    let nonce = attribute(&question, b"r=");
    assert!(challenge.verify(&crate::substitute(last, b"NONCE", nonce)).is_err());
}

fn client(question: &[u8], last: &[u8]) {
    let (client, first) = ScramClient::new("user", "pencil".into()).unwrap();
    let nonce = attribute(&first, b"r=");
    let question = crate::substitute(question, b"NONCE", nonce);
    // More iterations are only slower.
    let iterations = attribute(&question, b"i=");
    if iterations.len() > 4 {
        return;
    }
    if let Ok((check, answer)) = client.answer(&question) {
        assert!(answer.starts_with(b"c=biws,r=") && question.starts_with(b"r="));
        assert!(check.verify(last).is_err());
    }
}

/// The value behind the last `name` up to a comma; empty if there is none.
fn attribute<'a>(message: &'a [u8], name: &[u8]) -> &'a [u8] {
    let at = message.windows(name.len()).rposition(|window| window == name);
    let value = at.map_or(&[][..], |at| &message[at + name.len()..]);
    value.split(|&byte| byte == b',').next().unwrap_or_default()
}
