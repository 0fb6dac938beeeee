"""Access codes in the running server: making them, signing in, waiting after wrong ones, being
signed out."""

import base64
import fcntl
import hashlib
import json
import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from raspi_server.security.login import AttemptLimiter, network_of
from tests.support.coded_server import CODE, TOKEN
from tests.support.server import LIMIT

NOT_THE_CODE = (401, "sign-in", "this is not the code")


def test_a_browser_signs_in(start_with_codes):
    """The control code, however it is typed, makes a cookie that switches what switching is closed
    to others; scripts and other sites cannot take it, and signing out forgets it."""
    home = start_with_codes()
    code = home.new("control")
    needed = (401, "sign-in", "switching lamp needs the control code")
    assert home.switch(1).error == needed
    for typed in (code, code.upper(), f" {code.replace('-', ' ')} ", code.replace("0", "o")):
        answer = home.sign_in(typed)
        assert (answer.status, answer.json) == (200, {"access": "control", "signed_in": "control"})
    cookie = answer.cookie
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["secure"] == ""  # this is http
    signed_in = answer.cookie_header
    assert home.switch(1, **signed_in).json["value"] == 1
    assert home.switch(0, **signed_in, Origin="http://evil.example").error[1] == "foreign"
    pins = home.ask("GET", "/api/pins", **signed_in).json["pins"]
    assert [pin["writable"] for pin in pins] == [True, True]
    pins = home.ask("GET", "/api/pins").json["pins"]
    assert [pin["writable"] for pin in pins] == [False, True]
    assert home.ask("POST", "/api/logout", **signed_in).cookie.value == ""
    for body in ({}, {"code": code, "token": code}, {"code": ""}, {"code": None}, {"token": 1}):
        assert home.ask("POST", "/api/login", body).error[:2] == (422, "bad-value")


def test_a_visit_renews_the_cookie(start_with_codes):
    """Browsers forget a cookie after 400 days: every visit of the page makes it new."""
    home = start_with_codes()
    cookie = home.cookie(home.new("control"))
    visit = home.ask("GET", "/", Cookie=cookie)
    assert visit.cookie_header["Cookie"] == cookie and "expires" in visit.cookie
    assert home.switch(1, Cookie=cookie).status == 200
    assert home.ask("GET", "/").headers["Set-Cookie"] is None
    forged = re.sub(r".$", lambda last: "0" if last[0] != "0" else "1", cookie)
    assert home.ask("GET", "/", Cookie=forged).headers["Set-Cookie"] is None
    assert home.switch(0, Cookie=forged).status == 401


def test_a_script_sends_the_code_itself(start_with_codes):
    """`Authorization: Bearer` does for scripts what the cookie does for browsers, on both doors."""
    home = start_with_codes()
    code = home.new("control")
    assert home.switch(1, Authorization=f"Bearer {code}").json["value"] == 1
    refused = home.switch(0, Authorization="Bearer 00000-00000-00000")
    assert refused.error == NOT_THE_CODE
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


def test_the_code_for_looking(start_with_codes):
    """With `view: code` nobody looks without a code; the one for viewing does not switch."""
    home = start_with_codes("{view: code}")
    control, view = home.new("control"), home.new("view")
    assert home.ask("GET", "/api/pins").error == (401, "sign-in", "viewing needs an access code")
    cookie = home.cookie(view)
    assert home.ask("GET", "/api/pins", Cookie=cookie).status == 200
    assert home.switch(1, Cookie=cookie).error[1] == "sign-in"
    assert home.switch(1, Cookie=home.cookie(control)).status == 200
    with connect(home.server.ws_url) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(LIMIT)
    assert closed.value.rcvd.code == 4401
    with connect(home.server.ws_url, additional_headers={"Cookie": cookie}) as socket:
        assert json.loads(socket.recv(LIMIT))["signed_in"] == "view"


def test_a_new_code_signs_out_who_used_the_old(start_with_codes):
    """A new code replaces the old at once: its cookies are worth nothing, its sockets close, and
    those of the other code stay."""
    home = start_with_codes()
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
    assert home.sign_in(old).error == NOT_THE_CODE
    assert home.switch(1, Cookie=home.cookie(new)).status == 200


SLOWED = r"too many wrong codes: try again in ([1-9]|10) s"


def test_wrong_codes_are_slowed(start_with_codes):
    """After five wrong codes a network has to wait, whatever it sends, and the log says so, but not
    what it tried; nobody else waits, and a browser that is signed in does not, either."""
    home = start_with_codes()
    code = home.new("control")
    cookie = home.cookie(code)
    for _ in range(9):
        assert home.switch(1, Authorization=f"Bearer {code}").status == 200  # costs no try
    for _ in range(5):
        assert home.sign_in("my-secret-guess").error == NOT_THE_CODE
    for answer in (
        home.sign_in(code + "x"),
        home.sign_in(code),
        home.switch(1, Authorization="Bearer my-secret-guess"),
        home.switch(1, Authorization=f"Bearer {code}"),
    ):
        status, kind, message = answer.error
        assert (status, kind) == (429, "too-fast") and re.fullmatch(SLOWED, message)
    assert home.switch(1, Cookie=cookie).status == 200
    assert home.sign_in(code, source="127.0.0.2").status == 200
    assert home.server.log.count("127.0.0.1: a wrong access code") == 5
    home.server.wait_for_log("127.0.0.1: a wrong access code; it has to wait before")
    assert "secret-guess" not in home.server.log and code not in home.server.log


