//! An open connection: its channels, from its beginning to its end. What arrives is worked on in
//! [batches](crate::amqp::batch).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;
use tercet_amqp::field::TableBuf;
use tercet_amqp::method::channel;
use tercet_amqp::state::{Channel as ChannelState, Role};
use tercet_amqp::{Payload, ReplyCode, Tuning};
use tercet_broker::actor::{Actor, ConnectionId};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_broker::outbox::Drained;
use tercet_broker::refusal::Refusal;
use tercet_broker::vhost::Vhost;

use crate::amqp::alarm::Alarm;
use crate::amqp::batch::Stop;
use crate::amqp::channel::Channel;
use crate::amqp::fault::Fault;
use crate::amqp::handshake::Capabilities;
use crate::amqp::listing::Listing;
use crate::amqp::outbox::AmqpOutbox;
use crate::amqp::parent::Parent;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::FaceContext;
use crate::shared::Shared;

/// An open connection.
pub(super) struct Session {
    pub(super) parent: Parent,
    pub(super) channels: HashMap<u16, Box<Channel>>,
    /// Channels with answers that wait for the log.
    pub(super) waiting: Vec<u16>,
    /// Channels with confirms to be sent at the end of the batch.
    pub(super) confirming: Vec<u16>,
    /// Bytes needed before it is worth decoding again; 0 if that is to be seen from the next frame.
    pub(super) wanted: usize,
    pub(super) alarm: Alarm,
    over: bool,
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
        let outbox = Arc::new(AmqpOutbox::new(
            cx.connection,
            tuning.frame_max,
            capabilities.consumer_cancel_notify,
            found.topic_mapping(),
        ));
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

    pub(super) fn open_channel(
        &mut self,
        number: u16,
        payload: &Payload<'_>,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Stop> {
        let mut state = ChannelState::new(number, Role::Server);
        // Anything but channel.open is an error.
        state.receive(payload)?;
        let most = self.parent.listing.tuning.channel_max;
        if most > 0 && self.channels.len() >= usize::from(most) {
            let open = self.channels.len();
            let text =
                format!("number of channels opened ({open}) has reached the negotiated channel_max ({most})");
            return Err(Fault::of_connection(ReplyCode::NotAllowed, text).into());
        }
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
    pub(super) fn close_channel(&mut self, fault: &Fault, now: Now, effects: &mut Effects) {
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
    pub(super) fn end_channel(&mut self, number: u16, now: Now, effects: &mut Effects) {
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
    pub(super) fn forget_ended(&mut self) {
        for (number, tag) in self.parent.outbox.take_ended() {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.forget_consumer(&tag);
            }
        }
    }
}

/// The virtual host of this name.
fn find_vhost(shared: &Shared, name: &str) -> Result<(Arc<Vhost>, Arc<str>), Refusal> {
    let found = shared.hosts.find(name);
    let found =
        found.ok_or_else(|| Refusal::new(ReplyCode::NotAllowed, format!("vhost {name} not found")))?;
    let name = Arc::clone(found.name());
    Ok((found, name))
}
