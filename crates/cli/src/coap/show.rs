//! Answers to standard output.

use std::io::{self, Write as _};

use serde_json::{Map, Value};
use tercet_client::coap::{ContentFormat, Number, Response};

use super::exit::Outcome;
use super::settings::Output;
use crate::output::talk;
use crate::pubsub::base64;

/// Shows an answer: its body as it is, or everything as JSON.
pub(super) fn show(response: &Response, output: &Output) -> Result<(), Outcome> {
    if output.verbose {
        talk(&headline(response));
    }
    if output.json {
        return write(format!("{}\n", object(response)).as_bytes(), output);
    }
    if !response.is_success() {
        return Ok(());
    }
    let mut body = response.payload().to_vec();
    if output.newline {
        body.push(b'\n');
    }
    write(&body, output)
}

/// Shows a state of an observed resource: a line of its own where it is text.
pub(super) fn show_state(response: &Response, output: &Output) -> Result<(), Outcome> {
    let newline = output.newline || response.text().is_some_and(|text| !text.ends_with('\n'));
    show(response, &Output { file: output.file.clone(), newline, ..*output })
}

fn write(bytes: &[u8], output: &Output) -> Result<(), Outcome> {
    if let Some(path) = &output.file {
        return std::fs::write(path, bytes)
            .map_err(|error| Outcome::Failed(format!("cannot write {}: {error}", path.display())));
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // A reader that went away (`| head`) is no failure, but there is nothing left to do.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Outcome::Done),
        Err(error) => Err(Outcome::Failed(format!("cannot write to stdout: {error}"))),
        Ok(()) => Ok(()),
    }
}

fn headline(response: &Response) -> String {
    let mut line = format!("{} {}", response.code(), response.code().name().unwrap_or(""));
    for (number, value) in response.options() {
        let shown = match number.definition().map(|definition| definition.format) {
            Some(tercet_client::coap::OptionFormat::Uint) => uint(value),
            Some(tercet_client::coap::OptionFormat::String) => String::from_utf8_lossy(value).into_owned(),
            _ => format!("0x{}", hex(value)),
        };
        line.push_str(&format!(" {number}:{shown}"));
    }
    line
}

fn object(response: &Response) -> Value {
    let mut object = Map::new();
    object.insert("code".into(), response.code().to_string().into());
    if let Some(name) = response.code().name() {
        object.insert("name".into(), name.into());
    }
    if let Some(format) = response.content_format() {
        object.insert("content_format".into(), format.0.into());
        if let Some(media_type) = format.media_type() {
            object.insert("media_type".into(), media_type.into());
        }
    }
    if let Some(tag) = response.etag() {
        object.insert("etag".into(), hex(tag).into());
    }
    object.insert("max_age".into(), response.max_age().as_secs().into());
    if let Some(number) = response.options().uint(Number::OBSERVE) {
        object.insert("observe".into(), number.into());
    }
    if let Some(location) = response.location() {
        object.insert("location".into(), location.into());
    }
    let (name, body) = body(response);
    object.insert(name.into(), body);
    Value::Object(object)
}

/// The body as far as JSON can hold it, and the name that says how.
fn body(response: &Response) -> (&'static str, Value) {
    let bytes = response.payload();
    let json = [ContentFormat::JSON, ContentFormat::SENML_JSON];
    let cbor = [
        ContentFormat::CBOR,
        ContentFormat::SENML_CBOR,
        ContentFormat::CORE_PUBSUB,
        ContentFormat::PROBLEM_DETAILS,
    ];
    let format = response.content_format();
    if format.is_some_and(|format| json.contains(&format))
        && let Ok(value) = serde_json::from_slice(bytes)
    {
        return ("payload", value);
    }
    if format.is_some_and(|format| cbor.contains(&format)) {
        return ("diagnostic", minicbor::display(bytes).to_string().into());
    }
    match response.text() {
        Some(text) => ("payload", text.into()),
        None => ("payload_base64", base64(bytes).into()),
    }
}

fn uint(value: &[u8]) -> String {
    value.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
