//! Bodies that do not fit into a datagram (RFC 7959).

use super::super::wire::{Block, Datagram, Kind, Template, code, option, path};
use super::super::{Mail, Script, Turn, Wrong};
use super::resource;

/// Each client reads or writes the body of its resource, block after block, again and again; blocks are counted.
#[derive(Debug)]
pub struct Blocks {
    direction: Direction,
    paths: Vec<String>,
    /// The next block of each client.
    next: Vec<u32>,
    body: Vec<u8>,
    bodies: u64,
    /// How many bodies each client transfers; `None` for no end.
    left: Option<Vec<u32>>,
}

/// Where bodies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// GET with Block2.
    Read,
    /// PUT with Block1.
    Write,
}

/// Bytes of a body.
pub const BODY: usize = 65_536;
/// Blocks of 1,024 bytes, the largest there are.
const EXPONENT: u8 = 6;
const BLOCK: usize = 1 << (EXPONENT + 4);

impl Blocks {
    /// `clients` clients, a resource each.
    pub fn new(direction: Direction, clients: usize) -> Self {
        Blocks {
            direction,
            paths: (0..clients).map(|at| resource("blocks", at)).collect(),
            next: vec![0; clients],
            // Text in which no two blocks are equal.
            body: (0..BODY / 16).flat_map(|at| format!("{at:015}\n").into_bytes()).collect(),
            bodies: 0,
            left: None,
        }
    }

    /// The same, a single body each.
    #[must_use]
    pub fn once_each(self) -> Self {
        Blocks { left: Some(vec![1; self.next.len()]), ..self }
    }

    /// Bodies transferred.
    pub fn bodies(&self) -> u64 {
        self.bodies
    }

    fn block(&self, number: u32) -> &[u8] {
        let at = number as usize * BLOCK;
        self.body.get(at..(at + BLOCK).min(self.body.len())).unwrap_or_default()
    }

    fn is_last(number: u32) -> bool {
        (number as usize + 1) * BLOCK >= BODY
    }
}

impl Script for Blocks {
    fn ask(&mut self, client: usize, mail: &mut Mail) -> Turn {
        let number = self.next[client];
        if let Some(left) = self.left.as_mut().and_then(|left| left.get_mut(client)).filter(|_| number == 0) {
            if *left == 0 {
                return Turn::Ended;
            }
            *left -= 1;
        }
        let mut options = path(&self.paths[client]);
        let request = match self.direction {
            Direction::Read => {
                let block = Block { number, more: false, exponent: EXPONENT }.value();
                options.push((option::BLOCK2, &block));
                Template::new(Kind::Confirmable, code::GET, &options, b"")
            }
            Direction::Write => {
                let block = Block { number, more: !Blocks::is_last(number), exponent: EXPONENT }.value();
                options.push((option::BLOCK1, &block));
                Template::new(Kind::Confirmable, code::PUT, &options, self.block(number))
            }
        };
        mail.add(&request);
        Turn::Asked
    }

    fn answered(&mut self, client: usize, answer: &Datagram<'_>) -> Result<u64, Wrong> {
        let number = self.next[client];
        let last = Blocks::is_last(number);
        let right = match self.direction {
            Direction::Read => {
                let told = answer.uint(option::BLOCK2).map(Block::of);
                let expected = Block { number, more: !last, exponent: EXPONENT };
                answer.code == code::CONTENT
                    && told == Some(expected)
                    && answer.payload() == self.block(number)
            }
            Direction::Write if last => matches!(answer.code, code::CHANGED | code::CREATED),
            Direction::Write => answer.code == code::CONTINUE,
        };
        if !right {
            self.next[client] = 0;
            return Err(Wrong::of(answer));
        }
        self.next[client] = if last { 0 } else { number + 1 };
        self.bodies += u64::from(last);
        Ok(1)
    }
}
