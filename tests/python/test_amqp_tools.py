"""amqp-publish, -get, -consume, -declare-queue and -delete-queue (librabbitmq, C) as people call them."""

import subprocess

import pytest

from amqp_peer import declare, get, publish, ready, wait_ready
from broker import PATIENCE


@pytest.fixture
def tool(amqp):
    def run(name, *arguments, code=0, user="guest", **options):
        password = user if user == "guest" else f"{user}-secret"
        done = subprocess.run([f"amqp-{name}", "--url", f"amqp://{user}:{password}@127.0.0.1:{amqp.port}", *arguments],
                              capture_output=True, timeout=PATIENCE, **options)
        assert done.returncode == code, done
        return done

    return run


@pytest.fixture
def queue(amqp, tool):
    name = amqp.name()
    assert tool("declare-queue", "--queue", name, "--durable").stdout.decode().strip() == name
    yield name
    amqp.channel().queue_delete(name)


def test_publish_and_get(tool, queue, amqp):
    tool("publish", "--routing-key", queue, "--body", "from C", "--persistent", "--content-type", "text/plain",
         "--header", "mine: yes")
    message = get(amqp.channel(), queue)
    assert (message.body, message.properties.delivery_mode, message.properties.content_type) == (b"from C", 2, "text/plain")
    assert message.properties.headers["mine"].strip() == "yes"
    publish(amqp.channel(), "", queue, "from Python")
    assert tool("get", "--queue", queue).stdout == b"from Python"
    tool("get", "--queue", queue, code=2)


def test_publish_takes_large_bodies_from_its_input(tool, queue):
    body = bytes(range(256)) * 2000
    tool("publish", "--routing-key", queue, input=body)
    assert tool("get", "--queue", queue).stdout == body


def test_consume_runs_a_program_for_each_message_and_acks(tool, queue, amqp):
    channel = amqp.channel()
    publish(channel, "", queue, "one\n", "two\n", "three\n")
    assert tool("consume", "--queue", queue, "--count", "2", "cat").stdout == b"one\ntwo\n"
    wait_ready(channel, queue, 1)


def test_consume_requeues_what_its_program_refused(tool, queue, amqp, tmp_path):
    channel = amqp.channel()
    (tmp_path / "refuse").write_text("#!/bin/sh\ncat\nexit 1\n")
    (tmp_path / "refuse").chmod(0o755)
    publish(channel, "", queue, "m")
    tool("consume", "--queue", queue, "--count", "1", str(tmp_path / "refuse"))
    wait_ready(channel, queue, 1)
    assert get(channel, queue).method.redelivered


def test_consume_binds_a_queue_of_its_own(tool, amqp):
    exchange = amqp.name("x")
    channel = amqp.channel()
    channel.exchange_declare(exchange, "topic")
    process = subprocess.Popen(
        ["amqp-consume", "--url", f"amqp://guest:guest@127.0.0.1:{amqp.port}", "--exchange", exchange, "--routing-key", "a.#",
         "--count", "1", "cat"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b"Server provided queue name: amq.gen-" in process.stderr.readline()
        tell_apart = declare(channel)
        channel.queue_bind(tell_apart, exchange, "a.b")
        # It binds after it has said so, so the message is sent until it was taken.
        while process.poll() is None:
            tool("publish", "--exchange", exchange, "--routing-key", "a.b", "--body", "hello")
        assert process.stdout.read() == b"hello" and ready(channel, tell_apart) >= 1
    finally:
        process.kill()
        process.communicate()
        channel.exchange_delete(exchange)


def test_delete_says_what_was_lost(tool, amqp):
    name = amqp.name("deleted")
    tool("declare-queue", "--queue", name)
    publish(amqp.channel(), "", name, "a", "b")
    tool("delete-queue", "--queue", name, "--if-empty", code=1)
    assert tool("delete-queue", "--queue", name).stdout.decode().strip() == "2"


def test_errors_reach_the_user(tool, amqp):
    assert b"ACCESS_REFUSED" in tool("get", "--queue", "q", user="unheard", code=1).stderr
    assert b"no queue" in tool("consume", "--queue", amqp.name("missing"), "cat", code=1).stderr
