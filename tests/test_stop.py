"""Stops: they end whatever clients do, and commands at that moment get true answers."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from socket import socket

import pytest

from raspi_server.limits import DEFAULT
from tests.security.test_tls import Authority, timedelta
from tests.support.http import HttpClient
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import GONE
from tests.support.websocket import CLOSE, HANDSHAKE, WebSocketClient, masked

CONFIG = """
access: {control: everyone}
pins:
  lamp: {gpio: 17, mode: output}
  fan: {gpio: 18, mode: output}
"""
PATIENT = "from tornado import websocket; websocket.WebSocketProtocol._abort = lambda self: None"
"""Tornado waits forever for the answer to a close frame, so that only our limit ends a stop."""
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
Start = Callable[..., Server]
Connect = Callable[..., socket]


@pytest.fixture
def connect(connect) -> Connect:
    """`connect(server, data)`: a connection that sends this, then nothing more."""
    return lambda server, data=b"": connect(server, "127.0.0.1", 1, data, 4096)[0]


def view(server: Server, connect: Connect) -> None:
    """Add a viewer that does not answer a close frame."""
    assert connect(server, HANDSHAKE).recv(12) == b"HTTP/1.1 101"


def check_stop(server: Server) -> None:
    """Wait for the end, which is clean."""
    server.process.wait(LIMIT)
    assert server.stop() == 0, server.log
    assert "ERROR" not in server.log


def test_clients_do_not_delay_a_stop(start_server: Start, connect: Connect, tmp_path: Path) -> None:
    """Clients that sleep, are silent or read nothing delay a stop for a second at most."""
    assert 2 * DEFAULT.close_timeout_s <= 2, "as docs/architecture.md says"
    (tmp_path / "www").mkdir()
    with (tmp_path / "www" / "film.bin").open("wb") as film:
        film.truncate(50_000_000)
    server = start_server(CONFIG, program=changing(PATIENT))
    page = b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    put = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for _ in range(100):
        view(server, connect)
    for request in (page % b"film.bin", page % b"api", (page % b"") * 30):
        assert connect(server, request).recv(15) == b"HTTP/1.1 200 OK"
    for data in (
        b"",
        b"GET /api HTTP/1.1\r\nHo",
        HANDSHAKE[:-2],
        put + b"Content-Length: 99\r\n\r\n{",
        put + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ):
        connect(server, data)
    with WebSocketClient(server.port) as viewer:
        viewer.receive("hello")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        close = next(payload for opcode, payload in viewer.frames() if opcode == CLOSE)
        assert close == (1001).to_bytes(2, "big") + b"the server is stopping"
        viewer.socket.sendall(masked(CLOSE, close[:2]))
        check_stop(server)
        assert time.monotonic() - began > 0.9


def test_endless_handshakes(start_server: Start, connect: Connect, tmp_path: Path) -> None:
    """TLS handshakes that never end do not delay a stop."""
    authority = Authority(tmp_path)
    pair = authority.issue("good", timedelta(days=-1), timedelta(days=7))
    server = start_server(pair.config() + CONFIG)
    connect(server)
    connect(server, b"\x16\x03\x01\x02\x00\x01\x00")  # the begin of a ClientHello
    with WebSocketClient(server.port, context=authority.trusting()) as viewer:
        viewer.receive("hello")
        server.process.send_signal(signal.SIGTERM)
        assert viewer.close_code() == 1001
    check_stop(server)


@SIGNALS
def test_second_signal_ends_the_wait(start_server: Start, connect: Connect, number: int) -> None:
    """A second SIGTERM or SIGINT ends the wait for viewers that do not answer. More signals, at any
    moment, leave the end clean. A command or a reload during a stop is rejected."""
    server = start_server(CONFIG, program=changing(PATIENT, close_timeout_s=1000.0))
    view(server, connect)
    with HttpClient(server) as client:
        client.ask("GET", "/api")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("INFO stopping$")
        status, _, message = client.ask("PUT", "/api/pins/lamp", {"value": 1}).error
        assert (status, message) == (409, "lamp: the server is stopping")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("ignored SIGHUP: the server is stopping")
    until = time.monotonic() + LIMIT
    while server.process.poll() is None:
        for each in (number, signal.SIGHUP):
            server.process.send_signal(each)
        threading.Event().wait(0.001)  # asyncio itself complains about more
        assert time.monotonic() < until
    check_stop(server)
    assert server.log.count(" serving ") == 1


@SIGNALS
@pytest.mark.parametrize("moment", ["system.logs start", "server open_factory"])
def test_stop_during_the_start(moment: str, number: int) -> None:
    """A stop before the first pin is opened, or while they are, is clean."""
    module, name = moment.split()
    early = f"""
import os, raspi_server.{module} as module
real = module.{name}
def early(*arguments):
    found = real(*arguments)
    os.kill(os.getpid(), {int(number)})
    return found
module.{name} = early
"""
    command = [sys.executable, *changing(early), "demo", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_results_are_true(start_server: Start) -> None:
    """Commands just before a stop, or during it, are answered as done exactly if they were done."""
    server = start_server(CONFIG)

    def toggle_fan() -> int:
        """Return the number of successful toggles until the server ends."""
        count = 0
        with HttpClient(server) as client, contextlib.suppress(OSError, HTTPException):
            while True:
                count += client.ask("POST", "/api/pins/fan/toggle").status == 200
        return count

    with WebSocketClient(server.port) as viewer, ThreadPoolExecutor(4) as pool:
        toggling = [pool.submit(toggle_fan) for _ in range(4)]
        for _ in range(50):
            viewer.receive("change", pin="fan")
        for number in range(90):
            if number == 45:
                server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(*GONE):
                viewer.send(type="toggle", pin="lamp", ref=number)
        refs = [each["ref"] for each in viewer.messages() if each["type"] == "result"]
        fan_count = sum(each.result() for each in toggling)
    assert server.stop() == 0
    assert refs == list(range(len(refs)))
    assert len(refs) == len(re.findall(r"lamp \(GPIO17\): o(?:n|ff), by", server.log))
    assert fan_count == len(re.findall(r"fan \(GPIO18\): o(?:n|ff), by", server.log))
