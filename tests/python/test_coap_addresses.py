"""Addresses: IPv6, and a listener on every address, which answers from the one that was asked (RFC 7252 §5.3.2)."""

import socket

import pytest

import coap_broker as coap_brokers
from coap_wire import CON, GET, PUT, Message, decode, path

LISTENERS = """
[[listener]]
name = "every"
protocol = "coap"
bind = "0.0.0.0:0"
anonymous = "allow"

[[listener]]
name = "six"
protocol = "coap"
bind = "[::1]:0"

[[listener]]
name = "both"
protocol = "coap"
bind = "[::]:0"
anonymous = "allow"
"""


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    running = coap_brokers.Tercet(tmp_path_factory.mktemp("everywhere"), LISTENERS)
    yield running
    running.stop()


@pytest.mark.parametrize("listener, address", [
    ("every", "127.0.0.1"), ("every", "127.0.0.5"), ("every", "127.9.8.7"), ("six", "::1"), ("both", "::1"),
    ("both", "::ffff:127.0.0.5"),
])
def test_answers_come_from_the_address_that_was_asked(everywhere, unique, listener, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        # A connected socket hears nobody else.
        sock.connect((address, everywhere.port(listener)))
        sock.settimeout(5)
        for number, (method, payload, expected) in enumerate([(PUT, b"v", "2.01"), (GET, b"", "2.05")]):
            sock.send(Message(CON, method, number, b"t", path(f"ps/{unique}"), payload).encode())
            assert decode(sock.recv(2048)).spelled == expected
