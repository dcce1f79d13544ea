"""The publish-subscribe broker of draft-ietf-core-coap-pubsub, with aiocoap: the life of a topic, operation by operation."""

import contextlib

import cbor2
import pytest
from aiocoap.numbers.codes import Code

from coap_peer import DELETE, FETCH, GET, IPATCH, POST, PUT, client, together
from coap_wire import CBOR, JSON, LINKS, PUBSUB, TEXT

NAME, DATA, TYPE, FORMAT, TOPIC_TYPE, EXPIRES, SUBSCRIBERS, CHECK, INITIALIZE = range(9)
VALUE = "core.ps.data"


@pytest.fixture
def base(coap_broker):
    return f"coap://127.0.0.1:{coap_broker.coap_port}"


async def create(peer, name, **properties):
    """Creates a topic; its path, and what the broker says of it."""
    asked = {NAME: name, TYPE: VALUE, **{int(key[1:]): value for key, value in properties.items()}}
    response = await peer.ask(POST, "ps", cbor2.dumps(asked), content_format=PUBSUB)
    assert (response.code, response.opt.content_format) == (Code.CREATED, PUBSUB), response
    return "/".join(response.opt.location_path), cbor2.loads(response.payload)


@contextlib.asynccontextmanager
async def topic(peer, name, **properties):
    where, config = await create(peer, name, **properties)
    try:
        yield where, config[DATA].lstrip("/")
    finally:
        await peer.ask(DELETE, where)


async def config_of(peer, where):
    response = await peer.ask(GET, where)
    assert (response.code, response.opt.content_format) == (Code.CONTENT, PUBSUB)
    return cbor2.loads(response.payload)


@together
async def test_a_topic_is_created_with_what_it_needs(base, unique):
    async with client(base) as peer:
        where, config = await create(peer, unique)
        assert config[NAME] == unique and config[TYPE] == VALUE and config[DATA].endswith(unique)
        assert not where.startswith("ps/") or where != config[DATA].lstrip("/")
        assert await config_of(peer, where) == config
        assert (await peer.ask(DELETE, where)).code == Code.DELETED
        assert (await peer.ask(DELETE, where)).code == Code.NOT_FOUND


@pytest.mark.parametrize("body, content_format, codes", [
    (cbor2.dumps({TYPE: VALUE}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: "x/y"}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: 7, TYPE: VALUE}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: "a/+/b", TYPE: VALUE}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: "", TYPE: VALUE}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: "x/y", TYPE: VALUE, CHECK: 0}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: "x/y", TYPE: VALUE, INITIALIZE: b"v"}), PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps([1, 2]), PUBSUB, {Code.BAD_REQUEST}),
    (b"\xbf\x00", PUBSUB, {Code.BAD_REQUEST}),
    (b"\x9b" + b"\xff" * 8, PUBSUB, {Code.BAD_REQUEST}),
    (cbor2.dumps({NAME: "x/y", TYPE: VALUE}), JSON, {Code.UNSUPPORTED_CONTENT_FORMAT, Code.BAD_REQUEST}),
])
@together
async def test_a_bad_configuration_is_refused(base, body, content_format, codes):
    async with client(base) as peer:
        assert (await peer.ask(POST, "ps", body, content_format=content_format)).code in codes


@together
async def test_a_name_is_given_once(base, unique):
    async with client(base) as peer, topic(peer, unique):
        again = await peer.ask(POST, "ps", cbor2.dumps({NAME: unique, TYPE: VALUE}), content_format=PUBSUB)
        assert again.code == Code.BAD_REQUEST


@together
async def test_topics_are_listed_and_filtered(base, unique):
    async with client(base) as peer, topic(peer, f"{unique}/a", _4="thermometer") as (first, data), \
            topic(peer, f"{unique}/b") as (second, _):
        listed = await peer.ask(GET, "ps")
        assert (listed.code, listed.opt.content_format) == (Code.CONTENT, LINKS)
        assert f"</{first}>".encode() in listed.payload and f"</{second}>".encode() in listed.payload
        values = await peer.take("ps", uri_query=["rt=core.ps.data"])
        await peer.put(data, b"1")
        values = await peer.take("ps", uri_query=["rt=core.ps.data"])
        assert f"</{data}>".encode() in values
        for wanted in ({TOPIC_TYPE: "thermometer", NAME: f"{unique}/a"}, {NAME: f"{unique}/a"}):
            found = await peer.ask(FETCH, "ps", cbor2.dumps(wanted), content_format=PUBSUB)
            assert (found.code, found.opt.content_format) == (Code.CONTENT, LINKS)
            assert f"</{first}>".encode() in found.payload and f"</{second}>".encode() not in found.payload


