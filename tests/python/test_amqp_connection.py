"""Handshake, negotiation, credentials, heartbeats and the end of AMQP connections and channels."""

import struct

import pytest
from pika import frame, spec
from pika.exceptions import ProbableAccessDeniedError, ProbableAuthenticationError

from amqp_peer import declare, disconnected, get, publish, ready, refused, settle, until
from amqp_wire import HEADER, Closed, Publish, Wire


@pytest.fixture
def wire(amqp):
    with Wire(amqp.port) as one:
        yield one


def refusal(wire):
    """The connection.close that the broker sends, as code and text; answered."""
    while not isinstance(getattr(read := wire.read(), "method", None), spec.Connection.Close):
        pass
    wire.send(0, spec.Connection.CloseOk())
    return read.method.reply_code, read.method.reply_text


def test_the_broker_introduces_itself(wire, amqp_broker):
    wire.open()
    start = wire.start_method
    mechanisms, locales = start.mechanisms.decode(), start.locales.decode()
    assert (start.version_major, start.version_minor) == (0, 9)
    assert {"PLAIN", "AMQPLAIN"} <= set(mechanisms.split(" "))
    assert locales.split(" ") == ["en_US"]
    properties = start.server_properties
    assert properties["product"] == amqp_broker.product
    assert {"version", "platform", "copyright", "information", "cluster_name"} <= set(properties)
    assert properties["capabilities"] == dict.fromkeys(
        ["publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
         "connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos",
         "direct_reply_to"], True)
    tune = wire.tune_method
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


@pytest.mark.parametrize("header", [
    b"AMQP\x00\x00\x09\x02", b"AMQP\x00\x01\x00\x00", b"AMQP\x00\x00\x08\x00", b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"MQTTMQTT", b"amqp\x00\x00\x09\x01"])
def test_another_protocol_is_answered_with_ours_and_ended(wire, header):
    wire.write(header)
    with pytest.raises(Closed):
        while len(wire.received) <= len(HEADER):
            wire.read_bytes()
    assert wire.received == HEADER


def test_the_header_of_0_9_is_taken(wire):
    wire.write(b"AMQP\x01\x01\x00\x09")
    start = wire.expect(spec.Connection.Start, 0)
    assert (start.version_major, start.version_minor) == (0, 9)


def test_amqplain_has_a_table_without_its_length(amqp):
    def entry(name, value):
        return bytes([len(name)]) + name + b"S" + struct.pack(">I", len(value)) + value

    with Wire(amqp.port) as wire:
        wire.open(mechanism="AMQPLAIN", response=entry(b"LOGIN", b"guest") + entry(b"PASSWORD", b"guest"))
        wire.close()


@pytest.mark.parametrize("mechanism, response", [
    ("PLAIN", "\0guest\0wrong"), ("PLAIN", "\0unheard\0of"), ("PLAIN", "\0guest\0"),
    ("AMQPLAIN", "\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05wrong")])
def test_wrong_credentials_are_told_to_a_client_that_can_hear_it(wire, mechanism, response):
    wire.start(mechanism=mechanism, response=response)
    assert refusal(wire) == (403, f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For "
                                  "details see the broker logfile.")
    assert wire.ended() == []


def test_wrong_credentials_end_the_connection_of_a_client_that_cannot_hear_it(wire):
    wire.start(response="\0guest\0wrong", capabilities={})
    assert wire.ended() == []


def test_pika_is_told_of_wrong_credentials(amqp):
    with pytest.raises(ProbableAuthenticationError, match="ACCESS_REFUSED"):
        amqp.connect("guest", "wrong")


def test_an_unknown_mechanism_ends_the_connection(wire):
    wire.start(mechanism="SCRAM-SHA-512")
    assert not any(isinstance(read.method, spec.Connection.Tune) for read in wire.ended())


def test_nothing_before_authentication_may_be_large(wire):
    wire.start(response="\0guest\0" + "g" * 70000)
    assert not any(isinstance(read.method, spec.Connection.Tune) for read in wire.ended())


