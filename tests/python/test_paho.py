"""paho-mqtt in all three versions over every transport."""

import queue
import time

import paho.mqtt.client as mqtt
import pytest

from broker import PATIENCE
from peer import V5, V31, V311, VERSIONS, Peer, properties

LISTENERS = ["mqtt", "tls", "mtls", "ws", "wss", "unix"]


@pytest.fixture(params=VERSIONS, ids=lambda name: f"v{name}")
def version(request):
    return VERSIONS[request.param]


@pytest.fixture
def connect(broker, unique):
    """Makes peers with names of their own and ends those that are left."""
    peers = []

    def make(name="c", version=V5, expected=0, **options):
        peer = Peer(broker, f"{unique}-{name}" if name else "", version, **options)
        peers.append(peer)
        return peer.start(expected)

    yield make
    for peer in peers:
        if getattr(peer, "thread", None) and peer.thread.is_alive():
            peer.stop()


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_quality_over_every_transport(connect, topic, version, listener):
    subscriber = connect("s", version, listener=listener)
    publisher = connect("p", version, listener=listener)
    assert subscriber.subscribe((f"{topic}/0", 0), (f"{topic}/1", 1), (f"{topic}/2", 2)) == [0, 1, 2]
    for qos in range(3):
        for payload in [b"", b"x", bytes(range(256)) * 1000]:
            publisher.publish(f"{topic}/{qos}", payload, qos)
            message = subscriber.take()
            assert (message.topic, message.payload, message.qos) == (f"{topic}/{qos}", payload, qos)
            assert not message.retain and not message.dup


def test_a_persistent_session_queues_and_resumes(connect, topic, version):
    def durable():
        extra = {"properties": properties("CONNECT", SessionExpiryInterval=600)} if version == V5 else {}
        return connect("s", version, clean=False, **extra)

    subscriber = durable()
    assert not subscriber.flags.session_present
    subscriber.subscribe((f"{topic}/1", 1), (f"{topic}/2", 2))
    subscriber.stop()
    publisher = connect("p", version)
    for n in range(20):
        publisher.publish(f"{topic}/{1 + n % 2}", str(n), 1 + n % 2)
    subscriber = durable()
    assert subscriber.flags.session_present or version == V31
    # paho hands over a QoS 2 message at its PUBREL, so the order is kept within each quality.
    seen = [int(subscriber.take().payload) for _ in range(20)]
    assert [n for n in seen if n % 2 == 0] == list(range(0, 20, 2))
    assert [n for n in seen if n % 2 == 1] == list(range(1, 20, 2))
    subscriber.stop()
    assert not connect("s", version).flags.session_present, "a clean start"


def test_messages_published_while_away_at_qos_0_are_not_queued(connect, topic, version):
    extra = {"properties": properties("CONNECT", SessionExpiryInterval=600)} if version == V5 else {}
    connect_again = lambda: connect("s", version, clean=False, **extra)  # noqa: E731
    subscriber = connect_again()
    subscriber.subscribe(topic, 1)
    subscriber.stop()
    publisher = connect("p", version)
    publisher.publish(topic, "0", 0)
    publisher.publish(topic, "1", 1)
    connect_again().expect("1")


def test_retained_messages(connect, topic, version):
    publisher = connect("p", version)
    publisher.publish(topic, "old", 1, True)
    publisher.publish(topic, "new", 2, True)
    subscriber = connect("s", version)
    subscriber.subscribe(topic, 2)
    message = subscriber.take()
    assert (message.payload, message.retain) == (b"new", True)
    publisher.publish(topic, b"", 1, True)
    assert subscriber.take().payload == b""
    late = connect("late", version)
    late.subscribe(topic, 1)
    publisher.publish(topic, "live", 1)
    late.expect("live")


def test_wills(connect, topic, version):
    watcher = connect("w", version)
    watcher.subscribe(f"{topic}/#", 2)
    for qos in range(3):
        will = {"topic": f"{topic}/{qos}", "payload": "gone", "qos": qos, "retain": qos == 1}
        connect("polite", version, will=will).stop()
        connect("dies", version, will={**will, "payload": "died"}).die()
        message = watcher.take()
        assert (message.payload, message.qos, message.retain) == (b"died", qos, False)
    late = connect("late", version)
    late.subscribe(f"{topic}/#", 1)
    message = late.take()
    assert (message.topic, message.retain) == (f"{topic}/1", True)


