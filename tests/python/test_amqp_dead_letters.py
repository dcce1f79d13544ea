"""Dead letters: where they go and what their headers say."""

import datetime

import pika
import pytest

from amqp_peer import Inbox, declare, drain, get, publish, ready, refused, settle, until, wait_ready


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def grave(channel):
    return declare(channel)


def mortal(channel, exchange="", key=None, name="", **arguments):
    """A queue whose dead go to `exchange`, with `key` if there is one."""
    arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
    arguments["x-dead-letter-exchange"] = exchange
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    return declare(channel, name, arguments=arguments)


def dead(channel, queue):
    """The next dead letter of a queue; its x-death without the times, which are checked to be of this minute."""
    letter = until(channel.connection, lambda: get(channel, queue), "dead letter")
    deaths = letter.properties.headers["x-death"]
    for death in deaths:
        time = death.pop("time")
        assert abs((datetime.datetime.now(datetime.timezone.utc) - time.replace(tzinfo=datetime.timezone.utc)).total_seconds()) < 60
    return letter, deaths


def entry(queue, reason, count=1, exchange="", keys=None, **more):
    return {"count": count, "reason": reason, "queue": queue, "exchange": exchange, "routing-keys": keys or [queue], **more}


def rest(headers, *names):
    """The headers but for x-death and, on version 4, x-last-death-*."""
    return {name: value for name, value in headers.items() if name != "x-death" and not name.startswith("x-last-death")}


def test_rejected(channel, grave):
    queue = mortal(channel, key=grave)
    publish(channel, "", queue, "m", headers={"mine": 1}, message_id="7", delivery_mode=2)
    channel.basic_reject(get(channel, queue, auto_ack=False).method.delivery_tag, requeue=False)
    letter, deaths = dead(channel, grave)
    assert (letter.body, letter.method.exchange, letter.method.routing_key) == (b"m", "", grave)
    assert not letter.method.redelivered
    assert deaths == [entry(queue, "rejected")]
    assert rest(letter.properties.headers) == {"mine": 1, "x-first-death-exchange": "", "x-first-death-queue": queue,
                                               "x-first-death-reason": "rejected"}
    assert (letter.properties.message_id, letter.properties.delivery_mode) == ("7", 2)


@pytest.mark.tercet_only("these headers came with version 3.13")
def test_the_last_death_is_named_too(channel, grave):
    last = mortal(channel, key=grave)
    first = mortal(channel, key=last, x_message_ttl=1)
    publish(channel, "", first, "m")
    wait_ready(channel, last, 1)
    channel.basic_reject(get(channel, last, auto_ack=False).method.delivery_tag, requeue=False)
    headers = dead(channel, grave)[0].properties.headers
    assert {name: headers[f"x-{name}"] for name in ["first-death-queue", "first-death-reason", "last-death-queue",
                                                    "last-death-reason", "last-death-exchange"]} == {
        "first-death-queue": first, "first-death-reason": "expired", "last-death-queue": last,
        "last-death-reason": "rejected", "last-death-exchange": ""}


@pytest.mark.parametrize("nack", [{"multiple": False}, {"multiple": True}], ids=str)
def test_nacked(channel, grave, nack):
    queue = mortal(channel, key=grave)
    publish(channel, "", queue, "a", "b")
    for _ in range(2):
        tag = get(channel, queue, auto_ack=False).method.delivery_tag
    channel.basic_nack(tag, requeue=False, **nack)
    wait_ready(channel, grave, 2 if nack["multiple"] else 1)
    assert drain(channel, grave) == ([b"a", b"b"] if nack["multiple"] else [b"b"])


def test_expired_by_the_queue(channel, grave):
    queue = mortal(channel, key=grave, x_message_ttl=20)
    publish(channel, "", queue, "m")
    letter, deaths = dead(channel, grave)
    assert deaths == [entry(queue, "expired")]
    assert letter.properties.expiration is None


