//! Lapin, the AMQP client of the Rust world, against the broker: the ordinary things, and RabbitMQ's extensions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ExchangeKind};

use stage::{Stage, run, table, text};

#[test]
fn messages_come_in_order_and_are_acknowledged_together() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.confirming().await;
        let queue = stage.queue(&channel, FieldTable::default()).await;
        for number in 0..500 {
            stage.publish(&channel, "", &queue, &number.to_string(), BasicProperties::default()).await;
        }
        channel.basic_qos(50, BasicQosOptions::default()).await.unwrap();
        let mut inbox = stage.consume(&channel, &queue, FieldTable::default()).await;
        for number in 0..500 {
            let delivery = inbox.take().await;
            assert_eq!((text(&delivery.data), delivery.redelivered), (number.to_string(), false));
            if number % 50 == 49 {
                delivery.acker.ack(BasicAckOptions { multiple: true }).await.unwrap();
            }
        }
        channel.basic_cancel(inbox.tag.clone(), BasicCancelOptions::default()).await.unwrap();
        assert!(
            channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap().is_none()
        );
    });
}

#[test]
fn what_nobody_takes_is_returned_and_confirmed() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.confirming().await;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel
            .basic_publish("amq.direct".into(), "nowhere".into(), options, b"m", BasicProperties::default())
            .await
            .unwrap()
            .await
            .unwrap();
        let Confirmation::Ack(Some(returned)) = confirm else { panic!("{confirm:?}") };
        assert_eq!((returned.reply_code, &*returned.delivery.data), (312, &b"m"[..]));
    });
}

#[test]
fn what_is_rejected_dies_with_its_history() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.confirming().await;
        let dead = stage.queue(&channel, FieldTable::default()).await;
        let arguments = table(&[
            ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
            ("x-dead-letter-routing-key", AMQPValue::LongString(dead.as_str().into())),
        ]);
        let queue = stage.queue(&channel, arguments).await;
        stage.publish(&channel, "", &queue, "m", BasicProperties::default()).await;
        let mut inbox = stage.consume(&channel, &queue, FieldTable::default()).await;
        inbox.take().await.acker.nack(BasicNackOptions { requeue: false, multiple: false }).await.unwrap();
        let mut graves = stage.consume(&channel, &dead, FieldTable::default()).await;
        let delivery = graves.take().await;
        let headers = delivery.properties.headers().clone().unwrap();
        let reason = headers.inner().get("x-first-death-reason").cloned();
        assert_eq!(reason, Some(AMQPValue::LongString("rejected".into())));
        let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else {
            panic!("{headers:?}")
        };
        assert_eq!(deaths.as_slice().len(), 1);
    });
}

#[test]
fn a_stream_is_read_from_any_place() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.confirming().await;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let arguments = table(&[("x-queue-type", AMQPValue::LongString("stream".into()))]);
        channel.queue_declare("stream".into(), options, arguments).await.unwrap();
        for number in 0..100 {
            stage.publish(&channel, "", "stream", &number.to_string(), BasicProperties::default()).await;
        }
        for (offset, first) in [
            (AMQPValue::LongString("first".into()), 0),
            (AMQPValue::LongLongInt(40), 40),
            (AMQPValue::LongString("last".into()), 99),
        ] {
            let reading = stage.connection.create_channel().await.unwrap();
            reading.basic_qos(10, BasicQosOptions::default()).await.unwrap();
            let mut inbox = stage.consume(&reading, "stream", table(&[("x-stream-offset", offset)])).await;
            for number in first..100 {
                let delivery = inbox.take().await;
                let headers = delivery.properties.headers().clone().unwrap();
                assert_eq!(headers.inner().get("x-stream-offset"), Some(&AMQPValue::LongLongInt(number)));
                assert_eq!(text(&delivery.data), number.to_string());
                delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
            }
        }
        channel.queue_delete("stream".into(), QueueDeleteOptions::default()).await.unwrap();
    });
}

#[test]
fn a_delayed_message_waits_and_a_repeated_one_is_dropped() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.confirming().await;
        let kind = ExchangeKind::Custom("x-delayed-message".into());
        let arguments = table(&[
            ("x-delayed-type", AMQPValue::LongString("fanout".into())),
            ("x-message-deduplication", AMQPValue::Boolean(true)),
        ]);
        channel
            .exchange_declare("later".into(), kind, ExchangeDeclareOptions::default(), arguments)
            .await
            .unwrap();
        let queue = stage.queue(&channel, FieldTable::default()).await;
        channel
            .queue_bind(
                queue.as_str().into(),
                "later".into(),
                "".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        for (body, delay, mark) in [("late", 300, "1"), ("again", 0, "1"), ("soon", 100, "2")] {
            let headers = table(&[
                ("x-delay", AMQPValue::LongInt(delay)),
                ("x-deduplication-header", AMQPValue::LongString(mark.into())),
            ]);
            stage
                .publish(&channel, "later", "", body, BasicProperties::default().with_headers(headers))
                .await;
        }
        let mut inbox = stage.consume(&channel, &queue, FieldTable::default()).await;
        assert_eq!([text(&inbox.take().await.data), text(&inbox.take().await.data)], ["soon", "late"]);
    });
}

#[test]
fn a_transaction_is_seen_as_a_whole_or_not_at_all() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.connection.create_channel().await.unwrap();
        channel.tx_select().await.unwrap();
        let queue = stage.queue(&channel, FieldTable::default()).await;
        let publish = async |body: &str| {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let key = queue.as_str().into();
            drop(channel.basic_publish("".into(), key, options, body.as_bytes(), properties).await.unwrap());
        };
        publish("dropped").await;
        channel.tx_rollback().await.unwrap();
        publish("kept").await;
        let get =
            async || channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap();
        assert!(get().await.is_none());
        channel.tx_commit().await.unwrap();
        assert_eq!(text(&get().await.unwrap().delivery.data), "kept");
    });
}

#[test]
fn a_refusal_ends_the_channel_and_not_the_connection() {
    run(async {
        let stage = Stage::open().await;
        let channel = stage.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let error = channel.queue_declare("nobody".into(), options, FieldTable::default()).await.unwrap_err();
        assert!(error.to_string().contains("no queue 'nobody' in vhost '/'"), "{error}");
        let other = stage.connection.create_channel().await.unwrap();
        other.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), other.close(200, "done".into()))
            .await
            .unwrap()
            .unwrap();
    });
}
