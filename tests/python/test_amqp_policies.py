"""Policies: what they change of queues and exchanges, and who wins. The policies are those of amqp_accounts."""

import pytest

from amqp_peer import declare, drain, publish, ready, wait_ready


@pytest.fixture
def channel(amqp):
    return amqp.channel()


def test_a_policy_limits_and_dead_letters(channel, amqp):
    queue, grave = declare(channel, f"policed-{amqp.unique}"), declare(channel)
    channel.queue_bind(grave, "amq.fanout")
    publish(channel, "", queue, *"abcde")
    assert drain(channel, queue) == [b"c", b"d", b"e"]
    wait_ready(channel, grave, 2)
    assert drain(channel, grave) == [b"a", b"b"]


def test_of_several_policies_the_most_urgent_applies_alone(channel, amqp):
    queue, grave = declare(channel, f"policed-urgent-{amqp.unique}"), declare(channel)
    channel.queue_bind(grave, "amq.fanout")
    publish(channel, "", queue, *"abc")
    assert drain(channel, queue) == [b"b", b"c"]
    assert ready(channel, grave) == 0


@pytest.mark.parametrize("argument, kept", [(2, b"de"), (50, b"cde")])
def test_of_numbers_the_smaller_wins(channel, amqp, argument, kept):
    queue = declare(channel, f"policed-{amqp.unique}", arguments={"x-max-length": argument})
    publish(channel, "", queue, *"abcde")
    assert b"".join(drain(channel, queue)) == kept


def test_of_exchanges_the_argument_wins(channel, amqp):
    grave, queue = declare(channel), f"policed-{amqp.unique}"
    declare(channel, queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave})
    publish(channel, "", queue, *"abcd")
    wait_ready(channel, grave, 1)
    assert drain(channel, grave) == [b"a"]


def test_an_operator_policy_cannot_be_widened(channel, amqp):
    queue = declare(channel, f"policed-capped-{amqp.unique}", arguments={"x-max-length": 10})
    publish(channel, "", queue, *"abc")
    assert drain(channel, queue) == [b"c"]


def test_a_policy_gives_exchanges_an_alternate(channel, amqp):
    exchange, queue = f"detoured-{amqp.unique}", declare(channel)
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    channel.queue_bind(queue, "amq.fanout")
    publish(channel, exchange, "nowhere", "m", mandatory=True)
    assert b"m" in drain(channel, queue)


def test_arguments_are_compared_without_the_policy(channel, amqp):
    queue = declare(channel, f"policed-{amqp.unique}")
    assert declare(channel, queue) == queue
