"""A broker as the differential test sees it: operations with comparable results, on several channels of two connections."""

import collections

from pika import frame, spec

from amqp_wire import Publish, Wire

# Two connections, so that exclusive queues have strangers. `p` confirms, `t` has transactions, `o` only looks.
CHANNELS = {"p": (0, 1), "t": (0, 2), "a": (0, 3), "b": (0, 4), "o": (0, 9), "s": (1, 1)}
WITH_CONTENT = (spec.Basic.Deliver, spec.Basic.Return, spec.Basic.GetOk)


class Stage:
    """Runs operations; every result is made of plain values that are equal on brokers that behave alike."""

    def __init__(self, port):
        self.port = port
        self.wires = [None, None]
        self.pending, self.events = {}, collections.defaultdict(list)
        self.replies, self.ended = collections.defaultdict(collections.deque), {}
        self.published = 0
        for number in range(2):
            self.connect(number)

    def connect(self, number):
        if self.wires[number]:
            self.wires[number].socket.close()
        self.wires[number] = Wire(self.port).open()
        self.ended.pop(number, None)
        for name, (connection, _) in CHANNELS.items():
            if connection == number:
                self.replies.pop(name, None)
                self.open(name)

    def open(self, name):
        connection, channel = CHANNELS[name]
        self.pending.pop(name, None)
        wire = self.wires[connection]
        wire.send(channel, spec.Channel.Open())
        self.wait(name)
        if name == "p":
            self.published = 0
            self.call("p", spec.Confirm.Select())
        if name == "t":
            self.call("t", spec.Tx.Select())

    def pump(self, connection):
        """Reads one frame of a connection and files what it completes."""
        read = self.wires[connection].read()
        name = next(name for name, place in CHANNELS.items() if place == (connection, read.channel_number)) \
            if read.channel_number else None
        if isinstance(read, frame.Method):
            if isinstance(read.method, WITH_CONTENT):
                self.pending[name] = [read.method, None, b""]
            else:
                self.file(name, connection, read.method)
            return
        content = self.pending[name]
        if isinstance(read, frame.Header):
            content[1] = read
        else:
            content[2] += read.fragment
        if len(content[2]) == content[1].body_size:
            del self.pending[name]
            self.file(name, connection, content[0], content[1].properties, content[2])

    def file(self, name, connection, method, properties=None, body=None):
        if isinstance(method, spec.Basic.Deliver):
            self.events[name].append(("delivered", method.consumer_tag, method.delivery_tag, method.redelivered,
                                      method.exchange, method.routing_key, *content(properties, body)))
        elif isinstance(method, spec.Basic.Return):
            self.events[name].append(("returned", method.reply_code, method.reply_text, method.exchange, method.routing_key,
                                      *content(properties, body)))
        elif isinstance(method, spec.Basic.Cancel):
            self.events[name].append(("cancelled", method.consumer_tag))
        elif isinstance(method, spec.Connection.Close):
            self.ended[connection] = method
        else:
            self.replies[name].append((method, properties, body))

    def wait(self, name):
        """The next reply on a channel; what was closed is opened again."""
        connection, channel = CHANNELS[name]
        while not self.replies[name] and connection not in self.ended:
            self.pump(connection)
        if connection in self.ended:
            method = self.ended[connection]
            self.wires[connection].send(0, spec.Connection.CloseOk())
            self.connect(connection)
            return ("connection closed", *reason(method))
        method, properties, body = self.replies[name].popleft()
        if isinstance(method, spec.Channel.Close):
            self.wires[connection].send(channel, spec.Channel.CloseOk())
            self.open(name)
            return ("channel closed", *reason(method))
        if isinstance(method, spec.Basic.GetOk):
            return ("got", method.delivery_tag, method.redelivered, method.exchange, method.routing_key,
                    method.message_count, *content(properties, body))
        fields = {key: value for key, value in vars(method).items() if key != "cluster_id"}
        return (type(method).__name__, tuple(sorted(fields.items())))

    def call(self, name, method):
        connection, channel = CHANNELS[name]
        self.wires[connection].send(channel, method)
        return self.wait(name)

    def send(self, name, method):
        """A method without a reply."""
        connection, channel = CHANNELS[name]
        self.wires[connection].send(channel, method)
        return ("sent",)

    def publish(self, publication):
        """Publishes on `p` and waits for the confirm."""
        self.send("p", Publish(**publication))
        self.published += 1
        answer = self.wait("p")
        if answer[0] in ("Ack", "Nack"):
            return (answer[0], dict(answer[1])["delivery_tag"] == self.published)
        return answer

    def close(self, name):
        """Closes a channel politely and opens it again."""
        connection, channel = CHANNELS[name]
        self.wires[connection].send(channel, spec.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
        answer = self.wait(name)
        self.open(name)
        return answer

    def settle(self, queues):
        """Returns when all that was asked for is done: what came by itself on each channel, and what each queue holds."""
        seen, counts = [], []
        # What a queue does about one round's requests is finished, and has reached the channels, with the next.
        for _ in range(2):
            seen += [(name, self.barrier(name)) for name in CHANNELS]
            counts = [self.call("o", spec.Queue.Declare(queue=queue, passive=True)) for queue in queues]
        seen += [(name, self.barrier(name)) for name in CHANNELS]
        events, self.events = dict(self.events), collections.defaultdict(list)
        return [entry for entry in seen if entry[1][0] != "FlowOk"], counts, events

    def barrier(self, name):
        """A request that a channel answers when it is done with all before it."""
        return self.call(name, spec.Channel.Flow(active=True))

    def end(self, queues, exchanges):
        self.wires[1].socket.close()
        for queue in queues:
            self.call("o", spec.Queue.Delete(queue=queue))
        for exchange in exchanges:
            self.call("o", spec.Exchange.Delete(exchange=exchange))
        self.wires[0].socket.close()


def reason(method):
    return method.reply_code, method.reply_text, (method.class_id, method.method_id)


def content(properties, body):
    """Properties and body as comparable values."""
    fields = {name: value for name, value in vars(properties).items() if value is not None and name != "headers"}
    return plain(properties.headers or {}), tuple(sorted(fields.items())), body


def plain(value):
    """A header's value without what time and version 4 add."""
    if isinstance(value, dict):
        return tuple(sorted((name, plain(one)) for name, one in value.items()
                            if name != "time" and not name.startswith("x-last-death")))
    if isinstance(value, list):
        return tuple(plain(one) for one in value)
    return value
