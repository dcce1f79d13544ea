//! Messages into frames.

use crate::content::header::ContentHeader;
use crate::content::properties::Properties;
use crate::error::EncodeError;
use crate::frame::{FRAME_END, FRAME_HEADER, body_head, body_room};
use crate::limits::FRAME_OVERHEAD;
use crate::method::Method;

/// Appends a whole message: the method, its header and as many body frames as `frame_max` demands (0 for no limit).
/// An empty body has none.
///
/// # Errors
/// When a field is too long, or method or header alone exceed `frame_max`; `out` is then as before.
pub fn write_content(
    channel: u16,
    method: &Method<'_>,
    properties: Properties<'_>,
    body: &[u8],
    frame_max: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let at = out.len();
    let header = ContentHeader::basic(body.len() as u64, properties);
    let written = (|| {
        method.write(channel, out)?;
        let header_at = out.len();
        header.write(channel, out)?;
        let longest = (header_at - at).max(out.len() - header_at);
        let room = body_room(frame_max).saturating_add(FRAME_OVERHEAD as usize);
        if longest > room { Err(EncodeError::FrameTooLarge) } else { Ok(()) }
    })();
    if written.is_err() {
        out.truncate(at);
        return written;
    }
    for (head, part) in BodyFrames::new(channel, body, frame_max) {
        out.extend_from_slice(&head);
        out.extend_from_slice(part);
        out.push(FRAME_END);
    }
    Ok(())
}

/// The body frames of a message for a vectored write: the seven bytes before each part, and the part.
/// [`FRAME_END`] follows each.
#[derive(Clone, Debug)]
pub struct BodyFrames<'a> {
    channel: u16,
    rest: &'a [u8],
    room: usize,
}

impl<'a> BodyFrames<'a> {
    /// Splits `body` into frames of at most `frame_max` bytes; 0 for no limit.
    pub fn new(channel: u16, body: &'a [u8], frame_max: u32) -> Self {
        Self { channel, rest: body, room: body_room(frame_max) }
    }
}

impl<'a> Iterator for BodyFrames<'a> {
    type Item = ([u8; FRAME_HEADER], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (part, rest) = self.rest.split_at(self.rest.len().min(self.room));
        self.rest = rest;
        Some((body_head(self.channel, u32::try_from(part.len()).unwrap_or(u32::MAX)), part))
    }
}
