"""Operations of the tests on the virtual Pi: run the service there as systemd does, read its lines
from the far end and the kernel's record of them, and send it requests."""

import io
import json
import re
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from tests.gpio.virtual_pi.machine import Machine
from tests.support.server import LIMIT, Server
from tests.web.test_websocket import Browser

CHECKOUT = Path(__file__).parents[3]
CONFIG = "/etc/raspi-server/config.yaml"
EVERYONE = "access: {control: everyone}\n"
_TRACING = "/sys/kernel/tracing"
_LINES = "/run/gpio-sim/sim_gpio"


class Event(NamedTuple):
    """An action of the kernel on a line: `in`, `out`, `set 0`, `set 1`; or with None our own mark.
    `moment` is of the guest's monotonic clock, in seconds."""

    moment: float
    gpio: int | None
    what: str


class Edge(NamedTuple):
    """An event at the far end of a line, and the two moments around it (Unix time)."""

    gpio: int
    level: int
    before: float
    after: float


class Record:
    """All events from one moment to another, in order. The record is the kernel's own: nothing
    that happens to a line, however short, is missing."""

    def __init__(self, pi: "Pi") -> None:
        self._pi = pi
        self.events: list[Event] = []

    def mark(self, text: str) -> None:
        """Puts a mark between what was and what comes."""
        self._pi.write(f"{_TRACING}/trace_marker", text)

    def of(self, gpio: int) -> list[str]:
        """Return the actions on a line, with marks in between."""
        return [event.what for event in self.events if event.gpio in (gpio, None)]

    def moments(self, gpio: int) -> list[float]:
        return [event.moment for event in self.events if event.gpio == gpio]


class Visitor(Browser):
    """A browser that does not wait for ever: with a state every interval, a message always comes,
    but perhaps not the one that is waited for."""

    def __init__(self, pi: "Pi") -> None:
        super().__init__(cast(Server, pi))
        self._until = time.monotonic() + 2 * LIMIT

    def read(self) -> dict[str, Any]:
        assert time.monotonic() < self._until, "what was waited for never came"
        return super().read()


