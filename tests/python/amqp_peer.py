"""What an AMQP test needs: connections and channels that end with it, names of its own, and waits for events."""

import collections
import contextlib
import time

import pika
import pytest
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

from broker import PATIENCE

Delivery = collections.namedtuple("Delivery", "method properties body")


def until(connection, predicate, what):
    """Lets a connection work until something is true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"no {what} in time"
        connection.process_data_events(time_limit=0.02)
    return value


@contextlib.contextmanager
def refused(code, text=None, scope=ChannelClosedByBroker):
    """What is done inside must close the channel with this code and text (or a text that begins so, if it ends in …)."""
    with pytest.raises(scope) as caught:
        yield
    assert caught.value.reply_code == code, caught.value
    if text:
        said = caught.value.reply_text
        assert said.startswith(text[:-1]) if text.endswith("…") else said == text, said


def disconnected(code, text=None):
    """Like `refused`, for the whole connection."""
    return refused(code, text, ConnectionClosedByBroker)


def settle(channel):
    """Returns when the broker has done what was sent on the channel before; raises what it was refused with."""
    channel.basic_qos(prefetch_count=0)


class Inbox:
    """A consumer whose deliveries can be waited for."""

    def __init__(self, channel, queue, auto_ack=False, **options):
        self.channel, self.items, self.log, self.cancelled = channel, collections.deque(), [], []
        channel.add_on_cancel_callback(self.on_cancel)
        self.tag = channel.basic_consume(queue, self.on_message, auto_ack=auto_ack, **options)

    def on_message(self, _, method, properties, body):
        self.items.append(Delivery(method, properties, body))
        self.log.append(body)

    def on_cancel(self, frame):
        if frame.method.consumer_tag == self.tag:
            self.cancelled.append(frame.method)

    def take(self):
        until(self.channel.connection, lambda: self.items, "delivery")
        return self.items.popleft()

    def bodies(self, count):
        return [self.take().body for _ in range(count)]

    def wait_cancelled(self):
        until(self.channel.connection, lambda: self.cancelled, "cancel notification")

    def ack(self, delivery, **options):
        self.channel.basic_ack(delivery.method.delivery_tag, **options)

    def cancel(self):
        self.channel.basic_cancel(self.tag)


class Amqp:
    """Connections to the broker under test."""

    def __init__(self, broker, unique):
        self.broker, self.unique, self.connections = broker, unique, []
        self.first = None

    @property
    def port(self):
        return self.broker.amqp_port

    def name(self, what="q"):
        return f"{what}-{self.unique}"

    def parameters(self, user="guest", password=None, vhost="/", **options):
        password = password or (user if user == "guest" else f"{user}-secret")
        options = {"heartbeat": 0, "blocked_connection_timeout": PATIENCE, "socket_timeout": PATIENCE, "port": self.port, **options}
        return pika.ConnectionParameters("127.0.0.1", virtual_host=vhost, credentials=pika.PlainCredentials(user, password),
                                         **options)

    def connect(self, *arguments, **options):
        connection = pika.BlockingConnection(self.parameters(*arguments, **options))
        self.connections.append(connection)
        return connection

    def channel(self, confirm=True, connection=None):
        """A channel, in confirm mode unless told otherwise: a publish returns when the message is in its queues."""
        if connection is None:
            if self.first is None or not self.first.is_open:
                self.first = self.connect()
            connection = self.first
        channel = connection.channel()
        if confirm:
            channel.confirm_delivery()
        return channel

    def end(self):
        for connection in self.connections:
            if connection.is_open:
                # A test that gave up in the middle of a call leaves a channel that never ends politely.
                connection._impl._adapter_call_later(PATIENCE / 3, connection._impl._transport.abort)
                with contextlib.suppress(AMQPError):
                    connection.close()


def declare(channel, queue="", durable=False, exclusive=None, arguments=None, **options):
    """Declares a queue that ends with its connection, unless it is given a reason to live longer; returns its name."""
    if exclusive is None:
        exclusive = not durable and not options.get("auto_delete")
    done = channel.queue_declare(queue, durable=durable, exclusive=exclusive, arguments=arguments, **options)
    return done.method.queue


def ready(channel, queue):
    """How many messages wait in a queue."""
    return channel.queue_declare(queue, passive=True).method.message_count


def wait_ready(channel, queue, count):
    until(channel.connection, lambda: ready(channel, queue) == count, f"{count} messages in {queue}")


def publish(channel, exchange, routing_key, *bodies, mandatory=False, **properties):
    """Publishes texts with the same properties."""
    for body in bodies:
        channel.basic_publish(exchange, routing_key, body, pika.BasicProperties(**properties), mandatory=mandatory)


def get(channel, queue, auto_ack=True):
    """One message or None."""
    method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
    return None if method is None else Delivery(method, properties, body)


def drain(channel, queue):
    """The bodies of all that waits."""
    bodies = []
    while (got := get(channel, queue)) is not None:
        bodies.append(got.body)
    return bodies
