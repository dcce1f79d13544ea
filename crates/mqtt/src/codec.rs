//! Bytes to packets and packets to bytes.

use crate::error::{DecodeError, EncodeError};
use crate::frame::{FixedHeader, PacketType};
use crate::limits::Limits;
use crate::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, Publish, SubAck, Subscribe, UnsubAck, Unsubscribe,
};
use crate::qos::QoS;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::{Count, Sink, VARINT_MAX, varint_len};

/// Decodes the packet that `buf` begins with, and tells how many bytes it took. `None` while the packet is incomplete.
///
/// `version` is that of the connection; a CONNECT packet names its own ([`Connect::version`]). The packet borrows from
/// `buf`, nothing is allocated, and everything in it has been validated when it is returned. Size, type and flags are
/// judged as soon as the fixed header is there.
///
/// What needs more than one packet to be judged is left to the caller: that CONNECT comes first and once, which side
/// sends what (a client may not send Subscription Identifiers in PUBLISH), aliases against their maximum, identifiers
/// in use.
///
/// # Errors
///
/// The rule or limit that the packet violates. The stream is of no use after that.
#[inline]
pub fn decode<'a>(
    buf: &'a [u8],
    version: Version,
    limits: &Limits,
) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
    let Some(header) = FixedHeader::read(buf, limits)? else { return Ok(None) };
    let packet_type = header.packet_type(version)?;
    let total = header.total_len();
    let Some(body) = buf.get(header.len..total) else { return Ok(None) };
    let reader = Reader::new(body, header.len);
    let packet = match packet_type {
        PacketType::Publish => Packet::Publish(Publish::read(header.flags(), reader, version, limits)?),
        // Most acknowledgements are an identifier and nothing else.
        PacketType::PubAck if body.len() == 2 => Packet::PubAck(Ack::success(reader.clone().packet_id()?)),
        PacketType::PubRec if body.len() == 2 => Packet::PubRec(Ack::success(reader.clone().packet_id()?)),
        PacketType::PubRel if body.len() == 2 => Packet::PubRel(Ack::success(reader.clone().packet_id()?)),
        PacketType::PubComp if body.len() == 2 => Packet::PubComp(Ack::success(reader.clone().packet_id()?)),
        _ => return read_other(header, packet_type, reader, version, limits),
    };
    Ok(Some((packet, total)))
}

/// Reads the packets that are not as frequent. All end where their last field does. The result has the form of
/// [`decode`]'s, so that it is not moved once more.
#[inline(never)]
fn read_other<'a>(
    header: FixedHeader,
    packet_type: PacketType,
    mut reader: Reader<'a>,
    version: Version,
    limits: &Limits,
) -> Result<Option<(Packet<'a>, usize)>, DecodeError> {
    let r = &mut reader;
    let packet = match packet_type {
        PacketType::Connect => Packet::Connect(Connect::read(header, r, limits)?),
        PacketType::ConnAck => Packet::ConnAck(ConnAck::read(r, version, limits)?),
        PacketType::Publish => Packet::Publish(Publish::read(header.flags(), r.clone(), version, limits)?),
        PacketType::PubAck => Packet::PubAck(Ack::read(packet_type, r, version, limits)?),
        PacketType::PubRec => Packet::PubRec(Ack::read(packet_type, r, version, limits)?),
        PacketType::PubRel => Packet::PubRel(Ack::read(packet_type, r, version, limits)?),
        PacketType::PubComp => Packet::PubComp(Ack::read(packet_type, r, version, limits)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::read(r, version, limits)?),
        PacketType::SubAck => Packet::SubAck(SubAck::read(r, version, limits)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::read(r, version, limits)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::read(r, version, limits)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::read(r, version, limits)?),
        PacketType::Auth => Packet::Auth(Auth::read(r, limits)?),
    };
    if packet_type != PacketType::Publish {
        reader.finish()?;
    }
    Ok(Some((packet, header.total_len())))
}

/// Appends `packet` to `out`, in the form of `version` (a CONNECT in the version it names).
///
/// What the version has no place for is left out: properties and reason codes before MQTT 5.0. Topic names and filters
/// are written as they are, see [`topic`](crate::topic) for checking them.
///
/// # Errors
///
/// When the packet has no valid form; `out` is unchanged then.
pub fn encode(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    check(packet, version)?;
    let body = measure(packet, version);
    if body.field_too_long {
        return Err(EncodeError::FieldTooLong);
    }
    if body.len > VARINT_MAX {
        return Err(EncodeError::PacketTooLong);
    }
    out.reserve(5 + body.len);
    out.u8(match packet {
        Packet::Publish(publish) => publish.first_byte(),
        _ => packet.packet_type().first_byte(),
    });
    out.varint(body.len as u32);
    write_body(packet, version, out);
    Ok(())
}

/// Length in bytes of what [`encode`] appends when it succeeds.
pub fn encoded_len(packet: &Packet<'_>, version: Version) -> usize {
    let len = measure(packet, version).len;
    1 + varint_len(u32::try_from(len).unwrap_or(u32::MAX)) + len
}

fn measure(packet: &Packet<'_>, version: Version) -> Count {
    let mut count = Count::default();
    write_body(packet, version, &mut count);
    count
}

fn check(packet: &Packet<'_>, version: Version) -> Result<(), EncodeError> {
    let packet_type = packet.packet_type();
    let empty = match packet {
        Packet::Auth(_) if !version.is_v5() => {
            return Err(EncodeError::NotInVersion { packet: packet_type, version });
        }
        Packet::Publish(publish) if publish.qos > QoS::AtMostOnce && publish.packet_id.is_none() => {
            return Err(EncodeError::NoPacketId);
        }
        Packet::Connect(connect) => return connect.check(),
        Packet::Subscribe(subscribe) => subscribe.subscriptions.is_empty(),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.filters.is_empty(),
        Packet::SubAck(suback) => suback.reason_codes.is_empty(),
        Packet::UnsubAck(unsuback) => version.is_v5() && unsuback.reason_codes.is_empty(),
        _ => false,
    };
    if empty { Err(EncodeError::EmptyList(packet_type)) } else { Ok(()) }
}

fn write_body<S: Sink>(packet: &Packet<'_>, version: Version, out: &mut S) {
    match packet {
        Packet::Connect(connect) => connect.write(out),
        Packet::ConnAck(connack) => connack.write(version, out),
        Packet::Publish(publish) => publish.write(version, out),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.write(version, out);
        }
        Packet::Subscribe(subscribe) => subscribe.write(version, out),
        Packet::SubAck(suback) => suback.write(version, out),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write(version, out),
        Packet::UnsubAck(unsuback) => unsuback.write(version, out),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => disconnect.write(version, out),
        Packet::Auth(auth) => auth.write(out),
    }
}
