//! An open connection: from frames to channels.
//!
//! All frames of a read are worked on as one batch. A publish whose frames are all there is handed on without a copy;
//! acknowledgements are collected and settled together, before anything that could depend on them; confirms are sent once at
//! the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;
use tercet_amqp::content::Progress;
use tercet_amqp::field::TableBuf;
use tercet_amqp::method::connection::UpdateSecretOk;
use tercet_amqp::method::{basic, channel};
use tercet_amqp::state::{Channel as ChannelState, Connection as Protocol, Role, Verdict as Judged};
use tercet_amqp::{
    FRAME_HEADER, Frame, FrameType, Limits, Method, Payload, ReplyCode, Tuning, decode, frame_head,
};
use tercet_broker::access::{AccessStore, ConnectionPermit, DEFAULT_VHOST};
use tercet_broker::actor::{Actor, ConnectionId};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::{Admission, Position};
use tercet_broker::named_queue::{Consumption, Outcome, Settlement};
use tercet_broker::outbox::Drained;
use tercet_broker::refusal::Refusal;
use tercet_broker::vhost::Vhost;

use crate::amqp::alarm::Alarm;
use crate::amqp::channel::Channel;
use crate::amqp::content::put;
use crate::amqp::fault::Fault;
use crate::amqp::handshake::Capabilities;
use crate::amqp::listing::Listing;
use crate::amqp::outbox::{AmqpOutbox, Held};
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::{FaceContext, PATIENCE, Step};
use crate::shared::Shared;

/// An open connection.
pub(super) struct Session {
    pub(super) parent: Parent,
    channels: HashMap<u16, Box<Channel>>,
    /// Channels with answers that wait for the log.
    waiting: Vec<u16>,
    /// Channels with confirms to be sent at the end of the batch.
    confirming: Vec<u16>,
    /// Bytes needed before it is worth decoding again; 0 if that is to be seen from the next frame.
    wanted: usize,
    alarm: Alarm,
    over: bool,
}

/// What channels have of their connection.
pub(super) struct Parent {
    pub shared: Arc<Shared>,
    pub vhost: Arc<Vhost>,
    pub actor: Actor,
    pub outbox: Arc<AmqpOutbox>,
    pub listing: Arc<Listing>,
    pub access: Arc<AccessStore>,
    /// Counts the connection and its channels against the limits of its user.
    pub permit: Option<ConnectionPermit>,
    pub max_message_size: u64,
    /// What was settled in this batch and not handed to the core yet.
    pub settlements: Vec<Settlement>,
    /// Consumers that may go on once that is done.
    pub resumable: Vec<Arc<Consumption>>,
    /// Whether something of this batch was recorded.
    pub recorded: bool,
    /// Bytes of messages that have arrived in part, of all channels.
    pub partial: usize,
}

/// What a batch came to.
pub(super) enum Turn {
    /// Everything was worked on, but for a beginning of what is still to come.
    Done,
    /// The rest has to wait.
    Wait(Step),
    /// The client closes the connection.
    ClosedByClient,
    /// The connection is to be closed.
    Failed(Fault),
}

/// Bytes of unfinished messages that a connection may have at a time.
const PARTIAL: usize = 128 * 1024 * 1024;
/// A publish up to this size is waited for as a whole before it is worked on.
const WHOLE: usize = 16 * 1024;
/// Class and method of basic.publish, as they stand in its frame.
const PUBLISH: [u8; 4] = [0, 60, 0, 40];

impl Parent {
    /// Hands what was settled to the core.
    pub fn flush_settlements(&mut self, now: Now, effects: &mut Effects) {
        if !self.settlements.is_empty() {
            let position = self.vhost.settle(&self.settlements, now, effects);
            self.recorded |= position > Position::NONE;
            self.settlements.clear();
        }
        if !self.resumable.is_empty() {
            self.vhost.resume_consumers(&self.resumable, now, effects);
            self.resumable.clear();
        }
    }

    /// Collects what becomes of a delivery.
    pub fn settled(settlements: &mut Vec<Settlement>, held: Held, outcome: Outcome) {
        settlements.push(match held {
            Held::Consumed(consumption, sequence) => Settlement {
                queue: Arc::clone(&consumption.queue),
                sequence,
                consumption: Some(consumption),
                outcome,
            },
            Held::Got(queue, sequence) => Settlement { queue, sequence, consumption: None, outcome },
        });
    }

