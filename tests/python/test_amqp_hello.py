"""The first programs that people try, unchanged: they know of no port, so only the standard one is changed for them."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import textwrap

import pika
import pytest

from amqp_peer import Inbox, publish
from broker import PATIENCE

README = pathlib.Path(__file__).parents[2] / "README.md"
LAUNCHER = """
import pika, runpy, sys
pika.connection.Parameters.DEFAULT_PORT = int(sys.argv[1])
runpy.run_path(sys.argv[2], run_name="__main__")
"""


@pytest.fixture
def start(amqp, tmp_path):
    """Starts a program of the README."""
    programs = {name: program for program, name in re.findall(r"```python\n(# (\w+\.py)\n.*?)```", README.read_text(), re.S)}
    running = []

    def start(name):
        (tmp_path / name).write_text(programs[name])
        running.append(subprocess.Popen([sys.executable, "-u", "-c", LAUNCHER, str(amqp.port), tmp_path / name],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()
    amqp.channel().queue_delete("hello")


def test_the_hello_world_of_the_readme(start):
    assert start("send.py").communicate(timeout=PATIENCE)[0] == " [x] Sent 'Hello World!'\n"
    receiver = start("receive.py")
    assert receiver.stdout.readline() == " [x] Received b'Hello World!'\n"
    assert start("send.py").wait(PATIENCE) == 0
    assert receiver.stdout.readline() == " [x] Received b'Hello World!'\n"


def documented_examples():
    """The programs in the description that the installed pika carries."""
    description = importlib.metadata.metadata("pika").get_payload()
    blocks = description.split(".. code :: python\n")[1:]
    programs = []
    for block in blocks:
        lines = []
        for line in block.splitlines()[1:]:
            if line and not line.startswith("    "):
                break
            lines.append(line)
        programs.append(textwrap.dedent("\n".join(lines)))
    return programs


def test_the_examples_on_pikas_first_page(amqp, monkeypatch, capsys):
    sending, consuming = documented_examples()[:2]
    assert "basic_publish" in sending and "channel.consume('test')" in consuming, "pika's first page has changed"
    monkeypatch.setattr(pika.connection.Parameters, "DEFAULT_PORT", amqp.port)
    channel = amqp.channel()
    channel.exchange_declare("test", "fanout")
    channel.queue_declare("test")
    channel.queue_bind("test", "test")
    try:
        for _ in range(12):
            exec(compile(sending, "sending", "exec"), {})
        exec(compile(consuming, "consuming", "exec"), {})
        said = capsys.readouterr().out
        assert said.count("Test message.") == 10 and re.search(r"^Requeued \d+ messages$", said, re.M)
        assert Inbox(channel, "test").bodies(2) == [b"Test message."] * 2
    finally:
        channel.queue_delete("test")
        channel.exchange_delete("test")


def test_the_asynchronous_adapter(amqp):
    """SelectConnection: all by callbacks."""
    seen = []

    def on_open(connection):
        connection.channel(on_open_callback=on_channel)

    def on_channel(channel):
        channel.queue_declare("", exclusive=True, callback=lambda frame: on_queue(channel, frame.method.queue))

    def on_queue(channel, queue):
        channel.basic_consume(queue, lambda c, method, properties, body: on_message(c, method, body))
        for n in range(3):
            channel.basic_publish("", queue, b"%d" % n)

    def on_message(channel, method, body):
        seen.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(seen) == 3:
            channel.connection.close()

    connection = pika.SelectConnection(amqp.parameters(), on_open_callback=on_open,
                                       on_close_callback=lambda connection, reason: connection.ioloop.stop(),
                                       on_open_error_callback=lambda connection, error: pytest.fail(str(error)))
    connection.ioloop.start()
    assert seen == [b"0", b"1", b"2"]
    publish(amqp.channel(), "", "nowhere", "the broker lives")
