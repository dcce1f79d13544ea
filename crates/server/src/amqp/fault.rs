//! What a client did wrong, or was refused, and which close answers it.

use tercet_amqp::method::{basic, channel, connection};
use tercet_amqp::{Error, ErrorKind, MethodId, ReplyCode, Scope};
use tercet_broker::refusal::Refusal;

/// A channel or connection is to be closed by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The reply code.
    pub(super) code: ReplyCode,
    /// The reply text, with the name of the code in front; at most 255 bytes.
    pub(super) text: String,
    /// The channel that it happened on; 0 for the connection.
    pub(super) channel: u16,
    /// The method that failed; `None` if none did.
    pub(super) method: Option<MethodId>,
}

impl Fault {
    /// A fault of this code, with an explanation that follows its name.
    #[cold]
    pub(super) fn new(
        code: ReplyCode,
        explanation: impl std::fmt::Display,
        channel: u16,
        method: MethodId,
    ) -> Self {
        Self { code, text: code.text(explanation), channel, method: Some(method) }
    }

    /// A refused operation.
    #[cold]
    pub(super) fn refused(refusal: &Refusal, channel: u16, method: MethodId) -> Self {
        Self::new(refusal.code, &refusal.text, channel, method)
    }

    /// A fault that no method is to blame for.
    #[cold]
    pub(super) fn of_connection(code: ReplyCode, explanation: impl std::fmt::Display) -> Self {
        Self { code, text: code.text(explanation), channel: 0, method: None }
    }

    /// Whether the connection is to be closed, not only the channel.
    pub(super) fn ends_connection(&self) -> bool {
        self.channel == 0 || self.code.scope() != Scope::Channel
    }

    /// The class and method that failed, as the answer names them.
    fn blamed(&self) -> MethodId {
        self.method.unwrap_or(MethodId { class: 0, method: 0 })
    }

    /// The connection.close that answers.
    pub(super) fn connection_close(&self) -> connection::Close<'_> {
        let MethodId { class, method } = self.blamed();
        connection::Close {
            reply_code: self.code.number(),
            reply_text: &self.text,
            class_id: class,
            method_id: method,
        }
    }

    /// The channel.close that answers.
    pub(super) fn channel_close(&self) -> channel::Close<'_> {
        let MethodId { class, method } = self.blamed();
        channel::Close {
            reply_code: self.code.number(),
            reply_text: &self.text,
            class_id: class,
            method_id: method,
        }
    }
}

impl From<Error> for Fault {
    #[cold]
    fn from(error: Error) -> Self {
        let method = match error.kind {
            // Nothing else that a client sends has a body.
            ErrorKind::BodyTooLarge { .. } => Some(basic::Publish::ID),
            // What cannot be decoded is nobody's.
            ErrorKind::InvalidUtf8 => None,
            _ => error.method,
        };
        Self { code: error.code, text: error.text(), channel: error.channel, method }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::method::queue::Declare;

    #[test]
    fn the_code_and_the_channel_decide_what_is_closed() {
        let fault = |code, channel| Fault::new(code, "x", channel, Declare::ID).ends_connection();
        assert!(!fault(ReplyCode::NotFound, 1));
        assert!(fault(ReplyCode::NotFound, 0));
        assert!(fault(ReplyCode::NotAllowed, 1));
    }

    #[test]
    fn the_answer_names_the_method_and_fits_a_short_string() {
        let refusal = Refusal::not_found("é".repeat(200));
        let fault = Fault::refused(&refusal, 3, Declare::ID);
        let close = fault.channel_close();
        assert_eq!((close.reply_code, close.class_id, close.method_id), (404, 50, 10));
        assert!(close.reply_text.starts_with("NOT_FOUND - é") && close.reply_text.len() <= 255);
        let fault = Fault::of_connection(ReplyCode::ConnectionForced, "bye");
        let close = fault.connection_close();
        assert_eq!((close.class_id, close.method_id, close.reply_text), (0, 0, "CONNECTION_FORCED - bye"));
    }
}
