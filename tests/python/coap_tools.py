"""coap-client, coap-server and coap-rd of libcoap as people call them."""

import contextlib
import os
import socket
import subprocess
import time

from broker import PATIENCE, free_port
from coap_wire import CON, RST, Message, decode


def client(url, *arguments, flavour="notls", check=True, **options):
    """Runs coap-client to its end; its standard output. An answer that is no success is on standard error."""
    done = subprocess.run([f"coap-client-{flavour}", *arguments, url], capture_output=True, timeout=PATIENCE * 2, **options)
    assert done.returncode == 0, done
    if check:
        assert not done.stderr, done.stderr
    return done.stdout


def failure(url, *arguments, **options):
    """Runs coap-client, whose request must be refused; the line it says."""
    done = subprocess.run([f"coap-client-{options.pop('flavour', 'notls')}", *arguments, url], capture_output=True,
                          timeout=PATIENCE * 2, **options)
    assert done.stderr, done
    return done.stderr.decode().strip()


@contextlib.contextmanager
def observing(url, *arguments, flavour="notls", seconds=60):
    """coap-client that observes; its standard output can be read line by line (`-w` ends each value with a line)."""
    process = subprocess.Popen(["stdbuf", "-o0", f"coap-client-{flavour}", "-w", "-s", str(seconds), "-B", str(seconds),
                                *arguments, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def server(*arguments, program="coap-server", flavour="notls"):
    """A server of libcoap on a free port."""
    port = free_port()
    process = subprocess.Popen([f"{program}-{flavour}", "-A", "127.0.0.1", "-p", str(port), *arguments],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
    try:
        await_ping(port)
        yield port
    finally:
        process.kill()
        process.wait()


def await_ping(port):
    """Returns when a server answers a ping."""
    end = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.05)
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                sock.send(Message(CON, 0, 1).encode())
                if decode(sock.recv(64)) == Message(RST, 0, 1):
                    return
    raise AssertionError("the server does not answer")