class Pi:
    """`url` and `ws_url` lead to the server."""

    def __init__(self, machine: Machine) -> None:
        self._agent = machine.agent
        self.url = f"http://127.0.0.1:{machine.server_port}"
        self.ws_url = self.url.replace("http", "ws") + "/ws"
        self.run(f"date -s @{time.time()}")
        self.run(
            f"cd {_TRACING}; echo 0 >tracing_on; echo mono >trace_clock; echo 8192 >buffer_size_kb"
        )
        self._first_line = int(self.run("cat /sys/class/gpio/gpiochip*/base"))
        self._install("/opt/raspi-server/1")
        self.write("/usr/local/lib/drive.py", _read("drive.py"))
        self.write("/etc/systemd/system/raspi-server.service", _read("raspi-server.service"))
        self.run("systemctl daemon-reload")

    def begin(self) -> None:
        """As after a boot: no service, nothing remembered, no line driven."""
        said = self.run(
            "systemctl stop raspi-server; systemctl reset-failed raspi-server 2>/dev/null;"
            " rm -rf /run/raspi-server /var/lib/raspi-server /tmp/*;"
            " ln -sfn 1 /opt/raspi-server/current;"
            " echo 0 >/sys/module/gpio_sim/parameters/strict; date +%s.%N"
        )
        self._began = float(said)
        self._agent.reset_lines()

    def attempt(self, command: str) -> tuple[int, str]:
        """Exit status and output of a shell command."""
        return self._agent.run(command)

    def run(self, command: str) -> str:
        """The output of a shell command, which must succeed."""
        status, output = self.attempt(command)
        assert status == 0, f"{command}: {status}\n{output}"
        return output

    def read(self, file: str) -> str:
        return self._agent.read(file)

    def write(self, file: str, text: str) -> None:
        self._agent.write(file, text)

    def upgrade(self) -> None:
        """Puts another copy of the code in the place of the one that runs."""
        self.run("cd /opt/raspi-server; cp -aT 1 2; ln -sfn 2 current")

    def _install(self, folder: str) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in ("raspi_server", "www"):
                tar.add(CHECKOUT / name, name, filter=_without_caches)
        self.run(f"mkdir -p {folder}")
        self._agent.unpack(folder, archive.getvalue())
        self.run(f"chown -R root: {folder}; python3 -m compileall -q {folder}/raspi_server")

    def configure(self, pins: str, others: str = EVERYONE) -> None:
        """Writes config.yaml: the YAML text of the pins, and other keys."""
        self.write(CONFIG, f"{others}pins:\n{pins}")

    def start(self, pins: str | None = None, others: str = EVERYONE) -> None:
        """Returns when the service is ready."""
        if pins is not None:
            self.configure(pins, others)
        self._systemctl("start")

    @contextmanager
    def program(self, file: str) -> Iterator[None]:
        """Inside, the service runs a Python program of ours in the place of the package."""
        folder = "/run/systemd/system/raspi-server.service.d"
        command = f"/usr/bin/python3 {file} run --config {CONFIG}"
        self.run(f"mkdir -p {folder}")
        self.write(f"{folder}/test.conf", f"[Service]\nExecStart=\nExecStart={command}\n")
        self.run("systemctl daemon-reload")
        try:
            yield
        finally:
            self.run(f"rm -r {folder}; systemctl daemon-reload")

    def stop(self) -> None:
        self._systemctl("stop")

    def restart(self) -> None:
        self._systemctl("restart")

    def reload(self, pins: str) -> None:
        """Returns when the service has taken the configuration."""
        self.configure(pins)
        with self.browser() as browser:
            browser.read_until("hello")
            self._systemctl("reload")
            browser.read_until("hello")

    def _systemctl(self, verb: str) -> None:
        status, output = self.attempt(f"systemctl {verb} raspi-server")
        assert status == 0, f"{output}\n{self.journal}"

    def kill(self, signal: str = "KILL") -> None:
        """Ends the service by a signal; returns when all is over."""
        self.signal(signal)
        self.wait_until_failed()

    def signal(self, signal: str) -> None:
        self.run(f"systemctl kill --kill-whom=main --signal={signal} raspi-server")

    def wait_until_failed(self) -> None:
        """Until also what runs after a failure is over."""
        group = "/sys/fs/cgroup/system.slice/raspi-server.service"
        self.run(f"timeout {LIMIT} sh -c 'while [ -e {group} ]; do sleep 0.1; done'")
        self.wait_for(lambda: self.state == "failed", "the service has failed")

    @property
    def state(self) -> str:
        """`active`, `failed`, `inactive`, `deactivating`, …"""
        return self.attempt("systemctl is-active raspi-server")[1].strip()

    @property
    def journal(self) -> str:
        """Return the log of the service in this test."""
        return self.run(f"journalctl -o cat -u raspi-server --since @{self._began:.3f}")

    def wait_for(self, fact: Callable[[], bool], what: str) -> None:
        """Asks again and again until it is so."""
        until = time.monotonic() + LIMIT
        while not fact():
            assert time.monotonic() < until, f"it never came true: {what}\n{self.journal}"
            time.sleep(0.05)

    def pull(self, gpio: int, up: bool) -> None:
        """Drive the far end of a line, as a button does."""
        self.write(f"{_LINES}{gpio}/pull", "pull-up" if up else "pull-down")

    def pulled(self, gpio: int) -> str:
        """Return the pull of a line: `pull-up` or `pull-down`."""
        return self.read(f"{_LINES}{gpio}/pull").strip()

    def drive(self, steps: list[tuple[int, int]], gap: float = 0) -> list[Edge]:
        """Gives the far ends of lines, one after the other, a level; `gap` in seconds."""
        words = " ".join(f"{gpio}:{level}" for gpio, level in steps)
        done = json.loads(self.run(f"python3 /usr/local/lib/drive.py {gap} {words}"))
        return [Edge(*step) for step in done]

    def level(self, gpio: int) -> int:
        """Return the level at the far end of a line."""
        return int(self.read(f"{_LINES}{gpio}/value"))

    def browser(self) -> Visitor:
        return Visitor(self)

    def get(self, path: str) -> tuple[int, Any]:
        """HTTP status and the JSON behind it."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=LIMIT) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def set(self, pin: str, value: float) -> None:
        assert self._ask("PUT", pin, {"value": value}) == value

    def pulse(self, pin: str, seconds: float) -> None:
        assert self._ask("POST", f"{pin}/pulse", {"seconds": seconds}) == 1

    def _ask(self, method: str, path: str, body: dict[str, float]) -> Any:
        """Send a command; return the pin's value after it."""
        url, data = f"{self.url}/api/pins/{path}", json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return json.load(answer)["value"]

    @contextmanager
    def record(self) -> Iterator[Record]:
        """The kernel's record of what happens inside; complete at the end."""
        record = Record(self)
        self.write(f"{_TRACING}/trace", "")
        self.write(f"{_TRACING}/tracing_on", "1")
        yield record
        self.write(f"{_TRACING}/tracing_on", "0")
        record.events = list(self._events(self.read(f"{_TRACING}/trace")))

    def _events(self, trace: str) -> Iterator[Event]:
        counts = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)", trace)
        assert counts and counts[1] == counts[2], "the kernel's record overran"
        known = re.findall(r" (\d+\.\d+): (gpio_\w+|tracing_mark_write): (.*)", trace)
        for moment, kind, text in known:
            if kind == "tracing_mark_write":
                yield Event(float(moment), None, text)
                continue
            line, what = text.split(maxsplit=1)
            if not what.startswith("get"):
                # A direction carries the kernel's error.
                what = what.removesuffix(" (0)")
                yield Event(float(moment), int(line) - self._first_line, what)


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
