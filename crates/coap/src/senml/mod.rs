//! Measurements: SenML (RFC 8428) in JSON and CBOR, Content-Formats 110 and 112.

mod base64url;
mod cbor;
mod json;
mod json_reader;
mod resolve;

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

/// The version of SenML that this is (RFC 8428 §4.4).
pub const VERSION: u64 = 10;

/// Records in order; what one sets as a base holds for itself and all after it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Pack {
    /// The records.
    pub records: Vec<Record>,
}

/// One record. A field that is not there is `None`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Record {
    /// What names begin with from here on.
    pub base_name: Option<String>,
    /// What is added to times from here on, in seconds.
    pub base_time: Option<f64>,
    /// The unit of records from here on that have none.
    pub base_unit: Option<String>,
    /// What is added to numbers from here on.
    pub base_value: Option<f64>,
    /// What is added to sums from here on.
    pub base_sum: Option<f64>,
    /// The version of the format.
    pub base_version: Option<u64>,
    /// The name, to be appended to the base name.
    pub name: Option<String>,
    /// The unit.
    pub unit: Option<String>,
    /// The value.
    pub value: Option<Value>,
    /// The integral of the value over time.
    pub sum: Option<f64>,
    /// Seconds since 1970; below 2^28, relative to now.
    pub time: Option<f64>,
    /// Seconds within which another value will come.
    pub update_time: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A truth.
    Bool(bool),
    /// Bytes.
    Data(Vec<u8>),
}

/// Why bytes are not accepted as SenML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SenmlError {
    /// Not JSON, or not CBOR, or not of the shape of a pack.
    #[error("not SenML")]
    Syntax,
    /// More records than the caller takes.
    #[error("more than {0} records")]
    TooMany(usize),
    /// A record has more than one value (RFC 8428 §4.2).
    #[error("a record with more than one value")]
    Values,
    /// A field that must be understood and is not (RFC 8428 §4.4).
    #[error("a field that is not known and must be understood")]
    MustUnderstand,
    /// The version is newer than [`VERSION`], or changes within the pack (RFC 8428 §4.4).
    #[error("a version that is not known")]
    Version,
    /// A resolved name is empty or has characters that names cannot have (RFC 8428 §4.5.1).
    #[error("a name that is not valid")]
    Name,
    /// A record has neither a value nor a sum where it has to (RFC 8428 §4.2).
    #[error("a record without a value")]
    NoValue,
    /// A number that is not finite.
    #[error("a number that is not finite")]
    Number,
}

impl Record {
    /// A record with a name and a value.
    pub fn new(name: &str, value: Value) -> Self {
        Self { name: Some(name.into()), value: Some(value), ..Self::default() }
    }

    /// Sets a value once.
    fn set_value(&mut self, value: Value) -> Result<(), SenmlError> {
        if self.value.is_some() {
            return Err(SenmlError::Values);
        }
        self.value = Some(value);
        Ok(())
    }
}
