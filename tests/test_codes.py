"""Access codes through the front door: making them, signing in, being slowed, being signed out."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .asking import Answer, ask
from .conftest import LIMIT, Server, check_end

PINS = """
pins:
  lamp: {gpio: 27, mode: output}
  radio: {gpio: 22, mode: output, control: everyone}
"""
CODE = re.compile(r"^ {4}([0-9a-z]{5}-[0-9a-z]{5}-[0-9a-z]{5})$", re.MULTILINE)


class Home:
    """A server with a state folder, as under systemd."""

    def __init__(self, folder: Path, access: str) -> None:
        self.state = folder / "state"
        self.state.mkdir(exist_ok=True)
        self.environment = {**os.environ, "STATE_DIRECTORY": str(self.state)}
        self.programs = folder / "bin"
        """All that the command finds of other programs; nothing at first, systemd neither."""
        self.file = folder / "config.yaml"
        self.file.write_text(f"access: {access}\n{PINS}")
        (folder / "www").mkdir(exist_ok=True)
        arguments = ["run", "--simulate", "--config", str(self.file)]
        self.server = Server(arguments, env=self.environment)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`raspi-server code …`."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "raspi_server", "code", *arguments]
            + ["--config", str(self.file)],
            env={**self.environment, "PATH": str(self.programs)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )

    def new(self, right: str) -> str:
        """A new code, which the server takes."""
        made = self.command("--new", right)
        assert made.returncode == 0, made.stderr
        before = self.server.log.count("serving http")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log("serving http", again=before)
        found = CODE.search(made.stdout)
        assert found
        return found[1]

    def ask(
        self, method: str, path: str, body: Any = None, source: str = "127.0.0.1", **headers: str
    ) -> Answer:
        return ask(self.server, method, path, body, source, **headers)

    def sign_in(self, code: str, source: str = "127.0.0.1") -> Answer:
        return self.ask("POST", "/api/login", {"code": code}, source)

    def cookie(self, code: str) -> str:
        """The header of a browser that has signed in."""
        return f"raspi-server={self.sign_in(code).cookie.value}"

    def switch(self, value: int, **headers: str) -> Answer:
        return self.ask("PUT", "/api/pins/lamp", {"value": value}, **headers)


@pytest.fixture
def live_in(tmp_path: Path) -> Iterator[Callable[..., Home]]:
    homes: list[Home] = []

    def live_in(access: str = "{}") -> Home:
        homes.append(Home(tmp_path, access))
        return homes[-1]

    yield live_in
    for home in homes:
        check_end(home.server)


NOT_THE_CODE = (401, "sign-in", "this is not the code")


def test_a_browser_signs_in(live_in):
    """The control code, however it is typed, makes a cookie that switches what switching is closed
    to others; scripts and other sites cannot take it, and signing out forgets it."""
    home = live_in()
    code = home.new("control")
    needed = (401, "sign-in", "switching lamp needs the control code")
    assert home.switch(1).refusal == needed
    for typed in (code, code.upper(), f" {code.replace('-', ' ')} ", code.replace("0", "o")):
        answer = home.sign_in(typed)
        assert (answer.status, answer.json) == (200, {"access": "control", "signed_in": "control"})
    cookie = answer.cookie
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["secure"] == ""  # this is http
    signed_in = {"Cookie": f"raspi-server={cookie.value}"}
    assert home.switch(1, **signed_in).json["value"] == 1
    assert home.switch(0, **signed_in, Origin="http://evil.example").refusal[1] == "foreign"
    pins = home.ask("GET", "/api/pins", **signed_in).json["pins"]
    assert [pin["writable"] for pin in pins] == [True, True]
    pins = home.ask("GET", "/api/pins").json["pins"]
    assert [pin["writable"] for pin in pins] == [False, True]
    assert home.ask("POST", "/api/logout", **signed_in).cookie.value == ""


def test_a_visit_renews_the_cookie(live_in):
    """Browsers forget a cookie after 400 days: every visit of the page makes it new."""
    home = live_in()
    cookie = home.cookie(home.new("control"))
    renewed = home.ask("GET", "/", Cookie=cookie).cookie
    assert home.switch(1, Cookie=f"raspi-server={renewed.value}").status == 200
    assert home.ask("GET", "/").headers["Set-Cookie"] is None
    forged = re.sub(r".$", lambda last: "0" if last[0] != "0" else "1", cookie)
    assert home.ask("GET", "/", Cookie=forged).headers["Set-Cookie"] is None
    assert home.switch(0, Cookie=forged).status == 401


def test_a_script_sends_the_code_itself(live_in):
    """`Authorization: Bearer` does for scripts what the cookie does for browsers, on both doors."""
    home = live_in()
    code = home.new("control")
    assert home.switch(1, Authorization=f"Bearer {code}").json["value"] == 1
    refused = home.switch(0, Authorization="Bearer 00000-00000-00000")
    assert refused.refusal == NOT_THE_CODE
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    url = home.server.ws_url
    with connect(url, additional_headers={"Authorization": f"bearer {code}"}) as socket:
        hello = json.loads(socket.recv(LIMIT))
        assert (hello["access"], hello["signed_in"]) == ("control", "control")
        assert not hello["code_would_help"]
        assert [pin["writable"] for pin in hello["pins"]] == [True, True]
        socket.send('{"type":"set","pin":"lamp","value":0,"ref":1}')
        change = next(m for m in map(json.loads, socket) if m["type"] == "change")
        assert (change["pin"], change["by"]) == ("lamp", "127.0.0.1")
    with connect(url) as socket:
        hello = json.loads(socket.recv(LIMIT))
        assert (hello["access"], hello["signed_in"]) == ("view", None)
        assert hello["code_would_help"]
    home.server.wait_for_log(r"lamp \(GPIO27\): off, by 127\.0\.0\.1 \(control code\)$")


def test_the_code_for_looking(live_in):
    """With `view: code` nobody looks without a code; the one for looking does not switch."""
    home = live_in("{view: code}")
    control, view = home.new("control"), home.new("view")
    assert home.ask("GET", "/api/pins").refusal == (401, "sign-in", "looking needs an access code")
    cookie = home.cookie(view)
    assert home.ask("GET", "/api/pins", Cookie=cookie).status == 200
    assert home.switch(1, Cookie=cookie).refusal[1] == "sign-in"
    assert home.switch(1, Cookie=home.cookie(control)).status == 200
    with connect(home.server.ws_url) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(LIMIT)
    assert closed.value.rcvd.code == 4401
    with connect(home.server.ws_url, additional_headers={"Cookie": cookie}) as socket:
        assert json.loads(socket.recv(LIMIT))["signed_in"] == "view"


def test_a_new_code_signs_out_who_used_the_old(live_in):
    """A new code replaces the old at once: its cookies are worth nothing, its sockets close, and
    those of the other code stay."""
    home = live_in()
    old, view = home.new("control"), home.new("view")
    old_cookie = home.cookie(old)
    options = {"additional_headers": {"Cookie": old_cookie}}
    with (
        connect(home.server.ws_url, **options) as signed_in,
        connect(home.server.ws_url, additional_headers={"Cookie": home.cookie(view)}) as viewer,
        connect(home.server.ws_url) as guest,
    ):
        for socket in (signed_in, viewer, guest):
            assert json.loads(socket.recv(LIMIT))["type"] == "hello"
        new = home.new("control")
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(1000):
                signed_in.recv(LIMIT)
        assert closed.value.rcvd.code == 4401
        for socket, role in ((viewer, "view"), (guest, None)):
            again = next(m for m in map(json.loads, socket) if m["type"] == "hello")
            assert again["signed_in"] == role
    assert home.switch(1, Cookie=old_cookie).status == 401
    assert home.ask("GET", "/api/pins", Cookie=old_cookie).status == 200  # as anybody may
    assert home.sign_in(old).refusal == NOT_THE_CODE
    assert home.switch(1, Cookie=home.cookie(new)).status == 200


def test_wrong_codes_are_slowed(live_in):
    """After five wrong codes an address has to wait, and the log says so, but not what it tried;
    nobody else waits, and who is signed in already does not, either."""
    home = live_in()
    code = home.new("control")
    cookie = home.cookie(code)
    for _ in range(5):
        assert home.sign_in("my-secret-guess").refusal == NOT_THE_CODE
    status, kind, message = home.sign_in(code + "x").refusal
    assert (status, kind) == (429, "too-fast")
    assert re.fullmatch(r"too many wrong codes: try again in ([1-9]|10) s", message)
    assert home.switch(1, Authorization="Bearer my-secret-guess").status == 429
    assert home.switch(1, Cookie=cookie).status == 200
    assert home.switch(0, Authorization=f"Bearer {code}").status == 200  # proved before
    assert home.sign_in(code, source="127.0.0.2").status == 200
    assert home.server.log.count("127.0.0.1: a wrong access code") == 5
    home.server.wait_for_log("127.0.0.1: a wrong access code; it has to wait before")
    assert "secret-guess" not in home.server.log and code not in home.server.log


def test_a_crowd_of_guessers(live_in):
    """Wrong codes from many addresses at once are looked at one by one and bounded; the server
    answers all others meanwhile, and stops at once."""
    home = live_in()
    home.new("control")

    def guess(number: int) -> int:
        return home.sign_in("guess", source=f"127.0.1.{number % 250 + 1}").status

    with ThreadPoolExecutor(40) as pool:
        guessing = [pool.submit(guess, number) for number in range(200)]
        assert home.ask("GET", "/api/pins").status == 200
        statuses = {done.result() for done in guessing}
    assert statuses == {401, 429}


def test_codes_are_not_kept(live_in, tmp_path):
    """On the disk there is a hash, for the service alone."""
    home = live_in()
    code = home.new("control")
    file = home.state / "access.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert code not in file.read_text() and code.replace("-", "") not in file.read_text()
    assert list(home.state.glob("*.new")) == []


def test_the_code_is_shown_once(live_in):
    """The code comes to type, as links with the code in the fragment, and as a QR code; later only
    that there is one is said."""
    home = live_in()
    said = home.command().stdout
    assert "control:  for looking and switching: none yet" in said
    made = home.command("--new", "control").stdout
    (code,) = CODE.findall(made)
    assert re.search(rf"^    http://[\w.-]+\.local:8080/#code={code}$", made, re.MULTILINE)
    assert made.count(f"/#code={code}") == 2 and "▄▄▄▄▄" in made
    said = home.command().stdout
    assert "control:  for looking and switching: there is one" in said and code not in said


def test_nowhere_to_keep_codes(tmp_path, monkeypatch, live_in):
    """Without a service there are no codes, and the command says so."""
    home = live_in()
    del home.environment["STATE_DIRECTORY"]
    refused = home.command("--new", "control")
    if Path("/var/lib/raspi-server").is_dir():
        pytest.skip("the service is installed on this machine")
    assert refused.returncode == 1
    assert "no service here that could keep codes: sudo scripts/install.sh" in refused.stderr


@pytest.mark.parametrize("torn", [b"", b"{", b'{"secret":1}', b"\xff\xfe"])
def test_a_torn_file(live_in, torn):
    """A file of codes that cannot be read leaves the codes as they were, with a word in the log; a
    new code mends it."""
    home = live_in()
    code = home.new("control")
    cookie = home.cookie(code)
    (home.state / "access.json").write_bytes(torn)
    home.server.process.send_signal(signal.SIGHUP)
    home.server.wait_for_log("access.json: .*; make new codes: sudo raspi-server code")
    assert home.switch(1, Cookie=cookie).status == 200
    assert home.switch(1, Cookie=home.cookie(home.new("control"))).status == 200


def test_open_to_everyone_is_said(live_in):
    """`control: everyone` is said in the log at the start, and on the page."""
    home = live_in("{control: everyone}")
    said = "Everyone on this network may switch the pins (access.control: everyone)"
    home.server.wait_for_log(re.escape(f"WARNING {said}"))
    with connect(home.server.ws_url) as socket:
        notices = json.loads(socket.recv(LIMIT))["server"]["notices"]
    assert {"code": "open", "message": said} in notices
    assert home.ask("GET", "/api/health").json["status"] == "ok"


def test_the_health_in_full_needs_a_code_to_look(live_in):
    """Where looking needs a code, those who show one get the health with its reasons, those without
    or with one that was replaced only its status; a wrong one is refused as everywhere."""
    home = live_in("{view: code}")
    bearer = {"Authorization": f"Bearer {home.new('view')}"}
    cookie = {"Cookie": home.cookie(bearer["Authorization"].removeprefix("Bearer "))}
    for headers in (bearer, cookie):
        assert home.ask("GET", "/api/health", **headers).json["reasons"] == []
    home.new("view")
    assert home.ask("GET", "/api/health", **cookie).json == {"status": "ok"}
    assert home.ask("GET", "/api/health", **bearer).refusal == NOT_THE_CODE


def test_the_link_holds_the_name_that_avahi_gave(live_in):
    """Where another Pi of the same name was there first, the link leads to this one."""
    home = live_in()
    home.programs.mkdir()
    busctl = home.programs / "busctl"
    busctl.write_text("#!/bin/sh\necho 's \"raspberrypi-2.local\"'\n")
    busctl.chmod(0o755)
    assert "http://raspberrypi-2.local:8080/#code=" in home.command("--new", "view").stdout
