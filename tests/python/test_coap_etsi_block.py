"""The plugtests of ETSI and IPSO, TD_COAP_BLOCK and TD_COAP_LINK, with coap-client of libcoap."""

import re

import pytest

from coap_relay import Relay
from coap_tools import client, server
from coap_wire import (ACK, BLOCK1, BLOCK2, CONTENT_FORMAT, DELETE, FETCH, GET, LINKS, LOCATION_PATH, POST, PUBSUB, PUT, Wire)

LARGE = bytes(range(32, 127)) * 40


@pytest.fixture
def relay(coap_broker):
    with Relay(coap_broker.coap_port) as running:
        yield running


@pytest.fixture
def large(relay, unique, tmp_path):
    """A topic with a large text."""
    (tmp_path / "large").write_bytes(LARGE)
    client(url(relay, f"ps/{unique}"), "-m", "put", "-t", "0", "-f", str(tmp_path / "large"))
    relay.seen.clear()
    return f"ps/{unique}"


def url(relay, path):
    return f"coap://127.0.0.1:{relay.port}/{path}"


def exchanges(relay):
    """Requests with their responses."""
    answers = {message.id: message for message in relay.responses if message.kind == ACK}
    return [(request, answers[request.id]) for request in relay.requests]


def check_download(relay, size, first=None):
    """That the large text was got in blocks of this size, one behind the other, with the same ETag."""
    pairs = exchanges(relay)
    last = (len(LARGE) - 1) // size
    assert len(pairs) == last + 1 and pairs[0][0].block(BLOCK2) == first
    for number, (request, response) in enumerate(pairs):
        if number:
            assert request.block(BLOCK2) == (number, False, size)
        assert (response.spelled, response.block(BLOCK2)) == ("2.05", (number, number < last, size))
        assert len(response.payload) == (size if number < last else len(LARGE) - last * size)
        assert response.all(4) == pairs[0][1].all(4) != []


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_TD_COAP_BLOCK_01_get_early(relay, large, size):
    assert client(url(relay, large), "-b", str(size)) == LARGE + b"\n"
    check_download(relay, size, (0, False, size))


def test_TD_COAP_BLOCK_02_get_late(relay, large):
    assert client(url(relay, large)) == LARGE + b"\n"
    check_download(relay, 1024)


def test_TD_COAP_BLOCK_06_get_early_16(relay, large):
    assert client(url(relay, large), "-b", "16") == LARGE + b"\n"
    check_download(relay, 16, (0, False, 16))


def check_upload(relay, size, final):
    pairs = [(request, response) for request, response in exchanges(relay) if request.block(BLOCK1)]
    last = (len(LARGE) - 1) // size
    assert [request.block(BLOCK1) for request, _ in pairs] == [(number, number < last, size) for number in range(last + 1)]
    for number, (_, response) in enumerate(pairs):
        assert response.spelled == ("2.31" if number < last else final)
        assert response.block(BLOCK1) == (number, number < last, size)
    return pairs


@pytest.mark.parametrize("size", [16, 512, 1024])
def test_TD_COAP_BLOCK_03_put(relay, large, tmp_path, size):
    client(url(relay, large), "-m", "put", "-t", "0", "-b", str(size), "-f", str(tmp_path / "large"))
    check_upload(relay, size, "2.04")
    with Wire(relay.server) as wire:
        assert wire.ask(GET, large).payload == LARGE[:1024]


def creation(name, *properties):
    """A new topic's configuration: name, resource type and more, as CBOR."""
    import cbor2
    return cbor2.dumps({0: name, 2: "core.ps.data", **dict(properties)})


def test_TD_COAP_BLOCK_04_post_creates(relay, unique, tmp_path):
    name = f"{unique}/{'long' * 50}"
    (tmp_path / "config").write_bytes(creation(name))
    client(url(relay, "ps"), "-m", "post", "-t", str(PUBSUB), "-b", "64", "-f", str(tmp_path / "config"))
    pairs = exchanges(relay)
    uploads = [(request, response) for request, response in pairs if request.block(BLOCK1)]
    assert [response.spelled for _, response in uploads] == ["2.31"] * (len(uploads) - 1) + ["2.01"]
    location = [value.decode() for value in uploads[-1][1].all(LOCATION_PATH)]
    assert len(location) >= 2 and not any("/" in segment for segment in location)
    assert client(url(relay, "/".join(location))).rstrip(b"\n")


def test_TD_COAP_BLOCK_05_post_both_ways(relay, unique):
    """A request in blocks whose answer comes in blocks: the configuration of a topic with a long name."""
    import cbor2
    body, size = creation(f"{unique}/{'long' * 50}"), 64
    with Wire(relay.server) as wire:
        last = (len(body) - 1) // size
        for number in range(last + 1):
            part = body[number * size:(number + 1) * size]
            block = number << 4 | (number < last) << 3 | 2
            early = [(BLOCK2, 2)] if number == last else []
            answer = wire.ask(POST, "ps", part, (CONTENT_FORMAT, PUBSUB), (BLOCK1, block), *early)
            assert answer.spelled == ("2.31" if number < last else "2.01") and answer.block(BLOCK1)[0] == number
        got, number = answer.payload, 0
        assert answer.block(BLOCK2) == (0, True, size)
        while answer.block(BLOCK2)[1]:
            number += 1
            answer = wire.ask(POST, "ps", b"", (CONTENT_FORMAT, PUBSUB), (BLOCK2, number << 4 | 2))
            assert answer.spelled == "2.01" and answer.block(BLOCK2)[0] == number
            got += answer.payload
    assert cbor2.loads(got)[0] == f"{unique}/{'long' * 50}"


