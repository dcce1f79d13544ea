//! What every load has in common, whatever protocol it speaks: sockets driven by one epoll loop, time,
//! stamped payloads that prove their own arrival, latency histograms.
//!
//! A protocol plugs in as a [`Handler`]: it is handed whole reads and writes into [`Outboxes`], which the
//! loop sends with one write per touched connection and turn. Nothing here knows MQTT.

mod clock;
mod event_loop;
mod histogram;
mod interrupt;
mod outboxes;
mod stamp;
mod ticker;
mod verify;

pub use clock::Clock;
pub use event_loop::{EventLoop, Handler};
pub use histogram::Histogram;
pub use interrupt::Interrupt;
pub use outboxes::{LinkId, Outboxes};
pub use stamp::{MIN_PAYLOAD, Stamp};
pub use ticker::Ticker;
pub use verify::{OnceEach, Sequence, Tally};
