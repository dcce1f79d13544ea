"""A RabbitMQ node of one's own, from the Debian package: the yardstick for the AMQP tests.

Everything it writes is in one directory, all its ports are free ones of 127.0.0.1, and its port mapper ends with it.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import threading

from amqp_accounts import definitions
from broker import free_port

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PLUGINS = ["rabbitmq_consistent_hash_exchange", "rabbitmq_random_exchange", "rabbitmq_recent_history_exchange",
           "rabbitmq_sharding"]
# An Erlang node boots in a few seconds on an idle machine and in many on a busy one.
START_PATIENCE = 120

CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
load_definitions = {definitions}
loopback_users.guest = true
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 1MB
cluster_name = tests
"""


def missing():
    """What the machine lacks for a node, as words for a person; empty if it lacks nothing."""
    lacking = [path for path in [SERVER] if not os.path.exists(path)]
    lacking += [program for program in ["erl", "epmd"] if not shutil.which(program)]
    return f"{', '.join(lacking)} is missing: apt-get install rabbitmq-server" if lacking else ""


def end_with_parent():
    """Has the kernel end this process with the one that started it, however that ends (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class RabbitMQ:
    """A node that is ready; runs until `stop`."""

    product = "RabbitMQ"

    def __init__(self, directory):
        if missing():
            raise RuntimeError(missing())
        self.directory = directory
        self.amqp_port, self.mapper_port, distribution = free_port(), free_port(), free_port()
        (directory / "definitions.json").write_text(json.dumps(definitions()))
        (directory / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n")
        (directory / "rabbitmq.conf").write_text(
            CONFIG.format(port=self.amqp_port, definitions=directory / "definitions.json"))
        (directory / "env.conf").write_text("")
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.mapper_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"t{self.amqp_port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"), "RABBITMQ_LOG_BASE": str(directory / "log"),
            # The script becomes the node, instead of waiting for it.
            "RUNNING_UNDER_SYSTEMD": "1", "RABBITMQ_PID_FILE": str(directory / "pid"), "RABBITMQ_LOGS": "-",
            # One scheduler that sleeps when idle: the tests beside it want the other cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        # A port mapper that the node started would outlive it.
        self.mapper = subprocess.Popen(["epmd", "-port", str(self.mapper_port), "-address", "127.0.0.1"],
                                       env=self.environment, preexec_fn=end_with_parent, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen(
            [SERVER], env=self.environment, cwd=directory, preexec_fn=end_with_parent, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.lines, self.ready = [], threading.Event()
        threading.Thread(target=self.read_log, daemon=True).start()
        if not self.ready.wait(START_PATIENCE) or self.process.poll() is not None:
            self.stop()
            raise RuntimeError("RabbitMQ did not start:\n" + "".join(self.lines[-50:]))

    def read_log(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if "Server startup complete" in line:
                self.ready.set()
        self.ready.set()

    def stop(self):
        for process in (self.process, self.mapper):
            process.kill()
            process.wait()
