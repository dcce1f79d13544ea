//! Bodies in bursts of datagrams (RFC 9177), of clients that send Q-Block1 or Q-Block2.
//!
//! What a client sends is gathered by [`Bodies`](super::bodies::Bodies); the gaps are told when a later set has begun or nothing
//! more comes. What it is answered goes out set by set, each when the client asks for it: a request with M set asks for the
//! rest of a set, one without for a single block. So nothing is kept for it here, and a client that says nothing more is sent
//! nothing more. Notifications are not sent in bursts: the client asks for what does not fit into one.

use smallvec::SmallVec;
use tercet_coap::block::{Block, BlockSize};
use tercet_coap::endpoint::{Heading, Tag};
use tercet_coap::qblock::{Parameters, QUpload, missing};
use tercet_coap::{Code, ContentFormat, Message, Number, Options, Token};

use super::bodies;
use super::pipeline::Exchange;
use super::writing::{self, Framing};
use crate::coap::caller::Caller;
use crate::coap::node::{Node, Turn};
use crate::coap::outlet::ReplyTo;
use crate::coap::peer::Origin;
use crate::coap::response::Response;

/// Blocks sent for one request: MAX_PAYLOADS (RFC 9177 §7.2).
pub const SET: usize = 10;

/// The blocks of an answer that a client asks for.
pub type Wanted = SmallVec<[Block; 1]>;

/// Whether bursts can be used with whom a request comes from: with one who sends plain datagrams.
pub fn fits(to: &ReplyTo) -> bool {
    matches!(to, ReplyTo::Datagram(reply) if !reply.is_multicast())
}

/// The blocks that the Q-Block2 options of a request ask for, all of one size. `None` when they do not.
pub fn wanted(options: Options<'_>) -> Option<Wanted> {
    let mut all = Wanted::new();
    for (_, value) in options.iter().filter(|&(number, _)| number == Number::Q_BLOCK2).take(SET) {
        let value = value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let block = Block::from_uint(value)?;
        if block.size.is_bert() || all.first().is_some_and(|first| first.size != block.size) {
            return None;
        }
        all.push(block);
    }
    Some(all)
}

