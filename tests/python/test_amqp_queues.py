"""Queues: their names, properties and arguments, equivalence, expiry, limits, priorities."""

import pika
import pytest
from pika.exceptions import NackError, UnroutableError

from amqp_peer import Inbox, declare, drain, get, publish, ready, refused, settle, until, wait_ready

DAY = 86_400_000


@pytest.fixture
def channel(amqp):
    return amqp.channel()


def gone(channel, queue):
    """Whether a queue is no more; asks on a channel of its own."""
    asking = channel.connection.channel()
    try:
        asking.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        assert error.reply_code == 404
        return True
    asking.close()
    return False


def test_the_broker_names_queues(channel):
    one, two = declare(channel), declare(channel)
    assert one.startswith("amq.gen-") and two.startswith("amq.gen-") and one != two
    assert len(one) == len("amq.gen-") + 22


def test_the_names_that_the_broker_gives_are_its_own(channel):
    queue = declare(channel)
    channel.connection.channel().queue_declare(queue, passive=True)
    with refused(403, f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'"):
        declare(channel, queue)


def test_declare_tells_what_is_ready_and_who_consumes(channel):
    queue = declare(channel)
    publish(channel, "", queue, "a", "b", "c")
    get(channel, queue, auto_ack=False)
    inbox = Inbox(channel.connection.channel(), queue, arguments={"x-priority": 1})
    inbox.bodies(2)
    publish(channel, "", queue, "d")
    inbox.take()
    told = channel.queue_declare(queue, passive=True).method
    assert (told.message_count, told.consumer_count) == (0, 1)
    inbox.cancel()
    told = channel.queue_declare(queue, passive=True).method
    assert (told.message_count, told.consumer_count) == (0, 0)


def test_delete_and_purge_count_what_was_ready(channel, amqp):
    queue = declare(channel)
    publish(channel, "", queue, "a", "b", "c")
    held = get(channel, queue, auto_ack=False)
    assert channel.queue_purge(queue).method.message_count == 2
    channel.basic_nack(held.method.delivery_tag)
    wait_ready(channel, queue, 1)
    publish(channel, "", queue, "d")
    assert channel.queue_delete(queue).method.message_count == 2
    assert channel.queue_delete(queue).method.message_count == 0
    assert channel.queue_delete(amqp.name("missing")).method.message_count == 0


def test_deleting_can_depend_on_use_and_content(channel, amqp):
    queue = declare(channel, amqp.name())
    publish(channel, "", queue, "m")
    inbox = Inbox(channel, queue)
    held = inbox.take()
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"):
        channel.connection.channel().queue_delete(queue, if_unused=True)
    inbox.cancel()
    channel.basic_nack(held.method.delivery_tag)
    wait_ready(channel, queue, 1)
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
        channel.connection.channel().queue_delete(queue, if_empty=True)
    assert channel.queue_delete(queue, if_unused=True).method.message_count == 1


def test_an_exclusive_queue_belongs_to_its_connection(channel, amqp):
    queue = declare(channel, amqp.name())
    stranger = amqp.connect()
    text = (f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be originally "
            "declared on another connection or the exclusive property value does not match that of the original "
            "declaration.")
    for use in [
        lambda there: there.queue_declare(queue, passive=True),
        lambda there: there.queue_declare(queue, exclusive=True),
        lambda there: there.queue_bind(queue, "amq.fanout"),
        lambda there: there.queue_purge(queue),
        lambda there: there.queue_delete(queue),
        lambda there: there.basic_get(queue),
        lambda there: there.basic_consume(queue, print),
    ]:
        with refused(405, text):
            use(stranger.channel())
    publish(stranger.channel(), "", queue, "sent by another")
    wait_ready(channel, queue, 1)
    with refused(405, text):
        channel.connection.channel().queue_declare(queue)
    amqp.first.close()
    assert gone(stranger.channel(), queue)


def test_an_auto_delete_queue_goes_with_its_last_consumer(channel, amqp):
    queue = declare(channel, amqp.name(), auto_delete=True)
    first, second = channel.connection.channel(), channel.connection.channel()
    Inbox(first, queue)
    inbox = Inbox(second, queue)
    first.close()
    assert not gone(channel, queue)
    inbox.cancel()
    assert gone(channel, queue)


def test_an_auto_delete_queue_without_a_consumer_stays(channel, amqp):
    queue = declare(channel, amqp.name(), auto_delete=True)
    get(channel, queue)
    assert not gone(channel, queue)
    channel.queue_delete(queue)


INEQUIVALENT = [
    ({"durable": True}, "inequivalent arg 'durable' for queue '{q}' in vhost '/': received 'true' but current is 'false'"),
    ({"auto_delete": True}, "inequivalent arg 'auto_delete' for queue '{q}' in vhost '/': received 'true' but current is "
                            "'false'"),
] + [
    ({"arguments": {name: value}}, f"inequivalent arg '{name}' for queue '{{q}}' in vhost '/': received the value "
                                   f"'{value}' of type '{kind}' but current is none")
    for name, value, kind in [
        ("x-message-ttl", 1000, "signedint"), ("x-expires", 9000, "signedint"), ("x-max-length", 5, "signedint"),
        ("x-max-length-bytes", 5, "signedint"), ("x-max-priority", 5, "signedint"),
        ("x-dead-letter-exchange", "dlx", "longstr"), ("x-overflow", "reject-publish", "longstr")]
] + [
    ({"arguments": {"x-single-active-consumer": True}},
     "inequivalent arg 'x-single-active-consumer' for queue '{q}' in vhost '/': received the value 'true' of type "
     "'bool' but current is none"),
    ({"arguments": {"x-queue-type": "quorum"}, "durable": True},
     "inequivalent arg 'durable' for queue '{q}' in vhost '/': received 'true' but current is 'false'"),
]


@pytest.mark.parametrize("change, text", INEQUIVALENT, ids=str)
def test_redeclaring_differently_is_refused(channel, amqp, change, text):
    queue = amqp.name()
    channel.queue_declare(queue)
    try:
        with refused(406, "PRECONDITION_FAILED - " + text.format(q=queue)):
            channel.connection.channel().queue_declare(queue, **change)
    finally:
        channel.queue_delete(queue)


def test_redeclaring_with_another_value_names_both(channel, amqp):
    queue = declare(channel, amqp.name(), arguments={"x-max-length": 5, "x-overflow": "drop-head"})
    for change, text in [
        ({"x-max-length": 6, "x-overflow": "drop-head"},
         "'x-max-length' for queue '{q}' in vhost '/': received '6' but current is '5'"),
        ({"x-overflow": "drop-head"},
         "'x-max-length' for queue '{q}' in vhost '/': received none but current is the value '5' of type 'signedint'"),
    ]:
        with refused(406, "PRECONDITION_FAILED - inequivalent arg " + text.format(q=queue)):
            channel.connection.channel().queue_declare(queue, exclusive=True, arguments=change)


def test_equal_is_what_means_the_same(channel, amqp):
    queue = declare(channel, amqp.name(), arguments={"x-max-length": 5, "x-mine": 1})
    for same in [
        {"x-max-length": 5}, {"x-max-length": 5, "x-mine": 2, "y": "z"}, {"x-max-length": 5, "x-queue-type": "classic"},
    ]:
        assert declare(channel, queue, arguments=same) == queue


INVALID = [
    ({"x-message-ttl": -1}, "invalid arg 'x-message-ttl' for queue '{q}' in vhost '/': {{value_negative,-1}}"),
    ({"x-message-ttl": "10"}, "invalid arg 'x-message-ttl' for queue '{q}' in vhost '/': \"expected integer, got longstr\""),
    ({"x-message-ttl": 3651 * DAY}, "invalid arg 'x-message-ttl' for queue '{q}' in vhost '/': …"),
    ({"x-expires": 0}, "invalid arg 'x-expires' for queue '{q}' in vhost '/': {{value_zero,0}}"),
    ({"x-expires": -5}, "invalid arg 'x-expires' for queue '{q}' in vhost '/': …"),
    ({"x-max-length": -1}, "invalid arg 'x-max-length' for queue '{q}' in vhost '/': {{value_negative,-1}}"),
    ({"x-max-length": "a"}, "invalid arg 'x-max-length' for queue '{q}' in vhost '/': \"expected integer, got longstr\""),
    ({"x-max-length-bytes": -1}, "invalid arg 'x-max-length-bytes' for queue '{q}' in vhost '/': {{value_negative,-1}}"),
    ({"x-max-priority": 256}, "invalid arg 'x-max-priority' for queue '{q}' in vhost '/': {{max_value_exceeded,256}}"),
    ({"x-max-priority": -1}, "invalid arg 'x-max-priority' for queue '{q}' in vhost '/': …"),
    ({"x-overflow": "never"}, "invalid arg 'x-overflow' for queue '{q}' in vhost '/': invalid_overflow"),
    ({"x-overflow": 5}, "invalid arg 'x-overflow' for queue '{q}' in vhost '/': …"),
    ({"x-dead-letter-exchange": 5}, "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '{q}' in vhost '/'"),
    ({"x-dead-letter-routing-key": "k"},
     "invalid arg 'x-dead-letter-routing-key' for queue '{q}' in vhost '/': routing_key_but_no_dlx_defined"),
    ({"x-single-active-consumer": "yes"}, "invalid arg 'x-single-active-consumer' for queue '{q}' in vhost '/': …"),
    ({"x-queue-type": "round"}, "…"),
    ({"x-max-age": "1D"}, "invalid arg 'x-max-age' for queue '{q}' in vhost '/' of queue type rabbit_classic_queue…"),
]


@pytest.mark.parametrize("arguments, text", INVALID, ids=str)
def test_invalid_arguments_are_refused(channel, amqp, arguments, text):
    queue = amqp.name()
    with refused(406, "PRECONDITION_FAILED - " + text.format(q=queue)):
        declare(channel, queue, arguments=arguments)


def test_a_message_lives_as_long_as_the_shorter_limit(channel):
    queue = declare(channel, arguments={"x-message-ttl": 60_000})
    publish(channel, "", queue, "short", expiration="30")
    publish(channel, "", queue, "long")
    wait_ready(channel, queue, 1)
    assert drain(channel, queue) == [b"long"]
    short = declare(channel, arguments={"x-message-ttl": 30})
    publish(channel, "", short, "short", expiration="60000")
    wait_ready(channel, short, 0)


def test_a_message_of_no_life_reaches_only_who_waits_for_it(channel):
    queue = declare(channel)
    publish(channel, "", queue, "a", expiration="0")
    wait_ready(channel, queue, 0)
    assert get(channel, queue) is None
    inbox = Inbox(channel, queue)
    publish(channel, "", queue, "b", expiration="0")
    assert inbox.take().body == b"b"


def test_what_waits_behind_the_head_expires_when_it_gets_there(channel):
    queue = declare(channel)
    publish(channel, "", queue, "head")
    publish(channel, "", queue, "brief", expiration="1")
    publish(channel, "", queue, "tail")
    assert get(channel, queue).body == b"head"
    wait_ready(channel, queue, 1)
    assert get(channel, queue).body == b"tail"


def test_a_requeued_message_keeps_its_deadline(channel):
    queue = declare(channel)
    publish(channel, "", queue, "m", expiration="200")
    held = get(channel, queue, auto_ack=False)
    channel.connection.sleep(0.3)
    channel.basic_nack(held.method.delivery_tag)
    wait_ready(channel, queue, 0)


@pytest.mark.parametrize("expiration", ["x", "-1", "1.5", "10 ", "", "10s"])
def test_an_expiration_is_a_whole_number_of_milliseconds(channel, expiration):
    queue = declare(channel)
    with refused(406, "PRECONDITION_FAILED - invalid expiration…"):
        publish(channel, "", queue, "m", expiration=expiration)


def unroutable(channel, queue):
    """Whether a queue is no more, asked by what does not count as a use of it."""
    try:
        publish(channel, "", queue, "", mandatory=True)
    except UnroutableError:
        return True
    return False


def test_an_unused_queue_expires(channel, amqp):
    queue = declare(channel, amqp.name(), exclusive=False, arguments={"x-expires": 100})
    until(channel.connection, lambda: unroutable(channel, queue), "expiry")


def test_use_keeps_a_queue_from_expiring(channel, amqp):
    arguments = {"x-expires": 400}
    queue = declare(channel, amqp.name(), exclusive=False, arguments=arguments)
    inbox = Inbox(channel, queue)
    channel.connection.sleep(0.7)
    assert not gone(channel, queue)
    inbox.cancel()
    until(channel.connection, lambda: unroutable(channel, queue), "expiry")


def test_drop_head_is_the_default_overflow(channel):
    queue = declare(channel, arguments={"x-max-length": 3})
    publish(channel, "", queue, *"abcde")
    assert drain(channel, queue) == [b"c", b"d", b"e"]


def test_a_limit_of_bytes_counts_bodies(channel):
    queue = declare(channel, arguments={"x-max-length-bytes": 10})
    publish(channel, "", queue, "aaaa", "bbbb", "cc", "dd")
    assert drain(channel, queue) == [b"bbbb", b"cc", b"dd"]
    publish(channel, "", queue, "eleven bytes and more")
    assert drain(channel, queue) == []


def test_what_is_unacked_does_not_count(channel):
    queue = declare(channel, arguments={"x-max-length": 2})
    publish(channel, "", queue, "a", "b")
    held = [get(channel, queue, auto_ack=False) for _ in range(2)]
    publish(channel, "", queue, "c", "d")
    assert ready(channel, queue) == 2
    channel.basic_nack(held[-1].method.delivery_tag, multiple=True)
    wait_ready(channel, queue, 2)
    assert drain(channel, queue) == [b"c", b"d"]


@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_a_full_queue_may_reject(channel, overflow):
    grave = declare(channel)
    queue = declare(channel, arguments={"x-max-length": 2, "x-overflow": overflow, "x-dead-letter-exchange": "",
                                        "x-dead-letter-routing-key": grave})
    publish(channel, "", queue, "a", "b")
    for body in "cd":
        with pytest.raises(NackError):
            publish(channel, "", queue, body)
    assert get(channel, queue).body == b"a"
    publish(channel, "", queue, "e")
    assert drain(channel, queue) == [b"b", b"e"]
    wait_ready(channel, grave, 2 if overflow.endswith("dlx") else 0)
    assert drain(channel, grave) == ([b"c", b"d"] if overflow.endswith("dlx") else [])


def test_one_full_queue_of_several_is_enough_for_a_nack(channel, amqp):
    full = declare(channel, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    roomy = declare(channel)
    exchange = amqp.name("x")
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    for queue in (full, roomy):
        channel.queue_bind(queue, exchange)
    with pytest.raises(NackError):
        publish(channel, exchange, "", "m")
    assert (ready(channel, full), ready(channel, roomy)) == (0, 1)


def test_without_confirms_a_full_queue_rejects_in_silence(amqp):
    channel = amqp.channel(confirm=False)
    queue = declare(channel, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    publish(channel, "", queue, "a", "b")
    settle(channel)
    assert drain(channel, queue) == [b"a"]


def test_higher_priorities_come_first_and_each_in_order(channel):
    queue = declare(channel, arguments={"x-max-priority": 5})
    for body, priority in [("a", 1), ("b", None), ("c", 5), ("d", 9), ("e", 1), ("f", 0), ("g", 5)]:
        publish(channel, "", queue, body, priority=priority)
    assert b"".join(drain(channel, queue)) == b"cdgaebf"


def test_a_limited_priority_queue_drops_the_lowest(channel, on_rabbitmq):
    queue = declare(channel, arguments={"x-max-priority": 3, "x-max-length": 3})
    for body, priority in [("a", 1), ("b", 3), ("c", 0), ("d", 2), ("e", 3)]:
        publish(channel, "", queue, body, priority=priority)
    # RabbitMQ drops what it would deliver next, so the most urgent.
    assert b"".join(drain(channel, queue)) == (b"dac" if on_rabbitmq else b"bed")


def test_a_requeued_message_keeps_its_priority(channel):
    queue = declare(channel, arguments={"x-max-priority": 3})
    publish(channel, "", queue, "high", priority=3)
    held = get(channel, queue, auto_ack=False)
    publish(channel, "", queue, "low", priority=1)
    channel.basic_nack(held.method.delivery_tag)
    wait_ready(channel, queue, 2)
    assert drain(channel, queue) == [b"high", b"low"]


def test_arguments_that_concern_nothing_here_are_taken(channel):
    declare(channel, arguments={"x-queue-mode": "lazy", "x-queue-master-locator": "min-masters"})
    declare(channel, arguments={"x-queue-version": 2, "x-anything": {"a": [1, 2, "b"]}})


@pytest.mark.parametrize("kind", ["quorum", "stream"])
@pytest.mark.parametrize("options", [{"durable": False}, {"durable": True, "exclusive": True},
                                     {"durable": True, "name": ""}], ids=str)
def test_replicated_types_are_durable_shared_and_named(channel, amqp, kind, options):
    options = dict(options)
    name = options.pop("name", amqp.name())
    with refused(406):
        channel.queue_declare(name, arguments={"x-queue-type": kind}, **options)


def test_quorum_queues_work_like_the_others(channel, amqp):
    queue = declare(channel, amqp.name(), durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 3})
    publish(channel, "", queue, *"abcd")
    wait_ready(channel, queue, 3)
    inbox = Inbox(channel, queue)
    assert inbox.take().body == b"b"
    assert inbox.bodies(2) == [b"c", b"d"]
    channel.basic_ack(0, multiple=True)
    inbox.cancel()
    assert channel.queue_delete(queue).method.message_count == 0
