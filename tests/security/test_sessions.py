"""Sessions in the running server: cookies that survive a restart and end when they should."""

import signal
import ssl
import time
from pathlib import Path

import pytest

from raspi_server.limits import DEFAULT
from raspi_server.security.codes import Codes
from raspi_server.security.sessions import Sessions
from tests.support.http import HttpClient
from tests.support.server import Server, free_port
from tests.support.websocket import WebSocketClient
from tests.web.test_trust import make_authority


def test_sign_out(start_with_codes):
    """Signing out invalidates the cookie and closes its WebSockets. Another browser, and a script
    that sent the code itself, stay."""
    pi = start_with_codes()
    code = pi.new("control")
    mine, other = pi.sign_in(code).cookie_header, pi.sign_in(code).cookie_header
    with (
        HttpClient(pi.server) as kept_open,
        pi.viewer(mine) as first,
        pi.viewer(mine) as second,
        pi.viewer(other) as others,
        pi.viewer({"Authorization": f"Bearer {code}"}) as script,
    ):
        for viewer in (first, second, others, script):
            assert viewer.receive("hello")["signed_in"] == "control"
        assert kept_open.ask("PUT", "/api/pins/lamp", {"value": 0}, **mine).status == 200
        out = pi.ask("POST", "/api/logout", **mine)
        assert out.json == {"access": "view", "signed_in": None} and out.cookie.value == ""
        assert (first.close_code(), second.close_code()) == (1012, 1012)
        for viewer in (others, script):
            assert viewer.command(type="set", pin="lamp", value=1)["type"] == "result"
        assert kept_open.ask("PUT", "/api/pins/lamp", {"value": 0}, **mine).status == 401
    assert pi.switch(1, **other).status == 200
    assert pi.ask("POST", "/api/logout").status == 200  # without a session


@pytest.mark.parametrize(
    ("access", "right"), [("{}", "control"), ("{view: code, control: everyone}", "view")]
)
def test_socket_of_an_ended_session_switches_nothing(start_with_codes, access, right):
    """A WebSocket whose session has ended switches nothing more, even if it does not answer the
    close frame, and even pins that everyone may switch."""
    pi = start_with_codes(access)
    code = pi.new(right)
    mine = pi.sign_in(code).cookie_header
    with pi.viewer(mine) as viewer:
        assert viewer.command(type="set", pin="lamp", value=1)["type"] == "result"
        pi.ask("POST", "/api/logout", **mine)
        viewer.send(type="set", pin="lamp", value=0)
        assert viewer.close_code() == 1012
    assert pi.ask("GET", "/api/pins/lamp", Authorization=f"Bearer {code}").json["value"] == 1


def test_sign_in_again(start_with_codes):
    """A browser that signs in again gets another cookie. The old one ends, and its WebSockets are
    closed, so that the page reconnects with its new right."""
    pi = start_with_codes()
    control, view = pi.new("control"), pi.new("view")
    before = pi.sign_in(view).cookie_header
    with pi.viewer(before) as viewer:
        assert viewer.receive("hello")["signed_in"] == "view"
        after = pi.ask("POST", "/api/login", {"code": control}, **before).cookie_header
        assert viewer.close_code() == 1012
    assert after != before and pi.switch(1, **after).status == 200
    assert pi.ask("GET", "/api/hello", **before).json["signed_in"] is None


