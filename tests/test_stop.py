"""The stop: within its time limit, whatever clients do, with every promise kept. A second signal
shortens it."""

import contextlib
import http.client
import json
import os
import re
import resource
import selectors
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.net.test_hub import frames
from tests.security.test_tls import Authority, timedelta
from tests.support.server import LIMIT, Server, changing
from tests.support.websocket import WebSocketClient
from tests.system.test_stuck import DRIVER, GO, WHILE
from tests.web.test_websocket import Browser

PROMISED = 2.0
SLACK = 2.5
"""Seconds within which a stop ends, and by which this machine may be late: together
less than Tornado itself waits for a goodbye."""

CONFIG = """
access: {control: everyone}
pins:
  lamp: {gpio: 17, mode: output}
  fan: {gpio: 18, mode: output}
"""

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For us, and for the servers that we start meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, 4096)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def crowd() -> Iterator["Crowd"]:
    crowd = Crowd()
    yield crowd
    crowd.leave()


class Crowd:
    """Clients as they come: some read and answer, some are asleep."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._awake: dict[socket.socket, bytearray] = {}

    def connect(self, server: Server, says: bytes = b"") -> socket.socket:
        """One that says this, and then nothing more."""
        client = socket.socket()
        self._sockets.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(LIMIT)
        client.connect(("127.0.0.1", server.port))
        client.sendall(says)
        return client

    def watch(self, server: Server, count: int) -> None:
        """So many viewers, each second one asleep."""
        for number in range(count):
            client = self.connect(server, UPGRADE)
            if number % 2:
                client.setblocking(False)
                self._awake[client] = bytearray()
        for _ in range(1000):
            with Browser(server) as browser:
                if browser.read_until("health")["viewers"] > count:
                    return
        raise AssertionError(f"never were there {count} viewers")

    def read_to_the_end(self) -> list[int]:
        """Those who are awake read, and answer the goodbye; its code for each of them."""
        limit = time.monotonic() + LIMIT
        codes: dict[socket.socket, int] = {}
        with selectors.DefaultSelector() as selector:
            for client in self._awake:
                selector.register(client, selectors.EVENT_READ)
            while selector.get_map():
                assert time.monotonic() < limit
                for key, _ in selector.select(1):
                    client = key.fileobj
                    assert isinstance(client, socket.socket)
                    data = b""
                    with contextlib.suppress(ConnectionResetError):
                        data = client.recv(65536)
                    if not data:
                        selector.unregister(client)
                        continue
                    self._awake[client] += data
                    code = goodbye(self._awake[client])
                    if code is not None and client not in codes:
                        codes[client] = code
                        with contextlib.suppress(OSError):
                            client.send(b"\x88\x82\0\0\0\0" + struct.pack("!H", code))
        return [codes.get(client, 0) for client in self._awake]

    def leave(self) -> None:
        for client in self._sockets:
            client.close()


def goodbye(data: bytearray) -> int | None:
    """The code of the close frame with which what a WebSocket said ends, if it does."""
    if data[-26:-24] != b"\x88\x18":
        return None
    *_, (opcode, payload) = frames(bytes(data).partition(b"\r\n\r\n")[2])
    assert (opcode, payload[2:]) == (8, b"the server is stopping")
    code: int = struct.unpack("!H", payload[:2])[0]
    return code


def stop_in_time(server: Server, began: float | None = None) -> float:
    """Seconds a stop took, which may not be too many."""
    if began is None:
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
    server.process.wait(LIMIT)
    took = time.monotonic() - began
    assert server.stop() == 0, server.log
    print(f"the stop took {took:.2f} s")
    assert took < PROMISED + SLACK
    return took


def test_a_thousand_viewers(
    start_server: Callable[..., Server], many_descriptors: None, crowd: Crowd
) -> None:
    """A stop with a thousand viewers, half of them asleep, takes no 2 s, and everyone who is awake
    is told that the server is going away."""
    server = start_server(CONFIG)
    crowd.watch(server, 1000)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert crowd.read_to_the_end() == [1001] * 500
    stop_in_time(server, began)


def test_all_kinds_of_clients(
    start_server: Callable[..., Server], crowd: Crowd, tmp_path: Path
) -> None:
    """Nobody holds up a stop: no slow download, no half of a request, no silent caller."""
    (tmp_path / "www").mkdir()
    with (tmp_path / "www" / "film.bin").open("wb") as film:
        film.truncate(50_000_000)
    server = start_server(CONFIG)
    with Browser(server) as browser:
        browser.read()
        for _ in range(5):
            client = crowd.connect(server, b"GET /film.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            crowd.connect(server)
            crowd.connect(server, b"GET /api HTTP/1.1\r\nHo")
            crowd.connect(server, UPGRADE[:-2])
            crowd.connect(
                server,
                b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n{",
            )
            idle = crowd.connect(server, b"GET /api HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert idle.recv(15) == b"HTTP/1.1 200 OK"
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert browser.close_code() == 1001
    stop_in_time(server, began)


def test_answers_that_nobody_reads(
    start_server: Callable[..., Server], crowd: Crowd, tmp_path: Path
) -> None:
    """Whoever is in the middle of a file or of a body when the stop ends, since a viewer does not
    answer the goodbye, is no line in the log."""
    (tmp_path / "www").mkdir()
    with (tmp_path / "www" / "film.bin").open("wb") as film:
        film.truncate(50_000_000)
    server = start_server(CONFIG)
    assert crowd.connect(server, UPGRADE).recv(12) == b"HTTP/1.1 101"
    page = b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for words in (page % b"film.bin", (page % b"") * 30):
        assert crowd.connect(server, words).recv(15) == b"HTTP/1.1 200 OK"
    put = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    crowd.connect(server, put + b"2\r\nab\r\n")
    assert server.stop() == 0
    assert "ERROR" not in server.log


def test_handshakes(start_server: Callable[..., Server], crowd: Crowd, tmp_path: Path) -> None:
    """Nor does a TLS handshake that is never finished hold up a stop."""
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("good", timedelta(days=-1), timedelta(days=7))
    server = start_server(pair.config() + CONFIG)
    hello = ssl.MemoryBIO()
    shaking = authority.trusting().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        shaking.do_handshake()
    first = hello.read()
    with WebSocketClient(server.port, context=authority.trusting()) as browser:
        next(browser.messages())
        for _ in range(5):
            crowd.connect(server)
            crowd.connect(server, first[:20])
            assert crowd.connect(server, first).recv(1) == b"\x16"  # and we say nothing to that
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert browser.close_code() == 1001
    stop_in_time(server, began)


def test_what_was_promised(start_server: Callable[..., Server]) -> None:
    """A command that comes just before the stop, or during it, is answered as done if it was done,
    and only then."""
    server = start_server(CONFIG)
    done = threading.Semaphore(0)

    def switch() -> int:
        """Return how often the fan was switched until the server had ended."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
        count = 0
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            while True:
                connection.request("POST", "/api/pins/fan/toggle")
                with connection.getresponse() as response:
                    response.read()
                    count += response.status == 200
                done.release()
        return count

    with Browser(server) as browser, ThreadPoolExecutor(4) as pool:
        browser.read()
        switching = [pool.submit(switch) for _ in range(4)]
        for _ in range(50):
            assert done.acquire(timeout=LIMIT)
        for number in range(90):
            if number == 45:
                server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(Exception):
                browser.send(type="toggle", pin="lamp", ref=number)
        refs: list[int] = []
        with contextlib.suppress(Exception):
            while True:
                message = browser.read()
                if message["type"] == "result":
                    refs.append(message["ref"])
        fans = sum(each.result() for each in switching)
    assert server.stop() == 0
    assert refs == list(range(len(refs)))
    assert len(refs) == len(re.findall(r"lamp \(GPIO17\): o(?:n|ff), by", server.log))
    assert fans == len(re.findall(r"fan \(GPIO18\): o(?:n|ff), by", server.log))


