//! SenML in JSON (RFC 8428 §5).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::json_reader::Reader;
use super::{Pack, Record, SenmlError, Value, base64url};

impl Pack {
    /// Reads a pack of at most `max` records.
    pub fn from_json(text: &str, max: usize) -> Result<Self, SenmlError> {
        let mut reader = Reader::new(text);
        let mut records = Vec::new();
        reader.list(b'[', b']', |reader| {
            if records.len() == max {
                return Err(SenmlError::TooMany(max));
            }
            records.push(record(reader)?);
            Ok(())
        })?;
        if reader.peek().is_some() { Err(SenmlError::Syntax) } else { Ok(Self { records }) }
    }

    /// The pack in JSON. Numbers that are not finite, which JSON does not have, are left out.
    pub fn to_json(&self) -> String {
        let mut out = String::from("[");
        for (position, record) in self.records.iter().enumerate() {
            out.push_str(if position == 0 { "{" } else { ",{" });
            Object { out: &mut out, first: true }.record(record);
            out.push('}');
        }
        out.push(']');
        out
    }
}

fn record(reader: &mut Reader<'_>) -> Result<Record, SenmlError> {
    let mut record = Record::default();
    reader.list(b'{', b'}', |reader| {
        let name = reader.string()?;
        reader.expect(b':')?;
        match name.as_ref() {
            "bn" => record.base_name = Some(reader.string()?.into()),
            "bt" => record.base_time = Some(reader.number()?),
            "bu" => record.base_unit = Some(reader.string()?.into()),
            "bv" => record.base_value = Some(reader.number()?),
            "bs" => record.base_sum = Some(reader.number()?),
            "bver" => record.base_version = Some(version(reader.number()?)?),
            "n" => record.name = Some(reader.string()?.into()),
            "u" => record.unit = Some(reader.string()?.into()),
            "v" => record.set_value(Value::Number(reader.number()?))?,
            "vs" => record.set_value(Value::Text(reader.string()?.into()))?,
            "vb" => record.set_value(Value::Bool(reader.bool()?))?,
            "vd" => {
                let data = base64url::decode(&reader.string()?).ok_or(SenmlError::Syntax)?;
                record.set_value(Value::Data(data))?;
            }
            "s" => record.sum = Some(reader.number()?),
            "t" => record.time = Some(reader.number()?),
            "ut" => record.update_time = Some(reader.number()?),
            name if name.ends_with('_') => return Err(SenmlError::MustUnderstand),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(record)
}

fn version(number: f64) -> Result<u64, SenmlError> {
    let version = number as u64;
    if version as f64 == number { Ok(version) } else { Err(SenmlError::Version) }
}

/// The fields of a record, as they are written.
struct Object<'o> {
    out: &'o mut String,
    first: bool,
}

impl Object<'_> {
    fn record(&mut self, record: &Record) {
        self.text("bn", record.base_name.as_deref());
        self.number("bt", record.base_time);
        self.text("bu", record.base_unit.as_deref());
        self.number("bv", record.base_value);
        self.number("bs", record.base_sum);
        if let Some(version) = record.base_version {
            self.field("bver", format_args!("{version}"));
        }
        self.text("n", record.name.as_deref());
        self.text("u", record.unit.as_deref());
        match &record.value {
            None => {}
            Some(Value::Number(number)) => self.number("v", Some(*number)),
            Some(Value::Text(text)) => self.text("vs", Some(text)),
            Some(Value::Bool(truth)) => self.field("vb", format_args!("{truth}")),
            Some(Value::Data(data)) => {
                self.field("vd", format_args!("\""));
                base64url::encode(data, self.out);
                self.out.push('"');
            }
        }
        self.number("s", record.sum);
        self.number("t", record.time);
        self.number("ut", record.update_time);
    }

    fn field(&mut self, name: &str, value: core::fmt::Arguments<'_>) {
        if !core::mem::take(&mut self.first) {
            self.out.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(self.out, "\"{name}\":{value}");
    }

    fn number(&mut self, name: &str, number: Option<f64>) {
        match number.filter(|number| number.is_finite()) {
            None => {}
            // Beyond this, digits would only be zeros.
            Some(number) if number.abs() >= 1e17 || (number != 0.0 && number.abs() < 1e-6) => {
                self.field(name, format_args!("{number:e}"));
            }
            Some(number) => self.field(name, format_args!("{number}")),
        }
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.field(name, format_args!("\""));
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                c if c < ' ' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1320067464,"bu":"%RH","bver":5,"v":20},
            {"u":"lon","v":-24.30621e0,"t":60.5,"x":{"a":[1,null,"\ud83d\ude00"]}},
            {"n":"l\u0061bel","vs":"Mach\u0069ne \"R\"\n"},{"n":"open","vb":false},{"n":"nfv","vd":"aGkgCg"},{"s":1e-9}]"#;
        let pack = Pack::from_json(text, 6).expect("SenML");
        assert_eq!(pack.records[1].value, Some(Value::Number(-24.30621)));
        assert_eq!(pack.records[2], Record::new("label", Value::Text("Machine \"R\"\n".into())));
        assert_eq!(pack.records[4].value, Some(Value::Data(b"hi \n".to_vec())));
        let written = pack.to_json();
        assert!(
            written.contains(r#"{"n":"label","vs":"Machine \"R\"\u000a"},{"n":"open","vb":false}"#),
            "{written}"
        );
        assert_eq!(Pack::from_json(&written, 6), Ok(pack));
        assert_eq!(Pack::from_json(text, 5), Err(SenmlError::TooMany(5)));
    }

    #[test]
    fn what_is_not_senml() {
        let deep = alloc::format!("[{{\"x\":{}1{}}}]", "[".repeat(20), "]".repeat(20));
        let cases = [
            ("", SenmlError::Syntax),
            ("{}", SenmlError::Syntax),
            ("[", SenmlError::Syntax),
            ("[{}", SenmlError::Syntax),
            ("[{},]", SenmlError::Syntax),
            ("[{}]x", SenmlError::Syntax),
            (r#"[{"v":01}]"#, SenmlError::Syntax),
            (r#"[{"v":.5}]"#, SenmlError::Syntax),
            (r#"[{"v":1.}]"#, SenmlError::Syntax),
            (r#"[{"v":1e}]"#, SenmlError::Syntax),
            (r#"[{"v":NaN}]"#, SenmlError::Syntax),
            (r#"[{"v":1e999}]"#, SenmlError::Number),
            (r#"[{"v":"1"}]"#, SenmlError::Syntax),
            (r#"[{"vb":1}]"#, SenmlError::Syntax),
            (r#"[{"vd":"!"}]"#, SenmlError::Syntax),
            (r#"[{"vs":"a"b"}]"#, SenmlError::Syntax),
            ("[{\"vs\":\"\n\"}]", SenmlError::Syntax),
            (r#"[{"vs":"\x"}]"#, SenmlError::Syntax),
            (r#"[{"vs":"\ud800"}]"#, SenmlError::Syntax),
            (r#"[{"vs":"\ud800\u0041"}]"#, SenmlError::Syntax),
            (r#"[{"v":1,"vs":"1"}]"#, SenmlError::Values),
            (r#"[{"new_":1}]"#, SenmlError::MustUnderstand),
            (r#"[{"bver":1.5}]"#, SenmlError::Version),
            (&deep, SenmlError::Syntax),
        ];
        for (text, error) in cases {
            assert_eq!(Pack::from_json(text, 10), Err(error), "{text}");
        }
    }

    #[test]
    fn numbers_come_back_the_same() {
        for number in [0.0, -0.0, 1e300, 5e-324, 0.1, 123_456_789.123, 1e17, f64::MAX] {
            let pack = Pack { records: alloc::vec![Record::new("x", Value::Number(number))] };
            assert_eq!(Pack::from_json(&pack.to_json(), 1), Ok(pack));
        }
    }
}
