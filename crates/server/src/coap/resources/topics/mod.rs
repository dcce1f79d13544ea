//! Topics that were configured (draft-ietf-core-coap-pubsub-21): their properties, and the data they stand for.
//!
//! Any topic can be published without being configured. A configuration has a path of its own, `/topics/<id>`, and says more
//! about one topic of the topic space: which format its data has, how many observe it, when it ends. It is a definition of the
//! core, so it outlives a restart.
//!
//! - [`properties`]: the maps of properties.
//! - [`table`]: the configured topics.
//! - [`collection`]: `/ps`; [`configuration`]: `/topics/<id>`.

pub(super) mod collection;
pub(super) mod configuration;
pub(super) mod properties;
pub(super) mod table;
