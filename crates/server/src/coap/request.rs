//! What a client asks for.

use tercet_coap::{Code, Number, Options};

use super::caller::Caller;

/// A whole request: its blocks are put together, its options are checked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method; not one of those that are known, perhaps.
    pub code: Code,
    /// All options. None that is critical is unknown or ill-formed.
    pub options: Options<'a>,
    /// The body; empty when there is none.
    pub payload: &'a [u8],
    /// Who asks.
    pub caller: &'a Caller,
    /// Whether the answer is awaited: a publication is then at least once (QoS 1), otherwise at most once.
    pub confirmable: bool,
    /// Whether it wants to hear of changes. `None` on methods that cannot be observed (RFC 7641 §2).
    pub observe: Option<Observe>,
}

/// What a request wants of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observe {
    /// To be told of changes from now on.
    Register,
    /// To be told no longer.
    Deregister,
}

impl<'a> Request<'a> {
    /// The segments of its path; none for the root.
    pub fn path(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.options.all(Number::URI_PATH)
    }

    /// The arguments of its query, such as `b"qos=1"`.
    pub fn query(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.options.all(Number::URI_QUERY)
    }
}
