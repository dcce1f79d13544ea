//! Requests about small resources.

use super::super::wire::{Datagram, Kind, SMALL, Template, code, option, path};
use super::super::{Mail, Script, Turn, Wrong};

/// Clients that ask the same thing again and again, or once.
#[derive(Debug)]
pub struct Small {
    requests: Vec<Template>,
    expected: Expected,
    /// How often each client still asks; `None` for no end.
    left: Option<Vec<u32>>,
}

/// What an answer must be.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Value,
    Stored,
    Observation,
}

/// The path of a resource of a number, the same at every server.
pub fn resource(kind: &str, number: usize) -> String {
    format!("ps/bench/{kind}/{number}")
}

impl Small {
    /// GET of the resources, a client each in turn.
    pub fn get(resources: &[String]) -> Self {
        let request = |at: &String| Template::new(Kind::Confirmable, code::GET, &path(at), b"");
        Small { requests: resources.iter().map(request).collect(), expected: Expected::Value, left: None }
    }

    /// PUT of [`SMALL`] to the resources, a client each in turn.
    pub fn put(resources: &[String]) -> Self {
        let request = |at: &String| Template::new(Kind::Confirmable, code::PUT, &path(at), SMALL);
        Small { requests: resources.iter().map(request).collect(), expected: Expected::Stored, left: None }
    }

    /// Registration as an observer of the resources, a client each in turn.
    pub fn observe(resources: &[String]) -> Self {
        let register = |at: &String| {
            let options = [vec![(option::OBSERVE, &[][..])], path(at)].concat();
            Template::new(Kind::Confirmable, code::GET, &options, b"")
        };
        Small {
            requests: resources.iter().map(register).collect(),
            expected: Expected::Observation,
            left: None,
        }
    }

    /// The same, by `clients` clients once each.
    #[must_use]
    pub fn once_each(self, clients: usize) -> Self {
        Small { left: Some(vec![1; clients]), ..self }
    }
}

impl Script for Small {
    fn ask(&mut self, client: usize, mail: &mut Mail) -> Turn {
        if let Some(left) = self.left.as_mut().and_then(|left| left.get_mut(client)) {
            if *left == 0 {
                return Turn::Ended;
            }
            *left -= 1;
        }
        mail.add(&self.requests[client % self.requests.len()]);
        Turn::Asked
    }

    fn answered(&mut self, _: usize, answer: &Datagram<'_>) -> Result<u64, Wrong> {
        let right = match self.expected {
            Expected::Value => answer.code == code::CONTENT && answer.payload() == SMALL,
            Expected::Stored => matches!(answer.code, code::CHANGED | code::CREATED),
            Expected::Observation => answer.code == code::CONTENT && answer.uint(option::OBSERVE).is_some(),
        };
        if right { Ok(1) } else { Err(Wrong::of(answer)) }
    }
}
