"""Messages to systemd, over a real notify socket that is read all the time."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.system.systemd import Heartbeat, watchdog_interval
from tests.support.server import LIMIT, Server

LAMP = "pins: {lamp: {gpio: 17, mode: output}}\n"


class Systemd:
    """systemd's end of the notify socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._said: queue.Queue[bytes] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(4096):
                self._said.put(data)

    def next(self) -> str:
        """Return the next message."""
        return self._said.get(timeout=LIMIT).decode("ascii")

    def next_but(self, *others: str) -> str:
        """Return the next message that is none of these."""
        while (said := self.next()) in others:
            pass
        return said

    def heard(self) -> list[str]:
        """Return all messages that were not read yet."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._said.get_nowait().decode("ascii"))
        return found

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def systemd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Systemd]:
    address = str(tmp_path / "notify")
    systemd = Systemd(address if request.param == "file" else f"@{address}")
    yield systemd
    systemd.close()


def environment(systemd: Systemd, **more: str) -> dict[str, str]:
    return {**os.environ, "NOTIFY_SOCKET": systemd.address, **more}


def test_ready_watchdog_stopping(start_server: Callable[..., Server], systemd: Systemd) -> None:
    """systemd gets READY alone, then WATCHDOG again and again, and STOPPING first on a stop."""
    server = start_server(LAMP, env=environment(systemd, WATCHDOG_USEC="200000"))
    assert systemd.next() == "READY=1"
    with socket.create_connection(("127.0.0.1", server.port), LIMIT):
        pass  # ready means that it can be reached
    assert systemd.next().startswith("STATUS=http on port ")
    assert [systemd.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
    server.process.send_signal(signal.SIGTERM)
    assert systemd.next_but("WATCHDOG=1") == "STOPPING=1"
    assert server.stop() == 0


def test_no_watchdog_wanted(start_server: Callable[..., Server], systemd: Systemd) -> None:
    """Without WATCHDOG_USEC only the status is sent between READY and STOPPING."""
    server = start_server(LAMP, env=environment(systemd))
    assert systemd.next() == "READY=1"
    assert systemd.next() == (
        f"STATUS=http on port {server.port}; 1 pin; 0 viewers;"
        " The pins are simulated: nothing real is read or switched"
    )
    assert server.stop() == 0
    assert systemd.next() == "STOPPING=1"
    assert systemd.heard() == []


@contextlib.contextmanager
def start_where_the_port_is_taken(
    systemd: Systemd, folder: Path
) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """Start on a port that the socket has, and return once the server logs that it waits."""
    file = folder / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file.write_text(f"address: 127.0.0.1\nport: {taken.getsockname()[1]}\n")
        command = [sys.executable, "-m", "raspi_server", "run", "--config", file]
        options = {"env": environment(systemd), "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **options) as server:  # type: ignore[call-overload]
            said = server.stderr.readline()
            assert "Address already in use; waiting for it" in said
            assert systemd.heard() == []
            yield server, taken


def test_ready_only_once_the_address_is_ours(systemd: Systemd, tmp_path: Path) -> None:
    """A start waits for an address that another program has, logs that once, and sends READY when
    it has it."""
    with start_where_the_port_is_taken(systemd, tmp_path) as (server, taken):
        taken.close()
        assert systemd.next() == "READY=1"
        server.terminate()
        _, said = server.communicate(timeout=LIMIT)
    assert server.returncode == 0
    assert "Address already in use" not in said


def test_a_stop_while_the_address_is_not_ours(systemd: Systemd, tmp_path: Path) -> None:
    """Waiting for an address ends like anything else, with status 0."""
    with start_where_the_port_is_taken(systemd, tmp_path) as (server, _):
        server.terminate()
        _, said = server.communicate(timeout=LIMIT)
    assert server.returncode == 0
    assert "Traceback" not in said
    assert systemd.heard() == []


def test_a_full_queue_stops_nothing(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A service manager that reads no messages holds up no request and no stop."""
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with deaf:
        deaf.bind(str(tmp_path / "notify"))
        server = start_server(
            LAMP,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"},
        )
        server.wait_for_log("systemd did not take WATCHDOG=1")
        assert server.stop() == 0


class Loop:
    """A loop that answers only while it is awake."""

    def __init__(self) -> None:
        self.is_awake = True
        self.asked = threading.Semaphore(0)
        self.waiting: list[Callable[[], object]] = []

    def post(self, callback: Callable[[], object]) -> None:
        if self.is_awake:
            callback()
        else:
            self.waiting.append(callback)
        self.asked.release()

    def wake_up(self) -> None:
        self.is_awake = True
        for callback in self.waiting:
            callback()


def test_no_watchdog_while_the_loop_is_stuck(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung loop is not kept healthy: WATCHDOG stops with its answers and comes back with them."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    loop = Loop()
    heartbeat = Heartbeat(loop.post, lambda: ("fine", True))
    heartbeat.ready()
    said = [systemd.next() for _ in range(4)]
    assert said == ["READY=1", "STATUS=fine", "WATCHDOG=1", "WATCHDOG=1"]
    loop.is_awake = False
    while not loop.waiting:
        assert loop.asked.acquire(timeout=LIMIT)
    systemd.heard()
    stopped = threading.Event()
    assert not stopped.wait(0.2)  # ten times as long as systemd would wait
    assert systemd.heard() == []
    loop.wake_up()
    assert systemd.next() == "WATCHDOG=1"
    heartbeat.stop()
    assert systemd.next_but("WATCHDOG=1") == "STOPPING=1"


def test_a_loop_that_reports_is_asked_for_beats_alone(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that reports by itself is asked only for beats, and what it reported is sent."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "800000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    posted: list[Callable[[], object]] = []
    status = "young"

    def post(callback: Callable[[], object]) -> None:
        posted.append(callback)
        callback()

    heartbeat = Heartbeat(post, lambda: (status, True))
    heartbeat.ready()
    assert [systemd.next() for _ in range(3)] == ["READY=1", "STATUS=young", "WATCHDOG=1"]
    status = "older"
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(0.01):
            heartbeat.report()

    teller = threading.Thread(target=tell)
    teller.start()
    assert systemd.next() == "STATUS=older"
    asked, beats = len(posted), 4
    assert [systemd.next() for _ in range(beats)] == ["WATCHDOG=1"] * beats
    ended.set()
    teller.join()
    heartbeat.stop()
    questions = (len(posted) - asked) / 2  # one is two callbacks
    assert beats - 1 <= questions <= beats + 1


def test_not_ready_until_told(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop before it was ready sends STOPPING, and no READY."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    heartbeat = Heartbeat(Loop().post, lambda: ("fine", True))
    heartbeat.stop()
    assert systemd.next() == "STOPPING=1"
    assert systemd.heard() == []


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_watchdog_interval(monkeypatch, variables, seconds):
    """The watchdog's microseconds count if they are meant for this process."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert watchdog_interval() == seconds
