"""The plugtests of ETSI and IPSO, TD_COAP_CORE: coap-client of libcoap asks, and what goes over the wire is looked at.

Their resource /test is a topic here. The cases that need a server with other resources (/separate, /location-query) are those
of Tercet's own client, in test_coap_etsi_client.py.
"""

import pytest

from coap_relay import TO_CLIENT, TO_SERVER, Relay
from coap_tools import client
from coap_wire import (ACCEPT, ACK, CBOR, CON, CONTENT_FORMAT, DELETE, ETAG, GET, IF_MATCH, IF_NONE_MATCH, JSON, LOCATION_PATH, NON,
                       POST, PUBSUB, PUT, RST, SENML_JSON, TEXT, URI_PATH, URI_QUERY, Message, Wire)


class Stage:
    """coap-client on one side of a relay, the server on the other."""

    def __init__(self, relay, test):
        self.relay, self.test = relay, test

    def url(self, path):
        return f"coap://127.0.0.1:{self.relay.port}/{path}"

    def run(self, *arguments, path=None, **options):
        """Runs coap-client: what it printed, its request and the response."""
        before = len(self.relay.requests)
        printed = client(self.url(path or self.test), *arguments, **options)
        request = self.relay.requests[before]
        response = next(answer for answer in reversed(self.relay.responses) if answer.token == request.token)
        return printed, request, response

    def exists(self, value="a value"):
        with Wire(self.relay.server) as wire:
            assert wire.ask(PUT, self.test, value.encode(), (CONTENT_FORMAT, TEXT)).spelled in ("2.01", "2.04")


@pytest.fixture
def stage(coap_broker, unique):
    with Relay(coap_broker.coap_port) as relay:
        yield Stage(relay, f"ps/{unique}")


def piggybacked(request, response, *codes):
    return (request.kind, response.kind, response.id, response.token) == (CON, ACK, request.id, request.token) \
        and response.spelled in codes


def non_confirmable(request, response, *codes):
    return (request.kind, response.kind, response.token) == (NON, NON, request.token) and response.spelled in codes


def formatted(message):
    """Whether a payload says what it is."""
    return not message.payload or message.uint(CONTENT_FORMAT) is not None


def test_TD_COAP_CORE_01_get_con(stage):
    stage.exists()
    printed, request, response = stage.run()
    assert request.code == GET and piggybacked(request, response, "2.05")
    assert (printed, response.payload, response.uint(CONTENT_FORMAT)) == (b"a value\n", b"a value", TEXT)


def test_TD_COAP_CORE_02_delete_con(stage):
    stage.exists()
    _, request, response = stage.run("-m", "delete")
    assert request.code == DELETE and piggybacked(request, response, "2.02") and formatted(response)


def test_TD_COAP_CORE_03_put_con(stage):
    for expected in ("2.01", "2.04"):
        _, request, response = stage.run("-m", "put", "-t", "0", "-e", "value")
        assert (request.code, request.uint(CONTENT_FORMAT), request.payload) == (PUT, TEXT, b"value")
        assert piggybacked(request, response, expected) and formatted(response)


def test_TD_COAP_CORE_04_post_con(stage):
    _, request, response = stage.run("-m", "post", "-t", "0", "-e", "value")
    assert request.code == POST and piggybacked(request, response, "2.01", "2.04") and formatted(response)


def test_TD_COAP_CORE_05_get_non(stage):
    stage.exists()
    printed, request, response = stage.run("-N")
    assert request.code == GET and non_confirmable(request, response, "2.05")
    assert (printed, response.uint(CONTENT_FORMAT)) == (b"a value\n", TEXT)


def test_TD_COAP_CORE_06_delete_non(stage):
    stage.exists()
    _, request, response = stage.run("-N", "-m", "delete")
    assert request.code == DELETE and non_confirmable(request, response, "2.02") and formatted(response)


def test_TD_COAP_CORE_07_put_non(stage):
    _, request, response = stage.run("-N", "-m", "put", "-t", "0", "-e", "value")
    assert request.code == PUT and non_confirmable(request, response, "2.01", "2.04") and formatted(response)


def test_TD_COAP_CORE_08_post_non(stage):
    _, request, response = stage.run("-N", "-m", "post", "-t", "0", "-e", "value")
    assert request.code == POST and non_confirmable(request, response, "2.01", "2.04") and formatted(response)


@pytest.mark.parametrize("token", ["t", "12345678"])
def test_TD_COAP_CORE_10_get_with_token(stage, token):
    stage.exists()
    _, request, response = stage.run("-T", token)
    # libcoap counts it up before it uses it.
    assert len(request.token) == len(token) and piggybacked(request, response, "2.05")


def test_TD_COAP_CORE_12_get_without_token(stage):
    stage.exists()
    with Wire(stage.relay.server) as wire:
        response = wire.ask(GET, stage.test, token=b"")
    assert (response.spelled, response.payload, response.token) == ("2.05", b"a value", b"")


