//! The SASL mechanisms: which are offered, and what a client's response says.

use tercet_amqp::field::{Table, Value};

/// A mechanism that a client may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// User and password in a field table.
    AmqPlain,
    /// The name in the verified client certificate.
    External,
    /// Nobody in particular.
    Anonymous,
}

/// Which mechanisms a connection may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The listener takes names from client certificates.
    pub external: bool,
    /// Anonymous clients are let in.
    pub anonymous: bool,
}

/// What a client presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// A user and a password.
    Login {
        /// The user.
        user: &'a str,
        /// The password.
        password: &'a [u8],
    },
    /// What TLS says.
    Certificate,
    /// Nothing.
    Nobody,
}

impl Mechanism {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// The mechanism of this name, if it is offered.
    pub fn choose(name: &str, offer: Offer) -> Option<Self> {
        offer.all().find(|mechanism| mechanism.name() == name)
    }

    /// What the response says; `None` if it is malformed.
    pub fn parse(self, response: &[u8]) -> Option<Presented<'_>> {
        match self {
            Self::Plain => {
                // authzid NUL authcid NUL password; the first may be empty and is not used.
                let mut parts = response.splitn(3, |byte| *byte == 0);
                let (_, user, password) = (parts.next()?, parts.next()?, parts.next()?);
                Some(Presented::Login { user: std::str::from_utf8(user).ok()?, password })
            }
            Self::AmqPlain => {
                let table = Table::parse(response, 4).ok()?;
                match (table.get("LOGIN"), table.get("PASSWORD")) {
                    (Some(Value::LongStr(user)), Some(Value::LongStr(password))) => {
                        Some(Presented::Login { user: std::str::from_utf8(user).ok()?, password })
                    }
                    _ => None,
                }
            }
            Self::External => Some(Presented::Certificate),
            Self::Anonymous => Some(Presented::Nobody),
        }
    }
}

impl Offer {
    fn all(self) -> impl Iterator<Item = Mechanism> {
        let external = self.external.then_some(Mechanism::External);
        let anonymous = self.anonymous.then_some(Mechanism::Anonymous);
        external.into_iter().chain([Mechanism::Plain, Mechanism::AmqPlain]).chain(anonymous)
    }

    /// The list that the server announces.
    pub fn announced(self) -> String {
        self.all().map(Mechanism::name).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::TableBuf;

    const PASSWORDS: Offer = Offer { external: false, anonymous: false };

    #[test]
    fn only_what_is_offered_can_be_chosen() {
        let all = Offer { external: true, anonymous: true };
        assert_eq!(all.announced(), "EXTERNAL PLAIN AMQPLAIN ANONYMOUS");
        assert_eq!(PASSWORDS.announced(), "PLAIN AMQPLAIN");
        assert_eq!(Mechanism::choose("ANONYMOUS", PASSWORDS), None);
        assert_eq!(Mechanism::choose("plain", all), None);
        assert_eq!(Mechanism::choose("EXTERNAL", all), Some(Mechanism::External));
    }

    #[test]
    fn responses() {
        let login = |user, password: &'static str| {
            Some(Presented::Login { user, password: password.as_bytes() })
        };
        let plain = |response: &'static [u8]| Mechanism::Plain.parse(response);
        assert_eq!(plain(b"\0guest\0guest"), login("guest", "guest"));
        assert_eq!(plain(b"zid\0u\0p\0q"), login("u", "p\0q"));
        assert_eq!(plain(b"\0\0"), login("", ""));
        for malformed in [&b""[..], b"guest", b"\0guest", b"\0\xff\0x"] {
            assert_eq!(plain(malformed), None);
        }
        let mut table = TableBuf::new();
        table.put("LOGIN", "guest").unwrap().put("PASSWORD", "secret").unwrap();
        let amqplain = |response| Mechanism::AmqPlain.parse(response);
        assert_eq!(amqplain(table.as_table().as_bytes()), login("guest", "secret"));
        assert_eq!(amqplain(b"\x05LOGINS\0\0\0\xffx"), None);
        assert_eq!(amqplain(b""), None);
    }
}
