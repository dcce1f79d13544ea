//! Messages as JSON: in the shape of the Mosquitto clients (`%j`, `%J`) and in our own (`--json`).
//!
//! Both are written by hand, since the first must keep the order of members, repeated members and number formats
//! of the original, and since a writer into the output buffer is the fastest.

use jiff::Zoned;
use tercet_client::mqtt::{Message, Properties, Property};

use super::template::NotJson;

/// Appends the object that `%j` (payload as a string) or `%J` (`raw`: payload as JSON) stands for.
pub(super) fn mosquitto(
    message: &Message,
    time: &Zoned,
    raw: bool,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let start = out.len();
    let mut object = Writer::new(out, pretty);
    object.open();
    let offset = jiff::fmt::strtime::format("%z", time).unwrap_or_default();
    let seconds = jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%S", time).unwrap_or_default();
    object.member("tst");
    object.string(format!("{seconds}.{:06}Z{offset}", time.subsec_nanosecond() / 1000).as_bytes());
    object.member("topic");
    object.string(message.topic.as_bytes());
    object.number("qos", u64::from(message.qos as u8));
    object.number("retain", u64::from(message.retain));
    object.number("payloadlen", message.payload.len() as u64);
    if let Some(id) = message.packet_id {
        object.number("mid", id.into());
    }
    if !message.properties.is_empty() {
        object.member("properties");
        write_properties(&mut object, &message.properties);
    }
    object.member("payload");
    if message.payload.is_empty() {
        object.out.extend_from_slice(b"null");
    } else if !raw {
        object.string(&message.payload);
    } else if !object.document(&message.payload) {
        out.truncate(start);
        return Err(NotJson);
    }
    object.close();
    Ok(())
}

/// Appends our own shape: RFC 3339 time in UTC, the payload as `payload` if it is text, else as
/// `payload_base64`, properties under their names of the specification.
pub(super) fn tercet(message: &Message, time: &Zoned, pretty: bool, out: &mut Vec<u8>) {
    let mut object = Writer::new(out, pretty);
    object.open();
    object.member("time");
    object.string(format!("{:.6}", time.timestamp()).as_bytes());
    object.member("topic");
    object.string(message.topic.as_bytes());
    object.number("qos", u64::from(message.qos as u8));
    object.flag("retain", message.retain);
    if message.dup {
        object.flag("dup", true);
    }
    if !message.properties.is_empty() {
        object.member("properties");
        write_properties(&mut object, &message.properties);
    }
    match message.text() {
        Some(text) => {
            object.member("payload");
            object.string(text.as_bytes());
        }
        None => {
            object.member("payload_base64");
            let text = base64(&message.payload);
            object.string(text.as_bytes());
        }
    }
    object.close();
}

fn write_properties(object: &mut Writer<'_>, properties: &Properties) {
    object.open();
    let mut user_done = false;
    for property in properties {
        match property {
            Property::PayloadFormatIndicator(value) => {
                object.number("payload-format-indicator", (*value).into())
            }
            Property::MessageExpiryInterval(value) => {
                object.number("message-expiry-interval", (*value).into())
            }
            Property::SubscriptionIdentifier(value) => {
                object.number("subscription-identifier", (*value).into())
            }
            Property::TopicAlias(value) => object.number("topic-alias", (*value).into()),
            Property::ContentType(value) => object.text("content-type", value.as_bytes()),
            Property::ResponseTopic(value) => object.text("response-topic", value.as_bytes()),
            Property::CorrelationData(value) => object.text("correlation-data", value),
            Property::UserProperty(..) if !user_done => {
                user_done = true;
                object.member("user-properties");
                object.open();
                for (name, value) in properties.user() {
                    object.text(name, value.as_bytes());
                }
                object.close();
            }
            _ => {}
        }
    }
    object.close();
}