def test_TD_COAP_CORE_13_several_uri_path(stage):
    stage.test += "/seg1/seg2/seg3"
    stage.exists("deep")
    printed, request, response = stage.run()
    assert request.all(URI_PATH)[-3:] == [b"seg1", b"seg2", b"seg3"]
    assert piggybacked(request, response, "2.05") and printed == b"deep\n"


def test_TD_COAP_CORE_14_several_uri_query(stage):
    stage.exists()
    _, request, response = stage.run(path=f"{stage.test}?first=1&second=2&third=3")
    assert request.all(URI_QUERY) == [b"first=1", b"second=2", b"third=3"]
    assert piggybacked(request, response, "2.05") and response.payload


@pytest.mark.parametrize("towards", [TO_SERVER, TO_CLIENT])
def test_TD_COAP_CORE_15_lossy_get(stage, towards):
    stage.exists()
    stage.relay.policy = lambda seen: int(seen.towards != towards or bool(stage.relay.messages(towards)))
    printed, request, response = stage.run()
    assert printed == b"a value\n" and piggybacked(request, response, "2.05")
    sent = stage.relay.requests
    assert sent == [request] * 2
    assert [seen.copies for seen in stage.relay.seen if seen.towards == towards] == [0, 1]


def test_TD_COAP_CORE_18_several_location_path(stage, unique):
    # A map of topic-name and resource-type (draft-ietf-core-coap-pubsub).
    name = unique.encode()
    creation = b"\xa2\x00" + bytes([0x60 + len(name)]) + name + b"\x02\x6ccore.ps.data"
    with Wire(stage.relay.server) as wire:
        response = wire.ask(POST, "ps", creation, (CONTENT_FORMAT, PUBSUB))
        assert response.spelled == "2.01", response
        location = [value.decode() for value in response.all(LOCATION_PATH)]
        assert len(location) >= 2 and not any("/" in segment for segment in location)
        assert wire.ask(GET, "/".join(location)).spelled == "2.05"


def test_TD_COAP_CORE_20_accept(stage):
    stage.test += "/x"
    stage.exists()
    collection = stage.test.replace("/x", "/+")
    for wanted in (CBOR, SENML_JSON):
        _, request, response = stage.run("-A", str(wanted), path=collection)
        assert request.uint(ACCEPT) == wanted and piggybacked(request, response, "2.05")
        assert response.uint(CONTENT_FORMAT) == wanted and response.payload
    _, request, response = stage.run("-A", str(TEXT))
    assert piggybacked(request, response, "2.05") and response.uint(CONTENT_FORMAT) == TEXT
    _, request, response = stage.run("-A", str(JSON), check=False)
    assert piggybacked(request, response, "4.06")


def test_TD_COAP_CORE_21_etag(stage):
    stage.exists("one")
    _, request, first = stage.run()
    assert piggybacked(request, first, "2.05") and not request.all(ETAG)
    [tag] = first.all(ETAG)
    with Wire(stage.relay.server) as wire:
        valid = wire.ask(GET, stage.test, b"", (ETAG, tag))
        assert (valid.spelled, valid.all(ETAG), valid.payload) == ("2.03", [tag], b"")
        alternatives = wire.ask(GET, stage.test, b"", (ETAG, b"other"), (ETAG, tag))
        assert (alternatives.spelled, alternatives.all(ETAG)) == ("2.03", [tag])
        stage.exists("two")
        changed = wire.ask(GET, stage.test, b"", (ETAG, tag))
        assert (changed.spelled, changed.payload) == ("2.05", b"two") and changed.all(ETAG) not in ([], [tag])


def test_TD_COAP_CORE_22_if_match(stage):
    stage.exists("one")
    _, _, first = stage.run()
    [tag] = first.all(ETAG)
    with Wire(stage.relay.server) as wire:
        assert wire.ask(PUT, stage.test, b"two", (IF_MATCH, tag), (CONTENT_FORMAT, TEXT)).spelled == "2.04"
        second = wire.ask(GET, stage.test)
        [tag] = second.all(ETAG)
        assert second.payload == b"two"
        assert wire.ask(PUT, stage.test, b"three", (CONTENT_FORMAT, TEXT)).spelled == "2.04"
        assert wire.ask(PUT, stage.test, b"four", (IF_MATCH, tag), (CONTENT_FORMAT, TEXT)).spelled == "4.12"
        assert wire.ask(PUT, stage.test, b"three again", (IF_MATCH, b""), (CONTENT_FORMAT, TEXT)).spelled == "2.04"
    assert stage.run()[0] == b"three again\n"


def test_TD_COAP_CORE_23_if_none_match(stage):
    with Wire(stage.relay.server) as wire:
        for value, expected in [(b"one", "2.01"), (b"two", "4.12")]:
            assert wire.ask(PUT, stage.test, value, (IF_NONE_MATCH, b""), (CONTENT_FORMAT, TEXT)).spelled == expected
    assert stage.run()[0] == b"one\n"


def test_TD_COAP_CORE_31_ping(stage):
    with Wire(stage.relay.port) as wire:
        wire.send(Message(CON, 0, 0x1234))
        assert wire.take() == Message(RST, 0, 0x1234)
    assert [len(seen.data) for seen in stage.relay.seen] == [4, 4]
