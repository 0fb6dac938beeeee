"""The virtual Pi for tests: its service, the far ends of its lines, the kernel's trace of them."""

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.gpio.virtual_pi.machine import HERE, Agent, Machine
from tests.support.http import ask
from tests.support.server import LIMIT
from tests.support.websocket import WebSocketClient

CHECKOUT = HERE.parents[2]
CONFIG = "/etc/raspi-server/config.yaml"
UNIT = "/etc/systemd/system/raspi-server.service"
CODE = "/opt/raspi-server/current"
STARTUP = f"{CODE}/sitecustomize.py"
"""Code that Python runs before the service, where a test writes it."""
EVERYONE = "access: {control: everyone}\n"
_TRACING = "/sys/kernel/tracing"
_LINES = "/run/gpio-sim/sim_gpio"


class Event(NamedTuple):
    """An action of the kernel on a line (`in`, `out`, `set 0`, `set 1`), at a moment in seconds of
    its monotonic clock; or a mark of the test, without a `gpio`."""

    moment: float
    gpio: int | None
    what: str


class Edge(NamedTuple):
    """A change at the far end of a line, and the Unix times before and after it."""

    gpio: int
    level: int
    before: float
    after: float


class Record:
    """All events of a time, in order. The kernel traces them, so the shortest pulse is there."""

    def __init__(self, pi: "Pi") -> None:
        self._pi = pi
        self.events: list[Event] = []

    def read(self) -> bool:
        """Read the events so far, and return True."""
        trace = self._pi.read(f"{_TRACING}/trace")
        counts = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)", trace)
        assert counts and counts[1] == counts[2], "the kernel's trace has lost events"
        self.events = []
        known = re.findall(r" (\d+\.\d+): (gpio_\w+|tracing_mark_write): (.*)", trace)
        for moment, kind, text in known:
            if kind == "tracing_mark_write":
                self.events.append(Event(float(moment), None, text))
                continue
            line, what = text.split(maxsplit=1)
            if not what.startswith("get"):
                gpio = int(line) - self._pi.first_line
                # A direction carries the kernel's error.
                self.events.append(Event(float(moment), gpio, what.removesuffix(" (0)")))
        return True

    def mark(self, text: str) -> None:
        """Add a mark between the events before and after it."""
        self._pi.write(f"{_TRACING}/trace_marker", text)

    def of(self, gpio: int) -> list[str]:
        """Return the actions on a line, with marks in between."""
        return [event.what for event in self.events if event.gpio in (gpio, None)]

    def between(self, gpio: int, mark: str, end: str) -> list[str]:
        """Return the actions on a line between two marks."""
        found = self.of(gpio)
        return found[found.index(mark) + 1 : found.index(end)]


