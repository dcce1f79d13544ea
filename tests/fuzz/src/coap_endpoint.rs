//! CoAP's message layer and the bodies that arrive through it.

use std::time::Duration;

use tercet_coap::{
    Code, Limits, Number, Writer,
    block::{Block, BlockSize, Carrier, Fingerprints, Refusal, Upload, UploadBounds, Uploads, serve},
    datagram,
    endpoint::{Bounds, Endpoint, Heading, Incoming, Outgoing, Settings, Tag},
    qblock::{Gatherings, Parameters, QUpload, missing},
};

const BODY: usize = 4096;

/// A small server: it puts bodies together and answers each with itself.
struct Server {
    endpoint: Endpoint<u8>,
    uploads: Uploads<u8>,
    gatherings: Gatherings<u8>,
    fingerprints: Fingerprints,
    out: Outgoing<u8>,
    now: Duration,
}

/// Takes `data` as datagrams, each after a byte for its length, one for its sender and one for the time that passes.
pub fn check(data: &[u8]) {
    let bounds =
        Bounds { peers: 4, seen_per_peer: 4, seen: 12, kept: 5_000, exchanges: 6, ..Bounds::default() };
    let body_bounds = UploadBounds { body: BODY, bytes: 3 * BODY, bodies: 4, ..UploadBounds::default() };
    let mut server = Server {
        endpoint: Endpoint::new(Settings { bounds, ..Settings::default() }, 1),
        uploads: Uploads::new(body_bounds),
        gatherings: Gatherings::new(body_bounds, Parameters::default()),
        fingerprints: Fingerprints::new([1, 2]),
        out: Outgoing::new(),
        now: Duration::from_secs(1),
    };
    let mut rest = data;
    while let [length, sender, wait, after @ ..] = rest {
        let (bytes, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        server.pass(Duration::from_millis(u64::from(*wait) * 97));
        server.receive(sender % 6, bytes);
        server.check();
    }
    while let Some(due) = server.endpoint.next_due() {
        server.pass(due.saturating_sub(server.now));
        server.check();
    }
    server.pass(Duration::from_secs(1_000));
    let state = (server.endpoint.exchange_count(), server.endpoint.peer_count(), server.uploads.len());
    assert_eq!(state, (0, 0, 0), "it does not end");
}

impl Server {
    fn receive(&mut self, peer: u8, bytes: &[u8]) {
        let incoming = self.endpoint.receive(peer, bytes, self.now, &mut self.out);
        let (mut reply, request) = match incoming {
            Incoming::Request { reply, message } => (reply, message),
            Incoming::Response { receipt, request, .. } => {
                match request {
                    Some(_) => self.endpoint.accept(receipt, &mut self.out),
                    None => self.endpoint.refuse(receipt, &mut self.out),
                }
                return;
            }
            _ => return,
        };
        let fingerprint = self.fingerprints.of(&request);
        let gathered = self.gatherings.receive(peer, fingerprint, &request, self.now);
        let mut upload =
            || self.uploads.receive(peer, fingerprint, request.options, request.payload, false, self.now);
        let answer = match gathered {
            Some(gathered) => of_gathered(gathered),
            None => of_upload(upload()),
        };
        if request.payload.len() % 3 == 1 {
            self.endpoint.acknowledge_later(&mut reply, self.now, &mut self.out);
            reply.set_tag(Tag(u64::from(peer)));
        }
        let Some((code, block, body)) = answer else {
            return self.endpoint.suppress(reply, self.now, &mut self.out);
        };
        let wanted = Block::of(request.options, Number::BLOCK2);
        let slice = serve(body.len(), wanted, Carrier::Datagram(BlockSize::MAX));
        let (code, payload, block2) = match slice {
            Ok(slice) => (code, &body[slice.range], slice.block),
            Err(_) => (Code::BAD_REQUEST, &[][..], None),
        };
        let write = |writer: &mut Writer<'_>| {
            for (number, block) in [(Number::BLOCK2, block2), (Number::BLOCK1, block)] {
                if let Some(block) = block {
                    writer.uint(number, block.to_uint());
                }
            }
            writer.payload(payload);
        };
        self.endpoint.respond(reply, code, request.token, write, self.now, &mut self.out);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.endpoint.run_due(self.now, &mut self.out, |_| {});
        self.uploads.expire(self.now);
        let Self { endpoint, gatherings, out, now, .. } = self;
        gatherings.run_due(*now, |inform| {
            let heading =
                Heading { code: Code::REQUEST_ENTITY_INCOMPLETE, token: &inform.token, tag: Tag::default() };
            let mut payload = Vec::new();
            missing::write(&inform.missing, &mut payload);
            assert_eq!(missing::read(&payload, usize::MAX), Some(inform.missing));
            let write = |writer: &mut Writer<'_>| {
                writer.payload(&payload);
            };
            let _ = endpoint.send_non_confirmable(inform.peer, heading, write, *now, out);
        });
    }

    fn check(&mut self) {
        let endpoint = &self.endpoint;
        assert!(endpoint.peer_count() <= 4 && endpoint.seen_count() <= 12 && endpoint.exchange_count() <= 6);
        assert!(endpoint.kept_bytes() <= 5_000 + BODY, "{}", endpoint.kept_bytes());
        assert!(self.uploads.len() <= 4 && self.gatherings.len() <= 4);
        for (_, sent) in self.out.iter() {
            assert!(datagram::decode(sent, &Limits::default()).is_ok(), "{sent:x?}");
        }
        self.out.clear();
    }
}

type Answer = Option<(Code, Option<Block>, Vec<u8>)>;

fn of_upload(upload: Upload<'_>) -> Answer {
    Some(match upload {
        Upload::Whole(body) => (Code::CONTENT, None, body.to_vec()),
        Upload::Complete(body, block) => (Code::CHANGED, Some(block), body),
        Upload::Continue(block) => (Code::CONTINUE, Some(block), Vec::new()),
        Upload::Refused(Refusal { code, block, .. }) => (code, block, Vec::new()),
    })
}

fn of_gathered(gathered: QUpload) -> Answer {
    Some(match gathered {
        QUpload::Wait => return None,
        QUpload::Complete(body) => {
            assert!(body.len() <= BODY);
            (Code::CHANGED, None, body)
        }
        QUpload::Continue(_) => (Code::CONTINUE, None, Vec::new()),
        QUpload::Missing(numbers) => {
            assert!(numbers.is_sorted() && !numbers.is_empty());
            (Code::REQUEST_ENTITY_INCOMPLETE, None, Vec::new())
        }
        QUpload::Refused(refusal) => (refusal.code, refusal.block, Vec::new()),
    })
}