def test_expired_by_itself(channel, grave):
    queue = mortal(channel, key=grave)
    publish(channel, "", queue, "m", expiration="20")
    letter, deaths = dead(channel, grave)
    assert deaths == [entry(queue, "expired", **{"original-expiration": "20"})]
    assert letter.properties.expiration is None


def test_pushed_out(channel, grave):
    queue = mortal(channel, key=grave, x_max_length=1)
    publish(channel, "", queue, "a", "b")
    letter, deaths = dead(channel, grave)
    assert (letter.body, deaths) == (b"a", [entry(queue, "maxlen")])
    assert drain(channel, queue) == [b"b"]


def test_the_delivery_limit_of_a_quorum_queue(channel, grave, amqp):
    queue = amqp.name()
    channel.queue_declare(queue, durable=True, arguments={
        "x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": grave})
    publish(channel, "", queue, "m")
    inbox = Inbox(channel, queue)
    counts = []
    for _ in range(3):
        got = inbox.take()
        counts.append(((got.properties.headers or {}).get("x-delivery-count"), got.method.redelivered))
        channel.basic_reject(got.method.delivery_tag)
    assert counts[0][0] in (None, 0) and counts == [(counts[0][0], False), (1, True), (2, True)]
    inbox.cancel()
    assert dead(channel, grave)[1] == [entry(queue, "delivery_limit")]
    channel.queue_delete(queue)


@pytest.mark.tercet_only("only quorum queues have it there")
def test_a_delivery_limit_on_any_queue(channel, grave):
    queue = mortal(channel, key=grave, x_delivery_limit=1)
    publish(channel, "", queue, "m")
    inbox = Inbox(channel, queue)
    for _ in range(2):
        channel.basic_reject(inbox.take().method.delivery_tag)
    assert dead(channel, grave)[1] == [entry(queue, "delivery_limit")]


def test_the_key_is_kept_unless_another_is_given(channel, amqp):
    exchange = amqp.name("dlx")
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    grave = declare(channel)
    channel.queue_bind(grave, exchange, "#")
    kept, given = mortal(channel, exchange), mortal(channel, exchange, "other.key")
    for queue in (kept, given):
        channel.queue_bind(queue, "amq.direct", queue)
        publish(channel, "amq.direct", queue, "m", expiration="1")
    letters = {}
    for _ in range(2):
        letter, deaths = dead(channel, grave)
        letters[deaths[0]["queue"]] = letter.method.routing_key
        assert letter.method.exchange == exchange
        assert deaths == [entry(deaths[0]["queue"], "expired", exchange="amq.direct", **{"original-expiration": "1"})]
    assert letters == {kept: kept, given: "other.key"}


def test_a_cycle_counts_and_the_latest_comes_first(channel, amqp):
    there, back = amqp.name("there"), amqp.name("back")
    mortal(channel, key=back, name=there)
    mortal(channel, key=there, name=back, x_message_ttl=1)
    publish(channel, "", there, "m")
    for turn in (1, 2, 3):
        wait_ready(channel, there, 1)
        got = get(channel, there, auto_ack=False)
        deaths = (got.properties.headers or {}).get("x-death", [])
        assert [(death["queue"], death["reason"], death["count"]) for death in deaths] == (
            [] if turn == 1 else [(back, "expired", turn - 1), (there, "rejected", turn - 1)])
        channel.basic_nack(got.method.delivery_tag, requeue=False)


def test_a_cycle_that_nobody_rejects_in_is_cut(channel, amqp):
    queue, watch, exchange = amqp.name(), declare(channel), amqp.name("dlx")
    channel.exchange_declare(exchange, "fanout", auto_delete=True)
    mortal(channel, exchange, name=queue, x_message_ttl=10)
    for bound in (queue, watch):
        channel.queue_bind(bound, exchange)
    publish(channel, "", queue, "m")
    assert dead(channel, watch)[1] == [entry(queue, "expired")]
    wait_ready(channel, queue, 0)
    channel.connection.sleep(0.1)
    assert (ready(channel, queue), ready(channel, watch)) == (0, 0)


