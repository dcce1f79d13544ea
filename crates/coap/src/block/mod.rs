//! Block-wise transfer: bodies larger than a message (RFC 7959; RFC 8323 §6 for streams; RFC 9175 §3 for Request-Tag).
//!
//! [`Block`] is the value of the options Block1 and Block2. A server cuts what it answers with [`serve`], collects what it is
//! sent in [`Uploads`] and keeps answers that cannot be computed twice in [`KeptBodies`]. A client sends a body with a
//! [`Sender`] and collects one with a [`Receiver`]. None of them knows how messages travel.

mod fingerprint;
mod kept;
mod receiver;
mod sender;
mod serve;
mod uploads;
mod value;

pub use fingerprint::Fingerprints;
pub use kept::KeptBodies;
pub use receiver::{ReceiveError, Receiver, Step};
pub use sender::{Piece, Progress, Sender};
pub use serve::{Carrier, NoSuchBlock, Slice, serve};
pub use uploads::{Refusal, Upload, UploadBounds, Uploads};
pub use value::{Block, BlockSize};
