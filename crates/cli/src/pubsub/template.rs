//! Output formats of `sub -F`: text with `%`, `@` and `\` sequences, parsed once and rendered for each message.
//!
//! The sequences, widths and paddings are those of the Mosquitto clients' manual. Where the program differs from
//! its manual ([`Style::Mosquitto`]) the program is followed, since scripts depend on what it prints.

use jiff::Zoned;
use tercet_client::mqtt::Message;

use super::json;

/// A parsed output format.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    style: Style,
    pretty: bool,
}

/// Whose habits to follow where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A width is a minimum.
    Tercet,
    /// A width cuts payloads, and hexadecimal ones at half of it.
    Mosquitto,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    /// `@x`: strftime.
    Time(String),
    /// `@N`: nanoseconds of the second.
    Nanoseconds,
    Field(Field, Shape),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    TopicAlias,
    ContentType,
    CorrelationData,
    Expiry,
    PayloadFormat,
    IsoTime,
    Json,
    RawJson,
    Length,
    PacketId,
    UserProperties,
    Payload,
    QoS,
    ResponseTopic,
    Retain,
    SubscriptionId,
    Topic,
    UnixTime,
    Hex,
    UpperHex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    left: bool,
    zero: bool,
    width: usize,
    /// Longest text in bytes.
    max: Option<usize>,
}

/// Widest field that can be asked for.
const WIDEST: usize = 1 << 20;

/// What is wrong with a format; the words are those of the Mosquitto clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("Incomplete format specifier.")]
    Incomplete,
    #[error("Invalid format specifier '{0}'.")]
    Unknown(char),
    #[error("Incomplete escape specifier.")]
    IncompleteEscape,
    #[error("Invalid escape specifier '{0}'.")]
    UnknownEscape(char),
}

/// `%J` on a payload that is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotJson;

