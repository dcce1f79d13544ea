"""Who publishes while memory is short is told, and waits; who consumes goes on."""

import threading

import pika
import pytest
from pika import spec

from amqp_wire import Publish, Wire
from broker import PATIENCE, Process

BODY = bytes(64 * 1024)
MOST = 20_000


@pytest.fixture
def short_of_memory(tmp_path):
    config = tmp_path / "tercet.toml"
    config.write_text('[limits]\nmemory = "128MiB"\n')
    running = Process(tmp_path, ["--memory", "--amqp", "127.0.0.1:0", "--mqtt", "off", "--coap", "off", "--http", "off", "--config", config])
    yield running
    running.stop()


def publish_until(wire, stop):
    """Publishes until it is told to stop, as a program does that does not listen; the count ends up in `wire.count`."""
    wire.count = 0
    while not stop.is_set() and wire.count < MOST:
        wire.send(1, Publish("", "heap", BODY))
        wire.count += 1


def test_a_publisher_is_blocked_until_consumers_have_made_room(short_of_memory):
    port = short_of_memory.port("amqp")
    with Wire(port) as wire:
        wire.open()
        wire.open_channel()
        wire.call(1, spec.Queue.Declare(queue="heap"))
        stop = threading.Event()
        publisher = threading.Thread(target=publish_until, args=(wire, stop))
        publisher.start()
        blocked = wire.read().method
        assert isinstance(blocked, spec.Connection.Blocked) and blocked.reason == "low on memory"
        stop.set()

        consumer = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, heartbeat=0))
        unblocked = threading.Event()

        def wait_for_the_end_of_it():
            if isinstance(wire.read().method, spec.Connection.Unblocked):
                unblocked.set()

        listener = threading.Thread(target=wait_for_the_end_of_it)
        listener.start()
        taken = 0
        deliveries = consumer.channel().consume("heap", auto_ack=True, inactivity_timeout=PATIENCE)
        while publisher.is_alive() or not unblocked.is_set() or taken < wire.count:
            method, _, body = next(deliveries)
            assert method is not None, f"nothing came for {PATIENCE} s, after {taken} of {wire.count} messages"
            assert len(body) == len(BODY)
            taken += 1
        listener.join()
        publisher.join()
        assert taken == wire.count < MOST
        consumer.close()
