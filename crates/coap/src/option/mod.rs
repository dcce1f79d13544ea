//! Options: their registry, a view of encoded ones and a buffer to build them in (RFC 7252 §3.1, §5.4, §5.10).

mod buffer;
mod judgement;
mod number;
mod registry;
mod view;
pub(crate) mod wire;

pub use buffer::OptionBuf;
pub use judgement::Judgement;
pub use number::Number;
pub use registry::{Definition, Format};
pub use view::{All, Iter, Options};
