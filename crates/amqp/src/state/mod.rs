//! Who may send what when: the rules of channel 0 and of all others, the same for server and client.

mod answers;
mod channel;
mod connection;

pub use channel::Channel;
pub use connection::{Connection, Phase};

use crate::content::Progress;
use crate::method::Sender;

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We are the server.
    Server,
    /// We are the client.
    Client,
}

impl Role {
    /// Whether our peer may send what `sender` says.
    const fn takes_from(self, sender: Sender) -> bool {
        match sender {
            Sender::Both => true,
            Sender::Client => matches!(self, Self::Server),
            Sender::Server => matches!(self, Self::Client),
        }
    }
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in order; this is what it means for a message that is arriving.
    Take(Progress),
    /// Forget it: a close is on its way.
    Discard,
    /// The peer closes: answer with close-ok. If our own close has crossed with it, the answer to that is still to
    /// come.
    AnswerClose,
    /// The peer has answered our close.
    Closed,
}
