"""Fixtures of all tests: the real server, as a process of its own."""

import atexit
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from tests.rigs.home import Home

LIMIT = 30.0
"""Seconds to wait for a fact before a test fails; far longer than any machine here needs."""


MACHINES = ("tests/gpio/virtual_pi/", "tests/system/debian/")
"""Suites that run on machines of their own, a virtual Pi and real Debians."""


class Together(LoadScopeScheduling):
    """Scheduler for several test processes. Tests that share the virtual Pi, or the servers of a
    module, stay together in one of them. So do the Debian guests, which share control groups."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return next((suite for suite in MACHINES if file.startswith(suite)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the suites that take minutes first."""
    order = (*MACHINES, "tests/browser/", "tests/")
    items.sort(key=lambda item: [item.nodeid.startswith(part) for part in order].index(True))


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

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws"

    def wait_for_log(self, pattern: str, again: int = 0) -> re.Match[str]:
        """The first line of the log that matches, or after `again` others that do, when it
        comes."""

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


_held = contextlib.ExitStack()
atexit.register(_held.close)


def free_port() -> int:
    """Return a port that is held until this process ends: no other free_port finds it, and no
    connection gets it by chance. A server may listen there again and again, if it sets SO_REUSEADDR
    as ours does. It lies below those of outgoing connections (ip(7)), where there are any."""
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


def _starter(folder: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on a configuration text; each must end well and leave no traceback."""
    servers: list[Server] = []

    def start(config: str, *arguments: str, simulate: bool = True, **options: object) -> Server:
        file = folder / f"config-{len(servers)}.yaml"
        file.write_text(config)
        command = ["run", "--config", str(file), *arguments]
        servers.append(Server(command + ["--simulate"] * simulate, **options))
        return servers[-1]

    yield start
    for server in servers:
        check_end(server)


def check_end(server: Server) -> None:
    """Stops a server that no test has stopped: whatever happened, it ends well and quietly."""
    assert server.process.stderr is not None
    if not server.process.stderr.closed:
        assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log
    assert "never retrieved" not in server.log, server.log


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`start_server(config_text, *arguments)`: servers for one test."""
    yield from _starter(tmp_path)


@pytest.fixture(scope="module")
def start_module_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    """The same for all tests of a module, which must leave it as they found it."""
    yield from _starter(tmp_path_factory.mktemp("servers"))


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[[], Server]]:
    """Starts the demo house in an empty folder."""
    servers: list[Server] = []

    def start() -> Server:
        environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parent.parent)}
        servers.append(Server(["demo"], cwd=tmp_path, env=environment))
        return servers[-1]

    yield start
    for server in servers:
        check_end(server)


@pytest.fixture
def live_in(tmp_path: Path) -> Iterator[Callable[..., "Home"]]:
    """`live_in(access)`: a server with codes."""
    from tests.rigs.home import Home

    homes: list[Home] = []

    def live_in(access: str = "{}") -> Home:
        homes.append(Home(tmp_path, access))
        return homes[-1]

    yield live_in
    for home in homes:
        check_end(home.server)