def test_a_command_that_waits(start_server: Callable[..., Server]) -> None:
    """Who waits for the pause of a group when the server stops is told that nothing was done."""
    motor = "mode: output, group: motor, group_pause: 3"
    up, down = f"{{gpio: 5, {motor}}}", f"{{gpio: 6, {motor}}}"
    server = start_server(f"access: {{control: everyone}}\npins: {{up: {up}, down: {down}}}\n")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    with contextlib.closing(connection), Browser(server) as browser:
        browser.ask(type="set", pin="up", value=1)
        connection.request("PUT", "/api/pins/down", '{"value":1}')
        browser.read_until("change", pin="up", value=0)
        server.process.send_signal(signal.SIGTERM)
        with connection.getresponse() as response:
            assert response.status == 409
            answer = json.load(response)
        assert answer["error"]["message"] == "not switched on: the server is stopping"
    assert server.stop() == 0
    assert "down (GPIO6): on" not in server.log


LEAVES = """
from raspi_server.gpio.backend import SimulatedFactory
well = SimulatedFactory.close
def close(self):
    for number in (5, 6, 7, 8):
        pin = self.pin(number)
        sys.stderr.write(f"{pin} was left as {pin.function} {int(pin.state)}\\n")
    well(self)
SimulatedFactory.close = close
"""


