//! Block-wise transfer on the server's side (RFC 7959): bodies that arrive, and answers that are fetched piece by piece.
//!
//! A body reaches its handler whole or not at all. What is kept for clients is bounded in number and size.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tercet_coap::block::{
    Block, Carrier, Fingerprints, KeptBodies, Refusal, Upload, UploadBounds, Uploads, serve,
};
use tercet_coap::{Code, Number, Options};

use super::super::message::Message;
use super::request::{Peer, Request};

/// Answers that are kept for their later blocks, of all peers and of one.
const KEPT: (usize, usize) = (256, 4);
/// For so long: EXCHANGE_LIFETIME (RFC 7252 §4.8.2).
const LIFETIME: Duration = Duration::from_secs(247);

/// What a block of a request leads to.
pub(super) enum Assembled {
    /// The request with its whole body, and the Block1 that the answer has to carry.
    Whole(Message, Option<Block>),
    /// The answer to a block that is not the last.
    Partial(Message),
}

/// Bodies on their way.
pub(super) struct Blocks {
    fingerprints: Fingerprints,
    arriving: Uploads<SocketAddr>,
    leaving: KeptBodies<SocketAddr, Leaving>,
}

struct Leaving {
    /// Of the request: that of a FETCH is part of what it asks for.
    payload: Bytes,
    answer: Message,
}

impl Blocks {
    /// No bodies yet; `key` has to be unpredictable.
    pub(super) fn new(max_body: usize, key: [u64; 2]) -> Self {
        let bounds = UploadBounds { body: max_body, ..UploadBounds::default() };
        Self {
            fingerprints: Fingerprints::new(key),
            arriving: Uploads::new(bounds),
            leaving: KeptBodies::new(KEPT.0, KEPT.1, LIFETIME),
        }
    }

    /// Takes a request: the whole if it has no Block1 or the last one.
    pub(super) fn assemble(
        &mut self,
        peer: &Peer,
        message: Message,
        carrier: Carrier,
        now: Duration,
    ) -> Result<Assembled, Message> {
        let fingerprint = self.fingerprints.of(&message.as_wire());
        let bert = matches!(carrier, Carrier::Stream(_));
        let payload = message.payload.clone();
        let upload = self.arriving.receive(peer.address, fingerprint, message.options(), &payload, bert, now);
        match upload {
            Upload::Whole(_) => Ok(Assembled::Whole(message, None)),
            Upload::Complete(body, block) => {
                let mut whole = Message { payload: body.into(), ..message };
                whole.options.remove(Number::BLOCK1).remove(Number::SIZE1);
                Ok(Assembled::Whole(whole, Some(block)))
            }
            Upload::Continue(block) => {
                let mut answer = Message::new(Code::CONTINUE);
                answer.options.set_uint(Number::BLOCK1, block.to_uint());
                Ok(Assembled::Partial(answer))
            }
            Upload::Refused(refusal) => Err(refused(&refusal)),
        }
    }

    /// Keeps an answer whose first block was sent.
    pub(super) fn keep(&mut self, request: &Request, answer: Message, now: Duration) {
        let fingerprint = self.fingerprints.of(&request.message().as_wire());
        let leaving = Leaving { payload: request.payload().clone(), answer };
        self.leaving.insert(request.peer().address, fingerprint, leaving, now);
    }

    /// A further block of an answer that was kept; `None` if the request is not for one.
    pub(super) fn further_block(
        &mut self,
        peer: &Peer,
        request: &Message,
        carrier: Carrier,
        now: Duration,
    ) -> Option<Result<Message, Message>> {
        let block = Block::of(request.options(), Number::BLOCK2)?;
        if block.number == 0 || request.code == Code::GET {
            return None;
        }
        self.leaving.expire(now);
        let fingerprint = self.fingerprints.of(&request.as_wire());
        let same = |leaving: &&Leaving| request.payload.is_empty() || request.payload == leaving.payload;
        match self.leaving.get(peer.address, fingerprint).filter(same) {
            Some(leaving) => Some(slice(request.options(), leaving.answer.clone(), carrier)),
            // What a FETCH gives can be made again (RFC 8132 §2).
            None if request.code == Code::FETCH => None,
            None => Some(Err(Message::new(Code::REQUEST_ENTITY_INCOMPLETE))),
        }
    }
}

fn refused(refusal: &Refusal) -> Message {
    let mut answer = Message::diagnostic(refusal.code, refusal.diagnostic);
    let block = refusal.block.map(Block::to_uint);
    let values =
        [(Number::MAX_AGE, refusal.max_age), (Number::BLOCK1, block), (Number::SIZE1, refusal.size1)];
    for (number, value) in values {
        if let Some(value) = value {
            answer.options.set_uint(number, value);
        }
    }
    answer
}

/// The block of an answer that a request asks for, or the whole if it fits.
pub(super) fn slice(options: Options<'_>, mut answer: Message, carrier: Carrier) -> Result<Message, Message> {
    let wanted = Block::of(options, Number::BLOCK2);
    // An answer without a body has no blocks, whatever was asked for.
    if answer.payload.is_empty() && wanted.is_none_or(|block| block.number == 0 && !block.size.is_bert()) {
        return Ok(answer);
    }
    let slice = serve(answer.payload.len(), wanted, carrier)
        .map_err(|error| Message::diagnostic(Code::BAD_REQUEST, error.to_string()))?;
    if let Some(block) = slice.block {
        answer.options.set_uint(Number::BLOCK2, block.to_uint());
    }
    if let Some(total) = slice.size2 {
        answer.options.set_uint(Number::SIZE2, total);
    }
    answer.payload = answer.payload.slice(slice.range);
    Ok(answer)
}
