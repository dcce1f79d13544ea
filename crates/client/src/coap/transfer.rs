//! Whole bodies in messages of bounded size: block-wise transfer in both directions (RFC 7959, RFC 8323 §6), and the
//! repetition that Echo asks for (RFC 9175 §2).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tercet_coap::{Code, Number, Token};
use tokio::time::{Instant, timeout_at};

use super::block::Block;
use super::channel::Channel;
use super::error::{Error, Result};
use super::link::Capacity;
use super::message::Message;
use super::request::Manner;

/// How often a transfer begins anew because the representation changed under it, or the server lost its blocks.
const RESTARTS: usize = 4;
/// How often a request is repeated because the server wants an Echo.
const ECHOES: usize = 3;
/// What a message needs beside options and payload, generously.
const OVERHEAD: usize = 64;
/// SZX of a transfer in several blocks of 1,024 bytes for each message (RFC 8323 §6).
const BERT: u8 = 7;

/// One request with all its messages.
pub(super) struct Transfer<'c> {
    channel: &'c Channel,
    confirmable: bool,
    /// Exponent of the block size, as the client wants it or the server has reduced it.
    szx: u8,
    first_block: Option<u32>,
    /// Of the first message.
    token: Option<Token>,
    /// Keeps the body that was sent in blocks, and the blocks of its answer, apart from others (RFC 9175 §3).
    tag: Option<Token>,
    max_body: usize,
    deadline: Instant,
    timeout: Duration,
}

/// How a body is cut.
#[derive(Clone, Copy)]
struct Cut {
    szx: u8,
    /// Bytes in each message but the last.
    step: usize,
}

impl<'c> Transfer<'c> {
    pub(super) fn new(channel: &'c Channel, manner: &Manner, max_body: usize) -> Self {
        Self {
            channel,
            confirmable: manner.confirmable,
            szx: manner.szx,
            first_block: manner.first_block,
            token: manner.token.clone(),
            tag: None,
            max_body,
            deadline: Instant::now() + manner.timeout,
            timeout: manner.timeout,
        }
    }

    /// Makes the request; the answer has its whole body.
    pub(super) async fn run(mut self, request: &Message) -> Result<Message> {
        let first = self.upload(request).await?;
        self.download(request, first).await
    }

    /// Completes an answer of which the first block came: a notification.
    pub(super) async fn complete(mut self, request: &Message, first: Message) -> Result<Message> {
        self.download(request, first).await
    }

    /// Sends the body; the first answer that is not about a block.
    async fn upload(&mut self, request: &Message) -> Result<Message> {
        let Some(mut cut) = self.cut(request)? else {
            let mut message = request.clone();
            if let Some(num) = self.first_block {
                self.ask(&mut message, num);
            }
            let response = self.round(message).await?;
            // RFC 7959 §2.9.3: the server may have a size in mind.
            return match self.smaller(&response) {
                Some(smaller) if request.payload.len() > smaller.step => self.blocks(request, smaller).await,
                _ => Ok(response),
            };
        };
        for _ in 0..RESTARTS {
            let response = self.blocks(request, cut).await?;
            match self.smaller(&response) {
                Some(smaller) if smaller.szx < cut.szx => cut = smaller,
                _ if response.code == Code::REQUEST_ENTITY_INCOMPLETE => {}
                _ => return Ok(response),
            }
        }
        self.blocks(request, cut).await
    }

    /// One attempt to send the body in blocks.
    async fn blocks(&mut self, request: &Message, mut cut: Cut) -> Result<Message> {
        let tag = self.channel.link().token();
        self.tag = Some(tag.clone());
        let body = &request.payload;
        let mut offset = 0;
        loop {
            let end = body.len().min(offset + cut.step);
            let more = end < body.len();
            let mut message = Message { payload: body.slice(offset..end), ..request.clone() };
            let block = Block::new(block_number(offset, cut.szx)?, more, cut.szx);
            message.options.set_uint(Number::BLOCK1, block.to_uint());
            message.options.add(Number::REQUEST_TAG, tag.as_bytes());
            if offset == 0 {
                message.options.set_uint(Number::SIZE1, u32::try_from(body.len()).unwrap_or(u32::MAX));
            }
            if !more && let Some(num) = self.first_block {
                self.ask(&mut message, num);
            }
            let response = self.round(message).await?;
            if !more || !response.code.is_success() {
                return Ok(response);
            }
            // RFC 7959 §2.3: the server may go on with smaller blocks; what it took of this one stays taken.
            match response.options().uint(Number::BLOCK1).and_then(Block::from_uint) {
                Some(taken) if taken.szx() < cut.szx => {
                    cut = Cut { szx: taken.szx(), step: 16 << taken.szx() }
                }
                Some(_) => {}
                // A final answer before the end: the server does not look at the blocks.
                None => return Ok(response),
            }
            offset = end;
        }
    }

