//! Whole bodies in messages of bounded size: block-wise transfer in both directions (RFC 7959, RFC 8323 §6), and the
//! repetition that Echo asks for (RFC 9175 §2).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tercet_coap::block::{Block, BlockSize, Progress, ReceiveError, Receiver, Sender, Step};
use tercet_coap::{Code, Number, Token};
use tokio::time::{Instant, timeout_at};

use super::channel::Channel;
use super::error::{Error, Result};
use super::link::Capacity;
use super::message::Message;
use super::request::Manner;

/// How often a request is repeated because the server wants an Echo.
const ECHOES: usize = 3;
/// What a message needs beside options and payload, generously.
const OVERHEAD: usize = 64;

/// One request with all its messages.
pub(super) struct Transfer<'c> {
    channel: &'c Channel,
    confirmable: bool,
    /// As the client wants it over datagrams.
    size: BlockSize,
    first_block: Option<u32>,
    /// Of the first message.
    token: Option<Token>,
    /// Keeps the body that was sent in blocks, and the blocks of its answer, apart from others (RFC 9175 §3).
    tag: Option<Token>,
    max_body: usize,
    deadline: Instant,
    timeout: Duration,
}

impl<'c> Transfer<'c> {
    pub(super) fn new(channel: &'c Channel, manner: &Manner, max_body: usize) -> Self {
        Self {
            channel,
            confirmable: manner.confirmable,
            size: manner.block_size,
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
        match self.first_block {
            Some(number) if number > 0 => self.after_block(request, first).await,
            _ => self.download(request, first).await,
        }
    }

    /// Completes an answer of which the first block came: a notification.
    pub(super) async fn complete(mut self, request: &Message, first: Message) -> Result<Message> {
        self.download(request, first).await
    }

    /// Sends the body; the first answer that is not about a block.
    async fn upload(&mut self, request: &Message) -> Result<Message> {
        let length = request.payload.len();
        let mut sender = match self.sender(request)? {
            Some(sender) => sender,
            None => {
                let mut message = request.clone();
                self.ask_first(&mut message);
                let response = self.round(message).await?;
                // RFC 7959 §2.9.3: the server may have a size in mind.
                let wanted = Block::of(response.options(), Number::BLOCK1).map(|block| block.size);
                match wanted.filter(|size| !size.is_bert() && length > size.bytes()) {
                    Some(size) if response.code == Code::REQUEST_ENTITY_TOO_LARGE => {
                        Sender::new(length, size, size.bytes())
                    }
                    _ => return Ok(response),
                }
            }
        };
        let tag = self.channel.link().token();
        self.tag = Some(tag.clone());
        let mut piece = sender.piece();
        loop {
            let Some(now) = piece else { return Err(Error::TooLarge { limit: length }) };
            let last = now.range.end == length;
            let mut message = Message { payload: request.payload.slice(now.range), ..request.clone() };
            message.options.set_uint(Number::BLOCK1, now.block.to_uint());
            message.options.add(Number::REQUEST_TAG, &tag);
            if let Some(total) = now.size1 {
                message.options.set_uint(Number::SIZE1, total);
            }
            if last {
                self.ask_first(&mut message);
            }
            let response = self.round(message).await?;
            match sender.on_response(&response.as_wire()) {
                Progress::Next(next) => piece = Some(next),
                Progress::Finished => return Ok(response),
            }
        }
    }

    /// Fetches the blocks that are missing from an answer.
    async fn download(&mut self, request: &Message, first: Message) -> Result<Message> {
        let bert = matches!(self.channel.capacity(), Capacity::Stream { .. });
        let mut receiver = Receiver::new(self.max_body, bert);
        let mut latest = first.clone();
        while latest.code.is_success() {
            match receiver.on_response(&latest.as_wire()).map_err(|error| self.broken(error))? {
                Step::Ask(block) => {
                    let mut message = self.continuation(request);
                    message.options.set_uint(Number::BLOCK2, block.to_uint());
                    latest = self.round(message).await?;
                }
                Step::Complete => {
                    let options = if latest.etag() == first.etag() { first.options } else { latest.options };
                    return Ok(Message { options, payload: receiver.into_body().into(), ..latest });
                }
            }
        }
        Ok(latest)
    }

    /// Fetches what follows a block in the middle.
    async fn after_block(&mut self, request: &Message, first: Message) -> Result<Message> {
        let mut body = BytesMut::from(&first.payload[..]);
        let mut latest = Block::of(first.options(), Number::BLOCK2).filter(|_| first.code.is_success());
        while let Some(block) = latest.filter(|block| block.more) {
            if body.len() > self.max_body {
                return Err(Error::TooLarge { limit: self.max_body });
            }
            let mut message = self.continuation(request);
            let next = Block { number: block.number + 1, more: false, size: block.size };
            message.options.set_uint(Number::BLOCK2, next.to_uint());
            let response = self.round(message).await?;
            latest = Block::of(response.options(), Number::BLOCK2).filter(|_| response.code.is_success());
            if latest.is_none_or(|block| block.offset() != next.offset()) || response.etag() != first.etag() {
                return Err(self.broken(ReceiveError::WrongBlock));
            }
            body.extend_from_slice(&response.payload);
        }
        Ok(Message { payload: body.freeze(), ..first })
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

    /// What sends the body in blocks; `None` if it fits into one message.
    fn sender(&self, request: &Message) -> Result<Option<Sender>> {
        let length = request.payload.len();
        let plain = Sender::new(length, self.size, self.size.bytes());
        match self.channel.capacity() {
            Capacity::Datagram => Ok((length > self.size.bytes()).then_some(plain)),
            Capacity::Stream { max_message, blocks, bert } => {
                let room = max_message.saturating_sub(OVERHEAD + request.options().as_bytes().len());
                match (blocks, bert && room >= BlockSize::BERT.bytes()) {
                    _ if length <= room => Ok(None),
                    (false, _) => Err(Error::TooLarge { limit: room }),
                    (true, true) => Ok(Some(Sender::new(length, BlockSize::BERT, room))),
                    (true, false) => {
                        let size = self.size.min(BlockSize::within(room));
                        Ok(Some(Sender::new(length, size, size.bytes())))
                    }
                }
            }
        }
    }

    /// Asks for a block of our size, if one is to be asked for.
    fn ask_first(&self, message: &mut Message) {
        if let Some(number) = self.first_block {
            let block = Block { number, more: false, size: self.size };
            message.options.set_uint(Number::BLOCK2, block.to_uint());
        }
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

    fn broken(&self, error: ReceiveError) -> Error {
        match error {
            ReceiveError::TooLarge => Error::TooLarge { limit: self.max_body },
            other => Error::Protocol(other.to_string()),
        }
    }
}
