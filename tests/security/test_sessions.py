"""Sessions in the running server: cookies that survive a restart and end when they should."""

import ssl
import time

import pytest

from raspi_server.limits import DEFAULT
from raspi_server.security.sessions import Sessions
from tests.support.coded_server import CodedServer
from tests.support.http import HttpClient
from tests.support.websocket import WebSocketClient
from tests.web.test_trust import make_authority


def test_sign_out(start_with_codes):
    """Signing out, or in again, ends the cookie and its WebSockets, and no other browser's."""
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
        for pin in ("lamp", "radio"):  # it has not answered the close frame yet
            first.send(type="set", pin=pin, value=1)
        assert (first.close_code(), second.close_code()) == (1012, 1012)
        values = [pin["value"] for pin in pi.ask("GET", "/api/pins").json["pins"]]
        assert values == [0, 0]
        for viewer in (others, script):
            assert viewer.command(type="set", pin="lamp", value=1)["type"] == "result"
        assert kept_open.ask("PUT", "/api/pins/lamp", {"value": 0}, **mine).status == 401
    assert pi.ask("POST", "/api/logout").status == 200  # without a session
    with pi.viewer(other) as viewer:
        assert viewer.receive("hello")["signed_in"] == "control"
        again = pi.ask("POST", "/api/login", {"code": code}, **other).cookie_header
        assert viewer.close_code() == 1012
    assert again != other and pi.switch(1, **again).status == 200
    assert pi.ask("GET", "/api/hello", **other).json["signed_in"] is None


def test_cookie_belongs_to_the_path_of_the_page(start_with_codes):
    """Below a path of a proxy the cookie has that path, if it is plain. Another site of the same
    host may set a cookie of the same name, and gets none of ours."""
    pi = start_with_codes()
    code = pi.new("control")
    for path, found in (("/pi/", "/pi"), ("/a-b/c.d_~", "/a-b/c.d_~"), ("/", "/"), ("", "/"),
                        ("/pi; Domain=x", "/"), ("//evil", "/"), ("/p%69/", "/"), ("pi", "/"),
                        ("/k\u00fcche/", "/")):  # fmt: skip
        cookie = pi.ask("POST", "/api/login", {"code": code, "path": path}).cookie
        assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == (found, "Strict", True)
    ours = f"{cookie.key}={cookie.value}"
    for header in (f"{ours}; {cookie.key}=theirs", f"{cookie.key}=theirs; a=b; {ours}"):
        assert pi.switch(1, Cookie=header).status == 200
        renewed = pi.ask("GET", "/", Cookie=header).cookie  # as the page at /pi/
        assert (renewed.value, renewed["path"]) == (cookie.value, "")
    assert pi.switch(1, Cookie=f"{cookie.key}=theirs").status == 401
    out = pi.ask("POST", "/api/logout", {"path": "/pi/"}, Cookie=f"{cookie.key}=theirs; {ours}")
    assert (out.cookie.value, out.cookie["path"]) == ("", "/pi")
    assert pi.switch(1, Cookie=ours).status == 401
    assert pi.ask("POST", "/api/login", {"code": code, "path": "/" * 1001}).status == 422


def test_sessions_survive_a_restart(start_with_codes):
    """A restart, even after a kill, ends no session and revives none. The file has no cookie, and
    uses are written once a day. If it cannot be read, all browsers have to sign in again."""
    pi = start_with_codes()
    code = pi.new("control")
    mine, ended = pi.sign_in(code).cookie_header, pi.sign_in(code).cookie_header
    pi.ask("POST", "/api/logout", **ended)
    pi.server.process.kill()
    pi.server.restart()
    file = pi.state / "sessions.json"
    assert mine["Cookie"].partition("=")[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.stat().st_mtime_ns, file.stat().st_ino
    for _ in range(5):
        assert pi.switch(1, **mine).status == 200
        assert pi.switch(1, **ended).status == 401
        pi.ask("GET", "/", **mine)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    file.write_bytes(b"[" * 300_000)
    pi.server.restart()
    pi.server.wait_for_log(r"sessions\.json: .*; all browsers have to sign in again")
    assert pi.switch(1, **mine).status == 401
    assert pi.switch(1, **pi.sign_in(code).cookie_header).status == 200


def test_least_recently_used_session_ends() -> None:
    """A code has at most 100 sessions; a new one ends the least recently used. Schemes differ."""
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
    """The cookie's name has the browser's port. Other names and made-up values are no session."""
    pi = start_with_codes()
    code = pi.new("control")
    for host, name in {
        "[::1]:8081": "raspi-server-http-8081",
        "localhost": "raspi-server-http-80",
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


def has_ended(client: HttpClient) -> bool:
    """Return True as soon as the server has closed a connection, False if it sends something."""
    return client.connection.sock is None or client.connection.sock.recv(1) == b""


@pytest.mark.parametrize(("before", "after"), [("http", "https"), ("https", "http")])
def test_scheme_change_ends_sessions_and_connections(tmp_path, start_with_codes, before, after):
    """A reload to the other scheme closes all connections and WebSockets. A cookie is invalid over
    the other, and when the old one comes back. A reload that keeps the scheme closes nothing."""
    make_authority(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
    contexts = {"http": None, "https": trusting}
    pi: CodedServer = start_with_codes()
    port, text = pi.server.port, pi.file.read_text()

    def change(scheme: str) -> None:
        pi.file.write_text(f"ssl: {str(scheme == 'https').lower()}\n{text}")
        pi.reload()

    def switch(scheme: str, **headers: str) -> int:
        with HttpClient(pi.server, context=contexts[scheme]) as client:
            return client.ask("PUT", "/api/pins/lamp", {"value": 1}, **headers).status

    code = pi.new("control")
    change(before)
    name = "{}raspi-server-{}-{}".format
    old, new = (
        name("__Secure-" if scheme == "https" else "", scheme, port) for scheme in (before, after)
    )
    host = {"Host": f"127.0.0.1:{port}"}
    with (
        HttpClient(pi.server, context=contexts[before]) as kept_open,
        HttpClient(pi.server) as plain,
    ):
        answer = kept_open.ask("POST", "/api/login", {"code": code})
        cookie = answer.cookie_header
        assert answer.cookie.key == old
        assert bool(answer.cookie["secure"]) == (before == "https")
        assert plain.ask("GET", "/api/pins").status == (403 if before == "https" else 200)
        with WebSocketClient(port, headers=cookie | host, context=contexts[before]) as viewer:
            assert viewer.receive("hello")["signed_in"] == "control"
            connected = kept_open.connection.sock
            change(before)
            viewer.receive("hello")
            assert kept_open.ask("PUT", "/api/pins/lamp", {"value": 1}, **cookie).status == 200
            assert kept_open.connection.sock is connected
            change(after)
            assert viewer.close_code() == 1012
        assert has_ended(kept_open) and has_ended(plain)
    for sent in (cookie["Cookie"], f"{new}={answer.cookie.value}"):
        assert switch(after, Cookie=sent) == 401
    assert switch(after, Authorization=f"Bearer {code}") == 200
    change(before)
    pi.server.restart()
    assert switch(before, **cookie) == 401