class Pi(Agent):
    """The virtual Pi, with this checkout installed as its service."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.agent_port)
        self.port = machine.server_port
        self._url = f"http://127.0.0.1:{self.port}"
        self.run(f"date -s @{time.time()}")
        self.run(
            f"cd {_TRACING}; echo 0 >tracing_on; echo mono >trace_clock; echo 8192 >buffer_size_kb"
        )
        self.first_line = int(self.run("cat /sys/class/gpio/gpiochip*/base"))
        self._install()
        self.write("/usr/local/lib/drive.py", (HERE / "drive.py").read_text())
        self.write(UNIT, (HERE / "raspi-server.service").read_text())
        self.run("systemctl daemon-reload")

    def reset(self) -> None:
        """Stop the service, delete its files, and release all lines, as after a boot."""
        began = self.run(
            "systemctl stop raspi-server; systemctl reset-failed raspi-server 2>/dev/null;"
            f" rm -rf /run/raspi-server /var/lib/raspi-server /tmp/* {STARTUP};"
            " echo 0 >/sys/module/gpio_sim/parameters/strict; date +%s.%N"
        )
        self._began = float(began)
        self._agent.reset_lines()

    def run(self, command: str) -> str:
        """Run a shell command, which must succeed; return its output."""
        status, output = self.attempt(command)
        assert status == 0, f"{command}: {status}\n{output}"
        return output

    def _install(self) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in ("raspi_server", "www"):
                tar.add(
                    CHECKOUT / name, name, filter=lambda m: None if "__pycache__" in m.name else m
                )
        self.run(f"mkdir -p {CODE}")
        self.unpack(CODE, archive.getvalue())
        self.run(f"chown -R root: {CODE}; python3 -m compileall -q {CODE}/raspi_server")

    def start(self, pins: str, others: str = EVERYONE) -> None:
        """Start the service with the YAML text of its pins, and wait until it is ready."""
        self.write(CONFIG, f"{others}pins:\n{pins}")
        self.systemctl("start")

    def reload(self, pins: str, others: str = EVERYONE) -> None:
        """Reload the service, and wait until it has the new configuration."""
        self.write(CONFIG, f"{others}pins:\n{pins}")
        with self.viewer() as viewer:
            viewer.receive("hello")
            self.systemctl("reload")
            viewer.receive("hello")

    def systemctl(self, verb: str) -> None:
        status, output = self.attempt(f"systemctl {verb} raspi-server")
        assert status == 0, f"{output}\n{self.journal}"

    def kill(self) -> None:
        """Kill the service, and wait until the command after its failure has ended, too."""
        self.signal("KILL")
        group = "/sys/fs/cgroup/system.slice/raspi-server.service"
        self.run(f"timeout {3 * LIMIT} sh -c 'while [ -e {group} ]; do sleep 0.1; done'")
        self.wait_for(lambda: self.state == "failed", "the service has failed")

    def signal(self, signal: str) -> None:
        self.run(f"systemctl kill --kill-whom=main --signal={signal} raspi-server")

    @property
    def state(self) -> str:
        """The state of the unit, such as `active`, `failed`, `inactive`, `deactivating`."""
        return self.attempt("systemctl is-active raspi-server")[1].strip()

    @property
    def journal(self) -> str:
        """The log of the service in this test."""
        return self.run(f"journalctl -o cat -u raspi-server --since @{self._began:.3f}")

    def wait_for(self, fact: Callable[[], bool], what: str) -> None:
        """Wait until `fact` is true; `what` names it in the error."""
        until = time.monotonic() + 3 * LIMIT  # a translated guest is slow
        while not fact():
            assert time.monotonic() < until, f"it never came true: {what}\n{self.journal}"
            time.sleep(0.05)

    def drive(self, steps: list[tuple[int, int]], gap: float = 0) -> list[Edge]:
        """Drive the far ends of lines to levels, with `gap` seconds between two steps."""
        words = " ".join(f"{gpio}:{level}" for gpio, level in steps)
        done = json.loads(self.run(f"python3 /usr/local/lib/drive.py {gap} {words}"))
        return [Edge(*step) for step in done]

    def level(self, gpio: int) -> int:
        """Return the level at the far end of a line."""
        return int(self.read(f"{_LINES}{gpio}/value"))

    def viewer(self) -> WebSocketClient:
        return WebSocketClient(self.port)

    def get(self, path: str) -> tuple[int, Any]:
        """Return the HTTP status of a path, and its JSON."""
        response = ask(self._url, "GET", path)
        return response.status, response.json

    @property
    def pins(self) -> dict[str, dict[str, Any]]:
        """All pins by name, as `/api/pins` has them."""
        return {pin["name"]: pin for pin in self.get("/api/pins")[1]["pins"]}

    def set(self, pin: str, value: float) -> None:
        response = ask(self._url, "PUT", f"/api/pins/{pin}", {"value": value})
        assert response.json["value"] == value

    @contextmanager
    def record(self) -> Iterator[Record]:
        """Record all actions on lines inside the block. The record is complete after it."""
        record = Record(self)
        self.write(f"{_TRACING}/trace", "")
        self.write(f"{_TRACING}/tracing_on", "1")
        yield record
        self.write(f"{_TRACING}/tracing_on", "0")
        record.read()
