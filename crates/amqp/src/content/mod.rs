//! Messages on the wire: header, properties and body.
//!
//! Properties stay as they were encoded, in [`Properties`]: one can be read or changed without the rest being parsed.
//! [`Assembly`] keeps the order of method, header and body frames; [`write_content`] and [`BodyFrames`] make frames of
//! a body.

mod assembly;
mod header;
mod output;
mod properties;
mod rewrite;

pub use assembly::{Assembly, Progress};
pub use header::ContentHeader;
pub use output::{BodyFrames, write_content};
pub use properties::{BasicProperties, Properties, Property, PropertyValue};
