"""Stops: within their time limit, whatever clients do, with every command answered and every output
left as configured. A second signal shortens a stop."""

import contextlib
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from socket import socket

import pytest

from tests.security.test_tls import Authority, timedelta
from tests.support.http import HttpClient, ask
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import CLOSE, HANDSHAKE, WebSocketClient, masked

PROMISED_S = 2.0
"""Time in which a stop ends, as docs/architecture.md says."""
SLACK_S = 2.5
"""Time by which this machine may be late. Both together are less than Tornado itself waits for an
answer to a close frame."""

CONFIG = """
access: {control: everyone}
pins:
  lamp: {gpio: 17, mode: output}
  fan: {gpio: 18, mode: output}
"""
SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)

Start = Callable[..., Server]


class Clients:
    """Connections that are kept open until the end of a test, and never read."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def send(self, server: Server, data: bytes = b"") -> socket:
        """Connect and send this, then nothing more."""
        client = self._stack.enter_context(open_socket(server.port, 4096))
        client.sendall(data)
        return client

    def view(self, server: Server) -> WebSocketClient:
        """Add a viewer that does not answer a close frame, unless the test does."""
        viewer = self._stack.enter_context(WebSocketClient(server.port, 4096))
        viewer.receive("hello")
        return viewer


@pytest.fixture
def clients() -> Iterator[Clients]:
    with contextlib.ExitStack() as stack:
        yield Clients(stack)


def begin_stop(server: Server) -> float:
    """Send SIGTERM. Return the moment."""
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    return began


def check_stop(server: Server, began: float) -> float:
    """Wait for the end. Return the seconds the stop took, which must not be too many."""
    server.process.wait(LIMIT)
    took = time.monotonic() - began
    assert server.stop() == 0, server.log
    assert "ERROR" not in server.log
    assert took < PROMISED_S + SLACK_S
    return took


# Time


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """More descriptors for this process and the servers it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_thousand_viewers(start_server: Start, many_descriptors: None, clients: Clients) -> None:
    """A stop with a thousand viewers, half of them asleep, ends in time. All others get the close
    code 1001 and the reason."""
    # Nothing closes a viewer while a slow machine still connects the others.
    program = changing(ping_interval_s=1000.0)
    server = start_server("interval: 3600\n" + CONFIG, program=program)
    viewers = [clients.view(server) for _ in range(1000)]
    began = begin_stop(server)
    for viewer in viewers[::2]:
        close = next(payload for opcode, payload in viewer.frames() if opcode == CLOSE)
        assert close == (1001).to_bytes(2, "big") + b"the server is stopping"
        with contextlib.suppress(*GONE):
            viewer.socket.sendall(masked(CLOSE, close[:2]))
    check_stop(server, began)


def test_clients_do_not_delay_a_stop(start_server: Start, clients: Clients, tmp_path: Path) -> None:
    """Silent clients, half requests and bodies, and downloads that are not read do not delay a
    stop, and are no errors in the log."""
    (tmp_path / "www").mkdir()
    with (tmp_path / "www" / "film.bin").open("wb") as film:
        film.truncate(50_000_000)
    server = start_server(CONFIG)
    page = b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    put = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    clients.view(server)
    with WebSocketClient(server.port) as viewer:
        for request in (page % b"film.bin", page % b"api", (page % b"") * 30):
            assert clients.send(server, request).recv(15) == b"HTTP/1.1 200 OK"
        for data in (
            b"",
            b"GET /api HTTP/1.1\r\nHo",
            HANDSHAKE[:-2],
            put + b"Content-Length: 99\r\n\r\n{",
            put + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        ):
            clients.send(server, data)
        viewer.receive("hello")
        began = begin_stop(server)
        assert viewer.close_code() == 1001
    check_stop(server, began)


