//! The session against packets written by hand: no socket, no clock.

use std::num::NonZeroU16;

use tercet_mqtt::{Ack, Limits, decode};

use super::super::command::Outgoing;
use super::super::inbox::{Overflow, Receiver, inbox};
use super::*;

type Answer = oneshot::Receiver<Result<Receipt>>;

fn session(options: Options) -> (Session, Receiver) {
    let (sender, receiver) = inbox(1, Overflow::Block);
    (Session::new(&options, Some(sender)), receiver)
}

fn connack(session_present: bool, properties: &[Property]) -> ConnAck {
    let mut all = Properties::new();
    properties.iter().for_each(|property| all.push(property.clone()));
    ConnAck { session_present, client_id: "c".into(), properties: all }
}

fn publish(session: &mut Session, qos: QoS, payload: &'static str) -> Answer {
    let (done, answer) = oneshot::channel();
    let payload = payload.into();
    let message = Outgoing { topic: "t".into(), payload, qos, retain: false, properties: Properties::new() };
    session.submit(Command::Publish { message, done });
    answer
}

fn flush(session: &mut Session) -> oneshot::Receiver<Result<()>> {
    let (done, answer) = oneshot::channel();
    session.submit(Command::Flush { done });
    answer
}

/// What was written since the last look: `publish 1 dup a`, `PubRel 1`.
fn written(session: &mut Session) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = &session.out[..];
    while let Some((packet, size)) = decode(rest, session.version, &Limits::protocol()).unwrap() {
        rest = &rest[size..];
        lines.push(match packet {
            Packet::Publish(it) => {
                let id = it.packet_id.map_or(0, PacketId::get);
                let dup = if it.dup { "dup " } else { "" };
                format!("publish {id} {dup}{}", String::from_utf8_lossy(it.payload))
            }
            Packet::PubAck(it) => format!("puback {}", it.packet_id),
            Packet::PubRec(it) => format!("pubrec {}", it.packet_id),
            Packet::PubRel(it) => format!("pubrel {} {:#04x}", it.packet_id, it.reason as u8),
            Packet::PubComp(it) => format!("pubcomp {} {:#04x}", it.packet_id, it.reason as u8),
            other => format!("{:?}", other.packet_type()),
        });
    }
    let all = session.out.len();
    session.wrote(all);
    lines
}

fn ack(id: u16, reason: ReasonCode) -> Ack<'static> {
    Ack::with_reason(PacketId::new(id).unwrap(), reason)
}

fn arrives(session: &mut Session, qos: QoS, id: u16) -> Result<(), u8> {
    let packet = Publish { qos, packet_id: PacketId::new(id), ..Publish::new("in", b"x") };
    session.packet(Packet::Publish(packet)).map_err(|violation| match violation {
        Violation::Broken(reason, _) => reason as u8,
        Violation::Ended(error) => panic!("{error}"),
    })
}

#[test]
fn the_window_opens_with_each_answer_and_flush_waits_for_those_before_it() {
    let (mut session, _inbox) = session(Options::default());
    session.connected(&connack(false, &[Property::ReceiveMaximum(2)]));
    let mut answers: Vec<_> =
        ["a", "b", "c"].map(|payload| publish(&mut session, QoS::AtLeastOnce, payload)).into();
    let mut flushed = flush(&mut session);
    let mut later = publish(&mut session, QoS::ExactlyOnce, "d");
    assert_eq!(written(&mut session), ["publish 1 a", "publish 2 b"]);
    assert!(!session.has_room());
    session.packet(Packet::PubAck(ack(2, ReasonCode::Success))).unwrap();
    assert_eq!(written(&mut session), ["publish 3 c"]);
    session.packet(Packet::PubAck(ack(1, ReasonCode::NotAuthorized))).unwrap();
    assert_eq!(written(&mut session), ["publish 4 d"]);
    assert!(session.has_room() && flushed.try_recv().is_err());
    session.packet(Packet::PubAck(ack(3, ReasonCode::Success))).unwrap();
    flushed.try_recv().unwrap().unwrap();
    let outcomes: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().is_ok()).collect();
    assert_eq!(outcomes, [false, true, true]);
    session.packet(Packet::PubRec(ack(4, ReasonCode::Success))).unwrap();
    session.packet(Packet::PubRec(ack(9, ReasonCode::Success))).unwrap();
    assert_eq!(written(&mut session), ["pubrel 4 0x00", "pubrel 9 0x92"]);
    session.packet(Packet::PubComp(ack(4, ReasonCode::PacketIdentifierNotFound))).unwrap();
    assert_eq!(later.try_recv().unwrap().unwrap().packet_id, Some(4));
}

