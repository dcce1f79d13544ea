//! A broker with one connection of lapin's, and what every test does with it.

use std::future::Future;
use std::time::Duration;

use lapin::message::{Delivery, DeliveryResult};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tercet_interop::Broker;
use tokio::sync::mpsc;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub connection: Connection,
    _broker: Broker,
}

/// Deliveries to one consumer.
pub(crate) struct Inbox {
    pub tag: ShortString,
    deliveries: mpsc::UnboundedReceiver<DeliveryResult>,
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(crate) fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}

impl Stage {
    pub(crate) async fn open() -> Self {
        let broker = Broker::start();
        let uri = format!("amqp://guest:guest@{}/%2f?heartbeat=0", broker.address("amqp"));
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await.unwrap();
        Self { connection, _broker: broker }
    }

    /// A channel on which publications are confirmed.
    pub(crate) async fn confirming(&self) -> Channel {
        let channel = self.connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel
    }

    /// A queue that the server names, for this connection alone.
    pub(crate) async fn queue(&self, channel: &Channel, arguments: FieldTable) -> String {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("".into(), options, arguments).await.unwrap().name().to_string()
    }

    /// Publishes, and waits until that is confirmed.
    pub(crate) async fn publish(
        &self,
        channel: &Channel,
        exchange: &str,
        key: &str,
        body: &str,
        properties: BasicProperties,
    ) {
        let options = BasicPublishOptions::default();
        let confirm = channel
            .basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties)
            .await
            .unwrap();
        assert!(confirm.await.unwrap().is_ack());
    }

    pub(crate) async fn consume(&self, channel: &Channel, queue: &str, arguments: FieldTable) -> Inbox {
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await.unwrap();
        let (sender, deliveries) = mpsc::unbounded_channel();
        consumer.set_delegate(move |delivery: DeliveryResult| {
            let _ = sender.send(delivery);
            async {}
        });
        Inbox { tag: consumer.tag(), deliveries }
    }
}

impl Inbox {
    pub(crate) async fn take(&mut self) -> Delivery {
        let next = tokio::time::timeout(PATIENCE, self.deliveries.recv()).await.expect("in time");
        next.expect("the consumer lives").unwrap().expect("a delivery")
    }
}
