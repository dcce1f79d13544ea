"""AMQP over TLS, with client certificates, over Unix sockets and behind a proxy."""

import socket
import ssl
import struct

import pika
import pytest
from pika import spec
from pika.exceptions import AMQPConnectionError

import amqp_accounts
from amqp_peer import Amqp, declare, get, publish
from amqp_wire import Closed, Wire
from broker import Process, make_certificates

CONFIG = """
[[listener]]
name = "tls"
protocol = "amqp"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"

[[listener]]
name = "mtls"
protocol = "amqp"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
client-ca = "{dir}/ca.pem"
client-auth = "required"
use-identity-as-username = "cn"

[[listener]]
name = "unix"
protocol = "amqp"
bind = "unix:{dir}/amqp.sock"

[[listener]]
name = "proxied"
protocol = "amqp"
bind = "127.0.0.1:0"
proxy-protocol = "both"
proxy-trusted = ["127.0.0.0/8"]
"""


@pytest.fixture(scope="module")
def broker_of_listeners(tmp_path_factory, amqp_broker):
    if amqp_broker.product != "Tercet":
        pytest.skip("Tercet's own configuration")
    directory = tmp_path_factory.mktemp("listeners")
    make_certificates(directory)
    (directory / "tercet.toml").write_text(CONFIG.replace("{dir}", str(directory)))
    running = Process(directory, ["--memory", "--amqp", "127.0.0.1:0", "--mqtt", "off", "--coap", "off", "--http", "127.0.0.1:0",
                                  "--config", directory / "tercet.toml"])
    running.directory, running.amqp_port = directory, running.port("amqp")
    amqp_accounts.make(f"http://127.0.0.1:{running.port('http')}")
    yield running
    running.stop()


@pytest.fixture
def peer(broker_of_listeners, unique):
    amqp = Amqp(broker_of_listeners, unique)
    yield amqp
    amqp.end()


def tls(broker, certificate=False):
    context = ssl.create_default_context(cafile=broker.directory / "ca.pem")
    if certificate:
        context.load_cert_chain(broker.directory / "client.pem", broker.directory / "client.key")
    return pika.SSLOptions(context, "localhost")


def exchange_a_message(channel):
    channel.confirm_delivery()
    queue = declare(channel)
    body = bytes(range(256)) * 2000
    publish(channel, "", queue, body)
    assert get(channel, queue).body == body


def test_tls(peer, broker_of_listeners):
    connection = peer.connect(port=broker_of_listeners.port("tls"), ssl_options=tls(broker_of_listeners))
    exchange_a_message(connection.channel())


def test_tls_without_a_certificate_where_one_is_asked_for(peer, broker_of_listeners):
    with pytest.raises((AMQPConnectionError, ssl.SSLError, OSError)):
        peer.connect(port=broker_of_listeners.port("mtls"), ssl_options=tls(broker_of_listeners))


def test_external_is_who_the_certificate_says(peer, broker_of_listeners):
    options = {"port": broker_of_listeners.port("mtls"), "ssl_options": tls(broker_of_listeners, certificate=True)}
    parameters = peer.parameters(**options)
    parameters.credentials = pika.credentials.ExternalCredentials()
    connection = pika.BlockingConnection(parameters)
    peer.connections.append(connection)
    exchange_a_message(connection.channel())
    # The name in the certificate is alice, whom her tag allows to speak for others; her own name is always hers.
    channel = connection.channel()
    channel.confirm_delivery()
    publish(channel, "", "nowhere", "m", user_id="alice")


def test_external_is_offered_only_with_certificates(peer, broker_of_listeners):
    with Wire(broker_of_listeners.amqp_port) as wire:
        wire.start(mechanism="EXTERNAL", response="")
        assert b"EXTERNAL" not in wire.start_method.mechanisms
        assert not any(isinstance(read.method, spec.Connection.Tune) for read in wire.ended())


def test_anonymous_is_off(peer, broker_of_listeners):
    with Wire(broker_of_listeners.amqp_port) as wire:
        wire.start(mechanism="ANONYMOUS", response="")
        assert b"ANONYMOUS" not in wire.start_method.mechanisms
        assert not any(isinstance(read.method, spec.Connection.Tune) for read in wire.ended())


def test_a_unix_socket(broker_of_listeners):
    wire = Wire.__new__(Wire)
    wire.socket, wire.received, wire.frame_max = socket.socket(socket.AF_UNIX), b"", 4096
    wire.socket.settimeout(15)
    wire.socket.connect(str(broker_of_listeners.directory / "amqp.sock"))
    with wire:
        wire.open().open_channel()
        assert wire.call(1, spec.Queue.Declare(exclusive=True)).queue.startswith("amq.gen-")
        wire.close()


V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 5672\r\n",
    V2 + b"\x21\x11" + struct.pack(">H4s4sHH", 12, socket.inet_aton("127.0.0.1"), socket.inet_aton("127.0.0.1"), 40000, 5672),
], ids=["v1", "v2"])
def test_behind_a_proxy(broker_of_listeners, header):
    with Wire(broker_of_listeners.port("proxied")) as wire:
        wire.write(header)
        wire.open(user="alice").open_channel()


def test_guest_is_let_in_from_this_machine_only(broker_of_listeners):
    """Whoever comes through a proxy is where the proxy says (CVE-2026-67411)."""
    for user, expected in [("guest", spec.Connection.Close), ("alice", spec.Connection.Tune)]:
        with Wire(broker_of_listeners.port("proxied")) as wire:
            wire.write(b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 5672\r\n")
            wire.start(user=user)
            assert isinstance(wire.read().method, expected), user


@pytest.mark.parametrize("header", [b"", b"PROXY NONSENSE\r\n"])
def test_a_proxy_that_does_not_say_for_whom(broker_of_listeners, header):
    with Wire(broker_of_listeners.port("proxied")) as wire:
        wire.write(header + b"AMQP\0\0\x09\x01")
        with pytest.raises(Closed):
            while True:
                wire.read_bytes()