    /// A channel is not open any more.
    fn channel_closed(&mut self) {
        self.listing.channels.fetch_sub(1, Relaxed);
        if let Some(permit) = &mut self.permit {
            permit.close_channel();
        }
    }

    /// Writes a method.
    pub fn send<'m>(&self, channel: u16, method: impl Into<Method<'m>>, effects: &mut Effects) {
        let method = method.into();
        self.outbox.write(effects, |out| put(&method, channel, out));
    }
}

impl Session {
    /// Opens a virtual host for a user.
    pub(super) fn begin(
        vhost: &str,
        user: Arc<str>,
        client: TableBuf,
        tuning: Tuning,
        capabilities: Capabilities,
        settings: &ListenerSettings,
        cx: &mut FaceContext<'_>,
    ) -> Result<Self, Refusal> {
        let shared = Arc::clone(cx.shared);
        let access = shared.authenticator.access();
        let (found, name) = find_vhost(&shared, vhost)?;
        let Some(rights) = access.rights(&user, &name) else {
            let text = format!("access to vhost '{name}' refused for user '{user}'");
            return Err(Refusal::new(ReplyCode::NotAllowed, text));
        };
        let permit = access.admit(&user, &name)?;
        let id = ConnectionId(shared.amqp.next_connection.fetch_add(1, Relaxed));
        let outbox =
            Arc::new(AmqpOutbox::new(cx.connection, tuning.frame_max, capabilities.consumer_cancel_notify));
        let listing = Arc::new(Listing {
            id,
            connection: cx.connection,
            listener: settings.name.clone(),
            peer: cx.transport.peer().to_string(),
            user: Arc::clone(&user),
            vhost: Arc::clone(&name),
            client,
            tuning,
            connected_ms: cx.now.utc_ms,
            ..Listing::default()
        });
        shared.amqp.connections.insert(&listing);
        let actor = Actor { user, vhost: name, connection: id, rights };
        let parent = Parent {
            vhost: found,
            access,
            permit: Some(permit),
            actor,
            outbox,
            listing,
            max_message_size: settings.amqp.max_message_size,
            settlements: Vec::new(),
            resumable: Vec::new(),
            recorded: false,
            partial: 0,
            shared,
        };
        Ok(Self {
            parent,
            channels: HashMap::new(),
            waiting: Vec::new(),
            confirming: Vec::new(),
            wanted: 0,
            alarm: Alarm::new(capabilities.blocked),
            over: false,
        })
    }