/// Writes objects and arrays, compact or with tabs.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    pretty: bool,
    depth: usize,
    /// Nothing was written yet in the object being open.
    first: bool,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>, pretty: bool) -> Self {
        Self { out, pretty, depth: 0, first: true }
    }

    fn open(&mut self) {
        self.depth += 1;
        self.first = true;
        self.out.extend_from_slice(if self.pretty { b"{\n" } else { b"{" });
    }

    fn close(&mut self) {
        self.depth -= 1;
        if self.pretty {
            if !self.first {
                self.out.push(b'\n');
            }
            self.tabs();
        }
        self.out.push(b'}');
        self.first = false;
    }

    fn tabs(&mut self) {
        self.out.resize(self.out.len() + self.depth, b'\t');
    }

    fn member(&mut self, name: &str) {
        self.begin_member();
        self.string(name.as_bytes());
        self.end_name();
    }

    fn begin_member(&mut self) {
        if !self.first {
            self.out.extend_from_slice(if self.pretty { b",\n" } else { b"," });
        }
        self.first = false;
        if self.pretty {
            self.tabs();
        }
    }

    fn end_name(&mut self) {
        self.out.extend_from_slice(if self.pretty { b":\t" } else { b":" });
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.member(name);
        self.string(value);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.member(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.member(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Bytes above 0x7F pass as they are: the topic is UTF-8, and a payload that is not stays recognisable.
    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        let mut plain = 0;
        for (at, &byte) in text.iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.out.extend_from_slice(text.get(plain..at).unwrap_or(&[]));
            plain = at + 1;
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x0C => self.out.extend_from_slice(b"\\f"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                other => self.out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
            }
        }
        self.out.extend_from_slice(text.get(plain..).unwrap_or(&[]));
        self.out.push(b'"');
    }

    /// Writes a JSON document anew; false (with rubbish written) if it is none.
    fn document(&mut self, text: &[u8]) -> bool {
        let mut reader = Reader { rest: text };
        reader.skip_space();
        reader.value(self, 0) && {
            reader.skip_space();
            reader.rest.is_empty()
        }
    }
}

/// Deepest nesting of a document that is taken apart.
const DEEPEST: usize = 1000;

/// Reads a JSON document and writes it as it goes.
struct Reader<'t> {
    rest: &'t [u8],
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', tail)) = self.rest.split_first() {
            self.rest = tail;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self, text: &[u8]) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, writer: &mut Writer<'_>, depth: usize) -> bool {
        if depth >= DEEPEST {
            return false;
        }
        match self.peek() {
            Some(b'{') => self.object(writer, depth),
            Some(b'[') => self.array(writer, depth),
            Some(b'"') => self.string().is_some_and(|text| {
                writer.string(&text);
                true
            }),
            Some(b'-' | b'0'..=b'9') => self.number(writer),
            _ => [&b"null"[..], b"true", b"false"].into_iter().any(|word| {
                self.take(word) && {
                    writer.out.extend_from_slice(word);
                    true
                }
            }),
        }
    }

    fn object(&mut self, writer: &mut Writer<'_>, depth: usize) -> bool {
        self.take(b"{");
        writer.open();
        self.skip_space();
        if !self.take(b"}") {
            loop {
                self.skip_space();
                let Some(name) = self.string() else { return false };
                writer.begin_member();
                writer.string(&name);
                writer.end_name();
                self.skip_space();
                if !self.take(b":") {
                    return false;
                }
                self.skip_space();
                if !self.value(writer, depth + 1) {
                    return false;
                }
                self.skip_space();
                if self.take(b"}") {
                    break;
                }
                if !self.take(b",") {
                    return false;
                }
            }
        }
        writer.close();
        true
    }

    fn array(&mut self, writer: &mut Writer<'_>, depth: usize) -> bool {
        self.take(b"[");
        writer.out.push(b'[');
        writer.depth += 1;
        self.skip_space();
        if !self.take(b"]") {
            loop {
                self.skip_space();
                if !self.value(writer, depth + 1) {
                    return false;
                }
                self.skip_space();
                if self.take(b"]") {
                    break;
                }
                if !self.take(b",") {
                    return false;
                }
                writer.out.extend_from_slice(if writer.pretty { b", " } else { b"," });
            }
        }
        writer.depth -= 1;
        writer.out.push(b']');
        true
    }

    fn number(&mut self, writer: &mut Writer<'_>) -> bool {
        let length = self
            .rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(length);
        let Some(value) = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<f64>().ok()) else {
            return false;
        };
        self.rest = rest;
        writer.out.extend_from_slice(number(value).as_bytes());
        true
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        if !self.take(b"\"") {
            return None;
        }
        let mut text = Vec::new();
        loop {
            let (&byte, tail) = self.rest.split_first()?;
            self.rest = tail;
            match byte {
                b'"' => return Some(text),
                b'\\' => {
                    let (&letter, tail) = self.rest.split_first()?;
                    self.rest = tail;
                    text.push(match letter {
                        b'"' | b'\\' | b'/' => letter,
                        b'b' => 0x08,
                        b'f' => 0x0C,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'u' => {
                            let letter = self.unicode()?;
                            text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                            continue;
                        }
                        _ => return None,
                    });
                }
                other => text.push(other),
            }
        }
    }

    /// What follows `\u`, with the second half of a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if (0xD800..0xDC00).contains(&first) {
            if !self.take(b"\\u") {
                return None;
            }
            let second = self.hex4()?;
            return char::decode_utf16([first, second]).next()?.ok();
        }
        char::from_u32(first.into())
    }

    fn hex4(&mut self) -> Option<u16> {
        let digits = std::str::from_utf8(self.rest.get(..4)?).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = self.rest.get(4..)?;
        u16::from_str_radix(digits, 16).ok()
    }
}

