"""The messages that a client of the real server must have received, by the model."""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.model import Answer, Change
from tests.support.server import LIMIT
from tests.support.websocket import CLOSE, PING, PONG, TEXT, WebSocketClient, masked

Command = tuple[str, str, Any]
"""A command: its type, its pin, and the value or the seconds."""


@dataclass(frozen=True)
class Hello:
    """A greeting: name, label and value of each pin, and whether the file is valid."""

    pins: list[tuple[str, str, float | None]]
    is_valid: bool


class Viewer:
    """A WebSocket client, and what it must have seen: `owed`, in this order, and beside that only
    states, which have the values that the changes made. The numbers of its messages grow."""

    def __init__(self, port: int, address: str) -> None:
        self.address = address
        self.owed: list[Change | Hello] = []
        self.seen: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.values: dict[str, float | None] = {}
        self.close_code: int | None = None
        self.state_time = 0.0
        self._seq = self._pings = self._pongs = 0
        self._client = WebSocketClient(port, address=address)
        self._frames = self._client.frames()
        self.reset = self._client.reset

    def send(self, *messages: dict[str, Any]) -> None:
        """Send messages, all in one write."""
        frames = [masked(TEXT, json.dumps(each).encode()) for each in messages]
        self._client.socket.sendall(b"".join(frames))

    def read_until(self, fact: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + LIMIT
        while not fact():
            assert time.monotonic() < until, f"{self.address} never received {what}"
            frame = next(self._frames, None)
            assert frame, f"the server closed before {self.address} received {what}"
            self._take(*frame)

    def read_owed(self) -> None:
        self.read_until(lambda: len(self.seen) >= len(self.owed), str(self.owed))

    def read_all(self) -> None:
        """Read all that was sent before now."""
        self._pings += 1
        self._client.socket.sendall(masked(PING, str(self._pings).encode()))
        self.read_until(lambda: self._pongs == self._pings, "a pong")

    def read_end(self) -> None:
        """Read until the server, which stops, closes."""
        for frame in self._frames:
            self._take(*frame)
        assert self.close_code == 1001

    def check_answer(self, ref: int, expected: Answer) -> None:
        """Wait for the answer to `ref`."""
        self.read_until(lambda: ref in self.answers, f"an answer to {ref}")
        answer = self.answers.pop(ref)
        expected.check(answer.get("value"), answer.get("code"))

    def check(self) -> None:
        """It has seen what it was owed, and nothing else."""
        self.read_owed()
        self.read_all()
        for message, owed in zip(self.seen, self.owed, strict=True):
            if isinstance(owed, Change):
                assert (message.get("pin"), message.get("value")) == (owed.pin, owed.value)
                assert message.get("by") in owed.by
            else:
                pins = [(pin["name"], pin["label"], pin["value"]) for pin in message["pins"]]
                assert pins == owed.pins
                assert [*message["state"].items()] == [(name, value) for name, _, value in pins]
                codes = [notice["code"] for notice in message["server"]["notices"]]
                assert ("configuration" in codes) != owed.is_valid, codes
        self.seen.clear()
        self.owed.clear()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._take_message(json.loads(payload))
        elif opcode == PONG:
            self._pongs = int(payload)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            with contextlib.suppress(OSError):
                self._client.socket.sendall(masked(CLOSE, payload[:2]))

    def _take_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if "seq" in message:
            assert message["seq"] > self._seq, (self._seq, message)
            self._seq = message["seq"]
        if kind == "hello":
            self.values = dict(message["state"])
            self.seen.append(message)
        elif kind == "change":
            self.values[message["pin"]] = message["value"]
            self.seen.append(message)
        elif kind == "state":
            assert message["pins"] == self.values
            self.state_time = message["time"]
        elif kind in ("result", "error"):
            assert message["ref"] not in self.answers, message
            self.answers[message["ref"]] = message
        else:
            assert kind in ("health", "source"), message
