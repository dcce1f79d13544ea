"""Datagrams lost, repeated and out of order between third-party clients and the broker: what is confirmed has happened, and it
has happened once.
"""

import asyncio
import collections

import pytest
from aiocoap.numbers.codes import Code

import coap_broker as coap_brokers
from coap_peer import GET, POST, PUT, Hasty, client, together
from coap_relay import TO_CLIENT, TO_SERVER, Lossy, Relay
from coap_tools import client as coap_client
from coap_wire import CON, NON, Wire
from coap_wire import POST as WIRE_POST
from peer import Peer

SEEDS = [12, 13]


@pytest.fixture(scope="module")
def hasty_broker(tmp_path_factory):
    """It, too, sends again soon."""
    running = coap_brokers.start(tmp_path_factory.mktemp("hasty"), '[coap]\nack-timeout = "100ms"\nmax-retransmit = 8\n')
    yield running
    running.stop()


@pytest.fixture
def listener(hasty_broker, unique):
    peer = Peer(hasty_broker, f"listener-{unique}").start()
    peer.subscribe(f"{unique}/#", 1)
    yield peer
    peer.stop()


def lossy(broker, seed, **more):
    relay = Relay(broker.coap_port, Lossy(seed, **more))
    return relay, f"coap://127.0.0.1:{relay.port}"


def assert_rough(relay):
    """That something went wrong in both directions; otherwise the test shows nothing."""
    for towards in (TO_SERVER, TO_CLIENT):
        fates = collections.Counter(seen.copies for seen in relay.seen if seen.towards == towards)
        assert fates[0] and fates[2], (towards, fates)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", [PUT, POST])
@together
async def test_a_publication_happens_once(hasty_broker, listener, unique, seed, method):
    relay, base = lossy(hasty_broker, seed)
    with relay:
        async with client(base) as peer:
            for number in range(20):
                answer = await peer.ask(method, f"ps/{unique}/{number}", str(number).encode(), transport_tuning=Hasty())
                # Created once: that it was sent again does not make it a change.
                assert answer.code == (Code.CREATED if method == PUT else Code.CHANGED)
        assert_rough(relay)
    listener.publish(f"{unique}/end", b"end", qos=1)
    heard = []
    while (message := listener.take()).payload != b"end":
        heard.append(int(message.payload))
    assert heard == list(range(20))


@pytest.mark.parametrize("seed", SEEDS)
@together
async def test_an_observer_ends_up_with_the_last_value(hasty_broker, listener, unique, seed):
    relay, base = lossy(hasty_broker, seed)
    with relay:
        async with client(base) as peer:
            observation = peer.observe(f"ps/{unique}/v", transport_tuning=Hasty())
            await observation.first()
            for number in range(30):
                await asyncio.to_thread(listener.publish, f"{unique}/v", str(number).encode(), qos=1, retain=True)
            # The last notification may be a NON that is lost; a further change makes up for it until one arrives.
            last, number = None, 29
            while last is None or last < 29:
                try:
                    last = int((await observation.next(1)).payload)
                except asyncio.TimeoutError:
                    number += 1
                    await asyncio.to_thread(listener.publish, f"{unique}/v", str(number).encode(), qos=1, retain=True)


@pytest.mark.parametrize("seed", SEEDS)
@together
async def test_blocks_arrive_whole(hasty_broker, unique, seed):
    value = bytes(number % 256 for number in range(6000))
    relay, base = lossy(hasty_broker, seed)
    with relay:
        async with client(base) as peer:
            await peer.put(f"ps/{unique}", value, 42, transport_tuning=Hasty())
            response = await peer.ask(GET, f"ps/{unique}", transport_tuning=Hasty())
            assert response.payload == value


@pytest.mark.parametrize("kind", [CON, NON])
def test_what_is_repeated_is_not_published_again(hasty_broker, listener, unique, kind):
    with Wire(hasty_broker.coap_port) as wire:
        for number in range(20):
            request = wire.request(WIRE_POST, f"ps/{unique}/{number}", b"m", kind=kind)
            for _ in range(number % 4):
                wire.send(request)
        answers = [message for message in wire.settled() if message.code]
        ids = collections.Counter(answer.token for answer in answers)
        assert len(ids) == 20
        if kind == CON:
            # Each copy gets the same answer.
            assert sorted(ids.values()) == sorted(1 + number % 4 for number in range(20))
    listener.publish(f"{unique}/end", b"end", qos=1)
    topics = []
    while (message := listener.take()).payload != b"end":
        topics.append(message.topic)
    assert topics == [f"{unique}/{number}" for number in range(20)]


def test_the_first_transmission_may_be_lost(hasty_broker, listener, unique):
    """coap-client, which waits for two seconds before it sends again."""
    with Relay(hasty_broker.coap_port, lambda seen: int(bool(relay.messages(TO_SERVER)))) as relay:
        coap_client(f"coap://127.0.0.1:{relay.port}/ps/{unique}/a", "-m", "post", "-e", "m")
        assert [seen.copies for seen in relay.seen if seen.towards == TO_SERVER] == [0, 1]
    assert listener.take().payload == b"m"


def test_an_answer_that_was_lost_is_given_again(hasty_broker, listener, unique):
    with Relay(hasty_broker.coap_port, lambda seen: int(seen.towards == TO_SERVER or bool(relay.messages(TO_CLIENT)))) as relay:
        coap_client(f"coap://127.0.0.1:{relay.port}/ps/{unique}/a", "-m", "put", "-e", "m")
        first, second = relay.responses
        assert first == second and first.spelled == "2.01"
    listener.publish(f"{unique}/end", b"end", qos=1)
    assert [listener.take().payload for _ in range(2)] == [b"m", b"end"]
