//! The protocol's behaviour over the wire, one scenario per file.
#![allow(clippy::unwrap_used, clippy::panic)]

mod acl;
mod crashing_subscriber;
mod enhanced_authentication;
mod keep_alive;
mod lifecycle;
mod limits;
mod maximum_packet_size;
mod message_expiry;
mod packet_identifiers;
mod passwords;
mod properties_travel;
mod qos_flows;
mod random_walks;
mod receive_maximum;
mod redelivery_after_reconnect;
mod retained_messages;
mod return_codes;
mod server_information;
mod session_persistence;
mod session_takeover;
mod shared_subscriptions;
mod subscriptions;
mod sys_topics;
mod topic_aliases;
mod wills;
