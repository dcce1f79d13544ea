//! MQTT 5.0 properties (§2.2.2): an ordered list, written and read without any rule about what is allowed where,
//! so that tests can also send what must be refused.

/// Property identifiers (§2.2.2.2).
pub mod id {
    #![allow(missing_docs)]
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTH_METHOD: u8 = 0x15;
    pub const AUTH_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub const SHARED_AVAILABLE: u8 = 0x2A;
}

/// One property's value, by its type on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// Two byte integer.
    Two(u16),
    /// Four byte integer.
    Four(u32),
    /// Variable byte integer.
    Variable(u32),
    /// UTF-8 string, kept as bytes.
    Text(Vec<u8>),
    /// Binary data.
    Data(Vec<u8>),
    /// UTF-8 string pair.
    Pair(Vec<u8>, Vec<u8>),
}

/// Properties in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(u8, Value)>);

impl Properties {
    /// No property.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number in the type that the property has.
    #[must_use]
    pub fn number(mut self, id: u8, value: u32) -> Self {
        let value = match kind(id) {
            Kind::Byte => Value::Byte(u8::try_from(value).expect("a byte property")),
            Kind::Two => Value::Two(u16::try_from(value).expect("a two byte property")),
            Kind::Variable => Value::Variable(value),
            _ => Value::Four(value),
        };
        self.0.push((id, value));
        self
    }

    /// Adds a string or binary data, as the property has it.
    #[must_use]
    pub fn text(mut self, id: u8, value: impl AsRef<[u8]>) -> Self {
        let bytes = value.as_ref().to_vec();
        self.0.push((id, if kind(id) == Kind::Data { Value::Data(bytes) } else { Value::Text(bytes) }));
        self
    }

    /// Adds a user property.
    #[must_use]
    pub fn user(mut self, name: &str, value: &str) -> Self {
        self.0.push((id::USER_PROPERTY, Value::Pair(name.into(), value.into())));
        self
    }

    /// The first number with this identifier.
    #[must_use]
    pub fn get_number(&self, id: u8) -> Option<u32> {
        self.numbers(id).first().copied()
    }

    /// All numbers with this identifier.
    #[must_use]
    pub fn numbers(&self, id: u8) -> Vec<u32> {
        self.0
            .iter()
            .filter(|(i, _)| *i == id)
            .filter_map(|(_, value)| match value {
                Value::Byte(n) => Some(u32::from(*n)),
                Value::Two(n) => Some(u32::from(*n)),
                Value::Four(n) | Value::Variable(n) => Some(*n),
                _ => None,
            })
            .collect()
    }

    /// The first string or binary data with this identifier.
    #[must_use]
    pub fn get_text(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find(|(i, _)| *i == id).and_then(|(_, value)| match value {
            Value::Text(bytes) | Value::Data(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// The user properties in order.
    #[must_use]
    pub fn users(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter_map(|(_, value)| match value {
                Value::Pair(name, value) => {
                    Some((String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()))
                }
                _ => None,
            })
            .collect()
    }

    /// Writes the length and the properties.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        for (id, value) in &self.0 {
            body.push(*id);
            match value {
                Value::Byte(n) => body.push(*n),
                Value::Two(n) => body.extend_from_slice(&n.to_be_bytes()),
                Value::Four(n) => body.extend_from_slice(&n.to_be_bytes()),
                Value::Variable(n) => write_variable(*n, &mut body),
                Value::Text(bytes) | Value::Data(bytes) => write_string(bytes, &mut body),
                Value::Pair(name, value) => {
                    write_string(name, &mut body);
                    write_string(value, &mut body);
                }
            }
        }
        write_variable(u32::try_from(body.len()).expect("a short list"), out);
        out.extend_from_slice(&body);
    }

    /// Reads a property list from the front of `bytes`; what follows it is left there.
    pub fn read(bytes: &mut &[u8]) -> Self {
        let length = read_variable(bytes) as usize;
        let (mut body, rest) = bytes.split_at(length);
        *bytes = rest;
        let mut list = Vec::new();
        while !body.is_empty() {
            let id = take(&mut body, 1)[0];
            let value = match kind(id) {
                Kind::Byte => Value::Byte(take(&mut body, 1)[0]),
                Kind::Two => Value::Two(u16::from_be_bytes(take(&mut body, 2).try_into().unwrap())),
                Kind::Four => Value::Four(u32::from_be_bytes(take(&mut body, 4).try_into().unwrap())),
                Kind::Variable => Value::Variable(read_variable(&mut body)),
                Kind::Text => Value::Text(read_string(&mut body)),
                Kind::Data => Value::Data(read_string(&mut body)),
                Kind::Pair => Value::Pair(read_string(&mut body), read_string(&mut body)),
            };
            list.push((id, value));
        }
        Self(list)
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Byte,
    Two,
    Four,
    Variable,
    Text,
    Data,
    Pair,
}

fn kind(id: u8) -> Kind {
    match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Kind::Byte,
        0x13 | 0x21 | 0x22 | 0x23 => Kind::Two,
        0x02 | 0x11 | 0x18 | 0x27 => Kind::Four,
        0x0B => Kind::Variable,
        0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Kind::Text,
        0x09 | 0x16 => Kind::Data,
        0x26 => Kind::Pair,
        other => panic!("unknown property identifier {other:#04x}"),
    }
}

/// Takes `n` bytes off the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    assert!(bytes.len() >= n, "the broker sent a packet that ends early: {bytes:02x?}, {n} more expected");
    let (head, rest) = bytes.split_at(n);
    *bytes = rest;
    head
}

/// Writes a two byte length and the bytes.
pub(crate) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(bytes.len()).expect("at most 65,535 bytes").to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Reads a two byte length and the bytes.
pub(crate) fn read_string(bytes: &mut &[u8]) -> Vec<u8> {
    let length = u16::from_be_bytes(take(bytes, 2).try_into().unwrap());
    take(bytes, length.into()).to_vec()
}

/// Writes a variable byte integer in its shortest form (§1.5.5).
pub(crate) fn write_variable(mut n: u32, out: &mut Vec<u8>) {
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn read_variable(bytes: &mut &[u8]) -> u32 {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = take(bytes, 1)[0];
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("the broker sent a variable byte integer of five bytes");
}
