//! The payload of a batch, as a log or a checkpoint may hold it: every record is read or refused; what is read can be
//! written again; and whatever is replayed leaves a virtual host whose records rebuild it.

use std::sync::Arc;

use tercet_broker::body::Body;
use tercet_broker::clock::Now;
use tercet_broker::event::{Event, EventSink};
use tercet_broker::hosts::VhostId;
use tercet_broker::limits::Limits;
use tercet_broker::metrics::Metrics;
use tercet_broker::permission::Permissions;
use tercet_broker::record::checkpoint_record::CheckpointRecord;
use tercet_broker::record::{Decoded, OwnedRecord, RecordKind, codec, message_record};
use tercet_broker::vhost::Vhost;
use tercet_log::position::{Place, Position};
use tercet_log::record::{RawRecord, Records};

struct Nobody;

impl EventSink for Nobody {
    fn event(&self, _event: Event) {}
}

const BATCH: Position = Position::new(1 << 40);

/// The body of the target.
pub fn check(data: &[u8]) {
    let vhost = empty();
    let mut recovery = vhost.recover();
    for raw in Records::new(data) {
        let Ok(raw) = raw else { break };
        if let Ok((host, image)) = CheckpointRecord::read(&raw) {
            check_image(host, &image);
            // Contradictions end the recovery of a true log.
            let _ = recovery.load(image);
            continue;
        }
        match codec::read(&raw, BATCH) {
            Ok(Decoded::Change(host, record)) => {
                check_record(&raw, host, &record);
                recovery.apply_at(record, Place { batch: BATCH, offset: raw.offset });
            }
            Ok(Decoded::Message(_, publisher)) => {
                check_message(&raw);
                recovery.note_publisher(publisher);
            }
            Ok(Decoded::Skipped) | Err(_) => {}
        }
    }
    let now = Now::read();
    recovery.for_each_holder(|_| {});
    recovery.finish(now);
    let records = vhost.durable_records();
    let again = empty();
    let mut recovery = again.recover();
    records.iter().for_each(|record| recovery.apply(record.clone()));
    recovery.finish(now);
    assert_eq!(format!("{:#?}", again.durable_records()), format!("{records:#?}"));
}

fn empty() -> Vhost {
    let (events, metrics) = (Arc::new(Nobody), Arc::new(Metrics::default()));
    Vhost::new(Limits::default(), Permissions::allow_all(), None, events, metrics)
}

fn check_image(host: VhostId, image: &CheckpointRecord) {
    let mut bytes = Vec::new();
    image.write(&mut bytes, host);
    let mut again = Records::new(&bytes).map(|raw| CheckpointRecord::read(&raw.unwrap()));
    assert!(*image == CheckpointRecord::Skipped || again.next() == Some(Ok((host, image.clone()))));
}

fn check_record(raw: &RawRecord<'_>, host: VhostId, record: &OwnedRecord) {
    let body = record.as_record().body().cloned();
    assert!(!matches!(body, Some(Body::Memory(_))), "nothing comes back in memory");
    let stored = body.and_then(|body| body.stored());
    let place = Place { batch: BATCH, offset: raw.offset };
    let mut bytes = Vec::new();
    codec::write(&mut bytes, place, host, &record.as_record(), stored.as_ref());
    let again = Records::new(&bytes).next().unwrap().unwrap();
    match codec::read(&RawRecord { offset: raw.offset, ..again }, BATCH) {
        Ok(Decoded::Change(of, again)) if of == host => {
            assert_eq!(format!("{again:?}"), format!("{record:?}"))
        }
        other => panic!("{other:?}"),
    }
}

fn check_message(raw: &RawRecord<'_>) {
    let Ok(message) = message_record::read_body(raw.body) else { return };
    let mut bytes = Vec::new();
    message_record::write(&mut bytes, VhostId::DEFAULT, &message);
    assert_eq!(bytes.first(), Some(&(RecordKind::Message as u8)));
    let again = Records::new(&bytes).next().unwrap().unwrap();
    assert_eq!(format!("{:?}", message_record::read_body(again.body).unwrap()), format!("{message:?}"));
}
