//! What every load has in common, whatever protocol it speaks: sockets driven by one epoll loop, time,
//! stamped payloads that prove their own arrival, latency histograms.
//!
//! A protocol plugs in as a [`Handler`]: it is handed whole reads and writes into [`Outboxes`], which the
//! loop sends with one write per touched connection and turn; [`Drive`] lets it go on and watches its progress.
//! Nothing here knows a protocol.

mod clock;
mod drive;
mod event_loop;
mod expect;
mod histogram;
mod interrupt;
mod outboxes;
mod stamp;
mod ticker;
mod verify;

pub use clock::Clock;
pub use drive::{Drive, LoadError, Watched};
pub use event_loop::{EventLoop, Handler};
pub(crate) use expect::Expected;
pub use expect::{Expect, StreamId};
pub use histogram::Histogram;
pub use interrupt::Interrupt;
pub use outboxes::{LinkId, Outboxes};
pub use stamp::{MIN_PAYLOAD, Stamp};
pub use ticker::Ticker;
pub use verify::{OnceEach, Sequence, Tally};
