"""One message, two protocols: amq.topic is the topic space of MQTT, with pika on one side and paho on the other."""

import pytest

from amqp_peer import Inbox, declare, publish
from peer import V5, Peer

pytestmark = pytest.mark.tercet_only("Tercet's own; RabbitMQ's plugin has other rules")


@pytest.fixture
def mqtt(amqp_broker, unique):
    peers = []

    def connect(name, version=V5):
        peer = Peer(amqp_broker, f"{unique}-{name}", version, login=("guest", "guest"))
        peers.append(peer)
        return peer.start()

    yield connect
    for peer in peers:
        peer.stop()


def test_what_mqtt_publishes_reaches_queues(amqp, mqtt, unique):
    channel = amqp.channel()
    queue = declare(channel)
    channel.queue_bind(queue, "amq.topic", f"{unique}.*.temperature")
    channel.queue_bind(queue, "amq.topic", f"{unique}.deep.#")
    inbox = Inbox(channel, queue, auto_ack=True)
    publisher = mqtt("p")
    publisher.publish(f"{unique}/kitchen/temperature", "21", qos=1)
    publisher.publish(f"{unique}/kitchen/humidity", "40", qos=1)
    publisher.publish(f"{unique}/deep/a/b/c", "x", qos=0)
    got = [inbox.take() for _ in range(2)]
    assert [(one.body, one.method.exchange, one.method.routing_key) for one in got] == [
        (b"21", "amq.topic", f"{unique}.kitchen.temperature"), (b"x", "amq.topic", f"{unique}.deep.a.b.c")]


def test_what_amqp_publishes_reaches_subscribers(amqp, mqtt, unique):
    subscriber = mqtt("s")
    subscriber.subscribe((f"{unique}/+/temperature", 1), (f"{unique}/deep/#", 2))
    channel = amqp.channel()
    publish(channel, "amq.topic", f"{unique}.kitchen.temperature", "21", delivery_mode=2)
    publish(channel, "amq.topic", f"{unique}.kitchen.humidity", "40")
    publish(channel, "amq.topic", f"{unique}.deep.a.b", "x", mandatory=True)
    first, second = subscriber.take(), subscriber.take()
    assert (first.topic, first.payload, first.qos) == (f"{unique}/kitchen/temperature", b"21", 1)
    assert (second.topic, second.payload) == (f"{unique}/deep/a/b", b"x")


def test_properties_cross_over(amqp, mqtt, unique):
    channel = amqp.channel()
    queue = declare(channel)
    channel.queue_bind(queue, "amq.topic", f"{unique}.up")
    inbox = Inbox(channel, queue, auto_ack=True)
    peer = mqtt("p")
    peer.subscribe((f"{unique}/down", 1))
    peer.publish(f"{unique}/up", "m", qos=1, ContentType="text/plain", CorrelationData=b"c-1", UserProperty=[("a", "b")])
    properties = inbox.take().properties
    assert (properties.content_type, properties.correlation_id, properties.delivery_mode) == ("text/plain", "c-1", 2)
    assert properties.headers["a"] == "b"
    publish(channel, "amq.topic", f"{unique}.down", "m", content_type="text/plain", correlation_id="c-2", delivery_mode=2,
            headers={"x": "y"}, expiration="60000")
    properties = peer.take().properties
    assert (properties.ContentType, properties.CorrelationData) == ("text/plain", b"c-2")
    assert ("x", "y") in properties.UserProperty
    assert 55 <= properties.MessageExpiryInterval <= 60
