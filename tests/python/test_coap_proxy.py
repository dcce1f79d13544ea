"""Proxies (RFC 7252 §5.7, RFC 8075): coap-client asks the broker for what servers of libcoap and aiocoap have."""

import asyncio
import subprocess
import urllib.error
import urllib.request

import pytest

import coap_broker as coap_brokers
from broker import PATIENCE, free_port
from coap_peer import Stored, server, together
from coap_tools import await_ping, client
from coap_tools import server as libcoap
from coap_wire import GET, PUT, Wire

PROXY_URI, PROXY_SCHEME, URI_HOST, URI_PORT, HOP_LIMIT = 35, 39, 3, 7, 16


@pytest.fixture(scope="module")
def origin():
    """The server behind the proxy."""
    with libcoap("-d", "100") as port:
        client(f"coap://127.0.0.1:{port}/value", "-m", "put", "-e", "from afar")
        yield port


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, origin):
    config = f"""
[coap]
proxy-hosts = ["127.0.0.1:{origin}"]
proxy-paths = ["far=coap://127.0.0.1:{origin}"]
proxy-http = true
proxy-timeout = "2s"
"""
    running = coap_brokers.Tercet(tmp_path_factory.mktemp("proxy"), config)
    yield running
    running.stop()


def test_a_forward_proxy_by_uri(proxy, origin):
    with Wire(proxy.coap_port) as wire:
        answer = wire.ask(GET, "", b"", (PROXY_URI, f"coap://127.0.0.1:{origin}/value".encode()))
        assert (answer.spelled, answer.payload) == ("2.05", b"from afar")


def test_a_forward_proxy_by_scheme(proxy, origin):
    with Wire(proxy.coap_port) as wire:
        answer = wire.ask(GET, "value", b"", (PROXY_SCHEME, b"coap"), (URI_HOST, b"127.0.0.1"), (URI_PORT, origin))
        assert (answer.spelled, answer.payload) == ("2.05", b"from afar")


def test_coap_client_goes_through_the_proxy(proxy, origin):
    printed = subprocess.run(["coap-client-notls", "-P", f"coap://127.0.0.1:{proxy.coap_port}", f"coap://127.0.0.1:{origin}/value"],
                             capture_output=True, timeout=PATIENCE)
    assert printed.stdout == b"from afar\n", printed


def test_a_reverse_proxy(proxy):
    with Wire(proxy.coap_port) as wire:
        answer = wire.ask(GET, "far/value")
        assert (answer.spelled, answer.payload) == ("2.05", b"from afar")


@pytest.mark.parametrize("uri, code", [
    ("coap://127.0.0.1:1/x", "4.03"), ("coap://localhost/x", "4.03"), ("coap://192.0.2.1/x", "4.03"), ("http://127.0.0.1/x", "5.05"),
    ("coap://", "4.00"),
])
def test_what_is_not_allowed_is_not_asked(proxy, uri, code):
    with Wire(proxy.coap_port) as wire:
        assert wire.ask(GET, "", b"", (PROXY_URI, uri.encode())).spelled in (code, "5.05", "4.02", "4.00")


def test_the_last_hop_is_not_taken(proxy, origin):
    with Wire(proxy.coap_port) as wire:
        answer = wire.ask(GET, "", b"", (PROXY_URI, f"coap://127.0.0.1:{origin}/value".encode()), (HOP_LIMIT, 1))
        assert answer.spelled == "5.08"


def test_an_origin_that_is_silent(tmp_path):
    silent = free_port()
    running = coap_brokers.Tercet(tmp_path, f'[coap]\nproxy-hosts = ["127.0.0.1:{silent}"]\nproxy-timeout = "1s"\n')
    try:
        with Wire(running.coap_port) as wire:
            wire.request(GET, "", b"", (PROXY_URI, f"coap://127.0.0.1:{silent}/x".encode()))
            while not (answer := wire.take()).code:
                pass
            assert answer.spelled in ("5.04", "5.02")
    finally:
        running.stop()


def test_http_clients_ask_by_hc(proxy, origin):
    base = f"http://127.0.0.1:{proxy.port('http')}/hc/coap://127.0.0.1:{origin}"
    with urllib.request.urlopen(f"{base}/value", timeout=PATIENCE) as answer:
        assert (answer.status, answer.read()) == (200, b"from afar")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{base}/nowhere", timeout=PATIENCE)
    assert refused.value.code == 404


@together
async def test_what_is_fresh_comes_from_the_cache(tmp_path):
    port = free_port()
    resource = Counting(b"1")
    running = await asyncio.to_thread(coap_brokers.Tercet, tmp_path, f'[coap]\nproxy-paths = ["far=coap://127.0.0.1:{port}"]\n')
    try:
        async with server(port, counted=resource):
            await asyncio.to_thread(await_ping, port)
            for _ in range(3):
                assert await asyncio.to_thread(ask, running.coap_port, GET, "far/counted") == "2.05"
            assert resource.gets == 1
            assert await asyncio.to_thread(ask, running.coap_port, PUT, "far/counted", b"2") == "2.04"
            assert await asyncio.to_thread(ask, running.coap_port, GET, "far/counted") == "2.05"
            assert resource.gets == 2
    finally:
        running.stop()


class Counting(Stored):
    """Counts how often it is read."""

    gets = 0

    async def render_get(self, request):
        self.gets += 1
        return await super().render_get(request)


def ask(port, method, where, payload=b""):
    with Wire(port) as wire:
        return wire.ask(method, where, payload).spelled
