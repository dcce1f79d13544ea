"""Messages that come by MQTT and leave by AMQP, and the other way round."""

import pytest

from amqp_peer import Amqp, Inbox, declare, get, publish, settle, wait_ready
from broker import Process
from peer import V5, V311, Peer, properties

pytestmark = pytest.mark.tercet_only("its MQTT plugin is not part of the comparison")


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def peers(amqp_broker, unique):
    running = []

    def make(version=V5, broker=None, **options):
        peer = Peer(broker or amqp_broker, f"c{len(running)}-{unique}", version, **options).start()
        running.append(peer)
        return peer

    yield make
    for peer in running:
        peer.stop()


@pytest.fixture
def durable(tmp_path):
    """A broker that keeps what it is told to keep, and can be started again."""
    running = []

    def start(*options):
        for broker in running:
            broker.stop()
        listeners = [option for name in ("amqp", "mqtt", "http") for option in (f"--{name}", "127.0.0.1:0")]
        broker = Process(tmp_path, ["--data", tmp_path / "data", *listeners, *options])
        broker.directory, broker.amqp_port = tmp_path, broker.port("amqp")
        running[:] = [broker]
        return broker

    yield start
    for broker in running:
        broker.stop()


def bound(channel, key, arguments=None):
    queue = declare(channel)
    channel.queue_bind(queue, "amq.topic", key, arguments)
    return queue


def user_properties(message):
    return sorted(getattr(message.properties, "UserProperty", []))


def test_what_mqtt_says_of_a_message_arrives_by_amqp(channel, peers, unique):
    inbox = Inbox(channel, bound(channel, f"{unique}.*.#"), auto_ack=True)
    peers().publish(f"{unique}/v1.0/x", b"payload", qos=1, ContentType="text/plain", MessageExpiryInterval=60,
                    ResponseTopic="answers/here", CorrelationData=b"17", PayloadFormatIndicator=1,
                    UserProperty=[("unit", "celsius"), ("tag", "a"), ("tag", "b"), ("x-death", "forged")])
    delivery = inbox.take()
    said = delivery.properties
    assert (delivery.method.exchange, delivery.method.routing_key) == ("amq.topic", f"{unique}.v1%2E0.x")
    assert (delivery.body, said.delivery_mode, said.expiration) == (b"payload", 2, "60000")
    assert (said.content_type, said.content_encoding) == ("text/plain", "utf-8")
    assert (said.reply_to, said.correlation_id) == ("answers.here", "17")
    assert said.headers == {"unit": "celsius", "tag": ["a", "b"]}


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_any_client_of_mqtt_reaches_a_queue(channel, peers, unique, qos):
    queue = bound(channel, unique)
    for version in (V311, V5):
        peers(version).publish(unique, b"m", qos=qos)
        wait_ready(channel, queue, 1)
        got = get(channel, queue)
        assert (got.body, got.method.exchange, got.properties.delivery_mode) == (b"m", "amq.topic", 2 if qos else 1)
        assert got.properties.headers is None


def test_what_amqp_says_of_a_message_arrives_by_mqtt(channel, peers, unique):
    peer = peers()
    assert peer.subscribe(f"{unique}/#", 1) == [1]
    channel.basic_publish("amq.topic", f"{unique}.v1%2E0", "payload", amqp_properties(
        content_type="text/plain", content_encoding="utf-8", delivery_mode=2, expiration="59001", reply_to="answers.here",
        correlation_id="17", headers={"unit": "celsius", "tag": ["a", "b"], "n": 7, "yes": True, "x-own": "1", "CC": []}))
    message = peer.take()
    said = message.properties
    assert (message.topic, message.payload, message.qos, message.retain) == (f"{unique}/v1.0", b"payload", 1, False)
    assert (said.ContentType, said.PayloadFormatIndicator, said.MessageExpiryInterval) == ("text/plain", 1, 60)
    assert (said.ResponseTopic, said.CorrelationData) == ("answers/here", b"17")
    assert user_properties(message) == [("n", "7"), ("tag", "a"), ("tag", "b"), ("unit", "celsius"), ("yes", "true")]


def amqp_properties(**values):
    import pika
    return pika.BasicProperties(**values)


