"""aiocoap as a client of the broker: the simple form of publish and subscribe, blocks, discovery, and three transports."""

import asyncio

import cbor2
import pytest
from aiocoap.numbers.codes import Code

from coap_peer import DELETE, FETCH, GET, POST, PUT, client, together
from coap_wire import CBOR, JSON, LINKS, OCTETS, SENML_CBOR, SENML_JSON, TEXT

BASES = {"udp": ("coap", "coap"), "tcp": ("coap+tcp", "coap-tcp"), "ws": ("coap+ws", "http")}


@pytest.fixture(params=BASES)
def base(coap_broker, request):
    scheme, listener = BASES[request.param]
    return f"{scheme}://127.0.0.1:{coap_broker.port(listener)}"


@pytest.fixture
def where(unique):
    return f"ps/{unique}"


@together
async def test_a_value_is_created_changed_read_and_deleted(base, where):
    async with client(base) as peer:
        assert (await peer.ask(GET, where)).code == Code.NOT_FOUND
        assert (await peer.put(where, b"one")).code == Code.CREATED
        assert (await peer.put(where, b"{}", JSON)).code == Code.CHANGED
        response = await peer.ask(GET, where)
        assert (response.code, response.payload, response.opt.content_format) == (Code.CONTENT, b"{}", JSON)
        assert (await peer.ask(GET, where, etags=[response.opt.etag])).code == Code.VALID
        assert (await peer.ask(DELETE, where)).code == Code.DELETED
        assert (await peer.ask(GET, where)).code == Code.NOT_FOUND


@together
async def test_an_event_is_not_kept(base, where):
    async with client(base) as peer:
        observation = peer.observe(where)
        first = await observation.first()
        assert (first.code, first.payload) == (Code.CONTENT, b"") and first.opt.observe is not None
        assert (await peer.ask(POST, where, b"now", content_format=TEXT)).code == Code.CHANGED
        assert (await observation.next()).payload == b"now"
        assert (await peer.ask(GET, where)).code == Code.NOT_FOUND


@together
async def test_every_observer_gets_the_latest_value(base, where):
    async with client(base) as peer, client(base) as other:
        await peer.put(where, b"0")
        observations = [peer.observe(where), other.observe(where)]
        assert [(await one.first()).payload for one in observations] == [b"0", b"0"]
        for number in range(1, 50):
            await peer.put(where, str(number).encode())
        for one in observations:
            seen = [int(payload) for payload in await one.until(b"49")]
            assert seen == sorted(seen)


@together
async def test_the_end_of_a_value_ends_the_observation(base, where):
    async with client(base) as peer:
        await peer.put(where, b"0")
        observation = peer.observe(where)
        await observation.first()
        assert (await peer.ask(DELETE, where)).code == Code.DELETED
        assert (await observation.ended()).code == Code.NOT_FOUND


@together
async def test_who_cancels_is_told_no_more(base, where):
    async with client(base) as peer:
        await peer.put(where, b"0")
        first, second = peer.observe(where), peer.observe(where)
        await first.first()
        await second.first()
        first.cancel()
        await peer.put(where, b"1")
        assert (await second.until(b"1"))[-1] == b"1"


@pytest.mark.parametrize("size", [1, 1024, 1025, 5000, 100_000])
@together
async def test_large_values_travel_in_blocks(base, where, size):
    value = bytes(number % 251 for number in range(size))
    async with client(base) as peer:
        assert (await peer.put(where, value, OCTETS)).code == Code.CREATED
        assert await peer.take(where) == value
        observation = peer.observe(where)
        assert (await observation.first()).payload == value


@together
async def test_a_body_above_the_limit_is_refused(base, where):
    async with client(base) as peer:
        response = await peer.ask(PUT, where, b"x" * (1 << 20) + b"y", content_format=OCTETS)
        assert response.code == Code.REQUEST_ENTITY_TOO_LARGE
        assert (await peer.ask(GET, where)).code == Code.NOT_FOUND


@together
async def test_discovery_names_the_broker(base):
    async with client(base) as peer:
        response = await peer.ask(GET, ".well-known/core", uri_query=["rt=core.ps"])
        assert (response.code, response.opt.content_format) == (Code.CONTENT, LINKS) and b"core.ps" in response.payload
        every = await peer.take(".well-known/core")
        assert b"core.ps.coll" in every


@together
async def test_an_observer_of_a_wildcard_gets_a_map(base, where):
    async with client(base) as peer:
        observation = peer.observe(f"{where}/+/temp", accept=CBOR)
        assert (await observation.first()).opt.content_format == CBOR
        for room, value in [("kitchen", b"20"), ("hall", b"17")]:
            await peer.put(f"{where}/{room}/temp", value)
        topic = where.removeprefix("ps/")
        told = {}
        while len(told) < 2:
            notification = await observation.next()
            assert notification.opt.content_format == CBOR
            told.update(cbor2.loads(notification.payload))
        names = {name.removeprefix("/ps/") for name in told}
        assert names == {f"{topic}/kitchen/temp", f"{topic}/hall/temp"}


@pytest.mark.parametrize("form", [SENML_JSON, SENML_CBOR])
@together
async def test_an_observer_of_a_collection_gets_senml(base, where, form):
    import json
    async with client(base) as peer:
        await peer.put(f"{where}/a", b"21.5")
        await peer.put(f"{where}/b", b"on")
        response = await peer.ask(GET, f"{where}/+", accept=form)
        assert (response.code, response.opt.content_format) == (Code.CONTENT, form)
        pack = json.loads(response.payload) if form == SENML_JSON else cbor2.loads(response.payload)
        assert len(pack) >= 2
        assert (await peer.ask(GET, f"{where}/+", accept=41)).code == Code.NOT_ACCEPTABLE


@together
async def test_fetch_needs_a_format(base):
    async with client(base) as peer:
        refused = await peer.ask(FETCH, "ps", b"\xa0", content_format=TEXT)
        assert refused.code in (Code.UNSUPPORTED_CONTENT_FORMAT, Code.BAD_REQUEST)


@together
async def test_a_hundred_requests_at_once(base, where):
    async with client(base) as peer:
        await asyncio.gather(*(peer.put(f"{where}/{number}", str(number).encode()) for number in range(100)))
        values = await asyncio.gather(*(peer.take(f"{where}/{number}") for number in range(100)))
        assert [int(value) for value in values] == list(range(100))