impl Template {
    pub(super) fn parse(format: &str, style: Style, pretty: bool) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        let mut letters = format.chars();
        while let Some(letter) = letters.next() {
            let piece = match letter {
                '%' => match field(&mut letters)? {
                    Some(piece) => piece,
                    None => {
                        text.push(b'%');
                        continue;
                    }
                },
                '@' => match letters.next().ok_or(TemplateError::Incomplete)? {
                    '@' => {
                        text.push(b'@');
                        continue;
                    }
                    'N' => Piece::Nanoseconds,
                    other => Piece::Time(format!("%{other}")),
                },
                '\\' => {
                    text.push(escape(letters.next().ok_or(TemplateError::IncompleteEscape)?)?);
                    continue;
                }
                other => {
                    text.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self { pieces, style, pretty })
    }

    /// Appends the message to `out`; `now` is asked for at most once. On `NotJson` the piece is left out and the
    /// rest is written.
    pub(super) fn render(
        &self,
        message: &Message,
        now: impl FnOnce() -> Zoned,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut now = Some(now);
        let mut stamp = None;
        let mut result = Ok(());
        for piece in &self.pieces {
            if let (Piece::Time(_) | Piece::Nanoseconds, None)
            | (Piece::Field(Field::IsoTime | Field::UnixTime | Field::Json | Field::RawJson, _), None) =
                (piece, &stamp)
            {
                stamp = now.take().map(|now| now());
            }
            match (piece, &stamp) {
                (Piece::Text(text), _) => out.extend_from_slice(text),
                (Piece::Time(format), Some(time)) => out.extend_from_slice(strftime(format, time).as_bytes()),
                (Piece::Nanoseconds, Some(time)) => {
                    out.extend_from_slice(format!("{:09}", time.subsec_nanosecond()).as_bytes());
                }
                (Piece::Field(field @ (Field::Json | Field::RawJson), _), Some(time)) => {
                    let raw = *field == Field::RawJson;
                    result = json::mosquitto(message, time, raw, self.pretty, out).and(result);
                }
                (Piece::Field(field, shape), time) => self.field(*field, *shape, message, time.as_ref(), out),
                (Piece::Time(_) | Piece::Nanoseconds, None) => {}
            }
        }
        result
    }

    fn field(&self, field: Field, shape: Shape, message: &Message, time: Option<&Zoned>, out: &mut Vec<u8>) {
        let properties = &message.properties;
        let int = |value: Option<u32>, out: &mut Vec<u8>| match value {
            // The original prints a signed int.
            Some(value) => shape.int(i64::from(value.cast_signed()), out),
            None => shape.blank(shape.zero, out),
        };
        match field {
            Field::TopicAlias => int(properties.topic_alias().map(u32::from), out),
            Field::Expiry => int(properties.message_expiry_interval(), out),
            Field::PayloadFormat => int(properties.payload_format_indicator().map(u32::from), out),
            Field::SubscriptionId => int(properties.subscription_identifiers().next(), out),
            Field::ContentType => match properties.content_type() {
                Some(text) => shape.text(text.as_bytes(), out),
                None => shape.blank(false, out),
            },
            Field::ResponseTopic => {
                if let Some(topic) = properties.response_topic() {
                    shape.text(topic.as_bytes(), out);
                }
            }
            Field::CorrelationData => {
                out.extend_from_slice(properties.correlation_data().map_or(&[], |data| &data[..]));
            }
            Field::UserProperties => {
                for (n, (name, value)) in properties.user().enumerate() {
                    let space = if n > 0 { " " } else { "" };
                    out.extend_from_slice(format!("{space}{name}:{value}").as_bytes());
                }
            }
            Field::Length => shape.int(i64::try_from(message.payload.len()).unwrap_or(i64::MAX), out),
            Field::PacketId => shape.int(message.packet_id.unwrap_or(0).into(), out),
            Field::QoS => out.push(b'0' + message.qos as u8),
            Field::Retain => out.push(if message.retain { b'1' } else { b'0' }),
            Field::Topic => shape.text(message.topic.as_bytes(), out),
            Field::Payload => self.payload(&message.payload, shape, None, out),
            Field::Hex => self.payload(&message.payload, shape, Some(b"0123456789abcdef"), out),
            Field::UpperHex => self.payload(&message.payload, shape, Some(b"0123456789ABCDEF"), out),
            Field::IsoTime => {
                if let Some(time) = time {
                    shape.text(strftime("%Y-%m-%dT%H:%M:%S%z", time).as_bytes(), out);
                }
            }
            Field::UnixTime => {
                if let Some(time) = time {
                    let at = time.timestamp();
                    out.extend_from_slice(
                        format!("{}.{:09}", at.as_second(), at.subsec_nanosecond()).as_bytes(),
                    );
                }
            }
            Field::Json | Field::RawJson => {}
        }
    }

    fn payload(&self, payload: &[u8], shape: Shape, digits: Option<&[u8; 16]>, out: &mut Vec<u8>) {
        let mut shown = payload.len();
        if self.style == Style::Mosquitto && shape.width > 0 {
            shown = shown.min(shape.width);
            if digits.is_some() {
                shown /= 2;
            }
        }
        let columns = if digits.is_some() { shown * 2 } else { shown };
        let padding = shape.width.saturating_sub(columns);
        if !shape.left {
            out.resize(out.len() + padding, if shape.zero { b'0' } else { b' ' });
        }
        let shown = payload.get(..shown).unwrap_or(payload);
        match digits {
            None => out.extend_from_slice(shown),
            Some(digits) => out.extend(
                shown
                    .iter()
                    .flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
            ),
        }
        if shape.left {
            out.resize(out.len() + padding, b' ');
        }
    }
}

impl Shape {
    fn int(self, value: i64, out: &mut Vec<u8>) {
        let width = self.width;
        let text = match (self.left, self.zero) {
            (true, _) => format!("{value:<width$}"),
            (false, true) => format!("{value:0width$}"),
            (false, false) => format!("{value:width$}"),
        };
        out.extend_from_slice(text.as_bytes());
    }

    fn text(self, text: &[u8], out: &mut Vec<u8>) {
        let shown = self.max.and_then(|max| text.get(..max)).unwrap_or(text);
        let padding = self.width.saturating_sub(shown.len());
        if !self.left {
            out.resize(out.len() + padding, b' ');
        }
        out.extend_from_slice(shown);
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }

