"""Messages to systemd, over a real notify socket."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raspi_server.limits import Limits
from raspi_server.system.systemd import Heartbeat, watchdog_interval
from tests.support.server import LIMIT, Server
from tests.support.websocket import WebSocketClient

LAMP = "pins: {lamp: {gpio: 17, mode: output}}\n"


class Systemd:
    """systemd's end of the notify socket, which is read all the time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._messages: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(4096):
                self._messages.put(data.decode("ascii"))

    def next(self) -> str:
        """Return the next message."""
        return self._messages.get(timeout=LIMIT)

    def next_but(self, *others: str) -> str:
        """Return the next message that is none of these."""
        while (message := self.next()) in others:
            pass
        return message

    def wait_for(self, start: str, part: str = "") -> str:
        """Return the next message that begins with `start` and contains `part`."""
        limit = time.monotonic() + LIMIT
        while not ((message := self.next()).startswith(start) and part in message):
            assert time.monotonic() < limit, f"never sent: {start}...{part}"
        return message

    def unread(self) -> list[str]:
        """Return all messages that were not read yet."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._messages.get_nowait())
        return found

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._socket.close()


def environment(systemd: Systemd, **more: str) -> dict[str, str]:
    return {**os.environ, "NOTIFY_SOCKET": systemd.address, **more}


def datagram_sockets(pid: int) -> int:
    """Return the number of AF_UNIX datagram sockets of a process."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[4] == "0002":
            found.add(f"socket:[{fields[6]}]")
    descriptors = Path(f"/proc/{pid}/fd").iterdir()
    count = 0
    for descriptor in descriptors:
        with contextlib.suppress(FileNotFoundError):  # a file that was open for a moment
            count += os.readlink(descriptor) in found
    return count


def test_ready_watchdog_stopping(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """READY is sent, then WATCHDOG again and again, then STOPPING, also to an abstract socket."""
    systemd = Systemd(f"@{tmp_path}/notify")
    server = start_server(LAMP, env=environment(systemd, WATCHDOG_USEC="200000"))
    assert systemd.next() == "READY=1"
    with socket.create_connection(("127.0.0.1", server.port), LIMIT):
        pass
    assert systemd.next().startswith("STATUS=http on port ")
    assert [systemd.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
    server.process.send_signal(signal.SIGTERM)
    assert systemd.next_but("WATCHDOG=1") == "STOPPING=1"
    assert server.stop() == 0
    systemd.close()


def test_without_a_watchdog_only_the_status_is_sent(start_server, systemd) -> None:
    """Without WATCHDOG_USEC only changes of the status are sent, on one socket."""
    server = start_server(LAMP, env=environment(systemd))
    assert systemd.next() == "READY=1"
    status = (
        f"STATUS=http on port {server.port}; 1 pin; {{}};"
        " The pins are simulated: nothing real is read or switched"
    )
    assert systemd.next() == status.format("0 viewers")
    with WebSocketClient(server.port):
        assert systemd.next() == status.format("1 viewer")
    assert systemd.next() == status.format("0 viewers")
    assert datagram_sockets(server.process.pid) == 1
    assert server.stop() == 0
    assert systemd.next() == "STOPPING=1"
    assert systemd.unread() == []


def test_ready_waits_for_the_address(systemd: Systemd, tmp_path: Path) -> None:
    """A start waits for an address that another program has, and sends READY when it has it."""
    file = tmp_path / "config.yaml"
    command = [sys.executable, "-m", "raspi_server", "run", "--config", str(file)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file.write_text(f"address: 127.0.0.1\nport: {taken.getsockname()[1]}\n")
        with subprocess.Popen(
            command, env=environment(systemd), stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr is not None
            assert "Address already in use; waiting for it" in server.stderr.readline()
            assert systemd.unread() == []
            taken.close()
            assert systemd.next() == "READY=1"
            server.terminate()
            _, log = server.communicate(timeout=LIMIT)
    assert server.returncode == 0
    assert "Address already in use" not in log and "Traceback" not in log


def test_full_notify_queue_delays_nothing(start_server, tmp_path) -> None:
    """While systemd reads no messages, viewers get every state, and a stop ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unread:
        unread.bind(str(tmp_path / "notify"))
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}
        server = start_server("interval: 0.05\n" + LAMP, env={**os.environ, **variables})
        server.wait_for_log("systemd did not take WATCHDOG=1")
        with WebSocketClient(server.port) as viewer:
            seqs = [viewer.receive("state")["seq"] for _ in range(20)]
        assert seqs == list(range(seqs[0], seqs[0] + 20))
        assert server.stop() == 0


def test_stop_before_ready(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop before the start is complete sends STOPPING, and no READY."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    silent_at_stop = Limits(max_timeout_extension_s=0.0)  # its thread outlasts the socket
    heartbeat = Heartbeat(lambda callback: callback(), lambda: ("fine", True), silent_at_stop)
    heartbeat.stop()
    assert systemd.next() == "STOPPING=1"
    assert systemd.unread() == []


def test_watchdog_interval(monkeypatch) -> None:
    """The watchdog's microseconds count if they are meant for this process."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert watchdog_interval() is None
    for interval, seconds in (("0", None), ("500000", 0.5)):
        monkeypatch.setenv("WATCHDOG_USEC", interval)
        assert watchdog_interval() == seconds
    for pid, seconds in ((str(os.getpid()), 0.5), ("1", None)):
        monkeypatch.setenv("WATCHDOG_PID", pid)
        assert watchdog_interval() == seconds
