"""The real program as a child process."""

import atexit
import contextlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

LIMIT = 30.0
"""Seconds to wait for a fact before a test fails; far longer than any machine here needs."""


class Server:
    """`python -m raspi_server …` until stopped, on a port of its own, or with `port` None on the
    configured one; `program` is what python is to run instead. `log` is all it has said."""

    def __init__(
        self,
        arguments: list[str],
        port: int | None = 0,
        program: tuple[str, str] = ("-m", "raspi_server"),
        **options: object,
    ) -> None:
        self._program = program
        self._arguments = arguments
        self._options = options
        self._is_configured = port is None
        self._start(port)

    def _start(self, port: int | None) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        command = [sys.executable, "-W", "error", *self._program, *self._arguments]
        self.process = subprocess.Popen(
            command if port is None else [*command, "--port", str(port)],
            stderr=subprocess.PIPE,
            text=True,
            **self._options,  # type: ignore[call-overload]
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            serving = self.wait_for_log(r"serving (\S+)")
        except AssertionError:
            self.stop()
            raise
        self.url = serving[1].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for_log(self, pattern: str, again: int = 0) -> re.Match[str]:
        """Wait for the first line of the log that matches after `again` others; return it."""

        def found() -> re.Match[str] | None:
            matches = [match for line in self.lines if (match := re.search(pattern, line))]
            return matches[again] if len(matches) > again else None

        with self._more:
            self._more.wait_for(lambda: found() or self._ended, LIMIT)
            match = found()
        assert match, f"the log never said {pattern!r}:\n{self.log}"
        return match

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        status = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def restart(self) -> None:
        """Stops it and starts it again on the same port, which nobody else gets meanwhile."""
        self.stop()
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("", self.port))
            self._start(None if self._is_configured else self.port)

    def reload(self, text: str) -> None:
        """Replace the configuration file in one step, as editors do, and send SIGHUP."""
        file = Path(self._arguments[self._arguments.index("--config") + 1])
        edited = file.with_suffix(".edited")
        edited.write_text(text)
        edited.replace(file)
        self.process.send_signal(signal.SIGHUP)


_held = contextlib.ExitStack()
atexit.register(_held.close)


def free_port() -> int:
    """Return a port that is held until this process ends: only a server with SO_REUSEADDR, as ours,
    gets it. It lies below those of outgoing connections (ip(7)), where there are any."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = random.sample(range(lowest - 10000, lowest), 100) if lowest > 12000 else []
    for port in [*ports, 0]:
        held = socket.socket()
        try:
            held.bind(("", port))
        except OSError:
            held.close()
        else:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _held.enter_context(held)
            free: int = held.getsockname()[1]
            return free
    raise AssertionError("this machine has no free port")


def check_end(server: Server) -> None:
    """Stops a server that no test has stopped: whatever happened, it ends well and quietly."""
    assert server.process.stderr is not None
    if not server.process.stderr.closed:
        assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log
    assert "never retrieved" not in server.log, server.log


def changing(*statements: str, **limits: object) -> tuple[str, str]:
    """Return the real `main()` with other `limits`, after `statements` that make something fail."""
    lines = [
        "import sys",
        "from raspi_server import server",
        "from raspi_server.limits import Limits",
        "from raspi_server.security import key_exchange",
        *statements,
        "from raspi_server.cli.main import main",
        f"sys.exit(main(limits=Limits(**{limits!r})))",
    ]
    return "-c", "\n".join(lines)


def clock_is(known: bool) -> str:
    """Return a statement for `changing`: the system knows the time, or it does not."""
    return (
        "from raspi_server.automation import clock\n"
        f"clock.Evidence.is_there = lambda *_: {known}\n"
        "async def no(*_): return False\n"
        "clock.Evidence.ask = no"
    )


def clock_from(file: Path) -> str:
    """Return a statement for `changing`: the Unix time of schedules goes on from that in a file.

    Replace the file to set the clock."""
    return (
        "import time as real\n"
        "from pathlib import Path\n"
        "from raspi_server.automation import automation\n"
        "class Time:\n"
        "    monotonic = staticmethod(real.monotonic)\n"
        "    @staticmethod\n"
        "    def time():\n"
        f"        file = Path({str(file)!r})\n"
        "        return float(file.read_text()) + real.time() - file.stat().st_mtime\n"
        "automation.time = Time"
    )


def descriptors(server: Server) -> int:
    """Return the number of files and sockets that the server has open, but for the kernel's."""
    count = 0
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += not str(descriptor.readlink()).startswith(("/proc/", "/sys/"))
    return count


def memory(server: Server) -> int:
    """The server's resident memory in bytes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
    assert found
    return int(found[1]) * 1024
