"""Consumers, prefetch, acknowledgements and the order of what is delivered."""

import pytest
from pika import spec

from amqp_peer import (Inbox, declare, disconnected, drain, get, publish, ready, refused, settle, until,
                       wait_ready)
from amqp_wire import CAPABILITIES, Publish, Wire


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def filled(channel):
    """A queue with the messages 0…9."""
    queue = declare(channel)
    publish(channel, "", queue, *"0123456789")
    return queue


def another(channel):
    return channel.connection.channel()


def test_deliveries_come_in_order_and_say_where_from(channel):
    queue = declare(channel)
    publish(channel, "", queue, *[str(n) for n in range(300)])
    inbox = Inbox(channel, queue, auto_ack=True)
    for n in range(300):
        method, _, body = inbox.take()
        assert (method.delivery_tag, method.consumer_tag, body) == (n + 1, inbox.tag, str(n).encode())
        assert (method.exchange, method.routing_key, method.redelivered) == ("", queue, False)


def test_the_broker_names_consumers(amqp):
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        wire.call(1, spec.Queue.Declare(exclusive=True))
        assert wire.call(1, spec.Basic.Consume()).consumer_tag.startswith("amq.ctag-")


def test_a_tag_is_used_once_on_a_channel(amqp):
    channel = amqp.channel(connection=amqp.connect())
    queue = declare(channel)
    another(channel).basic_consume(queue, print, consumer_tag="t")
    channel.basic_consume(queue, print, consumer_tag="t")
    with disconnected(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'"):
        channel.connection._impl._send_method(channel.channel_number, spec.Basic.Consume(queue=queue, consumer_tag="t"))
        settle(channel)


def test_prefetch_bounds_what_is_unacked(channel, filled):
    channel.basic_qos(prefetch_count=3)
    inbox = Inbox(channel, filled)
    held = [inbox.take() for _ in range(3)]
    assert ready(channel, filled) == 7
    inbox.ack(held[0])
    assert inbox.take().body == b"3"
    inbox.ack(held[2], multiple=True)
    assert inbox.bodies(2) == [b"4", b"5"]
    assert ready(channel, filled) == 4


def test_prefetch_concerns_consumers_that_come_later(channel, filled):
    channel.basic_qos(prefetch_count=2)
    first = Inbox(channel, filled)
    first.bodies(2)
    channel.basic_qos(prefetch_count=4)
    second = Inbox(channel, filled)
    second.bodies(4)
    assert ready(channel, filled) == 4


def test_prefetch_does_not_bind_those_who_do_not_ack(channel, filled):
    channel.basic_qos(prefetch_count=2)
    Inbox(channel, filled, auto_ack=True).bodies(10)


def test_a_prefetch_of_zero_is_no_bound(channel, filled):
    channel.basic_qos(prefetch_count=2)
    channel.basic_qos(prefetch_count=0)
    Inbox(channel, filled).bodies(10)


def test_get_knows_no_prefetch(channel, filled):
    channel.basic_qos(prefetch_count=1)
    assert [get(channel, filled, auto_ack=False).body for _ in range(4)] == [b"0", b"1", b"2", b"3"]


def test_global_prefetch_is_one_window_for_the_channel(channel, filled):
    channel.basic_qos(prefetch_count=3, global_qos=True)
    one, two = Inbox(channel, filled), Inbox(channel, filled)
    until(channel.connection, lambda: len(one.items) + len(two.items) == 3, "3 deliveries")
    assert ready(channel, filled) == 7
    channel.basic_ack(0, multiple=True)
    until(channel.connection, lambda: len(one.items) + len(two.items) == 6, "3 more")
    assert ready(channel, filled) == 4


def test_global_prefetch_can_be_changed_on_the_fly(channel, filled):
    channel.basic_qos(prefetch_count=2, global_qos=True)
    inbox = Inbox(channel, filled)
    inbox.bodies(2)
    channel.basic_qos(prefetch_count=5, global_qos=True)
    inbox.bodies(3)
    assert ready(channel, filled) == 5
    channel.basic_qos(prefetch_count=1, global_qos=True)
    channel.basic_ack(5, multiple=True)
    assert inbox.take().body == b"5"
    assert ready(channel, filled) == 4


def test_both_prefetches_bind_together(channel, filled):
    channel.basic_qos(prefetch_count=2)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    one, two = Inbox(channel, filled), Inbox(channel, filled)
    until(channel.connection, lambda: len(one.items) + len(two.items) == 3, "3 deliveries")
    assert max(len(one.items), len(two.items)) == 2
    assert ready(channel, filled) == 7


def test_consumers_take_turns(channel):
    queue = declare(channel)
    inboxes = [Inbox(another(channel), queue, auto_ack=True) for _ in range(3)]
    publish(channel, "", queue, *[str(n) for n in range(30)])
    until(channel.connection, lambda: sum(len(inbox.items) for inbox in inboxes) == 30, "30 deliveries")
    assert [len(inbox.items) for inbox in inboxes] == [10, 10, 10]
    for inbox in inboxes:
        numbers = [int(body) for body in inbox.log]
        assert [later - earlier for earlier, later in zip(numbers, numbers[1:])] == [3] * 9


def test_the_highest_priority_with_room_is_served_first(channel):
    queue = declare(channel)
    low_channel, high_channel = another(channel), another(channel)
    high_channel.basic_qos(prefetch_count=2)
    low = Inbox(low_channel, queue, arguments={"x-priority": -5})
    high = Inbox(high_channel, queue, arguments={"x-priority": 10})
    publish(channel, "", queue, *"01234")
    assert (high.bodies(2), low.bodies(3)) == ([b"0", b"1"], [b"2", b"3", b"4"])
    high_channel.basic_ack(0, multiple=True)
    settle(high_channel)
    publish(channel, "", queue, *"56")
    assert high.bodies(2) == [b"5", b"6"]


def test_an_exclusive_consumer_is_alone(channel, filled):
    text = f"ACCESS_REFUSED - queue '{filled}' in vhost '/' in exclusive use"
    shared = Inbox(channel, filled)
    with refused(403, text):
        another(channel).basic_consume(filled, print, exclusive=True)
    shared.cancel()
    alone = Inbox(channel, filled, exclusive=True)
    with refused(403, text):
        another(channel).basic_consume(filled, print)
    alone.cancel()
    Inbox(channel, filled)


def test_of_single_active_consumers_the_first_is_active_and_the_next_follows(channel):
    queue = declare(channel, arguments={"x-single-active-consumer": True})
    inboxes = [Inbox(another(channel), queue) for _ in range(3)]
    publish(channel, "", queue, *"0123")
    first, second, third = inboxes
    assert first.bodies(4) == [b"0", b"1", b"2", b"3"]
    first.channel.basic_ack(2, multiple=True)
    settle(first.channel)
    first.channel.close()
    assert [(got.body, got.method.redelivered) for got in [second.take(), second.take()]] == [(b"2", True), (b"3", True)]
    second.channel.basic_ack(0, multiple=True)
    second.cancel()
    publish(channel, "", queue, "4")
    assert third.take().body == b"4"
    assert not first.items and not second.items


def test_a_single_active_consumer_cannot_be_exclusive_too(channel):
    queue = declare(channel, arguments={"x-single-active-consumer": True})
    with refused(403):
        channel.basic_consume(queue, print, exclusive=True)


def test_a_consumer_is_told_when_its_queue_goes(channel, amqp):
    queue = declare(channel, amqp.name())
    inbox = Inbox(channel, queue)
    another(channel).queue_delete(queue)
    inbox.wait_cancelled()
    settle(channel)


def test_a_client_that_did_not_ask_is_not_told(amqp, channel):
    queue = amqp.name()
    channel.queue_declare(queue)
    with Wire(amqp.port) as wire:
        wire.open(capabilities={**CAPABILITIES, "consumer_cancel_notify": False}).open_channel()
        wire.call(1, spec.Basic.Consume(queue=queue, consumer_tag="t"))
        channel.queue_delete(queue)
        wire.send(1, spec.Queue.Declare(queue=queue, passive=True))
        assert wire.expect(spec.Channel.Close).reply_code == 404


def test_what_was_delivered_can_be_acked_after_the_cancel(channel, filled):
    channel.basic_qos(prefetch_count=3)
    with_tags = []
    channel.basic_consume(filled, lambda c, method, p, b: with_tags.append(method.delivery_tag), consumer_tag="t")
    until(channel.connection, lambda: len(with_tags) == 3, "3 deliveries")
    channel.basic_cancel("t")
    assert ready(channel, filled) == 7
    channel.basic_ack(2, multiple=True)
    channel.basic_nack(3)
    wait_ready(channel, filled, 8)
    assert get(channel, filled).body == b"2"


def test_cancelling_what_is_unknown_is_confirmed(amqp):
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        assert wire.call(1, spec.Basic.Cancel(consumer_tag="never")).consumer_tag == "never"


def test_nothing_is_delivered_after_cancel_ok(amqp):
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        queue = wire.call(1, spec.Queue.Declare(exclusive=True)).queue
        for turn in range(10):
            wire.call(1, spec.Basic.Consume(queue=queue, consumer_tag="t", no_ack=True))
            for _ in range(20):
                wire.send(1, Publish("", queue, b"m"))
            wire.send(1, spec.Basic.Cancel(consumer_tag="t"))
            while not isinstance(read := getattr(wire.read(), "method", None), spec.Basic.CancelOk):
                assert read is None or isinstance(read, spec.Basic.Deliver)
            assert isinstance(wire.call(1, spec.Basic.Qos()), spec.Basic.QosOk), turn


def test_get_says_what_remains(channel, filled):
    for remaining in range(9, -1, -1):
        got = get(channel, filled)
        assert (got.method.message_count, got.method.redelivered) == (remaining, False)
    assert get(channel, filled) is None


def test_tags_count_all_deliveries_of_a_channel(channel, filled):
    assert get(channel, filled).method.delivery_tag == 1
    assert get(channel, filled, auto_ack=False).method.delivery_tag == 2
    inbox = Inbox(channel, filled)
    assert inbox.take().method.delivery_tag == 3
    assert get(another(channel), declare_with(channel, "m")).method.delivery_tag == 1


def declare_with(channel, *bodies):
    queue = declare(channel)
    publish(channel, "", queue, *bodies)
    return queue


def test_acks_of_several_and_of_all(channel, filled):
    for _ in range(6):
        get(channel, filled, auto_ack=False)
    channel.basic_ack(1)
    channel.basic_ack(4, multiple=True)
    channel.basic_ack(0, multiple=True)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag 6"):
        channel.basic_ack(6)
        settle(channel)
    assert b"".join(drain(another(channel), filled)) == b"6789"


@pytest.mark.parametrize("settling", [
    lambda c: c.basic_ack(2), lambda c: c.basic_ack(9, multiple=True), lambda c: c.basic_nack(9), lambda c: c.basic_reject(9),
    lambda c: c.basic_nack(9, multiple=True), lambda c: c.basic_ack(0)])
def test_an_unknown_tag_settles_nothing(channel, filled, settling):
    for _ in range(3):
        get(channel, filled, auto_ack=False)
    channel.basic_ack(2)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag…"):
        settling(channel)
        settle(channel)
    back = another(channel)
    until(channel.connection, lambda: ready(back, filled) == 9, "requeue")
    assert b"".join(drain(back, filled)) == b"023456789"


def test_requeued_messages_return_to_their_places(channel, filled):
    for _ in range(5):
        get(channel, filled, auto_ack=False)
    channel.basic_reject(4)
    channel.basic_nack(2, multiple=True)
    wait_ready(channel, filled, 8)
    got = [get(channel, filled) for _ in range(8)]
    assert b"".join(one.body for one in got) == b"01356789"
    assert [one.method.redelivered for one in got] == [True] * 3 + [False] * 5


def test_what_is_rejected_for_good_is_gone(channel, filled):
    for _ in range(4):
        get(channel, filled, auto_ack=False)
    channel.basic_reject(1, requeue=False)
    channel.basic_nack(0, multiple=True, requeue=False)
    settle(channel)
    assert b"".join(drain(channel, filled)) == b"456789"


@pytest.mark.parametrize("end", ["channel", "connection"])
def test_what_nobody_acked_returns_in_order_at_the_end(channel, amqp, end):
    queue = amqp.name()
    channel.queue_declare(queue)
    publish(channel, "", queue, *"01234")
    other = amqp.connect()
    its_channel = other.channel()
    inbox = Inbox(its_channel, queue)
    inbox.bodies(5)
    its_channel.basic_ack(2)
    (its_channel if end == "channel" else other).close()
    wait_ready(channel, queue, 4)
    got = [get(channel, queue) for _ in range(4)]
    assert b"".join(one.body for one in got) == b"0234" and all(one.method.redelivered for one in got)
    channel.queue_delete(queue)


def test_recover_requeues_all_that_is_unacked(channel, filled):
    for _ in range(3):
        get(channel, filled, auto_ack=False)
    channel.basic_ack(2)
    channel.basic_recover(requeue=True)
    wait_ready(channel, filled, 9)
    got = [get(channel, filled) for _ in range(3)]
    assert [(one.body, one.method.redelivered) for one in got] == [(b"0", True), (b"2", True), (b"3", False)]


def test_recover_async_has_no_reply(amqp):
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        queue = wire.call(1, spec.Queue.Declare(exclusive=True)).queue
        wire.send(1, Publish("", queue, b"m"))
        assert isinstance(wire.call(1, spec.Basic.Get(queue=queue)), spec.Basic.GetOk)
        wire.content()
        wire.write(b"\x01\x00\x01\x00\x00\x00\x05\x00\x3c\x00\x64\x01\xce")
        got = wire.call(1, spec.Basic.Get(queue=queue))
        assert (got.redelivered, wire.content()[1]) == (True, b"m")


@pytest.mark.tercet_only("RabbitMQ looks once a minute, and closes the channel")
def test_a_consumer_that_never_acks_is_cancelled_if_its_queue_says_so(channel):
    queue = declare(channel, arguments={"x-consumer-timeout": 200})
    publish(channel, "", queue, "m")
    inbox = Inbox(another(channel), queue)
    inbox.take()
    inbox.wait_cancelled()
    wait_ready(channel, queue, 1)
    assert get(channel, queue).method.redelivered
    settle(inbox.channel)


def test_no_local_is_taken_and_ignored(amqp):
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        queue = wire.call(1, spec.Queue.Declare(exclusive=True)).queue
        wire.call(1, spec.Basic.Consume(queue=queue, no_local=True, no_ack=True))
        wire.send(1, Publish("", queue, b"mine"))
        wire.expect(spec.Basic.Deliver)
        assert wire.content()[1] == b"mine"


def test_nowait_is_honoured_everywhere(amqp):
    name = amqp.name()
    with Wire(amqp.port) as wire:
        wire.open().open_channel()
        for method in [
            spec.Exchange.Declare(exchange=name, type="direct", nowait=True),
            spec.Exchange.Bind(source="amq.direct", destination=name, routing_key=name, nowait=True),
            spec.Queue.Declare(queue=name, exclusive=True, nowait=True),
            spec.Queue.Bind(queue=name, exchange=name, routing_key=name, nowait=True),
            spec.Confirm.Select(nowait=True),
            spec.Basic.Consume(queue=name, consumer_tag="t", nowait=True),
            Publish("amq.direct", name, b"m"),
        ]:
            wire.send(1, method)
        seen = set()
        for _ in range(2):
            method = wire.read().method
            seen.add(type(method))
            if isinstance(method, spec.Basic.Deliver):
                assert wire.content()[1] == b"m"
        assert seen == {spec.Basic.Ack, spec.Basic.Deliver}
        for method in [
            spec.Basic.Cancel(consumer_tag="t", nowait=True),
            spec.Queue.Purge(queue=name, nowait=True),
            spec.Queue.Delete(queue=name, nowait=True),
            spec.Exchange.Unbind(source="amq.direct", destination=name, routing_key=name, nowait=True),
            spec.Exchange.Delete(exchange=name, nowait=True),
        ]:
            wire.send(1, method)
        assert isinstance(wire.call(1, spec.Basic.Qos()), spec.Basic.QosOk)
        wire.send(1, spec.Exchange.Declare(exchange=name, passive=True))
        assert wire.expect(spec.Channel.Close).reply_code == 404
