"""The plugtests of ETSI and IPSO, TD_COAP_OBS, with a topic of the broker as the observed resource. Number 3 does not exist;
number 4 is a client's and stands in test_coap_etsi_client.py.
"""

import pytest

import coap_broker as coap_brokers
from coap_relay import TO_CLIENT, Lossy, Relay
from coap_tools import observing
from coap_wire import (ACK, BLOCK2, CON, CONTENT_FORMAT, DELETE, GET, JSON, NON, OBSERVE, PUT, TEXT, Wire)

# Every notification is confirmable, and who does not answer is given up within a second.
ALWAYS_CONFIRMABLE = """
[coap]
confirm-every = 1
ack-timeout = "100ms"
max-retransmit = 2
"""


@pytest.fixture(scope="module")
def con_broker(tmp_path_factory):
    running = coap_brokers.start(tmp_path_factory.mktemp("con"), ALWAYS_CONFIRMABLE)
    yield running
    running.stop()


@pytest.fixture
def publisher(con_broker):
    with Wire(con_broker.coap_port) as wire:
        yield wire


@pytest.fixture
def observer(con_broker):
    with Wire(con_broker.coap_port) as wire:
        yield wire


@pytest.fixture
def obs(publisher, unique):
    """A topic that has the value "0"."""
    put(publisher, f"ps/{unique}", "0")
    return f"ps/{unique}"


def put(wire, where, value, content_format=TEXT):
    answer = wire.ask(PUT, where, value if isinstance(value, bytes) else value.encode(), (CONTENT_FORMAT, content_format))
    assert answer.spelled in ("2.01", "2.04"), answer


def register(wire, where, *options, **others):
    answer = wire.ask(GET, where, b"", (OBSERVE, 0), *options, **others)
    assert answer.spelled == "2.05" and answer.uint(OBSERVE) is not None, answer
    return answer


def newer(first, second):
    """RFC 7641 §3.4, within 128 seconds."""
    return 0 < (second.uint(OBSERVE) - first.uint(OBSERVE)) % (1 << 24) < 1 << 23


def is_notification(message, of, value):
    return (message.spelled, message.token, message.payload, message.uint(CONTENT_FORMAT)) \
        == ("2.05", of.token, value.encode(), of.uint(CONTENT_FORMAT)) and newer(of, message)


def assert_silent(wire, publisher, where, *tokens):
    """No observation with one of these tokens is told of a change that another one of the same client is told of."""
    witness = register(wire, where, token=b"witness")
    put(publisher, where, "for the witness")
    while (message := wire.notification()).token != witness.token:
        assert message.token not in tokens, message
    assert not [message for message in wire.settled() if message.token in tokens]


def test_TD_COAP_OBS_01_con(con_broker, publisher, obs):
    with Relay(con_broker.coap_port) as relay, observing(f"coap://127.0.0.1:{relay.port}/{obs}") as observer:
        assert observer.stdout.readline() == b"0\n"
        [request], [first] = relay.requests, relay.responses
        assert (request.kind, request.code, request.all(OBSERVE)) == (CON, GET, [b""])
        assert (first.kind, first.spelled, first.token, first.uint(CONTENT_FORMAT)) == (ACK, "2.05", request.token, TEXT)
        for value in "123":
            put(publisher, obs, value)
            assert observer.stdout.readline() == value.encode() + b"\n"
            previous, last = relay.responses[-2:]
            assert last.kind == CON and is_notification(last, first, value) and newer(previous, last)
            relay.wait(lambda seen, id=last.id: any((one.message.kind, one.message.id) == (ACK, id) for one in seen), "ACK")


