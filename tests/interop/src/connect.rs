//! The CONNECT that a test sends.

use crate::packet::{Version, frame};
use crate::property::{Properties, id, write_string};

/// A CONNECT packet: clean, keep alive 60 s, no will, no credentials, unless said otherwise.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Protocol version.
    pub version: Version,
    client: String,
    clean: bool,
    keep_alive: u16,
    username: Option<String>,
    password: Option<Vec<u8>>,
    will: Option<Will>,
    properties: Properties,
}

/// A will.
#[derive(Clone, Debug)]
pub struct Will {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    properties: Properties,
}

impl Will {
    /// A will at QoS 0.
    #[must_use]
    pub fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: 0,
            retain: false,
            properties: Properties::new(),
        }
    }

    /// With this quality of service.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Retained.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// With these properties.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }
}

impl Connect {
    /// A clean connection of this version and client identifier.
    #[must_use]
    pub fn new(version: Version, client: &str) -> Self {
        Self {
            version,
            client: client.into(),
            clean: true,
            keep_alive: 60,
            username: None,
            password: None,
            will: None,
            properties: Properties::new(),
        }
    }

    /// A 3.1 connection.
    #[must_use]
    pub fn v31(client: &str) -> Self {
        Self::new(Version::V31, client)
    }

    /// A 3.1.1 connection.
    #[must_use]
    pub fn v311(client: &str) -> Self {
        Self::new(Version::V311, client)
    }

    /// A 5.0 connection.
    #[must_use]
    pub fn v5(client: &str) -> Self {
        Self::new(Version::V5, client)
    }

    /// Clean start off: resume the session if there is one. Nothing is said about session expiry.
    #[must_use]
    pub fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    /// A session that outlives the connection by an hour in 5.0, for good in 3.x; resumes what is there.
    #[must_use]
    pub fn durable(self) -> Self {
        let connect = self.resume();
        if connect.version.has_properties() { connect.expiry(3600) } else { connect }
    }

    /// Session Expiry Interval in seconds (5.0).
    #[must_use]
    pub fn expiry(mut self, seconds: u32) -> Self {
        self.properties = self.properties.number(id::SESSION_EXPIRY, seconds);
        self
    }

    /// Keep alive in seconds.
    #[must_use]
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// User name and password.
    #[must_use]
    pub fn login(mut self, username: &str, password: &str) -> Self {
        self.username = Some(username.into());
        self.password = Some(password.into());
        self
    }

    /// User name alone.
    #[must_use]
    pub fn username(mut self, username: &str) -> Self {
        self.username = Some(username.into());
        self
    }

    /// With a will.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Adds a numeric property (5.0).
    #[must_use]
    pub fn number(mut self, id: u8, value: u32) -> Self {
        self.properties = self.properties.number(id, value);
        self
    }

    /// Adds a string or binary property (5.0).
    #[must_use]
    pub fn text(mut self, id: u8, value: impl AsRef<[u8]>) -> Self {
        self.properties = self.properties.text(id, value);
        self
    }

    /// The packet's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        write_string(name.as_bytes(), &mut body);
        body.push(level);
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6 | u8::from(self.username.is_some()) << 7;
        body.push(flags);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        if self.version.has_properties() {
            self.properties.write(&mut body);
        }
        write_string(self.client.as_bytes(), &mut body);
        if let Some(will) = &self.will {
            if self.version.has_properties() {
                will.properties.write(&mut body);
            }
            write_string(will.topic.as_bytes(), &mut body);
            write_string(&will.payload, &mut body);
        }
        if let Some(username) = &self.username {
            write_string(username.as_bytes(), &mut body);
        }
        if let Some(password) = &self.password {
            write_string(password, &mut body);
        }
        frame(0x10, &body)
    }
}
