"""The real server and the model, side by side, with viewers on real sockets.

The model knows no real time. What is due SHORT_S after an event happens before the next event,
which waits for it; what is due LONG_S after an event never happens."""

import contextlib
import http.client
import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from raspi_server.errors import STATUS
from tests.support.model import Answer, Change, Model, Pins, rejected
from tests.support.reloadable import Pi
from tests.support.server import LIMIT, changing, check_end
from tests.support.websocket import CLOSE, PING, PONG, TEXT, WebSocketClient, masked

INTERVAL_S = 0.02
SHORT_S = 0.02
LONG_S = 3600.0
LONGEST_PAUSE_S = 60.0
"""The longest `group_pause` that config.yaml may have. No sequence of events lasts as long."""
STEP_S = 0.25
"""Time of the model between two events."""
MAX_SLEEP_S = 4.0
"""Time for which a viewer may read nothing. After five seconds the server may close it."""
HTTP_ADDRESS = "127.0.0.6"
"""The address of HTTP requests. Viewers have others."""

Command = tuple[str, str, Any]
"""A command: its type, its pin, and the value or the seconds."""
Greeting = tuple[dict[str, set[float | None]], bool]
"""An expected hello: the pins in order, each with its possible values, and true if there must be a
notice about the configuration."""
Outcome = tuple[float | None, str | None]
"""A value, or the code of an error."""


class Viewer:
    """A WebSocket client. Each message is checked against those before it: numbers grow, and a
    state has the values that the changes made. `owed` and `greetings` are the changes and hellos
    that it must receive until the next `check`."""

    def __init__(self, port: int, address: str, asleep: bool) -> None:
        self.address = address
        self.is_asleep = asleep
        self.joined_at = time.monotonic()
        self.owed: list[Change] = []
        self.greetings: list[Greeting] = []
        self.changes: list[dict[str, Any]] = []
        self.hellos: list[dict[str, Any]] = []
        self.numbered: dict[int, dict[str, Any]] = {}
        self.answers: dict[Any, dict[str, Any]] = {}
        self.answers_without_ref: list[dict[str, Any]] = []
        self.values: dict[str, float] = {}
        self.close_code: int | None = None
        self._state_time = 0.0
        self._seq = self._pings = self._pongs = 0
        self._client = WebSocketClient(port, 4096 if asleep else None, address)
        self._frames = self._client.frames()

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

    def read_until_end(self) -> None:
        for frame in self._frames:
            self._take(*frame)

    def read_hellos(self) -> None:
        """Read until it has as many as it must receive."""
        self.read_until(lambda: len(self.hellos) >= len(self.greetings), "hello")

    def read_all(self) -> None:
        """Read all that was sent before now."""
        self._pings += 1
        self._client.socket.sendall(masked(PING, str(self._pings).encode()))
        self.read_until(lambda: self._pongs == self._pings, "a pong")

    def outlast(self, seconds: float) -> None:
        """Read until a state that is so much later than now."""
        until = time.time() + seconds
        self.read_until(lambda: self._state_time > until, "a state")

    def outcome(self, ref: int | None, pin: str | None = None) -> Outcome:
        """Wait for the answer to `ref`, or for one without a ref."""
        if ref is None:
            self.read_until(lambda: bool(self.answers_without_ref), "an error")
            answer = self.answers_without_ref.pop(0)
        else:
            self.read_until(lambda: ref in self.answers, f"an answer to {ref}")
            answer = self.answers.pop(ref)
        if answer["type"] == "error":
            return None, answer["code"]
        assert answer["pin"] == pin
        return answer["value"], None

    def check(self) -> None:
        """It received what it must, and nothing else."""
        self.read_until(lambda: len(self.changes) >= len(self.owed), str(self.owed))
        self.read_all()
        received = [(change["pin"], change["value"]) for change in self.changes]
        assert received == [(change.pin, change.value) for change in self.owed]
        for change, owed in zip(self.changes, self.owed, strict=True):
            assert change.get("by") in owed.by, change
        for hello, expected in zip(self.hellos, self.greetings, strict=True):
            check_hello(hello, expected)
        assert not self.answers_without_ref
        self.forget()

    def forget(self) -> None:
        for each in (self.owed, self.changes, self.greetings, self.hellos):
            each.clear()

    def close(self) -> None:
        self._client.socket.sendall(masked(CLOSE, b"\x03\xe8"))
        self.read_until_end()
        assert self.close_code == 1000
        self._client.socket.close()

    def reset(self) -> None:
        self._client.reset()

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._take_message(json.loads(payload))
        elif opcode == PONG:
            self._pongs = int(payload)
        elif opcode == PING:
            self._client.socket.sendall(masked(PONG, payload))
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            with contextlib.suppress(OSError):
                self._client.socket.sendall(masked(CLOSE, payload[:2]))

    def _take_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if "seq" in message:
            assert message["seq"] > self._seq, (self._seq, message)
            self._seq = message["seq"]
            self.numbered[message["seq"]] = message
        if kind == "hello":
            self.values = dict(message["state"])
            self.hellos.append(message)
        elif kind == "state":
            assert message["pins"] == self.values, (message, self.values)
            self._state_time = message["time"]
        elif kind == "change":
            self.values[message["pin"]] = message["value"]
            self.changes.append(message)
        elif kind in ("result", "error"):
            if message.get("ref") is None:
                self.answers_without_ref.append(message)
            else:
                assert message["ref"] not in self.answers, message
                self.answers[message["ref"]] = message
        else:
            assert kind == "health", message


