//! Frames made of the table of methods, without the code that writes them.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tercet_amqp::method::{FieldKind, METHODS, MethodInfo};

/// A frame around a payload.
pub(crate) fn framed(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

/// Text of up to 255 bytes, mostly short.
pub(crate) fn short_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-z.#*é]{0,12}".prop_map(String::into_bytes),
        1 => Just(vec![b'x'; 255]),
    ]
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag], bytes].concat()
}

/// The encoded fields of a table, sorted and each once.
pub(crate) fn table() -> BoxedStrategy<Vec<u8>> {
    table_of(value())
}

fn table_of(value: impl Strategy<Value = Vec<u8>> + 'static) -> BoxedStrategy<Vec<u8>> {
    btree_map("[a-zA-Z-]{0,10}", value, 0..5)
        .prop_map(|fields| {
            fields
                .into_iter()
                .flat_map(|(key, value)| [&[key.len() as u8], key.as_bytes(), &value].concat())
                .collect()
        })
        .boxed()
}

/// A tag and a value.
pub(crate) fn value() -> BoxedStrategy<Vec<u8>> {
    let number = |tag: u8, len: usize| vec(any::<u8>(), len).prop_map(move |bytes| tagged(tag, &bytes));
    // Any bits but those that are no number: what is not equal to itself cannot be compared.
    let float =
        any::<f32>().prop_filter("a number", |v| !v.is_nan()).prop_map(|v| tagged(b'f', &v.to_be_bytes()));
    let double =
        any::<f64>().prop_filter("a number", |v| !v.is_nan()).prop_map(|v| tagged(b'd', &v.to_be_bytes()));
    let leaf = prop_oneof![
        any::<bool>().prop_map(|bit| tagged(b't', &[bit.into()])),
        number(b'b', 1),
        number(b'B', 1),
        number(b's', 2),
        number(b'u', 2),
        number(b'I', 4),
        number(b'i', 4),
        number(b'l', 8),
        number(b'T', 8),
        float,
        double,
        (any::<u8>(), 0..=i32::MAX as u32)
            .prop_map(|(scale, digits)| tagged(b'D', &[&[scale][..], &digits.to_be_bytes()].concat())),
        "[ -~é]{0,20}".prop_map(|text| tagged(b'S', &long(text.as_bytes()))),
        vec(any::<u8>(), 0..20).prop_map(|bytes| tagged(b'x', &long(&bytes))),
        Just(vec![b'V']),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            table_of(inner.clone()).prop_map(|fields| tagged(b'F', &long(&fields))),
            vec(inner, 0..4).prop_map(|values| tagged(b'A', &long(&values.concat()))),
        ]
    })
    .boxed()
}

/// The payload of a method frame: numbers and random arguments, reserved ones at their default.
pub(crate) fn arguments(info: &'static MethodInfo) -> BoxedStrategy<Vec<u8>> {
    let fields: Vec<_> = info.fields.iter().map(|field| argument(field.kind, field.name.is_some())).collect();
    fields
        .prop_map(move |fields| {
            let mut payload = [info.id.class.to_be_bytes(), info.id.method.to_be_bytes()].concat();
            let mut bits = 8;
            for (field, value) in info.fields.iter().zip(fields) {
                if field.kind != FieldKind::Bit {
                    payload.extend(value);
                    bits = 8;
                    continue;
                }
                if bits == 8 {
                    payload.push(0);
                    bits = 0;
                }
                *payload.last_mut().unwrap() |= value[0] << bits;
                bits += 1;
            }
            payload
        })
        .boxed()
}

fn argument(kind: FieldKind, named: bool) -> BoxedStrategy<Vec<u8>> {
    let number = |len| if named { vec(any::<u8>(), len).boxed() } else { Just(vec![0; len]).boxed() };
    match kind {
        FieldKind::Bit if named => any::<bool>().prop_map(|bit| vec![bit.into()]).boxed(),
        FieldKind::Bit => Just(vec![0]).boxed(),
        FieldKind::Octet => number(1),
        FieldKind::Short => number(2),
        FieldKind::Long => number(4),
        FieldKind::LongLong => number(8),
        FieldKind::ShortStr if named => {
            short_text().prop_map(|text| [&[text.len() as u8][..], &text].concat()).boxed()
        }
        FieldKind::ShortStr => Just(vec![0]).boxed(),
        FieldKind::LongStr if named => "[ -~]{0,40}".prop_map(|text| long(text.as_bytes())).boxed(),
        FieldKind::Table if named => table().prop_map(|fields| long(&fields)).boxed(),
        FieldKind::LongStr | FieldKind::Table => Just(vec![0; 4]).boxed(),
    }
}

/// A frame with any method.
pub(crate) fn method_frame() -> impl Strategy<Value = Vec<u8>> {
    (0..METHODS.len())
        .prop_flat_map(|at| (arguments(METHODS[at]), 0..20u16))
        .prop_map(|(payload, channel)| framed(1, channel, &payload))
}

/// Flags and list of any properties of the class basic.
pub(crate) fn properties() -> impl Strategy<Value = Vec<u8>> {
    let optional: Vec<_> = (0..14)
        .map(|at| {
            let value = match at {
                2 => table().prop_map(|fields| long(&fields)).boxed(),
                3 | 4 => vec(any::<u8>(), 1).boxed(),
                9 => vec(any::<u8>(), 8).boxed(),
                _ => short_text().prop_map(|text| [&[text.len() as u8][..], &text].concat()).boxed(),
            };
            proptest::option::of(value)
        })
        .collect();
    optional.prop_map(|values| {
        let mut flags = 0u16;
        let mut list = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                flags |= 1 << (15 - at);
                list.extend(value);
            }
        }
        [&flags.to_be_bytes()[..], &list].concat()
    })
}

/// A content header.
pub(crate) fn header_frame() -> impl Strategy<Value = Vec<u8>> {
    (properties(), 0..1_000_000u64, 1..20u16).prop_map(|(properties, size, channel)| {
        let payload = [&60u16.to_be_bytes()[..], &[0, 0], &size.to_be_bytes(), &properties].concat();
        framed(2, channel, &payload)
    })
}

/// Any frame.
pub(crate) fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => method_frame(),
        3 => header_frame(),
        1 => (1..20u16, vec(any::<u8>(), 0..100)).prop_map(|(channel, body)| framed(3, channel, &body)),
        1 => Just(framed(8, 0, &[])),
    ]
}