def test_wildcards_and_unsubscribe(connect, topic, version):
    subscriber = connect("s", version)
    subscriber.subscribe((f"{topic}/+/x", 0), (f"{topic}/a/#", 1))
    publisher = connect("p", version)
    for name in ["b/x", "a/y", "b/y", "a"]:
        publisher.publish(f"{topic}/{name}", name, 1)
    subscriber.expect("b/x", "a/y", "a")
    subscriber.unsubscribe(f"{topic}/+/x", f"{topic}/a/#")
    subscriber.subscribe(f"{topic}/end", 0)
    for name in ["b/x", "a/y", "end"]:
        publisher.publish(f"{topic}/{name}", name, 1)
    subscriber.expect("end")


def test_takeover(connect, version):
    old = connect("same", version)
    connect("same", version)
    flags, _, _ = old.ended.get(timeout=PATIENCE)
    # paho 2.1 reads the reason code only of longer DISCONNECT packets, but tells whether one came.
    assert flags.is_disconnect_packet_from_server == (version == V5)
    old.client.disconnect()


def test_keep_alive(connect, topic, version):
    peer = connect("c", version, keepalive=1)
    peer.subscribe(topic, 0)
    # paho sends PINGREQ by itself; over two keep alives nothing ends.
    with pytest.raises(queue.Empty):
        peer.ended.get(timeout=2.5)
    peer.publish(topic, "still here", 0)
    peer.expect("still here")


def test_many_messages_in_order(connect, topic, version):
    subscriber = connect("s", version)
    subscriber.subscribe(topic, 2)
    publisher = connect("p", version, inflight=100)
    for n in range(1500):
        publisher.client.publish(topic, str(n), n % 3)
    seen = {0: [], 1: [], 2: []}
    for _ in range(1500):
        n = int(subscriber.take().payload)
        seen[n % 3].append(n)
    assert all(numbers == sorted(numbers) and len(numbers) == 500 for numbers in seen.values())


def test_login(connect, version):
    connect("a", version, listener="locked", login=("alice", "alice-secret"))
    # paho translates the return codes of 3.x into reason codes.
    for login, codes in [(("alice", "wrong"), (0x86,)), (("nobody", "x"), (0x86,)), (None, (0x87, 0x86))]:
        options = {"login": login} if login else {}
        for code in codes:
            try:
                connect("b", version, expected=code, listener="locked", **options)
                break
            except AssertionError:
                if code == codes[-1]:
                    raise


def test_rights(connect, broker, topic, unique, version):
    bob = connect("bob", version, listener="locked", login=("bob", "bob-secret"))
    alice = connect("alice", version, listener="locked", login=("alice", "alice-secret"))
    alice.subscribe((f"private/bob/{unique}", 1), (f"private/alice/{unique}", 1), (f"{topic}", 1))
    for qos in (1, 2):
        assert bob.publish(f"private/bob/{unique}", "own", qos) == 0
        denied = bob.publish(f"private/alice/{unique}", "not", qos)
        # paho does not look at the reason code of PUBREC.
        assert denied == (0x87 if version == V5 and qos == 1 else 0)
        alice.expect("own")
    bob.publish(topic, "end", 1)
    alice.expect("end")
    code = 0x87 if version == V5 else 0x80
    assert bob.subscribe((f"private/alice/{unique}", 1), (topic, 1)) == [code, 1]


@pytest.mark.parametrize("listener", ["mqtt", "ws"])
def test_sys(connect, version, listener):
    peer = connect("alice", version, listener=listener, login=("alice", "alice-secret"))
    peer.subscribe("$SYS/broker/uptime", 0)
    assert peer.take().topic == "$SYS/broker/uptime"


def test_mtls_takes_the_name_from_the_certificate(connect, unique, version):
    # The certificate says alice; the login does not count.
    peer = connect("c", version, listener="mtls", login=("bob", "bob-secret"))
    peer.subscribe(f"private/alice/{unique}", 1)
    assert peer.publish(f"private/alice/{unique}", "mine", 1) == 0
    peer.expect("mine")


def test_mtls_without_a_certificate_is_refused(broker, unique):
    peer = Peer(broker, unique, V5, listener="mtls", certificate=False)
    with pytest.raises((OSError, queue.Empty, ValueError)):
        peer.client.connect("localhost", broker.port("mtls"), 60)
        # TLS 1.3 tells only with the first read.
        for _ in range(10):
            if peer.client.loop(1) != mqtt.MQTT_ERR_SUCCESS:
                raise OSError("closed")
        assert peer.connected.empty()


