"""Exchanges and arguments beyond the specification: hashing, chance, history, delay, deduplication, retries."""

import collections
import time

import pytest

from amqp_peer import Inbox, declare, drain, get, publish, ready, refused, settle, until, wait_ready


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def exchange(amqp, channel):
    made = []

    def make(kind, **options):
        name = amqp.name(f"x{len(made)}")
        channel.exchange_declare(name, kind, **options)
        made.append(name)
        return name

    yield make
    cleaner = amqp.channel()
    for name in made:
        cleaner.exchange_delete(name)


def bound(channel, exchange, key="", arguments=None, **options):
    queue = declare(channel, **options)
    channel.queue_bind(queue, exchange, key, arguments)
    return queue


def test_consistent_hash_keeps_a_key_with_its_queue(channel, exchange):
    name = exchange("x-consistent-hash")
    queues = [bound(channel, name, "10") for _ in range(4)]
    for _ in range(3):
        for n in range(100):
            publish(channel, name, f"key-{n}", str(n))
    contents = [drain(channel, queue) for queue in queues]
    assert sum(len(bodies) for bodies in contents) == 300
    homes = collections.defaultdict(set)
    for home, bodies in enumerate(contents):
        for body in bodies:
            homes[body].add(home)
    assert all(len(homes_of_one) == 1 for homes_of_one in homes.values())
    assert min(len(bodies) for bodies in contents) > 0


def test_consistent_hash_moves_little_when_a_queue_comes(channel, exchange):
    name = exchange("x-consistent-hash")
    queues = [bound(channel, name, "20") for _ in range(4)]

    def homes():
        for n in range(200):
            publish(channel, name, f"key-{n}", str(n))
        return {body: queue for queue in queues for body in drain(channel, queue)}

    before = homes()
    new = declare(channel)
    queues.append(new)
    channel.queue_bind(new, name, "20")
    after = homes()
    moved = [body for body in before if before[body] != after[body]]
    assert 0 < len(moved) < 120
    assert {after[body] for body in moved} == {new}


def test_consistent_hash_of_a_header_or_a_property(channel, exchange):
    for arguments, made in [
        ({"hash-header": "who"}, lambda n: {"headers": {"who": f"u{n}"}}),
        ({"hash-property": "message_id"}, lambda n: {"message_id": f"u{n}"}),
    ]:
        name = exchange("x-consistent-hash", arguments=arguments)
        queues = [bound(channel, name, "10") for _ in range(3)]
        for n in range(60):
            publish(channel, name, f"key-{n}", str(n % 20), **made(n % 20))
        contents = [drain(channel, queue) for queue in queues]
        assert sum(map(len, contents)) == 60
        for body in {body for bodies in contents for body in bodies}:
            assert sum(body in bodies for bodies in contents) == 1


def test_consistent_hash_wants_weights_for_keys(channel, exchange):
    name = exchange("x-consistent-hash")
    queue = declare(channel)
    with refused(406):
        channel.queue_bind(queue, name, "heavy")


def test_modulus_hash_keeps_a_key_with_its_queue(channel, exchange):
    name = exchange("x-modulus-hash")
    queues = [bound(channel, name) for _ in range(3)]
    for _ in range(2):
        for n in range(60):
            publish(channel, name, f"key-{n}", str(n))
    contents = [drain(channel, queue) for queue in queues]
    assert sum(map(len, contents)) == 120 and all(contents)
    assert all(set(collections.Counter(bodies).values()) == {2} for bodies in contents)


def test_random_gives_each_message_to_one_queue(channel, exchange):
    name = exchange("x-random")
    queues = [bound(channel, name) for _ in range(3)]
    publish(channel, name, "same", *[str(n) for n in range(120)])
    contents = [drain(channel, queue) for queue in queues]
    assert sorted(int(body) for bodies in contents for body in bodies) == list(range(120))
    assert all(contents)


@pytest.mark.tercet_only("came with version 4.0")
def test_local_random_gives_each_message_to_one_queue(channel, exchange):
    name = exchange("x-local-random")
    queues = [bound(channel, name) for _ in range(2)]
    publish(channel, name, "", *[str(n) for n in range(60)])
    assert sorted(int(body) for queue in queues for body in drain(channel, queue)) == list(range(60))


def test_recent_history_gives_the_last_to_who_comes(channel, exchange):
    name = exchange("x-recent-history", arguments={"x-recent-history-length": 3})
    early = bound(channel, name)
    publish(channel, name, "k", *"abcd")
    publish(channel, name, "k", "secret", headers={"x-recent-history-no-store": True})
    late = bound(channel, name)
    wait_ready(channel, late, 3)
    assert drain(channel, early) == [b"a", b"b", b"c", b"d", b"secret"]
    assert drain(channel, late) == [b"b", b"c", b"d"]


def test_recent_history_keeps_twenty_by_default(channel, exchange):
    name = exchange("x-recent-history")
    publish(channel, name, "k", *[str(n) for n in range(25)])
    late = bound(channel, name)
    wait_ready(channel, late, 20)
    assert drain(channel, late) == [str(n).encode() for n in range(5, 25)]


DELAYED = pytest.mark.tercet_only("a plugin that Debian has no package of")


