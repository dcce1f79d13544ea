"""Every way to be told off: code, text and the ids of the method, for a channel or for the connection.

Each row provokes one error on a new connection; `{q}` and `{x}` stand for names of the test. A text that ends in … is a
beginning: what breaks the protocol itself is told in words of our own. `old` is what RabbitMQ 3.10 answers where that differs
from what version 4 and Tercet answer.
"""

import copy
import dataclasses
import struct

import pytest
from pika import frame, spec

from amqp_wire import Publish, Wire

CHANNEL, CONNECTION = spec.Channel.Close, spec.Connection.Close
B, Q, X, C, TX = spec.Basic, spec.Queue, spec.Exchange, spec.Channel, spec.Tx
LOCKED = ("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{q}' in vhost '/'. It could be originally declared "
          "on another connection or the exclusive property value does not match that of the original declaration.")


class Raw(bytes):
    """Bytes that are no method."""


class Other:
    """A method that another connection calls first; that one stays open."""

    def __init__(self, *methods):
        self.methods = methods


@dataclasses.dataclass
class Row:
    name: str
    steps: list
    scope: type
    code: int
    text: str
    ids: tuple
    old: tuple = None
    skip_old: str = None


def soft(name, code, text, ids, *steps, **more):
    return Row(name, list(steps), CHANNEL, code, text, ids, **more)


def hard(name, code, text, ids, *steps, **more):
    return Row(name, list(steps), CONNECTION, code, text, ids, **more)


def queue(**options):
    return Q.Declare(**{"queue": "{q}", "exclusive": True, **options})


def arguments(**given):
    return {name.replace("_", "-"): value for name, value in given.items()}


def raw_frame(kind, channel, payload, end=0xCE, size=None):
    return Raw(struct.pack(">BHI", kind, channel, len(payload) if size is None else size) + payload + bytes([end]))


def method_bytes(class_id, method_id, rest=b""):
    return raw_frame(1, 1, struct.pack(">HH", class_id, method_id) + rest)


def header(size, class_id=60, flags=0, rest=b""):
    return raw_frame(2, 1, struct.pack(">HHQH", class_id, 0, size, flags) + rest)


PUBLISH = method_bytes(60, 40, b"\0\0\0\0\0")