def test_outputs_are_left_as_on_stop_says(start_server: Callable[..., Server]) -> None:
    """A stop leaves each output as its on_stop says, whoever is connected."""
    pins = "".join(
        f"  pin-{how}: {{gpio: {number}, mode: output, on_stop: {how}}}\n"
        for number, how in enumerate(("off", "on", "keep", "input"), 5)
    )
    server = start_server(
        f"access: {{control: everyone}}\npins:\n{pins}", program=("-c", DRIVER + LEAVES + GO)
    )
    with Browser(server) as browser:
        for how in ("off", "keep", "input"):
            assert browser.ask(type="set", pin=f"pin-{how}", value=1)["value"] == 1
        server.process.send_signal(signal.SIGTERM)
        assert browser.close_code() == 1001
    assert server.stop() == 0
    assert re.findall(r"GPIO(\d) was left as (\w+ \d)", server.log)[:3] == [
        ("5", "output 0"),
        ("6", "output 1"),
        ("7", "output 1"),
    ]
    assert "GPIO8 was left as input" in server.log


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
    ],
    ids=lambda number: number.name,
)
def test_a_second_signal_hurries_it_up(
    start_server: Callable[..., Server],
    crowd: Crowd,
    first: signal.Signals,
    second: signal.Signals,
) -> None:
    """A second SIGTERM or SIGINT ends the wait for those who are asleep, and ends cleanly, too."""
    server = start_server(CONFIG, program=changing(close_timeout_s=1000.0))
    crowd.watch(server, 1)
    server.process.send_signal(first)
    server.wait_for_log("INFO stopping$")
    began = time.monotonic()
    server.process.send_signal(second)
    stop_in_time(server, began)


def test_without_a_second_signal(start_server: Callable[..., Server], crowd: Crowd) -> None:
    """Those who are asleep are waited for, but not for long."""
    server = start_server(CONFIG)
    crowd.watch(server, 1)
    assert stop_in_time(server) > 0.9


def test_signals_without_end(start_server: Callable[..., Server], crowd: Crowd) -> None:
    """However often it is told to stop, the end is a clean one."""
    server = start_server(CONFIG)
    crowd.watch(server, 10)
    began = time.monotonic()
    while server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.001)  # more than that, and asyncio complains by itself
        assert time.monotonic() < began + LIMIT
    stop_in_time(server, began)


