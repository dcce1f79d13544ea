"""The broker that the CoAP tests run against: Tercet, or the server that listens at TERCET_TEST_COAP_PORT."""

import os

from broker import Process


class Tercet(Process):
    """Listeners of every kind on free ports, nothing on disk; runs until `stop`."""

    def __init__(self, directory, config=""):
        self.directory = directory
        arguments = ["--memory", *(option for name in ("coap", "mqtt", "amqp", "http") for option in (f"--{name}", "127.0.0.1:0"))]
        if config:
            (directory / "tercet.toml").write_text(config)
            arguments += ["--config", directory / "tercet.toml"]
        super().__init__(directory, arguments)
        self.coap_port = self.port("coap")
        self.amqp_port = self.port("amqp")


class Running:
    """A server that somebody else started."""

    def __init__(self, port):
        self.coap_port = port

    def port(self, name):
        return self.coap_port

    def stop(self):
        """It is not ours to end."""


def start(directory, config=""):
    """The server that the environment asks for."""
    if port := os.environ.get("TERCET_TEST_COAP_PORT"):
        return Running(int(port))
    return Tercet(directory, config)