    fn blank(self, zero: bool, out: &mut Vec<u8>) {
        out.resize(out.len() + self.width, if zero { b'0' } else { b' ' });
    }
}

/// What follows a `%`; `None` is a literal `%`.
fn field(letters: &mut std::str::Chars<'_>) -> Result<Option<Piece>, TemplateError> {
    let mut next = || letters.next().ok_or(TemplateError::Incomplete);
    let mut letter = next()?;
    let mut shape = Shape { left: false, zero: false, width: 0, max: None };
    if letter == '-' {
        shape.left = true;
        letter = next()?;
    }
    if letter == '0' {
        shape.zero = true;
        letter = next()?;
    }
    while let Some(digit) = letter.to_digit(10) {
        shape.width = (shape.width * 10 + digit as usize).min(WIDEST);
        letter = next()?;
    }
    if letter == '.' {
        letter = next()?;
        let mut max = 0;
        while let Some(digit) = letter.to_digit(10) {
            max = (max * 10 + digit as usize).min(WIDEST);
            letter = next()?;
        }
        shape.max = Some(max);
    }
    let field = match letter {
        '%' => return Ok(None),
        'A' => Field::TopicAlias,
        'C' => Field::ContentType,
        'D' => Field::CorrelationData,
        'E' => Field::Expiry,
        'F' => Field::PayloadFormat,
        'I' => Field::IsoTime,
        'j' => Field::Json,
        'J' => Field::RawJson,
        'l' => Field::Length,
        'm' => Field::PacketId,
        'P' => Field::UserProperties,
        'p' => Field::Payload,
        'q' => Field::QoS,
        'R' => Field::ResponseTopic,
        'r' => Field::Retain,
        'S' => Field::SubscriptionId,
        't' => Field::Topic,
        'U' => Field::UnixTime,
        'x' => Field::Hex,
        'X' => Field::UpperHex,
        other => return Err(TemplateError::Unknown(other)),
    };
    Ok(Some(Piece::Field(field, shape)))
}

fn escape(letter: char) -> Result<u8, TemplateError> {
    Ok(match letter {
        '\\' => b'\\',
        '0' => 0,
        'a' => 0x07,
        'e' => 0x1B,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0B,
        other => return Err(TemplateError::UnknownEscape(other)),
    })
}

/// As strftime(3): a sequence that it does not know stands for itself.
fn strftime(format: &str, time: &Zoned) -> String {
    jiff::fmt::strtime::format(format, time).unwrap_or_else(|_| format.to_owned())
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use tercet_client::mqtt::{Property, QoS};

    use super::*;

    fn at() -> Zoned {
        Timestamp::new(1_588_802_400, 123_456_789).unwrap().to_zoned(TimeZone::fixed(jiff::tz::offset(2)))
    }

    fn render(format: &str, style: Style, message: &Message) -> String {
        let mut out = Vec::new();
        Template::parse(format, style, false).unwrap().render(message, at, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Message {
        let mut message = Message::new("x/abc", "hello");
        message.qos = QoS::AtLeastOnce;
        message.retain = true;
        message.packet_id = Some(7);
        message.properties = [
            Property::ContentType("text/x".into()),
            Property::MessageExpiryInterval(100),
            Property::UserProperty("k".into(), "v".into()),
            Property::UserProperty("k2".into(), "v2".into()),
        ]
        .into_iter()
        .collect();
        message
    }

    #[test]
    fn fields_flags_and_widths() {
        for (format, want) in [
            ("%t %p", "x/abc hello"),
            ("%q%r%m%l", "1175"),
            ("%8t|%-8t|%8.2t|%.2t", "   x/abc|x/abc   |      x/|x/"),
            ("%5l|%-5l|%05l|%-05l", "    5|5    |00005|5    "),
            ("%C|%8C|%E|%010E|%P", "text/x|  text/x|100|0000000100|k:v k2:v2"),
            ("%A|%5A|%05S|%R|%5R|%D", "|     |00000|||"),
            ("%x|%X", "68656c6c6f|68656C6C6F"),
            ("%7p|%-7p|%07p", "  hello|hello  |00hello"),
            ("%%|%5%|@@|\\t\\\\", "%|%|@|\t\\"),
            ("%I", "2020-05-07T00:00:00+0200"),
            ("%U", "1588802400.123456789"),
            ("@Y-@m-@d @H:@M:@S.@N", "2020-05-07 00:00:00.123456789"),
            ("é%t", "éx/abc"),
        ] {
            assert_eq!(render(format, Style::Tercet, &sample()), want, "{format}");
        }
    }

    #[test]
    fn widths_cut_payloads_only_in_mosquitto_style() {
        for (format, mosquitto, tercet) in
            [("%2p", "he", "hello"), ("%10x", "      6865", "68656c6c6f"), ("%5.x", " 6865", "68656c6c6f")]
        {
            assert_eq!(render(format, Style::Mosquitto, &sample()), mosquitto, "{format}");
            assert_eq!(render(format, Style::Tercet, &sample()), tercet, "{format}");
        }
    }

    #[test]
    fn bad_formats_are_named() {
        for (format, want) in [
            ("%", TemplateError::Incomplete),
            ("%5", TemplateError::Incomplete),
            ("a@", TemplateError::Incomplete),
            ("%d", TemplateError::Unknown('d')),
            ("\\", TemplateError::IncompleteEscape),
            ("\\q", TemplateError::UnknownEscape('q')),
        ] {
            assert_eq!(Template::parse(format, Style::Tercet, false), Err(want), "{format}");
        }
    }

    #[test]
    fn what_is_not_json_is_left_out_and_reported() {
        let mut out = Vec::new();
        let template = Template::parse("[%J]", Style::Tercet, false).unwrap();
        assert_eq!(template.render(&sample(), at, &mut out), Err(NotJson));
        assert_eq!(out, b"[]");
    }
}
