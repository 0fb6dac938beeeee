"""Reports to systemd and the log about a loop that is stuck, a process that is stopped, and starts
and stops that take long. The real server, with one handler or one pin that hangs on demand."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.http import ask
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient
from tests.system.test_systemd import Systemd, datagram_sockets, environment

pytestmark = pytest.mark.slow

Start = Callable[..., Server]

WATCHDOG = 2.4
"""Seconds within which these tests' systemd expects WATCHDOG."""
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


def watched(systemd: Systemd) -> dict[str, str]:
    """Return the environment in which systemd expects WATCHDOG."""
    return environment(systemd, WATCHDOG_USEC=str(int(WATCHDOG * 1e6)))


def moment_of(server: Server, word: str, again: int = 0) -> float:
    return float(server.wait_for_log(rf"^{word} at (\S+)", again)[1])


def wait_for_state(pid: int, state: str) -> None:
    """Wait for a state of a process, such as "T" for stopped (proc(5))."""
    limit = time.monotonic() + LIMIT
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        assert time.monotonic() < limit
        threading.Event().wait(0.01)


STACK = "stack of thread MainThread:"
DURING_THE_HANG = "it is in"
AFTER_THE_HANG = "C code held the interpreter, or .*; the loop is in"


@pytest.mark.parametrize(
    ("hang", "report"),
    [(BUSY, DURING_THE_HANG), (HOLDING, AFTER_THE_HANG)],
    ids=["python", "C code"],
)
def test_request_that_hangs(
    start_server: Start,
    systemd: Systemd,
    hang: str,
    report: str,
) -> None:
    """While a request hangs, no WATCHDOG is sent. Each hang is logged once, with every thread's
    stack and the request: before the watchdog strikes, or if C code holds the interpreter, as soon
    as that returns. Then the server goes on."""
    driver = DRIVER + hang.format(seconds=HANG) + HEALTH_HANGS + GO
    server = start_server(CONFIG, program=("-c", driver), env=watched(systemd))
    systemd.wait_for("WATCHDOG=1")
    with ThreadPoolExecutor(1) as pool, WebSocketClient(server.port) as viewer:
        for again in (0, 1):
            systemd.unread()
            response = pool.submit(ask, server, "GET", "/api/health?hang=1")
            hanging = moment_of(server, "hanging", again)
            if report == DURING_THE_HANG:
                server.wait_for_log(STACK, again)
                moment = time.monotonic()
                beats = [at for at, message in systemd.moments if message == "WATCHDOG=1"]
                last = max(at for at in beats if at <= hanging + SLACK)
                assert moment - last < WATCHDOG + SLACK / 2
            free = moment_of(server, "free", again)
            systemd.unread()
            systemd.wait_for("WATCHDOG=1")
            assert [at for at, _ in systemd.moments if hanging + SLACK < at < free] == []
            server.wait_for_log(f"{report} .*, for GET /api/health$", again)
            server.wait_for_log(STACK, again)
            server.wait_for_log('File "<string>", line .* in hang', again)
            server.wait_for_log("stack of thread heartbeat:", again)
            if report == DURING_THE_HANG:
                server.wait_for_log("the loop answers again", again)
            assert response.result().status == 200
            viewer.receive("state")
    assert "broadcast has stopped" not in str(systemd.moments)  # it was delayed, too
    assert server.log.count(STACK) == 2


