//! What the fuzz targets do with their input, for everything but the MQTT codec, which has its own beside it.
//!
//! Each `check` panics when something that must hold does not. The same functions run over the seeds and over damaged
//! seeds in every `cargo test`, on any compiler, so that they cannot rot.
#![forbid(unsafe_code)]
#![allow(clippy::panic, clippy::unwrap_used, reason = "failing is what these functions are for")]

pub mod acl_file;
pub mod amqp_frames;
pub mod certificate_identity;
pub mod coap_endpoint;
pub mod coap_messages;
pub mod coap_payloads;
pub mod configuration;
pub mod dtls_datagrams;
pub mod log_records;
pub mod password_file;
pub mod proxy_header;
pub mod scram;
pub mod websocket_frames;
pub mod websocket_response;

/// A fuzz target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; each has a file of its name in `fuzz/fuzz_targets` and a directory of its name in `seeds`.
pub const TARGETS: &[Target] = &[
    ("acl_file", acl_file::check),
    ("amqp_frames", amqp_frames::check),
    ("certificate_identity", certificate_identity::check),
    ("coap_endpoint", coap_endpoint::check),
    ("coap_messages", coap_messages::check),
    ("coap_payloads", coap_payloads::check),
    ("configuration", configuration::check),
    ("dtls_datagrams", dtls_datagrams::check),
    ("log_records", log_records::check),
    ("password_file", password_file::check),
    ("proxy_header", proxy_header::check),
    ("scram", scram::check),
    ("websocket_frames", websocket_frames::check),
    ("websocket_response", websocket_response::check),
];

/// Cuts `data` into pieces whose lengths come from `data` itself.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let (piece, after) = rest.split_at(rest.len().min(1 + usize::from(first % 7)));
        rest = after;
        Some(piece)
    })
}

/// Every occurrence of `marker` replaced: how a seed names what is random in each run.
fn substitute(data: &[u8], marker: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(marker) {
            out.extend_from_slice(value);
            rest = after;
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}
