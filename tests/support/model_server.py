"""The real server and the model, side by side, with viewers on real sockets.

The model knows no real time. What is due SHORT_S after an event happens before the next event,
which waits for it; what is due LONG_S after an event never happens."""

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from raspi_server.errors import STATUS
from tests.support.http import HttpClient, ask
from tests.support.model import Answer, Change, Model, Outcome, Pins, rejected
from tests.support.server import LIMIT, Server, changing, check_end
from tests.support.websocket import CLOSE, PING, PONG, TEXT, WebSocketClient, masked

SHORT_S = 0.02
LONG_S = 3600.0
LONGEST_PAUSE_S = 60.0
"""The longest `group_pause` that config.yaml may have. No sequence of events lasts as long."""
STEP_S = 0.25
"""Time of the model between two events."""
HTTP_ADDRESS = "127.0.0.6"
"""The address of HTTP requests. Viewers have others."""
PROGRAM = changing(
    max_messages_per_s=10_000,  # viewers send more here than a person does
    message_burst=10_000,
    max_viewer_behind_s=1000.0,  # a slow machine closes no viewer that sleeps
    ping_interval_s=1000.0,
    close_timeout_s=1000.0,
)

Command = tuple[str, str, Any]
"""A command: its type, its pin, and the value or the seconds."""


@dataclass(frozen=True)
class Hello:
    """A greeting after a join or a reload. `is_valid` is false if it must tell of an invalid
    file."""

    values: dict[str, float | None]
    is_valid: bool