@pytest.mark.parametrize("asked, text", [
    ({"channel_max": 0}, "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value "
                         "(2047)"),
    ({"channel_max": 2048}, "NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047)"),
    ({"frame_max": 0}, "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072)"),
    ({"frame_max": 131073}, "NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value "
                            "(131072)"),
    ({"frame_max": 1000}, "NOT_ALLOWED - negotiated frame_max = 1000 is lower than the minimum allowed value…"),
], ids=str)
def test_limits_beyond_the_brokers_are_refused(wire, asked, text, on_rabbitmq):
    wire.start()
    wire.tune(**asked)
    if on_rabbitmq:  # Version 4 says so; 3.10 only ends the connection.
        assert wire.ended() == []
    else:
        code, said = refusal(wire)
        assert code == 530 and (said.startswith(text[:-1]) if text.endswith("…") else said == text), said


def test_frames_are_cut_to_the_size_that_was_agreed(amqp):
    body = bytes(range(256)) * 200
    with Wire(amqp.port) as wire:
        wire.start()
        wire.tune(frame_max=8192)
        wire.send(0, spec.Connection.Open(virtual_host="/"))
        wire.expect(spec.Connection.OpenOk)
        wire.open_channel()
        queue = wire.call(1, spec.Queue.Declare(exclusive=True)).queue
        channel = amqp.channel(connection=amqp.connect())
        publish_through = amqp.name("x")
        channel.exchange_declare(publish_through, "fanout", auto_delete=True)
        wire.call(1, spec.Queue.Bind(queue=queue, exchange=publish_through))
        publish(channel, publish_through, "", body)
        wire.call(1, spec.Basic.Get(queue=queue, no_ack=True))
        header = wire.read()
        sizes = []
        while sum(sizes) < header.body_size:
            sizes.append(len(wire.read().fragment))
        assert sizes == [8184] * 6 + [len(body) - 6 * 8184]


def test_fewer_channels_can_be_agreed(wire):
    wire.start()
    wire.tune(channel_max=2)
    wire.send(0, spec.Connection.Open(virtual_host="/"))
    wire.expect(spec.Connection.OpenOk)
    wire.open_channel(1).open_channel(2)
    wire.send(3, spec.Channel.Open())
    assert refusal(wire) == (530, "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)")


@pytest.mark.parametrize("vhost, user, text", [
    ("missing", "guest", "NOT_ALLOWED - vhost missing not found"),
    ("other", "limited", "NOT_ALLOWED - access to vhost 'other' refused for user 'limited'"),
    ("/", "nobody", "NOT_ALLOWED - access to vhost '/' refused for user 'nobody'")])
def test_a_vhost_that_is_missing_or_not_permitted(amqp, vhost, user, text):
    with pytest.raises(ProbableAccessDeniedError) as caught:
        amqp.connect(user, vhost=vhost)
    assert text in str(caught.value) and "(530)" in str(caught.value)


def test_vhosts_are_worlds_of_their_own(amqp):
    here, there = amqp.channel(), amqp.channel(connection=amqp.connect(vhost="other"))
    queue = declare(here, amqp.name())
    with refused(404, f"NOT_FOUND - no queue '{queue}' in vhost 'other'"):
        there.queue_declare(queue, passive=True)


def test_heartbeats_come_while_nothing_else_does(wire):
    wire.start()
    wire.tune(heartbeat=1)
    wire.send(0, spec.Connection.Open(virtual_host="/"))
    wire.expect(spec.Connection.OpenOk)
    for _ in range(2):
        assert isinstance(wire.read_frame(), frame.Heartbeat)
        wire.write(frame.Heartbeat().marshal())


def test_a_peer_that_falls_silent_is_dropped(wire):
    wire.start()
    wire.tune(heartbeat=1)
    wire.send(0, spec.Connection.Open(virtual_host="/"))
    wire.expect(spec.Connection.OpenOk)
    assert wire.ended() == []


