//! Delivery tags and confirms against plain models of them, over random walks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tercet_amqp::delivery::{Answer, Confirms, Publishes, Unacked};
use tercet_amqp::method::basic;

#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver,
    DeliverAcknowledged,
    Settle { tag: u64, multiple: bool },
    TakeAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Deliver),
        1 => Just(Step::DeliverAcknowledged),
        6 => (0..80u64, prop::bool::weighted(0.2)).prop_map(|(tag, multiple)| Step::Settle { tag, multiple }),
        1 => Just(Step::TakeAll),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Publish,
    Confirm(prop::sample::Index),
    Reject(prop::sample::Index),
    Flush,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        5 => Just(Happening::Publish),
        5 => any::<prop::sample::Index>().prop_map(Happening::Confirm),
        1 => any::<prop::sample::Index>().prop_map(Happening::Reject),
        2 => Just(Happening::Flush),
    ]
}

/// Passes the server's answers on to the client and checks them against what was decided.
fn flush(
    server: &mut Publishes,
    client: &mut Confirms<u64>,
    decided: &mut BTreeMap<u64, bool>,
) -> Result<(), TestCaseError> {
    let mut answers = Vec::new();
    server.flush(|answer| answers.push(answer));
    for answer in answers {
        let (number, multiple, id, good) = match answer {
            Answer::Ack { number, multiple } => (number, multiple, basic::Ack::ID, true),
            Answer::Nack { number } => (number, false, basic::Nack::ID, false),
        };
        let settled = client.settle(number, multiple, 1, id);
        let settled: Vec<_> = settled.map_err(|error| TestCaseError::fail(error.to_string()))?.collect();
        prop_assert!(!settled.is_empty());
        prop_assert!(!multiple || settled.len() > 1, "one alone needs no multiple");
        for (number, publish) in settled {
            prop_assert_eq!(number, publish);
            prop_assert_eq!(decided.remove(&number), Some(good), "{} was not decided so", number);
        }
    }
    prop_assert!(decided.is_empty(), "all that was decided is answered: {:?}", decided);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tags_behave_like_a_map_of_them(steps in prop::collection::vec(step(), 0..200)) {
        let mut unacked = Unacked::new();
        let (mut model, mut last) = (BTreeMap::new(), 0u64);
        for step in steps {
            match step {
                Step::Deliver => {
                    last += 1;
                    model.insert(last, last * 10);
                    prop_assert_eq!(unacked.deliver(last * 10), last);
                }
                Step::DeliverAcknowledged => {
                    last += 1;
                    prop_assert_eq!(unacked.deliver_acknowledged(), last);
                }
                Step::Settle { tag, multiple } => {
                    let known = model.contains_key(&tag) || (multiple && tag == 0);
                    let settled = unacked.settle(tag, multiple, 1, basic::Nack::ID);
                    prop_assert_eq!(settled.is_ok(), known);
                    let Ok(settled) = settled else { continue };
                    let settled: Vec<_> = settled.collect();
                    let expected: Vec<_> = match (multiple, tag) {
                        (true, 0) => std::mem::take(&mut model).into_iter().collect(),
                        (true, _) => {
                            let rest = model.split_off(&(tag + 1));
                            std::mem::replace(&mut model, rest).into_iter().collect()
                        }
                        (false, _) => model.remove_entry(&tag).into_iter().collect(),
                    };
                    prop_assert_eq!(settled, expected);
                }
                Step::TakeAll => {
                    let taken: Vec<_> = unacked.take_all().collect();
                    prop_assert_eq!(taken, std::mem::take(&mut model).into_iter().collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(unacked.len(), model.len());
            prop_assert!(unacked.iter().map(|(tag, &value)| (tag, value)).eq(model.clone()));
        }
    }

    #[test]
    fn every_publish_is_answered_once_as_it_was_decided(steps in prop::collection::vec(happening(), 0..200)) {
        let (mut server, mut client) = (Publishes::new(), Confirms::new());
        let (mut pending, mut decided) = (Vec::new(), BTreeMap::new());
        for step in steps {
            match step {
                Happening::Publish => {
                    let number = server.publish();
                    prop_assert_eq!(client.publish(number), number);
                    pending.push(number);
                }
                Happening::Confirm(at) | Happening::Reject(at) if !pending.is_empty() => {
                    let number = pending.swap_remove(at.index(pending.len()));
                    let good = matches!(step, Happening::Confirm(_));
                    let first = if good { server.confirm(number) } else { server.reject(number) };
                    prop_assert!(first);
                    prop_assert!(!server.confirm(number) && !server.reject(number), "only once");
                    decided.insert(number, good);
                }
                Happening::Flush => flush(&mut server, &mut client, &mut decided)?,
                _ => {}
            }
        }
        for number in pending {
            prop_assert!(server.confirm(number));
            decided.insert(number, true);
        }
        flush(&mut server, &mut client, &mut decided)?;
        prop_assert!(server.is_empty() && client.is_empty());
    }
}