def test_handshakes_do_not_delay_a_stop(
    start_server: Start, clients: Clients, tmp_path: Path
) -> None:
    """TLS handshakes that never end do not delay a stop."""
    authority = Authority(tmp_path)
    pair = authority.issue("good", timedelta(days=-1), timedelta(days=7))
    server = start_server(pair.config() + CONFIG)
    outgoing = ssl.MemoryBIO()
    handshake = authority.trusting().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    client_hello = outgoing.read()
    with WebSocketClient(server.port, context=authority.trusting()) as viewer:
        viewer.receive("hello")
        clients.send(server)
        clients.send(server, client_hello[:20])
        assert clients.send(server, client_hello).recv(1) == b"\x16"
        began = begin_stop(server)
        assert viewer.close_code() == 1001
    check_stop(server, began)


def test_stop_waits_for_viewers(start_server: Start, clients: Clients) -> None:
    """A stop waits a second for viewers that do not answer the close frame."""
    server = start_server(CONFIG)
    clients.view(server)
    assert check_stop(server, begin_stop(server)) > 0.9


# Signals


@SIGNALS
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_second_signal_ends_the_wait(
    start_server: Start, clients: Clients, number: signal.Signals, second: signal.Signals
) -> None:
    """A second SIGTERM or SIGINT ends the wait for viewers that do not answer. The end is clean."""
    server = start_server(CONFIG, program=changing(close_timeout_s=1000.0))
    clients.view(server)
    server.process.send_signal(number)
    server.wait_for_log("INFO stopping$")
    began = time.monotonic()
    server.process.send_signal(second)
    check_stop(server, began)


@pytest.mark.parametrize(
    "numbers", [(signal.SIGTERM, signal.SIGINT), (signal.SIGHUP,)], ids=["stop", "reload"]
)
def test_signals_until_the_end(
    start_server: Start, clients: Clients, numbers: tuple[signal.Signals, ...]
) -> None:
    """More signals, at any moment of a stop, leave it clean and within its time. A reload is
    ignored."""
    server = start_server(CONFIG)
    clients.view(server)
    began = begin_stop(server)
    server.wait_for_log("INFO stopping$")
    while server.process.poll() is None:
        for number in numbers:
            server.process.send_signal(number)
        threading.Event().wait(0.001)  # asyncio itself complains about more
        assert time.monotonic() < began + LIMIT
    check_stop(server, began)
    assert server.log.count(" serving ") == 1
    is_ignored = "ignored SIGHUP: the server is stopping" in server.log
    assert is_ignored == (signal.SIGHUP in numbers)


@SIGNALS
def test_stop_while_pins_open(start_server: Start, tmp_path: Path, number: signal.Signals) -> None:
    """A stop while the pins are being opened is a clean stop after they are."""
    pid, opening, go = (tmp_path / name for name in ("pid", "opening", "go"))
    slow = f"""
import os, time
from raspi_server.gpio.backend import SimulatedFactory
real_init = SimulatedFactory.__init__
def slow_init(self):
    with open({str(pid)!r}, "w") as file:
        file.write(str(os.getpid()))
    os.rename({str(pid)!r}, {str(opening)!r})
    while not os.path.exists({str(go)!r}):
        time.sleep(0.01)
    real_init(self)
SimulatedFactory.__init__ = slow_init
"""
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(start_server, CONFIG, program=changing(slow))
        try:
            limit = time.monotonic() + LIMIT
            while not opening.exists():
                assert time.monotonic() < limit
                threading.Event().wait(0.01)
            os.kill(int(opening.read_text()), number)
        finally:
            began = time.monotonic()
            go.touch()
        check_stop(server.result(), began)