#[test]
fn an_answer_of_the_wrong_kind_is_a_protocol_error() {
    let (mut session, _inbox) = session(Options::default());
    session.connected(&connack(false, &[]));
    let _one = publish(&mut session, QoS::AtLeastOnce, "a");
    let _two = publish(&mut session, QoS::ExactlyOnce, "b");
    let success = ReasonCode::Success;
    for packet in
        [Packet::PubRec(ack(1, success)), Packet::PubAck(ack(2, success)), Packet::PubComp(ack(2, success))]
    {
        let Err(Violation::Broken(reason, _)) = session.packet(packet) else { panic!("{packet:?}") };
        assert_eq!(reason, ReasonCode::ProtocolError);
    }
    session.packet(Packet::PubAck(ack(77, success))).unwrap();
}

#[test]
fn a_session_that_continues_repeats_in_order_and_one_that_was_forgotten_begins_anew() {
    for present in [true, false] {
        let (mut session, _inbox) = session(Options::default());
        session.connected(&connack(false, &[]));
        let mut taken = publish(&mut session, QoS::ExactlyOnce, "a");
        let _two = publish(&mut session, QoS::AtLeastOnce, "b");
        let mut large = publish(&mut session, QoS::AtLeastOnce, "much larger than the rest");
        let mut unwritten = publish(&mut session, QoS::AtMostOnce, "c");
        session.packet(Packet::PubRec(ack(1, ReasonCode::Success))).unwrap();
        let mut flushed = flush(&mut session);
        session.lost(&Error::Closed);
        assert!(unwritten.try_recv().unwrap().is_err());
        session.connected(&connack(present, &[Property::ReceiveMaximum(1), Property::MaximumPacketSize(20)]));
        let again = written(&mut session);
        if present {
            // PUBREL takes no place of the window.
            assert_eq!(again, ["pubrel 1 0x00", "publish 2 dup b"]);
            assert!(taken.try_recv().is_err() && !session.has_room());
            session.packet(Packet::PubAck(ack(2, ReasonCode::Success))).unwrap();
            session.packet(Packet::PubComp(ack(1, ReasonCode::Success))).unwrap();
        } else {
            let [line] = &again[..] else { panic!("{again:?}") };
            let (_, id) = line.split_once(' ').unwrap();
            let id: u16 = id.strip_suffix(" b").unwrap().parse().unwrap();
            session.packet(Packet::PubAck(ack(id, ReasonCode::Success))).unwrap();
        }
        taken.try_recv().unwrap().unwrap();
        assert!(matches!(large.try_recv().unwrap(), Err(Error::TooLarge { limit: 20, .. })));
        flushed.try_recv().unwrap().unwrap();
        assert!(session.has_room() && session.ids.is_empty() && written(&mut session).is_empty());
    }
}

#[test]
fn a_broker_that_exceeds_our_receive_maximum_is_told_so() {
    let mut options = Options::default();
    options.properties.set(Property::ReceiveMaximum(2));
    let (mut session, mut inbox) = session(options.clone());
    session.connected(&connack(false, &[]));
    // The reader has room for one: it is acknowledged, the second is not.
    arrives(&mut session, QoS::AtLeastOnce, 1).unwrap();
    arrives(&mut session, QoS::AtLeastOnce, 2).unwrap();
    arrives(&mut session, QoS::ExactlyOnce, 3).unwrap();
    assert_eq!(written(&mut session), ["puback 1"]);
    assert_eq!(arrives(&mut session, QoS::ExactlyOnce, 4), Err(0x93));
    assert_eq!(arrives(&mut session, QoS::AtMostOnce, 0), Ok(()));
    assert!(inbox.try_next().is_some());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(session.poll_waiting(&mut cx).is_ready());
    assert_eq!(written(&mut session), ["puback 2"]);
    assert_eq!(arrives(&mut session, QoS::AtLeastOnce, 5), Ok(()), "a place is free");
    // On the next connection the count begins anew, and the identifier of QoS 2 is still known.
    session.lost(&Error::Closed);
    session.connected(&connack(true, &[]));
    assert_eq!(arrives(&mut session, QoS::ExactlyOnce, 3), Ok(()));
    assert_eq!(written(&mut session), ["pubrec 3"]);
    for reason in ["0x00", "0x92"] {
        session.packet(Packet::PubRel(ack(3, ReasonCode::Success))).unwrap();
        assert_eq!(written(&mut session), [format!("pubcomp 3 {reason}")]);
    }
    // MQTT 3.1.1 has no such limit, and the property is not sent.
    options.version = Version::V311;
    let (mut session, _inbox) = self::session(options);
    session.connected(&connack(false, &[]));
    assert_eq!(session.receive_maximum, NonZeroU16::MAX);
    (1..100).for_each(|id| arrives(&mut session, QoS::ExactlyOnce, id).unwrap());
}
