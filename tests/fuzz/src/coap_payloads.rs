//! What CoAP carries: URIs, links, SenML in JSON and CBOR, problem details. The body stands beside that of the codec.

/// Reads `data` as each of them.
pub fn check(data: &[u8]) {
    crate::coap_messages::check_text(data);
}
