//! How much users and virtual hosts may have open.

use tercet_amqp::EncodeError;
use tercet_amqp::field::{Table, TableBuf, Value};

/// Limits of one user. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections open at a time.
    pub max_connections: Option<u32>,
    /// AMQP channels open at a time, on all connections together.
    pub max_channels: Option<u32>,
}

/// Limits of one virtual host. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// Connections open at a time.
    pub max_connections: Option<u32>,
    /// Queues declared at a time.
    pub max_queues: Option<u32>,
}

impl VhostLimits {
    pub(super) fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut table = TableBuf::new();
        for (name, limit) in [("max-connections", self.max_connections), ("max-queues", self.max_queues)] {
            if let Some(limit) = limit {
                table.put(name, i64::from(limit))?;
            }
        }
        Ok(table.as_table().as_bytes().to_vec())
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let table = Table::parse(bytes, 1).ok()?;
        let number = |name: &str| {
            let value: Option<Value<'_>> = table.get(name);
            u32::try_from(value?.as_i64()?).ok()
        };
        Some(Self { max_connections: number("max-connections"), max_queues: number("max-queues") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_back_as_they_were_written() {
        for limits in [
            VhostLimits::default(),
            VhostLimits { max_connections: Some(0), max_queues: None },
            VhostLimits { max_connections: Some(u32::MAX), max_queues: Some(1) },
        ] {
            assert_eq!(VhostLimits::decode(&limits.encode().unwrap()), Some(limits));
        }
        assert_eq!(VhostLimits::decode(b"x"), None);
    }
}
