"""The client's side of the plugtests of ETSI and IPSO: `tercet coap` asks a server of aiocoap, which has the resources that the
cases speak of, and coap-server of libcoap.
"""

import asyncio
import contextlib

import pytest

from broker import PATIENCE, binary, free_port
from coap_peer import Stored, server, together
from coap_relay import TO_CLIENT, TO_SERVER, Relay
from coap_tools import await_ping
from coap_tools import server as libcoap
from coap_wire import (ACCEPT, ACK, BLOCK1, BLOCK2, CON, CONTENT_FORMAT, DELETE, ETAG, GET, IF_MATCH, IF_NONE_MATCH, NON, OBSERVE,
                       POST, PUT, TEXT, URI_PATH, URI_QUERY, XML)


class Stage:
    """`tercet coap` on one side of a relay, a server of aiocoap on the other."""

    def __init__(self, relay, context):
        self.relay, self.context = relay, context

    def url(self, path):
        return f"coap://127.0.0.1:{self.relay.port}/{path}"

    async def run(self, command, path, *arguments, code=0, stdin=None):
        """Runs a command to its end: what it printed, its first request and the last response."""
        before, answered = len(self.relay.requests), len(self.relay.responses)
        process = await asyncio.create_subprocess_exec(
            binary(), "coap", command, *arguments, self.url(path), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await asyncio.wait_for(process.communicate(stdin), PATIENCE)
        assert process.returncode == code, (process.returncode, out, err)
        self.said = err.decode()
        return out, self.relay.requests[before], ([None] + self.relay.responses[answered:])[-1]


@contextlib.asynccontextmanager
async def stage(**resources):
    port = free_port()
    async with server(port, **resources) as context:
        await asyncio.to_thread(await_ping, port)
        with Relay(port) as relay:
            yield Stage(relay, context)


def answered(request, response, code, kind=CON):
    """A response of the server to the client's request."""
    assert (request.kind, response.spelled, response.token) == (kind, code, request.token)
    return True


@pytest.mark.parametrize("kind", [CON, NON])
@pytest.mark.parametrize("number, command, method, code", [
    ("01 and 05", "get", GET, "2.05"), ("02 and 06", "delete", DELETE, "2.02"), ("03 and 07", "put", PUT, "2.04"),
    ("04 and 08", "post", POST, "2.04"),
])
@together
async def test_TD_COAP_CORE_01_to_08(kind, number, command, method, code):
    async with stage() as here:
        body = ["-t", "0", "-e", "a body"] if method in (PUT, POST) else []
        printed, request, response = await here.run(command, "test", *body, *(["-N"] if kind == NON else []))
        assert request.code == method and answered(request, response, code, kind)
        assert request.payload == (b"a body" if body else b"") and request.uint(CONTENT_FORMAT) == (TEXT if body else None)
        assert printed.strip() == {GET: b"a value", POST: b"ydob a"}.get(method, b"")


@together
async def test_TD_COAP_CORE_09_and_11_separate_response():
    async with stage() as here:
        printed, request, response = await here.run("get", "separate")
        assert printed.strip() == b"at last" and answered(request, response, "2.05")
        empty = next(message for message in here.relay.messages(TO_CLIENT) if message.code == 0)
        assert (empty.kind, empty.id) == (ACK, request.id) and 1 <= len(request.token) <= 8
        assert response.kind == CON
        await asyncio.to_thread(here.relay.wait, lambda seen: any(
            (one.message.kind, one.message.code, one.message.id) == (ACK, 0, response.id) for one in seen
            if one.towards == TO_SERVER), "ACK of the response")


@pytest.mark.parametrize("token", ["t", "12345678"])
@together
async def test_TD_COAP_CORE_10_token(token):
    async with stage() as here:
        _, request, response = await here.run("get", "test", "-T", token)
        assert request.token == token.encode() and answered(request, response, "2.05")


@together
async def test_TD_COAP_CORE_13_several_uri_path():
    async with stage() as here:
        printed, request, _ = await here.run("get", "seg1/seg2/seg3")
        assert request.all(URI_PATH) == [b"seg1", b"seg2", b"seg3"] and printed.strip() == b"deep"


@together
async def test_TD_COAP_CORE_14_several_uri_query():
    async with stage() as here:
        printed, request, _ = await here.run("get", "guarded?first=1&second=2&third=3")
        assert request.all(URI_QUERY) == [b"first=1", b"second=2", b"third=3"] and printed.strip() == b"first=1&second=2&third=3"


@pytest.mark.parametrize("towards", [TO_SERVER, TO_CLIENT])
@together
async def test_TD_COAP_CORE_15_lossy_get(towards):
    async with stage() as here:
        here.relay.policy = lambda seen: int(seen.towards != towards or bool(here.relay.messages(towards)))
        printed, request, _ = await here.run("get", "test")
        assert printed.strip() == b"a value" and here.relay.requests == [request] * 2


@pytest.mark.parametrize("lost", ["request", "ACK", "response", "its ACK"])
@together
async def test_TD_COAP_CORE_16_lossy_separate_response(lost):
    async with stage() as here:
        gone = []

        def policy(seen):
            message = seen.message
            what = "request" if message.is_request else "response" if message.code else \
                "ACK" if seen.towards == TO_CLIENT else "its ACK"
            if what == lost and not gone:
                gone.append(message)
                return 0
            return 1

        here.relay.policy = policy
        printed, request, response = await here.run("get", "separate")
        assert printed.strip() == b"at last"
        # The client may end before its last acknowledgement has come by here.
        await asyncio.to_thread(here.relay.wait, lambda _: gone, f"the {lost} to be lost")
        assert answered(request, response, "2.05")
        if lost == "ACK":
            # The response stops the retransmission as well.
            assert here.relay.requests == [request]


@together
async def test_TD_COAP_CORE_17_separate_non():
    async with stage() as here:
        printed, request, response = await here.run("get", "separate", "-N")
        assert printed.strip() == b"at last" and response.kind == NON and answered(request, response, "2.05", NON)
        assert not [message for message in here.relay.messages(TO_CLIENT) if message.kind == ACK]


@together
async def test_TD_COAP_CORE_18_and_19_location():
    async with stage() as here:
        _, request, response = await here.run("post", "create", "-v", "-t", "0", "-e", "x")
        assert answered(request, response, "2.01")
        assert all(part in here.said for part in ["location1", "location2", "location3", "first=1", "second=2"])


@pytest.mark.parametrize("accept, said", [(TEXT, b"text"), (XML, b"<xml/>")])
@together
async def test_TD_COAP_CORE_20_accept(accept, said):
    async with stage() as here:
        printed, request, response = await here.run("get", "formats", "-A", str(accept))
        assert printed.strip() == said and request.uint(ACCEPT) == accept and response.uint(CONTENT_FORMAT) == accept


@together
async def test_TD_COAP_CORE_20_not_acceptable():
    async with stage() as here:
        printed, _, response = await here.run("get", "formats", "-A", "50", code=1)
        assert not printed and response.spelled == "4.06" and "4.06" in here.said


@together
async def test_TD_COAP_CORE_21_to_23_options():
    async with stage() as here:
        _, request, _ = await here.run("get", "test", "-O", "4,0x0102")
        assert request.all(ETAG) == [b"\x01\x02"]
        _, request, _ = await here.run("put", "test", "-e", "x", "-O", "1,0x0102")
        assert request.all(IF_MATCH) == [b"\x01\x02"]
        _, request, _ = await here.run("put", "test", "-e", "x", "-O", "5,")
        assert request.all(IF_NONE_MATCH) == [b""]


@together
async def test_an_error_shows_its_diagnostic_payload():
    async with stage() as here:
        printed, _, response = await here.run("put", "guarded", "-e", "x", code=1)
        assert not printed and response.spelled == "4.03" and "not for you" in here.said
        await here.run("get", "nowhere", code=1)
        assert "4.04" in here.said


@pytest.mark.parametrize("command, said", [("fetch", b"fetched x"), ("ipatch", b"patched x")])
@together
async def test_methods_of_rfc_8132(command, said):
    async with stage() as here:
        printed, _, _ = await here.run(command, "test", "-t", "60", "-e", "x")
        assert printed.strip() == said


LARGE = bytes(range(32, 127)) * 40


@pytest.mark.parametrize("size", [None, 16, 64, 1024])
@together
async def test_TD_COAP_BLOCK_01_02_06_get(size):
    async with stage() as here:
        printed, request, _ = await here.run("get", "large", *(["-b", str(size)] if size else []))
        assert printed.rstrip(b"\n") == LARGE
        assert request.block(BLOCK2) == ((0, False, size) if size else None)
        blocks = [response.block(BLOCK2) for response in here.relay.responses]
        got = size or 1024
        assert blocks == [(number, number < len(blocks) - 1, got) for number in range((len(LARGE) - 1) // got + 1)]


@pytest.mark.parametrize("size", [None, 16, 256])
@pytest.mark.parametrize("command", ["put", "post"])
@together
async def test_TD_COAP_BLOCK_03_to_05_uploads(command, size):
    async with stage() as here:
        printed, _, response = await here.run(command, "test", "-t", "42", "-f", "-", *(["-b", str(size)] if size else []), stdin=LARGE)
        assert response.spelled == "2.04"
        blocks = [request.block(BLOCK1) for request in here.relay.requests if request.block(BLOCK1)]
        last = (len(LARGE) - 1) // (size or 1024)
        assert blocks == [(number, number < last, size or 1024) for number in range(last + 1)]
        if command == "post":
            # The answer comes in blocks, too.
            assert printed.rstrip(b"\n") == LARGE[::-1].rstrip(b"\n")
        else:
            assert here.context.resources["test"].payload == LARGE


@contextlib.asynccontextmanager
async def observing(here, path, *arguments):
    process = await asyncio.create_subprocess_exec(binary(), "coap", "observe", *arguments, here.url(path),
                                                   stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def line(process):
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).rstrip(b"\n")


@pytest.mark.parametrize("kind", [CON, NON])
@together
async def test_TD_COAP_OBS_01_and_02(kind):
    async with stage() as here, observing(here, "test", *(["-N"] if kind == NON else [])) as process:
        assert await line(process) == b"a value"
        [request] = here.relay.requests
        assert request.kind == kind and request.all(OBSERVE) == [b""]
        resource = here.context.resources["test"]
        for number in range(5):
            resource.payload = str(number).encode()
            resource.updated_state()
            assert await line(process) == resource.payload
        for notification in here.relay.responses[1:]:
            if notification.kind == CON:
                await asyncio.to_thread(here.relay.wait, lambda seen, id=notification.id: any(
                    (one.message.kind, one.message.id) == (ACK, id) for one in seen if one.towards == TO_SERVER), "ACK")


class Forgetful(Stored):
    """Is fresh for a second, and never says that it has changed."""

    async def render_get(self, request):
        response = await super().render_get(request)
        response.opt.max_age = 1
        return response

    def updated_state(self, response=None):
        pass


@together
async def test_TD_COAP_OBS_04_the_client_registers_again():
    async with stage(forgetful=Forgetful(b"0")) as here, observing(here, "forgetful") as process:
        assert await line(process) == b"0"
        here.context.resources["forgetful"].payload = b"1"
        await asyncio.to_thread(here.relay.wait, lambda seen: len(here.relay.requests) > 1, "second registration")
        first, again = here.relay.requests[:2]
        assert (again.token, again.all(OBSERVE)) == (first.token, [b""])
        assert await line(process) == b"1"


@together
async def test_TD_COAP_OBS_12_the_end_is_said_to_the_server():
    async with stage() as here, observing(here, "test", "--count", "1") as process:
        assert await line(process) == b"a value"
        await asyncio.wait_for(process.wait(), PATIENCE)
        await asyncio.to_thread(here.relay.wait, lambda seen: any(
            one.message.uint(OBSERVE) == 1 for one in seen if one.towards == TO_SERVER), "GET with Observe 1")
        first, last = here.relay.requests[0], here.relay.requests[-1]
        assert last.token == first.token and last.all(OBSERVE) == [b"\x01"]


@pytest.mark.parametrize("path", ["", "time", ".well-known/core"])
def test_coap_server_of_libcoap(path):
    import subprocess
    with libcoap("-d", "10") as port:
        done = subprocess.run([binary(), "coap", "get", f"coap://127.0.0.1:{port}/{path}"], capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0 and done.stdout, done


def test_discovery_on_libcoap():
    import subprocess
    with libcoap() as port:
        done = subprocess.run([binary(), "coap", "discover", f"coap://127.0.0.1:{port}"], capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0 and b"/time" in done.stdout, done


def test_libcoap_by_tcp():
    import subprocess
    with libcoap("-d", "10") as port:
        base = f"coap+tcp://127.0.0.1:{port}"
        for command in [["put", "-e", "x" * 3000, f"{base}/large"], ["get", f"{base}/large"]]:
            done = subprocess.run([binary(), "coap", *command], capture_output=True, timeout=PATIENCE)
            assert done.returncode == 0, done
        assert done.stdout.strip() == b"x" * 3000


def test_libcoap_by_dtls():
    import subprocess
    with libcoap("-d", "10", "-k", "sesame", flavour="openssl") as port:
        # The port for DTLS is the next one.
        url = f"coaps://127.0.0.1:{port + 1}/time"
        for key, code in [("sesame", 0), ("wrong", None)]:
            done = subprocess.run([binary(), "coap", "get", "-B", "2", "-u", "me", "-k", key, url], capture_output=True, timeout=PATIENCE)
            assert (done.returncode == 0) == (code == 0), done
