"""What comes by CoAP leaves by MQTT and AMQP, and the other way round: every direction of the table in docs/crossing.md."""

import pytest

from amqp_peer import Amqp, Inbox, declare, get, publish, wait_ready
from coap_wire import (CBOR, CON, CONTENT_FORMAT, DELETE, GET, JSON, LINKS, MAX_AGE, NON, OBSERVE, OCTETS, POST, PUT, TEXT, XML,
                       Wire)
from peer import V5, V311, Peer

# Content-Formats, the media types they stand for, and whether they are text.
FORMATS = [(TEXT, "text/plain;charset=utf-8", True), (JSON, "application/json", True), (CBOR, "application/cbor", False),
           (OCTETS, "application/octet-stream", False), (XML, "application/xml", True), (LINKS, "application/link-format", True)]


@pytest.fixture
def device(coap_broker):
    with Wire(coap_broker.coap_port) as wire:
        yield wire


@pytest.fixture
def peers(coap_broker, unique):
    running = []

    def make(version=V5, **options):
        running.append(Peer(coap_broker, f"x{len(running)}-{unique}", version, **options).start())
        return running[-1]

    yield make
    for peer in running:
        peer.stop()


@pytest.fixture
def channel(coap_broker, unique):
    peer = Amqp(coap_broker, unique)
    yield peer.channel()
    peer.end()


def bound(channel, key, arguments=None):
    queue = declare(channel)
    channel.queue_bind(queue, "amq.topic", key, arguments)
    return queue


def said(message, name):
    return getattr(message.properties, name, None)


@pytest.mark.parametrize("kind, qos", [(CON, 1), (NON, 0)])
@pytest.mark.parametrize("method, retained", [(PUT, True), (POST, False)])
def test_coap_to_mqtt(device, peers, unique, kind, qos, method, retained):
    peer = peers()
    peer.subscribe(f"{unique}/#", 2)
    device.ask(method, f"ps/{unique}/a b/é", b"21.5", (CONTENT_FORMAT, TEXT), kind=kind)
    message = peer.take()
    assert (message.topic, message.payload, message.qos, message.retain) == (f"{unique}/a b/é", b"21.5", qos, False)
    late = peers(V311)
    late.subscribe(f"{unique}/#", 1)
    if retained:
        message = late.take()
        assert (message.payload, message.retain, message.qos) == (b"21.5", True, qos)
    else:
        device.ask(POST, f"ps/{unique}/end", b"end")
        assert late.take().payload == b"end"


@pytest.mark.parametrize("number, media_type, text", FORMATS)
def test_content_format_becomes_content_type(device, peers, channel, unique, number, media_type, text):
    peer = peers()
    peer.subscribe(unique, 1)
    queue = bound(channel, unique)
    device.ask(PUT, f"ps/{unique}", b"{}", (CONTENT_FORMAT, number))
    message = peer.take()
    assert said(message, "ContentType").replace(" ", "").lower() == media_type
    assert (said(message, "PayloadFormatIndicator") or 0) == int(text)
    wait_ready(channel, queue, 1)
    properties = get(channel, queue).properties
    assert properties.content_type.replace(" ", "").lower() in (media_type, media_type.split(";")[0])
    assert device.ask(GET, f"ps/{unique}").uint(CONTENT_FORMAT) == number


@pytest.mark.parametrize("number, media_type, text", FORMATS)
def test_content_type_becomes_content_format(device, peers, channel, unique, number, media_type, text):
    peers().publish(f"{unique}/m", b"{}", qos=1, retain=True, ContentType=media_type)
    answer = device.ask(GET, f"ps/{unique}/m")
    assert (answer.spelled, answer.uint(CONTENT_FORMAT), answer.payload) == ("2.05", number, b"{}")
    publish(channel, "amq.topic", f"{unique}.a", "{}", headers={"x-retain": True}, content_type=media_type, delivery_mode=2)
    answer = device.ask(GET, f"ps/{unique}/a")
    assert (answer.spelled, answer.uint(CONTENT_FORMAT), answer.payload) == ("2.05", number, b"{}")


def test_an_unknown_type_has_no_format(device, peers, unique):
    peers().publish(unique, b"x", qos=1, retain=True, ContentType="application/x-unheard-of")
    answer = device.ask(GET, f"ps/{unique}")
    assert (answer.payload, answer.all(CONTENT_FORMAT)) == (b"x", [])


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_to_an_observer(device, peers, unique, version, qos):
    first = device.ask(GET, f"ps/{unique}", b"", (OBSERVE, 0))
    assert (first.spelled, first.payload) == ("2.05", b"") and first.uint(OBSERVE) is not None
    peers(version).publish(unique, b"live", qos=qos)
    told = device.notification()
    assert (told.token, told.spelled, told.payload) == (first.token, "2.05", b"live")
    assert device.ask(GET, f"ps/{unique}").spelled == "4.04"


def test_a_retained_message_is_a_value(device, peers, unique):
    peer = peers()
    peer.publish(unique, b"1", qos=1, retain=True)
    first = device.ask(GET, f"ps/{unique}", b"", (OBSERVE, 0))
    assert first.payload == b"1"
    peer.publish(unique, b"2", qos=1, retain=True)
    assert device.notification().payload == b"2"
    peer.publish(unique, b"", qos=1, retain=True)
    last = device.notification()
    assert (last.spelled, last.all(OBSERVE)) == ("4.04", [])
    assert device.ask(GET, f"ps/{unique}").spelled == "4.04"