def test_TD_COAP_OBS_02_non(coap_broker, unique):
    where = f"ps/{unique}"
    with Relay(coap_broker.coap_port) as relay, Wire(coap_broker.coap_port) as publisher:
        put(publisher, where, "0")
        with observing(f"coap://127.0.0.1:{relay.port}/{where}", "-N") as observer:
            assert observer.stdout.readline() == b"0\n"
            [request], [first] = relay.requests, relay.responses
            assert (request.kind, request.code, request.all(OBSERVE), first.kind) == (NON, GET, [b""], NON)
            for value in "123456":
                put(publisher, where, value)
                assert observer.stdout.readline() == value.encode() + b"\n"
            notifications = relay.responses[1:]
            # The first one is confirmable, to see that somebody is there; so is what changes before that is clear.
            kinds = [message.kind for message in notifications]
            assert kinds[0] == CON and kinds[2:] == [NON] * 4
            assert all(is_notification(message, first, value) for message, value in zip(notifications, "123456"))


def test_TD_COAP_OBS_05_client_off(observer, publisher, obs):
    first = register(observer, obs, token=b"off")
    put(publisher, obs, "1")
    sent = [observer.take()]
    assert sent[0].kind == CON and is_notification(sent[0], first, "1")
    put(publisher, obs, "2")
    while len(sent) < 3:
        sent.append(observer.take())
    # What is sent again shows the newer state, with a number and a message id of its own.
    assert all(message.kind == CON and message.token == b"off" for message in sent)
    assert sent[-1].payload == b"2" and newer(sent[0], sent[-1]) and sent[-1].id != sent[0].id
    await_given_up(observer, publisher, obs)


def await_given_up(observer, publisher, where):
    """Publishes until nothing comes of it but the witness's notification."""
    for number in range(20):
        witness = f"w{number}".encode()
        register(observer, where, token=witness)
        put(publisher, where, f"again {number}")
        seen = set()
        while witness not in seen:
            message = observer.take()
            seen.add(message.token)
            if message.token != b"off" and message.kind == CON:
                observer.acknowledge(message)
        if b"off" not in seen:
            return
    raise AssertionError("it never gives up")


def test_TD_COAP_OBS_06_reset(observer, publisher, obs):
    first = register(observer, obs, token=b"gone")
    put(publisher, obs, "1")
    notification = observer.take()
    assert notification.kind == CON and is_notification(notification, first, "1")
    observer.reset(notification)
    assert_silent(observer, publisher, obs, b"gone")


def test_TD_COAP_OBS_06_reset_of_a_non(coap_broker, unique):
    where = f"ps/{unique}"
    with Wire(coap_broker.coap_port) as observer, Wire(coap_broker.coap_port) as publisher:
        put(publisher, where, "0")
        register(observer, where, token=b"gone")
        put(publisher, where, "1")
        assert observer.notification().kind == CON
        put(publisher, where, "2")
        notification = observer.take()
        assert notification.kind == NON
        observer.reset(notification)
        assert_silent(observer, publisher, where, b"gone")


def test_TD_COAP_OBS_07_delete(observer, publisher, obs):
    first = register(observer, obs, token=b"deleted")
    assert publisher.ask(DELETE, obs).spelled == "2.02"
    last = observer.notification()
    assert (last.kind, last.spelled, last.token, last.all(OBSERVE)) == (CON, "4.04", first.token, [])
    put(publisher, obs, "again")
    assert_silent(observer, publisher, obs, b"deleted")


def test_TD_COAP_OBS_08_content_format(observer, publisher, obs):
    first = register(observer, obs, token=b"text")
    put(publisher, obs, "{}", JSON)
    last = observer.notification()
    assert (last.kind, last.spelled, last.token, last.all(OBSERVE)) == (CON, "4.06", first.token, [])
    assert_silent(observer, publisher, obs, b"text")


def test_TD_COAP_OBS_09_update(con_broker, publisher, obs):
    with Relay(con_broker.coap_port) as relay, observing(f"coap://127.0.0.1:{relay.port}/{obs}") as observer:
        assert observer.stdout.readline() == b"0\n"
        put(publisher, obs, "another value")
        assert observer.stdout.readline() == b"another value\n"
        first, last = relay.responses
        assert last.kind == CON and is_notification(last, first, "another value")


