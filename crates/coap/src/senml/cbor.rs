//! SenML in CBOR (RFC 8428 §6).

use alloc::string::ToString;
use alloc::vec::Vec;
use core::convert::Infallible;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};

use super::{Pack, Record, SenmlError, Value};

/// Labels of the fields (RFC 8428 §6, table 4).
mod label {
    pub(super) const BASE_VERSION: i64 = -1;
    pub(super) const BASE_NAME: i64 = -2;
    pub(super) const BASE_TIME: i64 = -3;
    pub(super) const BASE_UNIT: i64 = -4;
    pub(super) const BASE_VALUE: i64 = -5;
    pub(super) const BASE_SUM: i64 = -6;
    pub(super) const NAME: i64 = 0;
    pub(super) const UNIT: i64 = 1;
    pub(super) const NUMBER: i64 = 2;
    pub(super) const TEXT: i64 = 3;
    pub(super) const BOOL: i64 = 4;
    pub(super) const SUM: i64 = 5;
    pub(super) const TIME: i64 = 6;
    pub(super) const UPDATE_TIME: i64 = 7;
    pub(super) const DATA: i64 = 8;
}

/// The tag of decimal fractions (RFC 8949 §3.4.4).
const DECIMAL_FRACTION: u64 = 4;

impl From<minicbor::decode::Error> for SenmlError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Syntax
    }
}

impl Pack {
    /// Reads a pack of at most `max` records. Nothing may follow it.
    pub fn from_cbor(bytes: &[u8], max: usize) -> Result<Self, SenmlError> {
        let mut decoder = Decoder::new(bytes);
        let mut records = Vec::new();
        let count = decoder.array()?;
        entries(&mut decoder, count, |decoder| {
            if records.len() == max {
                return Err(SenmlError::TooMany(max));
            }
            records.push(record(decoder)?);
            Ok(())
        })?;
        if decoder.position() == bytes.len() { Ok(Self { records }) } else { Err(SenmlError::Syntax) }
    }

    /// The pack in CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a vector cannot fail.
        let _ = write(self, &mut Encoder::new(&mut out));
        out
    }
}

