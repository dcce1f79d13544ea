"""The same random operations on Tercet and on RabbitMQ: replies, errors, deliveries and counts must be the same.

Deliberate differences, and how the script stays clear of them:
- a limited priority queue drops its least urgent messages; RabbitMQ the most urgent: no queue has both arguments;
- an unknown exchange type is 406 (as in RabbitMQ 4), not 503: no exchange has one;
- x-last-death-* headers came with RabbitMQ 3.13: they are not compared;
- what is wrong in two ways is refused for the one that is looked at first (user-id before expiration, in 3.10): nothing is;
- dead letters and what is published where they go arrive in either order: a transaction publishes to one queue;
- a message of no lifetime goes at once when its priority puts it at the head; RabbitMQ lets it stay: none has both;
- whose turn it is among several consumers of a queue after one was blocked is nobody's promise: a queue has one consumer.
TERCET_SEED=N runs another script than the usual ones.
"""

import os
import random

import pytest
from pika import spec

import amqp_rabbitmq
from amqp_stage import Stage
from amqp_wire import Publish

B, Q, X = spec.Basic, spec.Queue, spec.Exchange
SEEDS = [int(os.environ["TERCET_SEED"])] if os.environ.get("TERCET_SEED") else [1, 2, 3, 4, 5, 6]
STEPS = 250
KEYS = ["", "a", "a.b", "a.b.c", "b"]
PATTERNS = KEYS + ["#", "*", "a.*", "a.#", "*.b", "#.c"]
HEADERS = [None, {"h": 1}, {"h": 2, "i": "x"}, {"i": "x"}]
MATCHES = [{"x-match": "all", "h": 1}, {"x-match": "any", "h": 1, "i": "x"}, {"h": 2}]
KINDS = ["direct", "fanout", "topic", "headers"]


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    if amqp_rabbitmq.missing():
        if os.environ.get("CI"):
            pytest.fail(amqp_rabbitmq.missing())
        pytest.skip(amqp_rabbitmq.missing())
    node = amqp_rabbitmq.RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    yield node
    node.stop()


