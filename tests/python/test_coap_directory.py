"""The resource directory of RFC 9176, with aiocoap's own client of directories and by hand."""

import asyncio
import re

import pytest
from aiocoap import Context, resource
from aiocoap.numbers.codes import Code
from aiocoap.resourcedirectory.client.register import Registerer

from broker import PATIENCE
from coap_peer import DELETE, POST, Stored, client, together
from coap_wire import LINKS

SENSORS = b'</sensors/temp>;rt=temperature;if=sensor,</sensors/light>;rt=light-lux;if=sensor;sz=5'


@pytest.fixture
def base(coap_broker):
    return f"coap://127.0.0.1:{coap_broker.coap_port}"


async def directory(peer, kind="core.rd"):
    """Where discovery says that the directory, or a part of it, is."""
    found = await peer.take(".well-known/core", uri_query=[f"rt={kind}"])
    return re.search(rb"<([^>]*)>", found)[1].decode().lstrip("/")


async def register(peer, name, links=SENSORS, **parameters):
    query = [f"ep={name}", *(f"{key}={value}" for key, value in parameters.items())]
    response = await peer.ask(POST, await directory(peer), links, content_format=LINKS, uri_query=query)
    assert response.code == Code.CREATED and response.opt.location_path, response
    return "/".join(response.opt.location_path)


async def endpoints(peer, *query):
    return await peer.take(await directory(peer, "core.rd-lookup-ep"), uri_query=list(query))


async def resources(peer, *query):
    return await peer.take(await directory(peer, "core.rd-lookup-res"), uri_query=list(query))


@together
async def test_a_registration_is_found_updated_and_removed(base, unique):
    async with client(base) as peer:
        where = await register(peer, unique, lt=600, base="coap://[2001:db8::1]")
        assert f"</{where}>".encode() in await endpoints(peer, f"ep={unique}")
        found = await resources(peer, f"ep={unique}")
        assert b"<coap://[2001:db8::1]/sensors/temp>" in found and b"light-lux" in found
        only = await resources(peer, f"ep={unique}", "rt=temperature")
        assert b"/sensors/temp" in only and b"light" not in only
        assert (await peer.ask(POST, where, uri_query=["base=coap://[2001:db8::2]"])).code == Code.CHANGED
        assert b"<coap://[2001:db8::2]/sensors/temp>" in await resources(peer, f"ep={unique}")
        assert (await peer.ask(DELETE, where)).code == Code.DELETED
        assert unique.encode() not in await endpoints(peer, f"ep={unique}")
        assert (await peer.ask(POST, where)).code == Code.NOT_FOUND


@together
async def test_the_same_endpoint_keeps_its_registration(base, unique):
    async with client(base) as peer:
        first = await register(peer, unique, d="floor1")
        assert await register(peer, unique, b"</other>", d="floor1") == first
        found = await resources(peer, f"ep={unique}")
        assert b"/other" in found and b"/sensors" not in found
        assert await register(peer, unique, d="floor2") != first


@pytest.mark.parametrize("query", [[], ["lt=60"], ["ep="], ["ep={}", "lt=0"], ["ep={}", "lt=x"], ["ep={}", "lt=4294967296"]])
@together
async def test_bad_registrations_are_refused(base, unique, query):
    async with client(base) as peer:
        response = await peer.ask(POST, await directory(peer), SENSORS, content_format=LINKS,
                                  uri_query=[part.format(unique) for part in query])
        assert response.code == Code.BAD_REQUEST


@together
async def test_what_is_no_link_format_is_refused(base, unique):
    async with client(base) as peer:
        where = await directory(peer)
        for links, content_format in [(b"<", LINKS), (b"</a>;;;=", LINKS), (b"\xff", LINKS), (SENSORS, 50)]:
            response = await peer.ask(POST, where, links, content_format=content_format, uri_query=[f"ep={unique}"])
            assert response.code in (Code.BAD_REQUEST, Code.UNSUPPORTED_CONTENT_FORMAT)


@together
async def test_a_registration_expires(base, unique):
    async with client(base) as peer:
        await register(peer, unique, lt=1)
        end = asyncio.get_running_loop().time() + PATIENCE
        while unique.encode() in await endpoints(peer, f"ep={unique}"):
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.1)


@together
async def test_lookups_come_in_pages(base, unique):
    async with client(base) as peer:
        for number in range(5):
            await register(peer, f"{unique}-{number}", d=unique)
        pages = [await endpoints(peer, f"d={unique}", f"page={page}", "count=2") for page in range(4)]
        assert [page.count(b"ep=") for page in pages] == [2, 2, 1, 0]
        assert len(set(re.findall(rb'ep="?([\w-]+)', b"".join(pages)))) == 5


@together
async def test_aiocoap_registers_itself(base, unique):
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["light"], Stored(b"on"))
    context = await Context.create_server_context(site, bind=("127.0.0.1", 0))
    registerer = Registerer(context, rd=base, lt=60, registration_parameters={"ep": unique})
    try:
        async with client(base) as peer:
            end = asyncio.get_running_loop().time() + PATIENCE
            while b"/light" not in await resources(peer, f"ep={unique}"):
                assert asyncio.get_running_loop().time() < end, registerer.state
                await asyncio.sleep(0.05)
    finally:
        await registerer.shutdown()
        await context.shutdown()
    async with client(base) as peer:
        assert unique.encode() not in await endpoints(peer, f"ep={unique}")
