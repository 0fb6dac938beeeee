"""Reports to systemd and the log about a loop that is stuck, a process that is stopped, and starts
and stops that take long. The real server, with one handler or one pin that hangs on demand."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import LIMIT, Server
from tests.system.test_systemd import Systemd, environment
from tests.web.test_websocket import Browser

WATCHDOG = 2.4
"""Seconds within which these tests' systemd wants to hear of the server."""
HANG = 2.8
"""Seconds of a hang: longer than the watchdog would wait."""
SLACK = 0.5
"""Seconds by which this machine may be late."""

CONFIG = """
access: {control: everyone}
interval: 0.05
pins:
  lamp: {gpio: 17, mode: output}
  door: {gpio: 4, mode: input}
"""

DRIVER = """
import os, re, sys, time
from raspi_server.cli.main import main

def say(word):
    sys.stderr.write(f"{word} at {time.monotonic()}\\n")
    sys.stderr.flush()

def hanging(hang):
    def hangs(*arguments):
        say("hanging")
        hang()
        say("free")
    return hangs
"""

HEALTH_HANGS = """
from raspi_server.web.api import Health
hangs, well = hanging(hang), Health.get
def get(self):
    if self.get_query_argument("hang", None):
        hangs()
        self.finish("{}")
    else:
        well(self)
Health.get = get
"""

BUSY = """
def hang():
    end = time.monotonic() + {seconds}
    while time.monotonic() < end:
        pass
"""

SLEEPING = """
def hang():
    time.sleep({seconds})
"""

EXPRESSION = """
def takes(size):
    began = time.thread_time()
    re.search("a{{1000}}b", "a" * size)
    return time.thread_time() - began
size = 2000
while (seconds := takes(size)) < 0.05:
    size *= 2
size = int(size * {seconds} / seconds)
def hang():
    takes(size)
"""

HOLDING = """
import ctypes
c = ctypes.PyDLL(None)  # keeps the interpreter locked
def hang():
    c.usleep(ctypes.c_uint(int({seconds} * 1e6)))
"""

LAMP_HANGS = """
from raspi_server.gpio.backend import SimulatedPin
hangs, well = hanging(hang), SimulatedPin._change_state
def change(self, value):
    if str(self) == "GPIO17" and {when}:
        hangs()
    return well(self, value)
SimulatedPin._change_state = change
"""

MESSAGE_HANGS = """
from raspi_server.web import websocket
hangs, well = hanging(hang), websocket.decode_command
def decode(text):
    hangs()
    return well(text)
websocket.decode_command = decode
"""

WHILE = """
def when(path):
    return os.path.exists(path)

def wait_for(path):
    while not when(path):
        time.sleep(0.01)
"""

GO = "sys.exit(main())\n"


def go(**limits: float) -> str:
    """Return the same with some of `Limits`."""
    return f"from raspi_server.limits import Limits\nsys.exit(main(limits=Limits(**{limits!r})))\n"


class PunctualSystemd(Systemd):
    """Notes when each message came."""

    def __init__(self, address: str) -> None:
        self.moments: list[tuple[float, str]] = []
        super().__init__(address)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(4096):
                self.moments.append((time.monotonic(), data.decode("ascii")))
                self._said.put(data)

    def wait_for(self, start: str, having: str = "") -> str:
        """The next message that begins so and has that in it."""
        limit = time.monotonic() + LIMIT
        while not ((said := self.next()).startswith(start) and having in said):
            assert time.monotonic() < limit, f"never said: {start}…{having}"
        return said

    def heard_between(self, one: float, other: float) -> list[str]:
        return [said for moment, said in list(self.moments) if one < moment < other]

    def last_before(self, moment: float) -> float:
        """When WATCHDOG came last before a moment."""
        return max(when for when, said in self.moments if said == "WATCHDOG=1" and when <= moment)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[PunctualSystemd]:
    systemd = PunctualSystemd(str(tmp_path / "notify"))
    yield systemd
    systemd.close()


