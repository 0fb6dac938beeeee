"""Reports to systemd and the log about a loop that is stuck, a process that is stopped, and a
stop that takes long. The real server, with one handler or one pin that hangs on demand."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raspi_server.system import busy
from tests.support.http import ask
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient
from tests.system.test_systemd import Systemd, datagram_sockets, environment

pytestmark = pytest.mark.slow

Start = Callable[..., Server]

WATCHDOG = 2.4
"""Seconds within which these tests' systemd expects WATCHDOG."""
WATCHED = {"WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}

CONFIG = """
access: {control: everyone}
interval: 0.05
pins:
  lamp: {gpio: 17, mode: output}
  door: {gpio: 4, mode: input}
"""

DRIVER = """
import ctypes, os, sys, time
from raspi_server.broadcaster import Broadcaster
from raspi_server.cli.main import main
from raspi_server.gpio import backend, board
from raspi_server.limits import Limits
from raspi_server.web import api, websocket

def hang(path):
    end = time.monotonic() + 60  # a test that fails leaves no process
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.001)

def before(well, first):
    def both(*arguments):
        first(*arguments)
        return well(*arguments)
    return both
"""

HEALTH_HANGS = """
api.Health.get = before(
    api.Health.get, lambda self: self.get_query_argument("hang", "") and {hang})
"""
HOLDING = "ctypes.PyDLL(None).usleep(1_500_000)"
"""Code that keeps the interpreter locked."""
LAMP_HANGS = """
pin = backend.SimulatedPin
pin._change_state = before(
    pin._change_state, lambda self, value: str(self) == "GPIO17" and {when} and hang({file!r}))
"""
MESSAGE_HANGS = """
websocket.decode_message = before(websocket.decode_message, lambda text: hang({file!r}))
"""


def program(*lines: str, **limits: float) -> tuple[str, str]:
    """Return the real program with changes, and with some of `Limits`."""
    return "-c", "".join([DRIVER, *lines, f"sys.exit(main(limits=Limits(**{limits!r})))\n"])


def test_subject_ends_with_its_block() -> None:
    """A block in a block is named by the inner one, and each name ends with its block."""
    with busy.on("outer"):
        with pytest.raises(ValueError, match="inner"), busy.on("inner"):
            raise ValueError(busy.describe())
        assert busy.describe() == "outer"
    assert busy.describe() == ""


STACK = "stack of thread MainThread:"


def test_request_that_hangs(start_server: Start, systemd: Systemd, tmp_path: Path) -> None:
    """While a request hangs, no WATCHDOG is sent. Each hang is logged once, with every thread's
    stack and the request, in the time that the watchdog leaves. Then the server goes on."""
    free = tmp_path / "free"
    hangs = HEALTH_HANGS.format(hang=f"hang({str(free)!r})")
    changed = program(hangs, stuck_after_s=LIMIT)
    server = start_server(CONFIG, program=changed, env=environment(systemd, **WATCHED))
    systemd.wait_for("WATCHDOG=1")
    with ThreadPoolExecutor(1) as pool, WebSocketClient(server.port) as viewer:
        for again in (0, 1):
            response = pool.submit(ask, server, "GET", "/api/health?hang=1")
            server.wait_for_log("it is in .*, for GET /api/health$", again)
            for part in (STACK, 'File "<string>", line .* in hang', "stack of thread heartbeat:"):
                server.wait_for_log(part, again)
            systemd.unread()
            threading.Event().wait(WATCHDOG / 2)
            assert systemd.unread() == []
            free.touch()
            server.wait_for_log("the loop answers again", again)
            while (message := systemd.next()) != "WATCHDOG=1":
                assert "broadcast has stopped" not in message  # it was delayed, too
            response.result()
            viewer.receive("state")
            assert ask(server, "GET", "/api/health").status == 200
            free.unlink()
    assert server.log.count(STACK) == 2


def test_request_that_holds_the_interpreter(
    start_server: Start, systemd: Systemd, tmp_path: Path
) -> None:
    """If C code holds the interpreter, that is logged when it returns, with the stacks and the
    request. The request stays until then: on a busy machine the loop may run on first."""
    logged = tmp_path / "logged"
    hangs = HEALTH_HANGS.format(hang=f"({HOLDING}, hang({str(logged)!r}))")
    server = start_server(CONFIG, program=program(hangs), env=environment(systemd, **WATCHED))
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(ask, server, "GET", "/api/health?hang=1")
        held = "C code held the interpreter, or .*; the loop is in .*, for GET /api/health$"
        for part in (held, STACK, 'File "<string>", line .* in <lambda>'):
            server.wait_for_log(part)
        logged.touch()
        assert response.result().status == 200


@pytest.mark.parametrize(
    ("hangs", "subject"),
    [
        (MESSAGE_HANGS, r"the WebSocket of 127\.0\.0\.1"),
        (LAMP_HANGS.replace("{when}", "value"), r"lamp \(GPIO17\)"),
        (LAMP_HANGS.replace("{when}", "self.state and not value"), r"lamp \(GPIO17\)"),
    ],
    ids=["message", "pin by a command", "pin by its timer"],
)
def test_report_names_the_socket_or_the_pin(
    start_server: Start, tmp_path: Path, hangs: str, subject: str
) -> None:
    """A message over a WebSocket that hangs is named with its socket. A line that does not return
    is named with its pin, whatever switches it. Without systemd nothing is sent anywhere."""
    hangs = hangs.format(file=str(tmp_path / "free"))
    changed = program(hangs, stuck_after_s=0.3, heartbeat_interval_s=0.2)
    config = CONFIG.replace("mode: output", "mode: output, pulse: 0.05")
    variables = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    server = start_server(config, program=changed, env={**variables, "WATCHDOG_USEC": "1"})
    assert datagram_sockets(server.process.pid) == 0
    with WebSocketClient(server.port) as client:
        client.send(type="set", pin="lamp", value=1, ref=1)
        server.wait_for_log(rf"not answered for 0.3 s; it is in .*, for {subject}$")
        (tmp_path / "free").touch()
        assert client.receive("result", ref=1)["value"] == 1
    server.wait_for_log("the loop answers again")
    server.wait_for_log(r"lamp \(GPIO17\): on, by 127\.0\.0\.1")
    server.wait_for_log(r"lamp \(GPIO17\): off, by pulse")
    assert "systemd did not" not in server.log and "WATCHDOG" not in server.log


def test_stopped_process_continues(start_server: Start, systemd: Systemd) -> None:
    """A process that is stopped sends nothing. Continued, it carries out what arrived meanwhile and
    logs that it was stopped, but does not call itself stuck."""
    server = start_server(CONFIG, env=environment(systemd, **WATCHED))
    with WebSocketClient(server.port) as client:
        systemd.wait_for("STATUS=", part="; 1 viewer;")
        before = client.receive("state")
        server.process.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{server.process.pid}/stat")
        while state.read_text().rpartition(")")[2].split()[0] != "T":  # stopped: proc(5)
            threading.Event().wait(0.01)
        systemd.unread()
        client.send(type="set", pin="lamp", value=1, ref="meanwhile")
        threading.Event().wait(WATCHDOG)  # longer than a broadcast may be missing
        assert systemd.unread() == []
        server.process.send_signal(signal.SIGCONT)
        assert systemd.next() == "WATCHDOG=1"
        assert client.receive("result", ref="meanwhile")["value"] == 1
        after = client.receive("state")
        assert after["seq"] > before["seq"] and after["pins"]["lamp"] == 1
        assert abs(after["time"] - time.time()) < LIMIT
    response = ask(server, "GET", "/api/health")
    assert (response.status, response.json["status"], response.json["reasons"]) == (200, "ok", [])
    assert "has not answered" not in server.log
    server.wait_for_log("nothing here ran for .*: C code held the interpreter, or the process")


BROADCAST_STOPS = """
tick = Broadcaster._tick
Broadcaster._tick = lambda self: os.path.exists({file!r}) or tick(self)
"""


def test_failing_server_sends_the_reason_instead_of_watchdog(
    start_server: Start, systemd: Systemd, tmp_path: Path
) -> None:
    """When viewers get no states any more, the status has the reason, and no WATCHDOG is sent.
    /api/health responds with 503 and the reason. Afterwards both recover."""
    failing, reason = tmp_path / "failing", "the broadcast has stopped"
    changed = program(BROADCAST_STOPS.format(file=str(failing)))
    variables = environment(systemd, WATCHDOG_USEC="200000")
    server = start_server(CONFIG, program=changed, env=variables)
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


def test_slow_stop_asks_for_more_time(
    start_server: Start, systemd: Systemd, tmp_path: Path
) -> None:
    """A stop that takes long sends STOPPING first, and then asks for more time up to a limit."""
    hangs = f"lambda self: hang({str(tmp_path / 'closed')!r})"
    slow = f"board.Board.close = before(board.Board.close, {hangs})\n"
    changed = program(slow, timeout_extension_s=0.4, max_timeout_extension_s=0.8)
    server = start_server(CONFIG, program=changed, env=environment(systemd, **WATCHED))
    systemd.wait_for("WATCHDOG=1")
    server.process.send_signal(signal.SIGTERM)
    try:
        assert systemd.next_but("WATCHDOG=1") == "STOPPING=1"
        assert [systemd.next() for _ in range(4)] == ["EXTEND_TIMEOUT_USEC=400000"] * 4
        threading.Event().wait(0.6)  # three times as long as between two of them
        assert systemd.unread() == []
    finally:
        (tmp_path / "closed").touch()
    assert server.stop() == 0
    assert systemd.unread() == []
    assert "has not answered" not in server.log and "Current thread" not in server.log
