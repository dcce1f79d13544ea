"""Permissions of users: what each method needs, and what a refusal says."""

import pytest

from amqp_peer import declare, get, publish, ready, refused, settle

# `limited` may configure ^own-, write ^(own|shared)- and read ^own-.


@pytest.fixture
def limited(amqp):
    connection = amqp.connect("limited")
    return lambda: connection.channel()


@pytest.fixture
def names(amqp):
    return {kind: f"{kind}-{amqp.unique}" for kind in ("own", "shared", "foreign")}


@pytest.fixture
def world(amqp, names):
    """Exchanges and queues of these names, made by somebody who may."""
    channel = amqp.channel()
    for name in names.values():
        channel.queue_declare(name)
        channel.exchange_declare(name, "fanout")
    yield channel
    channel = amqp.channel()
    for name in names.values():
        channel.queue_delete(name)
        channel.exchange_delete(name)


@pytest.fixture
def denied(on_rabbitmq):
    """What a missing right is refused with; version 3.10 does not name the right."""
    def expect(right, kind, name):
        right = "" if on_rabbitmq else f"{right} "
        return refused(403, f"ACCESS_REFUSED - {right}access to {kind} '{name}' in vhost '/' refused for user 'limited'")

    return expect


def test_configure_is_for_declaring_and_deleting(limited, world, names, denied):
    limited().queue_declare(f"{names['own']}-q", exclusive=True)
    limited().exchange_declare(f"{names['own']}-x", auto_delete=True)
    limited().exchange_delete(f"{names['own']}-x")
    for name in (names["shared"], names["foreign"]):
        with denied("configure", "queue", f"{name}-new"):
            limited().queue_declare(f"{name}-new")
        with denied("configure", "queue", name):
            limited().queue_delete(name)
        with denied("configure", "exchange", f"{name}-new"):
            limited().exchange_declare(f"{name}-new")
        with denied("configure", "exchange", name):
            limited().exchange_delete(name)


def test_write_is_for_publishing(limited, world, names, denied):
    for kind in ("own", "shared"):
        channel = limited()
        publish(channel, names[kind], "", "m")
        settle(channel)
    with denied("write", "exchange", names["foreign"]):
        channel = limited()
        publish(channel, names["foreign"], "", "m")
        settle(channel)
    with denied("write", "exchange", "amq.default"):
        channel = limited()
        publish(channel, "", names["own"], "m")
        settle(channel)


def test_read_is_for_consuming_getting_and_purging(limited, world, names, denied):
    publish(world, "", names["own"], "m")
    assert get(limited(), names["own"]).body == b"m"
    limited().queue_purge(names["own"])
    limited().basic_consume(names["own"], print)
    for use in [lambda c, q: c.basic_get(q), lambda c, q: c.queue_purge(q), lambda c, q: c.basic_consume(q, print)]:
        with denied("read", "queue", names["shared"]):
            use(limited(), names["shared"])


def test_binding_writes_the_destination_and_reads_the_source(limited, world, names, denied):
    own, shared, foreign = names["own"], names["shared"], names["foreign"]
    limited().queue_bind(shared, own)
    limited().exchange_bind(shared, own)
    limited().queue_unbind(shared, own)
    limited().exchange_unbind(shared, own)
    for bind in ("queue_bind", "queue_unbind"):
        with denied("write", "queue", foreign):
            getattr(limited(), bind)(foreign, own)
        with denied("read", "exchange", shared):
            getattr(limited(), bind)(own, shared)
    for bind in ("exchange_bind", "exchange_unbind"):
        with denied("write", "exchange", foreign):
            getattr(limited(), bind)(foreign, own)
        with denied("read", "exchange", shared):
            getattr(limited(), bind)(own, shared)


def test_an_alternate_exchange_needs_rights_of_its_own(limited, world, names, denied):
    own = f"{names['own']}-x"
    limited().exchange_declare(own, arguments={"alternate-exchange": names["shared"]}, auto_delete=True)
    with denied("write", "exchange", names["foreign"]):
        limited().exchange_declare(f"{own}2", arguments={"alternate-exchange": names["foreign"]})


@pytest.mark.tercet_only("asked for since version 4.3")
def test_a_passive_declare_needs_some_right(limited, world, names, denied):
    limited().queue_declare(names["shared"], passive=True)
    limited().exchange_declare(names["shared"], passive=True)
    with denied("configure", "queue", names["foreign"]):
        limited().queue_declare(names["foreign"], passive=True)
    with denied("configure", "exchange", names["foreign"]):
        limited().exchange_declare(names["foreign"], passive=True)


def test_server_named_queues_need_configure_too(limited, on_rabbitmq):
    with refused(403, f"ACCESS_REFUSED - {'' if on_rabbitmq else 'configure '}access to queue 'amq.gen-…"):
        limited().queue_declare("", exclusive=True)


# `topical` may write and read ^ok\. on amq.topic.


def test_topic_permissions_are_for_keys(amqp, on_rabbitmq):
    write, read = ("", "") if on_rabbitmq else ("write ", "read ")
    connection = amqp.connect("topical")
    channel = connection.channel()
    channel.confirm_delivery()
    queue = declare(channel)
    channel.queue_bind(queue, "amq.topic", "ok.#")
    publish(channel, "amq.topic", "ok.yes", "m")
    assert ready(channel, queue) == 1
    publish(channel, "amq.direct", "no.matter", "m")
    with refused(403, f"ACCESS_REFUSED - {write}access to topic 'no.way' in exchange 'amq.topic' in vhost '/' refused for user "
                      "'topical'"):
        publish(channel, "amq.topic", "no.way", "m")
    with refused(403, f"ACCESS_REFUSED - {read}access to topic '#' in exchange 'amq.topic' in vhost '/' refused for user "
                      "'topical'"):
        connection.channel().queue_bind(queue, "amq.topic", "#")


@pytest.mark.tercet_only("3.10 looks at the first key alone (CVE-2026-57217)")
def test_topic_permissions_are_for_copies_too(amqp):
    channel = amqp.connect("topical").channel()
    with refused(403):
        publish(channel, "amq.topic", "ok.yes", "m", headers={"CC": ["no.way"]})
        settle(channel)
