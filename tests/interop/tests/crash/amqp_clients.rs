//! Clients of AMQP that go on where the death of the broker has interrupted them.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use lapin::message::{Delivery, DeliveryResult};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, Error, ErrorKind,
    ExchangeKind,
};
use tercet_interop::Random;
use tercet_interop::lives::Lives;
use tokio::sync::mpsc;

use crate::amqp_ledger::{Ledger, Place, Sent};

/// The exchange that everything is published to, the queue behind it, and that of what is rejected there.
const EXCHANGE: &str = "storm";
const WORK: &str = "work";
/// The exchange that delays, with the same queues behind it; and the stream that gets a copy of everything.
const LATER: &str = "later";
const HISTORY: &str = "history";
const DEAD: &str = "dead";
/// The queue that bindings come and go to.
const BOUND: &str = "bound";

/// The longest delay, in milliseconds: longer than most lives.
const DELAY: u64 = 400;
/// Messages on their way.
const WINDOW: usize = 24;
/// How long a broker that lives may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a client to its end.
pub(crate) fn run<R>(client: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(client)
}

/// A connection to a life of the broker.
struct Link {
    connection: Connection,
    channel: Channel,
    life: usize,
}

impl Link {
    /// Connects as soon as the broker lives.
    async fn open(lives: &Lives) -> Self {
        loop {
            let (address, life) = lives.address("amqp");
            if let Ok(link) = Self::try_open(&address.to_string(), life).await {
                return link;
            }
            // It has died meanwhile, or is about to.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_open(address: &str, life: usize) -> Result<Self, Error> {
        let uri = format!("amqp://guest:guest@{address}/%2f?heartbeat=0");
        let connection = timely(Connection::connect(&uri, ConnectionProperties::default())).await?;
        let channel = timely(connection.create_channel()).await?;
        Ok(Self { connection, channel, life })
    }

    async fn close(self) {
        let _ = timely(self.connection.close(200, "done".into())).await;
    }
}

/// What takes longer than [`PATIENCE`] has failed: the broker has died without a word.
async fn timely<T>(operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, operation).await {
        Ok(result) => result,
        Err(_) => Err(Error::from(ErrorKind::MissingHeartbeatError)),
    }
}

/// Declares everything.
pub(crate) async fn set_up(lives: &Lives) {
    let Link { connection, channel, .. } = Link::open(lives).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let work = table(&[("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", DEAD)]);
    let history = table(&[("x-queue-type", "stream")]);
    let queues = [(WORK, work), (DEAD, table(&[])), (BOUND, table(&[])), (HISTORY, history)];
    for (queue, arguments) in queues {
        channel.queue_declare(queue.into(), durable, arguments).await.expect("declared");
    }
    let later = ExchangeKind::Custom("x-delayed-message".to_owned());
    let exchanges = [
        (EXCHANGE, ExchangeKind::Direct, table(&[])),
        (LATER, later, table(&[("x-delayed-type", "direct")])),
    ];
    for (exchange, kind, arguments) in exchanges {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(exchange.into(), kind, options, arguments).await.expect("declared");
        for queue in [WORK, HISTORY] {
            let options = QueueBindOptions::default();
            let bind = channel.queue_bind(queue.into(), exchange.into(), "work".into(), options, table(&[]));
            bind.await.expect("bound");
        }
    }
    connection.close(200, "done".into()).await.expect("closed");
}

