"""One server in a process of its own, for a bounded time, and what it has cost so far."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

CHECKOUT = Path(__file__).resolve().parents[2]
START_LIMIT = 30.0  # seconds until the server must have printed its address


class ServerFailedError(Exception):
    """The server did not start, or did not last."""


@dataclass(frozen=True)
class Command:
    """Start of a server. One that has a `port` listens there without saying so; the others
    say on standard error where they do."""

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] | None = None
    port: int | None = None


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """The CPU time of all its processes and threads so far, from the scheduler."""
        return sum(_cpu_seconds(pid) for pid in _family(self.pid))

    def resident(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        if found is None:
            raise ServerFailedError("the server has ended")
        return int(found[1]) * 1024


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task")
    try:
        spent = [int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()]
    except FileNotFoundError:  # a kernel built without CONFIG_SCHED_INFO
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return sum(spent) / 1e9


@contextmanager
def launched(
    command: Command, folder: Path, core: int, lifetime: float
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core until the block is left, at most `lifetime` seconds. It is told to keep
    its files in `folder`, and what it says is kept there in `stderr`."""

    def settle() -> None:  # in the child, before the program starts; both outlive the exec
        os.sched_setaffinity(0, {core})
        signal.alarm(int(lifetime) + 1)

    # The names under which systemd tells a service where its files go.
    places = {name: str(folder) for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")}
    with (folder / "stderr").open("wb") as said:
        process = subprocess.Popen(
            [str(argument) for argument in command.arguments],
            cwd=folder,
            env={
                **os.environ,
                **places,
                "PYTHONPATH": str(CHECKOUT),
                **(command.environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            preexec_fn=settle,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(command: Command, folder: Path, core: int, lifetime: float) -> Iterator[Running]:
    """The same, as soon as it listens. Raises ServerFailedError, with the last of what it said."""
    with launched(command, folder, core, lifetime) as process:
        heard = folder / "stderr"
        try:
            yield Running(process.pid, _wait_for_port(process, command, heard))
        except Exception as error:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)  # whatever went wrong: if it is over, that is the reason
                raise ServerFailedError(_obituary(process, heard)) from error
            raise


def _wait_for_port(process: subprocess.Popen[bytes], command: Command, heard: Path) -> int:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if command.port is not None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", command.port)):
                return command.port
        address = re.search(r"https?://127\.0\.0\.1:(\d+)", heard.read_text(errors="replace"))
        if address is not None:
            return int(address[1])
        if process.poll() is not None:
            raise ServerFailedError(_obituary(process, heard))
        time.sleep(0.05)
    raise ServerFailedError(
        f"the server named no address within {START_LIMIT:.0f} s:\n{_last_words(heard)}"
    )


def free_port() -> int:
    """A port for a server that cannot be told to take any free one."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _obituary(process: subprocess.Popen[bytes], heard: Path) -> str:
    return f"the server ended with status {process.returncode}:\n{_last_words(heard)}"


def _last_words(heard: Path) -> str:
    return "\n".join(heard.read_text(errors="replace").splitlines()[-20:])


class Systemd:
    """Hears what a service tells systemd; `environment` is what systemd would give it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "notify"
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "30000000"}
        self.is_ready = threading.Event()
        self.beats = 0
        self._leaving = False
        self._thread = threading.Thread(target=self._hear, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving = True
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()

    def _hear(self) -> None:
        while not self._leaving:
            said = self._socket.recv(4096)
            self.beats += b"WATCHDOG=1" in said
            if b"READY=1" in said:
                self.is_ready.set()