def test_the_missing_exchange_swallows(channel, amqp):
    queue = mortal(channel, amqp.name("missing"))
    publish(channel, "", queue, "m", expiration="1")
    wait_ready(channel, queue, 0)
    settle(channel)


def test_without_an_exchange_the_dead_are_gone(channel):
    queue = declare(channel)
    publish(channel, "", queue, "a", "b")
    channel.basic_nack(get(channel, queue, auto_ack=False).method.delivery_tag, requeue=False)
    assert drain(channel, queue) == [b"b"]


def test_copies_and_their_deaths(channel, amqp):
    exchange = amqp.name("dlx")
    channel.exchange_declare(exchange, "direct", auto_delete=True)
    grave, copies, blind = declare(channel), declare(channel), declare(channel)
    queue = mortal(channel, exchange)
    for key, target in [(queue, grave), ("cc", copies), ("bcc", blind)]:
        channel.queue_bind(target, exchange, key)
    publish(channel, "", queue, "m", headers={"CC": ["cc"], "BCC": ["bcc"]}, expiration="1")
    for where in (grave, copies, blind):
        letter, deaths = dead(channel, where)
        assert deaths == [entry(queue, "expired", keys=[queue, "cc"], **{"original-expiration": "1"})]
        assert letter.properties.headers["CC"] == ["cc"] and "BCC" not in letter.properties.headers


def test_another_key_ends_the_copies(channel, grave):
    queue, copies = mortal(channel, key=grave), declare(channel)
    publish(channel, "", queue, "m", headers={"CC": [copies]})
    assert get(channel, copies).body == b"m"
    channel.basic_reject(get(channel, queue, auto_ack=False).method.delivery_tag, requeue=False)
    letter, deaths = dead(channel, grave)
    assert "CC" not in letter.properties.headers
    assert deaths[0]["routing-keys"] == [queue, copies]
    assert ready(channel, copies) == 0


def test_what_a_client_claims_of_deaths_is_not_believed(channel, grave, on_rabbitmq):
    queue = mortal(channel, key=grave)
    claim = {"count": 5, "reason": "rejected", "queue": queue, "exchange": "", "routing-keys": [queue],
             "time": datetime.datetime(2020, 1, 1)}
    publish(channel, "", queue, "m", headers={"x-death": [claim]}, expiration="1")
    letter = Inbox(channel, grave).take()
    deaths = letter.properties.headers["x-death"]
    first = deaths[0]
    assert (first["queue"], first["reason"]) == (queue, "expired")
    assert first["count"] == 1
    if not on_rabbitmq:  # Version 3 went on with what the client claimed.
        assert len(deaths) == 1


def test_dead_letters_need_a_right_to_their_exchange_only_when_declared(channel, amqp, on_rabbitmq):
    limited = amqp.channel(connection=amqp.connect("limited"))
    arguments = {"x-dead-letter-exchange": "amq.fanout"}
    right = "" if on_rabbitmq else "write "
    with refused(403, f"ACCESS_REFUSED - {right}access to exchange 'amq.fanout' in vhost '/' refused for user 'limited'"):
        limited.queue_declare(f"own-{amqp.unique}", exclusive=True, arguments=arguments)


def test_deaths_in_different_queues_are_told_apart(channel, grave):
    second = mortal(channel, key=grave, x_max_length=0)
    first = mortal(channel, key=second, x_message_ttl=1)
    publish(channel, "", first, "m", headers={"a": 1})
    letter, deaths = dead(channel, grave)
    assert deaths == [entry(second, "maxlen"), entry(first, "expired")]
    assert letter.properties.headers["x-first-death-queue"] == first
    assert isinstance(letter.properties, pika.BasicProperties)