class Script:
    """Chooses operations by what the reference answered."""

    def __init__(self, seed, unique):
        self.random = random.Random(seed)
        self.queues = [f"{unique}-q{n}" for n in range(5)]
        self.exchanges = [f"{unique}-x{n}" for n in range(4)]
        self.live, self.made = set(), set()  # queues and exchanges that exist
        self.consuming = {}  # channel -> queue
        self.manual = set()  # consumers that acknowledge
        self.outstanding = {"a": [], "b": [], "s": []}
        self.doing = {}  # what the operation at hand is about
        self.bodies = 0
        self.transaction_queue = None

    def queue(self):
        """A queue, most often one that exists."""
        return self.random.choice(sorted(self.live) if self.live and self.random.random() < 0.9 else self.queues)

    def exchange(self, predeclared=True):
        """An exchange, most often one that exists."""
        more = ["amq.direct", "amq.fanout", "amq.topic", "amq.headers"] if predeclared else []
        made = sorted(self.made) if self.random.random() < 0.85 else []
        return self.random.choice(made * 2 + more or self.exchanges)

    def channel(self):
        return self.random.choice(["a", "a", "b", "b", "s"])

    def looked_at(self):
        """The queues whose content is compared after this operation."""
        kind, name = self.doing.get("declared", ("", ""))
        return sorted(self.live | ({name} if kind == "queue" else set()))

    def next(self):
        """A function of a stage, and what to print of it."""
        operations = {
            self.publish: 30, self.declare_queue: 9, self.declare_exchange: 5, self.bind: 9, self.unbind: 3, self.bind_exchange: 3,
            self.get: 12, self.settle: 14, self.consume: 6, self.cancel: 2, self.delete_queue: 3, self.delete_exchange: 1,
            self.purge: 2, self.recover: 2, self.transaction: 4, self.leave: 1, self.wrong: 2, self.prefetch: 2,
        }
        self.doing = {}
        return self.random.choices(list(operations), list(operations.values()))[0]()

    def publish(self):
        publication = {"exchange": self.random.choice(["", "", self.exchange(), self.exchange()])}
        publication["routing_key"] = self.queue() if not publication["exchange"] else self.random.choice(KEYS)
        publication |= {"body": b"m%d" % self.bodies, "mandatory": self.random.random() < 0.4}
        self.bodies += 1
        headers = dict(self.random.choice(HEADERS) or {})
        if self.random.random() < 0.1:
            headers[self.random.choice(["CC", "BCC"])] = [self.queue(), self.random.choice(KEYS)]
        if headers:
            publication["headers"] = headers
        for name, values, share in [("priority", range(6), 0.3), ("delivery_mode", [1, 2], 0.5), ("message_id", ["i"], 0.2),
                                    ("user_id", ["guest", "other"], 0.04), ("expiration", ["600000", "0", "soon"], 0.08)]:
            if self.random.random() < share:
                publication[name] = self.random.choice(values)
        if publication.get("expiration") == "soon":
            publication.pop("user_id", None)
        if publication.get("expiration") == "0":
            publication.pop("priority", None)
        return lambda stage: stage.publish(publication), f"publish {publication}"

    def call(self, channel, make):
        """An operation by one method; `make` builds it anew for each stage."""
        self.doing.setdefault("channel", channel)
        return lambda stage: stage.call(channel, make()), f"{channel} {make()}"

    def declare_queue(self):
        arguments = {}
        for name, values, share in [
            ("x-max-length", [0, 1, 3], 0.25), ("x-overflow", ["drop-head", "reject-publish", "reject-publish-dlx"], 0.3),
            ("x-max-priority", [3], 0.15), ("x-dead-letter-exchange", ["", *self.exchanges], 0.3),
            ("x-dead-letter-routing-key", [*self.queues, "a.b"], 0.25), ("x-single-active-consumer", [True], 0.1),
            ("x-message-ttl", [600_000, 0, -1], 0.12), ("x-queue-type", ["classic"], 0.1), ("x-other", [1, "z"], 0.1),
        ]:
            if self.random.random() < share:
                arguments[name] = self.random.choice(values)
        # Most of what belongs together comes together.
        if "x-overflow" in arguments and self.random.random() < 0.8:
            arguments.setdefault("x-max-length", self.random.choice([0, 1, 3]))
        if "x-dead-letter-routing-key" in arguments and self.random.random() < 0.8:
            arguments.setdefault("x-dead-letter-exchange", self.random.choice(["", *self.exchanges]))
        if "x-max-priority" in arguments:
            arguments.pop("x-max-length", None)
        options = {"queue": self.queue(), "arguments": arguments, "durable": self.random.random() < 0.2,
                   "exclusive": self.random.random() < 0.2, "auto_delete": self.random.random() < 0.2,
                   "passive": self.random.random() < 0.1}
        if self.random.random() < 0.3:
            options["arguments"] = {}
        options["queue"] = self.random.choice(self.queues)
        self.doing["declared"] = "queue", options["queue"]
        return self.call(self.channel(), lambda: Q.Declare(**options))

    def declare_exchange(self):
        options = {"exchange": self.random.choice(self.exchanges), "type": self.random.choice(KINDS),
                   "auto_delete": self.random.random() < 0.2, "internal": self.random.random() < 0.1,
                   "passive": self.random.random() < 0.1}
        if self.random.random() < 0.25:
            options["arguments"] = {"alternate-exchange": self.exchange()}
        self.doing["declared"] = "exchange", options["exchange"]
        return self.call(self.channel(), lambda: X.Declare(**options))

    def bind(self):
        options = {"queue": self.queue(), "exchange": self.random.choice([self.exchange(), self.exchange(), ""]),
                   "routing_key": self.random.choice(PATTERNS)}
        if self.random.random() < 0.2:
            options["arguments"] = self.random.choice(MATCHES)
        return self.call(self.channel(), lambda: Q.Bind(**options))

    def unbind(self):
        options = {"queue": self.queue(), "exchange": self.exchange(), "routing_key": self.random.choice(PATTERNS)}
        return self.call(self.channel(), lambda: Q.Unbind(**options))

    def bind_exchange(self):
        method = self.random.choice([X.Bind, X.Bind, X.Unbind])
        options = {"source": self.exchange(), "destination": self.exchange(False),
                   "routing_key": self.random.choice(PATTERNS)}
        return self.call(self.channel(), lambda: method(**options))

    def get(self):
        channel, queue, no_ack = self.channel(), self.queue(), self.random.random() < 0.4
        self.doing = {"channel": channel, "no_ack": no_ack}
        return self.call(channel, lambda: B.Get(queue=queue, no_ack=no_ack))

    def settle(self):
        channel = self.channel()
        tags = self.outstanding[channel]
        tag = self.random.choice(tags) if tags and self.random.random() < 0.97 else self.random.choice([0, 1, 99999])
        multiple, requeue = self.random.random() < 0.3, self.random.random() < 0.5
        make = self.random.choice([
            lambda: B.Ack(delivery_tag=tag, multiple=multiple), lambda: B.Reject(delivery_tag=tag, requeue=requeue),
            lambda: B.Nack(delivery_tag=tag, multiple=multiple, requeue=requeue)])
        self.doing = {"channel": channel, "tag": tag, "multiple": multiple and make().NAME != "Basic.Reject"}
        return lambda stage: stage.send(channel, make()), f"{channel} {make()}"

    def consume(self):
        channel, queue = self.channel(), self.queue()
        if channel in self.consuming or queue in self.consuming.values():
            return self.cancel()
        options = {"queue": queue, "consumer_tag": f"tag-{channel}", "no_ack": self.random.random() < 0.3,
                   "exclusive": self.random.random() < 0.1}
        self.doing = {"channel": channel, **options}
        return self.call(channel, lambda: B.Consume(**options))

    def cancel(self):
        channel = self.random.choice(list(self.consuming) or ["a"])
        self.doing = {"channel": channel}
        return self.call(channel, lambda: B.Cancel(consumer_tag=f"tag-{channel}"))

    def prefetch(self):
        channel, count = self.channel(), self.random.randrange(4)
        return self.call(channel, lambda: B.Qos(prefetch_count=count))

    def delete_queue(self):
        options = {"queue": self.queue(), "if_unused": self.random.random() < 0.3, "if_empty": self.random.random() < 0.3}
        return self.call(self.channel(), lambda: Q.Delete(**options))

    def delete_exchange(self):
        options = {"exchange": self.exchange(), "if_unused": self.random.random() < 0.3}
        return self.call(self.channel(), lambda: X.Delete(**options))

    def purge(self):
        queue = self.queue()
        return self.call(self.channel(), lambda: Q.Purge(queue=queue))

    def recover(self):
        channel = self.channel()
        self.doing = {"channel": channel}
        return self.call(channel, lambda: B.Recover(requeue=True))

    def leave(self):
        channel = self.channel()
        self.doing = {"channel": channel}
        return lambda stage: stage.close(channel), f"{channel} close"

    def transaction(self):
        method = self.random.choice([spec.Tx.Commit, spec.Tx.Commit, spec.Tx.Rollback])
        if self.random.random() < 0.4:
            self.transaction_queue = None
            return self.call("t", method)
        self.transaction_queue = self.transaction_queue or self.queue()
        publication = {"exchange": "", "routing_key": self.transaction_queue, "body": b"t%d" % self.bodies}
        self.bodies += 1
        return lambda stage: stage.send("t", Publish(**publication)), f"t {publication}"

    def wrong(self):
        make = self.random.choice([
            lambda: X.Declare(exchange="amq.new", type="direct"), lambda: X.Delete(exchange="amq.topic"),
            lambda: Q.Declare(queue="amq.new"), lambda: B.Qos(prefetch_size=1), lambda: spec.Channel.Open(),
            lambda: spec.Confirm.Select(), lambda: spec.Tx.Rollback()])
        channel = self.random.choice(["a", "b", "s"])
        if make().NAME == "Confirm.Select":
            return self.call("t", make)
        return self.call(channel, make)

    def learn(self, answer, noticed, counts, events):
        """Keeps in mind what exists, who consumes and what is unacknowledged, as the reference said."""
        channel = self.doing.get("channel")
        gone = {queue for queue, count in zip(self.looked_at(), counts) if count[1] == 404}
        if answer[0] == "DeclareOk" and "declared" in self.doing:
            kind, name = self.doing["declared"]
            (self.live if kind == "queue" else self.made).add(name)
        self.live -= gone
        tags = self.outstanding.get(channel, [])
        if answer[0] == "sent" and "tag" in self.doing:
            tag = self.doing["tag"]
            settled = [one for one in tags if one == tag or self.doing["multiple"] and (one <= tag or tag == 0)]
            tags[:] = [one for one in tags if one not in settled]
        elif answer[0] == "got" and not self.doing["no_ack"]:
            tags.append(answer[1])
        elif answer[0] == "ConsumeOk":
            self.consuming[channel] = self.doing["queue"]
            (self.manual.discard if self.doing["no_ack"] else self.manual.add)(channel)
        elif answer[0] == "CancelOk":
            self.consuming.pop(channel, None)
        elif answer[0] == "RecoverOk":
            tags.clear()
        ended = {name for name, what in noticed if what[0] == "channel closed"} | {
            name for name, came in events.items() for event in came if event[0] == "channel closed"}
        answers = [answer, *(what for _, what in noticed)]
        if any(what[0] == "connection closed" for what in answers):
            ended |= {"a", "b", "s"}
        if answer[0] in ("channel closed", "CloseOk"):
            ended.add(channel)
        for name in ended & set(self.outstanding):
            self.outstanding[name].clear()
            self.consuming.pop(name, None)
        for name, came in events.items():
            for event in came:
                if event[0] == "cancelled":
                    self.consuming.pop(name, None)
                elif event[0] == "delivered" and name in self.manual and name not in ended:
                    self.outstanding[name].append(event[2])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_operations_have_the_same_results(amqp, rabbitmq, seed):
    print(f"TERCET_SEED={seed}")
    script = Script(seed, amqp.unique)
    stages = [Stage(rabbitmq.amqp_port), Stage(amqp.port)]
    history = []
    try:
        for number in range(STEPS):
            operation, said = script.next()
            history.append(f"{number}: {said}")
            reference, ours = [outcome(stage, operation, script) for stage in stages]
            assert ours == reference, story(history, reference, ours)
            script.learn(*reference)
    finally:
        for stage in stages:
            stage.end(script.queues, script.exchanges)


def outcome(stage, operation, script):
    """The result of an operation and all that follows from it."""
    answer = operation(stage)
    return answer, *stage.settle(script.looked_at())


def story(history, reference, ours):
    return "\n".join([*history[-40:], f"RabbitMQ: {reference}", f"Tercet:   {ours}"])
