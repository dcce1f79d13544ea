"""mosquitto_pub, mosquitto_sub and mosquitto_rr as people call them."""

import subprocess

import pytest

from broker import PATIENCE

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]


class Tools:
    def __init__(self, broker):
        self.broker = broker
        self.running = []

    def where(self, listener="mqtt"):
        if listener == "unix":
            return ["--unix", str(self.broker.socket)]
        arguments = ["-h", "localhost", "-p", str(self.broker.port(listener))]
        if listener in ("tls", "mtls"):
            directory = self.broker.directory
            arguments += ["--cafile", str(directory / "ca.pem")]
            if listener == "mtls":
                arguments += ["--cert", str(directory / "client.pem"), "--key", str(directory / "client.key")]
        return arguments

    def run(self, tool, *arguments, listener="mqtt", code=0, **options):
        """Runs a tool to its end; the exit code must be `code` (`None`: any)."""
        done = subprocess.run([f"mosquitto_{tool}", *self.where(listener), *arguments], capture_output=True,
                              timeout=PATIENCE, **options)
        assert code is None or done.returncode == code, done
        return done

    def pub(self, *arguments, **options):
        return self.run("pub", *arguments, **options)

    def sub(self, *arguments, listener="mqtt"):
        """Starts a subscriber and returns once its SUBACK came."""
        process = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *self.where(listener), "-d", *arguments],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.running.append(process)
        for line in process.stdout:
            if line.startswith(b"Subscribed"):
                return Sub(process)
        raise AssertionError(f"no SUBACK: {arguments}")

    def end(self):
        for process in self.running:
            process.kill()
            process.wait()
            process.stdout.close()


