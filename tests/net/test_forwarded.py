"""Clients behind proxies: by what a trusted proxy tells, whatever the client sends itself."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from raspi_server.net.forwarded import Client, Proxies, client_of
from raspi_server.security.codes import Codes
from tests.support.http import Response, ask
from tests.support.server import Server, changing
from tests.support.websocket import CLOSE, WebSocketClient
from tests.web.test_events import Events

PROXY, INNER, STRANGER, REAL = "127.0.0.9", "172.16.3.4", "127.0.0.8", "203.0.113.7"
TRUSTED = Proxies([f"{PROXY}/32", "172.16.0.0/12", "fd00::/8"])
CONFIG = """
access: {{proxies: [{}, 172.16.0.0/12], hosts: [pi.example.org]}}
pins: {{lamp: {{gpio: 17, mode: output}}}}
"""


def told(peer: str = PROXY, **headers: str | list[str]) -> Client:
    """Return the client of a request with these headers. A list is a repeated header."""
    lines = HTTPHeaders()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            lines.add(name.replace("_", "-"), value)
    return client_of(peer, lines, TRUSTED)


def test_headers_count_from_proxies_only() -> None:
    """A header that a client sends itself, without a trusted proxy, counts for nothing."""
    headers = {"X_Forwarded_For": REAL, "X_Forwarded_Proto": "https", "X_Forwarded_Host": "x"}
    assert told(**headers) == Client(REAL, "https", "x", True)
    for peer in (STRANGER, "203.0.113.9", "::1", "fe80::1%eth0", ""):
        assert told(peer, **headers, Forwarded=f"for={REAL}") == Client(peer)
    assert client_of(PROXY, headers, Proxies()) == Client(PROXY)
    assert told() == Client(PROXY)
    assert told("fd00::1", X_Forwarded_For=REAL).address == REAL
    assert told("::ffff:172.16.0.1", X_Forwarded_For=REAL).address == REAL


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        (REAL, REAL),
        (f"198.51.100.1, {REAL}", REAL),  # the client sent the first one
        (f"198.51.100.1, {REAL}, {INNER}, {INNER}", REAL),
        ([f"198.51.100.1, {REAL}", INNER], REAL),
        (f"{REAL}:50123", REAL),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        (f"::ffff:{REAL}", REAL),
        ("fe80::7%wlan0", "fe80::7"),
        (f"{INNER}, {PROXY}", INNER),  # all are proxies: the first one asked itself
        (f"{REAL}, unknown, {INNER}", INNER),
        (f"{REAL}, unknown", PROXY),
        (", ,", PROXY),
        (f"{REAL},", REAL),
        ("1.2.3.4.5", PROXY),
        ("127.0.0.1 OR 1=1", PROXY),
        ("\u00e4" * 10_000, PROXY),
        ("," * 10_000, PROXY),
        (f"{'198.51.100.1, ' * 800}{REAL}", REAL),
    ],
)
def test_x_forwarded_for_is_read_from_its_end(hops: str | list[str], address: str) -> None:
    """The client is the last address that is no trusted proxy. Text that is no address ends the
    search at the last proxy."""
    assert told(X_Forwarded_For=hops).address == address


@pytest.mark.parametrize(
    ("elements", "client"),
    [
        (f"for={REAL};proto=https;host=pi.example.org", (REAL, "https", "pi.example.org")),
        (
            f'For="[2001:db8::7]:47";Host="pi:81", for={INNER};host=x',
            ("2001:db8::7", None, "pi:81"),
        ),
        ([f"for=198.51.100.1;host=evil, for={REAL};host=pi", f"for={INNER}"], (REAL, None, "pi")),
        (f"for={REAL}:50123;proto=WSS", (REAL, "https", None)),
        (f'for="{REAL[:4]}\\{REAL[4:]}"', (REAL, None, None)),
        ("for=unknown;host=pi", (PROXY, None, None)),
        (f"for=_secret, for={INNER};host=pi", (INNER, None, "pi")),
        (f'for="x, for={REAL}', (PROXY, None, None)),  # a quotation that hides what follows
        (f'for="x, for="{REAL}"', (PROXY, None, None)),
        (f"for={REAL};for=198.51.100.1", (PROXY, None, None)),
        (f"for={REAL};", (PROXY, None, None)),
        ("for", (PROXY, None, None)),
        ('for="' + "\\" * 10_000, (PROXY, None, None)),
        ("for=x" + " " * 10_000 + "x", (PROXY, None, None)),
    ],
)
def test_forwarded(elements: str | list[str], client: tuple[str, str | None, str | None]) -> None:
    """Forwarded is read from its end, too. One that is not valid throughout tells nothing."""
    began = time.process_time()
    assert told(Forwarded=elements)[:3] == client
    assert time.process_time() - began < 1, "the time has to be linear"


def test_contradictions_and_invalid_values_count_for_nothing() -> None:
    """If a proxy passes on one kind of header and sets the other, neither is believed."""
    both = told(X_Forwarded_For=REAL, Forwarded="for=198.51.100.1")
    assert both == Client(PROXY, None, None, True, True)
    assert told(X_Forwarded_For=REAL, Forwarded="garbage;") == both
    same = told(X_Forwarded_For=REAL, Forwarded=f'for="{REAL}:9";host=pi;proto=http')
    assert same == Client(REAL, "http", "pi", True)
    for name, values in (("Proto", ("http", "https")), ("Host", ("pi", "evil"))):
        key = {f"X_Forwarded_{name}": values[0]}
        found = told(X_Forwarded_For=REAL, Forwarded=f"for={REAL};{name}={values[1]}", **key)
        assert found == Client(REAL, None, None, True, True)
    assert told(X_Forwarded_Proto="evil, https").scheme == "https"
    assert told(X_Forwarded_Host="evil, pi").host == "pi"
    for bad in ("a b", "pi/x", "me@pi", "pi:x", "pi:999999", "[::1", "'"):
        assert told(X_Forwarded_Host=bad).host is None
        assert told(X_Forwarded_Proto=bad).scheme is None


class Behind:
    """A server with a code behind a proxy at PROXY, whose requests a test makes."""

    def __init__(self, start_server: Callable[..., Server], folder: Path, **limits: object) -> None:
        self.code = Codes(folder).renew("control")
        environment = {**os.environ, "STATE_DIRECTORY": str(folder)}
        program = changing(**limits)
        self.server = start_server(CONFIG.format(PROXY), program=program, env=environment)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Send a request as the proxy does."""
        return ask(self.server, method, path, body, PROXY, **headers)

    def sign_in(self, code: str, client: str, **more: str) -> Response:
        return self.ask("POST", "/api/login", {"code": code}, X_Forwarded_For=client, **more)