# From here on: what only 5.0 has.


def test_v5_properties_travel(connect, topic):
    subscriber = connect("s")
    subscriber.subscribe(topic, 2)
    publisher = connect("p")
    publisher.publish(topic, "x", 2, PayloadFormatIndicator=1, ContentType="text/plain", ResponseTopic="open/answer",
                      CorrelationData=b"\0\1\xff", UserProperty=[("a", "1"), ("a", "2"), ("ü", "")],
                      MessageExpiryInterval=600)
    seen = subscriber.take().properties
    assert (seen.PayloadFormatIndicator, seen.ContentType, seen.ResponseTopic) == (1, "text/plain", "open/answer")
    assert seen.CorrelationData == b"\0\1\xff"
    assert seen.UserProperty == [("a", "1"), ("a", "2"), ("ü", "")]
    assert 590 <= seen.MessageExpiryInterval <= 600


def test_v5_topic_alias(connect, topic):
    subscriber = connect("s")
    subscriber.subscribe(topic, 1)
    publisher = connect("p")
    assert publisher.properties.TopicAliasMaximum >= 1
    publisher.publish(topic, "1", 1, TopicAlias=1)
    # paho refuses an empty topic unless an alias stands for it.
    publisher.publish("", "2", 1, TopicAlias=1)
    subscriber.expect("1", "2")


def test_v5_aliases_from_the_broker(connect, topic):
    subscriber = connect("s", properties=properties("CONNECT", TopicAliasMaximum=5))
    subscriber.subscribe(f"{topic}/#", 1)
    publisher = connect("p")
    known = {}
    for n in range(12):
        publisher.publish(f"{topic}/{n % 3}", str(n), n % 2)
        message = subscriber.take()
        alias = getattr(message.properties, "TopicAlias", None)
        name = message.topic
        if alias is not None:
            name = known.setdefault(alias, name) if name else known[alias]
        assert name == f"{topic}/{n % 3}"


def test_v5_subscription_identifiers(connect, topic):
    subscriber = connect("s")
    for number, name in [(1, f"{topic}/#"), (2, f"{topic}/+"), (3, "other")]:
        subscriber.subscribe(name, 1, properties=properties("SUBSCRIBE", SubscriptionIdentifier=number))
    connect("p").publish(f"{topic}/x", "x", 1)
    assert sorted(subscriber.take().properties.SubscriptionIdentifier) == [1, 2]


def test_v5_subscribe_options(connect, topic):
    publisher = connect("p")
    publisher.publish(topic, "kept", 1, True)
    subscriber = connect("s")
    options = mqtt.SubscribeOptions
    subscriber.subscribe(topic, options(1, retainHandling=options.RETAIN_DO_NOT_SEND))
    subscriber.subscribe(topic, options(1, retainHandling=options.RETAIN_SEND_IF_NEW_SUB))
    publisher.publish(topic, "kept", 1, True)
    assert not subscriber.take().retain
    subscriber.subscribe(topic, options(1, retainAsPublished=True))
    assert subscriber.take().retain, "handling 0 sends it again"
    publisher.publish(topic, "kept", 1, True)
    assert subscriber.take().retain, "as published"
    subscriber.subscribe(topic, options(1, noLocal=True, retainHandling=options.RETAIN_DO_NOT_SEND))
    subscriber.publish(topic, "own", 1)
    publisher.publish(topic, "theirs", 1)
    subscriber.expect("theirs")


def test_v5_shared_subscription(connect, topic):
    members = [connect(f"m{n}") for n in range(3)]
    for member in members:
        member.subscribe(f"$share/group/{topic}", 1)
    publisher = connect("p")
    for n in range(30):
        publisher.publish(topic, str(n), 1)
    seen = [int(member.take().payload) for member in members for _ in range(10)]
    assert sorted(seen) == list(range(30))


def test_v5_request_and_response(connect, topic):
    server, client = connect("server"), connect("client")
    server.subscribe(f"{topic}/ask", 1)
    client.subscribe(f"{topic}/answer", 1)
    client.publish(f"{topic}/ask", "6*7", 1, ResponseTopic=f"{topic}/answer", CorrelationData=b"1")
    question = server.take().properties
    server.publish(question.ResponseTopic, "42", 1, CorrelationData=question.CorrelationData)
    answer = client.take()
    assert (answer.payload, answer.properties.CorrelationData) == (b"42", b"1")


