"""Sessions in the running server: cookies that outlive a restart and end when they should."""

import http.client
import json
import signal
import ssl
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from raspi_server.limits import DEFAULT
from raspi_server.security.codes import Codes
from raspi_server.security.sessions import Sessions
from tests.support.http import ask
from tests.support.server import LIMIT, Server, free_port
from tests.support.websocket import WebSocketClient
from tests.web.test_trust import make_authority


def watch(home, headers=None, path="/ws"):
    return connect(home.server.ws_url.removesuffix("/ws") + path, additional_headers=headers)


def close_code(socket):
    with pytest.raises(ConnectionClosed) as closed:
        for _ in range(1000):
            socket.recv(LIMIT)
    return closed.value.rcvd.code


def test_signing_out(start_with_codes):
    """The cookie is worth nothing afterwards, and what came with it is closed; another browser, and
    who came with the code itself, are left alone."""
    home = start_with_codes()
    code = home.new("control")
    mine, other = home.sign_in(code).cookie_header, home.sign_in(code).cookie_header
    kept_open = http.client.HTTPConnection("127.0.0.1", home.server.port, timeout=LIMIT)
    with (
        watch(home, mine) as first,
        watch(home, mine) as second,
        watch(home, other) as others,
        watch(home, {"Authorization": f"Bearer {code}"}) as script,
    ):
        for socket in (first, second, others, script):
            assert json.loads(socket.recv(LIMIT))["signed_in"] == "control"
        out = home.ask("POST", "/api/logout", **mine)
        assert out.json == {"access": "view", "signed_in": None} and out.cookie.value == ""
        assert (close_code(first), close_code(second)) == (1012, 1012)
        for socket in (others, script):
            socket.send('{"type":"set","pin":"lamp","value":1,"ref":1}')
            answers = (each for each in map(json.loads, socket) if "ref" in each)
            assert next(answers)["type"] == "result"
    kept_open.request("PUT", "/api/pins/lamp", '{"value":0}', mine)
    assert kept_open.getresponse().status == 401
    kept_open.close()
    assert home.switch(1, **other).status == 200
    assert home.ask("POST", "/api/logout").status == 200  # who is nobody stays so


def test_a_socket_may_nothing_more_once_its_session_has_ended(start_with_codes):
    """Also one that does not go when it is told to."""
    home = start_with_codes()
    mine = home.sign_in(home.new("control")).cookie_header
    host = {"Host": f"127.0.0.1:{home.server.port}"}
    with WebSocketClient(home.server.port, headers={**mine, **host}) as stubborn:
        messages = stubborn.messages()
        assert next(messages)["signed_in"] == "control"
        home.ask("POST", "/api/logout", **mine)
        stubborn.send(type="set", pin="lamp", value=1, ref=1)
        assert stubborn.close_code() == 1012
    assert home.ask("GET", "/api/pins/lamp").json["value"] == 0


def test_a_socket_that_was_bidden_goodbye_switches_nothing(start_with_codes):
    """Not even what everyone may switch who may look."""
    home = start_with_codes("{view: code, control: everyone}")
    mine = home.sign_in(home.new("view")).cookie_header
    host = {"Host": f"127.0.0.1:{home.server.port}"}
    with WebSocketClient(home.server.port, headers={**mine, **host}) as stubborn:
        messages = stubborn.messages()
        assert next(messages)["type"] == "hello"
        stubborn.send(type="set", pin="lamp", value=1, ref=1)
        assert next(each for each in messages if each["type"] == "result")["value"] == 1
        home.ask("POST", "/api/logout", **mine)
        stubborn.send(type="set", pin="lamp", value=0, ref=2)
        assert stubborn.close_code() == 1012
    assert home.ask("GET", "/api/pins/lamp", **home.sign_in(home.new("view")).cookie_header).json[
        "value"
    ]


def test_signing_in_anew(start_with_codes):
    """A browser that signs in again has another cookie; the old one, and its sockets, end, and the
    page comes back as who it is now."""
    home = start_with_codes()
    control, view = home.new("control"), home.new("view")
    before = home.sign_in(view).cookie_header
    with watch(home, before) as socket:
        assert json.loads(socket.recv(LIMIT))["signed_in"] == "view"
        after = home.ask("POST", "/api/login", {"code": control}, **before).cookie_header
        assert close_code(socket) == 1012
    assert after != before and home.switch(1, **after).status == 200
    assert home.ask("GET", "/api/hello", **before).json["signed_in"] is None


