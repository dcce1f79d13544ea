"""OSCORE (RFC 8613) with aiocoap: the broker reads the contexts from a file in libcoap's form."""

import json

import pytest
from aiocoap.numbers.codes import Code

import coap_broker as coap_brokers
from broker import Process
from coap_peer import DELETE, GET, POST, client, together
from coap_relay import Relay
from coap_wire import ETAG, OSCORE, OBSERVE, PUT, URI_PATH, Wire
from peer import Peer

SECRET, SALT = "0102030405060708090a0b0c0d0e0f10", "9e7ca92223786340"
# One for each test: the broker remembers what its clients have sent, and aiocoap keeps that in the test's directory.
NAMES = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]
CONTEXTS = "".join(f"""
master_secret,hex,"{SECRET[:-2]}{number:02x}"
master_salt,hex,"{SALT}"
sender_id,ascii,"server"
recipient_id,ascii,"{name}"
""" for number, name in enumerate(NAMES))


def config(directory):
    (directory / "contexts").write_text(CONTEXTS)
    (directory / "contexts").chmod(0o600)
    return f'[coap]\noscore-file = "{directory}/contexts"\n'


@pytest.fixture(scope="module")
def oscore_broker(tmp_path_factory):
    directory = tmp_path_factory.mktemp("oscore")
    running = coap_brokers.Tercet(directory, config(directory))
    yield running
    running.stop()


class Durable(Process):
    """Keeps what it knows, and its port."""

    def __init__(self, directory, port="0"):
        (directory / "tercet.toml").write_text(config(directory))
        super().__init__(directory, ["--data", directory / "data", "--coap", f"127.0.0.1:{port}", "--mqtt", "off", "--amqp", "off",
                                     "--http", "off", "--config", directory / "tercet.toml"])
        self.coap_port = self.port("coap")


def protected(directory, port, name, secret=None):
    """A client whose requests to a port are protected; its context is kept in a directory of its own."""
    keys = directory / name
    keys.mkdir(exist_ok=True)
    (keys / "secret.json").write_text(json.dumps({
        "secret_hex": secret or f"{SECRET[:-2]}{NAMES.index(name):02x}", "salt_hex": SALT}))
    (keys / "settings.json").write_text(json.dumps({"sender-id_ascii": name, "recipient-id_ascii": "server"}))
    base = f"coap://127.0.0.1:{port}"
    made = client(base)

    class Protected:
        async def __aenter__(self):
            self.peer = await made.__aenter__()
            self.peer.context.client_credentials.load_from_dict({f"{base}/*": {"oscore": {"basedir": f"{keys}/"}}})
            return self.peer

        async def __aexit__(self, *error):
            # The lock of the context's directory goes with the credentials.
            self.peer.context.client_credentials.clear()
            return await made.__aexit__(*error)

    return Protected()


@together
async def test_a_value_goes_and_comes_unseen(oscore_broker, unique, tmp_path):
    with Relay(oscore_broker.coap_port) as relay:
        async with protected(tmp_path, relay.port, "alice") as peer:
            assert (await peer.put(f"ps/{unique}", b"secret")).code == Code.CREATED
            response = await peer.ask(GET, f"ps/{unique}")
            assert (response.code, response.payload) == (Code.CONTENT, b"secret")
            assert (await peer.ask(GET, f"ps/{unique}", etags=[response.opt.etag])).code == Code.VALID
            assert (await peer.ask(POST, f"ps/{unique}", b"event")).code == Code.CHANGED
            assert (await peer.ask(DELETE, f"ps/{unique}")).code == Code.DELETED
            assert (await peer.ask(GET, f"ps/{unique}")).code == Code.NOT_FOUND
        for seen in relay.seen:
            message = seen.message
            assert b"secret" not in seen.data and unique.encode() not in seen.data and not message.all(URI_PATH)
            if message.code:
                # A response's option may be empty, and nothing else of the message shows.
                assert len(message.all(OSCORE)) == 1 and not message.all(ETAG)
                assert message.spelled in ("0.02", "2.04")


