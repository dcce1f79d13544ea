//! Frames (§2.3.5, §4.2.3): their outer form, reading and writing.

use core::fmt;

use crate::content::ContentHeader;
use crate::error::{EncodeError, Error, ErrorKind};
use crate::limits::{FRAME_OVERHEAD, Limits};
use crate::method::{Method, MethodId};
use crate::wire::reader::Reader;
use crate::wire::writer::{Writer, with_length};

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;

/// Bytes before the payload of a frame.
pub const FRAME_HEADER: usize = 7;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// A method.
    Method = 1,
    /// The header of a message.
    Header = 2,
    /// A part of a message's body.
    Body = 3,
    /// A sign of life.
    Heartbeat = 8,
}

impl FrameType {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "method",
            Self::Header => "content header",
            Self::Body => "content body",
            Self::Heartbeat => "heartbeat",
        })
    }
}

/// The first seven bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What it carries.
    pub kind: FrameType,
    /// Its channel.
    pub channel: u16,
    /// How many bytes of payload follow; one octet more ends the frame.
    pub payload_len: u32,
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// Its channel.
    pub channel: u16,
    /// What it carries.
    pub payload: Payload<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload<'a> {
    /// A method.
    Method(Method<'a>),
    /// The header of a message.
    Header(ContentHeader<'a>),
    /// A part of a message's body.
    Body(&'a [u8]),
    /// A sign of life.
    Heartbeat,
}

impl Payload<'_> {
    /// The type of the frame.
    pub const fn kind(&self) -> FrameType {
        match self {
            Self::Method(_) => FrameType::Method,
            Self::Header(_) => FrameType::Header,
            Self::Body(_) => FrameType::Body,
            Self::Heartbeat => FrameType::Heartbeat,
        }
    }
}

/// Looks at the beginning of a frame, so that the caller can read a large body straight into its place. `None` when
/// fewer than seven bytes are there.
///
/// # Errors
/// As [`decode`], as far as the seven bytes tell.
#[inline]
pub fn frame_head(bytes: &[u8], limits: &Limits) -> Result<Option<FrameHead>, Error> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let Some(kind) = FrameType::from_byte(first) else {
        return Err(Error::new(ErrorKind::FrameType(first), 0, None));
    };
    let Some(&[_, c1, c0, l3, l2, l1, l0]) = bytes.first_chunk::<FRAME_HEADER>() else { return Ok(None) };
    let channel = u16::from_be_bytes([c1, c0]);
    let size = u32::from_be_bytes([l3, l2, l1, l0]);
    let fail = |kind| Err(Error::new(kind, channel, None));
    if size > limits.payload_max() {
        return fail(ErrorKind::FrameTooLarge { size, limit: limits.payload_max() });
    }
    match kind {
        FrameType::Heartbeat if size > 0 => fail(ErrorKind::HeartbeatPayload(size)),
        FrameType::Heartbeat if channel != 0 => fail(ErrorKind::HeartbeatChannel),
        FrameType::Header | FrameType::Body if channel == 0 => fail(ErrorKind::ContentOnChannelZero(kind)),
        _ => Ok(Some(FrameHead { kind, channel, payload_len: size })),
    }
}

/// Decodes the first frame of `bytes` and says how many bytes it took; `None` when it is not complete yet.
///
/// Nothing is copied and nothing is allocated. Methods are validated completely, tables in them included; the
/// properties of a content header are sliced and looked at when somebody asks.
///
/// # Errors
/// When the frame is malformed or exceeds the limits. All of them end the connection.
#[inline]
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<(Frame<'a>, usize)>, Error> {
    let Some(FrameHead { kind, channel, payload_len }) = frame_head(bytes, limits)? else { return Ok(None) };
    let Some(end_at) = usize::try_from(payload_len).ok().and_then(|len| len.checked_add(FRAME_HEADER)) else {
        return Ok(None);
    };
    let (Some(payload), Some(&end)) = (bytes.get(FRAME_HEADER..end_at), bytes.get(end_at)) else {
        return Ok(None);
    };
    if end != FRAME_END {
        return Err(Error::new(ErrorKind::FrameEnd(end), channel, None));
    }
    let payload = match kind {
        FrameType::Method => Payload::Method(decode_method(payload, channel, limits)?),
        FrameType::Header => Payload::Header(
            ContentHeader::parse(payload, limits).map_err(|kind| Error::new(kind, channel, None))?,
        ),
        FrameType::Body => Payload::Body(payload),
        FrameType::Heartbeat => Payload::Heartbeat,
    };
    Ok(Some((Frame { channel, payload }, end_at + 1)))
}

#[inline]
fn decode_method<'a>(payload: &'a [u8], channel: u16, limits: &Limits) -> Result<Method<'a>, Error> {
    let mut reader = Reader::new(payload, limits.table_depth);
    let (Ok(class), Ok(method)) = (reader.u16(), reader.u16()) else {
        return Err(Error::new(ErrorKind::Truncated, channel, None));
    };
    let id = MethodId { class, method };
    Method::read(id, &mut reader).map_err(|kind| Error::new(kind, channel, Some(id)))
}

impl Frame<'_> {
    /// Appends the frame.
    ///
    /// # Errors
    /// When a field is too long for its length; `out` is then as before.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.payload {
            Payload::Method(method) => method.write(self.channel, out),
            Payload::Header(header) => header.write(self.channel, out),
            Payload::Body(body) => write_frame(FrameType::Body, self.channel, out, |out| {
                out.extend_from_slice(body);
                Ok(())
            }),
            Payload::Heartbeat => {
                write_heartbeat(out);
                Ok(())
            }
        }
    }
}

/// Appends a heartbeat.
pub fn write_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&[FrameType::Heartbeat as u8, 0, 0, 0, 0, 0, 0, FRAME_END]);
}

/// Appends a frame whose payload `content` writes. On an error `out` is as before.
#[inline]
pub(crate) fn write_frame(
    kind: FrameType,
    channel: u16,
    out: &mut Vec<u8>,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    let [c1, c0] = channel.to_be_bytes();
    out.extend_from_slice(&[kind as u8, c1, c0]);
    let written = with_length(out, content);
    match written {
        Ok(()) => out.push(FRAME_END),
        Err(_) => out.truncate(at),
    }
    written
}

#[inline]
pub(crate) fn write_method(
    id: MethodId,
    channel: u16,
    out: &mut Vec<u8>,
    arguments: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    write_frame(FrameType::Method, channel, out, |out| {
        let mut writer = Writer::new(out);
        writer.bytes(&id.class.to_be_bytes());
        writer.bytes(&id.method.to_be_bytes());
        arguments(&mut writer)
    })
}

/// The first seven bytes of a body frame, for callers that write the payload and [`FRAME_END`] themselves.
pub(crate) fn body_head(channel: u16, len: u32) -> [u8; FRAME_HEADER] {
    let ([c1, c0], [l3, l2, l1, l0]) = (channel.to_be_bytes(), len.to_be_bytes());
    [FrameType::Body as u8, c1, c0, l3, l2, l1, l0]
}

/// How many bytes of body fit into one frame of at most `frame_max` bytes; 0 stands for no limit.
#[inline]
pub(crate) fn body_room(frame_max: u32) -> usize {
    let room = if frame_max == 0 { u32::MAX } else { frame_max.saturating_sub(FRAME_OVERHEAD).max(1) };
    usize::try_from(room).unwrap_or(usize::MAX)
}
