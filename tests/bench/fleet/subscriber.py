"""MQTT 5 client that only subscribes. It is written by hand to cost little, and to share no mistake
with the package. Numbers in brackets are sections of OASIS' MQTT Version 5.0."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import msgspec

from raspi_server.messages import PinState

from .view import View

CONNACK, PUBLISH, SUBACK = 2, 3, 9
RETRY_INTERVAL_S = 0.02
"""Seconds between two attempts to connect: shorter than those of the Pis."""


class Subscriber:
    """Subscriber to everything at `filters`, at QoS 1. It reconnects when the broker is back.
    `receive_maximum` is sent in CONNECT unless it is None."""

    def __init__(self, port: int, *filters: str, receive_maximum: int | None = 65535) -> None:
        self.view = View()
        self.system: dict[str, float] = {}
        """The broker's own numbers, by the path below $SYS/broker/."""
        self.late = 0
        """Number of changes published as late."""
        self.size = 0
        """Size in bytes of the last packet with the state of a pin."""
        self.is_listening = asyncio.Event()
        self._port = port
        self._filters = filters
        self._at_once = receive_maximum
        self._decode = msgspec.json.Decoder(PinState).decode
        self._task = asyncio.create_task(self._stay())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _stay(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._listen(*await asyncio.open_connection("127.0.0.1", self._port))
            self.is_listening.clear()
            await asyncio.sleep(RETRY_INTERVAL_S)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(_connect(f"subscriber-{id(self)}", self._at_once))
            writer.write(_subscribe(self._filters))
            rest = b""
            while data := await reader.read(1 << 18):
                rest, answers = self._take(rest + data)
                writer.write(answers)
        finally:
            writer.close()

    def _take(self, data: bytes) -> tuple[bytes, bytes]:
        """Handle each whole packet. Return the rest of the data, and the acknowledgements."""
        at, answers = 0, []
        while len(data) - at >= 2:
            try:
                length, body = _number(data, at + 1)
            except IndexError:
                break
            end = body + length
            if len(data) < end:
                break
            kind = data[at] >> 4
            if kind == PUBLISH:
                quality = data[at] >> 1 & 3
                size = int.from_bytes(data[body : body + 2], "big")
                topic = data[body + 2 : body + 2 + size].decode()
                body += 2 + size
                if quality:
                    answers.append(b"\x40\x02" + data[body : body + 2])
                    body += 2
                properties, body = _number(data, body)
                self._note(topic, data[body + properties : end], end - at)
            elif kind == SUBACK:
                self.is_listening.set()
            elif kind == CONNACK and data[body + 1]:
                raise ConnectionRefusedError(f"the broker rejects our login: {data[body + 1]:#x}")
            at = end
        return data[at:], b"".join(answers)

    def _note(self, topic: str, payload: bytes, size: int) -> None:
        if topic.startswith("$SYS/broker/"):
            with contextlib.suppress(ValueError):  # some are words
                self.system[topic.removeprefix("$SYS/broker/")] = float(payload)
            return
        pi, _, name = topic.partition("/pins/")
        if name.endswith("/late"):
            self.late += 1
        elif name:
            state = self._decode(payload)
            self.view.note_pin(pi, name, state.value, state.time)
            self.size = size
        elif topic.endswith("/status"):
            self.view.note_status(topic.removesuffix("/status"), payload == b"online")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable byte integer and the offset of its end (1.5.5)."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _packet(head: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 0x80)
        length += bytes([low | 0x80 * bool(size)])
        if not size:
            return bytes([head]) + length + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _connect(client_id: str, receive_maximum: int | None) -> bytes:
    """Return a CONNECT with a clean start and no keep-alive (3.1)."""
    properties = b"" if receive_maximum is None else struct.pack("!BH", 0x21, receive_maximum)
    head = _text("MQTT") + b"\x05\x02\x00\x00" + bytes([len(properties)])
    return _packet(0x10, head + properties + _text(client_id))


def _subscribe(filters: tuple[str, ...]) -> bytes:
    """Return a SUBSCRIBE at QoS 1 (3.8)."""
    return _packet(0x82, b"\x00\x01\x00" + b"".join(_text(each) + b"\x01" for each in filters))
