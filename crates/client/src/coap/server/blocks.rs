//! Block-wise transfer on the server's side (RFC 7959): bodies that arrive, and answers that are fetched piece by piece.
//!
//! A body reaches its handler whole or not at all. What is kept for clients is bounded in number and size; the oldest
//! makes room.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tercet_coap::{Code, Number, Options};

use super::super::block::Block;
use super::super::message::Message;
use super::request::{Peer, Request};

/// Bodies that are kept at the same time, in each direction.
const KEPT: usize = 256;
/// How long a body waits for its next block (RFC 7959 §2.4 and §2.5: EXCHANGE_LIFETIME).
const LIFETIME: Duration = Duration::from_secs(247);
/// Exponent of the usual block size.
const SZX: u8 = 6;
/// Several blocks of 1,024 bytes in each message (RFC 8323 §6).
const BERT: u8 = 7;

/// How much fits into one message to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes of payload.
    pub(super) payload: usize,
    /// Whether blocks may have SZX 7, by which way they go.
    pub(super) bert: Bert,
}

/// Whether several blocks of 1,024 bytes may go in each message (RFC 8323 §6): a side takes them if it announced messages
/// of more than 1,152 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bert {
    /// Over datagrams: never.
    Reserved,
    /// In requests only.
    Taken,
    /// In requests and answers.
    Both,
}

/// What a block of a request leads to.
pub(super) enum Assembled {
    /// The request with its whole body, and the Block1 that the answer has to carry.
    Whole(Message, Option<u32>),
    /// The answer to a block that is not the last.
    Partial(Message),
}

/// Bodies on their way.
pub(super) struct Blocks {
    max_body: usize,
    arriving: VecDeque<Arriving>,
    leaving: VecDeque<Leaving>,
}

/// Which requests belong together: peer, method and cache key with Request-Tag (RFC 9175 §3.3).
#[derive(PartialEq, Eq)]
struct Key {
    peer: SocketAddr,
    method: Code,
    options: Vec<u8>,
}

struct Arriving {
    key: Key,
    body: BytesMut,
    touched: Duration,
}

struct Leaving {
    key: Key,
    answer: Message,
    since: Duration,
}

impl Blocks {
    pub(super) fn new(max_body: usize) -> Self {
        Self { max_body, arriving: VecDeque::new(), leaving: VecDeque::new() }
    }

    /// Takes a request: the whole if it has no Block1 or the last one.
    pub(super) fn assemble(
        &mut self,
        peer: &Peer,
        message: Message,
        room: Room,
        now: Duration,
    ) -> Result<Assembled, Message> {
        let Some(block) = block(message.options(), Number::BLOCK1, room)? else {
            return Ok(Assembled::Whole(message, None));
        };
        let key = Key::of(peer, message.code, message.options());
        self.arriving.retain(|arriving| now.saturating_sub(arriving.touched) < LIFETIME);
        let place = self.arriving.iter().position(|arriving| arriving.key == key);
        let mut body = match (block.num(), place) {
            (0, place) => {
                place.map(|place| self.arriving.remove(place));
                BytesMut::new()
            }
            (_, Some(place)) => self.arriving.remove(place).map(|arriving| arriving.body).unwrap_or_default(),
            (_, None) => return Err(Message::new(Code::REQUEST_ENTITY_INCOMPLETE)),
        };
        let announced = message.options().uint(Number::SIZE1).unwrap_or(0) as usize;
        if body.len() + message.payload.len() > self.max_body || announced > self.max_body {
            let mut refusal = Message::new(Code::REQUEST_ENTITY_TOO_LARGE);
            let limit = u32::try_from(self.max_body).unwrap_or(u32::MAX);
            refusal.options.set_uint(Number::SIZE1, limit);
            return Err(refusal);
        }
        if block.offset() != body.len() {
            return Err(Message::new(Code::REQUEST_ENTITY_INCOMPLETE));
        }
        let full = message.payload.len().is_multiple_of(block.unit()) && !message.payload.is_empty();
        if block.more() && !(full && (block.szx() == BERT || message.payload.len() == block.unit())) {
            return Err(Message::diagnostic(Code::BAD_REQUEST, "a block that is not full and not the last"));
        }
        body.extend_from_slice(&message.payload);
        if block.more() {
            if self.arriving.len() >= KEPT {
                self.arriving.pop_front();
            }
            self.arriving.push_back(Arriving { key, body, touched: now });
            let mut answer = Message::new(Code::CONTINUE);
            answer.options.set_uint(Number::BLOCK1, block.to_uint());
            return Ok(Assembled::Partial(answer));
        }
        let mut whole = Message { payload: body.freeze(), ..message };
        whole.options.remove(Number::BLOCK1).remove(Number::SIZE1);
        Ok(Assembled::Whole(whole, Some(block.to_uint())))
    }