def test_a_crowd_of_guessers(start_with_codes):
    """While 250 addresses guess without end, the right code from elsewhere gets in at the first
    try, each time."""
    home = start_with_codes()
    code = home.new("control")
    guessed, over = set(), threading.Event()

    def guess(first: int) -> None:
        while not over.is_set():
            for number in range(first, 251, 24):
                home.sign_in("guess", source=f"127.0.1.{number}")
                guessed.add(number)

    with ThreadPoolExecutor(24) as pool:
        guessing = [pool.submit(guess, first) for first in range(1, 25)]
        try:
            for number in range(20):
                # Each typed in another way, as for the first time.
                assert home.sign_in(code + " " * number, "127.0.2.1").status == 200
            while len(guessed) < 250:
                assert home.sign_in(code, source="127.0.3.1").status == 200
        finally:
            over.set()
        for each in guessing:
            each.result()


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.168.1.2", "192.168.1.3", False),
        ("192.168.1.2", "::ffff:192.168.1.2", True),
        ("::ffff:192.168.1.2", "::ffff:192.168.1.3", False),
        ("fe80::1%eth0", "fe80:0:0:1::2%wlan0", True),
        ("169.254.1.1", "169.254.9.9", True),
        ("fd00::1", "fd00::ffff:1", True),
        ("fd00::1", "fd00:0:0:1::1", False),
    ],
)
def test_what_counts_as_one_network(one, other, are_one):
    """Whoever can pick another address at no cost has no more tries by it."""
    assert (network_of(one) == network_of(other)) == are_one


def test_a_count_that_ran_out_is_not_forgotten():
    """However many networks come after it: those that have most of their tries left are forgotten
    first, and whoever is not known has all of them."""
    attempts = AttemptLimiter(burst=5, interval_s=10, max_keys=100)
    for _ in range(5):
        assert attempts.wait("guesser", 0) <= 0
        attempts.take("guesser", 0)
    for number in range(1000):
        attempts.take(f"other {number}", 1)
    assert attempts.wait("guesser", 1) == pytest.approx(9)
    assert attempts.wait("other 999", 1) <= 0 and attempts.wait("new", 1) <= 0
    assert attempts.wait("guesser", 10) <= 0 < attempts.wait("guesser", 9)
    attempts.take("guesser", 10)
    assert attempts.wait("guesser", 10) == pytest.approx(10)
    attempts.give_back("guesser")
    assert attempts.wait("guesser", 10) <= 0


def test_a_code_of_an_older_release(start_with_codes):
    """A code kept as scrypt alone is good, is kept as a fast hash from its first use on, and so
    does not wait for others again."""
    home = start_with_codes()
    control, view = home.new("control"), home.new("view")
    home.make_old()
    for number in range(3):  # as many as are looked at in a while
        wrong = home.sign_in("guess", source=f"127.0.1.{number + 1}")
        assert wrong.error == NOT_THE_CODE
    refused = home.sign_in("guess", source="127.0.1.9")
    assert refused.error[:2] == (429, "too-fast") and "code --qr" in refused.error[2]
    assert home.sign_in(control).error == refused.error
    assert home.ask("POST", "/api/login", {"token": home.token("view")}).status == 200
    home.server.restart()
    assert home.sign_in(control).status == 200
    assert ("mac" in home.kept["codes"]["control"], "mac" in home.kept["codes"]["view"]) == (1, 0)
    assert home.switch(1, Authorization=f"Bearer {control}").status == 200
    assert home.sign_in(view).json["signed_in"] == "view"
    for number in range(20):
        assert home.sign_in("guess", source=f"127.0.2.{number + 1}").error == NOT_THE_CODE


def test_the_release_before_can_read_the_codes(start_with_codes):
    """After a rollback the codes are still good: the file has what the release before looks for."""
    home = start_with_codes()
    code = home.new("control")
    home.make_old()
    assert home.sign_in(code).status == 200  # converted
    view = home.new("view")
    for right, text in (("control", code), ("view", view)):
        kept = home.kept["codes"][right]
        salt, hashed = base64.b64decode(kept["salt"]), base64.b64decode(kept["hash"])
        typed = text.replace("-", "").encode()
        assert hashlib.scrypt(typed, salt=salt, n=2**13, r=8, p=1) == hashed and kept["id"]


