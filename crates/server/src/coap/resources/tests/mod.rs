//! Requests and their answers, without network: every method and code of `docs/coap-pubsub.md`.

mod configurations;
mod many_topics;
mod one_topic;
mod world;