    /// Keeps an answer whose first block was sent.
    pub(super) fn keep(&mut self, request: &Request, answer: Message, now: Duration) {
        let key = Key::of(request.peer(), request.method(), request.options());
        self.leaving.retain(|leaving| leaving.key != key && now.saturating_sub(leaving.since) < LIFETIME);
        if self.leaving.len() >= KEPT {
            self.leaving.pop_front();
        }
        self.leaving.push_back(Leaving { key, answer, since: now });
    }

    /// A further block of an answer that was kept; `None` if the request is not for one.
    pub(super) fn further_block(
        &mut self,
        peer: &Peer,
        request: &Message,
        room: Room,
    ) -> Option<Result<Message, Message>> {
        let options = request.options();
        match block(options, Number::BLOCK2, room) {
            Ok(Some(block)) if block.num() > 0 && request.code != Code::GET => {
                let key = Key::of(peer, request.code, options);
                let leaving = self.leaving.iter().find(|leaving| leaving.key == key);
                match leaving {
                    Some(leaving) => Some(slice(options, &leaving.answer, room)),
                    // What a FETCH gives can be made again (RFC 8132 §2).
                    None if request.code == Code::FETCH => None,
                    None => Some(Err(Message::new(Code::REQUEST_ENTITY_INCOMPLETE))),
                }
            }
            Ok(_) => None,
            Err(refusal) => Some(Err(refusal)),
        }
    }
}

impl Key {
    fn of(peer: &Peer, method: Code, options: Options<'_>) -> Self {
        let counts = |number: Number| {
            matches!(number, Number::URI_HOST | Number::URI_PORT | Number::URI_PATH | Number::URI_QUERY)
                || (number.is_cache_key() && number != Number::ETAG)
        };
        let kept: tercet_coap::OptionBuf = options.iter().filter(|(number, _)| counts(*number)).collect();
        Self { peer: peer.address, method, options: kept.as_options().as_bytes().to_vec() }
    }
}

/// The block of an answer that a request asks for, or the whole if it fits.
pub(super) fn slice(options: Options<'_>, answer: &Message, room: Room) -> Result<Message, Message> {
    let wanted = block(options, Number::BLOCK2, room)?;
    let body = &answer.payload;
    let mut answer = answer.clone();
    let (offset, szx) = match wanted {
        None if body.len() <= room.payload => return Ok(answer),
        Some(block) if body.is_empty() && block.num() == 0 => return Ok(answer),
        None => (0, if room.bert == Bert::Both { BERT } else { SZX }),
        Some(block) => (block.offset(), block.szx()),
    };
    if offset > 0 && offset >= body.len() {
        return Err(Message::diagnostic(Code::BAD_REQUEST, "no such block"));
    }
    let unit = 16 << szx.min(SZX);
    let step =
        if szx == BERT && room.bert == Bert::Both { (room.payload / unit).max(1) * unit } else { unit };
    let end = body.len().min(offset + step);
    let more = end < body.len();
    let num = u32::try_from(offset / unit).unwrap_or(u32::MAX);
    let total = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if more || options.contains(Number::SIZE2) {
        answer.options.set_uint(Number::SIZE2, total);
    }
    answer.options.set_uint(Number::BLOCK2, Block::new(num, more, szx).to_uint());
    answer.payload = Bytes::slice(&answer.payload, offset..end);
    Ok(answer)
}

/// A Block option, if it may be used here (RFC 7959 §2.2: SZX 7 is reserved over datagrams).
fn block(options: Options<'_>, number: Number, room: Room) -> Result<Option<Block>, Message> {
    match options.uint(number).and_then(Block::from_uint) {
        Some(block) if block.szx() == BERT && room.bert == Bert::Reserved => {
            Err(Message::diagnostic(Code::BAD_REQUEST, "the block size 7 is reserved"))
        }
        block => Ok(block),
    }
}
