"""Parts for lives over the network: the model with its changes in order, viewers in threads of
their own, and one server with its folders."""

import contextlib
import http.client
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raspi_server.errors import STATUS
from tests.support.model import Answer, Input, Line, Model, Output
from tests.support.server import LIMIT, changing, free_port
from tests.support.websocket import CLOSE, PING, PONG, TEXT, WebSocketClient, masked
from tests.test_reload import Pi

INTERVAL = 0.02

Pins = dict[str, dict[str, Any]]
Greeting = tuple[list[str], dict[str, float | None], bool]
Outcome = tuple[float | None, str | None]
"""A value, or the code of an error."""


class Journal(Model):
    """The model, with all changes in the order in which they are told."""

    def __init__(self, pins: Pins) -> None:
        self.changes: list[tuple[str, float, frozenset[str | None]]] = []
        super().__init__(pins, 1000.0)

    def make(self, name: str, keys: dict[str, Any]) -> Input | Output:
        pin = super().make(name, keys)
        tell = pin.tell

        def tell_all(value: float, by: frozenset[str | None], moment: float) -> None:
            tell(value, by, moment)
            self.changes.append((pin.name, value, by))

        pin.tell = tell_all  # type: ignore[method-assign]
        return pin

    def begin_again(self, pins: Pins) -> None:
        """Another process, in which no line is driven."""
        self.lines = {gpio: Line() for gpio in range(28)}
        self.start(pins)


def greeting(hello: dict[str, Any]) -> Greeting:
    """Return the pins, values and notices of a hello."""
    complains = "configuration" in [notice["code"] for notice in hello["server"]["notices"]]
    assert [pin["value"] for pin in hello["pins"]] == [*hello["state"].values()]
    return [pin["name"] for pin in hello["pins"]], hello["state"], complains


class Viewer:
    """A WebSocket that, unless it sleeps, is read all the time by a thread of its own. What it
    hears must make sense at once: numbers grow, and each state is what the changes before made."""

    def __init__(self, port: int, address: str, asleep: bool) -> None:
        self.address = address
        self.is_asleep = asleep
        self.slept_since = time.monotonic()
        self.owed: list[tuple[str, float, frozenset[str | None]]] = []
        self.greetings: list[Greeting] = []  # what each hello is to say
        self.changes: list[dict[str, Any]] = []
        self.numbered: dict[int, dict[str, Any]] = {}
        self.hellos: list[dict[str, Any]] = []
        self.answers: dict[Any, dict[str, Any]] = {}
        self.nameless: list[dict[str, Any]] = []  # errors without a ref
        self.heard = self.expected = 0  # hellos, in all
        self.shown_at = 0.0
        self._client = WebSocketClient(port, 4096 if asleep else None, address)
        self._more = threading.Condition()
        self.current: dict[str, float] = {}
        self._last = self._pings = self._pongs = 0
        self.close_code: int | None = None
        self._has_ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        if not asleep:
            self._thread.start()
            self.wait_for_hello()

    def wake(self) -> None:
        self.is_asleep = False
        self._thread.start()

    def say(self, *texts: str) -> None:
        """Messages, all in one go."""
        self._client.socket.sendall(b"".join(masked(TEXT, text.encode()) for text in texts))

    def hear(self, ref: int | None, pin: str | None = None) -> Outcome:
        """Waits for the answer to `ref`, or for one to nobody."""
        if ref is None:
            self.wait_for(lambda: bool(self.nameless), "an error")
            answer = self.nameless.pop(0)
        else:
            self.wait_for(lambda: ref in self.answers, f"an answer to {ref}")
            answer = self.answers.pop(ref)
        if answer["type"] == "error":
            return None, answer["code"]
        assert answer["pin"] == pin
        return answer["value"], None

    def check(self) -> None:
        """It was told what it is owed, and nothing else."""
        self.wait_for(lambda: len(self.changes) >= len(self.owed), str(self.owed))
        self.fence()
        told = [(change["pin"], change["value"]) for change in self.changes]
        assert told == [(pin, value) for pin, value, _ in self.owed], (told, self.owed)
        for change, (_, _, by) in zip(self.changes, self.owed, strict=True):
            assert change.get("by") in by, change
        greetings = [greeting(hello) for hello in self.hellos]
        assert greetings == self.greetings, (greetings, self.greetings)
        assert not self.nameless
        self.forget()

    def forget(self) -> None:
        with self._more:
            for each in (self.owed, self.changes, self.greetings, self.hellos):
                each.clear()

    def take_numbered(self) -> dict[int, dict[str, Any]]:
        with self._more:
            taken, self.numbered = self.numbered, {}
        return taken

    def wait_for(self, fact: Callable[[], bool], what: str) -> None:
        with self._more:
            self._more.wait_for(lambda: fact() or self._has_ended, LIMIT)
            assert self._error is None, repr(self._error)
            assert fact(), f"{self.address} never got {what}"

    def wait_for_hello(self) -> None:
        """Until it has heard one more than was expected before."""
        self.expected += 1
        self.wait_for(lambda: self.heard >= self.expected, "hello")

    def outlast(self, seconds: float) -> None:
        """Until the server shows a state that is later than that."""
        until = time.time() + seconds
        self.wait_for(lambda: self.shown_at > until, "a state")

    def fence(self) -> None:
        """Until all is read that was sent before now."""
        self._pings += 1
        self._client.socket.sendall(masked(PING, str(self._pings).encode()))
        self.wait_for(lambda: self._pongs == self._pings, "a pong")

    def wait_for_end(self) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self._has_ended, LIMIT), "the server never closed"
        assert self._error is None, repr(self._error)

    def say_goodbye(self) -> None:
        self._client.socket.sendall(masked(CLOSE, b"\x03\xe8"))
        self.wait_for_end()
        assert self.close_code == 1000
        self._client.socket.close()

    def vanish(self) -> None:
        """Ends the connection with a reset, once the thread has let go of it."""
        with contextlib.suppress(OSError):  # the server was first
            self._client.socket.shutdown(socket.SHUT_RD)
        if self._thread.is_alive():
            self._thread.join(LIMIT)
        self._client.reset()

    def _read(self) -> None:
        try:
            for opcode, payload in self._client.frames():
                with self._more:
                    if opcode == TEXT:
                        self._take(json.loads(payload))
                    elif opcode == PONG:
                        self._pongs = int(payload)
                    elif opcode == CLOSE:
                        self.close_code = int.from_bytes(payload[:2], "big")
                        self._client.socket.sendall(masked(CLOSE, payload[:2]))
                    self._more.notify_all()
        except OSError:
            pass  # we left
        except BaseException as error:
            self._error = error
        with self._more:
            self._has_ended = True
            self._more.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if "seq" in message:
            assert message["seq"] > self._last, (self._last, message)
            self._last = message["seq"]
            self.numbered[message["seq"]] = message
        if kind == "hello":
            self.current = dict(message["state"])
            self.hellos.append(message)
            self.heard += 1
        elif kind == "state":
            assert message["pins"] == self.current, (message, self.current)
            self.shown_at = message["time"]
        elif kind == "change":
            self.current[message["pin"]] = message["value"]
            self.changes.append(message)
        elif kind in ("result", "error"):
            if message.get("ref") is None:
                self.nameless.append(message)
            else:
                assert message["ref"] not in self.answers, message
                self.answers[message["ref"]] = message
        else:
            assert kind == "health", message