    /// Fetches the blocks that are missing from an answer.
    async fn download(&mut self, request: &Message, first: Message) -> Result<Message> {
        let mut first = first;
        for _ in 0..RESTARTS {
            let Some(block) = block2(&first) else { return Ok(first) };
            if !block.more() {
                return Ok(first);
            }
            if let Some(whole) = self.rest(request, &first, block).await? {
                return Ok(whole);
            }
            // The representation changed meanwhile (RFC 7959 §2.4).
            let mut again = self.continuation(request);
            self.ask(&mut again, 0);
            first = self.round(again).await?;
        }
        Err(Error::Protocol("the representation changes faster than it can be fetched".into()))
    }

    /// One attempt; `None` when the representation changed.
    async fn rest(&mut self, request: &Message, first: &Message, block: Block) -> Result<Option<Message>> {
        let mut body = BytesMut::from(&first.payload[..]);
        let start = block.offset();
        let mut szx = block.szx();
        loop {
            let offset = start + body.len();
            if body.len() > self.max_body {
                return Err(Error::TooLarge { limit: self.max_body });
            }
            if body.len() % (16 << szx.min(6)) != 0 {
                return Err(Error::Protocol("a block that is not full and not the last".into()));
            }
            let mut message = self.continuation(request);
            message
                .options
                .set_uint(Number::BLOCK2, Block::new(block_number(offset, szx)?, false, szx).to_uint());
            let response = self.round(message).await?;
            if !response.code.is_success() {
                return Ok(Some(response));
            }
            let Some(next) = block2(&response) else {
                return Err(Error::Protocol("an answer to a block without Block2".into()));
            };
            if response.etag() != first.etag() {
                return Ok(None);
            }
            if next.offset() != offset || next.szx() > szx || (response.payload.is_empty() && next.more()) {
                return Err(Error::Protocol("another block than the one that was asked for".into()));
            }
            szx = next.szx();
            body.extend_from_slice(&response.payload);
            if !next.more() {
                return Ok(Some(Message { payload: body.freeze(), ..first.clone() }));
            }
        }
    }

    /// One message and its answer. The same message again, with the Echo, if the server wants one.
    async fn round(&mut self, mut message: Message) -> Result<Message> {
        let mut echoes = ECHOES;
        loop {
            let pending = self.channel.send(message.clone(), self.confirmable, self.token.take())?;
            let response = match timeout_at(self.deadline, pending.response()).await {
                Ok(response) => response?,
                Err(_) => return Err(Error::Timeout { what: "the request".into(), after: self.timeout }),
            };
            match response.options().get(Number::ECHO) {
                Some(echo) if response.code == Code::UNAUTHORIZED && echoes > 0 => {
                    message.options.set(Number::ECHO, echo);
                    echoes -= 1;
                }
                _ => return Ok(response),
            }
        }
    }

    /// How the body has to be cut; `None` if it fits into one message.
    fn cut(&self, request: &Message) -> Result<Option<Cut>> {
        let length = request.payload.len();
        match self.channel.capacity() {
            Capacity::Datagram => {
                let step = 16 << self.szx;
                Ok((length > step).then_some(Cut { szx: self.szx, step }))
            }
            Capacity::Stream { max_message, blocks, bert } => {
                let room = max_message.saturating_sub(OVERHEAD + request.options().as_bytes().len());
                if length <= room {
                    return Ok(None);
                }
                let whole = room / 1024 * 1024;
                match (blocks, bert && whole > 0) {
                    (false, _) => Err(Error::TooLarge { limit: room }),
                    (true, true) => Ok(Some(Cut { szx: BERT, step: whole })),
                    (true, false) => Ok(Some(Cut { szx: self.szx, step: 16 << self.szx })),
                }
            }
        }
    }

    /// The smaller blocks that a 4.13 asks for.
    fn smaller(&self, response: &Message) -> Option<Cut> {
        if response.code != Code::REQUEST_ENTITY_TOO_LARGE {
            return None;
        }
        let szx = response.options().uint(Number::BLOCK1).and_then(Block::from_uint)?.szx();
        (szx < BERT).then_some(Cut { szx, step: 16 << szx })
    }

    /// The request for a further block: the same, without what was about the body (RFC 7959 §2.7) or the observation
    /// (RFC 7959 §2.6). The body of a FETCH that fitted into one message is part of what is asked for.
    fn continuation(&self, request: &Message) -> Message {
        let mut message = request.clone();
        if request.code != Code::FETCH || self.tag.is_some() {
            message.payload = Bytes::new();
        }
        message.options.remove(Number::OBSERVE).remove(Number::BLOCK1).remove(Number::SIZE1);
        if let Some(tag) = &self.tag {
            message.options.add(Number::REQUEST_TAG, tag);
        }
        message
    }

    /// Asks for a block of our size.
    fn ask(&self, message: &mut Message, num: u32) {
        message.options.set_uint(Number::BLOCK2, Block::new(num, false, self.szx).to_uint());
    }
}

fn block2(message: &Message) -> Option<Block> {
    message.options().uint(Number::BLOCK2).and_then(Block::from_uint)
}

fn block_number(offset: usize, szx: u8) -> Result<u32> {
    let number = offset / (16 << szx.min(6));
    // Twenty bits (RFC 7959 §2.2).
    u32::try_from(number)
        .ok()
        .filter(|number| *number < 1 << 20)
        .ok_or(Error::TooLarge { limit: (16 << szx.min(6)) << 20 })
}
