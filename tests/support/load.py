"""A viewer that checks its messages beside an attack."""

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.server import LIMIT
from tests.support.websocket import WebSocketClient


class Witness:
    """A viewer that reads all its messages in a thread of its own, and toggles the lamp, which no
    other client may use. At the end it checks that it missed no number, change or result."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self._client = WebSocketClient(port, context=context)
        self._more = threading.Condition()
        self.states = 0
        self.seqs: list[int] = []
        self.changes: list[float] = []
        self.results: list[int] = []
        self.asked = 0
        self._error: Exception | None = None
        self._leaving = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        self.wait_for_states(2)
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            self.wait_for_states(3)
        self._leaving = True
        self._thread.join(LIMIT)
        self._client.socket.close()
        if kind is None:
            self._check()

    def _check(self) -> None:
        assert self._error is None, self._error
        assert self.seqs == list(range(self.seqs[0], self.seqs[0] + len(self.seqs)))
        assert self.asked and self.results == list(range(self.asked))
        assert len(self.changes) == self.asked
        assert all(a != b for a, b in zip(self.changes, self.changes[1:], strict=False))

    def wait_for_states(self, count: int) -> None:
        """Wait until so many more states have arrived."""
        with self._more:
            wanted = self.states + count
            self._more.wait_for(lambda: self.states >= wanted or self._error, LIMIT)
            assert self.states >= wanted, f"no more states arrived: {self._error}"

    def _watch(self) -> None:
        try:
            for message in self._client.messages():
                self._note(message)
                if self._leaving and len(self.results) == self.asked:
                    return
            raise AssertionError("the server closed the connection")
        except Exception as error:
            with self._more:
                self._error = error
                self._more.notify_all()

    def _note(self, message: dict[str, Any]) -> None:
        assert message["type"] != "error", message
        if "seq" in message:
            self.seqs.append(message["seq"])
        if message["type"] == "change" and message["pin"] == "lamp":
            self.changes.append(message["value"])
        elif message["type"] == "result":
            self.results.append(message["ref"])
        elif message["type"] == "state":
            if self.states % 5 == 0 and not self._leaving:
                self._client.send(type="toggle", pin="lamp", ref=self.asked)
                self.asked += 1
            with self._more:
                self.states += 1
                self._more.notify_all()


def wait_until(fact: Callable[[], bool], beside: Witness, what: str) -> None:
    """Check a fact with each state of the witness, so once an interval, until it is true."""
    began = time.monotonic()
    while not fact():
        assert time.monotonic() - began < LIMIT, f"not within {LIMIT} s: {what}"
        beside.wait_for_states(1)
