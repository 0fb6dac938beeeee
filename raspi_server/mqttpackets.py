"""MQTT 5 as bytes: the packets a client sends and receives, and nothing of networks or time.
Numbers in brackets are sections of OASIS' MQTT Version 5.0."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

RECEIVE_MAXIMUM = 0x21
MAXIMUM_QOS = 0x24
RETAIN_AVAILABLE = 0x25
MAXIMUM_PACKET_SIZE = 0x27
SERVER_KEEP_ALIVE = 0x13
_REASON_STRING = 0x1F
"""Properties (2.2.2.2) by what the broker tells its limits, and its reasons in its own words."""

_BYTE, _TWO, _FOUR, _VARIABLE, _TEXT, _BINARY, _PAIR = range(7)
_PROPERTIES = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), _BYTE),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), _TWO),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), _FOUR),
    0x0B: _VARIABLE,
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F), _TEXT),
    **dict.fromkeys((0x09, 0x16), _BINARY),
    0x26: _PAIR,
}

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
"""A normal end: the broker forgets the will (3.14)."""


class Malformed(ValueError):
    """Bytes that are no MQTT 5."""


class Message(NamedTuple):
    """What is published; of `extra` the broker hears nothing."""

    topic: str
    payload: bytes
    retain: bool = False
    extra: Any = None


class Connack(NamedTuple):
    reason: int
    words: str
    properties: dict[int, Any]


class Publish(NamedTuple):
    """A message from the broker. `retain`: it was kept there, or is to be."""

    topic: str
    payload: bytes
    retain: bool
    id: int | None
    """For its acknowledgement, or None where none is wanted."""


class Puback(NamedTuple):
    id: int
    reason: int
    words: str


class Suback(NamedTuple):
    id: int
    reasons: tuple[int, ...]


class Disconnect(NamedTuple):
    reason: int
    words: str


Packet = Connack | Publish | Puback | Suback | Disconnect


class Subscription(NamedTuple):
    """`with_kept`: the retained messages, too, that are there already."""

    filter: str
    with_kept: bool = False


def connect(
    client_id: str,
    keep_alive: int,
    user: str | None,
    password: bytes | None,
    will: Message | None,
    largest: int,
) -> bytes:
    """CONNECT with a clean start (3.1): the broker keeps nothing of the last connection. `largest`
    is the size in bytes of the largest packet we take."""
    flags = 0x02
    body = bytearray(_text(client_id))
    if will:
        flags |= 0x04 | 1 << 3 | will.retain << 5
        body += b"\0" + _text(will.topic) + _binary(will.payload)
    if user is not None:
        flags |= 0x80
        body += _text(user)
    if password is not None:
        flags |= 0x40
        body += _binary(password)
    properties = struct.pack("!BI", MAXIMUM_PACKET_SIZE, largest)
    head = _text("MQTT") + struct.pack("!BBHB", 5, flags, keep_alive, len(properties)) + properties
    return _framed(0x10, head + bytes(body))


def publish(message: Message, id: int | None, retain: bool = True) -> bytes:
    """PUBLISH at QoS 1 with an `id`, else at QoS 0 (3.3)."""
    first = 0x30 | (id is not None) << 1 | (message.retain and retain)
    topic = message.topic.encode()
    tail = b"\0" if id is None else struct.pack("!HB", id, 0)
    return _framed(first, struct.pack("!H", len(topic)) + topic + tail + message.payload)


def subscribe(id: int, subscriptions: Sequence[Subscription]) -> bytes:
    """SUBSCRIBE at QoS 1 (3.8). What others publish retained arrives marked as such."""
    body = struct.pack("!HB", id, 0)
    for each in subscriptions:
        body += _text(each.filter) + bytes([0x01 | 0x08 | (0 if each.with_kept else 2) << 4])
    return _framed(0x82, body)


def unsubscribe(id: int, filters: Sequence[str]) -> bytes:
    """UNSUBSCRIBE (3.10)."""
    return _framed(0xA2, struct.pack("!HB", id, 0) + b"".join(_text(each) for each in filters))


def puback(id: int) -> bytes:
    """PUBACK: taken (3.4)."""
    return struct.pack("!BBH", 0x40, 2, id)


class Packets:
    """Takes a broker's bytes as they come and finds the whole packets in them."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._rest = b""

    def feed(self, data: bytes) -> list[Packet]:
        """Those that are whole now. Raises Malformed."""
        data = self._rest + data
        found: list[Packet] = []
        at = 0
        while (head := _size(data, at + 1)) is not None:
            size, begin = head
            if size > self._largest:
                raise Malformed(f"a packet of {size} bytes")
            end = begin + size
            if end > len(data):
                break
            try:
                packet = _packet(data[at], data, begin, end)
            except (IndexError, struct.error, UnicodeDecodeError) as error:
                raise Malformed(f"a packet of type {data[at] >> 4}: {error}") from None
            if packet:
                found.append(packet)
            at = end
        self._rest = data[at:]
        return found