@pytest.mark.parametrize(
    ("hangs", "subject"),
    [
        (MESSAGE_HANGS, r"the WebSocket of 127\.0\.0\.1"),
        (LAMP_HANGS.format(when="value"), r"lamp \(GPIO17\)"),
        (LAMP_HANGS.format(when="self.state and not value"), r"lamp \(GPIO17\)"),
    ],
    ids=["message", "pin by a command", "pin by its timer"],
)
def test_report_names_the_socket_or_the_pin(start_server: Start, hangs: str, subject: str) -> None:
    """A message over a WebSocket that hangs is named with its socket. A line that does not return
    is named with its pin, whatever switches it. Without systemd nothing is sent anywhere."""
    limits = go(stuck_after_s=0.3, heartbeat_interval_s=0.2)
    driver = DRIVER + SLEEPING.format(seconds=2.5) + hangs + limits
    config = CONFIG.replace("mode: output", "mode: output, pulse: 0.05")
    variables = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    server = start_server(config, program=("-c", driver), env={**variables, "WATCHDOG_USEC": "1"})
    assert datagram_sockets(server.process.pid) == 0
    with WebSocketClient(server.port) as client:
        client.send(type="set", pin="lamp", value=1, ref=1)
        server.wait_for_log(rf"not answered for 0.3 s; it is in .*, for {subject}$")
        assert client.receive("result", ref=1)["value"] == 1
    server.wait_for_log("the loop answers again")
    server.wait_for_log(r"lamp \(GPIO17\): on, by 127\.0\.0\.1")
    server.wait_for_log(r"lamp \(GPIO17\): off, by pulse")
    assert "systemd did not" not in server.log and "WATCHDOG" not in server.log


def test_stopped_process_continues(start_server: Start, systemd: Systemd) -> None:
    """A process that is stopped sends nothing. Continued, it carries out what arrived meanwhile and
    logs that it was stopped, but does not call itself stuck."""
    server = start_server(CONFIG, env=watched(systemd))
    with WebSocketClient(server.port) as client:
        systemd.wait_for("STATUS=", part="; 1 viewer;")
        before = client.receive("state")
        server.process.send_signal(signal.SIGSTOP)
        wait_for_state(server.process.pid, "T")
        systemd.unread()
        client.send(type="set", pin="lamp", value=1, ref="meanwhile")
        threading.Event().wait(HANG)  # longer than a broadcast may be missing
        assert systemd.unread() == []
        server.process.send_signal(signal.SIGCONT)
        assert [systemd.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
        assert client.receive("result", ref="meanwhile")["value"] == 1
        after = client.receive("state")
        assert after["seq"] > before["seq"] and after["pins"]["lamp"] == 1
        assert abs(after["time"] - time.time()) < LIMIT
    response = ask(server, "GET", "/api/health")
    assert (response.status, response.json["status"], response.json["reasons"]) == (200, "ok", [])
    assert "has not answered" not in server.log
    server.wait_for_log("nothing here ran for .*: C code held the interpreter, or the process")


GPIO_THREAD_ENDS = """
from raspi_server.gpio.backend import SimulatedFactory
SimulatedFactory.is_listening = property(lambda _: not when({file!r}))
"""
BROADCAST_STOPS = """
from raspi_server.broadcaster import Broadcaster
tick = Broadcaster._tick
Broadcaster._tick = lambda self: None if when({file!r}) else tick(self)
"""


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (GPIO_THREAD_ENDS, "the GPIO thread has ended: no edge arrives any more"),
        (BROADCAST_STOPS, "the broadcast has stopped"),
    ],
    ids=["GPIO thread", "broadcast"],
)
def test_failing_server_sends_the_reason_instead_of_watchdog(
    start_server: Start,
    systemd: Systemd,
    tmp_path: Path,
    fails: str,
    reason: str,
) -> None:
    """When no edge can arrive any more, or viewers get no states, the status has the reason, and no
    WATCHDOG is sent. /api/health responds with 503 and the reason. Afterwards both recover."""
    failing = tmp_path / "failing"
    server = start_server(
        CONFIG,
        program=("-c", DRIVER + WHILE + fails.format(file=str(failing)) + GO),
        env=environment(systemd, WATCHDOG_USEC="200000"),
    )
    with WebSocketClient(server.port) as viewer:
        viewer.receive("state")
        systemd.wait_for("STATUS=", part="; 1 viewer;")
        failing.touch()
        assert systemd.next_but("WATCHDOG=1").startswith(f"STATUS={reason}; http on port")
        threading.Event().wait(0.6)  # three times as long as systemd would wait
        assert systemd.unread() == []
        response = ask(server, "GET", "/api/health")
        assert (response.status, response.json["status"]) == (503, "failing")
        assert response.json["reasons"][0] == reason
        failing.unlink()
        assert systemd.next().startswith("STATUS=http on port")
        assert systemd.next() == "WATCHDOG=1"
        assert ask(server, "GET", "/api/health").status == 200


