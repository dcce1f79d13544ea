//! A publisher with a durable session that goes on where the death of the broker has interrupted it.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use tercet_interop::lives::Lives;
use tercet_interop::packet::ack;
use tercet_interop::{Connect, Heard, Packet, Publish, Random, Version, Wire};

/// How large messages are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Mostly below 100 bytes.
    Small,
    /// Around 30 KiB: what is in the log has to be tidied up all the time.
    Large,
}

/// Messages on their way.
const WINDOW: usize = 16;
/// How long everything may take to be confirmed once the kills are over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Publishes numbered messages at QoS 1 to `NAME/1` and at QoS 2 to `NAME/2`.
///
/// The payload is the number and the attempt, then padding. Each time a QoS 1 message is sent it is another attempt, so
/// that what comes twice because it was sent twice can be told from what comes twice for another reason. At QoS 2
/// a repetition is the same in every byte.
pub(crate) struct Publisher<'a> {
    lives: &'a Lives,
    name: String,
    version: Version,
    sizes: Sizes,
    random: Random,
    link: Option<(Wire, usize)>,
    /// The broker has confirmed that there is a session.
    known: bool,
    sent: [u64; 2],
    open: BTreeMap<u64, Open>,
    next_order: u64,
    next_id: u16,
}

struct Open {
    id: u16,
    qos: u8,
    number: u64,
    attempt: u32,
    padding: usize,
    released: bool,
    sent: Instant,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(
        lives: &'a Lives,
        name: String,
        version: Version,
        sizes: Sizes,
        random: Random,
    ) -> Self {
        Self {
            lives,
            name,
            version,
            sizes,
            random,
            link: None,
            known: false,
            sent: [0; 2],
            open: BTreeMap::new(),
            next_order: 0,
            next_id: 0,
        }
    }

    /// Publishes until `end`, waits until all is confirmed, and returns how many messages went to each topic.
    pub(crate) fn run(mut self, end: Instant) -> Vec<(String, u64)> {
        while Instant::now() < end || !self.open.is_empty() {
            assert!(
                Instant::now() < end + PATIENCE,
                "{}: not confirmed in time: {}",
                self.name,
                self.open.len()
            );
            if self.link.is_none() {
                self.resume();
            }
            if Instant::now() < end {
                for _ in 0..self.random.below(6) {
                    self.publish();
                }
            }
            let pause = Duration::from_millis(self.random.below(12));
            while let Some(packet) = self.hear(pause) {
                self.take(packet);
            }
        }
        [1, 2].map(|qos| (format!("{}/{qos}", self.name), self.sent[qos - 1])).to_vec()
    }

    fn resume(&mut self) {
        let connect = Connect::new(self.version, &self.name).durable().keep_alive(0);
        let (wire, life, present) = self.lives.connect(&connect);
        assert!(present || !self.known, "{}: the session is gone in life {life}", self.name);
        self.known = true;
        self.link = Some((wire, life));
        let orders: Vec<u64> = self.open.keys().copied().collect();
        for order in orders {
            let Some(open) = self.open.get_mut(&order) else { continue };
            open.sent = Instant::now();
            open.attempt += u32::from(open.qos == 1);
            let bytes = if open.released {
                ack(0x62, open.id)
            } else {
                message(&self.name, open).dup().encode(self.version)
            };
            self.send(&bytes);
        }
    }

    fn publish(&mut self) {
        if self.open.len() >= WINDOW {
            return;
        }
        let qos = 1 + self.random.below(2) as u8;
        let padding = match self.random.below(500) {
            _ if self.sizes == Sizes::Large => self.random.below(60_000),
            0 => 300_000,
            1..10 => self.random.below(40_000),
            _ => self.random.below(100),
        };
        let count = &mut self.sent[usize::from(qos) - 1];
        let number = *count;
        *count += 1;
        let id = self.free_id();
        let open = Open {
            id,
            qos,
            number,
            attempt: 0,
            padding: padding as usize,
            released: false,
            sent: Instant::now(),
        };
        let bytes = message(&self.name, &open).encode(self.version);
        self.open.insert(self.next_order, open);
        self.next_order += 1;
        self.send(&bytes);
    }

    fn free_id(&mut self) -> u16 {
        let used: HashSet<u16> = self.open.values().map(|open| open.id).collect();
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !used.contains(&self.next_id) {
                return self.next_id;
            }
        }
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Puback(done) => {
                assert!(done.code < 0x80, "{}: {done:?}", self.name);
                self.close(done.id, 1);
            }
            Packet::Pubrec(record) => {
                assert!(record.code < 0x80, "{}: {record:?}", self.name);
                let open = self.open.values_mut().find(|open| open.id == record.id);
                let open =
                    open.unwrap_or_else(|| panic!("{}: PUBREC {} out of nowhere", self.name, record.id));
                assert!(open.qos == 2 && !open.released, "{}: PUBREC {} is not due", self.name, record.id);
                open.released = true;
                self.send(&ack(0x62, record.id));
            }
            // 0x92, "packet identifier not found", says that an earlier life has completed it.
            Packet::Pubcomp(done) => {
                assert!(matches!(done.code, 0 | 0x92), "{}: {done:?}", self.name);
                self.close(done.id, 2);
            }
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn close(&mut self, id: u16, qos: u8) {
        let found = self.open.iter().find(|(_, open)| open.id == id).map(|(order, _)| *order);
        let open = found.and_then(|order| self.open.remove(&order));
        let open = open.unwrap_or_else(|| panic!("{}: {id} is confirmed out of nowhere", self.name));
        assert!(
            open.qos == qos && open.released == (qos == 2),
            "{}: confirmation of {id} is not due",
            self.name
        );
        if let Some((_, life)) = &self.link {
            self.lives.confirmed(*life, open.sent.elapsed());
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let sent = self.link.as_mut().is_some_and(|(wire, _)| wire.try_send(bytes).is_ok());
        if !sent {
            self.lost();
        }
    }

    fn hear(&mut self, patience: Duration) -> Option<Packet> {
        match self.link.as_mut()?.0.hear(patience) {
            Heard::Packet(packet) => return Some(packet),
            Heard::Nothing => {}
            Heard::Closed => self.lost(),
        }
        None
    }

    fn lost(&mut self) {
        let Some((_, life)) = self.link.take() else { return };
        for open in self.open.values() {
            self.lives.unconfirmed(life, open.sent);
        }
    }
}

fn message(name: &str, open: &Open) -> Publish {
    let text = format!("{} {} {}", open.number, open.attempt, "x".repeat(open.padding));
    Publish::new(&format!("{name}/{}", open.qos), text).qos(open.qos).id(open.id)
}

/// Number and attempt of a message.
pub(crate) fn read_payload(publish: &Publish) -> (u64, u32) {
    let text = publish.text();
    let mut words = text.splitn(3, ' ');
    let mut number =
        || words.next().and_then(|word| word.parse::<u64>().ok()).expect("a payload of a publisher");
    (number(), number() as u32)
}
