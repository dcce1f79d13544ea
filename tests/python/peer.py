"""A paho client whose callbacks can be waited for."""

import queue
import ssl
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import PATIENCE

V31, V311, V5 = mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5
VERSIONS = {"3.1": V31, "3.1.1": V311, "5": V5}


# Between two threads that send at once, the WebSocket wrapper of paho 2.1 breaks ("Existing exports of data").
UNLOCKED_SEND = mqtt._WebsocketWrapper._send_impl


def send_locked(wrapper, data):
    with wrapper.__dict__.setdefault("send_lock", threading.Lock()):
        return UNLOCKED_SEND(wrapper, data)


mqtt._WebsocketWrapper._send_impl = send_locked


def properties(packet, **values):
    """Properties of a packet; the names are paho's (`SessionExpiryInterval=60`)."""
    result = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Peer:
    """Connects on `start`, keeps what comes in queues, and ends with `stop` or `die`."""

    def __init__(self, broker, client, version=V5, listener="mqtt", clean=True, keepalive=60, **options):
        transport = {"ws": "websockets", "wss": "websockets", "unix": "unix"}.get(listener, "tcp")
        arguments = {} if version == V5 else {"clean_session": clean}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client, protocol=version,
                                  transport=transport, **arguments)
        self.broker, self.version, self.listener, self.clean, self.keepalive = broker, version, listener, clean, keepalive
        self.connect_properties = options.get("properties")
        self.messages, self.acks, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.unsubscribed, self.ended, self.connected = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.max_inflight_messages_set(options.get("inflight", 20))
        self.client.on_connect = lambda c, u, flags, code, props: self.connected.put((flags, code, props))
        self.client.on_disconnect = lambda c, u, flags, code, props: self.ended.put((flags, code, props))
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_publish = lambda c, u, mid, code, props: self.acks.put((mid, code))
        self.client.on_subscribe = lambda c, u, mid, codes, props: self.subscribed.put((mid, codes))
        self.client.on_unsubscribe = lambda c, u, mid, codes, props: self.unsubscribed.put((mid, codes))
        if listener in ("ws", "wss"):
            self.client.ws_set_options(path="/mqtt")
        if listener in ("tls", "mtls", "wss"):
            directory = broker.directory
            context = ssl.create_default_context(cafile=directory / "ca.pem")
            if listener == "mtls" and options.get("certificate", True):
                context.load_cert_chain(directory / "client.pem", directory / "client.key")
            self.client.tls_set_context(context)
        if "login" in options:
            self.client.username_pw_set(*options["login"])
        if "will" in options:
            self.client.will_set(**options["will"])

    def start(self, expected=0):
        """Connects and returns the CONNACK's flags and properties; the code must be `expected`."""
        extra = {}
        if self.version == V5:
            extra = {"clean_start": self.clean, "properties": self.connect_properties}
        host, port = ("localhost", 1) if self.listener == "unix" else ("localhost", self.broker.port(self.listener))
        if self.listener == "unix":
            host = str(self.broker.socket)
        self.client.connect(host, port, self.keepalive, **extra)
        self.thread = threading.Thread(target=self.client.loop_forever, kwargs={"retry_first_connection": False}, daemon=True)
        self.client.reconnect_delay_set(60, 60)
        self.thread.start()
        flags, code, props = self.connected.get(timeout=PATIENCE)
        assert code.value == expected, f"{code} for {self.client._client_id}"
        self.flags, self.properties = flags, props
        return self

    def subscribe(self, *filters, **options):
        """Subscribes to (filter, qos or SubscribeOptions) pairs and returns the codes."""
        if len(filters) == 2 and isinstance(filters[0], str):
            filters = (filters,)
        if self.version == V5:
            filters = [(name, opt if isinstance(opt, mqtt.SubscribeOptions) else mqtt.SubscribeOptions(opt))
                       for name, opt in filters]
            result, mid = self.client.subscribe(list(filters), properties=options.get("properties"))
        else:
            result, mid = self.client.subscribe(list(filters))
        assert result == mqtt.MQTT_ERR_SUCCESS
        seen, codes = self.subscribed.get(timeout=PATIENCE)
        assert seen == mid
        return [code.value for code in codes]

    def unsubscribe(self, *filters):
        result, mid = self.client.unsubscribe(list(filters))
        assert result == mqtt.MQTT_ERR_SUCCESS
        seen, codes = self.unsubscribed.get(timeout=PATIENCE)
        assert seen == mid
        return [code.value for code in codes] if isinstance(codes, list) else [codes]

    def publish(self, topic, payload=b"", qos=0, retain=False, **values):
        """Publishes, waits for the end of the handshake and returns the reason code."""
        props = properties("PUBLISH", **values) if self.version == V5 and values else None
        info = self.client.publish(topic, payload, qos, retain, props)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()
        mid, code = self.acks.get(timeout=PATIENCE)
        assert mid == info.mid
        return code.value

    def take(self):
        return self.messages.get(timeout=PATIENCE)

    def expect(self, *texts):
        """The next messages' payloads."""
        for text in texts:
            message = self.take()
            assert message.payload == (text.encode() if isinstance(text, str) else text), message.topic

    def stop(self):
        """A polite end."""
        self.client.disconnect()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def die(self):
        """Closes the socket without a word."""
        # With a word less in its ear paho believes that the network went away, and its loop is told not to go on.
        self.client.on_disconnect = None
        self.client._state = mqtt._ConnectionState.MQTT_CS_DISCONNECTING
        self.client._sock_close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