# What is between angle brackets, and the attributes behind.
LINK = re.compile(r"<([^>]*)>([^,<]*)")


def links(wire, where, method=GET, *more):
    """The links of a list, with their attributes; None if nothing fits."""
    answer = wire.ask(method, where, *more)
    body, number = answer.payload, 0
    while (block := answer.block(BLOCK2)) and block[1]:
        number += 1
        answer = wire.ask(method, where, b"", (BLOCK2, number << 4 | block[2].bit_length() - 5))
        body += answer.payload
    assert (answer.spelled, answer.uint(CONTENT_FORMAT)) == ("2.05", LINKS), answer
    found = {}
    for target, attributes in LINK.findall(body.decode()):
        pairs = (part.partition("=") for part in attributes.split(";") if part)
        found[target] = {name: value.strip('"') for name, _, value in pairs}
    return found


def has(link, name, value):
    return value in link.get(name, "").split()


@pytest.fixture
def wire(coap_broker):
    with Wire(coap_broker.coap_port) as running:
        yield running


@pytest.fixture
def topic(wire, unique):
    """A topic of the broker with a configuration, and its resource."""
    answer = wire.ask(POST, "ps", creation(f"{unique}/t"), (CONTENT_FORMAT, PUBSUB))
    assert answer.spelled == "2.01", answer
    where = "/".join(value.decode() for value in answer.all(LOCATION_PATH))
    yield f"/{where}"
    wire.ask(DELETE, where)


def test_TD_COAP_LINK_01_discovery(coap_broker, wire):
    found = links(wire, ".well-known/core")
    assert any(has(link, "rt", "core.ps.coll") for link in found.values())
    printed = client(f"coap://127.0.0.1:{coap_broker.coap_port}/.well-known/core").decode()
    assert {target for target, _ in LINK.findall(printed)} >= set(found)


def test_TD_COAP_LINK_02_filter_by_type(wire):
    every = links(wire, ".well-known/core")
    for kind in {kind for link in every.values() for kind in link.get("rt", "").split()}:
        found = links(wire, f".well-known/core?rt={kind}")
        assert found == {target: link for target, link in every.items() if has(link, "rt", kind)} != {}


def test_TD_COAP_LINK_03_empty_prefix(wire):
    every = links(wire, ".well-known/core")
    assert links(wire, ".well-known/core?rt=*") == {target: link for target, link in every.items() if "rt" in link}


def test_TD_COAP_LINK_04_several_types(wire):
    """A type that stands beside another one in the same attribute."""
    every = links(wire, ".well-known/core")
    [(target, kinds)] = [(target, link["rt"].split()) for target, link in every.items() if len(link.get("rt", "").split()) > 1][:1]
    for kind in kinds:
        assert target in links(wire, f".well-known/core?rt={kind}")


@pytest.mark.parametrize("attribute, prefix", [("rt", "core.ps"), ("rt", "core."), ("if", "core"), ("sz", "")])
def test_TD_COAP_LINK_05_06_prefixes(wire, attribute, prefix):
    every = links(wire, ".well-known/core")
    wanted = {target: link for target, link in every.items()
              if attribute in link and any(value.startswith(prefix) for value in link[attribute].split())}
    answer = wire.ask(GET, f".well-known/core?{attribute}={prefix}*")
    if wanted:
        assert links(wire, f".well-known/core?{attribute}={prefix}*") == wanted
    else:
        assert answer.spelled in ("2.05", "4.04") and not answer.payload or answer.spelled == "4.04"


def test_TD_COAP_LINK_07_08_by_target(wire):
    every = links(wire, ".well-known/core")
    for target in every:
        assert links(wire, f".well-known/core?href={target}") == {target: every[target]}
    assert links(wire, ".well-known/core?href=/p*") == {target: link for target, link in every.items() if target.startswith("/p")}


def test_TD_COAP_LINK_09_hierarchy(wire, topic):
    """From discovery to the collection, from there to a topic, and from the topic to its value."""
    import cbor2
    [collection] = [target for target, link in links(wire, ".well-known/core").items() if has(link, "rt", "core.ps.coll")]
    assert collection == "/ps"
    assert has(links(wire, collection)[topic], "rt", "core.ps.conf")
    config = cbor2.loads(wire.ask(GET, topic).payload)
    value = config[1]
    assert wire.ask(PUT, value, b"value").spelled == "2.01"
    assert wire.ask(GET, value).payload == b"value"
    assert value in links(wire, f"{collection}?rt=core.ps.data")
    found = links(wire, collection, FETCH, cbor2.dumps({0: config[0]}), (CONTENT_FORMAT, PUBSUB))
    assert set(found) == {topic}


def test_the_cases_are_true_of_libcoap():
    """coap-server answers a filter in the same way: what is expected here is no invention of ours."""
    with server() as port, Wire(port) as wire:
        every = links(wire, ".well-known/core")
        assert links(wire, ".well-known/core?rt=ticks") == {target: link for target, link in every.items() if has(link, "rt", "ticks")}
        assert links(wire, ".well-known/core?href=/t*") == {target: link for target, link in every.items() if target.startswith("/t")}
