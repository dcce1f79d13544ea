"""aiocoap, a CoAP library in Python, as client and as server."""

import asyncio
import contextlib
import functools

import aiocoap
from aiocoap import resource
from aiocoap.numbers.codes import Code

from broker import PATIENCE

GET, PUT, POST, DELETE, FETCH, IPATCH = Code.GET, Code.PUT, Code.POST, Code.DELETE, Code.FETCH, Code.iPATCH


class Hasty(aiocoap.numbers.TransportTuning):
    """Sends again soon: the tests that lose datagrams have no time to lose."""

    ACK_TIMEOUT = 0.1
    MAX_RETRANSMIT = 7


def together(test):
    """Runs an asynchronous test in a loop of its own, within a bound."""
    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(asyncio.wait_for(test(*arguments, **named), PATIENCE * 2))

    return run


class Client:
    """Requests to one server, by UDP, TCP or WebSocket."""

    def __init__(self, context, base):
        self.context, self.base = context, base

    async def ask(self, method, path, payload=b"", **options):
        """The response, of whatever code; blocks are put together."""
        return await self.context.request(self.message(method, path, payload, **options)).response

    def message(self, method, path, payload=b"", **options):
        return aiocoap.Message(code=method, uri=f"{self.base}/{path}", payload=payload, **options)

    async def take(self, path, **options):
        """The payload of a successful GET."""
        response = await self.ask(GET, path, **options)
        assert response.code == Code.CONTENT, response
        return response.payload

    async def put(self, path, payload, content_format=0, **options):
        response = await self.ask(PUT, path, payload, content_format=content_format, **options)
        assert response.code in (Code.CREATED, Code.CHANGED), response
        return response

    def observe(self, path, **options):
        return Observation(self.context.request(self.message(GET, path, observe=0, **options)))


class Observation:
    """What an observed resource is, one value after the other. aiocoap's iterator would leave out what comes too fast, and
    end with a wait that was given up."""

    def __init__(self, request):
        self.request, self.values = request, asyncio.Queue()

    async def first(self):
        response = await asyncio.wait_for(self.request.response, PATIENCE)
        self.request.observation.register_callback(self.values.put_nowait, _suppress_deprecation=True)
        self.request.observation.register_errback(self.values.put_nowait, _suppress_deprecation=True)
        return response

    async def next(self, patience=PATIENCE):
        value = await asyncio.wait_for(self.values.get(), patience)
        if isinstance(value, Exception):
            raise value
        return value

    async def until(self, payload):
        """The values up to one."""
        seen = []
        while not seen or seen[-1] != payload:
            seen.append((await self.next()).payload)
        return seen

    async def ended(self):
        """Waits for the end of the observation; the last that was told says why."""
        last = None
        while not isinstance(value := await asyncio.wait_for(self.values.get(), PATIENCE), Exception):
            last = value
        return last

    def cancel(self):
        self.request.observation.cancel()


@contextlib.asynccontextmanager
async def client(base, **options):
    context = await aiocoap.Context.create_client_context(**options)
    try:
        yield Client(context, base)
    finally:
        await context.shutdown()


class Stored(resource.ObservableResource):
    """A value that can be read, written and observed."""

    def __init__(self, payload=b"", content_format=0):
        super().__init__()
        self.payload, self.content_format, self.puts = payload, content_format, 0

    async def render_get(self, request):
        return aiocoap.Message(payload=self.payload, content_format=self.content_format)

    async def render_put(self, request):
        self.puts += 1
        self.payload, self.content_format = request.payload, request.opt.content_format
        self.updated_state()
        return aiocoap.Message(code=Code.CHANGED)

    async def render_post(self, request):
        return aiocoap.Message(code=Code.CHANGED, payload=request.payload[::-1])

    async def render_fetch(self, request):
        return aiocoap.Message(code=Code.CONTENT, payload=b"fetched " + request.payload)

    async def render_ipatch(self, request):
        return aiocoap.Message(code=Code.CHANGED, payload=b"patched " + request.payload)

    async def render_delete(self, request):
        return aiocoap.Message(code=Code.DELETED)


class Separate(resource.Resource):
    """Takes its time, so that an empty acknowledgement comes first."""

    async def render_get(self, request):
        await asyncio.sleep(0.3)
        return aiocoap.Message(payload=b"at last", content_format=0)


class Located(resource.Resource):
    """Creates something elsewhere."""

    async def render_post(self, request):
        return aiocoap.Message(code=Code.CREATED, location_path=("location1", "location2", "location3"),
                               location_query=("first=1", "second=2"))


class Formats(resource.Resource):
    """One resource in two formats."""

    async def render_get(self, request):
        wanted = request.opt.accept
        if wanted in (None, 0):
            return aiocoap.Message(payload=b"text", content_format=0)
        if wanted == 41:
            return aiocoap.Message(payload=b"<xml/>", content_format=41)
        return aiocoap.Message(code=Code.NOT_ACCEPTABLE)


class Guarded(resource.Resource):
    """Speaks of the query, refuses with words, and knows preconditions."""

    async def render_get(self, request):
        return aiocoap.Message(payload="&".join(request.opt.uri_query).encode())

    async def render_put(self, request):
        return aiocoap.Message(code=Code.FORBIDDEN, payload=b"not for you")


@contextlib.asynccontextmanager
async def server(port, transports=("udp6",), **resources):
    """A server of aiocoap with the plugtests' resources and those given."""
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    plain = {"test": Stored(b"a value"), "separate": Separate(), "create": Located(), "formats": Formats(),
             "guarded": Guarded(), "large": Stored(bytes(range(32, 127)) * 40), **resources}
    for name, what in plain.items():
        site.add_resource([name], what)
    site.add_resource(["seg1", "seg2", "seg3"], Stored(b"deep"))
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), transports=list(transports))
    context.resources = plain
    try:
        yield context
    finally:
        await context.shutdown()