ROWS = [
    # 403
    soft("declare the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 10),
         X.Declare(exchange="", type="direct")),
    soft("declare a reserved exchange", 403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
         (40, 10), X.Declare(exchange="amq.mine", type="direct")),
    soft("declare a reserved queue", 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", (50, 10),
         Q.Declare(queue="amq.mine")),
    soft("delete the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", (40, 20),
         X.Delete(exchange="")),
    soft("delete a predeclared exchange", 403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not "
                                               "allowed", (40, 20), X.Delete(exchange="amq.direct")),
    soft("bind to the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", (50, 20),
         queue(), Q.Bind(queue="{q}", exchange="", routing_key="k")),
    soft("unbind from the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange", (50, 50),
         queue(), Q.Unbind(queue="{q}", exchange="", routing_key="{q}")),
    soft("bind an exchange to the default exchange", 403, "ACCESS_REFUSED - operation not permitted on the default exchange",
         (40, 30), X.Bind(source="", destination="amq.fanout", routing_key="k")),
    soft("publish to an internal exchange", 403, "ACCESS_REFUSED - cannot publish to internal exchange '{x}' in vhost '/'",
         (60, 40), X.Declare(exchange="{x}", type="fanout", internal=True, auto_delete=True), Publish("{x}", "", b"m")),
    soft("consume exclusively what others consume", 403, "ACCESS_REFUSED - queue '{q}' in vhost '/' in exclusive use", (60, 20),
         queue(), B.Consume(queue="{q}"), B.Consume(queue="{q}", exclusive=True)),
    soft("consume what is consumed exclusively", 403, "ACCESS_REFUSED - queue '{q}' in vhost '/' in exclusive use", (60, 20),
         queue(), B.Consume(queue="{q}", exclusive=True), B.Consume(queue="{q}")),
    # 404
    soft("declare a missing queue passively", 404, "NOT_FOUND - no queue '{q}' in vhost '/'", (50, 10),
         queue(passive=True)),
    soft("declare a missing exchange passively", 404, "NOT_FOUND - no exchange '{x}' in vhost '/'", (40, 10),
         X.Declare(exchange="{x}", passive=True)),
    soft("bind a missing queue", 404, "NOT_FOUND - no queue '{q}' in vhost '/'", (50, 20),
         Q.Bind(queue="{q}", exchange="amq.fanout")),
    soft("bind to a missing exchange", 404, "NOT_FOUND - no exchange '{x}' in vhost '/'", (50, 20),
         queue(), Q.Bind(queue="{q}", exchange="{x}")),
    soft("bind from a missing exchange", 404, "NOT_FOUND - no exchange '{x}' in vhost '/'", (40, 30),
         X.Bind(source="{x}", destination="amq.fanout")),
    soft("bind a missing exchange", 404, "NOT_FOUND - no exchange '{x}' in vhost '/'", (40, 30),
         X.Bind(source="amq.fanout", destination="{x}")),
    soft("bind the last queue without one", 404, "NOT_FOUND - no previously declared queue", (50, 20),
         Q.Bind(queue="", exchange="amq.fanout")),
    soft("consume a missing queue", 404, "NOT_FOUND - no queue '{q}' in vhost '/'", (60, 20), B.Consume(queue="{q}")),
    soft("consume the last queue without one", 404, "NOT_FOUND - no previously declared queue", (60, 20), B.Consume(queue="")),
    soft("get from a missing queue", 404, "NOT_FOUND - no queue '{q}' in vhost '/'", (60, 70), B.Get(queue="{q}")),
    soft("get from the last queue without one", 404, "NOT_FOUND - no previously declared queue", (60, 70), B.Get(queue="")),
    soft("purge a missing queue", 404, "NOT_FOUND - no queue '{q}' in vhost '/'", (50, 30), Q.Purge(queue="{q}")),
    soft("delete the last queue without one", 404, "NOT_FOUND - no previously declared queue", (50, 40), Q.Delete(queue="")),
    soft("publish to a missing exchange", 404, "NOT_FOUND - no exchange '{x}' in vhost '/'", (60, 40), Publish("{x}", "k", b"m")),
    # 405
    soft("declare another's exclusive queue", 405, LOCKED, (50, 10), Other(queue()), queue()),
    soft("declare another's exclusive queue passively", 405, LOCKED, (50, 10), Other(queue()), queue(passive=True)),
    soft("declare one's exclusive queue as shared", 405, LOCKED, (50, 10), queue(), queue(exclusive=False)),
    soft("bind another's exclusive queue", 405, LOCKED, (50, 20), Other(queue()), Q.Bind(queue="{q}", exchange="amq.fanout")),
    soft("delete another's exclusive queue", 405, LOCKED, (50, 40), Other(queue()), Q.Delete(queue="{q}")),
    soft("purge another's exclusive queue", 405, LOCKED, (50, 30), Other(queue()), Q.Purge(queue="{q}")),
    soft("consume another's exclusive queue", 405, LOCKED, (60, 20), Other(queue()), B.Consume(queue="{q}")),
    soft("get from another's exclusive queue", 405, LOCKED, (60, 70), Other(queue()), B.Get(queue="{q}")),
    soft("get from a queue with a single active consumer", 405,
         "RESOURCE_LOCKED - cannot obtain access to locked queue '{q}' in vhost '/'. basic.get operations are not supported by "
         "quorum queues with single active consumer", (60, 70),
         Q.Declare(queue="{q}", durable=True, arguments=arguments(x_single_active_consumer=True, x_queue_type="quorum",
                                                                  x_expires=60000)),
         B.Consume(queue="{q}"), B.Get(queue="{q}")),
    # 406
    soft("redeclare a queue with another limit", 406,
         "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{q}' in vhost '/': received '6' but current is '5'",
         (50, 10), queue(arguments=arguments(x_max_length=5)), queue(arguments=arguments(x_max_length=6))),
    soft("redeclare a queue as durable", 406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{q}' in vhost '/': "
                                              "received 'true' but current is 'false'", (50, 10),
         Q.Declare(queue="{q}", auto_delete=True), Q.Declare(queue="{q}", durable=True, auto_delete=True)),
    soft("redeclare an exchange as another type", 406,
         "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{x}' in vhost '/': received 'fanout' but current is "
         "'direct'", (40, 10), X.Declare(exchange="{x}", type="direct", auto_delete=True),
         X.Declare(exchange="{x}", type="fanout", auto_delete=True)),
    soft("declare an exchange of no known type", 406, "PRECONDITION_FAILED - unknown exchange type 'x-unheard-of'", (40, 10),
         X.Declare(exchange="{x}", type="x-unheard-of"),
         old=(CONNECTION, 503, "COMMAND_INVALID - unknown exchange type 'x-unheard-of'")),
    soft("declare a queue with a negative lifetime", 406,
         "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '{q}' in vhost '/': {{value_negative,-1}}", (50, 10),
         queue(arguments=arguments(x_message_ttl=-1))),
    soft("declare a queue of no known type", 406, "PRECONDITION_FAILED - …", (50, 10),
         queue(exclusive=False, durable=True, arguments=arguments(x_queue_type="round"))),
    soft("bind by headers in no known way", 406,
         "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x", (50, 20),
         queue(), Q.Bind(queue="{q}", exchange="amq.headers", arguments={"x-match": "some"})),
    soft("ack what was not delivered", 406, "PRECONDITION_FAILED - unknown delivery tag 5", (60, 80), B.Ack(delivery_tag=5)),
    soft("reject what was not delivered", 406, "PRECONDITION_FAILED - unknown delivery tag 5", (60, 90),
         B.Reject(delivery_tag=5)),
    soft("nack what was not delivered", 406, "PRECONDITION_FAILED - unknown delivery tag 5", (60, 120),
         B.Nack(delivery_tag=5, multiple=True)),
    soft("delete a queue in use", 406, "PRECONDITION_FAILED - queue '{q}' in vhost '/' in use", (50, 40), queue(),
         B.Consume(queue="{q}"), Q.Delete(queue="{q}", if_unused=True)),
    soft("delete a queue with content", 406, "PRECONDITION_FAILED - queue '{q}' in vhost '/' not empty", (50, 40), queue(),
         Publish("", "{q}", b"m"), Q.Delete(queue="{q}", if_empty=True)),
    soft("delete an exchange in use", 406, "PRECONDITION_FAILED - exchange '{x}' in vhost '/' in use", (40, 20), queue(),
         X.Declare(exchange="{x}", type="fanout", auto_delete=True), Q.Bind(queue="{q}", exchange="{x}"),
         X.Delete(exchange="{x}", if_unused=True)),
    soft("publish with a bad expiration", 406, "PRECONDITION_FAILED - invalid expiration 'soon': …", (60, 40),
         Publish("", "k", b"m", expiration="soon")),
    soft("publish in another's name", 406,
         "PRECONDITION_FAILED - user_id property set to 'alice' but authenticated user was 'guest'", (60, 40),
         Publish("", "k", b"m", user_id="alice")),
    soft("publish with copies that are no list", 406, "PRECONDITION_FAILED - …", (60, 40),
         Publish("", "k", b"m", headers={"CC": "one"})),
    soft("ask for replies without a reply consumer", 406, "PRECONDITION_FAILED - fast reply consumer does not exist", (60, 40),
         Publish("amq.direct", "k", b"m", reply_to="amq.rabbitmq.reply-to")),
    soft("consume replies with acks", 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge", (60, 20),
         B.Consume(queue="amq.rabbitmq.reply-to")),
    soft("commit without a transaction", 406, "PRECONDITION_FAILED - channel is not transactional", (90, 20), TX.Commit()),
    soft("roll back without a transaction", 406, "PRECONDITION_FAILED - channel is not transactional", (90, 30), TX.Rollback()),
    soft("confirms in a transaction", 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", (85, 10), TX.Select(),
         spec.Confirm.Select()),
    soft("a transaction with confirms", 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", (90, 10),
         spec.Confirm.Select(), TX.Select()),
    # 501
    hard("a frame without its end", 501, "FRAME_ERROR - …", (0, 0), Raw(raw_frame(1, 1, b"\0\x3c\0\x0a\0\0\0\0\0\0\0", end=0))),
    hard("a frame beyond the limit", 501, "FRAME_ERROR - …", (0, 0), PUBLISH,
         header(200_000), raw_frame(3, 1, b"", size=131_073)),
    hard("more body than announced", 501, "FRAME_ERROR - …", (60, 40),
         PUBLISH, header(2), raw_frame(3, 1, b"abc"), skip_old="3.10 waits for more"),
    hard("a body of half the universe", 501,
         "FRAME_ERROR - …", (60, 40), PUBLISH,
         header(1 << 63),
         skip_old="3.10 waits for it"),
    hard("a frame of no known type", 501, "FRAME_ERROR - …", (0, 0),
         raw_frame(5, 1, b"")),
    hard("a name that is no text", 501, "FRAME_ERROR - …", (0, 0),
         method_bytes(50, 10, b"\0\0\x02\xff\xfe\0\0\0\0\0")),
    hard("a field that ends early", 501, "FRAME_ERROR - …", (50, 10),
         method_bytes(50, 10, b"\0\0\xff" + b"q" * 10)),
    # 503
    hard("what only a broker says", 503, "COMMAND_INVALID - …", (50, 11),
         Q.DeclareOk(queue="q", message_count=0, consumer_count=0)),
    # 504
    hard("use a channel that is not open", 504, "CHANNEL_ERROR - expected 'channel.open'", (60, 10),
         Raw(frame.Method(9, B.Qos()).marshal())),
    hard("a channel's method on channel 0", 504, "CHANNEL_ERROR - unexpected method in connection state running", (60, 10),
         Raw(frame.Method(0, B.Qos()).marshal())),
    hard("open a channel twice", 504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10), C.Open()),
    # 505
    hard("a method amid content", 505, "UNEXPECTED_FRAME - expected content header…", (60, 40), PUBLISH, B.Qos()),
    hard("a body without a header", 505, "UNEXPECTED_FRAME - expected content header…", (60, 40), PUBLISH, raw_frame(3, 1, b"abc")),
    hard("a header amid bodies", 505, "UNEXPECTED_FRAME - expected content body…", (60, 40),
         PUBLISH, header(5), header(5)),
    hard("a header of another class", 505, "UNEXPECTED_FRAME - …",
         (60, 40), PUBLISH, header(5, class_id=50)),
    hard("a header from nowhere", 505, "UNEXPECTED_FRAME - expected method frame…", (0, 0), header(5)),
    hard("a heartbeat on a channel", 505, "UNEXPECTED_FRAME - …", (0, 0), raw_frame(8, 1, b"")),
    # 530
    hard("use a consumer tag twice", 530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", (60, 20), queue(),
         B.Consume(queue="{q}", consumer_tag="t"), B.Consume(queue="{q}", consumer_tag="t")),
    # 540
    hard("publish immediately", 540, "NOT_IMPLEMENTED - immediate=true", (60, 40), Publish("", "k", b"m", immediate=True)),
    hard("stop the flow", 540, "NOT_IMPLEMENTED - active=false", (20, 20), C.Flow(active=False)),
    hard("prefetch by size", 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)", (60, 10), B.Qos(prefetch_size=1)),
    hard("recover without requeue", 540, "NOT_IMPLEMENTED - requeue=false", (60, 110), B.Recover(requeue=False)),
]