fn table(entries: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

/// Publishes numbered persistent messages until `end`, then until all of them are confirmed.
pub(crate) async fn publish(
    lives: &Lives,
    ledger: &Ledger,
    publisher: u64,
    end: Instant,
    mut random: Random,
) {
    let mut next = 0;
    // Numbers on their way, with how often each was sent.
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    while Instant::now() < end || !open.is_empty() {
        let link = Link::open(lives).await;
        let _ = publish_in(&link, ledger, publisher, end, &mut random, &mut next, &mut open).await;
        link.close().await;
    }
}

async fn publish_in(
    link: &Link,
    ledger: &Ledger,
    publisher: u64,
    end: Instant,
    random: &mut Random,
    next: &mut u64,
    open: &mut BTreeMap<u64, u64>,
) -> Result<(), Error> {
    timely(link.channel.confirm_select(ConfirmSelectOptions::default())).await?;
    loop {
        while Instant::now() < end && open.len() < WINDOW {
            open.insert(*next, 0);
            *next += 1;
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut confirms = Vec::new();
        for (number, attempts) in open.iter_mut() {
            let sent = Sent { publisher, number: *number, attempt: *attempts };
            *attempts += 1;
            let payload = format!("{sent} {}", "x".repeat(random.below(300) as usize));
            let (exchange, properties) = on_its_way(random);
            let options = BasicPublishOptions::default();
            let publishing = link.channel.basic_publish(
                exchange.into(),
                "work".into(),
                options,
                payload.as_bytes(),
                properties,
            );
            confirms.push((sent, timely(publishing).await?));
        }
        for (sent, confirm) in confirms {
            if let Confirmation::Ack(None) = timely(confirm).await? {
                ledger.confirm(sent);
                open.remove(&sent.number);
            }
        }
    }
}

/// By which exchange a message goes, and how: every fourth is delayed.
fn on_its_way(random: &mut Random) -> (&'static str, BasicProperties) {
    let properties = BasicProperties::default().with_delivery_mode(2);
    if !random.once_in(4) {
        return (EXCHANGE, properties);
    }
    let mut headers = FieldTable::default();
    let delay = i32::try_from(random.below(DELAY)).unwrap_or_default();
    headers.insert("x-delay".into(), AMQPValue::LongInt(delay));
    (LATER, properties.with_headers(headers))
}

/// Takes what is in a queue, a few at a time, each few settled in a transaction, until `done`.
pub(crate) async fn consume(
    lives: &Lives,
    ledger: &Ledger,
    place: Place,
    done: &AtomicBool,
    mut random: Random,
) {
    while !done.load(SeqCst) {
        let link = Link::open(lives).await;
        let _ = consume_in(&link, ledger, place, done, &mut random).await;
        link.close().await;
    }
}

async fn consume_in(
    link: &Link,
    ledger: &Ledger,
    place: Place,
    done: &AtomicBool,
    random: &mut Random,
) -> Result<(), Error> {
    let Link { channel, life, .. } = link;
    timely(channel.tx_select()).await?;
    timely(channel.basic_qos(40, BasicQosOptions::default())).await?;
    let queue = if place == Place::Work { WORK } else { DEAD };
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = timely(channel.basic_consume(queue.into(), "".into(), options, arguments)).await?;
    let mut deliveries = deliveries(&consumer);
    while !done.load(SeqCst) {
        let first = match tokio::time::timeout(Duration::from_millis(20), deliveries.recv()).await {
            Ok(Some(Ok(Some(delivery)))) => delivery,
            Ok(Some(Err(error))) => return Err(error),
            Ok(_) => return Ok(()),
            Err(_) => continue,
        };
        let mut few = vec![first];
        while few.len() < 10
            && let Ok(Ok(Some(delivery))) = deliveries.try_recv()
        {
            few.push(delivery);
        }
        let mut acknowledged = Vec::new();
        for delivery in &few {
            let sent = Sent::parse(&delivery.data);
            ledger.deliver(place, sent, delivery.redelivered, *life);
            if settle(channel, place, sent, delivery, random).await? {
                acknowledged.push(sent);
            }
        }
        timely(channel.tx_commit()).await?;
        acknowledged.into_iter().for_each(|sent| ledger.settle(sent, *life));
    }
    Ok(())
}

/// What comes to a consumer, or why nothing does any more.
fn deliveries(consumer: &Consumer) -> mpsc::UnboundedReceiver<DeliveryResult> {
    let (sender, deliveries) = mpsc::unbounded_channel();
    consumer.set_delegate(move |delivery: DeliveryResult| {
        let _ = sender.send(delivery);
        async {}
    });
    deliveries
}

/// Says what becomes of a delivery; true if it is at its end.
async fn settle(
    channel: &Channel,
    place: Place,
    sent: Sent,
    delivery: &Delivery,
    random: &mut Random,
) -> Result<bool, Error> {
    let tag = delivery.delivery_tag;
    let dies = place == Place::Work && sent.number.is_multiple_of(5);
    if dies || random.once_in(20) {
        let requeue = !dies || random.once_in(4);
        timely(channel.basic_reject(tag, BasicRejectOptions { requeue })).await?;
        return Ok(false);
    }
    timely(channel.basic_ack(tag, BasicAckOptions::default())).await?;
    Ok(true)
}

/// Binds and unbinds keys until `end`.
pub(crate) async fn bind(lives: &Lives, ledger: &Ledger, end: Instant, mut random: Random) {
    let mut keys = 0;
    while Instant::now() < end {
        let link = Link::open(lives).await;
        while Instant::now() < end {
            let again = keys > 0 && random.once_in(3);
            let key = if again { random.below(keys) } else { keys };
            keys += u64::from(!again);
            ledger.rebind(key);
            let (name, none) = (format!("key-{key}"), FieldTable::default());
            let bound = !again || random.once_in(2);
            let channel = &link.channel;
            let changed = match bound {
                true => {
                    let options = QueueBindOptions::default();
                    timely(channel.queue_bind(BOUND.into(), EXCHANGE.into(), name.into(), options, none))
                        .await
                }
                false => timely(channel.queue_unbind(BOUND.into(), EXCHANGE.into(), name.into(), none)).await,
            };
            if changed.is_err() {
                break;
            }
            ledger.is_bound(key, bound);
        }
        link.close().await;
    }
}

/// Whether no message waits in a queue, or is unacknowledged for more than a moment.
pub(crate) async fn are_empty(lives: &Lives) -> bool {
    let link = Link::open(lives).await;
    let mut ready = 0;
    for queue in [WORK, DEAD] {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = timely(link.channel.queue_declare(queue.into(), options, FieldTable::default())).await;
        ready += declared.expect("it is there").message_count();
    }
    link.close().await;
    ready == 0
}

/// Looks which keys are bound, now that the storm is over.
pub(crate) async fn check_bindings(lives: &Lives, ledger: &Ledger) {
    let link = Link::open(lives).await;
    link.channel.confirm_select(ConfirmSelectOptions::default()).await.expect("selected");
    let (bound, unbound) = ledger.bindings();
    for (keys, routed) in [(bound, true), (unbound, false)] {
        for key in keys {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let name = format!("key-{key}");
            let confirm = link
                .channel
                .basic_publish(EXCHANGE.into(), name.into(), options, b"probe", BasicProperties::default())
                .await
                .expect("published");
            let returned = timely(confirm).await.expect("confirmed").take_message();
            assert_eq!(returned.is_none(), routed, "whether key {key} is bound");
        }
    }
    link.close().await;
}

/// Reads the stream from its beginning, now that the storm is over: every confirmed copy is in it, and none is twice.
pub(crate) async fn check_history(lives: &Lives, ledger: &Ledger) {
    let link = Link::open(lives).await;
    let channel = &link.channel;
    channel.basic_qos(200, BasicQosOptions::default()).await.expect("limited");
    let (options, from) = (BasicConsumeOptions::default(), table(&[("x-stream-offset", "first")]));
    let consumer = channel.basic_consume(HISTORY.into(), "".into(), options, from).await.expect("consumed");
    let mut deliveries = deliveries(&consumer);
    let mut missing: HashSet<Sent> = ledger.confirmed();
    let mut seen = HashSet::new();
    while !missing.is_empty() {
        let next = tokio::time::timeout(PATIENCE, deliveries.recv()).await;
        let Ok(Some(Ok(Some(delivery)))) = next else { panic!("not in the stream: {missing:?}") };
        let sent = Sent::parse(&delivery.data);
        assert!(seen.insert(sent), "{sent} is in the stream twice");
        missing.remove(&sent);
        delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
    }
    link.close().await;
}
