"""Exchanges and bindings: types, arguments, equivalence, alternate exchanges, bindings between exchanges."""

import pytest
from pika import spec

from amqp_peer import declare, drain, get, publish, ready, refused, settle
from amqp_wire import Publish, Wire

PREDECLARED = {"amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.headers": "headers",
               "amq.match": "headers", "amq.rabbitmq.trace": "topic"}


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def exchange(amqp, channel):
    """Declares exchanges with names of this test, which go with it."""
    made = []

    def make(kind, what="x", **options):
        name = amqp.name(what)
        channel.exchange_declare(name, kind, **options)
        made.append(name)
        return name

    yield make
    cleaner = amqp.channel()
    for name in made:
        cleaner.exchange_delete(name)


def bound(channel, exchange, *keys, arguments=None):
    """A new queue, bound with each key."""
    queue = declare(channel)
    for key in keys:
        channel.queue_bind(queue, exchange, key, arguments)
    return queue


def test_every_queue_is_bound_to_the_default_exchange_by_its_name(channel):
    queue = declare(channel)
    publish(channel, "", queue, "a")
    got = get(channel, queue)
    assert (got.body, got.method.exchange, got.method.routing_key) == (b"a", "", queue)


@pytest.mark.parametrize("name", PREDECLARED)
def test_the_predeclared_exchanges_exist_with_their_types(channel, name):
    internal = name == "amq.rabbitmq.trace"
    channel.exchange_declare(name, PREDECLARED[name], durable=True, internal=internal)
    channel.exchange_declare(name, passive=True)


def test_a_direct_exchange_routes_by_the_whole_key(channel, exchange):
    name = exchange("direct")
    red, both = bound(channel, name, "red"), bound(channel, name, "red", "blue")
    publish(channel, name, "red", "1")
    publish(channel, name, "blue", "2")
    publish(channel, name, "re", "3")
    publish(channel, name, "", "4")
    assert (drain(channel, red), drain(channel, both)) == ([b"1"], [b"1", b"2"])


def test_a_fanout_exchange_ignores_the_key(channel, exchange):
    name = exchange("fanout")
    one, two = bound(channel, name, "a"), bound(channel, name, "", "b")
    publish(channel, name, "whatever", "1")
    assert (drain(channel, one), drain(channel, two)) == ([b"1"], [b"1"])


TOPICS = [
    ("a.b.c", "a.b.c", True), ("a.b.c", "a.b", False), ("a.*.c", "a.b.c", True), ("a.*.c", "a.c", False),
    ("a.*.c", "a.b.b.c", False), ("a.#", "a", True), ("a.#", "a.b.c", True), ("a.#", "ab", False), ("#.c", "c", True),
    ("#.c", "a.b.c", True), ("#", "", True), ("#", "a.b", True), ("*", "a", True), ("*", "a.b", False), ("*", "", False),
    ("", "", True), ("", "a", False), ("#.b.#", "a.b.c", True), ("#.b.#", "b", True), ("#.b.#", "a.c", False), ("*.#", "", False), ("*.#", "a", True),
    ("*.*", "a.", True), ("a.", "a.", True), ("a..b", "a..b", True), ("a.*.b", "a..b", True), ("#.#", "", True),
    ("*.#.*", "a", False), ("*.#.*", "a.b", True), ("A", "a", False), ("a+b", "a+b", True), ("a/b.*", "a/b.c", True),
]


def test_a_topic_exchange_matches_words(channel, exchange):
    name = exchange("topic")
    wrong = []
    for number, (pattern, key, _) in enumerate(TOPICS):
        queue = bound(channel, name, pattern)
        publish(channel, name, key, str(number))
        if (len(drain(channel, queue)) == 1) != TOPICS[number][2]:
            wrong.append(TOPICS[number])
        channel.queue_delete(queue)
    assert wrong == []


@pytest.mark.tercet_only("came with 4.3.5, against combinatorial routing")
def test_a_topic_pattern_may_hold_two_hashes(channel, exchange, amqp):
    name = exchange("topic")
    queue = declare(channel, amqp.name())
    channel.queue_bind(queue, name, "#.a.#")
    with refused(406):
        channel.queue_bind(queue, name, "#.a.#.b.#")