class Sub:
    def __init__(self, process):
        self.process = process

    def lines(self):
        """What was received, once the subscriber ended by -C or -W; debug lines are left out."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        skip = (b"Client ", b"Subscribed", b"Connection ")
        return [line for line in output.split(b"\n") if line and not line.startswith(skip)]


@pytest.fixture
def tools(broker):
    tools = Tools(broker)
    yield tools
    tools.end()


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.mark.parametrize("listener", ["mqtt", "tls", "mtls", "unix"])
def test_publish_and_subscribe(tools, topic, version, listener):
    subscriber = tools.sub("-V", version, "-t", f"{topic}/#", "-q", "2", "-C", "3", "-F", "%t %q %r %p", listener=listener)
    for qos in "012":
        tools.pub("-V", version, "-t", f"{topic}/{qos}", "-m", f"message {qos}", "-q", qos, listener=listener)
    assert subscriber.lines() == [f"{topic}/{qos} {qos} 0 message {qos}".encode() for qos in "012"]


def test_lines_and_files_and_null_messages(tools, topic, version, tmp_path):
    subscriber = tools.sub("-V", version, "-t", topic, "-q", "1", "-C", "5", "-F", "%l")
    tools.pub("-V", version, "-t", topic, "-q", "1", "-l", input=b"a\nbb\nccc\n")
    file = tmp_path / "payload"
    file.write_bytes(b"x" * 200_000)
    tools.pub("-V", version, "-t", topic, "-q", "1", "-f", str(file))
    tools.pub("-V", version, "-t", topic, "-q", "1", "-n")
    assert subscriber.lines() == [b"1", b"2", b"3", b"200000", b"0"]


def test_retained(tools, topic, version):
    tools.pub("-V", version, "-t", topic, "-m", "kept", "-r", "-q", "1")
    done = tools.run("sub", "-V", version, "-t", topic, "-C", "1", "-F", "%r %p", "--retained-only")
    assert done.stdout == b"1 kept\n"
    tools.pub("-V", version, "-t", topic, "-r", "-n")
    done = tools.run("sub", "-V", version, "-t", topic, "-W", "1", code=None)
    assert done.stdout == b""


def test_a_persistent_session(tools, topic, unique, version):
    session = ["-V", version, "-i", f"{unique}-{version}", "-c", "-t", topic, "-q", "1"]
    if version == "mqttv5":
        session += ["-x", "60"]
    tools.run("sub", *session, "-E")
    for n in range(5):
        tools.pub("-V", version, "-t", topic, "-q", "1", "-m", str(n))
    assert tools.run("sub", *session, "-C", "5").stdout == b"0\n1\n2\n3\n4\n"


def test_a_will(tools, topic, version):
    watcher = tools.sub("-V", version, "-t", f"{topic}/will", "-C", "1")
    dying = tools.sub("-V", version, "-t", topic, "--will-topic", f"{topic}/will", "--will-payload", "died", "--will-qos", "1")
    dying.process.kill()
    assert watcher.lines() == [b"died"]


def test_login_and_rights(tools, unique, version):
    alice = ["-V", version, "-u", "alice", "-P", "alice-secret"]
    bob = ["-V", version, "-u", "bob", "-P", "bob-secret"]
    subscriber = tools.sub(*alice, "-t", f"private/+/{unique}", "-C", "1", listener="locked")
    # A denied publish is acknowledged all the same; the tool only warns in 5.0.
    denied = tools.pub(*bob, "-t", f"private/alice/{unique}", "-m", "not", "-q", "1", listener="locked", code=None)
    assert version != "mqttv5" or b"failed" in denied.stderr.lower(), denied
    tools.pub(*bob, "-t", f"private/bob/{unique}", "-m", "own", "-q", "1", listener="locked")
    assert subscriber.lines() == [b"own"]
    wrong = tools.pub("-V", version, "-u", "alice", "-P", "wrong", "-t", "t", "-m", "x", listener="locked", code=None)
    assert wrong.returncode != 0
    refused = tools.run("sub", *bob, "-t", f"private/alice/{unique}", "-W", "3", listener="locked", code=None)
    assert b"denied" in refused.stderr.lower() or refused.returncode != 0, refused


def test_request_and_response(tools, topic):
    responder = tools.sub("-V", "mqttv5", "-t", f"{topic}/ask", "-C", "1", "-F", "%R %D %p")
    asking = subprocess.Popen(["mosquitto_rr", *tools.where(), "-t", f"{topic}/ask", "-e", f"{topic}/answer",
                               "-m", "6*7", "-D", "publish", "correlation-data", "c1", "-W", "10"],
                              stdout=subprocess.PIPE)
    tools.running.append(asking)
    assert responder.lines() == [f"{topic}/answer c1 6*7".encode()]
    tools.pub("-V", "mqttv5", "-t", f"{topic}/answer", "-m", "42", "-D", "publish", "correlation-data", "c1")
    output, _ = asking.communicate(timeout=PATIENCE)
    assert output == b"42\n"


def test_v5_properties(tools, topic):
    subscriber = tools.sub("-V", "mqttv5", "-t", topic, "-C", "1", "-F", "%C|%R|%E|%P|%p")
    tools.pub("-V", "mqttv5", "-t", topic, "-m", "x", "-D", "publish", "content-type", "text/plain",
              "-D", "publish", "response-topic", "open/r", "-D", "publish", "message-expiry-interval", "600",
              "-D", "publish", "user-property", "name", "value")
    content, response, expiry, user, payload = subscriber.lines()[0].split(b"|")
    assert (content, response, user, payload) == (b"text/plain", b"open/r", b"name:value", b"x")
    assert 590 <= int(expiry) <= 600


def test_shared_subscription(tools, topic, version):
    members = [tools.sub("-V", version, "-t", f"$share/g/{topic}", "-q", "1", "-C", "5") for _ in range(2)]
    tools.pub("-V", version, "-t", topic, "-q", "1", "-l", input="".join(f"{n}\n" for n in range(10)).encode())
    seen = sorted(int(line) for member in members for line in member.lines())
    assert seen == list(range(10))


def test_unsubscribe_and_filter_out(tools, topic, version):
    subscriber = tools.sub("-V", version, "-t", f"{topic}/#", "-T", f"{topic}/not", "-U", f"{topic}/never", "-C", "1")
    tools.pub("-V", version, "-t", f"{topic}/not", "-m", "1")
    tools.pub("-V", version, "-t", f"{topic}/yes", "-m", "2")
    assert subscriber.lines() == [b"2"]


def test_sys_by_url(tools, broker):
    url = f"mqtt://alice:alice-secret@localhost:{broker.port()}/$SYS/broker/version"
    done = subprocess.run(["mosquitto_sub", "-L", url, "-C", "1", "-W", "10"], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stdout.strip(), done
