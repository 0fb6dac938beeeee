"""One life of the real server, with the model of it beside it. Every method does the same to both,
and `agree` compares them. The caller decides what happens: a test, or chance. The model knows no
real time: what is short has happened before the next step, which waits for it; what is long never
happens."""

import json
import shutil
import signal
import time
from functools import partial
from typing import Any

from tests.support.life_configs import AS_INPUTS, AS_OUTPUTS, AT_REST, SHORT
from tests.support.life_server import Asked, Greeting, Journal, Pins, Request, Rig, Viewer
from tests.support.model import Answer, refused

STEP = 0.25
"""Seconds of the model between two steps: all that is short happens."""
MAY_SLEEP = 4.0
"""Seconds; a viewer that has not read for five may be closed."""

SCRIPT = "127.0.0.6"
"""The address of requests. Viewers have others."""

Command = tuple[str, str, Any]
"""A command: its type, its pin, and the value or the seconds."""


class Life:
    """`viewers` holds all who watch, first of them the witness, who always does; `pins` is the
    configuration that runs."""

    def __init__(self, rig: Rig, pins: Pins) -> None:
        self.rig = rig
        self.viewers: list[Viewer] = []
        self.asked: list[Asked] = []
        self.pins = AT_REST
        self.model = Journal(AT_REST)
        self._numbered: dict[int, dict[str, Any]] = {}
        self._count = 0
        self._was_killed = self._complains = False
        rig.ready()
        witness = self._join("127.0.0.2")
        for rest in (AS_INPUTS, AS_OUTPUTS, AT_REST):
            rig.pi.reload(rig.text(rest))
            witness.wait_for_hello()
        witness.forget()
        self.reload(pins)

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        self.close(is_well=kind is None)

    # Viewers

    @property
    def awake(self) -> list[Viewer]:
        return [viewer for viewer in self.viewers if not viewer.is_asleep]

    def _join(self, address: str, asleep: bool = False) -> Viewer:
        viewer = Viewer(self.rig.port, address, asleep)
        self.viewers.append(viewer)
        return viewer

    def come(self, asleep: bool) -> None:
        """Whoever comes late finds everything in hello."""
        self._count += 1
        self._join(f"127.0.0.{3 + self._count % 3}", asleep).greetings.append(self._greeting())

    def wake(self) -> None:
        for viewer in [viewer for viewer in self.viewers if viewer.is_asleep]:
            if time.monotonic() - viewer.slept_since > MAY_SLEEP:
                self.viewers.remove(viewer)
                viewer.vanish()
            else:
                viewer.wake()

    def go(self, viewer: Viewer, rudely: bool) -> None:
        self.viewers.remove(viewer)
        self.asked = [asked for asked in self.asked if asked.asker is not viewer]
        if rudely or viewer.is_asleep:
            viewer.vanish()
        else:
            viewer.say_goodbye()

    # Commands

    def outputs(self, *initial: str) -> list[str]:
        """All that can be switched, or those that start like this."""
        found = [(name, keys) for name, keys in self.pins.items() if keys["mode"] != "input"]
        return [name for name, keys in found if not initial or keys.get("initial") in initial]

    def _expect(self, act: str, name: str, value: Any, by: str) -> Answer:
        if "control" in self.pins[name]:  # which is nobody's
            return refused({"not-allowed"})
        if act == "set":
            return self.model.set(name, value, by)
        if act == "drive":
            return self.model.drive(name, value)
        pulses = act == "pulse"
        return self.model.pulse(name, value, by) if pulses else self.model.toggle(name, by)

    def say(self, viewer: Viewer, *commands: Command) -> None:
        """Commands of one viewer, all of them in one go."""
        texts = []
        for act, name, value in commands:
            self._count += 1
            message = {"type": act, "pin": name, "ref": self._count}
            if value is not None:
                message |= {"seconds" if act == "pulse" else "value": value}
            texts.append(json.dumps(message))
            answer = self._expect(act, name, value, viewer.address)
            self.asked.append(Asked(answer, partial(viewer.hear, self._count, name), viewer))
        viewer.say(*texts)

    def say_wrongly(self, viewer: Viewer, text: str, code: str, has_ref: bool) -> None:
        """Something that is no command, with a `ref` that can be read or not."""
        self._count += 1
        viewer.say(text % self._count if has_ref else text)
        assert viewer.hear(self._count if has_ref else None) == (None, code)

    def request(self, act: str, name: str, value: Any) -> None:
        """A command over HTTP."""
        if act == "set":
            fits, method, path, body = 0 <= value <= 1, "PUT", "", {"value": value}
        else:
            fits = value is None or 0.01 <= value <= 86400
            method, path, body = "POST", f"/{act}", {} if value is None else {"seconds": value}
        answer = self._expect(act, name, value, SCRIPT) if fits else refused({"bad-value"})
        request = self.rig.ask(SCRIPT, method, f"/api/pins/{name}{path}", json.dumps(body))
        self.asked.append(Asked(answer, request.hear, request))

    def request_wrongly(self, method: str, path: str, body: str | None, code: str) -> None:
        assert self.rig.ask(SCRIPT, method, path, body).hear() == (None, code)

    # Reloads, ends and beginnings

    def reload(self, pins: Pins) -> None:
        if any(keys.get("group_pause") == SHORT for keys in pins.values()):
            self.viewers[0].outlast(SHORT)  # what rests has rested, as the model says
        self.rig.pi.reload(self.rig.text(pins))
        self.pins, self._complains = pins, False
        self.model.reload(pins)
        self._greet()

    def reload_faulty(self, text: str | None) -> None:
        """Expect that the running configuration stays active and that all viewers get a notice."""
        self.spoil(text)
        self.rig.pi.reload()
        self._greet()

    def spoil(self, text: str | None) -> None:
        """The file becomes faulty, or vanishes."""
        self.rig.write(text)
        self._complains = True

    def _greet(self) -> None:
        """Everyone begins anew; only then the next thing may be asked."""
        for viewer in self.viewers:
            viewer.greetings.append(self._greeting())
        self.viewers[0].wait_for_hello()

    def _greeting(self) -> Greeting:
        """Return the content of a hello now."""
        return [*self.pins], self.model.values(), self._complains

    def restart(self, end: str) -> None:
        """A clean `stop`, a `kill` -9, or a clean stop and a power `cut`; and a new beginning."""
        self.wake()
        if end == "kill":
            self._kill()
        else:
            self._stop()
        if end == "cut" and not self._was_killed:  # else nobody knows what had been saved
            shutil.rmtree(self.rig.run)
            self.rig.run.mkdir()
            self.model.cut_power()
        self.model.begin_again(self.pins)
        self.model.pass_time(self.model.now + STEP)
        self.model.changes.clear()
        self._numbered.clear()
        self.rig.pi.start()
        witness = self._join("127.0.0.2")
        witness.wait_for(lambda: witness.current == self.model.values(), str(self.model.values()))
        witness.fence()
        witness.forget()

    def _kill(self) -> None:
        for viewer in self.viewers:
            viewer.fence()
        assert self.rig.pi.server.stop(signal.SIGKILL) == -signal.SIGKILL
        self._was_killed = True
        for viewer in self.viewers:
            viewer.wait_for_end()
            assert viewer.close_code is None
        self._leave()

    def _stop(self) -> None:
        """Whoever waits for an answer gets it before the goodbye."""
        assert self.rig.pi.server.stop() == 0
        self.model.stop()
        self.model.save()
        for viewer in self.viewers:
            viewer.wait_for_end()
            assert viewer.close_code == 1001
        self._hear_answers()
        assert not self.asked
        self._leave()

    def _leave(self) -> None:
        for viewer in self.viewers:
            viewer.vanish()
        for asked in self.asked:
            if isinstance(asked.asker, Request):
                asked.asker.close()
        self.viewers.clear()
        self.asked.clear()

    def close(self, is_well: bool) -> None:
        """A life that was well until now must end well."""
        try:
            if is_well:
                self.wake()
                self.agree()
                for viewer in self.viewers:
                    viewer.outlast(0)
                log = self.rig.pi.server.log
                assert "Traceback" not in log and "never retrieved" not in log, log
                self.rig.is_sound = True
        finally:
            self._leave()

    # The comparison

    def agree(self) -> None:
        """All that is short happens, and everyone has seen and heard the same, as it should be."""
        self.model.pass_time(self.model.now + STEP)
        for viewer in self.viewers:
            viewer.owed += self.model.changes
        self.model.changes.clear()
        for viewer in self.awake:
            viewer.check()
            for seq, message in viewer.take_numbered().items():
                assert self._numbered.setdefault(seq, message) == message
        self._hear_answers()
        self._check_pins()

    def _hear_answers(self) -> None:
        for asked in self.asked:
            if not asked.is_open:
                asked.check()
        self.asked = [asked for asked in self.asked if asked.is_open]
        for viewer in self.viewers:
            assert not viewer.answers, f"to nothing, or too early: {viewer.answers}"

    def _check_pins(self) -> None:
        found = self.rig.pi.get("/api/pins")["pins"]
        assert [pin["name"] for pin in found] == [*self.pins]
        for pin in found:
            keys, model = self.pins[pin["name"]], self.model.pins[pin["name"]]
            is_writable = keys["mode"] != "input" and "control" not in keys
            asked_for = {key: keys.get(key) for key in ("gpio", "mode", "pulse", "max_on", "group")}
            expected = asked_for | {
                "label": keys.get("label", pin["name"]),
                "value": model.value,
                "since": None if model.since is None else pin["since"] or "a time",
                "writable": is_writable,
                "error": None,
            }
            assert {key: pin[key] for key in expected} == expected
        status = self.rig.pi.get("/api/health")["status"]
        assert status == ("degraded" if self._complains else "ok")
