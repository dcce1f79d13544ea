//! Resolved records: every one complete by itself, in order of time (RFC 8428 §4.6).

use alloc::string::String;
use alloc::vec::Vec;

use super::{Pack, Record, SenmlError, VERSION, Value};

/// Times below this many seconds are relative to now (RFC 8428 §4.5.3).
const RELATIVE_BELOW: f64 = 268_435_456.0;

impl Pack {
    /// The records with all bases applied and times since 1970, by time. `now` is the time in seconds since 1970.
    ///
    /// The result has the version only when it is not [`VERSION`].
    pub fn resolve(&self, now: f64) -> Result<Self, SenmlError> {
        let mut base = Base::default();
        let mut records =
            self.records.iter().map(|record| base.resolve(record, now)).collect::<Result<Vec<_>, _>>()?;
        records.retain(|record| record.value.is_some() || record.sum.is_some());
        records.sort_by(|one, other| time(one).total_cmp(&time(other)));
        Ok(Self { records })
    }
}

fn time(record: &Record) -> f64 {
    record.time.unwrap_or_default()
}

/// What earlier records set.
#[derive(Default)]
struct Base<'a> {
    name: &'a str,
    time: f64,
    unit: Option<&'a str>,
    value: Option<f64>,
    sum: Option<f64>,
    version: Option<u64>,
}

impl<'a> Base<'a> {
    fn resolve(&mut self, record: &'a Record, now: f64) -> Result<Record, SenmlError> {
        self.take(record)?;
        let name = [self.name, record.name.as_deref().unwrap_or_default()].concat();
        let has_value =
            record.value.is_some() || record.sum.is_some() || self.value.is_some() || self.sum.is_some();
        // A record may do nothing but set bases; then it needs no name.
        if record.name.is_some() || has_value {
            check_name(&name)?;
        }
        if record.name.is_some() && !has_value {
            return Err(SenmlError::NoValue);
        }
        let time = self.time + record.time.unwrap_or_default();
        let value = match &record.value {
            Some(Value::Number(number)) => Some(Value::Number(number + self.value.unwrap_or_default())),
            // RFC 8428 §4.2: a base value stands in for a value that is missing, unless there is a sum.
            None if record.sum.is_none() && self.sum.is_none() => self.value.map(Value::Number),
            value => value.clone(),
        };
        Ok(Record {
            base_version: self.version.filter(|&version| version != VERSION),
            name: Some(name),
            unit: record.unit.as_deref().or(self.unit).map(String::from),
            value,
            sum: match (record.sum, self.sum) {
                (None, None) => None,
                (sum, base) => Some(sum.unwrap_or_default() + base.unwrap_or_default()),
            },
            time: Some(if time < RELATIVE_BELOW { now + time } else { time }),
            update_time: record.update_time,
            ..Record::default()
        })
    }

    fn take(&mut self, record: &'a Record) -> Result<(), SenmlError> {
        if let Some(name) = &record.base_name {
            self.name = name;
        }
        if let Some(time) = record.base_time {
            self.time = time;
        }
        if let Some(unit) = &record.base_unit {
            self.unit = Some(unit);
        }
        self.value = record.base_value.or(self.value);
        self.sum = record.base_sum.or(self.sum);
        if let Some(version) = record.base_version {
            if version > VERSION || self.version.is_some_and(|known| known != version) {
                return Err(SenmlError::Version);
            }
            self.version = Some(version);
        }
        Ok(())
    }
}

/// RFC 8428 §4.5.1: letters, digits and `-:./_`, beginning with a letter or digit.
fn check_name(name: &str) -> Result<(), SenmlError> {
    let first_fits = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let all_fit = name.chars().all(|c| c.is_ascii_alphanumeric() || "-:./_".contains(c));
    if first_fits && all_fit { Ok(()) } else { Err(SenmlError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Pack, SenmlError> {
        Pack::from_json(text, 20)?.resolve(2e9)
    }

    #[test]
    fn bases_apply_to_what_follows() {
        let resolved = resolve(
            r#"[{"bn":"urn:dev:","bt":1.3e9,"bu":"Cel","bv":10,"n":"a","v":1},{"n":"b","t":-5,"u":"K","v":2},
                {"bn":"x/","bt":0,"bv":0,"n":"c","t":-3,"vs":"s"}]"#,
        );
        let expected = r#"[{"n":"urn:dev:b","u":"K","v":12,"t":1299999995},{"n":"urn:dev:a","u":"Cel","v":11,"t":1300000000},
            {"n":"x/c","u":"Cel","vs":"s","t":1999999997}]"#;
        assert_eq!(resolved, Pack::from_json(expected, 3));
    }

    #[test]
    fn versions_names_and_values() {
        let cases = [
            (r#"[{"bver":11,"n":"a","v":1}]"#, SenmlError::Version),
            (r#"[{"bver":5,"n":"a","v":1},{"bver":6,"n":"a","v":1}]"#, SenmlError::Version),
            (r#"[{"v":1}]"#, SenmlError::Name),
            (r#"[{"n":"-a","v":1}]"#, SenmlError::Name),
            (r#"[{"n":"a b","v":1}]"#, SenmlError::Name),
            (r#"[{"n":"a"}]"#, SenmlError::NoValue),
        ];
        for (text, error) in cases {
            assert_eq!(resolve(text), Err(error), "{text}");
        }
        assert_eq!(resolve(r#"[{"bver":5,"bn":"a"},{"v":1}]"#).map(|pack| pack.records.len()), Ok(1));
        assert_eq!(
            resolve(r#"[{"bn":"a","bs":1,"s":2}]"#)
                .map(|pack| (pack.records[0].sum, pack.records[0].value.clone())),
            Ok((Some(3.0), None))
        );
    }
}
