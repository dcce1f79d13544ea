//! The HTTP listeners over real sockets: pages, limits, and MQTT over WebSocket.

#![allow(clippy::unwrap_used, clippy::panic)]

mod api;
mod api_messages;
mod api_topology;
mod client;
mod metrics;
mod mqtt_rights;
mod pages;
mod sys_topics;
mod websocket;