def put_lamp(pi: Behind, **headers: str) -> Response:
    return pi.ask("PUT", "/api/pins/lamp", {"value": 1}, **headers)


def test_codes_cookies_and_the_log_go_by_the_real_client(start_server, tmp_path: Path) -> None:
    """Behind a proxy wrong codes delay only their sender, whatever it forwards itself. The log has
    the real address, and cookie and origin go by the scheme and host that the browser used."""
    pi = Behind(start_server, tmp_path)
    for number in range(5):
        assert pi.sign_in("wrong", f"198.51.100.{number}, {REAL}").status == 401
    assert pi.sign_in(pi.code, f"198.51.100.9, {REAL}").error[:2] == (429, "too-fast")
    pi.server.wait_for_log(f"{re.escape(REAL)}: a wrong access code; it has to wait")
    # Another client is let in, and so is one that spoofs its address without a proxy.
    assert pi.sign_in(pi.code, "198.51.100.1").status == 200
    body, spoofed = {"code": pi.code}, {"X_Forwarded_For": REAL, "X_Forwarded_Proto": "https"}
    direct = ask(pi.server, "POST", "/api/login", body, STRANGER, **spoofed)
    assert (direct.status, direct.cookie["secure"]) == (200, "")

    browser = {"Host": "pi.example.org", "X_Forwarded_Proto": "https"}
    cookie = pi.sign_in(pi.code, "198.51.100.1", **browser).cookie
    assert cookie.key == "__Secure-raspi-server-https-443"
    assert cookie["secure"]
    signed_in = {**browser, "Cookie": f"{cookie.key}={cookie.value}"}
    page = {"X_Forwarded_For": "2001:db8::7", "Origin": "https://pi.example.org"}
    assert put_lamp(pi, **signed_in, **page).status == 200
    pi.server.wait_for_log(r"lamp.*, by 2001:db8::7 \(control code\)")
    (change,) = pi.ask("GET", "/api/pins/lamp/history").json["changes"][-1:]
    assert "2001:db8::7" in str(change)
    # The scheme is the page's: a page that plain HTTP brought is another site.
    other = {**page, "Origin": "http://pi.example.org"}
    assert put_lamp(pi, **signed_in, **other).error[:2] == (403, "foreign")
    # The session is of https alone, and stays after a restart.
    pi.server.restart()
    assert put_lamp(pi, **signed_in, **page).status == 200
    plain = {**signed_in, "X_Forwarded_Proto": "http"}
    assert put_lamp(pi, **plain, X_Forwarded_For=REAL).status == 401