def test_transient_messages_are_sent_at_most_once(channel, peers, unique):
    for version in (V311, V5):
        peer = peers(version)
        peer.subscribe(unique, 2)
        publish(channel, "amq.topic", unique, "m")
        assert (peer.take().qos, peer.version) == (0, version)


def test_a_shared_subscription_and_queues_take_the_same_message(channel, peers, unique):
    group = [peers(), peers()]
    for peer in group:
        peer.subscribe(f"$share/g/{unique}/+", 1)
    queues = [bound(channel, f"{unique}.#"), bound(channel, f"#.{unique}.1")]
    publish(channel, "amq.topic", f"{unique}.1", "a", delivery_mode=2)
    peers().publish(f"{unique}/1", b"b", qos=1)
    for queue in queues:
        wait_ready(channel, queue, 2)
        assert [get(channel, queue).body for _ in range(2)] == [b"a", b"b"]
    taken = [peer.messages for peer in group]
    until_sum = sorted(queue.get(timeout=15).payload for queue in taken)
    assert until_sum == [b"a", b"b"]


def test_a_request_by_mqtt_is_answered_by_amqp(channel, peers, unique):
    asker = peers()
    asker.subscribe(f"{unique}/answers", 1)
    inbox = Inbox(channel, bound(channel, f"{unique}.questions"), auto_ack=True)
    asker.publish(f"{unique}/questions", b"?", qos=1, ResponseTopic=f"{unique}/answers", CorrelationData=bytes([0, 255]))
    question = inbox.take()
    headers = {"x-correlation-id": question.properties.headers["x-correlation-id"]}
    publish(channel, "amq.topic", question.properties.reply_to, "!", headers=headers)
    answer = asker.take()
    assert (answer.payload, answer.properties.CorrelationData) == (b"!", bytes([0, 255]))


def test_a_header_makes_a_value_retained(channel, peers, unique):
    publish(channel, "amq.topic", f"{unique}.v", "value", headers={"x-retain": True, "unit": "K"}, delivery_mode=2)
    peer = peers()
    peer.subscribe(f"{unique}/+", 1)
    message = peer.take()
    assert (message.payload, message.retain, user_properties(message)) == (b"value", True, [("unit", "K")])
    publish(channel, "amq.topic", f"{unique}.v", "", headers={"x-retain": True})
    assert peer.take().payload == b""
    other = peers()
    other.subscribe(f"{unique}/+", 1)
    publish(channel, "amq.topic", f"{unique}.v", "live")
    assert (other.take().payload, peer.take().payload) == (b"live", b"live")


def test_a_binding_gets_retained_values(channel, peers, unique):
    peer = peers()
    for number in range(300):
        peer.publish(f"{unique}/{number}/v", str(number).encode(), qos=1, retain=True)
    peer.publish(f"{unique}/other", b"x", qos=1, retain=True)
    queue = bound(channel, f"{unique}.*.v", {"x-retained": True})
    wait_ready(channel, queue, 300)
    assert {int(get(channel, queue).body) for _ in range(300)} == set(range(300))
    without = bound(channel, f"{unique}.#")
    middle = bound(channel, f"#.{unique}.#.v", {"x-retained": True})
    wait_ready(channel, middle, 300)
    peer.publish(f"{unique}/7/v", b"live", qos=1)
    for queue, count in [(without, 1), (middle, 301)]:
        wait_ready(channel, queue, count)


def test_what_has_no_form_on_the_other_side_does_not_cross(channel, peers, unique):
    peer = peers()
    peer.subscribe(f"{unique}/#", 1)
    queue = bound(channel, "#")
    for key in [f"{unique}.a/b", f"{unique}.a+"]:
        publish(channel, "amq.topic", key, "only for queues")
    publish(channel, "amq.topic", f"{unique}.end", "end")
    assert peer.take().payload == b"end"
    peer.publish(f"$private/{unique}", b"only for topics", qos=1)
    peer.publish("/".join([unique] + ["x" * 60] * 5), b"too long", qos=1)
    peer.publish(f"{unique}/last", b"last", qos=1)
    wait_ready(channel, queue, 4)
    assert [get(channel, queue).body for _ in range(4)] == [b"only for queues"] * 2 + [b"end", b"last"]


