"""The broker that the AMQP tests run against: Tercet, or with TERCET_TEST_PEER=rabbitmq a RabbitMQ node."""

import os

import amqp_accounts
from broker import Process


class Tercet(Process):
    """An AMQP listener with the accounts of amqp_accounts; runs until `stop`."""

    product = "Tercet"

    def __init__(self, directory):
        self.directory = directory
        super().__init__(directory, ["--data", directory / "data", "--amqp", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
                                     "--coap", "off", "--http", "127.0.0.1:0"])
        self.amqp_port = self.port("amqp")
        amqp_accounts.make(f"http://127.0.0.1:{self.port('http')}")


class Running:
    """A broker that somebody else started at TERCET_TEST_AMQP_PORT; `product` is what TERCET_TEST_PEER says."""

    def __init__(self, port, product):
        self.amqp_port, self.product = port, product

    def stop(self):
        """It is not ours to end."""


def start(directory):
    """The broker that the environment asks for."""
    product = {"": "Tercet", "rabbitmq": "RabbitMQ"}[os.environ.get("TERCET_TEST_PEER", "")]
    if port := os.environ.get("TERCET_TEST_AMQP_PORT"):
        return Running(int(port), product)
    if product == "RabbitMQ":
        from amqp_rabbitmq import RabbitMQ
        return RabbitMQ(directory)
    return Tercet(directory)