HEADERS = [
    # binding arguments, headers, whether they match
    ({"x-match": "all", "a": "1", "b": 2}, {"a": "1", "b": 2}, True),
    ({"x-match": "all", "a": "1", "b": 2}, {"a": "1", "b": 2, "c": 3}, True),
    ({"x-match": "all", "a": "1", "b": 2}, {"a": "1"}, False),
    ({"a": "1"}, {"a": "1"}, True),
    ({"a": "1"}, {"a": "2"}, False),
    ({"x-match": "any", "a": "1", "b": 2}, {"b": 2}, True),
    ({"x-match": "any", "a": "1", "b": 2}, {"b": 3}, False),
    ({"x-match": "any"}, {"a": 1}, False),
    ({"x-match": "all"}, {"a": 1}, True),
    ({"x-match": "all"}, {}, True),
    ({}, {}, True),
    ({"x-match": "all", "a": None}, {"a": "anything"}, True),
    ({"x-match": "all", "a": None}, {"b": "anything"}, False),
    ({"x-match": "any", "a": None}, {"a": 5}, True),
    ({"x-match": "all", "x-secret": "1"}, {}, True),
    ({"x-match": "any", "x-secret": "1"}, {"x-secret": "1"}, False),
    ({"x-match": "all", "a": 5}, {"a": 5 << 40 >> 40}, True),
    ({"x-match": "all", "a": 5}, {"a": "5"}, False),
    ({"x-match": "all", "a": True}, {"a": True}, True),
    ({"x-match": "all", "a": True}, {"a": 1}, False),
]
HEADERS_WITH_X = [
    ({"x-match": "all-with-x", "x-secret": "1"}, {"x-secret": "1"}, True),
    ({"x-match": "all-with-x", "x-secret": "1", "a": 1}, {"a": 1}, False),
    ({"x-match": "any-with-x", "x-secret": "1", "a": 1}, {"x-secret": "1"}, True),
    ({"x-match": "any-with-x", "x-secret": "1"}, {"x-secret": "2"}, False),
]


@pytest.mark.parametrize("arguments, headers, expected", HEADERS + HEADERS_WITH_X, ids=str)
def test_a_headers_exchange_matches_values(channel, exchange, arguments, headers, expected):
    name = exchange("headers", auto_delete=True)
    queue = bound(channel, name, "", arguments=arguments)
    publish(channel, name, "", "m", headers=headers)
    assert (ready(channel, queue) == 1) == expected


def test_a_headers_binding_with_another_match_is_refused(channel):
    queue = declare(channel)
    with refused(406, "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or "
                      "any-with-x"):
        channel.queue_bind(queue, "amq.headers", "", {"x-match": "some"})


def test_bindings_with_other_arguments_are_other_bindings(channel, exchange):
    name = exchange("headers")
    queue = bound(channel, name, "", arguments={"a": 1})
    channel.queue_bind(queue, name, "", {"a": 2})
    channel.queue_unbind(queue, name, "", {"a": 1})
    publish(channel, name, "", "1", headers={"a": 1})
    publish(channel, name, "", "2", headers={"a": 2})
    assert drain(channel, queue) == [b"2"]


def test_a_queue_with_many_matching_bindings_gets_one_copy(channel, exchange):
    name = exchange("topic")
    queue = bound(channel, name, "a.*", "#", "*.b")
    publish(channel, name, "a.b", "once")
    assert drain(channel, queue) == [b"once"]


def test_unbinding_ends_it_and_may_be_repeated(channel, exchange):
    name = exchange("direct")
    queue = bound(channel, name, "k")
    channel.queue_unbind(queue, name, "k")
    channel.queue_unbind(queue, name, "k")
    publish(channel, name, "k", "m")
    assert ready(channel, queue) == 0


def test_an_empty_queue_name_means_the_last_declared(channel, exchange):
    name = exchange("direct")
    queue = declare(channel)
    channel.queue_bind("", name, "k")
    channel.queue_bind("", name, "")
    for key in ["k", queue]:
        publish(channel, name, key, key)
    assert [got.body.decode() for got in [get(channel, ""), get(channel, "")]] == ["k", queue]
    publish(channel, "", queue, "m")
    assert channel.queue_purge("").method.message_count == 1
    channel.queue_unbind("", name, "k")
    assert channel.queue_delete("").method.message_count == 0


@pytest.mark.parametrize("change, text", [
    ({"exchange_type": "fanout"}, "inequivalent arg 'type' for exchange '{x}' in vhost '/': received 'fanout' but current "
                                  "is 'direct'"),
    ({"durable": True}, "inequivalent arg 'durable' for exchange '{x}' in vhost '/': received 'true' but current is 'false'"),
    ({"auto_delete": True}, "inequivalent arg 'auto_delete' for exchange '{x}' in vhost '/': received 'true' but current is "
                            "'false'"),
    ({"internal": True}, "inequivalent arg 'internal' for exchange '{x}' in vhost '/': received 'true' but current is "
                         "'false'"),
    ({"arguments": {"alternate-exchange": "amq.fanout"}},
     "inequivalent arg 'alternate-exchange' for exchange '{x}' in vhost '/': received the value 'amq.fanout' of type "
     "'longstr' but current is none"),
], ids=str)
def test_redeclaring_differently_is_refused(channel, exchange, change, text):
    name = exchange("direct")
    with refused(406, "PRECONDITION_FAILED - " + text.format(x=name)):
        channel.exchange_declare(name, **{"exchange_type": "direct", **change})


def test_redeclaring_alike_or_with_unknown_arguments_is_not(channel, exchange):
    name = exchange("direct", arguments={"x-mine": 1})
    channel.exchange_declare(name, "direct")
    channel.exchange_declare(name, "direct", arguments={"x-mine": 2, "y": "z"})
    channel.exchange_declare(name, "fanout", passive=True)


