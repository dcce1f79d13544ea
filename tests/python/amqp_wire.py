"""AMQP 0-9-1 frame by frame: what a client library hides or refuses to send. The codec is pika's."""

import socket

from pika import frame, spec
from pika.exceptions import AMQPError

from broker import PATIENCE

HEADER = b"AMQP\x00\x00\x09\x01"
CAPABILITIES = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True,
                "connection.blocked": True, "authentication_failure_close": True}


class Closed(Exception):
    """The broker ended the TCP connection."""


class Publish:
    """A basic.publish with its content."""

    def __init__(self, exchange="", routing_key="", body=b"", mandatory=False, immediate=False, **properties):
        self.method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory,
                                         immediate=immediate)
        self.body, self.properties = body, spec.BasicProperties(**properties)


class Wire:
    """One connection. Everything that waits is bounded by PATIENCE."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.frame_max = 4096

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def write(self, data):
        self.socket.sendall(data)

    def send(self, channel, method):
        """Sends a method, or a publish with its content."""
        if not isinstance(method, Publish):
            self.write(frame.Method(channel, method).marshal())
            return
        size = self.frame_max - 8
        parts = [frame.Method(channel, method.method), frame.Header(channel, len(method.body), method.properties)]
        parts += [frame.Body(channel, method.body[at:at + size]) for at in range(0, len(method.body), size)]
        self.write(b"".join(part.marshal() for part in parts))

    def read_bytes(self):
        """More of what the broker sends; raises Closed at the end."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed
        self.received += data

    def read_frame(self):
        """The next frame of any kind."""
        while True:
            try:
                consumed, read = frame.decode_frame(self.received)
            except AMQPError as error:
                raise AssertionError(f"not a frame: {self.received[:200]!r}") from error
            if read is not None:
                self.received = self.received[consumed:]
                return read
            self.read_bytes()

    def read(self):
        """The next frame that is no heartbeat; of a method (channel, method), of content the frame."""
        while True:
            read = self.read_frame()
            if isinstance(read, frame.Heartbeat):
                continue
            return read

    def expect(self, method, channel=None):
        """The next frame, which must be this method."""
        read = self.read()
        assert isinstance(read, frame.Method), read
        assert isinstance(read.method, method), read.method
        assert channel is None or read.channel_number == channel, read
        return read.method

    def call(self, channel, method):
        """Sends a synchronous method and returns its reply."""
        self.send(channel, method)
        read = self.read()
        assert isinstance(read, frame.Method), read
        assert not isinstance(read.method, (spec.Channel.Close, spec.Connection.Close)), read.method
        assert read.channel_number == channel, read
        return read.method

    def content(self):
        """The content that follows a deliver, return or get-ok: its properties and its body."""
        header = self.read()
        assert isinstance(header, frame.Header), header
        body = b""
        while len(body) < header.body_size:
            body += self.read().fragment
        return header.properties, body

    def ended(self):
        """Waits for the end of the TCP connection; the frames before it."""
        frames = []
        try:
            while True:
                frames.append(self.read())
        except Closed:
            return frames

    def start(self, user="guest", password=None, mechanism="PLAIN", response=None, capabilities=None):
        """The protocol header and start-ok."""
        self.write(HEADER)
        self.start_method = self.expect(spec.Connection.Start, 0)
        if response is None:
            response = f"\0{user}\0{password or (user if user == 'guest' else user + '-secret')}"
        capabilities = CAPABILITIES if capabilities is None else capabilities
        self.send(0, spec.Connection.StartOk(client_properties={"product": "wire", "capabilities": capabilities},
                                             mechanism=mechanism, response=response, locale="en_US"))

    def tune(self, channel_max=None, frame_max=None, heartbeat=0):
        """Takes the broker's proposal but for what is given."""
        self.tune_method = proposed = self.expect(spec.Connection.Tune, 0)
        self.frame_max = proposed.frame_max if frame_max is None else frame_max
        self.send(0, spec.Connection.TuneOk(
            channel_max=proposed.channel_max if channel_max is None else channel_max,
            frame_max=self.frame_max, heartbeat=heartbeat))

    def open(self, vhost="/", **login):
        """The whole handshake."""
        self.start(**login)
        self.tune()
        self.send(0, spec.Connection.Open(virtual_host=vhost))
        self.expect(spec.Connection.OpenOk, 0)
        return self

    def open_channel(self, channel=1):
        self.send(channel, spec.Channel.Open())
        self.expect(spec.Channel.OpenOk, channel)
        return self

    def close(self):
        """A polite end."""
        self.send(0, spec.Connection.Close(reply_code=200, reply_text="bye", class_id=0, method_id=0))
        while not isinstance(getattr(self.read(), "method", None), spec.Connection.CloseOk):
            pass
        self.socket.close()