def test_pika_lives_with_heartbeats_of_a_second(amqp):
    connection = amqp.connect(heartbeat=1)
    assert connection._impl.params.heartbeat == 1
    connection.sleep(2.5)
    assert ready(connection.channel(), declare(connection.channel())) == 0


def test_close_ok_comes_after_the_exclusive_queues_are_gone(amqp):
    other = amqp.channel()
    for turn in range(10):
        connection = amqp.connect()
        queue = declare(connection.channel(), amqp.name(f"q{turn}"))
        connection.close()
        declare(other, queue)
        other.queue_delete(queue)


def test_a_connection_that_is_cut_requeues_what_it_held(amqp):
    channel = amqp.channel()
    queue = declare(channel, amqp.name(), auto_delete=False, exclusive=False)
    publish(channel, "", queue, "a", "b")
    wire = Wire(amqp.port).open().open_channel()
    wire.call(1, spec.Basic.Get(queue=queue))
    wire.content()
    wire.socket.close()
    until(channel.connection, lambda: ready(channel, queue) == 2, "requeued message")
    first, second = get(channel, queue), get(channel, queue)
    assert (first.body, first.method.redelivered) == (b"a", True)
    assert (second.body, second.method.redelivered) == (b"b", False)
    channel.queue_delete(queue)


def test_a_close_is_answered_even_after_the_brokers_own(wire):
    wire.open()
    wire.send(7, spec.Basic.Qos())
    wire.expect(spec.Connection.Close)
    wire.send(0, spec.Connection.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    wire.expect(spec.Connection.CloseOk)


def test_a_closed_channel_ignores_all_until_close_ok(wire):
    wire.open().open_channel()
    wire.send(1, spec.Queue.Declare(queue="missing-queue", passive=True))
    wire.send(1, spec.Queue.Declare(queue="never", exclusive=True))
    wire.send(1, Publish("amq.fanout", "never", b"never"))
    closed = wire.expect(spec.Channel.Close, 1)
    assert closed.reply_code == 404
    wire.send(1, spec.Basic.Qos())
    wire.send(1, spec.Channel.CloseOk())
    wire.open_channel()
    wire.send(1, spec.Queue.Declare(queue="never", passive=True))
    assert wire.expect(spec.Channel.Close, 1).reply_code == 404


def test_a_crossing_close_is_answered(wire):
    wire.open().open_channel()
    wire.send(1, spec.Queue.Declare(queue="missing-queue", passive=True))
    wire.send(1, spec.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
    wire.expect(spec.Channel.Close, 1)
    wire.expect(spec.Channel.CloseOk, 1)
    wire.send(1, spec.Channel.CloseOk())
    wire.open_channel(2)


def test_a_channel_number_can_be_used_again_at_once(wire):
    wire.open()
    for _ in range(20):
        wire.open_channel()
        wire.call(1, spec.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))


def test_an_error_of_a_channel_leaves_the_others_alone(amqp):
    connection = amqp.connect()
    good, bad = connection.channel(), connection.channel()
    queue = declare(good)
    with refused(404):
        bad.basic_publish(amqp.name("missing"), "", b"")
        settle(bad)
    good.basic_publish("", queue, b"still here")
    settle(good)
    assert get(good, queue).body == b"still here"


def test_channel_flow_on_is_confirmed(wire):
    wire.open().open_channel()
    assert wire.call(1, spec.Channel.Flow(active=True)).active is True


def test_the_secret_can_be_updated(wire):
    wire.open()
    wire.send(0, spec.Connection.UpdateSecret(new_secret="guest", reason="rotated"))
    wire.expect(spec.Connection.UpdateSecretOk, 0)


def test_pika_reports_the_end_that_the_broker_gave(amqp):
    connection = amqp.connect()
    channel = connection.channel()
    declare(channel)
    with disconnected(540):
        channel.basic_publish("", "q", b"", mandatory=False)
        connection._impl._send_method(channel.channel_number, spec.Channel.Flow(active=False))
        settle(channel)


def test_client_capabilities_may_be_missing(wire):
    wire.open(capabilities={}).open_channel()
    wire.close()