def test_host_that_a_client_forwards_itself(start_server, tmp_path: Path) -> None:
    """X-Forwarded-Host is the address of the page. It lets no other name in (DNS rebinding), since
    the client may have sent it."""
    pi = Behind(start_server, tmp_path)
    right = {"Authorization": f"Bearer {pi.code}"}
    forwarded = {"Host": "127.0.0.1:8080", "X_Forwarded_Host": "pi.example.org"}
    page = {"Origin": "https://pi.example.org"}
    assert put_lamp(pi, **forwarded, **page, **right).status == 200
    evil = {"Host": "evil.example", "X_Forwarded_Host": "pi.example.org"}
    assert pi.ask("GET", "/api/pins", **evil).status == 421
    evil = {"Host": "pi.example.org", "X_Forwarded_Host": "evil.example"}
    assert pi.ask("GET", "/api/pins", **evil).status == 421
    assert put_lamp(pi, Origin="http://evil.example", **forwarded, **right).status == 403
    assert pi.ask("GET", "/api/pins", X_Forwarded_For=REAL, Forwarded="for=_x").status == 200
    pi.server.wait_for_log(rf"INFO {re.escape(PROXY)}: Forwarded and X-Forwarded-… differ")


def test_limits_of_connections(start_server, tmp_path: Path) -> None:
    """A proxy may open any number of connections. Its viewers count for their clients: the oldest
    of one that has too many is closed, unless it presented the control code. If all have, another
    one is rejected."""
    pi = Behind(start_server, tmp_path, max_connections_per_address=3)
    right = {"Authorization": f"Bearer {pi.code}"}

    def viewer(client: str, **more: str) -> WebSocketClient:
        headers = {"X-Forwarded-For": client, **more}
        found = WebSocketClient(pi.server.port, address=PROXY, headers=headers)
        found.receive("hello")
        return found

    first, owner = viewer(REAL), viewer(REAL, **right)
    others = [viewer(f"198.51.100.{number}") for number in range(5)]
    second, third = viewer(REAL), viewer(REAL)
    assert all(opcode != CLOSE for opcode, _ in first.frames())  # it ends without a close frame
    first.socket.close()
    for each in (owner, second, third, *others):
        each.receive("state")
        each.socket.close()
    told = {"X-Forwarded-For": "203.0.113.8"}
    streams = [Events(pi.server, address=PROXY, **told) for _ in range(4)]
    for each in streams:
        each.receive("health")
    assert streams[0].is_ended()
    owners = [Events(pi.server, address=PROXY, **told, **right) for _ in range(3)]
    assert all(each.is_ended() for each in streams)
    answer = pi.ask("GET", "/api/events", **told)
    assert answer.error[:2] == (429, "too-fast")
    for each in owners:
        each.receive("state")
    for each in (*streams, *owners):
        each.__exit__()
