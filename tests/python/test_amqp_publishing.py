"""Publishing: properties, returns, confirms, carbon copies, direct reply-to, user-id and transactions."""

import datetime
import struct

import pytest
from pika import frame, spec
from pika.exceptions import UnroutableError

from amqp_peer import Inbox, declare, drain, get, publish, ready, refused, settle, until, wait_ready
from amqp_wire import Publish, Wire

REPLY_TO = "amq.rabbitmq.reply-to"


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def plain(amqp):
    """A channel without confirms."""
    return amqp.channel(confirm=False)


@pytest.fixture
def wire(amqp):
    with Wire(amqp.port) as one:
        yield one.open().open_channel()


ALL_PROPERTIES = {
    "content_type": "text/plain", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 7, "correlation_id": "c-1",
    "reply_to": "somewhere", "message_id": "m-1", "timestamp": 1_700_000_000, "type": "kind", "user_id": "guest",
    "app_id": "tests", "cluster_id": "ignored", "expiration": "60000",
}
HEADERS = {
    "text": "ä€𝄞", "empty": "", "yes": True, "no": False, "nothing": None, "small": 7, "negative": -7, "large": 1 << 40,
    "bytes": b"\x00\xff", "when": datetime.datetime(2026, 1, 2, 3, 4, 5),
    "list": [1, "two", [3, None], {"four": 4}], "table": {"a": {"b": {"c": [True]}}},
}


