"""The tools of libcoap (C) against the broker: plain, by TCP, and by DTLS and TLS with keys and certificates."""

import subprocess

import pytest

import coap_broker as coap_brokers
from broker import PATIENCE, make_certificates
from coap_tools import client, failure, observing
from coap_wire import GET, Wire
from peer import Peer

KEYS = {"sensor": "sesame open", "bob": "another key"}
SECURE = """
[listen]
mqtts = "off"
amqps = "off"
https = "off"

[coap]
psk-file = "{dir}/keys"

[tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
client-ca = "{dir}/ca.pem"
client-auth = "optional"
"""


@pytest.fixture(scope="module")
def secure_broker(tmp_path_factory):
    """Also listens for DTLS and TLS, with pre-shared keys and with a certificate."""
    directory = tmp_path_factory.mktemp("secure")
    make_certificates(directory)
    lines = [f"{identity}:{key.encode().hex()}\n" for identity, key in KEYS.items()]
    (directory / "keys").write_text("".join(lines))
    (directory / "keys").chmod(0o600)
    running = coap_brokers.Tercet(directory, SECURE.format(dir=directory))
    yield running
    running.stop()


PLAIN = {"udp": ("coap", "coap"), "tcp": ("coap+tcp", "coap-tcp")}


@pytest.fixture(params=PLAIN)
def base(coap_broker, request):
    scheme, listener = PLAIN[request.param]
    return f"{scheme}://127.0.0.1:{coap_broker.port(listener)}"


def test_a_value_goes_and_comes(base, unique, tmp_path):
    where = f"{base}/ps/{unique}"
    assert failure(where).startswith("4.04")
    client(where, "-m", "put", "-t", "text/plain", "-e", "21.5")
    assert client(where) == b"21.5\n"
    (tmp_path / "in").write_bytes(bytes(range(256)) * 200)
    client(where, "-m", "put", "-t", "42", "-f", str(tmp_path / "in"))
    client(where, "-o", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    client(where, "-m", "delete")
    assert failure(where).startswith("4.04")


def test_an_observer_prints_what_is_published(base, coap_broker, unique):
    publisher = Peer(coap_broker, unique).start()
    with observing(f"{base}/ps/{unique}/v") as process:
        for number in range(20):
            # It observes from its first line on.
            publisher.publish(f"{unique}/v", str(number).encode(), qos=1, retain=True)
            if number == 0:
                assert process.stdout.readline().strip() in (b"0", b"")
        line = b""
        while line != b"19":
            line = process.stdout.readline().strip()
            assert line or process.poll() is None
    publisher.stop()


def test_refusals_are_shown(base, unique):
    assert failure(f"{base}/ps/{unique}", "-m", "put").startswith("4.00")
    assert failure(f"{base}/nowhere").startswith("4.04")
    assert failure(f"{base}/ps/{unique}/a%2Fb", "-m", "put", "-e", "x").startswith("4.00")
    assert failure(f"{base}/.well-known/core", "-m", "delete").startswith("4.05")
    assert failure(f"{base}/ps/{unique}", "-O", "9999,x").startswith("4.02")


def test_discovery(base):
    assert b'</ps>;' in client(f"{base}/.well-known/core")


def test_every_method_of_a_topic(base, unique):
    """As the draft's examples do it, with CBOR written by hand."""
    name = unique.encode()
    creation = "a200" + bytes([0x60 + len(name)]).hex() + name.hex() + "026c" + b"core.ps.data".hex()
    created = subprocess.run(["coap-client-notls", "-v", "6", "-m", "post", "-t", "606", "-f", "-", f"{base}/ps"],
                             input=bytes.fromhex(creation), capture_output=True, timeout=PATIENCE)
    assert b"2.01" in created.stdout + created.stderr, created
    where = [part.split(b",")[0].strip() for part in (created.stdout + created.stderr).split(b"Location-Path:")[1:]]
    location = "/".join(part.decode() for part in where)
    client(f"{base}/{location}", "-m", "fetch", "-t", "60", "-f", "-", input=bytes.fromhex("8100"))
    client(f"{base}/{location}", "-m", "ipatch", "-t", "606", "-f", "-", input=bytes.fromhex("a10461") + b"x")
    client(f"{base}/{location}", "-m", "delete")
    assert failure(f"{base}/{location}").startswith("4.04")


SECURED = {"dtls": ("coaps", "coaps"), "tls": ("coaps+tcp", "coaps-tcp")}


@pytest.fixture(params=SECURED)
def secured(secure_broker, request):
    scheme, listener = SECURED[request.param]
    return f"{scheme}://127.0.0.1:{secure_broker.port(listener)}"


@pytest.mark.parametrize("flavour", ["openssl", "gnutls"])
@pytest.mark.parametrize("user", KEYS)
def test_dtls_with_a_key(secure_broker, unique, flavour, user):
    where = f"coaps://127.0.0.1:{secure_broker.port('coaps')}/ps/{unique}"
    login = ["-u", user, "-k", KEYS[user]]
    client(where, "-m", "put", "-e", "secret", *login, flavour=flavour)
    assert client(where, *login, flavour=flavour) == b"secret\n"
    with Wire(secure_broker.coap_port) as wire:
        assert wire.ask(GET, f"ps/{unique}").payload == b"secret"


@pytest.mark.parametrize("user, key", [("sensor", "wrong"), ("stranger", "sesame open")])
def test_a_wrong_key_gets_nothing(secure_broker, unique, user, key):
    subprocess.run(["coap-client-openssl", "-B", "3", "-m", "put", "-e", "x", "-u", user, "-k", key,
                    f"coaps://127.0.0.1:{secure_broker.port('coaps')}/ps/{unique}"], capture_output=True, timeout=PATIENCE)
    with Wire(secure_broker.coap_port) as wire:
        assert wire.ask(GET, f"ps/{unique}").spelled == "4.04"


@pytest.mark.parametrize("flavour", ["openssl", "gnutls"])
def test_a_certificate_that_is_checked(secured, secure_broker, unique, flavour):
    directory = secure_broker.directory
    where = f"{secured}/ps/{unique}"
    trust = ["-C", str(directory / "ca.pem")]
    mine = ["-c", str(directory / "client.pem"), "-j", str(directory / "client.key")]
    client(where, "-m", "put", "-e", "by certificate", *trust, *mine, flavour=flavour)
    assert client(where, *trust, *mine, flavour=flavour) == b"by certificate\n"


def test_an_observer_by_dtls(secure_broker, unique):
    publisher = Peer(secure_broker, unique).start()
    publisher.publish(f"{unique}/v", b"0", qos=1, retain=True)
    where = f"coaps://127.0.0.1:{secure_broker.port('coaps')}/ps/{unique}/v"
    with observing(where, "-u", "sensor", "-k", KEYS["sensor"], flavour="openssl") as process:
        assert process.stdout.readline().strip() == b"0"
        publisher.publish(f"{unique}/v", b"1", qos=1, retain=True)
        assert process.stdout.readline().strip() == b"1"
    publisher.stop()


def test_large_values_by_dtls(secure_broker, unique, tmp_path):
    (tmp_path / "in").write_bytes(bytes(range(256)) * 50)
    where = f"coaps://127.0.0.1:{secure_broker.port('coaps')}/ps/{unique}"
    login = ["-u", "sensor", "-k", KEYS["sensor"]]
    client(where, "-m", "put", "-t", "42", "-f", str(tmp_path / "in"), *login, flavour="openssl")
    client(where, "-o", str(tmp_path / "out"), *login, flavour="openssl")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
