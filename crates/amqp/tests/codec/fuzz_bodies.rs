//! What the fuzz target does with its input. The same function runs over frames, damaged frames and random bytes in
//! every `cargo test`, so that it cannot rot.

use tercet_amqp::content::{Assembly, Properties, Property};
use tercet_amqp::field::{Array, Table, Value};
use tercet_amqp::state::{Channel, Connection, Role};
use tercet_amqp::{Error, Frame, Limits, Payload, decode};

/// Decodes `data` as a stream of frames and checks that whatever comes out is consistent.
pub(crate) fn check_decode(data: &[u8]) {
    for limits in [Limits::default(), Limits::before_authentication()] {
        let mut rest = data;
        let mut assembly = Assembly::new();
        let (mut server, mut client) = (Channel::new(1, Role::Server), Channel::new(1, Role::Client));
        let mut connection = Connection::new(Role::Server);
        loop {
            let result = decode(rest, &limits);
            check_prefixes(rest, &limits, &result);
            match result {
                Ok(Some((frame, used))) => {
                    check_frame(&frame, &rest[..used], &limits);
                    let _ = assembly.receive(frame.channel, &frame.payload);
                    let _ = server.receive(&frame.payload);
                    let _ = client.receive(&frame.payload);
                    let _ = connection.receive(&frame.payload);
                    rest = &rest[used..];
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error.code.number(), 501 | 502 | 505 | 540), "{error}");
                    assert!(error.ends_connection() && error.text().len() <= 255);
                    break;
                }
            }
        }
    }
    let _ = Properties::from_bytes(data).map(|properties| check_properties(&properties));
}

/// A part of the input is not a frame yet, or is known to be wrong in the same way as the whole.
fn check_prefixes(data: &[u8], limits: &Limits, whole: &Result<Option<(Frame<'_>, usize)>, Error>) {
    let end = match whole {
        Ok(Some((_, len))) => *len,
        _ => data.len(),
    };
    for len in (0..end).take(64).chain(end.saturating_sub(4)..end) {
        match (decode(&data[..len], limits), whole) {
            (Ok(None), _) => {}
            (Err(part), Err(whole)) => assert_eq!(part, *whole),
            (part, _) => panic!("{part:?} after {len} bytes, but not in the whole"),
        }
    }
}

/// What was decoded can be encoded, and is the same after it.
fn check_frame(frame: &Frame<'_>, bytes: &[u8], limits: &Limits) {
    let mut again = Vec::new();
    frame.encode(&mut again).expect("a decoded frame can be encoded");
    assert!(again.len() <= bytes.len(), "reserved arguments are written empty");
    assert!(!format!("{frame:?}").is_empty());
    let (decoded, used) = decode(&again, limits).expect("valid").expect("complete");
    assert_eq!(used, again.len());
    let mut third = Vec::new();
    decoded.encode(&mut third).expect("as before");
    assert_eq!(third, again);
    match &frame.payload {
        Payload::Method(method) => {
            assert_eq!(method.info().id.info().map(|info| info.name), Some(method.info().name))
        }
        Payload::Header(header) => check_properties(&header.properties),
        _ => {}
    }
}

fn check_properties(properties: &Properties<'_>) {
    let Ok(decoded) = properties.decode(32) else {
        for property in Property::ALL {
            let _ = properties.get(property);
        }
        let _ = properties.with_header("x", Some(Value::Void), &mut Vec::new());
        return;
    };
    for property in Property::ALL {
        assert_eq!(properties.get(property), Ok(decoded.get(property)));
        let mut list = Vec::new();
        let same = properties.with(property, decoded.get(property), &mut list).expect("valid");
        assert_eq!(same, *properties);
    }
    let mut list = Vec::new();
    assert_eq!(decoded.encode(&mut list).expect("valid"), *properties);
    if let Some(headers) = decoded.headers {
        check_table(headers);
    }
}

/// A valid table can be iterated to its end, and every name is found.
fn check_table(table: Table<'_>) {
    let mut len = 0;
    for (name, value) in table {
        len += 1 + name.len() + check_value(value);
        assert!(table.get(name).is_some());
    }
    assert_eq!(len, table.as_bytes().len());
}

fn check_array(array: Array<'_>) {
    assert_eq!(array.iter().map(check_value).sum::<usize>(), array.as_bytes().len());
}

/// Looks into a value and says how many bytes it takes.
fn check_value(value: Value<'_>) -> usize {
    1 + match value {
        Value::Void => 0,
        Value::Bool(_) | Value::I8(_) | Value::U8(_) => 1,
        Value::I16(_) | Value::U16(_) => 2,
        Value::I32(_) | Value::U32(_) | Value::F32(_) => 4,
        Value::Decimal { .. } => 5,
        Value::I64(_) | Value::F64(_) | Value::Timestamp(_) => 8,
        Value::LongStr(bytes) | Value::Bytes(bytes) => 4 + bytes.len(),
        Value::Array(array) => {
            check_array(array);
            4 + array.as_bytes().len()
        }
        Value::Table(table) => {
            check_table(table);
            4 + table.as_bytes().len()
        }
        other => panic!("{other:?} has no length here"),
    }
}
