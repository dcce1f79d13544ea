"""What stands between a client and a server: it writes down every datagram, and can lose, repeat and hold them back."""

import dataclasses
import random
import selectors
import socket
import threading

from broker import PATIENCE
from coap_wire import Message, decode

TO_SERVER, TO_CLIENT = "to server", "to client"


@dataclasses.dataclass
class Seen:
    """A datagram and how often it went on."""

    towards: str
    message: Message
    data: bytes
    copies: int


def faithful(seen):
    return 1


class Lossy:
    """Loses, repeats and holds back by chance that a seed repeats. A datagram that is held back goes on behind the next one
    in its direction. `spare` in a row are lost at most, so that four retransmissions always reach their end."""

    def __init__(self, seed, lose=0.25, repeat=0.2, hold=0.2, spare=2):
        self.random, self.lose, self.repeat, self.hold, self.spare = random.Random(seed), lose, repeat, hold, spare
        self.lost = {TO_SERVER: 0, TO_CLIENT: 0}

    def __call__(self, seen):
        chance = self.random.random()
        if chance < self.lose and self.lost[seen.towards] < self.spare:
            self.lost[seen.towards] += 1
            return 0
        self.lost[seen.towards] = 0
        if chance < self.lose + self.repeat:
            return 2
        return "hold" if chance < self.lose + self.repeat + self.hold else 1


class Relay:
    """Listens on a port of its own and speaks to the server from another one for each client. `policy` is told of each
    datagram and says how many copies go on, or "hold"."""

    def __init__(self, server, policy=faithful):
        self.server, self.policy = server, policy
        self.changed = threading.Condition()
        self.seen, self.held = [], {TO_SERVER: [], TO_CLIENT: []}
        self.selector = selectors.DefaultSelector()
        self.front = self.open()
        self.port = self.front.getsockname()[1]
        self.backs = {}
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def open(self, client=None):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        self.selector.register(sock, selectors.EVENT_READ, client)
        return sock

    def run(self):
        while self.running:
            # What is held back must not wait for a datagram that never comes.
            events = self.selector.select(0.05)
            if not events:
                self.release(TO_SERVER)
                self.release(TO_CLIENT)
            for key, _ in events:
                try:
                    data, source = key.fileobj.recvfrom(65536)
                except ConnectionError:
                    continue
                if key.data is None:
                    if source not in self.backs:
                        self.backs[source] = self.open(source)
                    self.forward(TO_SERVER, data, self.backs[source], ("127.0.0.1", self.server))
                else:
                    self.forward(TO_CLIENT, data, self.front, key.data)

    def forward(self, towards, data, sock, target):
        try:
            message = decode(data)
        except ValueError:
            message = None
        seen = Seen(towards, message, data, 1)
        verdict = self.policy(seen)
        with self.changed:
            seen.copies = 1 if verdict == "hold" else verdict
            self.seen.append(seen)
            self.changed.notify_all()
        if verdict == "hold":
            self.held[towards].append((sock, data, target))
            return
        for _ in range(verdict):
            sock.sendto(data, target)
        self.release(towards)

    def release(self, towards):
        held, self.held[towards] = self.held[towards], []
        for sock, data, target in held:
            sock.sendto(data, target)

    def messages(self, towards=None):
        with self.changed:
            return [seen.message for seen in self.seen if towards in (None, seen.towards) and seen.message]

    @property
    def requests(self):
        return [message for message in self.messages(TO_SERVER) if message.is_request]

    @property
    def responses(self):
        return [message for message in self.messages(TO_CLIENT) if message.code >= 64]

    def wait(self, predicate, what, patience=PATIENCE):
        """Waits until `predicate` of all that was seen is true, and returns what it is."""
        with self.changed:
            found = self.changed.wait_for(lambda: predicate(self.seen), patience)
            assert found, f"no {what}: {self.seen}"
            return found