def named(step, names):
    """The step with the names of this test in place of their marks."""
    if isinstance(step, bytes):
        return step
    if isinstance(step, Publish):
        named(step.method, names)
        return step
    for field, value in vars(step).items():
        if isinstance(value, str) and "{" in value:
            setattr(step, field, value.format(**names))
    return step


def run(wire, step):
    """A step that succeeds."""
    if isinstance(step, bytes):
        wire.write(step)
    elif isinstance(step, Publish):
        wire.send(1, step)
    else:
        wire.call(1, step)


def refusal(wire):
    """The channel.close or connection.close that comes."""
    while not isinstance(method := getattr(wire.read(), "method", None), (CHANNEL, CONNECTION)):
        pass
    return method


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_error(row, amqp, on_rabbitmq):
    if on_rabbitmq and row.skip_old:
        pytest.skip(row.skip_old)
    names = {"q": amqp.name(), "x": amqp.name("x")}
    row = copy.deepcopy(row)
    others = []
    wire = Wire(amqp.port).open().open_channel()
    try:
        *before, last = row.steps
        for step in before:
            if isinstance(step, Other):
                others.append(Wire(amqp.port).open().open_channel())
                for method in step.methods:
                    others[-1].call(1, named(method, names))
            else:
                run(wire, named(step, names))
        last = named(last, names)
        if isinstance(last, bytes):
            wire.write(last)
        else:
            wire.send(1, last)
        closed = refusal(wire)
        expected = [row.scope, row.code, row.text.format(**names), row.ids]
        if on_rabbitmq and row.old:
            for value in row.old:
                expected[{type: 0, int: 1, str: 2, tuple: 3}[type(value)]] = (
                    value.format(**names) if isinstance(value, str) else value)
        scope, code, text, ids = expected
        assert isinstance(closed, scope), closed
        assert (closed.reply_code, (closed.class_id, closed.method_id)) == (code, ids), closed
        said = closed.reply_text
        assert said.startswith(text[:-1]) if text.endswith("…") else said == text, said
        # What was closed can be left in order, and a channel be opened again.
        if scope is CHANNEL:
            wire.send(1, C.CloseOk())
            wire.open_channel().close()
        else:
            wire.send(0, spec.Connection.CloseOk())
    finally:
        for one in [wire, *others]:
            one.socket.close()