@SIGNALS
def test_stop_before_anything_is_built(number: signal.Signals) -> None:
    """A stop before the first pin is opened is clean and silent."""
    early = f"""
import os
from raspi_server.system import logs
real_start = logs.start
def start(*settings):
    real_start(*settings)
    os.kill(os.getpid(), {int(number)})
logs.start = start
"""
    command = [sys.executable, *changing(early), "demo", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert (ended.returncode, ended.stderr) == (0, "")


# Commands and outputs


def test_results_are_true(start_server: Start) -> None:
    """Commands just before a stop, or during it, are answered as done exactly if they were done."""
    server = start_server(CONFIG)
    done = threading.Semaphore(0)

    def toggle_fan() -> int:
        """Return the number of successful toggles until the server ends."""
        count = 0
        with HttpClient(server) as client, contextlib.suppress(OSError, HTTPException):
            while True:
                count += client.ask("POST", "/api/pins/fan/toggle").status == 200
                done.release()
        return count

    with WebSocketClient(server.port) as viewer, ThreadPoolExecutor(4) as pool:
        viewer.receive("hello")
        toggling = [pool.submit(toggle_fan) for _ in range(4)]
        for _ in range(50):
            assert done.acquire(timeout=LIMIT)
        for number in range(90):
            if number == 45:
                begin_stop(server)
            with contextlib.suppress(*GONE):
                viewer.send(type="toggle", pin="lamp", ref=number)
        refs = [each["ref"] for each in viewer.messages() if each["type"] == "result"]
        fan_count = sum(each.result() for each in toggling)
    assert server.stop() == 0
    assert refs == list(range(len(refs)))
    assert len(refs) == len(re.findall(r"lamp \(GPIO17\): o(?:n|ff), by", server.log))
    assert fan_count == len(re.findall(r"fan \(GPIO18\): o(?:n|ff), by", server.log))


def test_waiting_commands_are_answered(start_server: Start) -> None:
    """A stop answers commands that wait for the pause of a group, before it closes the
    connection. Nothing was switched."""
    motor = "mode: output, group: motor, group_pause: 3"
    up, down = f"{{gpio: 5, {motor}}}", f"{{gpio: 6, {motor}}}"
    server = start_server(f"access: {{control: everyone}}\npins: {{up: {up}, down: {down}}}\n")
    with WebSocketClient(server.port) as viewer, ThreadPoolExecutor(1) as pool:
        assert viewer.command(type="set", pin="up", value=1)["value"] == 1
        response = pool.submit(ask, server, "PUT", "/api/pins/down", {"value": 1})
        viewer.receive("change", pin="up", value=0)
        viewer.send(type="set", pin="down", value=1, ref="waits")
        assert viewer.command(type="toggle", pin="none")["code"] == "unknown-pin"
        begin_stop(server)
        error = viewer.receive("error", ref="waits")
        assert error["message"] == "not switched on: the server is stopping"
        assert response.result().error == (409, "superseded", error["message"])
        assert viewer.close_code() == 1001
    assert server.stop() == 0
    assert "down (GPIO6): on" not in server.log


def test_command_during_a_stop_is_rejected(start_server: Start, clients: Clients) -> None:
    """A command that arrives during a stop is rejected with the reason."""
    server = start_server(CONFIG)
    clients.view(server)
    with HttpClient(server) as client:
        client.ask("GET", "/api")
        begin_stop(server)
        server.wait_for_log("INFO stopping$")
        status, _, message = client.ask("PUT", "/api/pins/lamp", {"value": 1}).error
    assert (status, message) == (409, "lamp (GPIO17): the server is stopping")


def test_outputs_are_left_as_on_stop_says(start_server: Start) -> None:
    """A stop leaves each output as its `on_stop`."""
    print_lines = """
from raspi_server.gpio.backend import SimulatedFactory
real_close = SimulatedFactory.close
def close(self):
    for number in (5, 6, 7, 8):
        pin = self.pin(number)
        sys.stderr.write(f"{pin} was left as {pin.function} {int(pin.state)}\\n")
    real_close(self)
SimulatedFactory.close = close
"""
    pins = "".join(
        f"  pin-{how}: {{gpio: {number}, mode: output, on_stop: {how}}}\n"
        for number, how in enumerate(("off", "on", "keep", "input"), 5)
    )
    text = f"access: {{control: everyone}}\npins:\n{pins}"
    server = start_server(text, program=changing(print_lines))
    for how in ("off", "keep", "input"):
        assert ask(server, "PUT", f"/api/pins/pin-{how}", {"value": 1}).json["value"] == 1
    assert server.stop() == 0
    left = re.findall(r"GPIO(\d) was left as (\w+ \d)", server.log)
    assert left[:3] == [("5", "output 0"), ("6", "output 1"), ("7", "output 1")]
    assert "GPIO8 was left as input" in server.log