def check_hello(hello: dict[str, Any], expected: Greeting) -> None:
    values, has_notice = expected
    notices = [notice["code"] for notice in hello["server"]["notices"]]
    assert ("configuration" in notices) == has_notice, notices
    assert [(pin["name"], pin["value"]) for pin in hello["pins"]] == [*hello["state"].items()]
    assert [*hello["state"]] == [*values]
    wrong = {pin for pin, value in hello["state"].items() if value not in values[pin]}
    assert not wrong, (wrong, hello["state"], values)


class Request:
    """An HTTP request that was sent, and whose response is read later."""

    def __init__(self, port: int, method: str, path: str, body: str | None) -> None:
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, LIMIT, source_address=(HTTP_ADDRESS, 0)
        )
        self._connection.request(method, path, body)
        self.close = self._connection.close

    def outcome(self) -> Outcome:
        with contextlib.closing(self), self._connection.getresponse() as response:
            answer = json.load(response)
            if response.status == 200:
                return answer["value"], None
            code = answer["error"]["code"]
            assert response.status == STATUS[code]
            return None, code


@dataclass
class Asked:
    """A command that was sent, the answer it must get, and how to read the one it gets."""

    answer: Answer
    outcome: Callable[[], Outcome]
    asker: Viewer | Request

    @property
    def is_open(self) -> bool:
        return self.answer == Answer()

    def check(self) -> None:
        value, code = self.outcome()
        if code is None:
            assert (value, frozenset()) == (self.answer.value, self.answer.codes), self
        else:
            assert code in self.answer.codes, (code, self)


