"""kombu, and Celery with real workers."""

import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

import kombu
import pytest
from celery import Celery
from kombu.simple import SimpleQueue

from amqp_peer import ready, until
from broker import PATIENCE

HERE = pathlib.Path(__file__).parent
# A worker imports much before it is ready, on a machine that does other things.
WORKER_PATIENCE = 45

@pytest.fixture
def url(amqp):
    return f"amqp://guest:guest@127.0.0.1:{amqp.port}//"


@pytest.fixture
def client(amqp, url):
    """The application as a program that only sends tasks has it."""
    app = Celery("client", broker=url, backend="rpc://")
    app.conf.task_default_queue = amqp.name()
    yield app
    app.close()
    amqp.channel().queue_delete(amqp.name())


@pytest.fixture
def send(client):
    def send(task, *arguments, **options):
        return client.send_task(f"amqp_tasks.{task}", arguments, **options)

    return send


class Worker:
    def __init__(self, url, queue, name):
        environment = {**os.environ, "TESTS_BROKER": url, "TESTS_QUEUE": queue}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "amqp_tasks", "worker", "--pool", "solo", "--loglevel", "INFO",
             "--hostname", f"{name}@test"], cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.log, self.is_ready = [], threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.log.append(line)
            if line.rstrip().endswith("ready."):
                self.is_ready.set()
        self.is_ready.set()

    def wait(self):
        assert self.is_ready.wait(WORKER_PATIENCE) and self.process.poll() is None, "".join(self.log)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def worker(amqp, url):
    workers = []

    def start():
        workers.append(Worker(url, amqp.name(), f"w{len(workers)}-{amqp.unique}"))
        return workers[-1]

    yield start
    for one in workers:
        one.kill()


@pytest.mark.timeout(120)
def test_a_worker_does_tasks(client, send, worker, tmp_path):
    worker().wait()
    assert send("add", 2, 3).get(timeout=PATIENCE) == 5
    results = [send("add", n, n) for n in range(20)]
    assert [result.get(timeout=PATIENCE) for result in results] == [2 * n for n in range(20)]
    assert send("flaky", 3).get(timeout=PATIENCE) == 3
    with pytest.raises(ValueError, match="never"):
        send("failing").get(timeout=PATIENCE)
    assert send("refused", str(tmp_path)).get(timeout=PATIENCE) == "taken"
    # Remote control: a fanout exchange out, replies to a queue of the asker.
    assert list(client.control.ping(timeout=PATIENCE, limit=1)[0].values()) == [{"ok": "pong"}]


@pytest.mark.timeout(120)
def test_a_task_for_later_lets_others_pass(send, worker):
    """The worker takes one task at a time; for one that it must keep it widens its window on the fly."""
    worker().wait()
    began = time.monotonic()
    later = send("add", 1, 1, countdown=3)
    assert send("add", 1, 2).get(timeout=PATIENCE) == 3
    overtaken = time.monotonic() - began
    assert later.get(timeout=PATIENCE) == 2
    assert overtaken < 3 <= time.monotonic() - began + 0.01


@pytest.mark.timeout(120)
def test_the_task_of_a_killed_worker_is_done_by_another(send, worker, tmp_path):
    first = worker().wait()
    result = send("late", str(tmp_path))
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline, "".join(first.log)
        time.sleep(0.02)
    first.kill()
    worker().wait()
    assert result.get(timeout=PATIENCE) is True


def test_kombu_sends_and_consumes(amqp, url):
    exchange = kombu.Exchange(amqp.name("x"), "topic", auto_delete=True, durable=False)
    queue = kombu.Queue(amqp.name(), exchange, "a.#", auto_delete=True, durable=False, max_priority=5)
    seen = []
    with kombu.Connection(url) as connection:
        assert connection.connect().connected
        producer = connection.Producer(serializer="json")
        with connection.Consumer(queue, callbacks=[lambda body, message: (seen.append(body), message.ack())]) as consumer:
            consumer.qos(prefetch_count=2)
            for n in range(5):
                producer.publish({"n": n}, exchange=exchange, routing_key="a.b", compression="zlib", priority=n % 2)
            while len(seen) < 5:
                connection.drain_events(timeout=PATIENCE)
    assert sorted(body["n"] for body in seen) == list(range(5))


def test_kombu_simple_queues(amqp, url):
    with kombu.Connection(url) as connection:
        simple = SimpleQueue(connection, amqp.name(), queue_opts={"auto_delete": True})
        simple.put({"hello": "world"}, serializer="json")
        until(amqp.channel().connection, lambda: len(simple) == 1, "message")
        message = simple.get(timeout=PATIENCE)
        assert message.payload == {"hello": "world"}
        message.requeue()
        message = simple.get(timeout=PATIENCE)
        assert message.payload == {"hello": "world"} and message.delivery_info["redelivered"]
        message.ack()
        with pytest.raises(simple.Empty):
            simple.get_nowait()
        simple.close()


def test_kombu_returns_and_heartbeats(amqp, url):
    returned = []
    with kombu.Connection(url, heartbeat=2) as connection:
        assert connection.get_heartbeat_interval() == 2
        producer = connection.Producer(on_return=lambda *arguments: returned.append(arguments))
        producer.publish("m", exchange="amq.direct", routing_key=amqp.name("missing"), mandatory=True)
        while not returned:
            connection.drain_events(timeout=PATIENCE)
        assert returned[0][1:3] == ("amq.direct", amqp.name("missing"))[0:2] or returned[0][0] .reply_code == 312
        for _ in range(4):
            connection.heartbeat_check()
            try:
                connection.drain_events(timeout=0.5)
            except socket.timeout:
                pass
        assert connection.connected


def test_kombu_and_a_lost_connection(amqp, url):
    queue = amqp.name()
    channel = amqp.channel()
    channel.queue_declare(queue)
    with kombu.Connection(url) as connection:
        producer = connection.Producer()
        producer.publish("a", routing_key=queue)
        connection._connection.transport.sock.shutdown(socket.SHUT_RDWR)
        producer.publish("b", routing_key=queue, retry=True, retry_policy={"max_retries": 3, "interval_start": 0})
    until(channel.connection, lambda: ready(channel, queue) == 2, "both messages")
    channel.queue_delete(queue)
