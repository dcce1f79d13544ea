//! Why an operation on exchanges and queues is refused.

pub use tercet_amqp::ReplyCode;

/// A refused operation, with the reply code and text of AMQP 0-9-1 as RabbitMQ gives them.
///
/// Whether it ends a channel or a connection follows from the code ([`ReplyCode::scope`]). The text comes without the
/// name of the code in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", .code.name())]
pub struct Refusal {
    /// The reply code.
    pub code: ReplyCode,
    /// The explanation.
    pub text: String,
}

impl Refusal {
    /// A refusal with this code.
    #[cold]
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// 404: something named does not exist.
    #[cold]
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotFound, text)
    }

    /// 403: a right is missing.
    #[cold]
    pub fn access_refused(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::AccessRefused, text)
    }

    /// 405: an exclusive queue of another connection.
    #[cold]
    pub fn resource_locked(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::ResourceLocked, text)
    }

    /// 406: an argument or the state of something does not fit.
    #[cold]
    pub fn precondition_failed(text: impl Into<String>) -> Self {
        Self::new(ReplyCode::PreconditionFailed, text)
    }
}