def test_a_reload_during_the_stop(start_server: Callable[..., Server], crowd: Crowd) -> None:
    """A reload that is asked for during the stop neither prolongs nor spoils it."""
    server = start_server(CONFIG)
    crowd.watch(server, 1)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_log("INFO stopping$")
    for _ in range(10):
        server.process.send_signal(signal.SIGHUP)
    stop_in_time(server, began)
    assert server.log.count(" serving ") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_stop_while_starting(
    start_server: Callable[..., Server], tmp_path: Path, number: signal.Signals
) -> None:
    """A stop while the pins are being opened is a clean stop as soon as they are."""
    slow = f"""
from raspi_server.gpio.backend import SimulatedFactory
well = SimulatedFactory.__init__
def slow(self):
    with open({str(tmp_path / "pid")!r}, "w") as file:
        file.write(str(os.getpid()))
    os.rename({str(tmp_path / "pid")!r}, {str(tmp_path / "starting")!r})
    wait_for({str(tmp_path / "go")!r})
    well(self)
SimulatedFactory.__init__ = slow
"""
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(start_server, CONFIG, program=("-c", DRIVER + WHILE + slow + GO))
        try:
            limit = time.monotonic() + LIMIT
            while not (tmp_path / "starting").exists():
                assert time.monotonic() < limit
                threading.Event().wait(0.01)
            os.kill(int((tmp_path / "starting").read_text()), number)
        finally:
            began = time.monotonic()
            (tmp_path / "go").touch()
        stop_in_time(server.result(), began)


def test_a_waiting_viewer_is_told(start_server: Callable[..., Server]) -> None:
    """A viewer whose command waits when the server stops is told so before the goodbye."""
    motor = "mode: output, group: motor, group_pause: 3"
    up, down = f"{{gpio: 5, {motor}}}", f"{{gpio: 6, {motor}}}"
    server = start_server(f"access: {{control: everyone}}\npins: {{up: {up}, down: {down}}}\n")
    with Browser(server) as browser:
        browser.ask(type="set", pin="up", value=1)
        browser.send(type="set", pin="down", value=1, ref="waits")
        browser.read_until("change", pin="up", value=0)
        server.process.send_signal(signal.SIGTERM)
        told = browser.read_until("error", ref="waits")
        assert told["message"] == "not switched on: the server is stopping"
        assert browser.close_code() == 1001


def test_reloads_until_the_end(start_server: Callable[..., Server], crowd: Crowd) -> None:
    """However late in the stop a reload is asked for, the end is a clean one."""
    server = start_server(CONFIG)
    crowd.watch(server, 10)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    while server.process.poll() is None:
        server.process.send_signal(signal.SIGHUP)
        threading.Event().wait(0.001)
        assert time.monotonic() < began + LIMIT
    stop_in_time(server, began)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_stop_before_anything_is_built(
    number: signal.Signals,
) -> None:
    """A stop in the very first moments, when no pin was touched yet, is a clean stop, too."""
    early = f"""
import os
import raspi_server.system.logs
well = raspi_server.system.logs.start
def start(*settings):
    well(*settings)
    os.kill(os.getpid(), {int(number)})
raspi_server.system.logs.start = start
"""
    command = [sys.executable, "-c", DRIVER + early + GO, "demo", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_late_command(start_server: Callable[..., Server], crowd: Crowd) -> None:
    """A command that comes during the stop is refused with the reason."""
    server = start_server(CONFIG)
    crowd.watch(server, 1)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    with contextlib.closing(connection):
        connection.request("GET", "/api")
        with connection.getresponse() as response:
            response.read()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("INFO stopping$")
        connection.request("PUT", "/api/pins/lamp", '{"value":1}')
        with connection.getresponse() as response:
            assert response.status == 409
            answer = json.load(response)
    assert answer["error"]["message"] == "lamp (GPIO17): the server is stopping"
