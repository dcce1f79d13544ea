//! Bodies that are larger than a message (RFC 7959).
//!
//! What a client sends in blocks is put together here, and nothing happens before it is whole. What it is answered is cut into
//! blocks; the answer to what must not be done twice is kept until its blocks have been asked for.

use tercet_coap::block::{
    Block, Carrier, Fingerprints, KeptBodies, Refusal, Slice, Upload, UploadBounds, Uploads, serve,
};
use tercet_coap::qblock::{Gatherings, Inform, Parameters, QUpload};
use tercet_coap::{Code, Message, Time};

use crate::coap::peer::Origin;
use crate::coap::response::Response;
use crate::coap::settings::CoapSettings;

/// Answers that are kept for one client.
const KEPT_PER_CLIENT: usize = 4;
/// Time for which an answer is kept: EXCHANGE_LIFETIME (RFC 7252 §4.8.2).
const KEPT_FOR: Time = Time::from_secs(247);
/// Time between two looks for what nobody goes on with.
const EXPIRE_EVERY: Time = Time::from_secs(10);

/// The bodies of a reactor that are under way.
pub struct Bodies {
    uploads: Uploads<Origin>,
    gatherings: Gatherings<Origin>,
    kept: KeptBodies<Origin, Response>,
    fingerprints: Fingerprints,
    expire_at: Time,
}

/// What a request with its body means.
pub enum Body {
    /// It is whole, without blocks.
    Whole,
    /// It is whole now; the answer says so in Block1.
    Complete(Vec<u8>, Block),
    /// The rest of an answer is asked for.
    Rest(Response),
    /// To be answered with this, and this Block1 and Size1.
    Answer(Response, Option<Block>, Option<u32>),
}

impl Bodies {
    /// None yet. The key has to be unpredictable.
    #[must_use]
    pub fn new(settings: &CoapSettings, key: [u64; 2]) -> Self {
        let bounds = UploadBounds {
            body: settings.max_body,
            bytes: settings.max_body.saturating_mul(64),
            per_peer: settings.max_uploads_per_peer,
            bodies: settings.max_uploads,
            block: settings.largest_block(),
            ..UploadBounds::default()
        };
        Self {
            uploads: Uploads::new(bounds),
            gatherings: Gatherings::new(bounds, Parameters::default()),
            kept: KeptBodies::new(settings.max_uploads, KEPT_PER_CLIENT, KEPT_FOR),
            fingerprints: Fingerprints::new(key),
            expire_at: Time::ZERO,
        }
    }

    /// Takes in what a request brings, which has a Block1 option or asks for a later block of an answer.
    pub fn receive(
        &mut self,
        from: Origin,
        message: &Message<'_>,
        salt: u64,
        wanted: Option<u32>,
        now: Time,
    ) -> Body {
        let fingerprint = self.fingerprint(message, salt);
        let bert = matches!(from, Origin::Stream(_));
        match self.uploads.receive(from, fingerprint, message.options, message.payload, bert, now) {
            Upload::Whole(_) => {}
            Upload::Complete(body, block) => return Body::Complete(body, block),
            Upload::Continue(block) => return Body::Answer(Response::new(Code::CONTINUE), Some(block), None),
            Upload::Refused(refusal) => {
                let (response, block, size1) = self::response(refusal);
                return Body::Answer(response, block, size1);
            }
        }
        let is_rest = message.payload.is_empty()
            && wanted.and_then(Block::from_uint).is_some_and(|block| block.number > 0);
        match self.kept.get(from, fingerprint) {
            Some(response) if is_rest => Body::Rest(response.clone()),
            _ => Body::Whole,
        }
    }

    /// Takes in a block of a body that comes in bursts (RFC 9177).
    pub fn gather(&mut self, from: Origin, message: &Message<'_>, now: Time) -> QUpload {
        let fingerprint = self.fingerprints.of(message);
        self.gatherings.receive(from, fingerprint, message, now).unwrap_or(QUpload::Wait)
    }

    /// Says what is missing of bodies of which nothing more has come for a while.
    pub fn gather_due(&mut self, now: Time, inform: impl FnMut(Inform<Origin>)) {
        self.gatherings.run_due(now, inform);
    }

    /// When something will be missing.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.gatherings.next_due()
    }

    /// Keeps the answer to a request that must not be done twice.
    pub fn keep(&mut self, from: Origin, fingerprint: u64, response: Response, now: Time) {
        self.kept.insert(from, fingerprint, response, now);
    }

    /// What the body of a request is known by. The salt keeps what is protected apart from what is not.
    #[must_use]
    pub fn fingerprint(&self, message: &Message<'_>, salt: u64) -> u64 {
        self.fingerprints.of(message) ^ salt
    }

    /// Forgets a client.
    pub fn forget(&mut self, client: Origin) {
        self.uploads.forget(client);
    }

    /// Forgets, now and then, what nobody goes on with.
    pub fn expire(&mut self, now: Time) {
        if now >= self.expire_at {
            self.uploads.expire(now);
            self.kept.expire(now);
            self.expire_at = now + EXPIRE_EVERY;
        }
    }
}

/// The answer to a block that was not taken, with its Block1 and Size1.
#[must_use]
pub fn response(refusal: Refusal) -> (Response, Option<Block>, Option<u32>) {
    let Refusal { code, block, size1, max_age, diagnostic } = refusal;
    (Response { max_age, ..Response::diagnostic(code, diagnostic) }, block, size1)
}

/// The part of a body that a response carries. Without a wish, and small enough, it is all of it.
///
/// # Errors
/// There is no such block: to be answered with 4.00.
#[inline]
pub fn slice(length: usize, wanted: Option<u32>, carrier: Carrier) -> Result<Slice, Response> {
    let is_small = match carrier {
        Carrier::Datagram(largest) => length <= largest.bytes(),
        Carrier::Stream(most) => length <= most,
    };
    if wanted.is_none() && is_small {
        return Ok(Slice { range: 0..length, block: None, size2: None });
    }
    let wanted = match wanted.map(Block::from_uint) {
        Some(None) => return Err(Response::new(Code::BAD_REQUEST)),
        other => other.flatten(),
    };
    serve(length, wanted, carrier).map_err(|error| Response::diagnostic(Code::BAD_REQUEST, error.to_string()))
}