@dataclass
class Asked:
    """A command that was sent, what is to become of it, and how to hear of that."""

    answer: Answer
    hear: Callable[[], Outcome]
    asker: "Viewer | Request"

    @property
    def is_open(self) -> bool:
        return self.answer == Answer()

    def check(self) -> None:
        value, code = self.hear()
        if code is None:
            assert (value, frozenset()) == (self.answer.value, self.answer.codes), self
        else:
            assert code in self.answer.codes, (code, self)


IN_A_HURRY = changing(max_messages_per_s=10_000, message_burst=10_000)
"""The real server for viewers that send more in a second than a person does in a minute."""


class Rig:
    """One server for all lives, with folders of its own; `is_sound` if the last life ended well."""

    def __init__(self, folder: Path) -> None:
        self.run, self.state = folder / "run", folder / "state"
        self.port = free_port()
        self.is_sound = False
        self.forget()
        folders = {"RUNTIME_DIRECTORY": str(self.run), "STATE_DIRECTORY": str(self.state)}
        self.pi = Pi(folder, self.text({}), program=IN_A_HURRY, **folders)

    def forget(self) -> None:
        for folder in (self.run, self.state):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def text(self, pins: Pins) -> str:
        head = f"port: {self.port}\naccess: {{control: everyone}}\ninterval: {INTERVAL}\npins:\n"
        return head + "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins.items())

    def ready(self) -> None:
        """A server that is well; after a life that was not, a new one that remembers nothing."""
        if not self.is_sound:
            self.pi.server.stop(signal.SIGKILL)
            self.forget()
            self.pi.file.write_text(self.text({}))
            self.pi.start()
        self.is_sound = False

    def write(self, text: str | None) -> None:
        self.pi.file.unlink(missing_ok=True)
        if text is not None:
            self.pi.file.write_text(text)

    def ask(self, address: str, method: str, path: str, body: str | None) -> "Request":
        return Request(self.port, address, method, path, body)


class Request:
    """A request that was sent, and can be heard of when it is answered."""

    def __init__(self, port: int, address: str, method: str, path: str, body: str | None) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, LIMIT, source_address=(address, 0)
        )
        self._connection.request(method, path, body)
        self.close = self._connection.close

    def hear(self) -> Outcome:
        with contextlib.closing(self), self._connection.getresponse() as response:
            said = json.load(response)
            if response.status == 200:
                return said["value"], None
            code = said["error"]["code"]
            assert (response.status, code) in [(status, code) for code, status in STATUS.items()]
            return None, code