@together
async def test_the_same_value_is_there_for_all(oscore_broker, unique, tmp_path):
    async with protected(tmp_path, oscore_broker.coap_port, "bob") as peer:
        await peer.put(f"ps/{unique}", b"from bob")
        with Wire(oscore_broker.coap_port) as wire:
            assert wire.ask(1, f"ps/{unique}").payload == b"from bob"
            assert wire.ask(PUT, f"ps/{unique}", b"in the open").spelled == "2.04"
        assert await peer.take(f"ps/{unique}") == b"in the open"


@together
async def test_an_observer_is_told_unseen(oscore_broker, unique, tmp_path):
    publisher = Peer(oscore_broker, unique).start()
    with Relay(oscore_broker.coap_port) as relay:
        async with protected(tmp_path, relay.port, "carol") as peer:
            await peer.put(f"ps/{unique}", b"value 0")
            observation = peer.observe(f"ps/{unique}")
            assert (await observation.first()).payload == b"value 0"
            for number in range(1, 6):
                publisher.publish(unique, b"value %d" % number, qos=1, retain=True, ContentType="text/plain;charset=utf-8")
                assert (await observation.next()).payload == b"value %d" % number
        notifications = [message for message in relay.responses if message.all(OBSERVE)]
        assert len(notifications) >= 6 and {message.spelled for message in notifications} == {"2.05"}
        assert not [seen for seen in relay.seen if b"value" in seen.data]
    publisher.stop()


@pytest.mark.parametrize("name, size", [("erin", 1000), ("frank", 5000)])
@together
async def test_large_values_travel_in_inner_blocks(oscore_broker, unique, tmp_path, name, size):
    value = bytes(number % 251 for number in range(size))
    async with protected(tmp_path, oscore_broker.coap_port, name) as peer:
        await peer.put(f"ps/{unique}", value, 42)
        assert await peer.take(f"ps/{unique}") == value


@together
async def test_a_wrong_key_reads_nothing(oscore_broker, unique, tmp_path):
    async with protected(tmp_path, oscore_broker.coap_port, "grace", secret="ff" * 16) as peer:
        with pytest.raises(Exception):
            await peer.ask(GET, f"ps/{unique}")
    async with client(f"coap://127.0.0.1:{oscore_broker.coap_port}") as plain:
        assert (await plain.ask(GET, f"ps/{unique}")).code == Code.NOT_FOUND


def test_a_repeated_request_is_a_replay(oscore_broker, unique, tmp_path):
    """The datagram of a protected request, sent again from another port: it is not carried out, and the error is in the open."""
    with Relay(oscore_broker.coap_port) as relay:
        once(relay.port, unique, tmp_path)
        request = next(seen for seen in relay.seen if seen.message.is_request and seen.message.all(OSCORE))
    with Wire(oscore_broker.coap_port) as wire:
        wire.send(request.data)
        answer = wire.take()
    assert answer.spelled == "4.01" and not answer.all(OSCORE) and answer.uint(14) == 0


@together
async def once(port, unique, tmp_path):
    async with protected(tmp_path, port, "dave") as peer:
        await peer.put(f"ps/{unique}", b"once")


@together
async def test_a_restarted_broker_asks_for_freshness_and_goes_on(unique, tmp_path):
    directory = tmp_path / "broker"
    directory.mkdir()
    broker = Durable(directory)
    try:
        async with protected(tmp_path, broker.coap_port, "heidi") as peer:
            for number in range(3):
                await peer.put(f"ps/{unique}", str(number).encode())
            broker.stop()
            broker = Durable(directory, broker.coap_port)
            # A challenge (RFC 8613 B.1.2, RFC 9175) comes between, which aiocoap answers by itself.
            assert await peer.take(f"ps/{unique}") == b"2"
            await peer.put(f"ps/{unique}", b"3")
            assert await peer.take(f"ps/{unique}") == b"3"
    finally:
        broker.stop()