def watched(systemd: Systemd) -> dict[str, str]:
    """The environment in which systemd wants to hear of the server."""
    return environment(systemd, WATCHDOG_USEC=str(int(WATCHDOG * 1e6)))


@contextlib.contextmanager
def asking(url: str, body: bytes | None = None) -> Iterator[None]:
    """Meanwhile, somebody asks and waits."""
    request = urllib.request.Request(url, body, method="PUT" if body else "GET")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(urllib.request.urlopen, request, timeout=LIMIT)
        yield
        with answer.result() as answered:
            assert answered.status == 200


def moment_of(server: Server, word: str, again: bool = False) -> float:
    return float(server.wait_for_log(rf"^{word} at (\S+)", again)[1])


def health(server: Server) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(server.url + "/api/health", timeout=LIMIT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


STACK = "stack of thread MainThread:"
WHILE_IT_HANGS = "it is in"
AFTER_IT_HUNG = "C code held the interpreter, or .*; the loop is in"


@pytest.mark.parametrize(
    ("hang", "told"),
    [
        (BUSY, WHILE_IT_HANGS),
        (SLEEPING, WHILE_IT_HANGS),
        (EXPRESSION, AFTER_IT_HUNG),
        (HOLDING, AFTER_IT_HUNG),
    ],
    ids=["python", "sleep", "expression", "holding"],
)
def test_a_request_that_hangs(
    start_server: Callable[..., Server], systemd: PunctualSystemd, hang: str, told: str
) -> None:
    """While a request hangs, systemd hears no WATCHDOG, and every thread's stack stands in the log,
    once, with the request's name: before systemd would strike, or where C code holds the
    interpreter as soon as it returns; then all goes on, until the next."""
    driver = DRIVER + hang.format(seconds=HANG) + HEALTH_HANGS + GO
    server = start_server(CONFIG, program=("-c", driver), env=watched(systemd))
    systemd.wait_for("WATCHDOG=1")
    for again in (False, True):
        systemd.heard()
        with Browser(server), asking(f"{server.url}/api/health?hang=1"):
            hanging = moment_of(server, "hanging", again)
            if told == WHILE_IT_HANGS:
                server.wait_for_log(STACK, again)
                moment = time.monotonic()
                assert moment - systemd.last_before(hanging + SLACK) < WATCHDOG + SLACK / 2
            free = moment_of(server, "free", again)
        systemd.heard()
        systemd.wait_for("WATCHDOG=1")
        assert systemd.heard_between(hanging + SLACK, free) == []
        server.wait_for_log(f"{told} .*, for GET /api/health$", again)
        server.wait_for_log(STACK, again)
        server.wait_for_log('File "<string>", line .* in (takes|hang)', again)
        server.wait_for_log("stack of thread heartbeat:", again)
        if told == WHILE_IT_HANGS:
            server.wait_for_log("the loop answers again", again)
    assert "broadcast has stopped" not in str(systemd.moments)  # it was held up, too
    assert server.log.count(STACK) == 2


def test_stacks_as_the_watchdog_strikes(
    start_server: Callable[..., Server], systemd: PunctualSystemd
) -> None:
    """While C code holds the interpreter, the signal that systemd ends us with writes every
    thread's stack."""
    driver = DRIVER + HOLDING.format(seconds=LIMIT) + HEALTH_HANGS + GO
    server = start_server(CONFIG, program=("-c", driver), env=watched(systemd))
    systemd.wait_for("WATCHDOG=1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as caller:
        caller.sendall(b"GET /api/health?hang=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        moment_of(server, "hanging")
        wait_for_state(server.process.pid, "S")
        # WatchdogSignal's default, systemd.service(5)
        assert server.stop(signal.SIGABRT) == -signal.SIGABRT
    server.wait_for_log("^Fatal Python error: Aborted")
    server.wait_for_log('File "<string>", line .* in hang$')
    server.wait_for_log("systemd.py")


def test_a_message_that_hangs(
    start_server: Callable[..., Server], systemd: PunctualSystemd
) -> None:
    """A message over a WebSocket that hangs is named with its socket."""
    driver = DRIVER + SLEEPING.format(seconds=2) + MESSAGE_HANGS + GO
    server = start_server(CONFIG, program=("-c", driver), env=watched(systemd))
    with Browser(server) as browser:
        browser.send(type="toggle", pin="lamp", ref=1)
        server.wait_for_log("it is in .*, for the WebSocket of 127.0.0.1$")
        assert browser.read_until("result", ref=1)["value"] == 1


@pytest.mark.parametrize(
    "when", ["value", "self.state and not value"], ids=["by a command", "by its own timer"]
)
def test_a_pin_that_hangs(
    start_server: Callable[..., Server], systemd: PunctualSystemd, when: str
) -> None:
    """A line that does not come back is named with its pin, whoever switches it."""
    driver = DRIVER + SLEEPING.format(seconds=2) + LAMP_HANGS.format(when=when) + GO
    config = CONFIG.replace("mode: output", "mode: output, pulse: 0.05")
    server = start_server(config, program=("-c", driver), env=watched(systemd))
    with asking(f"{server.url}/api/pins/lamp", b'{"value":1}'):
        server.wait_for_log(r"it is in .*, for lamp \(GPIO17\)$")
    server.wait_for_log(r"lamp \(GPIO17\): on, by 127\.0\.0\.1")
    server.wait_for_log(r"lamp \(GPIO17\): off, by pulse")


def test_stuck_off_systemd(start_server: Callable[..., Server]) -> None:
    """Off systemd, too, a hang stands in the log, and nothing else is said there or to anyone."""
    driver = DRIVER + SLEEPING.format(seconds=4) + HEALTH_HANGS + go(stuck_after_s=0.3)
    variables = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    server = start_server(CONFIG, program=("-c", driver), env={**variables, "WATCHDOG_USEC": "1"})
    assert datagram_sockets(server.process.pid) == 0
    with asking(f"{server.url}/api/health?hang=1"):
        server.wait_for_log("not answered for 0.3 s; it is in .*, for GET /api/health$")
    server.wait_for_log("the loop answers again")
    assert "systemd did not" not in server.log and "WATCHDOG" not in server.log


def test_on_systemd_there_is_one_socket(
    start_server: Callable[..., Server], systemd: PunctualSystemd
) -> None:
    """Under systemd exactly one socket is used to talk to it."""
    server = start_server(CONFIG, env=environment(systemd))
    assert datagram_sockets(server.process.pid) == 1


def datagram_sockets(pid: int) -> int:
    """Return the number of AF_UNIX datagram sockets of a process."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[4] == "0002":
            found.add(f"socket:[{fields[6]}]")
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    return sum(1 for each in descriptors if os.readlink(each) in found)


def test_stopped_and_continued(
    start_server: Callable[..., Server], systemd: PunctualSystemd
) -> None:
    """A process that is stopped says nothing; continued it goes on as if nothing had been, with a
    word about it in the log, and what was asked of it meanwhile is done."""
    server = start_server(CONFIG, env=watched(systemd))
    with Browser(server) as browser:
        systemd.wait_for("STATUS=", having="; 1 viewer;")
        before = browser.read_until("state")
        server.process.send_signal(signal.SIGSTOP)
        wait_for_state(server.process.pid, "T")
        systemd.heard()
        browser.send(type="set", pin="lamp", value=1, ref="meanwhile")
        threading.Event().wait(HANG)  # longer than a broadcast may be missing
        assert systemd.heard() == []
        server.process.send_signal(signal.SIGCONT)
        assert [systemd.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
        assert browser.read_until("result", ref="meanwhile")["value"] == 1
        after = browser.read_until("state")
        assert after["seq"] > before["seq"] and after["pins"]["lamp"] == 1
        assert abs(after["time"] - time.time()) < LIMIT
    status, told = health(server)
    assert (status, told["status"], told["reasons"]) == (200, "ok", [])
    assert "has not answered" not in server.log
    server.wait_for_log("nothing here ran for .*: C code held the interpreter, or the process")


def wait_for_state(pid: int, state: str) -> None:
    limit = time.monotonic() + LIMIT
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        assert time.monotonic() < limit
        threading.Event().wait(0.01)


def test_a_gpio_thread_that_ends(
    start_server: Callable[..., Server], systemd: PunctualSystemd, tmp_path: Path
) -> None:
    """When no edge can arrive any more, systemd hears no WATCHDOG but why, and so does who asks."""
    gone = tmp_path / "gone"
    fails = f"""
from raspi_server.gpio.backend import SimulatedFactory
SimulatedFactory.is_listening = property(lambda _: not when({str(gone)!r}))
"""
    server = start_server(
        CONFIG,
        program=("-c", DRIVER + WHILE + fails + GO),
        env=environment(systemd, WATCHDOG_USEC="200000"),
    )
    systemd.wait_for("WATCHDOG=1")
    gone.touch()
    check_that_it_fails(server, systemd, "the GPIO thread has ended: no edge arrives any more")
    gone.unlink()
    assert systemd.next().startswith("STATUS=http on port")
    assert systemd.next() == "WATCHDOG=1"
    assert health(server)[0] == 200


def test_a_failure_is_no_secret(start_server: Callable[..., Server]) -> None:
    """Where viewing needs a code, a monitor without one hears 503, and no reason."""
    fails = """
from raspi_server.gpio.backend import SimulatedFactory
SimulatedFactory.is_listening = False
"""
    server = start_server("access: {view: code}\n", program=("-c", DRIVER + fails + GO))
    assert health(server) == (503, {"status": "failing"})


def test_a_broadcast_that_stops(
    start_server: Callable[..., Server], systemd: PunctualSystemd, tmp_path: Path
) -> None:
    """When somebody watches and is shown nothing, systemd hears no WATCHDOG but why, and so does
    who asks."""
    gone = tmp_path / "gone"
    fails = f"""
from raspi_server.broadcaster import Broadcaster
tick = Broadcaster._tick
Broadcaster._tick = lambda self: None if when({str(gone)!r}) else tick(self)
"""
    server = start_server(
        CONFIG,
        program=("-c", DRIVER + WHILE + fails + GO),
        env=environment(systemd, WATCHDOG_USEC="200000"),
    )
    with Browser(server) as browser:
        browser.read_until("state")
        systemd.wait_for("STATUS=", having="; 1 viewer;")
        gone.touch()
        check_that_it_fails(server, systemd, "the broadcast has stopped")
        gone.unlink()
        assert systemd.next().startswith("STATUS=http on port")
        assert systemd.next() == "WATCHDOG=1"


def check_that_it_fails(server: Server, systemd: Systemd, reason: str) -> None:
    assert systemd.next_but("WATCHDOG=1").startswith(f"STATUS={reason}; http on port")
    threading.Event().wait(0.6)  # three times as long as systemd would wait
    assert systemd.heard() == []
    status, answer = health(server)
    assert (status, answer["status"]) == (503, "failing")
    assert answer["reasons"][0] == reason


def test_the_status_is_for_people(
    start_server: Callable[..., Server], systemd: PunctualSystemd
) -> None:
    """The status tells viewers and pins in error, each change of them once."""
    fails = """
from gpiozero.exc import PinError
from raspi_server.gpio.backend import SimulatedFactory
well = SimulatedFactory.pin
def pin(self, name):
    if name == 17:
        raise PinError("GPIO17 is in use by w1")
    return well(self, name)
SimulatedFactory.pin = pin
"""
    server = start_server(
        CONFIG,
        program=("-c", DRIVER + fails + GO),
        env=environment(systemd, WATCHDOG_USEC="100000"),
    )
    status = (
        f"STATUS=http on port {server.port}; 2 pins; 1 of them unavailable; {{}};"
        " The pins are simulated: nothing real is read or switched"
    )
    assert systemd.wait_for("STATUS=") == status.format("0 viewers")
    with Browser(server):
        assert systemd.wait_for("STATUS=") == status.format("1 viewer")
        with Browser(server):
            assert systemd.wait_for("STATUS=") == status.format("2 viewers")
        assert systemd.wait_for("STATUS=") == status.format("1 viewer")
        systemd.heard()
        assert [systemd.next() for _ in range(5)] == ["WATCHDOG=1"] * 5


def test_odd_names_in_the_status(systemd: PunctualSystemd, tmp_path: Path) -> None:
    """The status is one line of ASCII whatever the configuration's file is called, and says that
    the last good configuration runs."""
    folder = tmp_path / "Küche\nWATCHDOG=1"
    folder.mkdir()
    file = folder / "config.yaml"
    variables = environment(systemd, STATE_DIRECTORY=str(tmp_path))
    file.write_text(CONFIG)
    arguments = ["run", "--simulate", "--config", str(file)]
    assert Server(arguments, env=variables).stop() == 0
    file.write_text("pins: 1\n")
    systemd.heard()
    server = Server(arguments, env=variables)
    status = systemd.wait_for("STATUS=")
    assert server.stop() == 0
    assert "K?che WATCHDOG=1/config.yaml has errors: the last good configuration runs" in status
    assert "\n" not in status
    assert systemd.heard() == ["STOPPING=1"]


GO_IMPATIENTLY = go(timeout_extension_s=0.4, max_timeout_extension_s=0.8)
MORE_TIME = "EXTEND_TIMEOUT_USEC=400000"


def test_a_slow_start(
    start_server: Callable[..., Server], systemd: PunctualSystemd, tmp_path: Path
) -> None:
    """A start that takes long asks for more time, but not for ever, and is READY when it is."""
    slow = f"""
from raspi_server.gpio.backend import SimulatedFactory
well = SimulatedFactory.__init__
def slow(self):
    wait_for({str(tmp_path / "go")!r})
    well(self)
SimulatedFactory.__init__ = slow
"""
    program = ("-c", DRIVER + WHILE + slow + GO_IMPATIENTLY)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_server, CONFIG, program=program, env=environment(systemd))
        try:
            check_that_it_asks_for_time(systemd)
        finally:
            (tmp_path / "go").touch()
        starting.result()
    assert systemd.next() == "READY=1"


def test_a_slow_stop(
    start_server: Callable[..., Server], systemd: PunctualSystemd, tmp_path: Path
) -> None:
    """A stop that takes long says STOPPING first, and then asks for more time, but not for ever."""
    slow = f"""
from raspi_server.gpio.board import Board
well = Board.close
def slow(self):
    wait_for({str(tmp_path / "go")!r})
    well(self)
Board.close = slow
"""
    program = ("-c", DRIVER + WHILE + slow + GO_IMPATIENTLY)
    server = start_server(CONFIG, program=program, env=watched(systemd))
    systemd.wait_for("WATCHDOG=1")
    server.process.send_signal(signal.SIGTERM)
    try:
        assert systemd.next_but("WATCHDOG=1") == "STOPPING=1"
        check_that_it_asks_for_time(systemd)
    finally:
        (tmp_path / "go").touch()
    assert server.stop() == 0
    assert systemd.heard() == []
    assert "has not answered" not in server.log and "Current thread" not in server.log


def check_that_it_asks_for_time(systemd: Systemd) -> None:
    assert [systemd.next() for _ in range(4)] == [MORE_TIME] * 4
    threading.Event().wait(0.6)  # three times as long as between two of them
    assert systemd.heard() == []


def test_a_deaf_systemd_holds_up_no_request(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """While nobody reads what systemd is told, requests are answered as ever."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "notify"))
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}
        server = start_server(CONFIG, env={**os.environ, **variables})
        server.wait_for_log("systemd did not take WATCHDOG=1")
        with Browser(server) as browser:
            seqs = [browser.read_until("state")["seq"] for _ in range(20)]
    assert seqs == list(range(seqs[0], seqs[0] + 20))