def _packet(first: int, data: bytes, at: int, end: int) -> Packet | None:
    """One packet, or None for those of no interest: PINGRESP, UNSUBACK."""
    kind = first >> 4
    if kind == 3:
        return _read_publish(first, data, at, end)
    if kind == 4:
        (id,) = struct.unpack_from("!H", data, at)
        if end - at == 2:
            return Puback(id, 0, "")
        return Puback(id, data[at + 2], _words(data, at + 3, end))
    if kind == 9:
        (id,) = struct.unpack_from("!H", data, at)
        _, after = _read_properties(data, at + 2, end)
        return Suback(id, tuple(data[after:end]))
    if kind == 2:
        properties, _ = _read_properties(data, at + 2, end) if end - at > 2 else ({}, end)
        return Connack(data[at + 1], str(properties.get(_REASON_STRING, "")), properties)
    if kind == 14:
        return Disconnect(data[at] if end > at else 0, _words(data, at + 1, end))
    if kind in (11, 13):
        return None
    raise Malformed(f"a packet of type {kind}, which no broker sends to such a client")


def _read_publish(first: int, data: bytes, at: int, end: int) -> Publish:
    (size,) = struct.unpack_from("!H", data, at)
    at += 2 + size
    topic = data[at - size : at].decode()
    qos = first >> 1 & 3
    id = None
    if qos:
        (id,) = struct.unpack_from("!H", data, at)
        at += 2
    if qos > 1 or at >= end:
        raise Malformed("a message of a quality that nobody asked for, or without its end")
    if data[at]:
        _, at = _read_properties(data, at, end)
    else:
        at += 1
    return Publish(topic, data[at:end], bool(first & 1), id)


def _read_properties(data: bytes, at: int, end: int) -> tuple[dict[int, Any], int]:
    """The properties that begin at `at`, by number, and where they end (2.2.2)."""
    head = _size(data, at)
    if head is None or sum(head) > end:
        raise Malformed("properties without their end")
    size, at = head
    until = at + size
    found: dict[int, Any] = {}
    while at < until:
        number = data[at]
        kind = _PROPERTIES.get(number)
        at += 1
        if kind == _BYTE:
            found[number] = data[at]
            at += 1
        elif kind == _TWO:
            (found[number],) = struct.unpack_from("!H", data, at)
            at += 2
        elif kind == _FOUR:
            (found[number],) = struct.unpack_from("!I", data, at)
            at += 4
        elif kind == _VARIABLE:
            value = _size(data, at)
            if value is None:
                raise Malformed("a number without its end")
            found[number], at = value
        elif kind in (_TEXT, _BINARY, _PAIR):
            for _ in range(2 if kind == _PAIR else 1):
                (length,) = struct.unpack_from("!H", data, at)
                at += 2 + length
                if kind == _TEXT:
                    found[number] = data[at - length : at].decode()
        else:
            raise Malformed(f"a property {number:#x}, which does not exist")
    if at != until:
        raise Malformed("properties longer than they say")
    return found, until


def _words(data: bytes, at: int, end: int) -> str:
    """The reason in the broker's own words, if it gave any."""
    if at >= end:
        return ""
    return str(_read_properties(data, at, end)[0].get(_REASON_STRING, ""))


def _size(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer (1.5.5) and where it ends; None where it has not come whole."""
    value = 0
    for shift in range(4):
        if at + shift >= len(data):
            return None
        byte = data[at + shift]
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise Malformed("a size of more than four bytes")


def _framed(first: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((first, size)) + body
    head = bytearray([first])
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + body


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data
