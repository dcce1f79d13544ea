"""paho-mqtt at a broker that is killed and restarted: its own repetitions and the broker's memory make up for it."""

import os
import random
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from broker import DurableBroker
from peer import V5, VERSIONS, properties

ROUNDS = 12
PATIENCE = 30


@pytest.fixture
def durable(tmp_path):
    broker = DurableBroker(tmp_path)
    yield broker
    broker.stop()


class Stubborn:
    """A client with a durable session that reconnects by itself, with the session flags it was given."""

    def __init__(self, broker, name, version, **options):
        arguments = {} if version == V5 else {"clean_session": False}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **arguments)
        # The broker is back within milliseconds.
        self.client.reconnect_delay_set(0.02, 0.02)
        self.client.max_inflight_messages_set(20)
        self.connected = threading.Event()
        self.present = []
        # An attempt that fails makes paho 2.1 forget that a message was received at QoS 2: it would publish it again.
        connect_again = self.client.reconnect
        self.client.reconnect = lambda: broker.up.wait(PATIENCE) and connect_again()
        self.client.on_connect = self._connected
        for callback, function in options.items():
            setattr(self.client, callback, function)
        extra = {}
        if version == V5:
            extra = {"clean_start": False, "properties": properties("CONNECT", SessionExpiryInterval=600)}
        self.client.connect("127.0.0.1", broker.port(), 60, **extra)
        self.client.loop_start()
        assert self.connected.wait(PATIENCE)

    def _connected(self, client, userdata, flags, code, props):
        assert not code.is_failure, code
        self.present.append(flags.session_present)
        self.connected.set()

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.01)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", ["3.1.1", "5"])
def test_what_was_confirmed_arrives_through_kills(durable, name):
    version = VERSIONS[name]
    seed = int(os.environ.get("TERCET_SEED", time.time_ns()))
    print(f"TERCET_SEED={seed}")
    chance = random.Random(seed)
    seen = {1: [], 2: []}

    def received(client, userdata, message):
        seen[int(message.topic[-1])].append(int(message.payload))

    subscribed = threading.Event()
    subscriber = Stubborn(durable, "s", version, on_message=received,
                          on_subscribe=lambda *arguments: subscribed.set())
    subscriber.client.subscribe([("t/1", 1), ("t/2", 2)])
    assert subscribed.wait(PATIENCE)
    confirmed = set()
    publisher = Stubborn(durable, "p", version,
                         on_publish=lambda client, userdata, mid, code, props: confirmed.add(mid))
    sent = []
    for _ in range(ROUNDS):
        for _ in range(chance.randrange(10, 60)):
            number = len(sent)
            sent.append(publisher.client.publish(f"t/{1 + number % 2}", str(number), 1 + number % 2))
        time.sleep(chance.random() * 0.15)
        for peer in [subscriber, publisher]:
            assert peer.connected.wait(PATIENCE)
            peer.connected.clear()
        durable.kill_and_start()
    # paho keeps what it is given while it is not connected, and says so with an error.
    wait_until(lambda: len(confirmed) == len(sent), lambda: f"{len(confirmed)} of {len(sent)} confirmed")
    expected = {1: set(range(0, len(sent), 2)), 2: set(range(1, len(sent), 2))}
    wait_until(lambda: all(set(seen[qos]) >= expected[qos] for qos in seen),
               lambda: {qos: sorted(expected[qos] - set(seen[qos])) for qos in seen})
    # QoS 2 exactly once; both in order, when repetitions are left out.
    assert seen[2] == sorted(expected[2])
    assert list(dict.fromkeys(seen[1])) == sorted(expected[1])
    for peer in [subscriber, publisher]:
        peer.stop()
        assert peer.present[0] is False and len(peer.present) > 1
        assert all(peer.present[1:]), peer.present
