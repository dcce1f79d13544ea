//! Two state machines over a link that breaks at random: every message arrives, QoS 2 once, in order.

use core::num::NonZeroU16;
use std::collections::VecDeque;

use proptest::prelude::*;
use tercet_mqtt::inflight::{Arrival, Inbound, Outbound, PubRecOutcome, Resend};
use tercet_mqtt::{
    AckKind, Allocator, Limits, Packet, PacketId, Publish, QoS, ReasonCode, Version, decode, encode,
    write_ack,
};

/// Both ends and the bytes between them. What is on the way is lost when the link breaks.
struct Link {
    qos: QoS,
    sender: Outbound<u32>,
    ids: Allocator,
    receiver: Inbound,
    to_receiver: VecDeque<Vec<u8>>,
    to_sender: VecDeque<Vec<u8>>,
    received: Vec<u32>,
    next: u32,
    total: u32,
    maximum: NonZeroU16,
}

impl Link {
    fn publish(&mut self, id: PacketId, dup: bool, message: u32) {
        let payload = message.to_be_bytes();
        let publish = Publish { dup, qos: self.qos, packet_id: Some(id), ..Publish::new("a/b", &payload) };
        let mut bytes = Vec::new();
        encode(&Packet::Publish(publish), Version::V5, &mut bytes).unwrap();
        self.to_receiver.push_back(bytes);
    }

    fn ack(kind: AckKind, id: PacketId) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_ack(kind, Version::V5, id, ReasonCode::Success, &mut bytes);
        bytes
    }

    /// Sends what may be sent: first what is to be repeated, then what is new.
    fn send(&mut self) {
        while let Some(resend) = self.sender.poll_resend() {
            match resend {
                Resend::Publish { id, message, qos } => {
                    assert_eq!(qos, self.qos);
                    let message = *message;
                    self.publish(id, true, message);
                }
                Resend::PubRel(id) => self.to_receiver.push_back(Self::ack(AckKind::PubRel, id)),
            }
        }
        while self.next < self.total && self.sender.can_send() {
            let id = self.ids.allocate().unwrap();
            self.sender.send(id, self.qos, self.next).unwrap();
            self.publish(id, false, self.next);
            self.next += 1;
        }
    }

    fn receive(&mut self) {
        let Some(bytes) = self.to_receiver.pop_front() else { return };
        let (packet, _) = decode(&bytes, Version::V5, &Limits::default()).unwrap().unwrap();
        let answer = match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id.unwrap();
                let arrival =
                    self.receiver.handle_publish(publish.qos, id).expect("the sender keeps to the maximum");
                if arrival == Arrival::New {
                    self.received.push(u32::from_be_bytes(publish.payload.try_into().unwrap()));
                }
                if self.qos == QoS::AtLeastOnce {
                    self.receiver.puback_sent();
                    Self::ack(AckKind::PubAck, id)
                } else {
                    Self::ack(AckKind::PubRec, id)
                }
            }
            Packet::PubRel(ack) => {
                self.receiver.handle_pubrel(ack.packet_id);
                Self::ack(AckKind::PubComp, ack.packet_id)
            }
            other => panic!("{other:?}"),
        };
        self.to_sender.push_back(answer);
    }

    fn acknowledge(&mut self) {
        let Some(bytes) = self.to_sender.pop_front() else { return };
        match decode(&bytes, Version::V5, &Limits::default()).unwrap().unwrap().0 {
            Packet::PubAck(ack) => {
                self.sender.handle_puback(ack.packet_id).unwrap();
                assert!(self.ids.release(ack.packet_id));
            }
            Packet::PubRec(ack) => {
                let outcome = self.sender.handle_pubrec(ack.packet_id, ack.reason).unwrap();
                assert_eq!(outcome, PubRecOutcome::Release);
                self.to_receiver.push_back(Self::ack(AckKind::PubRel, ack.packet_id));
            }
            Packet::PubComp(ack) => {
                self.sender.handle_pubcomp(ack.packet_id).unwrap();
                assert!(self.ids.release(ack.packet_id));
            }
            other => panic!("{other:?}"),
        }
    }

    fn lose_connection(&mut self) {
        self.to_receiver.clear();
        self.to_sender.clear();
        self.sender.reconnected(self.maximum);
        self.receiver.reconnected(self.maximum);
    }
}

fn run(qos: QoS, maximum: u16, steps: &[u8]) -> Vec<u32> {
    let maximum = NonZeroU16::new(maximum).unwrap();
    let mut link = Link {
        qos,
        sender: Outbound::new(maximum),
        ids: Allocator::new(),
        receiver: Inbound::new(maximum),
        to_receiver: VecDeque::new(),
        to_sender: VecDeque::new(),
        received: Vec::new(),
        next: 0,
        total: 60,
        maximum,
    };
    for step in steps {
        match step % 16 {
            0 => link.lose_connection(),
            1..=5 => link.send(),
            6..=10 => link.receive(),
            _ => link.acknowledge(),
        }
    }
    // From here on the link holds, and everything gets through.
    link.lose_connection();
    for _ in 0..1000 {
        link.send();
        link.receive();
        link.acknowledge();
    }
    assert!(link.sender.is_empty() && link.ids.is_empty());
    assert_eq!(link.receiver.unreleased().count(), 0);
    assert_eq!(link.receiver.unacknowledged(), 0);
    assert_eq!(link.sender.quota(), maximum.get());
    link.received
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn qos_2_arrives_exactly_once_in_order(
        maximum in 1..12u16,
        steps in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let received = run(QoS::ExactlyOnce, maximum, &steps);
        prop_assert_eq!(received, (0..60).collect::<Vec<_>>());
    }

    #[test]
    fn qos_1_arrives_at_least_once_and_first_in_order(
        maximum in 1..12u16,
        steps in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut seen = Vec::new();
        for message in run(QoS::AtLeastOnce, maximum, &steps) {
            if !seen.contains(&message) {
                seen.push(message);
            }
        }
        prop_assert_eq!(seen, (0..60).collect::<Vec<_>>());
    }
}