def test_deleting_what_is_missing_is_fine(channel, amqp):
    channel.exchange_delete(amqp.name("missing"))


def test_if_unused_looks_at_bindings_from_it(channel, exchange):
    name = exchange("direct")
    queue = bound(channel, name, "k")
    with refused(406, f"PRECONDITION_FAILED - exchange '{name}' in vhost '/' in use"):
        channel.connection.channel().exchange_delete(name, if_unused=True)
    channel.queue_unbind(queue, name, "k")
    channel.exchange_delete(name, if_unused=True)
    with refused(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'"):
        channel.exchange_declare(name, passive=True)


def test_auto_delete_waits_for_the_last_binding(channel, exchange, amqp):
    name = exchange("direct", auto_delete=True)
    target = exchange("fanout", "target")
    queue = bound(channel, name, "k")
    channel.exchange_bind(target, name, "k")
    channel.queue_delete(queue)
    channel.exchange_declare(name, passive=True)
    channel.exchange_unbind(target, name, "k")
    with refused(404):
        channel.exchange_declare(name, passive=True)


def test_line_ends_are_stripped_from_names(amqp):
    name = amqp.name()
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        broken = f"{name[:3]}\r\n{name[3:]}\n"
        assert wire.call(1, spec.Queue.Declare(queue=broken, exclusive=True)).queue == name
        wire.call(1, spec.Exchange.Declare(exchange=f"x{broken}", type="fanout", auto_delete=True))
        wire.call(1, spec.Queue.Bind(queue=name, exchange=f"x{name}"))
        wire.send(1, Publish(f"x{name}", "", b"m"))
        assert wire.call(1, spec.Queue.Purge(queue=name)).message_count == 1


def test_an_internal_exchange_is_reached_through_others_only(channel, exchange):
    inner = exchange("fanout", "inner", internal=True)
    outer = exchange("fanout", "outer")
    channel.exchange_bind(inner, outer)
    queue = bound(channel, inner, "")
    publish(channel, outer, "", "m")
    assert drain(channel, queue) == [b"m"]
    with refused(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{inner}' in vhost '/'"):
        publish(channel, inner, "", "m")


def test_exchanges_bind_to_exchanges_in_cycles(channel, exchange):
    a, b, c = exchange("direct", "a"), exchange("topic", "b"), exchange("fanout", "c")
    channel.exchange_bind(b, a, "k.1")
    channel.exchange_bind(c, b, "k.*")
    channel.exchange_bind(a, c)
    on_a, on_c = bound(channel, a, "k.1"), bound(channel, c, "")
    publish(channel, a, "k.1", "m")
    assert (drain(channel, on_a), drain(channel, on_c)) == ([b"m"], [b"m"])
    channel.exchange_unbind(c, b, "k.*")
    publish(channel, a, "k.1", "n")
    assert (drain(channel, on_a), drain(channel, on_c)) == ([b"n"], [])


def test_an_exchange_can_be_bound_to_itself(channel, exchange):
    name = exchange("fanout")
    channel.exchange_bind(name, name)
    queue = bound(channel, name, "")
    publish(channel, name, "", "m")
    assert drain(channel, queue) == [b"m"]


def test_a_deleted_exchange_takes_its_bindings_along(channel, exchange):
    source, target = exchange("fanout", "source"), exchange("fanout", "target")
    channel.exchange_bind(target, source)
    queue = bound(channel, target, "")
    channel.exchange_delete(target)
    channel.exchange_declare(target, "fanout")
    publish(channel, source, "", "m")
    publish(channel, target, "", "n")
    assert ready(channel, queue) == 0


def test_the_alternate_exchange_takes_what_routes_nowhere(channel, exchange):
    last = exchange("fanout", "last")
    middle = exchange("direct", "middle", arguments={"alternate-exchange": last})
    first = exchange("direct", "first", arguments={"alternate-exchange": middle})
    on_first, on_middle, on_last = bound(channel, first, "1"), bound(channel, middle, "2"), bound(channel, last, "")
    for key in "123":
        publish(channel, first, key, key, mandatory=True)
    assert [drain(channel, queue) for queue in (on_first, on_middle, on_last)] == [[b"1"], [b"2"], [b"3"]]


def test_alternate_exchanges_in_a_circle_end(channel, exchange, amqp):
    one = exchange("direct", "one", arguments={"alternate-exchange": amqp.name("two")})
    exchange("direct", "two", arguments={"alternate-exchange": one})
    publish(channel, one, "nowhere", "m")
    settle(channel)


def test_an_alternate_exchange_may_be_missing(channel, exchange, amqp):
    name = exchange("direct", arguments={"alternate-exchange": amqp.name("missing")})
    publish(channel, name, "nowhere", "m")


def test_durable_and_transient_ends_can_be_bound(channel, exchange):
    durable = exchange("fanout", "durable", durable=True)
    transient = exchange("fanout", "transient")
    channel.exchange_bind(transient, durable)
    queue = bound(channel, transient, "")
    publish(channel, durable, "", "m", delivery_mode=2)
    assert get(channel, queue).properties.delivery_mode == 2