/// Reads entries of an array or map of this many, or up to the break when there is no number.
fn entries<'b>(
    decoder: &mut Decoder<'b>,
    count: Option<u64>,
    mut entry: impl FnMut(&mut Decoder<'b>) -> Result<(), SenmlError>,
) -> Result<(), SenmlError> {
    let mut left = count;
    while left != Some(0) {
        if left.is_none() && decoder.datatype()? == Type::Break {
            decoder.skip()?;
            break;
        }
        entry(decoder)?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

fn record(decoder: &mut Decoder<'_>) -> Result<Record, SenmlError> {
    let mut record = Record::default();
    let count = decoder.map()?;
    entries(decoder, count, |decoder| {
        if decoder.datatype()? == Type::String {
            if decoder.str()?.ends_with('_') {
                return Err(SenmlError::MustUnderstand);
            }
            decoder.skip()?;
            return Ok(());
        }
        match decoder.i64()? {
            label::BASE_VERSION => record.base_version = Some(decoder.u64()?),
            label::BASE_NAME => record.base_name = Some(decoder.str()?.to_string()),
            label::BASE_TIME => record.base_time = Some(number(decoder)?),
            label::BASE_UNIT => record.base_unit = Some(decoder.str()?.to_string()),
            label::BASE_VALUE => record.base_value = Some(number(decoder)?),
            label::BASE_SUM => record.base_sum = Some(number(decoder)?),
            label::NAME => record.name = Some(decoder.str()?.to_string()),
            label::UNIT => record.unit = Some(decoder.str()?.to_string()),
            label::NUMBER => record.set_value(Value::Number(number(decoder)?))?,
            label::TEXT => record.set_value(Value::Text(decoder.str()?.to_string()))?,
            label::BOOL => record.set_value(Value::Bool(decoder.bool()?))?,
            label::SUM => record.sum = Some(number(decoder)?),
            label::TIME => record.time = Some(number(decoder)?),
            label::UPDATE_TIME => record.update_time = Some(number(decoder)?),
            label::DATA => record.set_value(Value::Data(decoder.bytes()?.to_vec()))?,
            _ => decoder.skip()?,
        }
        Ok(())
    })?;
    Ok(record)
}

fn number(decoder: &mut Decoder<'_>) -> Result<f64, SenmlError> {
    let number = match decoder.datatype()? {
        Type::F16 => half(decoder)?,
        Type::F32 => f64::from(decoder.f32()?),
        Type::F64 => decoder.f64()?,
        Type::Tag => decimal_fraction(decoder)?,
        _ => i128::from(decoder.int()?) as f64,
    };
    if number.is_finite() { Ok(number) } else { Err(SenmlError::Number) }
}

/// A number of 16 bits: sign, five bits of exponent, ten of fraction (IEEE 754).
fn half(decoder: &mut Decoder<'_>) -> Result<f64, SenmlError> {
    let at = decoder.position();
    let Some(&[_, high, low]) = decoder.input().get(at..at + 3) else { return Err(SenmlError::Syntax) };
    decoder.set_position(at + 3);
    let bits = u16::from_be_bytes([high, low]);
    let fraction = f64::from(bits & 0x3FF);
    let magnitude = match bits >> 10 & 0x1F {
        0 => fraction / f64::from(1u32 << 24),
        31 => return Err(SenmlError::Number),
        exponent => (1024.0 + fraction) * f64::from(1u32 << exponent) / f64::from(1u32 << 25),
    };
    Ok(if bits >> 15 == 1 { -magnitude } else { magnitude })
}

fn decimal_fraction(decoder: &mut Decoder<'_>) -> Result<f64, SenmlError> {
    if decoder.tag()? != Tag::new(DECIMAL_FRACTION) || decoder.array()? != Some(2) {
        return Err(SenmlError::Syntax);
    }
    let (exponent, mantissa) = (decoder.i16()?, decoder.i64()?);
    // The parser of numbers rounds correctly, which multiplying would not.
    alloc::format!("{mantissa}e{exponent}").parse().map_err(|_| SenmlError::Number)
}

type Written = Result<(), minicbor::encode::Error<Infallible>>;

fn write(pack: &Pack, encoder: &mut Encoder<&mut Vec<u8>>) -> Written {
    encoder.array(pack.records.len() as u64)?;
    pack.records.iter().try_for_each(|record| write_record(record, encoder))
}

fn write_record(record: &Record, encoder: &mut Encoder<&mut Vec<u8>>) -> Written {
    let texts = [
        (label::BASE_NAME, &record.base_name),
        (label::BASE_UNIT, &record.base_unit),
        (label::NAME, &record.name),
        (label::UNIT, &record.unit),
    ];
    let numbers = [
        (label::BASE_TIME, record.base_time),
        (label::BASE_VALUE, record.base_value),
        (label::BASE_SUM, record.base_sum),
        (label::SUM, record.sum),
        (label::TIME, record.time),
        (label::UPDATE_TIME, record.update_time),
    ];
    let fields = texts.iter().filter(|(_, text)| text.is_some()).count()
        + numbers.iter().filter(|(_, number)| number.is_some()).count()
        + usize::from(record.base_version.is_some())
        + usize::from(record.value.is_some());
    encoder.map(fields as u64)?;
    if let Some(version) = record.base_version {
        encoder.i64(label::BASE_VERSION)?.u64(version)?;
    }
    for (label, text) in texts {
        if let Some(text) = text {
            encoder.i64(label)?.str(text)?;
        }
    }
    for (label, number) in numbers {
        if let Some(number) = number {
            encoder.i64(label)?;
            write_number(number, encoder)?;
        }
    }
    match &record.value {
        None => {}
        Some(Value::Number(number)) => {
            encoder.i64(label::NUMBER)?;
            write_number(*number, encoder)?;
        }
        Some(Value::Text(text)) => {
            encoder.i64(label::TEXT)?.str(text)?;
        }
        Some(Value::Bool(truth)) => {
            encoder.i64(label::BOOL)?.bool(*truth)?;
        }
        Some(Value::Data(data)) => {
            encoder.i64(label::DATA)?.bytes(data)?;
        }
    }
    Ok(())
}

/// The shortest form that is the same number: an integer, or a float of 32 or 64 bits.
fn write_number(number: f64, encoder: &mut Encoder<&mut Vec<u8>>) -> Written {
    let integer = number as i64;
    if integer as f64 == number && (number != 0.0 || number.is_sign_positive()) && integer != i64::MAX {
        encoder.i64(integer)?;
    } else if f64::from(number as f32) == number {
        encoder.f32(number as f32)?;
    } else {
        encoder.f64(number)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        // RFC 8428 §5.1.3, less the reformatting.
        let text = r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
            {"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.30},{"vs":"x"},{"vb":true},{"vd":"aGk","s":2,"ut":0.5,"bv":-0.0}]"#;
        let pack = Pack::from_json(text, 6).expect("SenML");
        let bytes = pack.to_cbor();
        assert_eq!(Pack::from_cbor(&bytes, 6), Ok(pack));
        assert_eq!(Pack::from_cbor(&bytes, 5), Err(SenmlError::TooMany(5)));
        for cut in 0..bytes.len() {
            assert_eq!(Pack::from_cbor(&bytes[..cut], 6), Err(SenmlError::Syntax));
        }
    }

    #[test]
    fn numbers_of_every_form() {
        let number = |bytes: &[u8]| {
            let mut pack = alloc::vec![0x81, 0xA1, 0x02];
            pack.extend_from_slice(bytes);
            match Pack::from_cbor(&pack, 1)?.records.remove(0).value {
                Some(Value::Number(number)) => Ok(number),
                _ => Err(SenmlError::NoValue),
            }
        };
        assert_eq!(number(&[0x18, 100]), Ok(100.0));
        assert_eq!(
            number(&[0x3B, 255, 255, 255, 255, 255, 255, 255, 255]),
            Ok(-18_446_744_073_709_551_616.0)
        );
        assert_eq!(number(&[0xF9, 0x3C, 0x00]), Ok(1.0));
        assert_eq!(number(&[0xF9, 0xC4, 0x00]), Ok(-4.0));
        assert_eq!(number(&[0xF9, 0x7B, 0xFF]), Ok(65_504.0));
        assert_eq!(number(&[0xF9, 0x00, 0x01]), Ok(5.960_464_477_539_063e-8));
        assert_eq!(number(&[0xF9, 0x7C, 0x00]), Err(SenmlError::Number));
        assert_eq!(number(&[0xF9, 0x7C]), Err(SenmlError::Syntax));
        assert_eq!(number(&[0xFA, 0x3F, 0x80, 0, 0]), Ok(1.0));
        assert_eq!(number(&[0xC4, 0x82, 0x21, 0x19, 0x6A, 0xB3]), Ok(273.15));
        assert_eq!(number(&[0xC4, 0x82, 0x19, 0x7F, 0xFF, 1]), Err(SenmlError::Number));
        assert_eq!(number(&[0xC5, 0x82, 0x21, 1]), Err(SenmlError::Syntax));
        assert_eq!(number(&[0xFB, 0x7F, 0xF0, 0, 0, 0, 0, 0, 0]), Err(SenmlError::Number));
        assert_eq!(number(&[0x61, b'1']), Err(SenmlError::Syntax));
    }

    #[test]
    fn fields_that_are_not_known() {
        assert!(Pack::from_cbor(&[0x81, 0xA1, 0x18, 99, 0x81, 0x01], 1).is_ok());
        assert!(Pack::from_cbor(&[0x9F, 0xBF, 0x61, b'x', 0xF6, 0xFF, 0xFF], 1).is_ok());
        assert_eq!(Pack::from_cbor(&[0x81, 0xA1, 0x62, b'x', b'_', 1], 1), Err(SenmlError::MustUnderstand));
        assert_eq!(Pack::from_cbor(&[0x81, 0xA2, 2, 1, 3, 0x60], 1), Err(SenmlError::Values));
    }
}
