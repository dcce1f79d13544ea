//! The broker as a server: reactors, listeners, authentication and configuration around the message core.
//!
//! [`Server::start`] takes a [`config::Config`] and returns a [`RunningServer`] once every listener is bound.
//! Each protocol is a *face* in a folder of its own; a face turns bytes into operations of
//! [`tercet_broker`] and its effects back into bytes. What a face is not: it keeps no queue, no route and no
//! retained value of its own.
//!
//! - [`reactor`]: threads, sockets, turns.
//! - [`mqtt`]: the MQTT face.
//! - [`amqp`]: the AMQP 0-9-1 face.
//! - [`coap`]: the CoAP face.
//! - [`http`]: health, readiness, metrics and the WebSocket handshake.
//! - [`auth`]: who may connect.
//! - [`config`], [`logging`]: what people set and see.
//! - [`metrics`], [`sys_topics`]: what is counted and measured, for scrapers and for subscribers.
//! - [`storage`]: where durable state lives, and the threads that look after it.
//! - [`housekeeping`]: timers of the core, and when the `$SYS` topics are due.
//! - [`scheduler`]: what is due in queues to the millisecond.
//! - [`server`]: putting it together.

#![forbid(unsafe_code)]

pub mod amqp;
pub mod auth;
pub mod coap;
pub mod config;
pub mod event_log;
pub mod housekeeping;
pub mod http;
pub mod layers;
pub mod limit_log;
pub mod listeners;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod mqtt;
mod provisioning;
pub mod reactor;
pub mod scheduler;
pub mod server;
pub mod shared;
pub mod storage;
pub mod sys_topics;

pub use listeners::BoundListener;
pub use server::{RunningServer, Server, StartError};