def test_sessions_survive(start_with_codes):
    """A restart, and the end of a process that had no time to stop, sign nobody out; what was
    signed out stays so. The file holds no cookie, and uses are written once a day."""
    home = start_with_codes()
    code = home.new("control")
    mine, gone = home.sign_in(code).cookie_header, home.sign_in(code).cookie_header
    home.ask("POST", "/api/logout", **gone)
    home.server.stop(signal.SIGKILL)
    home.server._start(home.server.port)
    file = home.state / "sessions.json"
    assert mine["Cookie"].partition("=")[2] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.stat().st_mtime_ns, file.stat().st_ino
    for _ in range(20):
        assert home.switch(1, **mine).status == 200
        assert home.switch(1, **gone).status == 401
        home.ask("GET", "/", **mine)
    home.server.restart()
    assert home.switch(1, **mine).status == 200
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


@pytest.mark.parametrize("torn", [b"", b"[", b'[{"key":1}]', b"\xff", b"[" * 300_000])
def test_a_torn_file(start_with_codes, torn):
    """A file that cannot be read signs everybody out, and says so."""
    home = start_with_codes()
    code = home.new("control")
    mine = home.sign_in(code).cookie_header
    (home.state / "sessions.json").write_bytes(torn)
    home.server.restart()
    home.server.wait_for_log(r"sessions\.json: .*; everybody has to sign in again")
    assert home.switch(1, **mine).status == 401
    assert home.switch(1, **home.sign_in(code).cookie_header).status == 200


def test_the_least_recently_used_goes() -> None:
    """Of each code 100 sessions are kept; those of the other code are not touched."""
    sessions = Sessions(None)
    view = [sessions.begin("view", "http")[0] for _ in range(DEFAULT.max_sessions_per_code)]
    control, _ = sessions.begin("control", "http")
    sessions._day = int(time.time()) // 86400  # nothing to write
    assert sessions.find(view[0], "http")
    for _ in range(DEFAULT.max_sessions_per_code - 1):
        sessions.begin("view", "http")
    assert [bool(sessions.find(each, "http")) for each in view] == [True] + [False] * 99
    assert sessions.find(control, "http") and not sessions.find(control, "https")


def test_a_cookie_of_the_release_before_is_none(start_with_codes):
    """A value that was signed is no session, nor is anything made up, under any name."""
    home = start_with_codes()
    mine = home.sign_in(home.new("control")).cookie_header["Cookie"]
    name, _, value = mine.partition("=")
    for cookie in (f"raspi-server={value}", f"{name}=", f"{name}={value}x", f"{name}=2|1:0|10:1"):
        assert home.switch(1, Cookie=cookie).status == 401
    assert home.switch(1, Cookie=mine).status == 200


def test_the_name_of_the_cookie(start_with_codes):
    """It is another for each port that the browser sees, so that two servers on one host do not
    sign each other out, and with any port, or none, it works."""
    home = start_with_codes()
    code = home.new("control")
    for host, name in {
        "localhost:8081": "raspi-server-http-8081",
        "localhost": "raspi-server-http-80",
        "[::1]:8080": "raspi-server-http-8080",
        "[fe80::1]": "raspi-server-http-80",
    }.items():
        answer = home.ask("POST", "/api/login", {"code": code}, Host=host)
        assert answer.cookie.key == name
        both = f"raspi-server-http-1=other; {answer.cookie_header['Cookie']}"
        assert home.switch(1, Host=host, Cookie=both).status == 200
        assert home.switch(1, Host="localhost:1", Cookie=both).status == 401


CONFIG = """
port: {port}
ssl: {ssl}
access: {{control: code}}
interval: 0.05
pins: {{lamp: {{gpio: 17, mode: output}}, radio: {{gpio: 22, mode: output, control: everyone}}}}
"""