def test_every_property_and_kind_of_header_arrives(channel):
    queue = declare(channel)
    publish(channel, "", queue, "m", headers=HEADERS, **ALL_PROPERTIES)
    properties = get(channel, queue).properties
    assert {name: getattr(properties, name) for name in ALL_PROPERTIES} == ALL_PROPERTIES
    headers = {name: value.encode() if name == "bytes" and isinstance(value, str) else value
               for name, value in properties.headers.items()}
    headers["when"] = headers["when"].replace(tzinfo=None)
    assert headers == HEADERS


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 262_128, 1_000_000])
def test_bodies_of_any_size_arrive_whole(channel, size):
    queue = declare(channel)
    body = bytes(n * 31 % 251 for n in range(min(size, 1000))) * (size // 1000 + 1)
    publish(channel, "", queue, body[:size])
    assert get(channel, queue).body == body[:size]


def test_without_mandatory_what_routes_nowhere_is_confirmed(channel, amqp):
    publish(channel, "", amqp.name("missing"), "m")


def test_a_mandatory_message_that_routes_nowhere_comes_back(channel, amqp):
    with pytest.raises(UnroutableError) as caught:
        publish(channel, "amq.direct", amqp.name("missing"), "the body", mandatory=True, headers={"a": 1}, message_id="7",
                expiration="100")
    (returned,) = caught.value.messages
    method = returned.method
    assert (method.reply_code, method.reply_text) == (312, "NO_ROUTE")
    assert (method.exchange, method.routing_key) == ("amq.direct", amqp.name("missing"))
    assert (returned.body, returned.properties.headers, returned.properties.message_id) == (b"the body", {"a": 1}, "7")
    assert returned.properties.expiration == "100"


def test_a_returned_message_hides_its_blind_copies(channel, amqp):
    with pytest.raises(UnroutableError) as caught:
        publish(channel, "amq.direct", amqp.name("missing"), "m", mandatory=True,
                headers={"BCC": [amqp.name("blind")], "CC": [amqp.name("seen")], "a": 1})
    assert caught.value.messages[0].properties.headers == {"CC": [amqp.name("seen")], "a": 1}


def test_the_return_comes_before_the_confirm(wire, amqp):
    wire.call(1, spec.Confirm.Select())
    wire.send(1, Publish("", amqp.name("missing"), b"m", mandatory=True))
    wire.expect(spec.Basic.Return)
    wire.content()
    assert wire.expect(spec.Basic.Ack).delivery_tag == 1


def test_a_mandatory_message_that_routes_is_not_returned(channel):
    queue = declare(channel)
    publish(channel, "", queue, "m", mandatory=True)
    assert ready(channel, queue) == 1


def test_every_publish_is_confirmed_once(wire):
    assert isinstance(wire.call(1, spec.Confirm.Select()), spec.Confirm.SelectOk)
    queue = wire.call(1, spec.Queue.Declare(exclusive=True)).queue
    for _ in range(500):
        wire.send(1, Publish("", queue, b"m", delivery_mode=2))
    confirmed = set()
    while len(confirmed) < 500:
        ack = wire.expect(spec.Basic.Ack)
        first = min(set(range(1, 501)) - confirmed) if ack.multiple else ack.delivery_tag
        tags = set(range(first, ack.delivery_tag + 1))
        assert tags and not tags & confirmed if not ack.multiple else tags
        confirmed |= tags
    assert confirmed == set(range(1, 501))
    assert isinstance(wire.call(1, spec.Confirm.Select()), spec.Confirm.SelectOk), "twice is fine"
    wire.send(1, Publish("", queue, b"m"))
    assert wire.expect(spec.Basic.Ack).delivery_tag == 501


def test_confirms_begin_with_the_select(wire, amqp):
    wire.send(1, Publish("", amqp.name("missing"), b"before"))
    wire.call(1, spec.Confirm.Select())
    wire.send(1, Publish("", amqp.name("missing"), b"after"))
    assert wire.expect(spec.Basic.Ack).delivery_tag == 1


def test_carbon_copies_go_to_more_keys(channel):
    to, copied, blind = declare(channel), declare(channel), declare(channel)
    publish(channel, "", to, "m", headers={"CC": [copied, copied], "BCC": [blind], "other": 1})
    for queue in (to, copied, blind):
        got = get(channel, queue)
        assert got.properties.headers == {"CC": [copied, copied], "other": 1}
        assert got.method.routing_key == to
        assert ready(channel, queue) == 0


def test_one_copy_for_a_queue_that_is_named_twice(channel):
    queue = declare(channel)
    publish(channel, "", queue, "m", headers={"CC": [queue], "BCC": [queue]})
    assert drain(channel, queue) == [b"m"]


@pytest.mark.parametrize("name", ["CC", "BCC"])
@pytest.mark.parametrize("value", ["a string", 5, {"a": "b"}], ids=str)
def test_carbon_copies_are_lists_of_texts(channel, name, value):
    with refused(406):
        publish(channel, "amq.direct", "k", "m", headers={name: value})


def test_the_user_id_must_be_true(channel, amqp):
    queue = declare(channel)
    publish(channel, "", queue, "m", user_id="guest")
    with refused(406, "PRECONDITION_FAILED - user_id property set to 'alice' but authenticated user was 'guest'"):
        publish(channel, "", queue, "m", user_id="alice")
    impersonator = amqp.channel(connection=amqp.connect("alice"))
    publish(impersonator, "amq.fanout", "", "m", user_id="guest")


def test_direct_reply_to(channel, amqp):
    server = amqp.channel(connection=amqp.connect())
    requests = declare(server, amqp.name())
    client = amqp.channel(confirm=False, connection=amqp.connect())
    replies = Inbox(client, REPLY_TO, auto_ack=True)
    publish(client, "", requests, "question", reply_to=REPLY_TO, correlation_id="1")
    wait_ready(server, requests, 1)
    request = get(server, requests)
    address = request.properties.reply_to
    assert address.startswith(f"{REPLY_TO}.") and request.properties.correlation_id == "1"
    server.queue_declare(address, passive=True)
    publish(server, "", address, "answer", correlation_id="1")
    reply = replies.take()
    assert (reply.body, reply.properties.correlation_id) == (b"answer", "1")
    assert (reply.method.exchange, reply.method.routing_key) == ("", address)
    client.close()
    with refused(404):
        server.queue_declare(address, passive=True)


@pytest.mark.tercet_only("3.10 answers some of them with an internal error")
def test_a_forged_reply_address_leads_nowhere(channel, amqp):
    client = amqp.channel(confirm=False, connection=amqp.connect())
    Inbox(client, REPLY_TO, auto_ack=True)
    for forged in [f"{REPLY_TO}.", f"{REPLY_TO}.1", f"{REPLY_TO}.AAAA.BBBB", f"{REPLY_TO}.g1h2"]:
        publish(channel, "", forged, "spam")
        with refused(404):
            channel.connection.channel().queue_declare(forged, passive=True)


@pytest.mark.parametrize("wrong, code, text", [
    (lambda c: c.basic_consume(REPLY_TO, print), 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"),
    (lambda c: publish(c, "amq.direct", "k", "m", reply_to=REPLY_TO), 406,
     "PRECONDITION_FAILED - fast reply consumer does not exist"),
    (lambda c: [c.basic_consume(REPLY_TO, print, auto_ack=True) for _ in range(2)], 406,
     "PRECONDITION_FAILED - reply consumer already set"),
    # Version 3.10 had looked for a queue of that name (CVE-2026-57215).
    (lambda c: c.queue_bind(REPLY_TO, "amq.fanout"), (403, 404), None),
    (lambda c: c.basic_get(REPLY_TO), 404, None),
])
def test_direct_reply_to_misused(plain, wrong, code, text, on_rabbitmq):
    if isinstance(code, tuple):
        code = code[1] if on_rabbitmq else code[0]
    with refused(code, text):
        wrong(plain)
        settle(plain)


def test_reply_consumers_can_be_cancelled_and_set_again(plain):
    Inbox(plain, REPLY_TO, auto_ack=True).cancel()
    Inbox(plain, REPLY_TO, auto_ack=True)


def test_a_transaction_publishes_at_its_commit(plain, channel):
    queue = declare(channel)
    plain.tx_select()
    publish(plain, "", queue, "a", "b")
    settle(plain)
    assert ready(channel, queue) == 0
    plain.tx_commit()
    assert drain(channel, queue) == [b"a", b"b"]
    publish(plain, "", queue, "c")
    plain.tx_rollback()
    plain.tx_commit()
    assert drain(channel, queue) == []
    publish(plain, "", queue, "d")
    plain.close()
    assert drain(channel, queue) == []


def test_a_transaction_acks_at_its_commit(plain, channel):
    queue = declare(channel)
    publish(channel, "", queue, *"0123")
    plain.tx_select()
    for _ in range(4):
        get(plain, queue, auto_ack=False)
    plain.basic_ack(1)
    plain.basic_nack(2)
    settle(plain)
    assert ready(channel, queue) == 0
    plain.tx_rollback()
    plain.basic_ack(1)
    plain.basic_reject(3, requeue=False)
    plain.basic_nack(4)
    plain.tx_commit()
    wait_ready(channel, queue, 1)
    plain.close()
    wait_ready(channel, queue, 2)
    assert [(got.body, got.method.redelivered) for got in [get(channel, queue), get(channel, queue)]] == [
        (b"1", True), (b"3", True)]


def test_a_transaction_returns_what_routes_nowhere_at_its_commit(wire, amqp):
    wire.call(1, spec.Tx.Select())
    wire.send(1, Publish("", amqp.name("missing"), b"m", mandatory=True))
    wire.call(1, spec.Basic.Qos())
    wire.send(1, spec.Tx.Commit())
    wire.expect(spec.Basic.Return)
    assert wire.content()[1] == b"m"
    wire.expect(spec.Tx.CommitOk)


@pytest.mark.parametrize("steps, text", [
    (["tx_commit"], "channel is not transactional"), (["tx_rollback"], "channel is not transactional"),
    (["tx_select", "confirm_delivery"], "cannot switch from tx to confirm mode"),
    (["confirm_delivery", "tx_select"], "cannot switch from confirm to tx mode"),
])
def test_transactions_and_confirms_exclude_each_other(plain, steps, text):
    *before, last = steps
    for step in before:
        getattr(plain, step)()
    with refused(406, f"PRECONDITION_FAILED - {text}"):
        getattr(plain, last)()


def test_a_publish_in_a_transaction_is_checked_at_once(plain, amqp):
    plain.tx_select()
    with refused(404):
        publish(plain, amqp.name("missing"), "k", "m")
        settle(plain)


def test_a_transaction_that_a_queue_rejects_in_part(plain, channel):
    full = declare(channel, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    roomy = declare(channel)
    plain.tx_select()
    publish(plain, "", full, "a", "b")
    publish(plain, "", roomy, "c")
    with refused(406, "PRECONDITION_FAILED - partial tx completion"):
        plain.tx_commit()
    assert (drain(channel, full), drain(channel, roomy)) == ([b"a"], [b"c"])


def test_several_publishers_and_consumers_share_a_queue(channel, amqp):
    queue = declare(channel)
    inboxes = [Inbox(channel.connection.channel(), queue, auto_ack=True) for _ in range(3)]
    publishers = [amqp.channel(confirm=False, connection=amqp.connect()) for _ in range(3)]
    for n in range(100):
        for number, publisher in enumerate(publishers):
            publisher.basic_publish("", queue, f"{number}:{n}".encode())
    until(channel.connection, lambda: sum(len(inbox.items) for inbox in inboxes) == 300, "300 deliveries")
    assert sorted(body for inbox in inboxes for body in inbox.log) == sorted(
        f"{number}:{n}".encode() for number in range(3) for n in range(100))


EVERY_TYPE = [
    b"t\x01", b"b\xff", b"B\xff", b"s\xff\xfe", b"u\xff\xfe", b"I\xff\xff\xff\xff", b"i\xff\xff\xff\xff", b"l" + b"\xff" * 8,
    b"f\x40\x49\x0f\xdb", b"d" + b"\x40\x09\x21\xfb\x54\x44\x2d\x18", b"D\x02\x00\x00\x01\x3a", b"S\x00\x00\x00\x02ab",
    b"x\x00\x00\x00\x02\x00\xff", b"A\x00\x00\x00\x04t\x00t\x01", b"T\x00\x00\x00\x00\x65\x53\xf1\x00",
    b"F\x00\x00\x00\x04\x01kt\x01", b"V",
]


def test_headers_arrive_byte_by_byte_as_they_were_sent(wire):
    queue = wire.call(1, spec.Queue.Declare(exclusive=True)).queue
    # Not sorted, and one name twice.
    names = [b"k%d" % (n * 7 % 17) for n in range(len(EVERY_TYPE))] + [b"k0"]
    table = b"".join(bytes([len(name)]) + name + value for name, value in zip(names, EVERY_TYPE + [b"t\x00"]))
    properties = b"\x20\x00" + struct.pack(">I", len(table)) + table
    header = struct.pack(">HHQ", 60, 0, 0) + properties
    wire.write(frame.Method(1, spec.Basic.Publish(routing_key=queue)).marshal())
    wire.write(struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce")
    wire.send(1, spec.Basic.Get(queue=queue, no_ack=True))
    while len(wire.received) < len(properties) or wire.received[-1] != 0xCE:
        wire.read_bytes()
    assert wire.received.endswith(header + b"\xce")