def test_TD_COAP_OBS_10_get_does_not_cancel(observer, publisher, obs):
    first = register(observer, obs)
    plain = observer.ask(GET, obs)
    assert (plain.spelled, plain.all(OBSERVE), plain.uint(CONTENT_FORMAT)) == ("2.05", [], TEXT)
    put(publisher, obs, "1")
    assert is_notification(observer.notification(), first, "1")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_TD_COAP_OBS_11_lossy(con_broker, publisher, obs, seed):
    with Relay(con_broker.coap_port) as relay, Wire(relay.port) as observer:
        first = register(observer, obs)
        relay.policy = Lossy(seed, spare=1)
        last = None
        for number in range(1, 6):
            put(publisher, obs, str(number))
            while last is None or last.payload != str(number).encode():
                got = observer.notification()
                assert got.kind == CON and got.token == first.token
                last = got if last is None or newer(last, got) else last
        relay.policy = lambda seen: 1
        # One is out at a time: another message id only behind an answer, or with a newer state.
        outstanding = None
        for seen in relay.seen[2:]:
            message = seen.message
            if seen.towards == TO_CLIENT and message.kind == CON:
                assert outstanding is None or message.id == outstanding.id or message.payload != outstanding.payload
                outstanding = message
            elif message.kind == ACK and seen.copies and outstanding and message.id == outstanding.id:
                outstanding = None


def test_TD_COAP_OBS_12_observe_1_cancels(observer, publisher, obs):
    first = register(observer, obs, token=b"mine")
    last = observer.ask(GET, obs, b"", (OBSERVE, 1), token=first.token)
    assert (last.spelled, last.all(OBSERVE), last.payload) == ("2.05", [], b"0")
    assert_silent(observer, publisher, obs, first.token)


def blocks(wire, where, first, size):
    """The rest of a body whose first block came, by requests with tokens of their own and without Observe."""
    body, (number, more, got) = first.payload, first.block(BLOCK2)
    assert (number, got, len(body)) == (0, size, min(size, len(body)))
    while more:
        number += 1
        answer = wire.ask(GET, where, b"", (BLOCK2, number << 4 | size.bit_length() - 5))
        assert (answer.spelled, answer.all(OBSERVE), answer.all(4)) == ("2.05", [], first.all(4))
        assert answer.block(BLOCK2)[0] == number
        body, more = body + answer.payload, answer.block(BLOCK2)[1]
    return body


def test_TD_COAP_OBS_13_large(observer, publisher, obs):
    put_large(publisher, obs, b"a" * 1500)
    first = register(observer, obs, (BLOCK2, 2))
    assert blocks(observer, obs, first, 64) == b"a" * 1500
    for value in (b"b" * 1500, b"c" * 1500):
        put_large(publisher, obs, value)
        notification = observer.notification()
        assert newer(first, notification) and notification.block(BLOCK2) == (0, True, 64)
        assert blocks(observer, obs, notification, 64) == value


def test_TD_COAP_OBS_14_variable_size(observer, publisher, obs):
    first = register(observer, obs)
    for length in (3000, 5, 1025, 1024):
        put_large(publisher, obs, b"x" * length)
        notification = observer.notification()
        assert newer(first, notification)
        if length <= 1024:
            assert notification.payload == b"x" * length
        else:
            assert blocks(observer, obs, notification, 1024) == b"x" * length


def put_large(wire, where, value, size=1024):
    """A value in blocks, if one is not enough."""
    for number, start in enumerate(range(0, len(value), size)):
        more = start + size < len(value)
        option = [] if len(value) <= size else [(27, number << 4 | more << 3 | size.bit_length() - 5)]
        answer = wire.ask(PUT, where, value[start:start + size], (CONTENT_FORMAT, TEXT), *option)
        assert answer.spelled in (("2.31",) if more else ("2.01", "2.04")), answer
