"""Limits of users, virtual hosts and messages."""

import pytest
from pika import spec

from amqp_accounts import SMALL_VHOST
from amqp_peer import declare, publish, refused, until
from amqp_wire import Wire


def refusal_of_open(amqp, user, vhost):
    """How an attempt to open a connection ends: code and text, or None if it is let in."""
    with Wire(amqp.port) as wire:
        wire.start(user=user)
        wire.tune()
        wire.send(0, spec.Connection.Open(virtual_host=vhost))
        method = wire.read().method
        return None if isinstance(method, spec.Connection.OpenOk) else (method.reply_code, method.reply_text)


def test_a_vhost_takes_so_many_connections(amqp):
    two = [amqp.connect(vhost=SMALL_VHOST) for _ in range(2)]
    assert refusal_of_open(amqp, "guest", SMALL_VHOST) == (
        530, f"NOT_ALLOWED - access to vhost '{SMALL_VHOST}' refused for user 'guest': connection limit (2) is reached")
    two[0].close()
    until(two[1], lambda: refusal_of_open(amqp, "guest", SMALL_VHOST) is None, "room for a connection")


def test_a_vhost_takes_so_many_queues(amqp):
    channel = amqp.connect(vhost=SMALL_VHOST).channel()
    queues = [declare(channel, amqp.name(f"q{n}")) for n in range(2)]
    more = amqp.name()
    with refused(406, f"PRECONDITION_FAILED - cannot declare queue '{more}': queue limit in vhost '{SMALL_VHOST}' (2) is "
                      "reached"):
        channel.connection.channel().queue_declare(more)
    assert declare(channel, queues[0]) == queues[0], "what exists can be declared again"
    channel.queue_delete(queues[1])
    declare(channel, more)


def test_a_user_has_so_many_connections(amqp):
    one = amqp.connect("few")
    assert refusal_of_open(amqp, "few", "/") == (
        530, "NOT_ALLOWED - connection refused for user 'few': user connection limit (1) is reached")
    one.close()
    until(amqp.connect(), lambda: refusal_of_open(amqp, "few", "/") is None, "room for a connection")


def test_a_user_has_so_many_channels(amqp):
    def full():
        with Wire(amqp.port) as wire:
            wire.start(user="few")
            wire.tune()
            wire.send(0, spec.Connection.Open(virtual_host="/"))
            if not isinstance(wire.read().method, spec.Connection.OpenOk):
                return None  # The connection of the test before is still there.
            wire.open_channel(1).open_channel(2)
            wire.send(3, spec.Channel.Open())
            return wire.expect(spec.Connection.Close)

    closed = until(amqp.connect(), full, "connection")
    assert closed.reply_code == 530
    # The brackets went with version 4.
    assert closed.reply_text.replace("(2)", "2") == (
        "NOT_ALLOWED - number of channels opened for user 'few' has reached the maximum allowed user limit of 2")


@pytest.mark.tercet_only("the greatest message is 16 MiB since version 4.0")
def test_messages_are_no_greater_than_16_mib(amqp):
    channel = amqp.channel(connection=amqp.connect())
    queue = declare(channel)
    publish(channel, "", queue, bytes(16 << 20))
    with refused(406, "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216"):
        publish(channel, "", queue, bytes((16 << 20) + 1))
