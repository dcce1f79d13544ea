//! The frames of one read, as a batch.
//!
//! A publish whose frames are all there is handed on without a copy; acknowledgements are collected and settled together,
//! before anything that could depend on them; confirms are sent once at the end.

use tercet_amqp::content::Progress;
use tercet_amqp::method::connection::UpdateSecretOk;
use tercet_amqp::method::{basic, channel};
use tercet_amqp::state::{Connection as Protocol, Verdict as Judged};
use tercet_amqp::{FRAME_HEADER, Frame, FrameType, Limits, Method, Payload, ReplyCode, decode, frame_head};
use tercet_broker::journal::Admission;

use crate::amqp::fault::Fault;
use crate::amqp::session::Session;
use crate::reactor::face::{FaceContext, PATIENCE, Step};

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

impl Session {
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
        let large = header.body_size > self.parent.max_message_size;
        if header.class != basic::Publish::ID.class || large {
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