def test_reason_of_a_failure_needs_the_right_to_view(start_server: Start) -> None:
    """If viewing needs a code, /api/health without one responds with 503 and no reason."""
    fails = GPIO_THREAD_ENDS.replace("not when({file!r})", "False")
    server = start_server("access: {view: code}\n", program=("-c", DRIVER + fails + GO))
    response = ask(server, "GET", "/api/health")
    assert (response.status, response.json) == (503, {"status": "failing"})


def test_status_counts_viewers_and_unavailable_pins(start_server: Start, systemd: Systemd) -> None:
    """The status has the number of viewers and of unavailable pins. It is sent once when one of
    them changes."""
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
    with WebSocketClient(server.port):
        assert systemd.wait_for("STATUS=") == status.format("1 viewer")
        with WebSocketClient(server.port):
            assert systemd.wait_for("STATUS=") == status.format("2 viewers")
        assert systemd.wait_for("STATUS=") == status.format("1 viewer")
        systemd.unread()
        assert [systemd.next() for _ in range(5)] == ["WATCHDOG=1"] * 5


def test_status_is_one_line_of_ascii(systemd: Systemd, tmp_path: Path) -> None:
    """Any path of the configuration adds no message for systemd. The status says
    that the last good configuration runs."""
    folder = tmp_path / "Küche\nWATCHDOG=1"
    folder.mkdir()
    file = folder / "config.yaml"
    variables = environment(systemd, STATE_DIRECTORY=str(tmp_path))
    file.write_text(CONFIG)
    arguments = ["run", "--simulate", "--config", str(file)]
    assert Server(arguments, env=variables).stop() == 0
    file.write_text("pins: 1\n")
    systemd.unread()
    server = Server(arguments, env=variables)
    status = systemd.wait_for("STATUS=")
    assert server.stop() == 0
    assert "K?che WATCHDOG=1/config.yaml has errors: the last good configuration runs" in status
    assert "\n" not in status
    assert systemd.unread() == ["STOPPING=1"]


SLOW = """
from raspi_server.gpio import {module}
well = {module}.{method}
def slow(self):
    wait_for({file!r})
    well(self)
{module}.{method} = slow
"""
MORE_TIME = "EXTEND_TIMEOUT_USEC=400000"


def slow_program(module: str, method: str, file: Path) -> tuple[str, str]:
    slow = SLOW.format(module=module, method=method, file=str(file))
    return "-c", DRIVER + WHILE + slow + go(timeout_extension_s=0.4, max_timeout_extension_s=0.8)


def check_that_it_asks_for_time(systemd: Systemd) -> None:
    assert [systemd.next() for _ in range(4)] == [MORE_TIME] * 4
    threading.Event().wait(0.6)  # three times as long as between two of them
    assert systemd.unread() == []


def test_slow_start_asks_for_more_time(
    start_server: Start, systemd: Systemd, tmp_path: Path
) -> None:
    """A start that takes long asks for more time up to a limit, and sends READY at its end."""
    program = slow_program("backend", "SimulatedFactory.__init__", tmp_path / "go")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_server, CONFIG, program=program, env=environment(systemd))
        try:
            check_that_it_asks_for_time(systemd)
        finally:
            (tmp_path / "go").touch()
        starting.result()
    assert systemd.next() == "READY=1"


def test_slow_stop_asks_for_more_time(
    start_server: Start, systemd: Systemd, tmp_path: Path
) -> None:
    """A stop that takes long sends STOPPING first, and then asks for more time up to a limit."""
    program = slow_program("board", "Board.close", tmp_path / "go")
    server = start_server(CONFIG, program=program, env=watched(systemd))
    systemd.wait_for("WATCHDOG=1")
    server.process.send_signal(signal.SIGTERM)
    try:
        assert systemd.next_but("WATCHDOG=1") == "STOPPING=1"
        check_that_it_asks_for_time(systemd)
    finally:
        (tmp_path / "go").touch()
    assert server.stop() == 0
    assert systemd.unread() == []
    assert "has not answered" not in server.log and "Current thread" not in server.log