def test_v5_assigned_client_identifier(connect):
    peer = connect("", properties=properties("CONNECT", SessionExpiryInterval=1))
    assert peer.properties.AssignedClientIdentifier


def test_v5_will_delay_and_expiry(connect, topic):
    watcher = connect("w")
    watcher.subscribe(f"{topic}/#", 1)
    will = {"topic": f"{topic}/late", "payload": "late", "qos": 1,
            "properties": properties("WILLMESSAGE", WillDelayInterval=1, ContentType="text/plain")}
    keep = properties("CONNECT", SessionExpiryInterval=60)
    late = connect("late", will=will, properties=keep)
    now = connect("now", will={**will, "topic": f"{topic}/now", "properties": None})
    # Both are connected, so that nothing slow lies between their ends.
    start = time.monotonic()
    late.die()
    now.die()
    assert watcher.take().topic == f"{topic}/now"
    message = watcher.take()
    assert (message.topic, message.properties.ContentType) == (f"{topic}/late", "text/plain")
    assert time.monotonic() - start >= 0.9


def test_v5_will_delay_is_cancelled_by_coming_back(connect, topic):
    watcher = connect("w")
    watcher.subscribe(f"{topic}/#", 1)
    keep = properties("CONNECT", SessionExpiryInterval=60)

    def will(name, seconds):
        return {"topic": f"{topic}/{name}", "payload": name, "properties": properties("WILLMESSAGE", WillDelayInterval=seconds)}

    connect("back", will=will("back", 1), properties=keep).die()
    connect("back", clean=False, properties=keep)
    connect("clock", will=will("clock", 2), properties=keep).die()
    watcher.expect("clock")


def test_v5_message_expiry(connect, topic):
    keep = properties("CONNECT", SessionExpiryInterval=60)
    subscriber = connect("s", properties=keep)
    subscriber.subscribe(topic, 1)
    subscriber.stop()
    publisher = connect("p")
    publisher.publish(topic, "short", 1, MessageExpiryInterval=1)
    publisher.publish(topic, "long", 1, MessageExpiryInterval=60)
    time.sleep(2.1)  # time is what is tested
    connect("s", clean=False, properties=keep).expect("long")


def test_v5_receive_maximum(connect, topic):
    subscriber = connect("s", properties=properties("CONNECT", ReceiveMaximum=1))
    subscriber.subscribe(topic, 2)
    publisher = connect("p")
    for n in range(20):
        publisher.publish(topic, str(n), 1 + n % 2)
    seen = [subscriber.take().payload for _ in range(20)]
    assert sorted(seen, key=int) == [str(n).encode() for n in range(20)]


def test_v5_maximum_packet_size(connect, topic):
    subscriber = connect("s", properties=properties("CONNECT", MaximumPacketSize=200))
    subscriber.subscribe(topic, 1)
    publisher = connect("p")
    publisher.publish(topic, b"x" * 500, 1)
    publisher.publish(topic, "fits", 1)
    subscriber.expect("fits")


def test_v5_no_matching_subscribers(connect, topic):
    assert connect("p").publish(topic, "x", 1) == 0x10
    assert connect("q").unsubscribe(f"{topic}/none") == [0x11]


def test_v5_disconnect_with_will(connect, topic):
    watcher = connect("w")
    watcher.subscribe(topic, 0)
    peer = connect("c", will={"topic": topic, "payload": "asked for"})
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode
    peer.client.disconnect(reasoncode=ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
    watcher.expect("asked for")


def test_versions_meet_on_one_topic(connect, topic):
    peers = {name: connect(name, version) for name, version in VERSIONS.items()}
    for peer in peers.values():
        peer.subscribe(topic, 2)
    for name, peer in peers.items():
        peer.publish(topic, name, 2)
        for other in peers.values():
            other.expect(name)


def test_v311_is_not_confused_by_v5_shares(connect, topic):
    old = connect("old", V311)
    old.subscribe(f"$share/mixed/{topic}", 1)
    new = connect("new")
    new.subscribe(f"$share/mixed/{topic}", 1)
    publisher = connect("p")
    for n in range(10):
        publisher.publish(topic, str(n), 1)
    seen = [int(peer.take().payload) for peer in (old, new) for _ in range(5)]
    assert sorted(seen) == list(range(10))