class ModelledServer:
    """The real server and the model. Each event happens to both, and `check` compares them.
    `viewers[0]` is always connected and always reads."""

    def __init__(self, folder: Path, port: int, pins: Pins) -> None:
        self.port = port
        self.pins = pins
        self.model = Model(pins, 1000.0)
        self.viewers: list[Viewer] = []
        self.asked: list[Asked] = []
        self._numbered: dict[int, dict[str, Any]] = {}
        self._count = 0
        self._was_killed = self._file_is_invalid = False
        self._run_folder = folder / "run"
        for each in (self._run_folder, folder / "state"):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir()
        # Viewers send more here than a person does.
        program = changing(max_messages_per_s=10_000, message_burst=10_000)
        folders = {
            "RUNTIME_DIRECTORY": str(self._run_folder),
            "STATE_DIRECTORY": str(folder / "state"),
        }
        self.pi = Pi(folder, self._text(pins), program=program, **folders)
        self._join_first()

    def _text(self, pins: Pins) -> str:
        """Return config.yaml."""
        head = f"port: {self.port}\naccess: {{control: everyone}}\ninterval: {INTERVAL_S}\npins:\n"
        return head + "".join(f"  {name}: {json.dumps(keys)}\n" for name, keys in pins.items())

    def _join_first(self) -> None:
        """After a start all that is due soon happens."""
        self.model.pass_time(self.model.now + STEP_S)
        self.model.changes.clear()
        first = self._join("127.0.0.2")
        first.read_until(lambda: first.values == self.model.values(), str(self.model.values()))
        first.read_all()
        first.forget()

    def __enter__(self) -> "ModelledServer":
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        self.close(is_well=kind is None)

    def close(self, is_well: bool) -> None:
        """Check all once more, if all was well until now, and stop the server."""
        try:
            if is_well:
                self.wake()
                self.check()
                self.viewers[0].outlast(0)
        finally:
            self._disconnect()
            if is_well:
                check_end(self.pi.server)
            else:
                self.pi.server.stop(signal.SIGKILL)

    # Viewers

    @property
    def awake(self) -> list[Viewer]:
        return [viewer for viewer in self.viewers if not viewer.is_asleep]

    def _join(self, address: str, asleep: bool = False) -> Viewer:
        viewer = Viewer(self.port, address, asleep)
        self.viewers.append(viewer)
        return viewer

    def join(self, asleep: bool) -> None:
        """A viewer that joins gets all values in its hello."""
        self._count += 1
        viewer = self._join(f"127.0.0.{3 + self._count % 3}", asleep)
        viewer.greetings.append(self._greeting())

    def wake(self) -> None:
        for number, viewer in enumerate(self.viewers):
            if viewer.is_asleep and time.monotonic() - viewer.joined_at > MAX_SLEEP_S:
                viewer.reset()
                viewer = self.viewers[number] = Viewer(self.port, viewer.address, False)
                viewer.greetings.append(self._greeting())
            viewer.is_asleep = False

    def leave(self, viewer: Viewer, with_reset: bool) -> None:
        self.viewers.remove(viewer)
        self.asked = [asked for asked in self.asked if asked.asker is not viewer]
        if with_reset or viewer.is_asleep:
            viewer.reset()
        else:
            viewer.close()

    # Commands

    def outputs(self, *initial: str) -> list[str]:
        """Return all outputs, or those with one of these `initial`."""
        found = [(name, keys) for name, keys in self.pins.items() if keys["mode"] != "input"]
        return [name for name, keys in found if not initial or keys.get("initial") in initial]

    def _expected(self, act: str, name: str, value: Any, by: str) -> Answer:
        if self.pins[name].get("control") == "nobody":
            return rejected("not-allowed")
        if act == "set":
            return self.model.set(name, value, by)
        if act == "drive":
            return self.model.drive(name, value)
        if act == "pulse":
            return self.model.pulse(name, value, by)
        return self.model.toggle(name, by)

    def send(self, viewer: Viewer, *commands: Command) -> None:
        """Send commands of one viewer, all in one write."""
        texts = []
        for act, name, value in commands:
            self._count += 1
            message = {"type": act, "pin": name, "ref": self._count}
            if value is not None:
                message |= {"seconds" if act == "pulse" else "value": value}
            texts.append(json.dumps(message))
            answer = self._expected(act, name, value, viewer.address)
            self.asked.append(Asked(answer, partial(viewer.outcome, self._count, name), viewer))
        viewer.send(*texts)

    def send_invalid(self, viewer: Viewer, text: str, code: str) -> None:
        """Send a text that is no command, with a ref where it has room for one."""
        self._count += 1
        ref = self._count if "%s" in text else None
        viewer.send(text % ref if ref else text)
        assert viewer.outcome(ref) == (None, code)

    def request(self, act: str, name: str, value: Any) -> None:
        """Send a command over HTTP."""
        if act == "set":
            fits, method, path, body = 0 <= value <= 1, "PUT", "", {"value": value}
        else:
            fits = value is None or 0.01 <= value <= 86400
            method, path, body = "POST", f"/{act}", {} if value is None else {"seconds": value}
        answer = rejected("bad-value")
        if fits:
            answer = self._expected(act, name, value, HTTP_ADDRESS)
        path = f"/api/pins/{name}{path}"
        request = Request(self.port, method, path, json.dumps(body))
        self.asked.append(Asked(answer, request.outcome, request))

    def request_invalid(self, method: str, path: str, body: str | None, code: str) -> None:
        assert Request(self.port, method, path, body).outcome() == (None, code)

    # Reloads, stops and starts

    def reload(self, pins: Pins) -> None:
        if any(keys.get("group_pause") == SHORT_S for keys in pins.values()):
            self.viewers[0].outlast(SHORT_S)  # the pause is over, as it is in the model
        self.pi.reload(self._text(pins))
        self.pins, self._file_is_invalid = pins, False
        self.model.reload(pins)
        self._expect_hellos()

    def reload_invalid(self, text: str | None) -> None:
        """The running configuration stays active, and all viewers get a notice."""
        self.make_invalid(text)
        self.pi.reload()
        self._expect_hellos()

    def make_invalid(self, text: str | None) -> None:
        self.pi.file.unlink(missing_ok=True)
        if text is not None:
            self.pi.file.write_text(text)
        self._file_is_invalid = True

    def _expect_hellos(self) -> None:
        for viewer in self.viewers:
            viewer.greetings.append(self._greeting())
        self.viewers[0].read_hellos()  # the reload has ended

    def _greeting(self) -> Greeting:
        values = {name: {value} for name, value in self.model.values().items()}
        for waiting in self.model.waiting.values():
            if waiting.ready_at <= self.model.now + STEP_S:
                values[waiting.output.name].add(1)  # a short pause may be over already
        return values, self._file_is_invalid

    def restart(self, end: str) -> None:
        """Stop, `kill` -9, or stop and lose the files of a power `cut`; then start again."""
        self.wake()
        if end == "kill":
            self._kill()
        else:
            self._stop()
        if end == "cut" and not self._was_killed:  # after a kill the saved state is unknown
            shutil.rmtree(self._run_folder)
            self._run_folder.mkdir()
            self.model.cut_power()
        self.model.release_lines()
        self.model.start(self.pins)
        self._numbered.clear()
        self.pi.start()
        self._join_first()

    def _kill(self) -> None:
        for viewer in self.viewers:
            viewer.read_all()
        assert self.pi.server.stop(signal.SIGKILL) == -signal.SIGKILL
        self._was_killed = True
        for viewer in self.viewers:
            viewer.read_until_end()
            assert viewer.close_code is None
        self._disconnect()

    def _stop(self) -> None:
        """Every command is answered before its connection closes."""
        self.pi.server.process.send_signal(signal.SIGTERM)
        self.model.stop()
        self.model.save()
        for viewer in self.viewers:
            viewer.read_until_end()
            assert viewer.close_code == 1001
        assert self.pi.server.stop() == 0
        self._check_answers()
        assert not self.asked
        self._disconnect()

    def _disconnect(self) -> None:
        for viewer in self.viewers:
            viewer.reset()
        for asked in self.asked:
            if isinstance(asked.asker, Request):
                asked.asker.close()
        self.viewers.clear()
        self.asked.clear()

    # The comparison

    def check(self) -> None:
        """All that is due soon happens. All viewers get the same, in the order of the model."""
        self.model.pass_time(self.model.now + STEP_S)
        for viewer in self.viewers:
            viewer.owed += self.model.changes
        self.model.changes.clear()
        for viewer in self.awake:
            viewer.check()
            for seq, message in viewer.numbered.items():
                assert self._numbered.setdefault(seq, message) == message
            viewer.numbered.clear()
        self._check_answers()
        self._check_pins()

    def _check_answers(self) -> None:
        for asked in self.asked:
            if not asked.is_open:
                asked.check()
        self.asked = [asked for asked in self.asked if asked.is_open]
        for viewer in self.viewers:
            assert not viewer.answers, f"to no command, or too early: {viewer.answers}"

    def _check_pins(self) -> None:
        found = self.pi.get("/api/pins")["pins"]
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
        status = self.pi.get("/api/health")["status"]
        assert status == ("degraded" if self._file_is_invalid else "ok")