def test_sessions_survive_a_restart(start_with_codes):
    """A restart, even after a kill, ends no session and revives none. The file has no cookie, and
    uses are written once a day. If it cannot be read, all browsers have to sign in again."""
    pi = start_with_codes()
    code = pi.new("control")
    mine, ended = pi.sign_in(code).cookie_header, pi.sign_in(code).cookie_header
    pi.ask("POST", "/api/logout", **ended)
    pi.server.stop(signal.SIGKILL)
    pi.server._start(pi.server.port)
    file = pi.state / "sessions.json"
    assert mine["Cookie"].partition("=")[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.stat().st_mtime_ns, file.stat().st_ino
    for _ in range(5):
        assert pi.switch(1, **mine).status == 200
        assert pi.switch(1, **ended).status == 401
        pi.ask("GET", "/", **mine)
    pi.server.restart()
    assert pi.switch(1, **mine).status == 200
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    file.write_bytes(b"[" * 300_000)
    pi.server.restart()
    pi.server.wait_for_log(r"sessions\.json: .*; all browsers have to sign in again")
    assert pi.switch(1, **mine).status == 401
    assert pi.switch(1, **pi.sign_in(code).cookie_header).status == 200


@pytest.mark.parametrize("torn", [b"", b"[", b'[{"key":1}]', b"\xff"])
def test_unreadable_file_of_sessions(tmp_path, caplog, torn):
    """A file that cannot be read has no sessions, and the log says so."""
    (tmp_path / "sessions.json").write_bytes(torn)
    assert list(Sessions(tmp_path)._sessions) == []
    assert "sessions.json: " in caplog.text
    assert "all browsers have to sign in again" in caplog.text


def test_least_recently_used_session_ends() -> None:
    """Each code has at most 100 sessions. A new one ends the least recently used of the same code,
    and none of the other code. A cookie of one scheme is invalid over the other."""
    sessions = Sessions(None)
    view = [sessions.begin("view", "http")[0] for _ in range(DEFAULT.max_sessions_per_code)]
    control, key = sessions.begin("control", "http")
    sessions._day = int(time.time()) // 86400  # nothing to write
    assert sessions.find(view[0], "http")
    for _ in range(DEFAULT.max_sessions_per_code - 1):
        sessions.begin("view", "http")
    assert [bool(sessions.find(each, "http")) for each in view] == [True] + [False] * 99
    assert sessions.find(control, "http") == key and not sessions.find(control, "https")
    assert sessions.code(key) == "control"
    sessions.end(key)
    assert sessions.code(key) is None and sessions.find(control, "http") is None


def test_cookie_names_and_values(start_with_codes):
    """The cookie's name has the port that the browser sees, so that two servers on one host do not
    sign each other out. Other names and made-up values are no session."""
    pi = start_with_codes()
    code = pi.new("control")
    for host, name in {
        "localhost:8081": "raspi-server-http-8081",
        "localhost": "raspi-server-http-80",
        "[::1]:8080": "raspi-server-http-8080",
        "[fe80::1]": "raspi-server-http-80",
    }.items():
        answer = pi.ask("POST", "/api/login", {"code": code}, Host=host)
        assert answer.cookie.key == name
        both = f"raspi-server-http-1=other; {answer.cookie_header['Cookie']}"
        assert pi.switch(1, Host=host, Cookie=both).status == 200
        assert pi.switch(1, Host="localhost:1", Cookie=both).status == 401
    mine = pi.cookie(code)
    name, _, value = mine.partition("=")
    for cookie in (f"raspi-server={value}", f"{name}=", f"{name}={value}x", f"{name}=2|1:0|10:1"):
        assert pi.switch(1, Cookie=cookie).status == 401
    assert pi.switch(1, Cookie=mine).status == 200


CONFIG = """
port: {port}
ssl: {ssl}
access: {{control: code}}
interval: 0.05
pins: {{lamp: {{gpio: 17, mode: output}}}}
"""


class SchemeServer:
    """A server whose scheme can be changed by a reload."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self.port = free_port()
        make_authority(folder)
        self.file = folder / "config.yaml"
        self.write(scheme)
        self.server = Server(
            ["run", "--simulate", "--config", str(self.file)],
            port=None,
            env={"STATE_DIRECTORY": str(folder)},
        )
        self._trusting = ssl.create_default_context(cafile=folder / "tls" / "ca.crt")

    def write(self, scheme: str) -> None:
        is_https = str(scheme == "https").lower()
        self.file.write_text(CONFIG.format(port=self.port, ssl=is_https))
        self.scheme = scheme

    def change(self, scheme: str) -> None:
        """Reload with another scheme."""
        self.write(scheme)
        before = self.server.log.count(f"serving {scheme}:")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log(f"serving {scheme}:", again=before)

    @property
    def context(self) -> ssl.SSLContext | None:
        return self._trusting if self.scheme == "https" else None

    def client(self) -> HttpClient:
        return HttpClient(self.server, context=self.context)

    def switch(self, **headers: str) -> int:
        """Switch the lamp over a new connection; return the status."""
        with self.client() as client:
            return client.ask("PUT", "/api/pins/lamp", {"value": 1}, **headers).status

    def viewer(self, **headers: str) -> WebSocketClient:
        host = {"Host": f"127.0.0.1:{self.port}"}
        return WebSocketClient(self.port, headers={**headers, **host}, context=self.context)


def has_ended(client: HttpClient) -> bool:
    """Return True as soon as the server has closed a connection, False if it sends something."""
    return client.connection.sock is None or client.connection.sock.recv(1) == b""


@pytest.mark.parametrize(("before", "after"), [("http", "https"), ("https", "http")])
def test_scheme_change_ends_sessions_and_connections(tmp_path, before, after):
    """A reload to the other scheme closes all connections and WebSockets of the old one, those from
    this machine too. Its cookies are invalid over the other, and when the old one comes back."""
    pi = SchemeServer(tmp_path, before)
    code = Codes(tmp_path).renew("control")
    pi.change(before)
    name = "{}raspi-server-{}-{}".format
    old, new = (
        name("__Secure-" if scheme == "https" else "", scheme, pi.port)
        for scheme in (before, after)
    )
    with pi.client() as kept_open:
        answer = kept_open.ask("POST", "/api/login", {"code": code})
        cookie = answer.cookie_header["Cookie"]
        assert cookie.startswith(f"{old}=")
        assert bool(answer.cookie["secure"]) == (before == "https")
        answer = kept_open.ask("PUT", "/api/pins/lamp", {"value": 1}, Cookie=cookie)
        assert answer.status == 200
        with pi.viewer(Cookie=cookie) as viewer:
            assert viewer.receive("hello")["signed_in"] == "control"
            pi.change(after)
            assert viewer.close_code() == 1012
        assert has_ended(kept_open)
    for sent in (cookie, f"{new}={cookie.partition('=')[2]}"):
        assert pi.switch(Cookie=sent) == 401
    assert pi.switch(Authorization=f"Bearer {code}") == 200
    with pi.viewer() as viewer:
        assert viewer.receive("hello")["signed_in"] is None
    pi.change(before)
    assert pi.switch(Cookie=cookie) == 401
    assert pi.server.stop() == 0
    assert "Traceback" not in pi.server.log


def test_https_reload_and_plain_connections(tmp_path):
    """A reload that keeps https closes nothing, although it reads the certificate again. A plain
    connection to it is closed when plain http is served again."""
    pi = SchemeServer(tmp_path, "https")
    with pi.client() as kept_open, HttpClient(pi.server) as plain:
        assert plain.ask("GET", "/api/pins").status == 403
        with pi.viewer() as viewer:
            sockets = set()
            for _ in range(3):
                assert viewer.receive("hello")
                assert kept_open.ask("GET", "/api/pins").status == 200
                sockets.add(kept_open.connection.sock)
                pi.change("https")
            assert len(sockets) == 1
        pi.change("http")
        assert has_ended(plain)
        assert pi.switch() == 401
    assert pi.server.stop() == 0
