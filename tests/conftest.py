"""Fixtures of all tests: the real server, as a process of its own."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support.coded_server import CodedServer
from tests.support.mqtt import Brokers
from tests.support.server import Server, check_end
from tests.support.sockets import GONE, open_socket

MACHINES = ("tests/gpio/virtual_pi/", "tests/system/debian/")
"""Suites that run on machines of their own: a virtual Pi and real Debians."""

TIERS = {
    "long": "many more random events for the models; before a release",
    "peers": "needs other programs, such as nginx; before a release",
    "pi": "an emulated Raspberry Pi 3B with two Debians, for half an hour; before a release",
}
"""Tiers that run only when they are asked for, with the reason."""


class Together(LoadScopeScheduling):
    """Scheduler for several test processes. Tests that share the virtual Pi, the Debians, or the
    servers of a module, stay together in one of them."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        if file.startswith("tests/pi/"):
            return nodeid.partition("[")[2]  # the Debian of the emulated Pi
        return next((suite for suite in MACHINES if file.startswith(suite)), file)


MORNING = 10
"""Hour at which each run begins, in the time zone that it chooses for its programs: windows some
hours before or after now are those of one day, and no clock changes to summer time."""


def pytest_configure(config: pytest.Config) -> None:
    """Set a time zone in which it is morning now."""
    if not hasattr(config, "workerinput"):  # the processes of a run inherit it
        east = (MORNING - time.gmtime().tm_hour + 12) % 24 - 12
        os.environ["TZ"] = f"Etc/GMT{-east:+d}"  # POSIX counts hours west of Greenwich
        time.tzset()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, leave out the tiers nobody asked for, run long suites first."""
    order = (*MACHINES, "tests/browser/", "tests/")
    items.sort(key=lambda item: [item.nodeid.startswith(part) for part in order].index(True))
    for item in items:
        if item.nodeid.startswith("tests/browser/"):
            item.add_marker("browser")
        if item.nodeid.startswith(MACHINES):
            item.add_marker("machine")
    for tier in TIERS:
        if tier not in config.option.markexpr:
            left_out = {item for item in items if item.get_closest_marker(tier)}
            config.hook.pytest_deselected(items=list(left_out))
            items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the tiers that this run left out, and why."""
    for tier, reason in TIERS.items():
        if tier not in config.option.markexpr:
            terminalreporter.write_line(f"Left out: {tier} (scripts/test.sh {tier}): {reason}")


def _starter(folder: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on a configuration, in the folder `at`; each must end well and quietly."""
    servers: list[Server] = []

    def start(
        config: str, *arguments: str, simulate: bool = True, at: Path = folder, **options: object
    ) -> Server:
        file = at / f"config-{len(servers)}.yaml"
        file.write_text(config)
        command = ["run", "--config", str(file), *arguments]
        servers.append(Server(command + ["--simulate"] * simulate, **options))
        return servers[-1]

    yield start
    for server in servers:
        check_end(server)


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


@pytest.fixture(scope="module")
def pi(request: pytest.FixtureRequest, start_module_server: Callable[..., Server]) -> Server:
    """The server of a module, with its CONFIG; each test leaves it as it found it."""
    return start_module_server(request.module.CONFIG)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-days", "30",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def connect() -> Iterator[Callable[..., list[socket.socket]]]:
    """Return `connect(server, address, count, data)`: connections that have sent this."""
    opened: list[socket.socket] = []

    def connect(
        server: Server, address: str, count: int, data: bytes = b"", buffer: int | None = None
    ) -> list[socket.socket]:
        for _ in range(count):
            opened.append(open_socket(server.port, buffer, address))
            with contextlib.suppress(*GONE):
                opened[-1].sendall(data)
        return opened[-count:]

    yield connect
    for each in opened:
        each.close()


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
def start_with_codes(tmp_path: Path) -> Iterator[Callable[..., CodedServer]]:
    """`start_with_codes(access)`: a server with codes."""
    homes: list[CodedServer] = []

    def start_with_codes(access: str = "{}") -> CodedServer:
        homes.append(CodedServer(tmp_path, access))
        return homes[-1]

    yield start_with_codes
    for home in homes:
        check_end(home.server)


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    """MQTT brokers and their clients; the test is skipped if Mosquitto is not installed."""
    with Brokers(tmp_path) as found:
        yield found