def test_everything_survives_a_restart_on_both_sides(durable, peers, unique):
    broker = durable()
    peer = peers(broker=broker, clean=False, properties=properties("CONNECT", SessionExpiryInterval=600))
    peer.subscribe(f"{unique}/#", 1)
    client = peer.client._client_id.decode()
    peer.stop()
    amqp = Amqp(broker, unique)
    channel = amqp.channel()
    queue = declare(channel, amqp.name(), durable=True)
    channel.queue_bind(queue, "amq.topic", f"{unique}.#")
    publisher = peers(broker=broker)
    publisher.publish(f"{unique}/mqtt", b"by mqtt", qos=1, UserProperty=[("k", "v")], ContentType="a/b")
    publish(channel, "amq.topic", f"{unique}.amqp", "by amqp", delivery_mode=2, content_type="c/d", headers={"k": "w"})
    publish(channel, "amq.topic", f"{unique}.kept", "kept", delivery_mode=2, headers={"x-retain": True})
    publisher.stop()
    amqp.end()

    broker = durable()
    amqp = Amqp(broker, unique)
    channel = amqp.channel()
    got = [get(channel, queue) for _ in range(3)]
    assert [(each.body, each.method.routing_key) for each in got] == [
        (b"by mqtt", f"{unique}.mqtt"), (b"by amqp", f"{unique}.amqp"), (b"kept", f"{unique}.kept")]
    assert (got[0].properties.content_type, got[0].properties.headers) == ("a/b", {"k": "v"})
    late = declare(channel)
    channel.queue_bind(late, "amq.topic", f"{unique}.#", {"x-retained": True})
    wait_ready(channel, late, 1)
    assert get(channel, late).body == b"kept"
    amqp.end()
    again = Peer(broker, client, clean=False, properties=properties("CONNECT", SessionExpiryInterval=600)).start()
    messages = [again.take() for _ in range(3)]
    assert [(message.topic, message.payload) for message in messages] == [
        (f"{unique}/mqtt", b"by mqtt"), (f"{unique}/amqp", b"by amqp"), (f"{unique}/kept", b"kept")]
    assert (messages[1].properties.ContentType, user_properties(messages[1])) == ("c/d", [("k", "w")])
    again.stop()


def test_separators_can_change_places_as_in_rabbitmq(durable, peers, unique, tmp_path):
    config = tmp_path / "swap.toml"
    config.write_text('[amqp]\ntopic-mapping = "rabbitmq"\n')
    broker = durable("--config", config)
    amqp = Amqp(broker, unique)
    channel = amqp.channel()
    queue = declare(channel, amqp.name(), durable=True)
    channel.queue_bind(queue, "amq.topic", f"{unique}.v1/0")
    peer = peers(broker=broker)
    peer.subscribe(f"{unique}/v1.0", 1)
    peer.publish(f"{unique}/v1.0", b"m", qos=1)
    wait_ready(channel, queue, 1)
    assert get(channel, queue).method.routing_key == f"{unique}.v1/0"
    publish(channel, "amq.topic", f"{unique}.v1/0", "back")
    assert [peer.take().payload for _ in range(2)] == [b"m", b"back"]
    settle(channel)
    amqp.end()


def test_delays_and_memories_survive_a_restart(durable, unique):
    broker = durable()
    amqp = Amqp(broker, unique)
    channel = amqp.channel()
    late, once = amqp.name("late"), amqp.name("once")
    channel.exchange_declare(late, "x-delayed-message", durable=True, arguments={"x-delayed-type": "fanout"})
    channel.exchange_declare(once, "x-message-deduplication", durable=True, arguments={"x-cache-size": 100})
    queue = declare(channel, amqp.name(), durable=True)
    for exchange in (late, once):
        channel.queue_bind(queue, exchange, "")
    publish(channel, late, "", "transient", headers={"x-delay": 600_000})
    publish(channel, late, "", "late", headers={"x-delay": 1_500}, delivery_mode=2)
    publish(channel, late, "", "far", headers={"x-delay": 600_000}, delivery_mode=2)
    publish(channel, once, "", "once", headers={"x-deduplication-header": "1"}, delivery_mode=2)
    amqp.end()

    amqp = Amqp(durable(), unique)
    channel = amqp.channel()
    publish(channel, once, "", "twice", headers={"x-deduplication-header": "1"}, delivery_mode=2)
    wait_ready(channel, queue, 2)
    assert [get(channel, queue).body for _ in range(2)] == [b"once", b"late"]
    channel.exchange_delete(late)
    amqp.end()