@DELAYED
def test_a_delayed_message_comes_when_it_is_due(channel, exchange):
    name = exchange("x-delayed-message", arguments={"x-delayed-type": "direct"})
    queue = bound(channel, name, "k")
    inbox = Inbox(channel, queue, auto_ack=True)
    began = time.monotonic()
    publish(channel, name, "k", "late", headers={"x-delay": 300})
    publish(channel, name, "k", "soon", headers={"x-delay": 100})
    publish(channel, name, "k", "now")
    arrived = []
    for expected, delay in [(b"now", 0), (b"soon", 0.1), (b"late", 0.3)]:
        delivery = inbox.take()
        arrived.append(time.monotonic() - began)
        assert delivery.body == expected
        assert arrived[-1] >= delay
    assert delivery.method.exchange == name


@DELAYED
def test_a_delayed_message_routes_by_the_inner_type_when_it_is_due(channel, exchange):
    name = exchange("x-delayed-message", arguments={"x-delayed-type": "topic"})
    publish(channel, name, "a.b", "m", headers={"x-delay": 100})
    queue = bound(channel, name, "a.*")
    assert ready(channel, queue) == 0
    wait_ready(channel, queue, 1)
    got = get(channel, queue)
    assert (got.body, got.method.routing_key) == (b"m", "a.b")


@DELAYED
def test_delays_of_the_same_length_keep_their_order(channel, exchange):
    name = exchange("x-delayed-message", arguments={"x-delayed-type": "fanout"})
    queue = bound(channel, name)
    publish(channel, name, "", *[str(n) for n in range(50)], headers={"x-delay": 50})
    wait_ready(channel, queue, 50)
    assert drain(channel, queue) == [str(n).encode() for n in range(50)]


@DELAYED
def test_a_delayed_exchange_needs_an_inner_type(channel, amqp):
    for arguments in [{}, {"x-delayed-type": "unheard-of"}, {"x-delayed-type": "x-delayed-message"}]:
        with refused(406):
            channel.connection.channel().exchange_declare(amqp.name("x"), "x-delayed-message", arguments=arguments)


@DELAYED
def test_a_far_delay_is_taken(channel, exchange):
    name = exchange("x-delayed-message", arguments={"x-delayed-type": "fanout"})
    queue = bound(channel, name)
    publish(channel, name, "", "next year", headers={"x-delay": 400 * 86_400_000})
    publish(channel, name, "", "now")
    assert drain(channel, queue) == [b"now"]


DEDUPLICATION = pytest.mark.tercet_only("a plugin of a third party")


@DEDUPLICATION
def test_an_exchange_drops_what_it_has_seen(channel, exchange):
    name = exchange("direct", arguments={"x-message-deduplication": True, "x-cache-size": 100})
    queue = bound(channel, name, "k")
    for body, mark in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "2"), ("e", "3")]:
        publish(channel, name, "k", body, headers={"x-deduplication-header": mark})
    publish(channel, name, "k", "f", "f")
    assert drain(channel, queue) == [b"a", b"b", b"e", b"f", b"f"]


@DEDUPLICATION
def test_a_queue_drops_what_it_has_seen(channel):
    queue = declare(channel, arguments={"x-message-deduplication": True, "x-cache-size": 100})
    for body, mark in [("a", "1"), ("b", "1"), ("c", "2")]:
        publish(channel, "", queue, body, headers={"x-deduplication-header": mark})
    assert drain(channel, queue) == [b"a", b"c"]


@DEDUPLICATION
def test_the_memory_of_deduplication_is_bounded(channel, exchange):
    name = exchange("fanout", arguments={"x-message-deduplication": True, "x-cache-size": 2})
    queue = bound(channel, name)
    for body, mark in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "1"), ("e", "3")]:
        publish(channel, name, "", body, headers={"x-deduplication-header": mark})
    assert drain(channel, queue) == [b"a", b"b", b"c", b"d"]


@DEDUPLICATION
def test_deduplication_forgets_after_a_while(channel, exchange):
    name = exchange("fanout", arguments={"x-message-deduplication": True, "x-cache-size": 10, "x-cache-ttl": 50})
    queue = bound(channel, name)

    def again():
        publish(channel, name, "", "m", headers={"x-deduplication-header": "1"})
        return ready(channel, queue) == 2

    again()
    until(channel.connection, again, "second copy")


@DEDUPLICATION
def test_deduplication_can_look_at_another_header(channel, exchange):
    name = exchange("fanout", arguments={"x-message-deduplication": True, "x-cache-size": 10,
                                         "x-deduplication-header": "order"})
    queue = bound(channel, name)
    for body, order in [("a", "1"), ("b", "1"), ("c", "2")]:
        publish(channel, name, "", body, headers={"order": order})
    assert drain(channel, queue) == [b"a", b"c"]


RETRY = pytest.mark.tercet_only("came with version 4.3, for quorum queues")


@RETRY
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_failed_message_is_tried_again_later_and_later(channel, amqp, kind):
    queue = amqp.name()
    channel.queue_declare(queue, durable=True, arguments={
        "x-queue-type": kind, "x-delayed-retry-type": "failed", "x-delayed-retry-min": 100, "x-delayed-retry-max": 250,
        "x-delivery-limit": 10})
    publish(channel, "", queue, "m", "n")
    inbox = Inbox(channel, queue)
    gaps, last = [], None
    for _ in range(4):
        delivery = inbox.take()
        if delivery.body == b"n":
            inbox.ack(delivery)
            delivery = inbox.take()
        now = time.monotonic()
        if last:
            gaps.append(now - last)
        last = now
        channel.basic_reject(delivery.method.delivery_tag)
        settle(channel)
    # min × deliveries, not above max.
    assert [gap >= least for gap, least in zip(gaps, [0.1, 0.2, 0.25])] == [True] * 3, gaps
    inbox.cancel()
    channel.queue_delete(queue)