class Viewer:
    """A WebSocket client, and what it must have seen: `owed`, in this order, and between that only
    states with the values that the changes made, each message with a higher number."""

    def __init__(self, port: int, address: str, asleep: bool = False) -> None:
        self.address = address
        self.is_asleep = asleep
        self.owed: list[Change | Hello] = []
        self.seen: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.numbered: dict[int, dict[str, Any]] = {}
        self.values: dict[str, float | None] = {}
        self.close_code: int | None = None
        self.state_time = 0.0
        self._seq = self._pings = self._pongs = 0
        self._client = WebSocketClient(port, 4096 if asleep else None, address)
        self._frames = self._client.frames()
        self.reset = self._client.reset

    def send(self, *texts: str) -> None:
        """Send messages, all in one write."""
        self._client.socket.sendall(b"".join(masked(TEXT, text.encode()) for text in texts))

    def read_until(self, fact: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + LIMIT
        while not fact():
            assert time.monotonic() < until, f"{self.address} never received {what}"
            frame = next(self._frames, None)
            assert frame, f"the server closed before {self.address} received {what}"
            self._take(*frame)

    def read_all(self) -> None:
        """Read all that was sent before now."""
        self._pings += 1
        self._client.socket.sendall(masked(PING, str(self._pings).encode()))
        self.read_until(lambda: self._pongs == self._pings, "a pong")

    def read_until_end(self) -> None:
        for frame in self._frames:
            self._take(*frame)

    def outcome(self, ref: int, pin: str) -> Outcome:
        """Wait for the answer to `ref`."""
        self.read_until(lambda: ref in self.answers, f"an answer to {ref}")
        answer = self.answers.pop(ref)
        if answer["type"] == "error":
            return None, answer["code"]
        assert answer["pin"] == pin
        return answer["value"], None

    def check(self) -> None:
        self.read_until(lambda: len(self.seen) >= len(self.owed), str(self.owed))
        self.read_all()
        for message, owed in zip(self.seen, self.owed, strict=True):
            if isinstance(owed, Change):
                assert (message.get("pin"), message.get("value")) == (owed.pin, owed.value)
                assert message.get("by") in owed.by
            else:
                check_hello(message, owed)
        self.forget()

    def forget(self) -> None:
        self.seen.clear()
        self.owed.clear()

    def close(self) -> None:
        self._client.socket.sendall(masked(CLOSE, b"\x03\xe8"))
        self.read_until_end()
        assert self.close_code == 1000
        self._client.socket.close()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._take_message(json.loads(payload))
        elif opcode == PONG:
            self._pongs = int(payload)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            with contextlib.suppress(OSError):
                self._client.socket.sendall(masked(CLOSE, payload[:2]))
        else:
            assert opcode == PING

    def _take_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if "seq" in message:
            assert message["seq"] > self._seq, (self._seq, message)
            self._seq = message["seq"]
            self.numbered[self._seq] = message
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
            assert kind == "health", message


def check_hello(message: dict[str, Any], owed: Hello) -> None:
    assert message["type"] == "hello"
    assert [*message["state"].items()] == [*owed.values.items()]
    assert [(pin["name"], pin["value"]) for pin in message["pins"]] == [*owed.values.items()]
    codes = [notice["code"] for notice in message["server"]["notices"]]
    assert ("configuration" in codes) != owed.is_valid, codes


class Request:
    """An HTTP request that was sent, and whose response is read later."""

    def __init__(self, server: Server, method: str, path: str, body: object) -> None:
        self.connection = HttpClient(server, HTTP_ADDRESS).connection
        self.connection.request(method, path, json.dumps(body))

    def outcome(self) -> Outcome:
        with contextlib.closing(self.connection), self.connection.getresponse() as response:
            answer = json.load(response)
        if response.status == 200:
            return answer["value"], None
        assert response.status == STATUS[answer["error"]["code"]]
        return None, answer["error"]["code"]


@dataclass
class Asked:
    """A command that was sent, the answer it must get, and how to read the one it gets."""

    answer: Answer
    outcome: Callable[[], Outcome]
    asker: Viewer | Request


class ModelledServer:
    """The real server and the model. Each event happens to both, and `check` compares what clients
    got with what the model predicts. The first viewer never leaves and never sleeps."""

    def __init__(self, folder: Path, port: int, pins: Pins) -> None:
        self.port, self.pins = port, pins
        self.model = Model(pins, 0.0)
        self.viewers: list[Viewer] = []
        self.asked: list[Asked] = []
        self._count = 0
        self._is_valid = True
        self._numbered: dict[int, dict[str, Any]] = {}
        folders = {"RUNTIME_DIRECTORY": folder / "run", "STATE_DIRECTORY": folder / "state"}
        self._run_folder = folders["RUNTIME_DIRECTORY"]
        for each in folders.values():
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir()
        file = folder / "config.yaml"
        file.write_text(self._text())
        arguments = ["run", "--simulate", "--config", str(file)]
        environment = os.environ | {key: str(each) for key, each in folders.items()}
        self.server = Server(arguments, port=None, program=PROGRAM, env=environment)
        self._join_first()

    def _text(self) -> str:
        """Return config.yaml."""
        if not self._is_valid:
            return "pins: [lamp]\n"
        head = f"port: {self.port}\naccess: {{control: everyone}}\ninterval: 0.02\npins:\n"
        pins = self.pins.items()
        return head + "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins)

    def _join_first(self) -> None:
        """After a start all that is due soon happens."""
        self.model.pass_time(self.model.now + STEP_S)
        self.model.changes.clear()
        first = Viewer(self.port, "127.0.0.2")
        self.viewers.append(first)
        first.read_until(lambda: first.values == self.model.values(), str(self.model.values()))
        first.read_all()
        first.forget()

    def close(self, is_well: bool) -> None:
        """Check all once more, if all was well until now, and stop the server."""
        try:
            if is_well:
                self.wake()
                self.check()
                now = time.time()
                self.viewers[0].read_until(lambda: self.viewers[0].state_time > now, "a state")
        finally:
            self._disconnect()
            if is_well:
                check_end(self.server)
            else:
                self.server.stop(signal.SIGKILL)

    # Viewers and commands

    @property
    def awake(self) -> list[Viewer]:
        return [viewer for viewer in self.viewers if not viewer.is_asleep]

    def join(self, asleep: bool) -> None:
        """A viewer that joins gets all values in its hello."""
        self._count += 1
        viewer = Viewer(self.port, f"127.0.0.{3 + self._count % 3}", asleep)
        viewer.owed.append(Hello(self.model.values(), self._is_valid))
        self.viewers.append(viewer)

    def wake(self) -> None:
        for viewer in self.viewers:
            viewer.is_asleep = False

    def leave(self, viewer: Viewer, with_reset: bool) -> None:
        self.viewers.remove(viewer)
        self.asked = [asked for asked in self.asked if asked.asker is not viewer]
        if with_reset or viewer.is_asleep:
            viewer.reset()
        else:
            viewer.close()

    def _answer(self, command: Command, by: str) -> Answer:
        if self.pins[command[1]].get("control") == "nobody":
            return rejected("not-allowed")
        return self.model.command(*command, by)

    def send(self, viewer: Viewer, *commands: Command) -> None:
        """Send commands of one viewer, all in one write."""
        texts = []
        for command in commands:
            act, name, value = command
            self._count += 1
            message = {"type": act, "pin": name, "ref": self._count}
            if value is not None:
                message["seconds" if act == "pulse" else "value"] = value
            texts.append(json.dumps(message))
            outcome = partial(viewer.outcome, self._count, name)
            self.asked.append(Asked(self._answer(command, viewer.address), outcome, viewer))
        viewer.send(*texts)

    def request(self, command: Command) -> None:
        """Send a command over HTTP."""
        act, name, value = command
        path = f"/api/pins/{name}"
        if act == "set":
            request = Request(self.server, "PUT", path, {"value": value})
        else:
            body = {} if value is None else {"seconds": value}
            request = Request(self.server, "POST", f"{path}/{act}", body)
        self.asked.append(Asked(self._answer(command, HTTP_ADDRESS), request.outcome, request))

    # Reloads, stops and starts

    def reload(self, pins: Pins | None) -> None:
        """Reload a file with other pins, or an invalid one. The running configuration then stays
        active. All viewers get a hello."""
        self._is_valid = pins is not None
        if pins is not None:
            self.pins = pins
            self.model.reload(pins)
        self.server.reload(self._text())
        self._owe(*self.model.changes, Hello(self.model.values(), self._is_valid))
        first = self.viewers[0]
        first.read_until(lambda: len(first.seen) >= len(first.owed), "the hello of a reload")

    def restart(self, end: str) -> None:
        """Stop, `kill` -9, or stop and lose the files of a power `cut`; then start again."""
        self.wake()
        if end == "kill":
            for viewer in self.viewers:
                viewer.read_all()
            assert self.server.stop(signal.SIGKILL) == -signal.SIGKILL
            self._read_end(None)
        else:
            self.server.process.send_signal(signal.SIGTERM)
            self.model.stop()
            self.model.save()
            self._read_end(1001)
            assert self.server.stop() == 0
            self._check_answers()
            assert not self.asked, "each command is answered before its connection closes"
        self._disconnect()
        if end == "cut":
            shutil.rmtree(self._run_folder)
            self._run_folder.mkdir()
            self.model.cut_power()
        self.model.release_lines()
        self.model.start(self.pins)
        self._numbered.clear()
        self.server.restart()
        self._join_first()

    def _read_end(self, code: int | None) -> None:
        for viewer in self.viewers:
            viewer.read_until_end()
            assert viewer.close_code == code

    def _disconnect(self) -> None:
        for viewer in self.viewers:
            viewer.reset()
        for asked in self.asked:
            if isinstance(asked.asker, Request):
                asked.asker.connection.close()
        self.viewers.clear()
        self.asked.clear()

    # The comparison

    def _owe(self, *messages: Change | Hello) -> None:
        for viewer in self.viewers:
            viewer.owed += messages
        self.model.changes.clear()

    def check(self) -> None:
        """All that is due soon happens. All viewers get the same, in the order of the model."""
        self.model.pass_time(self.model.now + STEP_S)
        self._owe(*self.model.changes)
        for viewer in self.awake:
            viewer.check()
            for seq, message in viewer.numbered.items():
                assert self._numbered.setdefault(seq, message) == message
            viewer.numbered.clear()
        self._check_answers()
        self._check_pins()

    def _check_answers(self) -> None:
        for asked in self.asked:
            if not asked.answer.is_open:
                asked.answer.check(asked.outcome())
        self.asked = [asked for asked in self.asked if asked.answer.is_open]
        for viewer in self.viewers:
            assert not viewer.answers, f"to no command, or too early: {viewer.answers}"

    def _check_pins(self) -> None:
        found = ask(self.server, "GET", "/api/pins").json["pins"]
        assert [pin["name"] for pin in found] == [*self.pins]
        for pin in found:
            keys, model = self.pins[pin["name"]], self.model.pins[pin["name"]]
            expected = {key: keys.get(key) for key in ("gpio", "mode", "pulse", "max_on", "group")}
            expected |= {
                "label": keys.get("label", pin["name"]),
                "value": model.value,
                "since": None if model.since is None else pin["since"] or "a time",
                "writable": keys["mode"] != "input" and "control" not in keys,
                "error": None,
            }
            assert {key: pin[key] for key in expected} == expected
        status = ask(self.server, "GET", "/api/health").json["status"]
        assert status == ("ok" if self._is_valid else "degraded")
