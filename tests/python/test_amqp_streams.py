"""Streams: queues that are read from any place and keep what was read."""

import datetime

import pytest

from amqp_peer import Inbox, disconnected, publish, refused, settle


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def stream(amqp, channel):
    """Declares streams that go with the test."""
    made = []

    def make(count=0, **arguments):
        name = amqp.name(f"s{len(made)}")
        arguments = {argument.replace("_", "-"): value for argument, value in arguments.items()}
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream", **arguments})
        made.append(name)
        publish(channel, "", name, *[str(n) for n in range(count)])
        return name

    yield make
    cleaner = amqp.channel()
    for name in made:
        cleaner.queue_delete(name)


def reader(channel, stream, offset=None, prefetch=100):
    own = channel.connection.channel()
    own.basic_qos(prefetch_count=prefetch)
    return Inbox(own, stream, arguments={} if offset is None else {"x-stream-offset": offset})


def offset_of(delivery):
    return delivery.properties.headers["x-stream-offset"]


def test_many_read_the_same_from_the_beginning(channel, stream):
    name = stream(20)
    for _ in range(2):
        inbox = reader(channel, name, "first")
        deliveries = [inbox.take() for _ in range(20)]
        assert [int(delivery.body) for delivery in deliveries] == list(range(20))
        assert [offset_of(delivery) for delivery in deliveries] == list(range(20))
        assert not any(delivery.method.redelivered for delivery in deliveries)


def test_without_an_offset_or_with_next_only_what_is_new_is_read(channel, stream):
    name = stream(5)
    inboxes = [reader(channel, name), reader(channel, name, "next")]
    publish(channel, "", name, "new")
    for inbox in inboxes:
        delivery = inbox.take()
        assert (delivery.body, offset_of(delivery)) == (b"new", 5)


def test_reading_begins_at_an_offset(channel, stream):
    name = stream(10)
    assert reader(channel, name, 7).bodies(3) == [b"7", b"8", b"9"]
    beyond = reader(channel, name, 12)
    publish(channel, "", name, *"abcd")
    delivery = beyond.take()
    assert (delivery.body, offset_of(delivery)) == (b"c", 12)


def test_reading_begins_at_a_time(channel, stream):
    name = stream(3)
    hour = datetime.timedelta(hours=1)
    assert reader(channel, name, datetime.datetime.now(datetime.timezone.utc) - hour).bodies(3) == [b"0", b"1", b"2"]
    assert reader(channel, name, "1h").bodies(3) == [b"0", b"1", b"2"]


def test_last_begins_with_what_came_last(channel, stream):
    name = stream(10)
    inbox = reader(channel, name, "last")
    bodies = [inbox.take().body]
    while bodies[-1] != b"9":
        bodies.append(inbox.take().body)
    assert bodies == [str(n).encode() for n in range(10)][-len(bodies):]


def test_prefetch_bounds_the_reader_and_acks_are_credit(channel, stream):
    inbox = reader(channel, stream(50), "first", prefetch=5)
    for n in range(50):
        delivery = inbox.take()
        assert int(delivery.body) == n
        inbox.ack(delivery)


def test_what_was_acked_or_rejected_can_be_read_again(channel, stream):
    name = stream(4)
    inbox = reader(channel, name, "first")
    deliveries = [inbox.take() for _ in range(4)]
    inbox.channel.basic_ack(deliveries[1].method.delivery_tag, multiple=True)
    settle(inbox.channel)
    inbox.channel.close()
    assert reader(channel, name, "first").bodies(4) == [b"0", b"1", b"2", b"3"]


def test_properties_and_headers_are_kept(channel, stream):
    name = stream()
    publish(channel, "", name, "m", headers={"a": 1, "b": "c"}, message_id="7", content_type="text/plain")
    properties = reader(channel, name, "first").take().properties
    assert properties.headers == {"a": 1, "b": "c", "x-stream-offset": 0}
    assert (properties.message_id, properties.content_type) == ("7", "text/plain")


@pytest.mark.parametrize("use, code", [
    (lambda c, name: c.basic_get(name), 540),
    (lambda c, name: c.queue_purge(name), 540),
    (lambda c, name: c.basic_consume(name, print, auto_ack=True), 540),
    (lambda c, name: c.basic_consume(name, print), 406),
], ids=["get", "purge", "auto ack", "no prefetch"])
def test_what_streams_cannot_do(amqp, stream, use, code):
    name = stream(1)
    own = amqp.connect().channel()
    if code == 406:
        own.basic_qos(prefetch_count=0)
    else:
        own.basic_qos(prefetch_count=10)
    with (refused if code == 406 else disconnected)(code):
        use(own, name)


@pytest.mark.tercet_only("3.10 answers with an internal error")
@pytest.mark.parametrize("offset", ["middle", "1x", True], ids=str)
def test_offsets_that_mean_nothing(channel, stream, offset):
    with refused(406):
        reader(channel, stream(1), offset)


@pytest.mark.parametrize("arguments", [
    {"x-max-age": "1x"}, {"x-max-age": 5}, {"x-message-ttl": 1000}, {"x-max-priority": 3}, {"x-dead-letter-exchange": ""},
    {"x-max-length-bytes": -1}], ids=str)
def test_arguments_that_are_not_for_streams(channel, amqp, arguments):
    with refused(406):
        channel.queue_declare(amqp.name(), durable=True, arguments={"x-queue-type": "stream", **arguments})


def test_old_segments_go_when_there_are_too_many_bytes(channel, stream, on_rabbitmq):
    segment = 4_000_000 if on_rabbitmq else 100_000
    name = stream(x_max_length_bytes=2 * segment, x_stream_max_segment_size_bytes=segment)
    publish(channel, "", name, *[str(n).ljust(segment // 20) for n in range(100)])
    first = reader(channel, name, "first", prefetch=1).take()
    assert 0 < int(first.body) < 100 and offset_of(first) > 0


@pytest.mark.tercet_only("came with version 3.13")
def test_readers_may_filter(channel, stream):
    name = stream()
    for n in range(30):
        headers = {"x-stream-filter-value": "ab"[n % 2]} if n % 3 else {}
        publish(channel, "", name, str(n), headers=headers)
    own = channel.connection.channel()
    own.basic_qos(prefetch_count=100)
    # Filters are a first sieve: what they let through is a superset of what was asked for.
    inbox = Inbox(own, name, arguments={"x-stream-offset": "first", "x-stream-filter": "a"})
    wanted = {n for n in range(30) if n % 3 and n % 2 == 0}
    while not wanted <= {int(body) for body in inbox.log}:
        inbox.take()


def test_deleting_a_stream_ends_its_readers(channel, stream, amqp):
    name = stream(1)
    inbox = reader(channel, name, "first")
    inbox.take()
    amqp.channel().queue_delete(name)
    inbox.wait_cancelled()