@together
async def test_a_topic_goes_through_its_states(base, unique):
    async with client(base) as peer:
        async with topic(peer, unique) as (where, data):
            assert (await peer.ask(GET, data)).code == Code.NOT_FOUND
            assert (await peer.ask(PUT, data, b"1", content_format=TEXT)).code == Code.CREATED
            assert (await peer.ask(PUT, data, b"2", content_format=TEXT)).code == Code.CHANGED
            observation = peer.observe(data)
            assert (await observation.first()).payload == b"2"
            assert (await peer.ask(DELETE, data)).code == Code.DELETED
            assert (await observation.ended()).code == Code.NOT_FOUND
            assert (await peer.ask(GET, where)).code == Code.CONTENT
            assert (await peer.ask(PUT, data, b"3", content_format=TEXT)).code == Code.CREATED
            observation = peer.observe(data)
            await observation.first()
            assert (await peer.ask(DELETE, where)).code == Code.DELETED
            assert (await observation.ended()).code == Code.NOT_FOUND
            assert (await peer.ask(GET, where)).code == (await peer.ask(GET, data)).code == Code.NOT_FOUND


@together
async def test_configurations_are_read_and_changed(base, unique):
    async with client(base) as peer, topic(peer, unique, _4="one", _7=3600) as (where, data):
        part = await peer.ask(FETCH, where, cbor2.dumps([NAME, CHECK]), content_format=CBOR)
        assert (part.code, part.opt.content_format, cbor2.loads(part.payload)) == \
            (Code.CONTENT, PUBSUB, {NAME: unique, CHECK: 3600})
        patched = await peer.ask(IPATCH, where, cbor2.dumps({TOPIC_TYPE: "two"}), content_format=PUBSUB)
        assert patched.code == Code.CHANGED
        told = cbor2.loads(patched.payload)
        assert (told[TOPIC_TYPE], told[CHECK], told[NAME]) == ("two", 3600, unique)
        replaced = await peer.ask(POST, where, cbor2.dumps({NAME: unique, TYPE: VALUE, TOPIC_TYPE: "three"}), content_format=PUBSUB)
        assert replaced.code == Code.CHANGED
        told = cbor2.loads(replaced.payload)
        assert told[TOPIC_TYPE] == "three" and told.get(CHECK, 86400) == 86400
        for method, change in [(IPATCH, {NAME: "other"}), (IPATCH, {DATA: "/elsewhere"}), (IPATCH, {TYPE: "other"}),
                               (POST, {NAME: "other", TYPE: VALUE})]:
            refused = await peer.ask(method, where, cbor2.dumps(change), content_format=PUBSUB)
            assert refused.code == Code.BAD_REQUEST, (method, change, refused)
        assert (await config_of(peer, where))[TOPIC_TYPE] == "three"


@together
async def test_a_topic_with_a_format_takes_no_other(base, unique):
    async with client(base) as peer, topic(peer, unique, _3=JSON) as (_, data):
        assert (await peer.ask(PUT, data, b"text", content_format=TEXT)).code == Code.UNSUPPORTED_CONTENT_FORMAT
        assert (await peer.ask(PUT, data, b"{}", content_format=JSON)).code == Code.CREATED


@together
async def test_a_topic_can_begin_with_a_value(base, unique):
    async with client(base) as peer, topic(peer, unique, _3=TEXT, _8=b"at first") as (_, data):
        response = await peer.ask(GET, data)
        assert (response.code, response.payload, response.opt.content_format) == (Code.CONTENT, b"at first", TEXT)


@together
async def test_no_more_subscribers_than_allowed(base, unique):
    async with client(base) as peer, client(base) as other, topic(peer, unique, _6=1) as (where, data):
        await peer.put(data, b"1")
        observation = peer.observe(data)
        assert (await observation.first()).opt.observe is not None
        refused = await other.ask(GET, data, observe=0)
        assert (refused.code, refused.payload, refused.opt.observe) == (Code.CONTENT, b"1", None)


@together
async def test_an_expired_topic_is_gone(base, unique):
    import time
    async with client(base) as peer:
        expires = cbor2.CBORTag(1, int(time.time()) + 2)
        where, config = await create(peer, unique, _5=expires)
        data = config[DATA].lstrip("/")
        await peer.put(data, b"1")
        observation = peer.observe(data)
        await observation.first()
        assert (await observation.ended()).code == Code.NOT_FOUND
        assert (await peer.ask(GET, where)).code == Code.NOT_FOUND


@together
async def test_discovery_finds_collection_and_topics(base, unique):
    async with client(base) as peer, topic(peer, unique) as (where, _):
        for kind, target in [("core.ps", "/ps"), ("core.ps.coll", "/ps"), ("core.ps.conf", f"/{where}")]:
            found = await peer.take(".well-known/core", uri_query=[f"rt={kind}"])
            assert f"<{target}>".encode() in found, (kind, found)