def test_two_who_change_the_codes(start_with_codes):
    """The command and the service wait for one another, and neither undoes what the other did."""
    home = start_with_codes()
    old = home.new("control")
    home.new("view")
    home.make_old()
    folder = os.open(home.state, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with ThreadPoolExecutor(2) as pool:
        signing_in = pool.submit(home.sign_in, old)
        making = pool.submit(home.command, "--new", "view")
        os.close(folder)
        assert signing_in.result().status == 200
        made = making.result()
    (view,) = CODE.findall(made.stdout)
    assert all("mac" in each for each in home.kept["codes"].values())
    home.reload()
    assert home.sign_in(view).json["signed_in"] == "view"
    assert home.sign_in(old).json["signed_in"] == "control"


def test_codes_are_not_kept(start_with_codes, tmp_path):
    """On the disk there is a hash, for the service alone."""
    home = start_with_codes()
    code = home.new("control")
    file = home.state / "access.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert code not in file.read_text() and code.replace("-", "") not in file.read_text()
    assert list(home.state.glob("*.new")) == []


def test_the_code_is_shown_once(start_with_codes):
    """The code comes to type, and with it links that sign one phone in, and a QR code, without the
    code in them; later only that there is one is said, and how to make another link."""
    home = start_with_codes()
    said = home.command().stdout
    assert "control:  for viewing and switching: none yet" in said
    made = home.command("--new", "control").stdout
    (code,) = CODE.findall(made)
    assert re.search(r"^    http://[\w.-]+\.local:8080/#token=[\w-]{22}$", made, re.MULTILINE)
    assert len(TOKEN.findall(made)) == 2 and len(set(TOKEN.findall(made))) == 1
    assert "▄▄▄▄▄" in made and made.count(code) == 1
    said = home.command().stdout
    assert "control:  for viewing and switching: there is one" in said and code not in said
    assert "sudo raspi-server code --qr" in said


def test_nowhere_to_keep_codes(tmp_path, monkeypatch, start_with_codes):
    """Without a service there are no codes, and the command says so."""
    home = start_with_codes()
    del home.environment["STATE_DIRECTORY"]
    refused = home.command("--new", "control")
    if Path("/var/lib/raspi-server").is_dir():
        pytest.skip("the service is installed on this machine")
    assert refused.returncode == 1
    assert "no installed service to keep codes: sudo scripts/install.sh" in refused.stderr


@pytest.mark.parametrize("torn", [b"", b"{", b'{"secret":1}', b"\xff\xfe"])
def test_a_torn_file(start_with_codes, torn):
    """A file of codes that cannot be read leaves the codes as they were, with a word in the log; a
    new code mends it."""
    home = start_with_codes()
    code = home.new("control")
    cookie = home.cookie(code)
    (home.state / "access.json").write_bytes(torn)
    home.server.process.send_signal(signal.SIGHUP)
    home.server.wait_for_log("access.json: .*; make new codes: sudo raspi-server code")
    assert home.switch(1, Cookie=cookie).status == 200
    assert home.switch(1, Cookie=home.cookie(home.new("control"))).status == 200


def test_open_to_everyone_is_said(start_with_codes):
    """`control: everyone` is said in the log at the start, and on the page."""
    home = start_with_codes("{control: everyone}")
    said = "Everyone on this network may switch the pins (access.control: everyone)"
    home.server.wait_for_log(re.escape(f"WARNING {said}"))
    with connect(home.server.ws_url) as socket:
        notices = json.loads(socket.recv(LIMIT))["server"]["notices"]
    assert {"code": "open", "message": said} in notices
    assert home.ask("GET", "/api/health").json["status"] == "ok"


def test_the_health_in_full_needs_a_code_to_look(start_with_codes):
    """Where viewing needs a code, those who show one get the health with its reasons, those without
    or with one that was replaced only its status; a wrong one is refused as everywhere."""
    home = start_with_codes("{view: code}")
    bearer = {"Authorization": f"Bearer {home.new('view')}"}
    cookie = {"Cookie": home.cookie(bearer["Authorization"].removeprefix("Bearer "))}
    for headers in (bearer, cookie):
        assert home.ask("GET", "/api/health", **headers).json["reasons"] == []
    home.new("view")
    assert home.ask("GET", "/api/health", **cookie).json == {"status": "ok"}
    assert home.ask("GET", "/api/health", **bearer).error == NOT_THE_CODE


def test_the_link_holds_the_name_that_avahi_gave(start_with_codes):
    """Where another Pi of the same name was there first, the link leads to this one."""
    home = start_with_codes()
    home.programs.mkdir()
    busctl = home.programs / "busctl"
    busctl.write_text("#!/bin/sh\necho 's \"raspberrypi-2.local\"'\n")
    busctl.chmod(0o755)
    assert "http://raspberrypi-2.local:8080/#token=" in home.command("--new", "view").stdout
