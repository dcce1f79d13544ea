//! Measures Tercet beside other brokers, with the same load in the same run.
//!
//! The load generator is one thread with one event loop ([`engine`]); it sends pre-encoded packets
//! ([`mqtt`], [`amqp`], [`coap`]), checks that every message arrives once and in order, and is much cheaper than the servers.
//! Each scenario ([`scenarios`]) is run against each peer ([`peers`]) in turn; [`report`] turns the samples
//! into medians, ratios and the verdict on the bars. [`floor`] is a feature-free server that shows what the
//! machine could do. [`disk`] measures what one `fdatasync` costs beside durable runs. [`driver`] puts them together for the command line ([`cli`]).
//!
//! It is not a client library and not a broker: it speaks just enough of each protocol to load a server.

#![forbid(unsafe_code)]

pub mod amqp;
pub mod cli;
pub mod coap;
pub mod disk;
pub mod driver;
pub mod engine;
pub mod floor;
pub mod mqtt;
pub mod peers;
pub mod report;
pub mod scenarios;
