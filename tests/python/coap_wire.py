"""CoAP datagrams as these tests read and write them: a codec of their own, and a client of one UDP port."""

import dataclasses
import socket

from broker import PATIENCE

CON, NON, ACK, RST = range(4)
GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH = range(1, 8)
IF_MATCH, URI_HOST, ETAG, IF_NONE_MATCH, OBSERVE, URI_PORT, LOCATION_PATH, OSCORE = 1, 3, 4, 5, 6, 7, 8, 9
URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY, ACCEPT, LOCATION_QUERY, BLOCK2, BLOCK1 = 11, 12, 14, 15, 17, 20, 23, 27
SIZE2, SIZE1, NO_RESPONSE, REQUEST_TAG = 28, 60, 258, 292
TEXT, LINKS, XML, OCTETS, JSON, CBOR, SENML_JSON, SENML_CBOR, PUBSUB = 0, 40, 41, 42, 50, 60, 110, 112, 606


def code(text):
    """The number of a code such as "2.05"."""
    kind, detail = text.split(".")
    return int(kind) << 5 | int(detail)


def uint(value):
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


@dataclasses.dataclass
class Message:
    kind: int
    code: int
    id: int
    token: bytes = b""
    options: list = dataclasses.field(default_factory=list)
    payload: bytes = b""

    @property
    def spelled(self):
        return f"{self.code >> 5}.{self.code & 31:02}"

    @property
    def is_request(self):
        return 0 < self.code < 32

    def all(self, number):
        return [value for other, value in self.options if other == number]

    def uint(self, number):
        """The value of an unsigned option, None without it."""
        values = self.all(number)
        return int.from_bytes(values[0], "big") if values else None

    def block(self, number):
        """Number, more and size of a block option, None without it."""
        value = self.uint(number)
        return None if value is None else (value >> 4, bool(value & 8), 16 << (value & 7))

    @property
    def path(self):
        return "/".join(value.decode() for value in self.all(URI_PATH))

    def encode(self):
        out = bytearray([64 | self.kind << 4 | len(self.token), self.code]) + self.id.to_bytes(2, "big") + self.token
        return bytes(out) + encode_body(self.options, self.payload)


def encode_body(options, payload):
    """Options in any order and payload, as every transport carries them."""
    out, previous = bytearray(), 0
    for number, value in sorted(options, key=lambda option: option[0]):
        (delta, delta_more), (length, length_more) = extend(number - previous), extend(len(value))
        out += bytes([delta << 4 | length]) + delta_more + length_more + value
        previous = number
    return bytes(out) + (b"\xff" + payload if payload else b"")


def extend(value):
    if value < 13:
        return value, b""
    return (13, bytes([value - 13])) if value < 269 else (14, (value - 269).to_bytes(2, "big"))


def decode(data):
    """Reads a datagram; an error for what is malformed."""
    if len(data) < 4 or data[0] >> 6 != 1:
        raise ValueError("no CoAP")
    length, start = data[0] & 15, 4
    if length in (13, 14):
        more = length - 12
        length, start = int.from_bytes(data[4:4 + more], "big") + (13 if more == 1 else 269), 4 + more
    message = Message(data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big"), data[start:start + length])
    message.options, message.payload = decode_body(data[start + length:])
    return message


def decode_body(data):
    options, number, at = [], 0, 0

    def extended(nibble):
        nonlocal at
        if nibble < 13:
            return nibble
        more = nibble - 12
        value, at = int.from_bytes(data[at:at + more], "big") + (13 if more == 1 else 269), at + more
        return value

    while at < len(data):
        first, at = data[at], at + 1
        if first == 0xFF:
            if at == len(data):
                raise ValueError("no payload")
            return options, data[at:]
        number += extended(first >> 4)
        length = extended(first & 15)
        if at + length > len(data):
            raise ValueError("half an option")
        options.append((number, data[at:at + length]))
        at += length
    return options, b""


def path(text):
    """The options of a path and its query."""
    text, _, query = text.partition("?")
    options = [(URI_PATH, segment.encode()) for segment in text.strip("/").split("/") if segment]
    return options + [(URI_QUERY, part.encode()) for part in query.split("&") if part]


class Wire:
    """A client with a port of its own; requests get ids and tokens in order."""

    def __init__(self, port, address="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(PATIENCE)
        self.next = 0x100

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def request(self, method, where, payload=b"", *options, kind=CON, token=None):
        """Sends a request and returns it; values of options may be numbers."""
        self.next += 1
        plain = [(number, uint(value) if isinstance(value, int) else value) for number, value in options]
        token = uint(self.next) if token is None else token
        message = Message(kind, method, self.next, token, path(where) + plain, payload)
        self.send(message)
        return message

    def send(self, message):
        self.socket.send(message if isinstance(message, bytes) else message.encode())

    def take(self):
        return decode(self.socket.recv(65536))

    def ask(self, *arguments, **options):
        """A request and the next datagram, which must answer it."""
        request = self.request(*arguments, **options)
        answer = self.take()
        assert answer.token == request.token, answer
        assert answer.kind == NON or (answer.kind, answer.id) == (ACK, request.id), answer
        return answer

    def acknowledge(self, message):
        self.send(Message(ACK, 0, message.id))

    def reset(self, message):
        self.send(Message(RST, 0, message.id))

    def notification(self):
        """The next notification, acknowledged if it asks for that."""
        message = self.take()
        if message.kind == CON:
            self.acknowledge(message)
        return message

    def settled(self):
        """What came before the answer to a ping."""
        self.next += 1
        self.send(Message(CON, 0, self.next))
        seen = []
        while (message := self.take()) != Message(RST, 0, self.next):
            seen.append(message)
        return seen
