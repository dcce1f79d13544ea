//! NON PUTs that nobody answers.

use super::super::wire::{Datagram, Kind, Template, code, option, path};
use super::super::{Mail, Script, Turn, Wrong};
use super::resource;

/// Each client sends [`IN_A_ROW`] NON PUTs without wanting an answer (No-Response, RFC 7967), each with a value
/// of its own, and asks then, with a CON GET, for what has become of its resource: nothing may be behind.
#[derive(Debug)]
pub struct Flood {
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    put: Template,
    get: Template,
    value: u64,
}

/// NON PUTs before each GET.
pub const IN_A_ROW: u64 = 16;
/// Neither 2.xx nor 4.xx nor 5.xx is wanted.
const NO_ANSWER: &[u8] = &[26];

impl Flood {
    /// `clients` clients, a resource each.
    pub fn new(clients: usize) -> Self {
        let client = |at| {
            let resource = resource("flood", at);
            let path = path(&resource);
            let options = [path.as_slice(), &[(option::NO_RESPONSE, NO_ANSWER)]].concat();
            Client {
                put: Template::new(Kind::NonConfirmable, code::PUT, &options, &[0]),
                get: Template::new(Kind::Confirmable, code::GET, &path, b""),
                value: 0,
            }
        };
        Flood { clients: (0..clients).map(client).collect() }
    }
}

/// Sixteen digits, so that every server takes it for text.
fn written(value: u64) -> [u8; 16] {
    let mut text = [b'0'; 16];
    let mut rest = value;
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

impl Script for Flood {
    fn ask(&mut self, client: usize, mail: &mut Mail) -> Turn {
        let client = &mut self.clients[client];
        for _ in 0..IN_A_ROW {
            client.value += 1;
            client.put.set_payload(&written(client.value));
            mail.add(&client.put);
        }
        mail.add(&client.get);
        Turn::Asked
    }

    fn answered(&mut self, client: usize, answer: &Datagram<'_>) -> Result<u64, Wrong> {
        let current = answer.payload() == written(self.clients[client].value);
        if answer.code == code::CONTENT && current { Ok(IN_A_ROW) } else { Err(Wrong::of(answer)) }
    }
}