/// A number with up to 15 significant digits, with 17 if it is not the same otherwise (C's `%1.15g`, `%1.17g`).
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "null".into();
    }
    let short = general(value, 15);
    if short.parse() == Ok(value) { short } else { general(value, 17) }
}

/// C's `%.{digits}g`.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match usize::try_from(exponent) {
        Ok(positive) if positive < digits => trim(&format!("{value:.*}", digits - 1 - positive)),
        Err(_) if exponent >= -4 => {
            trim(&format!("{value:.*}", digits - 1 + usize::try_from(-exponent).unwrap_or(0)))
        }
        _ => format!("{}e{}{:02}", trim(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

/// RFC 4648 §4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};

    use super::*;

    fn at() -> Zoned {
        Timestamp::new(1_588_802_400, 123_456_789).unwrap().to_zoned(TimeZone::UTC)
    }

    fn again(text: &str, pretty: bool) -> Option<String> {
        let mut out = Vec::new();
        Writer::new(&mut out, pretty).document(text.as_bytes()).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn documents_are_written_anew() {
        for (text, want) in [
            (r#" {"b": 1.50, "a": [1e3, "xA\/é"], "c":null} "#, r#"{"b":1.5,"a":[1000,"xA/é"],"c":null}"#),
            (r#""\ud83d\ude00\n""#, "\"😀\\n\""),
            ("[0.1,1e300,-5,0.00001,123456789012345680000]", "[0.1,1e+300,-5,1e-05,1.2345678901234568e+20]"),
            ("{}", "{}"),
        ] {
            assert_eq!(again(text, false).as_deref(), Some(want), "{text}");
        }
        for text in ["", "hello", "[1,]", "{1:2}", "\"a", "[1] x", "-", r#""\ud83d""#, "{\"a\"}"] {
            assert_eq!(again(text, false), None, "{text}");
        }
        assert_eq!(again(&"[".repeat(100_000), false), None);
    }

    #[test]
    fn pretty_documents_use_tabs() {
        assert_eq!(
            again(r#"{"p":[1,{"a":"b"},{},[],[[1]]]}"#, true).unwrap(),
            "{\n\t\"p\":\t[1, {\n\t\t\t\"a\":\t\"b\"\n\t\t}, {\n\t\t}, [], [[1]]]\n}"
        );
    }

    #[test]
    fn our_shape_is_valid_json_for_any_payload() {
        for payload in [&b"plain"[..], b"\xff\x00", b"", b"\"\\\n"] {
            let mut message = Message::new("a/\"b\"", payload);
            message.properties.set(Property::UserProperty("k".into(), "v".into()));
            let mut out = Vec::new();
            tercet(&message, &at(), false, &mut out);
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["time"], "2020-05-06T22:00:00.123456Z");
            assert_eq!(value["topic"], "a/\"b\"");
            assert_eq!(value["properties"]["user-properties"]["k"], "v");
            match std::str::from_utf8(payload) {
                Ok(text) => assert_eq!(value["payload"], text),
                Err(_) => assert_eq!(value["payload_base64"], "/wA="),
            }
        }
    }

    #[test]
    fn base64_pads() {
        for (bytes, want) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
    }
}
