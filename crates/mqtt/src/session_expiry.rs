//! How long a session outlives its connection (MQTT 5.0 §3.1.2.11.2, §3.14.2.2.2).

use core::time::Duration;

use crate::error::ErrorKind;
use crate::packet::{Connect, Disconnect};
use crate::property::PropertyId;
use crate::reason::ReasonCode;

/// How long a session outlives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionExpiry {
    /// It ends with the connection.
    AtDisconnect,
    /// It ends this many seconds after the connection. Never 0 and never 0xFFFF_FFFF.
    After(u32),
    /// It never ends by itself.
    Never,
}

/// A DISCONNECT gives a session that was to end with the connection a longer life: a Protocol Error, reason 0x82
/// (§3.14.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DISCONNECT sets a session expiry where CONNECT set none (§3.14.2.2.2)")]
pub struct RaisedFromZero;

impl RaisedFromZero {
    /// The reason code to close with.
    pub const fn reason(self) -> ReasonCode {
        ErrorKind::PropertyValue(PropertyId::SessionExpiryInterval).reason()
    }
}

impl SessionExpiry {
    /// The value of a Session Expiry Interval.
    pub const fn from_interval(seconds: u32) -> Self {
        match seconds {
            0 => Self::AtDisconnect,
            u32::MAX => Self::Never,
            seconds => Self::After(seconds),
        }
    }

    /// The Session Expiry Interval with this meaning.
    pub const fn interval(self) -> u32 {
        match self {
            Self::AtDisconnect => 0,
            Self::After(seconds) => seconds,
            Self::Never => u32::MAX,
        }
    }

    /// The time the session has left when its connection ends; `None` for ever.
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            other => Some(Duration::from_secs(other.interval() as u64)),
        }
    }

    /// What a CONNECT asks for. In MQTT 3.x Clean Session means 0 and its absence for ever (§3.1.2.4); in 5.0 Clean
    /// Start says nothing about the end.
    pub fn requested(connect: &Connect<'_>) -> Self {
        if connect.version.is_v5() {
            Self::from_interval(connect.properties.session_expiry.unwrap_or(0))
        } else if connect.clean_start {
            Self::AtDisconnect
        } else {
            Self::Never
        }
    }

    /// This, but no longer than the server grants. If that changes it, a CONNACK of MQTT 5.0 says so.
    pub fn capped(self, maximum: Self) -> Self {
        self.min(maximum)
    }

    /// What holds after a DISCONNECT, given what CONNECT had set.
    ///
    /// # Errors
    ///
    /// When CONNECT had set 0 and DISCONNECT sets more.
    pub fn at_disconnect(self, disconnect: &Disconnect<'_>) -> Result<Self, RaisedFromZero> {
        match disconnect.properties.session_expiry {
            None => Ok(self),
            Some(seconds) if seconds > 0 && self == Self::AtDisconnect => Err(RaisedFromZero),
            Some(seconds) => Ok(Self::from_interval(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property::{ConnectProperties, DisconnectProperties};
    use crate::version::Version;

    #[test]
    fn what_connect_asks_for() {
        use SessionExpiry::{After, AtDisconnect, Never};
        let cases = [
            (Version::V31, true, None, AtDisconnect),
            (Version::V31, false, None, Never),
            (Version::V311, true, None, AtDisconnect),
            (Version::V311, false, None, Never),
            (Version::V5, true, None, AtDisconnect),
            (Version::V5, false, None, AtDisconnect),
            (Version::V5, true, Some(10), After(10)),
            (Version::V5, false, Some(u32::MAX), Never),
            (Version::V5, false, Some(0), AtDisconnect),
        ];
        for (version, clean_start, session_expiry, expected) in cases {
            let properties = ConnectProperties { session_expiry, ..Default::default() };
            let connect = Connect { clean_start, properties, ..Connect::new(version, "x") };
            assert_eq!(SessionExpiry::requested(&connect), expected, "{connect:?}");
        }
        assert_eq!(Never.capped(After(5)), After(5));
        assert_eq!(After(3).capped(After(5)), After(3));
        assert_eq!(AtDisconnect.capped(Never), AtDisconnect);
        assert_eq!(Never.duration(), None);
        assert_eq!(After(5).duration(), Some(Duration::from_secs(5)));
        assert_eq!(AtDisconnect.duration(), Some(Duration::ZERO));
    }

    #[test]
    fn disconnect_may_change_it_but_not_raise_it_from_zero() {
        use SessionExpiry::{After, AtDisconnect, Never};
        let cases = [
            (AtDisconnect, None, Ok(AtDisconnect)),
            (AtDisconnect, Some(0), Ok(AtDisconnect)),
            (AtDisconnect, Some(1), Err(RaisedFromZero)),
            (After(5), None, Ok(After(5))),
            (After(5), Some(0), Ok(AtDisconnect)),
            (After(5), Some(9), Ok(After(9))),
            (After(5), Some(u32::MAX), Ok(Never)),
            (Never, Some(3), Ok(After(3))),
        ];
        for (before, session_expiry, expected) in cases {
            let properties = DisconnectProperties { session_expiry, ..Default::default() };
            let disconnect = Disconnect { properties, ..Disconnect::default() };
            assert_eq!(before.at_disconnect(&disconnect), expected);
        }
    }
}
