"""What devices made for EMQX's CoAP gateway ask: /ps/{topic} with a query, and connections at /mqtt/connection."""

import pytest

from coap_wire import DELETE, GET, OBSERVE, POST, PUT, Wire
from peer import Peer


@pytest.fixture
def device(coap_broker):
    with Wire(coap_broker.coap_port) as wire:
        yield wire


@pytest.fixture
def listener(coap_broker, unique):
    peer = Peer(coap_broker, f"listener-{unique}").start()
    peer.subscribe(f"{unique}/#", 2)
    yield peer
    peer.stop()


def text(answer):
    return answer.payload.decode()


def test_a_post_publishes(device, listener, unique):
    for query, qos in [("", 1), ("?qos=0", 0), ("?qos=1", 1), ("?q=1", 1), ("?qos=2", 1)]:
        assert device.ask(POST, f"ps/{unique}/a{query}", b"m").spelled == "2.04"
        message = listener.take()
        assert (message.topic, message.payload, message.retain) == (f"{unique}/a", b"m", False)
        assert message.qos >= min(qos, 1)
    assert device.ask(GET, f"ps/{unique}/a").spelled == "4.04"


def test_a_post_retains_if_it_says_so(device, listener, unique):
    for query, value in [("?retain=true", b"kept"), ("?r=true&qos=1", b"kept, too")]:
        assert device.ask(POST, f"ps/{unique}/a{query}", value).spelled in ("2.01", "2.04")
        assert listener.take().payload == value
        assert device.ask(GET, f"ps/{unique}/a").payload == value


def test_an_expiry_becomes_max_age(device, listener, unique):
    assert device.ask(POST, f"ps/{unique}/a?retain=true&expiry=600", b"m").spelled in ("2.01", "2.04")
    assert 590 <= listener.take().properties.MessageExpiryInterval <= 600
    assert 590 <= device.ask(GET, f"ps/{unique}/a").uint(14) <= 600


def test_an_escaped_wildcard_subscribes(device, listener, unique):
    with Wire(device.socket.getpeername()[1]) as other:
        first = device.ask(GET, f"ps/{unique}/+/x", b"", (OBSERVE, 0), token=b"wild")
        assert first.spelled == "2.05" and first.uint(OBSERVE) is not None
        assert other.ask(POST, f"ps/{unique}/1/x", b"m").spelled == "2.04"
        assert f"{unique}/1/x".encode() in device.notification().payload
        assert device.ask(GET, f"ps/{unique}/+/x", b"", (OBSERVE, 1), token=b"wild").spelled == "2.05"


def test_a_device_connects_publishes_beats_and_leaves(device, listener, unique):
    answer = device.ask(POST, f"mqtt/connection?clientid={unique}&username=u&password=p")
    assert answer.spelled == "2.01" and text(answer).isdigit()
    who = f"clientid={unique}&token={text(answer)}"
    assert device.ask(POST, f"ps/{unique}/a?{who}", b"m").spelled == "2.04"
    assert listener.take().payload == b"m"
    assert device.ask(PUT, f"mqtt/connection?{who}").spelled == "2.04"
    assert device.ask(DELETE, f"mqtt/connection?{who}").spelled == "2.02"
    assert device.ask(PUT, f"mqtt/connection?{who}").spelled == "4.01"


def test_short_names_do_as_well(device, listener, unique):
    answer = device.ask(POST, f"mqtt/connection?c={unique}&u=u&p=p")
    assert answer.spelled == "2.01"
    assert device.ask(DELETE, f"mqtt/connection?c={unique}&t={text(answer)}").spelled == "2.02"


@pytest.mark.parametrize("query, code", [("", "4.00"), ("?username=u", "4.00")])
def test_a_connection_needs_a_client_identifier(device, query, code):
    assert device.ask(POST, f"mqtt/connection{query}").spelled == code


@pytest.mark.parametrize("method", [PUT, DELETE])
def test_a_wrong_token_is_refused(device, unique, method):
    answer = device.ask(POST, f"mqtt/connection?clientid={unique}")
    assert answer.spelled == "2.01"
    wrong = str(int(text(answer)) ^ 1)
    assert device.ask(method, f"mqtt/connection?clientid={unique}&token={wrong}").spelled == "4.01"
    assert device.ask(POST, f"ps/{unique}/a?clientid={unique}&token={wrong}", b"m").spelled == "4.01"


def test_a_token_follows_its_device_to_another_port(device, listener, unique):
    answer = device.ask(POST, f"mqtt/connection?clientid={unique}")
    with Wire(device.socket.getpeername()[1]) as moved:
        who = f"clientid={unique}&token={text(answer)}"
        assert moved.ask(POST, f"ps/{unique}/a?{who}", b"moved").spelled == "2.04"
        assert listener.take().payload == b"moved"
