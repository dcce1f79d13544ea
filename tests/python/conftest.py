"""One broker per test process; every test uses topics and client identifiers of its own."""

import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import amqp_broker as amqp_brokers  # noqa: E402
import coap_broker as coap_brokers  # noqa: E402
from amqp_peer import Amqp  # noqa: E402
from broker import Broker  # noqa: E402

COUNTER = itertools.count()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    running = Broker(tmp_path_factory.mktemp("broker"))
    yield running
    ended = running.process.poll()
    running.stop()
    assert ended is None, "the broker ended by itself:\n" + "".join(running.lines[-50:])


@pytest.fixture
def unique():
    """A word that no other test of this run uses."""
    return f"{os.getpid()}x{next(COUNTER)}"


@pytest.fixture
def topic(unique):
    return f"open/{unique}"


@pytest.fixture(scope="session")
def amqp_broker(tmp_path_factory):
    running = amqp_brokers.start(tmp_path_factory.mktemp("amqp"))
    yield running
    running.stop()


@pytest.fixture
def amqp(amqp_broker, unique):
    peer = Amqp(amqp_broker, unique)
    yield peer
    peer.end()


@pytest.fixture
def on_rabbitmq(amqp_broker):
    """Whether it is RabbitMQ 3.10 that is tested, and not Tercet."""
    return amqp_broker.product == "RabbitMQ"


@pytest.fixture(autouse=True)
def only_tercet(request):
    """Skips a test marked `tercet_only` on RabbitMQ, for the reason that its mark names."""
    mark = request.node.get_closest_marker("tercet_only")
    if mark and request.getfixturevalue("on_rabbitmq"):
        pytest.skip(mark.args[0])


@pytest.fixture(scope="session")
def coap_broker(tmp_path_factory):
    running = coap_brokers.start(tmp_path_factory.mktemp("coap"))
    yield running
    running.stop()