class Changing:
    """A server whose scheme can be changed by a reload."""

    def __init__(self, folder: Path, start: str) -> None:
        self.folder, self.port = folder, free_port()
        make_authority(folder)
        self.file = folder / "config.yaml"
        self.environment = {"STATE_DIRECTORY": str(folder)}
        self.write(start)
        self.server = Server(
            ["run", "--simulate", "--config", str(self.file)], port=None, env=self.environment
        )
        self.context = ssl.create_default_context(cafile=folder / "tls" / "ca.crt")

    def write(self, scheme: str) -> None:
        is_https = str(scheme == "https").lower()
        self.file.write_text(CONFIG.format(port=self.port, ssl=is_https))
        self.scheme = scheme

    def change(self, scheme: str) -> None:
        self.write(scheme)
        before = self.server.log.count(f"serving {scheme}:")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log(f"serving {scheme}:", again=before)

    def connection(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=LIMIT, context=self.context
        )

    def switch(self, connection: http.client.HTTPConnection | None = None, **headers: str) -> int:
        """Asks over that connection, which stays open, or a new one; the status."""
        asked = connection or self.connection()
        asked.request("PUT", "/api/pins/lamp", '{"value":1}', headers)
        with asked.getresponse() as answer:
            answer.read()
        if connection is None:
            asked.close()
        return answer.status

    def viewer(self, **headers: str) -> WebSocketClient:
        context = self.context if self.scheme == "https" else None
        host = {"Host": f"127.0.0.1:{self.port}"}
        return WebSocketClient(self.port, headers={**headers, **host}, context=context)


@pytest.mark.parametrize(("before", "after"), [("http", "https"), ("https", "http")])
def test_the_scheme_changes(tmp_path, before, after):
    """With a reload to the other scheme all that came by the old one is closed, kept-alive
    connections and sockets, from this machine, too; its cookies are worth nothing, neither over the
    other nor when the old one comes back."""
    pi = Changing(tmp_path, before)
    code = Codes(tmp_path).renew("control")
    pi.change(before)
    name = "{}raspi-server-{}-{}".format
    old, new = (
        name("__Secure-" if scheme == "https" else "", scheme, pi.port)
        for scheme in (before, after)
    )

    alive = pi.connection()
    alive.request("POST", "/api/login", json.dumps({"code": code}))
    answer = alive.getresponse()
    answer.read()
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert cookie.startswith(f"{old}=")
    assert ("Secure" in answer.headers["Set-Cookie"]) == (before == "https")
    assert pi.switch(alive, Cookie=cookie) == 200
    assert alive.sock is not None
    with pi.viewer(Cookie=cookie) as viewer:
        assert next(viewer.messages())["signed_in"] == "control"
        pi.change(after)
        assert viewer.close_code() == 1012
    assert alive.sock.recv(1) == b""
    alive.close()
    value = cookie.partition("=")[2]
    for sent in (cookie, f"{new}={value}"):
        assert pi.switch(Cookie=sent) == 401
    assert pi.switch(Authorization=f"Bearer {code}") == 200
    with pi.viewer() as viewer:
        assert next(viewer.messages())["signed_in"] is None
    pi.change(before)
    assert pi.switch(Cookie=cookie) == 401
    assert pi.server.stop() == 0
    assert "Traceback" not in pi.server.log


def test_a_reload_that_keeps_the_scheme_closes_nothing(tmp_path):
    """Also where the certificate is new."""
    pi = Changing(tmp_path, "https")
    alive = pi.connection()
    with pi.viewer() as viewer:
        messages = viewer.messages()
        assert next(messages)["type"] == "hello"
        for _ in range(2):
            pi.change("https")
            assert any(each["type"] == "hello" for each in messages)
            alive.request("GET", "/api/pins")
            assert alive.getresponse().read()
    alive.close()
    assert pi.server.stop() == 0


def test_what_plain_http_may_where_https_is_spoken(tmp_path):
    """A plain connection that was led to https is closed, too, when plain http is spoken again."""
    pi = Changing(tmp_path, "https")
    plain = http.client.HTTPConnection("127.0.0.1", pi.port, timeout=LIMIT)
    plain.request("GET", "/api/pins")
    assert plain.getresponse().status == 403
    pi.change("http")
    if plain.sock:
        assert plain.sock.recv(100) == b""
    plain.close()
    assert ask(pi.server, "GET", "/api/pins").status == 200
    assert pi.server.stop() == 0