/// The numbers of the blocks to send of a body of `count` blocks, in order.
fn numbers(wanted: &[Block], count: u32) -> SmallVec<[u32; SET]> {
    let set = Parameters::default().max_payloads;
    let mut numbers: SmallVec<[u32; SET]> = SmallVec::new();
    for block in wanted {
        let end = if block.more { block.number / set * set + set } else { block.number + 1 };
        for number in block.number..end.min(count) {
            if numbers.len() < SET && !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
    numbers
}

impl Node {
    /// Takes in a block of a body that comes in bursts.
    pub(super) fn request_in_burst(
        &mut self,
        exchange: Exchange,
        message: &Message<'_>,
        caller: &Caller,
        turn: &mut Turn<'_>,
    ) {
        let gathered = self.bodies.gather(exchange.to.origin(), message, self.outlet.time);
        match gathered {
            QUpload::Wait => self.outlet.suppress(exchange.to),
            QUpload::Complete(body) => {
                self.dispatch(exchange, &Message { payload: &body, ..*message }, caller, turn);
            }
            QUpload::Continue(block) => {
                let framing = Framing { q_block1: Some(block.to_uint()), ..Framing::default() };
                self.respond(exchange, &Response::new(Code::CONTINUE), framing, 0..0);
            }
            QUpload::Missing(numbers) => self.answer(exchange, &incomplete(&numbers), None),
            QUpload::Refused(refusal) => {
                let (response, _, size1) = bodies::response(refusal);
                let all = 0..response.body.as_bytes().len();
                self.respond(exchange, &response, Framing { size1, ..Framing::default() }, all);
            }
        }
    }

    /// Answers with the blocks that are asked for: the first in place of the answer, the others behind it.
    pub(super) fn answer_in_burst(
        &mut self,
        exchange: Exchange,
        response: &Response,
        observe: Option<u32>,
        wanted: &[Block],
    ) {
        let body = response.body.as_bytes();
        let asked = wanted.first().map_or(BlockSize::MAX, |block| block.size);
        let size = match wanted {
            // The size may be made smaller at the beginning only.
            [first, ..] if first.number == 0 => asked.min(self.settings.largest_block()),
            _ => asked,
        };
        let count = u32::try_from(body.len().div_ceil(size.bytes())).unwrap_or(u32::MAX).max(1);
        let numbers = numbers(wanted, count);
        let Some((&first, others)) = numbers.split_first() else {
            return self.respond(exchange, &Response::new(Code::BAD_REQUEST), Framing::default(), 0..0);
        };
        let part = |number: u32| {
            let block = Block { number, more: number + 1 < count, size };
            let framing = Framing {
                q_block2: Some(block.to_uint()),
                size2: u32::try_from(body.len()).ok(),
                ..Framing::default()
            };
            (framing, block.offset()..body.len().min(block.offset() + size.bytes()))
        };
        let (origin, token) = (exchange.to.origin(), exchange.token.clone());
        if let Some(fingerprint) = exchange.once
            && numbers.len() < count as usize
        {
            self.bodies.keep(origin, fingerprint, response.clone(), self.outlet.time);
        }
        let (framing, range) = part(first);
        self.respond(exchange, response, Framing { observe, ..framing }, range);
        for &number in others {
            let (framing, range) = part(number);
            let payload = body.get(range).unwrap_or_default();
            let heading = Heading { code: response.code, token: &token, tag: Tag::default() };
            let write = |writer: &mut tercet_coap::Writer<'_>| {
                writing::write(writer, response, &framing, payload);
            };
            if self.outlet.send_once(origin, heading, write).is_err() {
                // What is not sent now is missed and asked for again.
                break;
            }
        }
    }

    /// Tells clients what is missing of their bodies, as nothing more has come for a while.
    pub(crate) fn bursts_due(&mut self) {
        let mut due: SmallVec<[(Origin, Token, Response); 1]> = SmallVec::new();
        self.bodies.gather_due(self.outlet.time, |inform| {
            due.push((inform.peer, inform.token, incomplete(&inform.missing)));
        });
        for (origin, token, response) in due {
            let heading = Heading { code: response.code, token: &token, tag: Tag::default() };
            // One that cannot be told will ask, or give up.
            let _ = self.outlet.send_once(origin, heading, |writer| {
                writing::write(writer, &response, &Framing::default(), response.body.as_bytes());
            });
        }
    }
}

/// 4.08, with the numbers of what is missing; without any the body is given up (RFC 9177 §4.3).
fn incomplete(numbers: &[u32]) -> Response {
    if numbers.is_empty() {
        return Response::diagnostic(Code::REQUEST_ENTITY_INCOMPLETE, "blocks are missing");
    }
    let mut payload = Vec::new();
    missing::write(numbers, &mut payload);
    let format = ContentFormat(missing::CONTENT_FORMAT);
    Response { code: Code::REQUEST_ENTITY_INCOMPLETE, ..Response::content(format, payload) }
}

#[cfg(test)]
mod tests {
    use tercet_coap::OptionBuf;

    use super::*;

    fn block(number: u32, more: bool) -> Block {
        Block { number, more, size: BlockSize::MIN }
    }

    #[test]
    fn what_is_asked_for_is_sent_once_and_never_more_than_a_set() {
        let cases: [(&[Block], u32, &[u32]); 7] = [
            (&[block(0, true)], 100, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (&[block(0, false)], 100, &[0]),
            (&[block(10, true)], 13, &[10, 11, 12]),
            (&[block(18, true)], 100, &[18, 19]),
            (&[block(3, false), block(7, false), block(3, false)], 100, &[3, 7]),
            (&[block(0, true), block(20, true)], 100, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (&[block(5, true)], 5, &[]),
        ];
        for (wanted, count, expected) in cases {
            assert_eq!(numbers(wanted, count).as_slice(), expected, "{wanted:?}");
        }
    }

    #[test]
    fn blocks_of_one_size_can_be_asked_for() {
        let read = |values: &[u32]| {
            let mut options = OptionBuf::new();
            for &value in values {
                options.add_uint(Number::Q_BLOCK2, value);
            }
            wanted(options.as_options()).map(|all| all.len())
        };
        assert_eq!(read(&[]), Some(0));
        assert_eq!(read(&[0x0E, 0x16, 0x26]), Some(3));
        assert_eq!(read(&[0x0E, 0x15]), None, "two sizes");
        assert_eq!(read(&[0x0F]), None, "the reserved size");
        assert_eq!(read(&[0x0E; 40]), Some(SET));
    }
}