    /// Works on the frames in `input`.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        used: &mut usize,
        limits: &Limits,
        protocol: &mut Protocol,
        cx: &mut FaceContext<'_>,
    ) -> Turn {
        self.wanted = 0;
        self.forget_ended();
        self.alarm.new_batch();
        let turn = loop {
            let rest = input.get(*used..).unwrap_or_default();
            match self.next(rest, limits, protocol, cx) {
                Ok(Some(taken)) => *used += taken,
                Ok(None) => break Turn::Done,
                Err(Stop::Turn(turn)) => break turn,
                Err(Stop::Fault(fault)) => {
                    if fault.ends_connection() || !self.channels.contains_key(&fault.channel) {
                        break Turn::Failed(fault);
                    }
                    self.close_channel(&fault, cx.now, cx.effects);
                    // The frame that led to it is done with.
                    match decode(rest, limits) {
                        Ok(Some((_, taken))) => *used += taken,
                        _ => break Turn::Done,
                    }
                }
            }
        };
        self.finish(cx);
        match turn {
            Turn::Done if std::mem::take(&mut self.parent.recorded) => {
                match self.parent.vhost.admission() > Admission::Open {
                    true => Turn::Wait(Step::AwaitLog(PATIENCE)),
                    false => Turn::Done,
                }
            }
            turn => turn,
        }
    }

    /// The end of a batch: what was collected goes to the core, confirms go out.
    fn finish(&mut self, cx: &mut FaceContext<'_>) {
        self.parent.flush_settlements(cx.now, cx.effects);
        for number in std::mem::take(&mut self.confirming) {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.flush_confirms(&mut self.parent, cx.effects);
                if channel.note_waiting() {
                    self.waiting.push(number);
                }
            }
        }
    }

    /// Works on the next frame, or on all frames of a publish. `None` if it is not complete.
    fn next(
        &mut self,
        rest: &[u8],
        limits: &Limits,
        protocol: &mut Protocol,
        cx: &mut FaceContext<'_>,
    ) -> Result<Option<usize>, Stop> {
        let Some(head) = frame_head(rest, limits)? else { return Ok(None) };
        let is_publish =
            head.kind == FrameType::Method && rest.get(FRAME_HEADER..FRAME_HEADER + 4) == Some(&PUBLISH[..]);
        if is_publish
            && self.channels.get(&head.channel).is_some_and(|channel| channel.takes_publish())
            && let Some(step) = self.alarm.on_publish(&self.parent, cx)
        {
            return Err(Stop::Turn(Turn::Wait(step)));
        }
        if is_publish {
            match self.publish_at_once(rest, limits, cx)? {
                AtOnce::Done(taken) => return Ok(Some(taken)),
                AtOnce::Wait(wanted) => {
                    self.wanted = wanted;
                    return Ok(None);
                }
                AtOnce::Otherwise => {}
            }
        }
        let Some((frame, taken)) = decode(rest, limits)? else { return Ok(None) };
        cx.effects.counters.packets_received += 1;
        match frame.channel {
            0 => self.control(&frame.payload, protocol, cx)?,
            _ => self.channel_frame(&frame, rest, limits, cx)?,
        }
        Ok(Some(taken))
    }

    /// A publish whose frames are one behind the other and all there, borrowed from the input.
    fn publish_at_once(
        &mut self,
        rest: &[u8],
        limits: &Limits,
        cx: &mut FaceContext<'_>,
    ) -> Result<AtOnce, Stop> {
        let Some((frame, method_len)) = decode(rest, limits)? else { return Ok(AtOnce::Otherwise) };
        let number = frame.channel;
        let Payload::Method(Method::BasicPublish(publish)) = frame.payload else {
            return Ok(AtOnce::Otherwise);
        };
        let Some(channel) = self.channels.get_mut(&number).filter(|channel| channel.takes_publish()) else {
            return Ok(AtOnce::Otherwise);
        };
        // Whatever is wrong behind the method is judged frame by frame.
        let behind = rest.get(method_len..).unwrap_or_default();
        let Ok(head) = frame_head(behind, limits) else { return Ok(AtOnce::Otherwise) };
        let Some(head) = head else { return Ok(AtOnce::Wait(method_len + FRAME_HEADER)) };
        if head.kind != FrameType::Header || head.channel != number {
            return Ok(AtOnce::Otherwise);
        }
        let header_len = FRAME_HEADER + head.payload_len as usize + 1;
        if behind.len() < header_len {
            return Ok(AtOnce::within(method_len + header_len));
        }
        let Ok(Some((Frame { payload: Payload::Header(header), .. }, _))) = decode(behind, limits) else {
            return Ok(AtOnce::Otherwise);
        };
        if header.class != basic::Publish::ID.class {
            return Ok(AtOnce::Otherwise);
        }
        let properties = behind.get(PROPERTIES_AT..header_len - 1).unwrap_or_default();
        let (body, body_len) = if header.body_size == 0 {
            (&[][..], 0)
        } else {
            let behind = behind.get(header_len..).unwrap_or_default();
            let Ok(head) = frame_head(behind, limits) else { return Ok(AtOnce::Otherwise) };
            let Some(head) = head else { return Ok(AtOnce::Wait(method_len + header_len + FRAME_HEADER)) };
            let whole = head.kind == FrameType::Body
                && head.channel == number
                && u64::from(head.payload_len) == header.body_size;
            if !whole {
                return Ok(AtOnce::Otherwise);
            }
            let body_len = FRAME_HEADER + head.payload_len as usize + 1;
            if behind.len() < body_len {
                return Ok(AtOnce::within(method_len + header_len + body_len));
            }
            match decode(behind, limits) {
                Ok(Some((Frame { payload: Payload::Body(body), .. }, _))) => (body, body_len),
                _ => return Ok(AtOnce::Otherwise),
            }
        };
        channel.publish(&publish, properties, body, &mut self.parent, cx)?;
        if channel.has_news() {
            self.confirming.push(number);
        }
        Ok(AtOnce::Done(method_len + header_len + body_len))
    }

    /// A frame of channel 0.
    fn control(
        &mut self,
        payload: &Payload<'_>,
        protocol: &mut Protocol,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Stop> {
        match (protocol.receive(payload)?, payload) {
            (Judged::AnswerClose, _) => Err(Stop::Turn(Turn::ClosedByClient)),
            (_, Payload::Method(Method::ConnectionUpdateSecret(_))) => {
                // A password stands for as long as its connection; there is nothing to renew.
                self.parent.send(0, UpdateSecretOk {}, cx.effects);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A frame of another channel.
    fn channel_frame(
        &mut self,
        frame: &Frame<'_>,
        bytes: &[u8],
        limits: &Limits,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Stop> {
        let number = frame.channel;
        let Some(channel) = self.channels.get_mut(&number) else {
            return self.open_channel(number, &frame.payload, cx);
        };
        match channel.state.receive(&frame.payload)? {
            Judged::Discard => {}
            Judged::Closed => {
                self.channels.remove(&number);
            }
            Judged::AnswerClose => {
                let crossed = !channel.state.is_closed();
                if !crossed {
                    self.end_channel(number, cx.now, cx.effects);
                }
                self.parent.send(number, channel::CloseOk {}, cx.effects);
            }
            Judged::Take(progress) => {
                match (progress, &frame.payload) {
                    (Progress::Nothing, Payload::Method(method)) => {
                        channel.method(method, &mut self.parent, cx)?;
                    }
                    (Progress::Begun, Payload::Method(Method::BasicPublish(publish))) => {
                        channel.begin_content(publish);
                    }
                    (_, Payload::Header(header)) => {
                        let end = FRAME_HEADER + header_payload(bytes, limits);
                        let properties = bytes.get(PROPERTIES_AT..end).unwrap_or_default();
                        channel.content_header(header.body_size, properties, &mut self.parent)?;
                    }
                    (_, Payload::Body(part)) => {
                        channel.content_body(part, &mut self.parent);
                        if self.parent.partial > PARTIAL {
                            let text = "too many bytes of unfinished messages on this connection";
                            return Err(Fault::of_connection(ReplyCode::ResourceError, text).into());
                        }
                    }
                    _ => {}
                }
                if progress == Progress::Complete {
                    channel.publish_collected(&mut self.parent, cx)?;
                }
                if channel.has_news() {
                    self.confirming.push(number);
                }
            }
        }
        Ok(())
    }

    fn open_channel(
        &mut self,
        number: u16,
        payload: &Payload<'_>,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Stop> {
        let mut state = ChannelState::new(number, Role::Server);
        // Anything but channel.open is an error.
        state.receive(payload)?;
        self.parent.listing.tuning.check_channel(number)?;
        let limits = self.parent.access.user_limits(&self.parent.actor.user);
        if let Some(Err(refusal)) = self.parent.permit.as_mut().map(|permit| permit.open_channel(limits)) {
            return Err(Fault::refused(&refusal, 0, channel::Open::ID).into());
        }
        self.parent.outbox.open_channel(number);
        self.channels.insert(number, Box::new(Channel::new(state)));
        self.parent.listing.channels.fetch_add(1, Relaxed);
        self.parent.send(number, channel::OpenOk {}, cx.effects);
        Ok(())
    }

    /// Closes a channel from our side; what the client sends on it is discarded until it has answered.
    fn close_channel(&mut self, fault: &Fault, now: Now, effects: &mut Effects) {
        let number = fault.channel;
        self.parent.flush_settlements(now, effects);
        let Some(channel) = self.channels.get_mut(&number) else { return };
        channel.flush_confirms(&mut self.parent, effects);
        channel.end(&mut self.parent, now, effects);
        let close = fault.channel_close().into();
        channel.close(&close);
        self.parent.send(number, close, effects);
        self.parent.channel_closed();
        effects.counters.protocol_errors += 1;
        tracing::info!(target: crate::logging::CONNECTIONS, user = %self.parent.actor.user, channel = number,
            code = fault.code.number(), text = fault.text, "AMQP channel closed by the broker");
    }

    /// The client closes a channel.
    fn end_channel(&mut self, number: u16, now: Now, effects: &mut Effects) {
        self.parent.flush_settlements(now, effects);
        self.waiting.retain(|waiting| *waiting != number);
        if let Some(mut channel) = self.channels.remove(&number) {
            let was_open = !channel.is_closing();
            channel.end(&mut self.parent, now, effects);
            if was_open {
                self.parent.channel_closed();
            }
        }
    }

    /// Gives everything back: deliveries, consumers, exclusive queues.
    pub(super) fn end(&mut self, now: Now, effects: &mut Effects) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.parent.flush_settlements(now, effects);
        let mut numbers: Vec<u16> = self.channels.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.end_channel(number, now, effects);
        }
        self.parent.vhost.connection_closed(self.parent.actor.connection, now, effects);
        self.parent.shared.amqp.connections.remove(self.parent.actor.connection);
        self.parent.permit = None;
    }

    /// Whether everything was given back.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Appends what was not written yet, in one piece.
    pub(super) fn last_output(&self, out: &mut Vec<u8>) {
        let mut drained = Drained::default();
        self.parent.outbox.drain(&mut drained);
        let mut taken = 0;
        for (offset, payload) in &drained.shared {
            out.extend_from_slice(drained.bytes.get(taken..*offset).unwrap_or_default());
            out.extend_from_slice(payload);
            taken = *offset;
        }
        out.extend_from_slice(drained.bytes.get(taken..).unwrap_or_default());
    }

    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// The position of the log that the next answer waits for.
    pub(super) fn awaited(&self) -> Option<Position> {
        self.waiting
            .iter()
            .filter_map(|number| self.channels.get(number).and_then(|channel| channel.awaited()))
            .min()
    }

    /// The log is durable up to `durable`.
    pub(super) fn log_moved(&mut self, durable: Position, now: Now, effects: &mut Effects) {
        self.forget_ended();
        for number in std::mem::take(&mut self.waiting) {
            let Some(channel) = self.channels.get_mut(&number) else { continue };
            let answered = channel.log_moved(durable, &mut self.parent, now, effects);
            if channel.note_waiting() {
                self.waiting.push(number);
            }
            if let Err(fault) = answered {
                self.close_channel(&fault, now, effects);
            }
        }
    }

    /// Messages that basic.get could not have before may be had now.
    fn get_again(&mut self, now: Now, effects: &mut Effects) {
        let durable = self.parent.vhost.durable();
        let mut faults = Vec::new();
        for (number, channel) in &mut self.channels {
            faults.extend(channel.answer_pending(durable, &mut self.parent, now, effects).err());
            if channel.note_waiting() {
                self.waiting.push(*number);
            }
        }
        for fault in faults {
            self.close_channel(&fault, now, effects);
        }
    }

    /// Output was written: consumers that had to wait for that go on.
    pub(super) fn resume(&mut self, now: Now, effects: &mut Effects) {
        let consumers = self.channels.values().flat_map(|channel| channel.consumptions());
        self.parent.resumable.extend(consumers.cloned());
        self.parent.flush_settlements(now, effects);
        if self.parent.outbox.take_get_again() {
            self.get_again(now, effects);
        }
    }

    /// Swaps the output out.
    pub(super) fn drain(&mut self, drained: &mut Drained) {
        self.parent.outbox.drain(drained);
        self.forget_ended();
    }

    /// Forgets consumers that the core has ended.
    fn forget_ended(&mut self) {
        for (number, tag) in self.parent.outbox.take_ended() {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.forget_consumer(&tag);
            }
        }
    }
}

/// The virtual host of this name.
fn find_vhost(shared: &Shared, name: &str) -> Result<(Arc<Vhost>, Arc<str>), Refusal> {
    match name {
        DEFAULT_VHOST => Ok((Arc::clone(&shared.vhost), Arc::from(DEFAULT_VHOST))),
        other => Err(Refusal::new(ReplyCode::NotAllowed, format!("vhost {other} not found"))),
    }
}

/// Where the properties begin in the frame of a content header: behind class, weight and size.
const PROPERTIES_AT: usize = FRAME_HEADER + 12;

/// Length of the payload of the frame at the beginning of `bytes`.
fn header_payload(bytes: &[u8], limits: &Limits) -> usize {
    frame_head(bytes, limits).ok().flatten().map_or(0, |head| head.payload_len as usize)
}

/// What became of a publish that was to be taken at once.
enum AtOnce {
    /// It was published; so many bytes were used.
    Done(usize),
    /// It is not all there; so many bytes are needed.
    Wait(usize),
    /// Its frames have to be looked at one by one.
    Otherwise,
}

impl AtOnce {
    /// Waits for a publish that is not large; one that is is collected.
    fn within(wanted: usize) -> Self {
        if wanted <= WHOLE { Self::Wait(wanted) } else { Self::Otherwise }
    }
}

/// Why the batch does not go on.
pub(super) enum Stop {
    Turn(Turn),
    Fault(Fault),
}

impl<T: Into<Fault>> From<T> for Stop {
    fn from(fault: T) -> Self {
        Self::Fault(fault.into())
    }
}
