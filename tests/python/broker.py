"""The broker under test as a child process, with listeners of every kind on free ports."""

import json
import os
import pathlib
import random
import socket
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 15

CONFIG = (ROOT / "tests/clients/tercet.toml").read_text()
ACL = (ROOT / "tests/clients/acl").read_text()


def binary():
    """TERCET_BIN, or the debug build of this repository."""
    path = pathlib.Path(os.environ.get("TERCET_BIN", ROOT / "target/debug/tercet"))
    if not path.exists():
        raise SystemExit(f"{path} is missing: run `cargo build -p tercet`, or set TERCET_BIN")
    return path


def make_certificates(directory):
    """An authority, a certificate for localhost and one for the client `alice`."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=test authority",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, subject, names in [
        ("server", "/CN=localhost", "DNS:localhost,IP:127.0.0.1"),
        ("client", "/CN=alice", "DNS:alice.example"),
    ]:
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        (directory / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "30", "-extfile", f"{name}.ext")


def free_port():
    """A port that no connection gets by chance: a client that tries one of those while nobody listens there can end up
    connected to itself."""
    for port in random.sample(range(20000, 32000), 100):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise RuntimeError("no free port")


def read_log(stream, lines, ready):
    for line in stream:
        lines.append(line)
        if "ready in" in line:
            ready.set()
    ready.set()


class Process:
    """A `tercet serve` that is ready."""

    def __init__(self, directory, arguments):
        ports = directory / "ports.json"
        ports.unlink(missing_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TERCET_")}
        self.process = subprocess.Popen(
            [binary(), "serve", *arguments, "--ports-file", ports],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines = []
        self.ready = threading.Event()
        # A process that came before it on the same object may still be read to its end.
        threading.Thread(target=read_log, args=(self.process.stderr, self.lines, self.ready), daemon=True).start()
        if not self.ready.wait(PATIENCE) or not any("ready in" in line for line in self.lines):
            self.stop()
            raise RuntimeError("the broker did not start:\n" + "".join(self.lines))
        read = json.loads(ports.read_text())
        self.addresses = {**read, **read["listeners"]}

    def port(self, name="mqtt"):
        return int(self.addresses[name].rpartition(":")[2])

    def stop(self):
        self.process.kill()
        self.process.wait()


class Broker(Process):
    """Listeners of every kind; runs until `stop`."""

    def __init__(self, directory):
        self.directory = directory
        make_certificates(directory)
        for user in ["alice", "bob"]:
            create = [] if (directory / "passwords").exists() else ["-c"]
            subprocess.run(["mosquitto_passwd", *create, "-b", directory / "passwords", user, f"{user}-secret"],
                           check=True, capture_output=True)
        (directory / "passwords").chmod(0o600)
        (directory / "acl").write_text(ACL)
        config = directory / "tercet.toml"
        config.write_text(CONFIG.replace("{dir}", str(directory)))
        super().__init__(directory, ["--memory", "--mqtt", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--coap", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config", config])
        self.socket = directory / "mqtt.sock"


class DurableBroker(Process):
    """Keeps its state in a directory and its port through many lives."""

    def __init__(self, directory):
        self.directory = directory
        self.fixed = free_port()
        self.up = threading.Event()
        self.start()
        self.up.set()

    def start(self):
        super().__init__(self.directory, ["--data", self.directory / "data", "--mqtt", f"127.0.0.1:{self.fixed}",
                                          "--amqp", "off", "--coap", "off", "--http", "off"])

    def kill_and_start(self):
        """As after a power cut; `up` says whether it can be connected to."""
        self.up.clear()
        self.stop()
        self.start()
        self.up.set()
