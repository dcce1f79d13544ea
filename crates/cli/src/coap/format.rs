//! Words of the command line that stand for numbers and bytes.

use tercet_client::coap::{ContentFormat, Number, Token};

/// Short names of formats, those of `coap-client` among them.
const FORMATS: &[(&str, ContentFormat)] = &[
    ("text", ContentFormat::TEXT),
    ("plain", ContentFormat::TEXT),
    ("text/plain", ContentFormat::TEXT),
    ("link", ContentFormat::LINK_FORMAT),
    ("link-format", ContentFormat::LINK_FORMAT),
    ("xml", ContentFormat::XML),
    ("binary", ContentFormat::OCTET_STREAM),
    ("octet-stream", ContentFormat::OCTET_STREAM),
    ("exi", ContentFormat::EXI),
    ("json", ContentFormat::JSON),
    ("cbor", ContentFormat::CBOR),
    ("senml+json", ContentFormat::SENML_JSON),
    ("senml+cbor", ContentFormat::SENML_CBOR),
];

/// A number, a media type or a short name.
pub(super) fn parse_format(text: &str) -> Result<ContentFormat, String> {
    if let Ok(number) = text.parse() {
        return Ok(ContentFormat(number));
    }
    let short = FORMATS.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
    short.or_else(|| ContentFormat::from_media_type(text)).ok_or_else(|| {
        "not a number, a media type that has one, or text, json, cbor, link, xml, binary".into()
    })
}

/// `NUM,TEXT`; a number alone is an option without value.
pub(super) fn parse_option(text: &str) -> Result<(Number, Vec<u8>), String> {
    let (number, value) = text.split_once(',').unwrap_or((text, ""));
    let number = number.parse().map_err(|_| format!("\"{number}\" is not the number of an option"))?;
    Ok((Number(number), bytes(value)?))
}

/// Up to eight bytes.
pub(super) fn parse_token(text: &str) -> Result<Token, String> {
    let token = bytes(text)?;
    match Token::new(&token) {
        Ok(token) if token.len() <= 8 => Ok(token),
        _ => Err("a token has at most 8 bytes".into()),
    }
}

/// `[NUM,]SIZE`.
pub(super) fn parse_block(text: &str) -> Result<(Option<u32>, usize), String> {
    let (number, size) = match text.split_once(',') {
        Some((number, size)) => {
            (Some(number.parse().map_err(|_| format!("\"{number}\" is no block"))?), size)
        }
        None => (None, text),
    };
    match size.parse() {
        Ok(size @ (16 | 32 | 64 | 128 | 256 | 512 | 1024)) => Ok((number, size)),
        _ => Err(format!("\"{size}\" is not one of 16, 32, 64, 128, 256, 512, 1024")),
    }
}

/// Text, or bytes in hexadecimal behind `0x`.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    text.strip_prefix("0x").map_or_else(|| Ok(text.as_bytes().to_vec()), hex)
}

/// Bytes in hexadecimal.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| format!("\"{text}\" is not hexadecimal"))
}

/// Text in which `%` and two hexadecimal digits stand for a byte.
pub(super) fn percent_decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let escape = part.get(..2).ok_or("a % without two hexadecimal digits")?;
        bytes.extend(hex(escape)?);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_numbers_and_bytes() {
        assert_eq!(parse_format("50"), Ok(ContentFormat::JSON));
        assert_eq!(parse_format("json"), Ok(ContentFormat::JSON));
        assert_eq!(parse_format("application/cbor"), Ok(ContentFormat::CBOR));
        assert!(parse_format("nonsense").is_err());
        assert_eq!(parse_option("2048,0x0aff"), Ok((Number(2048), vec![0x0A, 0xFF])));
        assert_eq!(parse_option("15,a=b,c"), Ok((Number::URI_QUERY, b"a=b,c".to_vec())));
        assert_eq!(parse_option("5"), Ok((Number::IF_NONE_MATCH, vec![])));
        assert!(parse_option("x,y").is_err());
        assert_eq!(parse_block("64"), Ok((None, 64)));
        assert_eq!(parse_block("2,64"), Ok((Some(2), 64)));
        assert!(parse_block("100").is_err());
        assert!(parse_token("123456789").is_err());
        assert_eq!(percent_decoded("a%20%c3%A4b"), Ok("a äb".as_bytes().to_vec()));
        assert!(percent_decoded("100%").is_err());
        assert!(hex("abc").is_err() && hex("zz").is_err());
    }
}
