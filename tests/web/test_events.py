"""`/api/events` as curl and EventSource use it."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support.http import HttpClient, ask
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import WebSocketClient

CONFIG = """
access: {control: everyone}
pins:
  lamp: {gpio: 17, mode: output}
  door: {gpio: 4, mode: input}
"""


class Events:
    """A client of the stream, on a bare socket."""

    def __init__(
        self,
        server: Server,
        buffer: int | None = None,
        address: str = "127.0.0.1",
        **headers: str,
    ) -> None:
        self.socket = open_socket(server.port, buffer, address)
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n{more}\r\n"
        self.socket.sendall(request.encode())
        self.lines = self._read()
        assert next(self.lines) == "HTTP/1.1 200 OK"
        self.headers = dict(line.split(": ", 1) for line in iter(lambda: next(self.lines), ""))

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.lines.close()
        self.socket.close()

    def _read(self) -> Generator[str, None, None]:
        lines = self.socket.makefile("r", encoding="utf-8", newline="\n")
        with lines, contextlib.suppress(*GONE):
            for line in lines:
                if not line.endswith("\n"):
                    return  # the server cut the stream in the middle of a line
                yield line.rstrip("\r\n")

    def events(self) -> Iterator[dict[str, str]]:
        """Yield the fields of each event until the stream ends."""
        fields: dict[str, str] = {}
        for line in self.lines:
            if line and not line.startswith(":"):
                name, value = line.split(": ", 1)
                fields[name] = value
            elif fields:
                yield fields
                fields = {}

    def receive(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return the next event of this kind that has these fields."""
        until = time.monotonic() + LIMIT
        for each in self.events():
            found: dict[str, Any] = json.loads(each.get("data", "{}"))
            if each.get("event") == kind and wanted.items() <= found.items():
                assert found["type"] == kind
                assert each.get("id", "") == str(found.get("seq", ""))
                return found
            assert time.monotonic() < until, f"no {kind} with {wanted}"
        raise AssertionError("the server closed")

    def is_ended(self) -> bool:
        until = time.monotonic() + LIMIT
        return all(time.monotonic() < until for _ in self.events())


def test_events(pi: Server) -> None:
    """A client gets all values and the health first, then each change and state with its number,
    as viewers of `/ws` do. It counts as a viewer until it leaves."""
    with Events(pi) as client, WebSocketClient(pi.port) as viewer:
        assert client.headers["Content-Type"] == "text/event-stream"
        assert client.headers["Cache-Control"] == "no-store"
        assert next(client.events()) == {"retry": "3000"}
        first = client.receive("state")
        assert first["pins"] == viewer.receive("hello")["state"]
        assert client.receive("health")["viewers"] in (1, 2)
        assert ask(pi, "GET", "/api/health").json["viewers"] == 2
        viewer.send(type="toggle", pin="lamp")
        change = client.receive("change", pin="lamp")
        assert change == viewer.receive("change", pin="lamp")
        assert change["by"] == "127.0.0.1" and change["seq"] > first["seq"]
        assert client.receive("state")["pins"]["lamp"] == change["value"]
    until = time.monotonic() + LIMIT
    while ask(pi, "GET", "/api/health").json["viewers"]:
        assert time.monotonic() < until
    head = ask(pi, "HEAD", "/api/events")
    assert (head.status, head.headers["Content-Type"]) == (200, "text/event-stream")


def test_curl(start_server) -> None:
    """`curl -N` shows a change when it happens; a stop of the server ends the stream."""
    pi = start_server(CONFIG)
    command = ["curl", "-sSN", f"{pi.url}/api/events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout
        assert "event: state\n" in iter(curl.stdout.readline, "")
        ask(pi, "POST", "/api/pins/lamp", {"value": True})
        assert "event: change\n" in iter(curl.stdout.readline, "")
        assert '"pin":"lamp","value":1' in curl.stdout.readline() + curl.stdout.readline()
        assert pi.stop() == 0
        curl.stdout.read()
        assert curl.wait(LIMIT) == 0


def test_viewing_needs_the_right(start_with_codes) -> None:
    """The stream needs the right to view. When it is lost, an event says so and the stream ends."""
    home = start_with_codes("{view: code}")
    pi, code = home.server, home.new("view")
    assert home.ask("GET", "/api/events").error[:2] == (401, "sign-in")
    for headers in ({"Cookie": home.cookie(code)}, {"Authorization": f"Bearer {code}"}):
        with Events(pi, **headers) as client:
            client.receive("state")
            if "Cookie" in headers:
                with HttpClient(pi) as browser:
                    here = f"127.0.0.1:{pi.port}"
                    assert browser.ask("POST", "/api/logout", Host=here, **headers).status == 200
            else:
                code = home.new("view")
                assert client.receive("error")["code"] == "sign-in"
            assert client.is_ended()


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        {"max_viewer_backlog_bytes": 20_000, "max_viewer_behind_s": 3600.0},
        {"max_viewer_backlog_bytes": 10**9, "max_viewer_behind_s": 2.0},
    ],
    ids=["bytes", "seconds"],
)
def test_client_that_does_not_read_is_closed(start_server, limits: dict[str, float]) -> None:
    """A client that does not read is closed. One that reads gets all changes meanwhile."""
    program = changing(**limits)
    pi = start_server(f"interval: 0.01\n{CONFIG}", program=program)
    with Events(pi, 4096) as asleep, Events(pi) as awake, HttpClient(pi) as script:
        awake.receive("state")
        until = time.monotonic() + LIMIT
        value = 0
        while script.ask("GET", "/api/health").json["viewers"] == 2:
            assert time.monotonic() < until
            value = 1 - value
            script.ask("PUT", "/api/pins/lamp", {"value": value})
            assert awake.receive("change")["value"] == value
        asleep.socket.settimeout(LIMIT)
        assert asleep.is_ended()
        awake.socket.shutdown(socket.SHUT_RDWR)