def test_a_delete_clears_the_retained_message(device, peers, channel, unique):
    peer = peers()
    peer.subscribe(unique, 1)
    device.ask(PUT, f"ps/{unique}", b"v")
    assert peer.take().payload == b"v"
    assert device.ask(DELETE, f"ps/{unique}").spelled == "2.02"
    assert peer.take().payload == b""
    queue = bound(channel, unique, {"x-retained": True})
    late = peers()
    late.subscribe(unique, 1)
    device.ask(POST, f"ps/{unique}", b"end")
    assert late.take().payload == b"end"
    wait_ready(channel, queue, 1)
    assert get(channel, queue).body == b"end"


def test_expiry_becomes_max_age(device, peers, unique):
    peers().publish(unique, b"v", qos=1, retain=True, MessageExpiryInterval=600)
    assert 590 <= device.ask(GET, f"ps/{unique}").uint(MAX_AGE) <= 600
    peers().publish(unique, b"v", qos=1, retain=True)
    assert device.ask(GET, f"ps/{unique}").uint(MAX_AGE) in (None, 60)


def test_max_age_becomes_expiry(device, peers, channel, unique):
    peer = peers()
    peer.subscribe(unique, 1)
    queue = bound(channel, unique)
    device.ask(PUT, f"ps/{unique}", b"v", (MAX_AGE, 600))
    assert 590 <= said(peer.take(), "MessageExpiryInterval") <= 600
    wait_ready(channel, queue, 1)
    assert 590_000 <= int(get(channel, queue).properties.expiration) <= 600_000


@pytest.mark.parametrize("kind, delivery_mode", [(CON, 2), (NON, 1)])
def test_coap_to_amqp(device, channel, unique, kind, delivery_mode):
    inbox = Inbox(channel, bound(channel, f"{unique}.*.#"), auto_ack=True)
    device.ask(POST, f"ps/{unique}/v1.0/x", b"payload", (CONTENT_FORMAT, JSON), kind=kind)
    delivery = inbox.take()
    assert (delivery.method.exchange, delivery.method.routing_key) == ("amq.topic", f"{unique}.v1%2E0.x")
    assert (delivery.body, delivery.properties.delivery_mode) == (b"payload", delivery_mode)
    assert delivery.properties.content_type == "application/json"


@pytest.mark.parametrize("delivery_mode", [1, 2])
def test_amqp_to_an_observer(device, channel, unique, delivery_mode):
    first = device.ask(GET, f"ps/{unique}/v1.0", b"", (OBSERVE, 0))
    publish(channel, "amq.topic", f"{unique}.v1%2E0", "live", delivery_mode=delivery_mode, content_type="text/plain")
    told = device.notification()
    assert (told.token, told.payload, told.uint(CONTENT_FORMAT)) == (first.token, b"live", TEXT)


def test_a_value_of_coap_reaches_a_late_queue(device, channel, unique):
    device.ask(PUT, f"ps/{unique}/v", b"value", (CONTENT_FORMAT, CBOR))
    queue = bound(channel, f"{unique}.*", {"x-retained": True})
    wait_ready(channel, queue, 1)
    got = get(channel, queue)
    assert (got.body, got.properties.content_type) == (b"value", "application/cbor")


def test_everybody_hears_the_same_publication(device, peers, channel, unique):
    peer = peers()
    peer.subscribe(unique, 1)
    queue = bound(channel, unique)
    observed = device.ask(GET, f"ps/{unique}", b"", (OBSERVE, 0))
    senders = [lambda: device.request(POST, f"ps/{unique}", b"coap"), lambda: peers().publish(unique, b"mqtt", qos=1),
               lambda: publish(channel, "amq.topic", unique, "amqp", delivery_mode=2)]
    for number, (send, value) in enumerate(zip(senders, (b"coap", b"mqtt", b"amqp"))):
        send()
        assert peer.take().payload == value
        wait_ready(channel, queue, 1)
        assert get(channel, queue).body == value
        told = device.take()
        # Its own publication is answered, too, before or behind the notification.
        if number == 0:
            both = [told, device.take()]
            [told] = [message for message in both if message.token == observed.token]
        if told.kind == CON:
            device.acknowledge(told)
        assert (told.token, told.payload) == (observed.token, value)


def test_topics_of_the_broker_are_observed(device):
    first = device.ask(GET, "ps/$SYS/broker/uptime", b"", (OBSERVE, 0))
    assert first.spelled == "2.05" and first.uint(OBSERVE) is not None


def test_what_is_told_to_all_levels(device, peers, unique):
    """A wildcard in the middle, seen from CoAP, for publications of MQTT."""
    import cbor2
    first = device.ask(GET, f"ps/{unique}/+/t", b"", (OBSERVE, 0), (17, CBOR))
    assert first.spelled == "2.05" and first.uint(CONTENT_FORMAT) == CBOR
    peers().publish(f"{unique}/a/t", b"1", qos=1)
    told = device.notification()
    [(name, value)] = cbor2.loads(told.payload).items()
    assert name.removeprefix("/ps/") == f"{unique}/a/t"
    assert value in (b"1", "1", 1)
