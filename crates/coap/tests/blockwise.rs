//! Both roles of RFC 7959 against each other: bodies of any length, whatever block sizes the two sides want.

#![allow(clippy::panic, reason = "a failed step of a test may panic anywhere")]

use proptest::prelude::*;
use tercet_coap::{
    Code, Message, Number, OptionBuf, Time,
    block::{
        Block, BlockSize, Carrier, Fingerprints, Progress, Receiver, Sender, Step, Upload, UploadBounds,
        Uploads, serve,
    },
};

const NOW: Time = Time::from_secs(1_000);

fn size() -> impl Strategy<Value = BlockSize> {
    (0..=6_u8).prop_map(|exponent| BlockSize::from_exponent(exponent).expect("at most 7"))
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 7) as u8).collect()
}

/// Sends `body` with Block1 and returns what the server got, and in how many requests.
fn upload(body: &[u8], mut sender: Sender, largest: BlockSize, bert: bool) -> (Vec<u8>, usize) {
    let fingerprints = Fingerprints::new([3, 4]);
    let mut uploads: Uploads<char> = Uploads::new(UploadBounds { block: largest, ..UploadBounds::default() });
    let mut piece = sender.piece().expect("countable");
    for requests in 1.. {
        let mut options = OptionBuf::new();
        options.add(Number::URI_PATH, b"a").add_uint(Number::BLOCK1, piece.block.to_uint());
        if let Some(size1) = piece.size1 {
            options.add_uint(Number::SIZE1, size1);
        }
        let request = Message {
            options: options.as_options(),
            payload: &body[piece.range.clone()],
            ..Message::new(Code::PUT)
        };
        let upload =
            uploads.receive('p', fingerprints.of(&request), request.options, request.payload, bert, NOW);
        let (code, block, complete) = match upload {
            Upload::Continue(block) => (Code::CONTINUE, block, None),
            Upload::Complete(body, block) => (Code::CHANGED, block, Some(body)),
            other => panic!("{other:?}"),
        };
        let mut options = OptionBuf::new();
        options.add_uint(Number::BLOCK1, block.to_uint());
        let progress = sender.on_response(&Message { options: options.as_options(), ..Message::new(code) });
        match (progress, complete) {
            (Progress::Next(next), None) => piece = next,
            (Progress::Finished, Some(body)) => {
                assert!(uploads.is_empty());
                return (body, requests);
            }
            other => panic!("{other:?}"),
        }
    }
    unreachable!("the last piece ends it")
}

/// Reads `body` with Block2, asking first for `wanted`.
fn download(body: &[u8], mut wanted: Option<Block>, carrier: Carrier) -> Vec<u8> {
    let mut receiver = Receiver::new(body.len(), matches!(carrier, Carrier::Stream(_)));
    loop {
        let slice = serve(body.len(), wanted, carrier).expect("the client asks for what there is");
        let mut options = OptionBuf::new();
        options.add(Number::ETAG, b"e");
        if let Some(block) = slice.block {
            options.add_uint(Number::BLOCK2, block.to_uint());
        }
        let response = Message {
            options: options.as_options(),
            payload: &body[slice.range],
            ..Message::new(Code::CONTENT)
        };
        match receiver.on_response(&response).expect("the server does as it should") {
            Step::Complete => return receiver.into_body(),
            Step::Ask(block) => wanted = Some(block),
        }
    }
}

proptest! {
    #[test]
    fn rule39_bodies_are_sent_whole(length in 0..20_000_usize, client in size(), server in size()) {
        let body = body(length);
        let (received, requests) = upload(&body, Sender::new(length, client, 0), server, false);
        prop_assert_eq!(received, body);
        let least = length.div_ceil(client.bytes().min(server.bytes()).max(1)).max(1);
        prop_assert!(requests <= least, "{requests} requests where {least} do");
    }

    #[test]
    fn rule40_bodies_are_read_whole(length in 0..20_000_usize, client in proptest::option::of(size()), server in size()) {
        let body = body(length);
        let wanted = client.map(|size| Block { number: 0, more: false, size });
        prop_assert_eq!(download(&body, wanted, Carrier::Datagram(server)), body);
    }

    #[test]
    fn rfc8323_6_bodies_over_streams(length in 0..60_000_usize, most in 16..10_000_usize) {
        let body = body(length);
        let (received, _) = upload(&body, Sender::new(length, BlockSize::BERT, most), BlockSize::MAX, true);
        prop_assert_eq!(&received, &body);
        prop_assert_eq!(download(&body, None, Carrier::Stream(most)), body);
    }
}
