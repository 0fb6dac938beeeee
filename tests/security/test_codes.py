"""Access codes in the running server: making them, signing in, and waiting after wrong ones."""

import base64
import fcntl
import hashlib
import json
import os
import pty
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raspi_server.security.login import AttemptLimiter, network_of
from tests.support.coded_server import CODE, TOKEN

NOT_THE_CODE = (401, "sign-in", "this is not the code")
SIGNS_OUT = "A new code for viewing and switching signs out everyone who used the old one."


def test_browser_signs_in(start_with_codes):
    """The control code, however it is typed, gives a browser a cookie that switches pins, and that
    no script can read and no other site can send. A visit renews it, signing out deletes it."""
    pi = start_with_codes()
    code = pi.new("control")
    assert pi.switch(1).error == (401, "sign-in", "switching lamp needs the control code")
    for typed in (code, code.upper(), f" {code.replace('-', ' ')} ", code.replace("0", "o")):
        answer = pi.sign_in(typed)
        assert (answer.status, answer.json) == (200, {"access": "control", "signed_in": "control"})
    cookie = answer.cookie
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["secure"] == ""  # this is http
    signed_in = answer.cookie_header
    assert pi.switch(1, **signed_in).json["value"] == 1
    assert pi.switch(0, **signed_in, Origin="http://evil.example").error[1] == "foreign"
    for headers, writable in ((signed_in, [True, True]), ({}, [False, True])):
        pins = pi.ask("GET", "/api/pins", **headers).json["pins"]
        assert [pin["writable"] for pin in pins] == writable
    visit = pi.ask("GET", "/", **signed_in)
    assert visit.cookie_header == signed_in and "expires" in visit.cookie
    assert pi.ask("GET", "/").headers["Set-Cookie"] is None
    assert pi.ask("POST", "/api/logout", **signed_in).cookie.value == ""
    assert pi.ask("GET", "/", **signed_in).headers["Set-Cookie"] is None
    for body in ({}, {"code": code, "token": code}, {"code": ""}, {"code": None}, {"token": 1}):
        assert pi.ask("POST", "/api/login", body).error[:2] == (422, "bad-value")


def test_script_sends_the_code_itself(start_with_codes):
    """`Authorization: Bearer` does for scripts what the cookie does for browsers."""
    pi = start_with_codes()
    code = pi.new("control")
    assert pi.switch(1, Authorization=f"Bearer {code}").json["value"] == 1
    rejected = pi.switch(0, Authorization="Bearer 00000-00000-00000")
    assert rejected.error == NOT_THE_CODE
    asked = ["Bearer", 'Basic realm="raspi-server", charset="UTF-8"']
    assert rejected.headers.get_all("WWW-Authenticate") == asked
    for headers, access, right in (
        ({"Authorization": f"bearer {code}"}, "control", "control"),
        ({}, "view", None),
    ):
        with pi.viewer(headers) as viewer:
            hello = viewer.receive("hello")
            assert (hello["access"], hello["signed_in"]) == (access, right)
            assert hello["code_would_help"] == (right is None)
            viewer.send(type="set", pin="lamp", value=0)
            viewer.receive("change" if right else "error")
    pi.server.wait_for_log(r"lamp \(GPIO27\): off, by 127\.0\.0\.1 \(control code\)$")


def test_viewing_needs_a_code(start_with_codes):
    """With `view: code` nothing is shown or switched without a code, but pages and the status of
    the health. The code for viewing does not switch. A new one ends only the old one."""
    pi = start_with_codes("{view: code}")
    words = "viewing needs an access code"
    none_yet = f"{words}, and none exists yet (sudo raspi-server code --new view)"
    for path in ("", "/pins", "/pins/lamp", "/header"):
        assert pi.ask("GET", f"/api{path}").error == (401, "sign-in", none_yet)
    for pin in ("lamp", "radio", "no-such-pin"):
        for method, action, body in (
            ("PUT", "", {"value": 1}),
            ("POST", "/toggle", None),
            ("POST", "/pulse", {"seconds": 1}),
        ):
            answer = pi.ask(method, f"/api/pins/{pin}{action}", body)
            assert answer.error == (401, "sign-in", none_yet)
    with pi.viewer() as viewer:
        for _ in range(2):
            viewer.send(type="set", pin="radio", value=1)
        for _ in range(2):  # at once, and after the first command, which ends the connection
            error = viewer.receive("error", ref=None, code="sign-in", message=none_yet)
            command = {"command": "sudo raspi-server code --new view"}
            assert (error["reason"], error["values"]) == ("no-view-code", command)
        ((_, payload),) = viewer.frames()
        assert (int.from_bytes(payload[:2]), payload[2:].decode()) == (4401, none_yet)
    assert ": on, by" not in pi.server.log
    assert pi.ask("GET", "/").status == pi.ask("GET", "/style.css").status == 200
    control = pi.new("control")
    assert pi.ask("GET", "/api/pins").error == (401, "sign-in", words)  # it permits viewing, too
    view = pi.new("view")
    assert pi.ask("GET", "/api/pins").error == (401, "sign-in", words)
    cookie, bearer = {"Cookie": pi.cookie(view)}, {"Authorization": f"Bearer {view}"}
    assert pi.ask("GET", "/api/pins", **cookie).status == 200
    assert pi.switch(1, **cookie).error[1] == "sign-in"
    assert pi.switch(1, Cookie=pi.cookie(control)).status == 200
    for headers in (bearer, cookie):
        assert pi.ask("GET", "/api/health", **headers).json["reasons"] == []
    with pi.viewer(cookie) as viewer, pi.viewer({"Cookie": pi.cookie(control)}) as other:
        for each, right in ((viewer, "view"), (other, "control")):
            assert each.receive("hello")["signed_in"] == right
        new = pi.new("view")
        assert viewer.close_code() == 4401
        assert other.receive("hello")["signed_in"] == "control"
    assert pi.sign_in(view).error == NOT_THE_CODE
    assert pi.ask("GET", "/api/pins", Cookie=pi.cookie(new)).status == 200
    for headers in ({}, cookie):
        assert pi.ask("GET", "/api/health", **headers).json == {"status": "ok"}
    assert pi.ask("HEAD", "/api/health").status == 200
    assert pi.ask("GET", "/api/health", **bearer).error == NOT_THE_CODE
    assert pi.ask("GET", "/api/health", Host="evil.example").status == 421


def test_wrong_codes_are_slowed(start_with_codes):
    """After five wrong codes a network has to wait, and the log says so. Others do not wait."""
    pi = start_with_codes()
    code = pi.new("control")
    cookie = pi.cookie(code)
    for _ in range(9):
        assert pi.switch(1, Authorization=f"Bearer {code}").status == 200  # costs no attempt
    for _ in range(5):
        assert pi.sign_in("my-secret-guess").error == NOT_THE_CODE
    for answer in (pi.sign_in(code), pi.switch(1, Authorization=f"Bearer {code}")):
        status, kind, message = answer.error
        assert (status, kind) == (429, "too-fast")
        assert re.fullmatch(r"too many wrong codes: try again in ([1-9]|10) s", message)
    assert pi.switch(1, Cookie=cookie).status == 200
    assert pi.sign_in(code, source="127.0.0.2").status == 200
    assert pi.server.log.count("127.0.0.1: a wrong access code") == 5
    assert pi.server.log.count("127.0.0.1: a wrong access code; it has to wait before") == 1
    assert "secret-guess" not in pi.server.log and code not in pi.server.log


def test_attempts():
    """A key has `burst` attempts, and one more every 10 seconds. Keys with most attempts left are
    forgotten first. Addresses that cost a client nothing have one key."""
    assert network_of("192.168.1.2") == network_of("::ffff:192.168.1.2")
    assert network_of("192.168.1.2") != network_of("192.168.1.3")
    assert network_of("fe80::1%eth0") == network_of("fe80:0:0:1::2%wlan0")
    assert network_of("fd00::1") == network_of("fd00::ffff:1") != network_of("fd00:0:0:1::1")
    assert network_of("no address") != network_of("another")
    attempts = AttemptLimiter(burst=5, interval_s=10, max_keys=100)
    for now in (0, 1000):
        for _ in range(5):
            assert attempts.wait("guesser", now) <= 0
            attempts.take("guesser", now)
        assert attempts.wait("guesser", now) == pytest.approx(10)
    for number in range(1000):
        attempts.take(f"other {number}", 1001)
    assert len(attempts._full_at) == 100
    assert attempts.wait("guesser", 1001) == pytest.approx(9)
    assert attempts.wait("other 999", 1001) <= 0 and attempts.wait("new", 1001) <= 0
    attempts.give_back("guesser")
    assert attempts.wait("guesser", 1001) == pytest.approx(-1)


def test_code_of_an_older_release(start_with_codes):
    """A code stored as scrypt only is checked rarely, and from its first use on stored as a fast
    hash, too. Command and service wait for each other. A rollback keeps all codes."""
    pi = start_with_codes()
    control = pi.new("control")
    pi.new("view")
    file = pi.state / "access.json"
    stored = json.loads(file.read_text())
    for each in stored["codes"].values():
        del each["mac"]
    file.write_text(json.dumps(stored))
    pi.reload()
    for number in range(3):  # as many as are checked in one go
        wrong = pi.sign_in("guess", source=f"127.0.1.{number + 1}")
        assert wrong.error == NOT_THE_CODE
    rejected = pi.sign_in("guess", source="127.0.1.9")
    assert rejected.error[:2] == (429, "too-fast") and "code --qr" in rejected.error[2]
    for _ in range(6):
        assert pi.sign_in(control).error == rejected.error  # and costs no attempt
    assert pi.ask("POST", "/api/login", {"token": pi.token("view")}).status == 200
    pi.server.restart()
    folder = os.open(pi.state, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with ThreadPoolExecutor(2) as pool:
        signing_in = pool.submit(pi.sign_in, control)
        making = pool.submit(pi.command, "--new", "view")
        os.close(folder)
        assert signing_in.result().status == 200
        (view,) = CODE.findall(making.result().stdout)
    assert [pi.sign_in(control).status for _ in range(3)] == [200] * 3
    codes = json.loads(file.read_text())["codes"]
    assert all("mac" in each for each in codes.values())
    pi.reload()
    assert pi.sign_in(view).json["signed_in"] == "view"
    assert pi.switch(1, Authorization=f"Bearer {control}").status == 200
    for number in range(5):
        assert pi.sign_in("guess", source=f"127.0.2.{number + 1}").error == NOT_THE_CODE
    for right, text in (("control", control), ("view", view)):
        salt, hashed = (base64.b64decode(codes[right][key]) for key in ("salt", "hash"))
        typed = text.replace("-", "").encode()
        assert hashlib.scrypt(typed, salt=salt, n=2**13, r=8, p=1) == hashed


def test_code_is_shown_once_and_stored_as_a_hash(start_with_codes):
    """A new code is shown once, with a link and its QR code, and stored as a hash for the service
    only. If the file cannot be read, the codes stay. Errors say which command helps."""
    pi = start_with_codes()
    assert "control:  for viewing and switching: none yet" in pi.command().stdout

    def is_rejected(words: str, *arguments: str) -> bool:
        done = pi.command(*arguments)
        return done.returncode == 1 and words in done.stderr

    no_code = "no code for viewing and switching yet: sudo raspi-server code --new control"
    assert is_rejected(no_code, "--qr")
    made = pi.command("--new", "control").stdout
    (code,) = CODE.findall(made)
    assert re.search(r"^    http://[\w.-]+\.local:8080/#token=[\w-]{22}$", made, re.MULTILINE)
    assert len(TOKEN.findall(made)) == 2 and len(set(TOKEN.findall(made))) == 1
    assert "▄▄▄▄▄" in made and made.count(code) == 1
    assert SIGNS_OUT not in made
    listed = pi.command().stdout
    assert "control:  for viewing and switching: there is one" in listed and code not in listed
    assert "sudo raspi-server code --qr" in listed
    file = pi.state / "access.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert code not in file.read_text() and code.replace("-", "") not in file.read_text()
    pi.reload()
    cookie = pi.cookie(code)
    for count, torn in enumerate((b"", b'{"secret":1}', b"\xff\xfe")):
        file.write_bytes(torn)
        pi.server.process.send_signal(signal.SIGHUP)
        words = "access.json: .*; make new codes: sudo raspi-server code"
        pi.server.wait_for_log(words, again=count)
        assert pi.switch(1, Cookie=cookie).status == 200
    assert pi.switch(1, Cookie=pi.cookie(pi.new("control"))).status == 200
    if not Path("/run/raspi-server").is_dir():
        del pi.environment["RUNTIME_DIRECTORY"]
        done = pi.command("--new", "control")
        assert done.returncode == 0 and "No link: the service does not run" in done.stderr
        assert CODE.findall(done.stdout) and not TOKEN.findall(done.stdout)
        assert is_rejected("sudo systemctl start raspi-server", "--qr")
    if not Path("/var/lib/raspi-server").is_dir():
        del pi.environment["STATE_DIRECTORY"]
        no_service = "no installed service to keep codes: sudo scripts/install.sh"
        assert is_rejected(no_service, "--new", "control")


def test_new_code_says_first_that_it_signs_everyone_out(start_with_codes):
    """A new code in place of another one says first that it signs everyone out. A person is asked,
    and anything but yes leaves the code as it is; a script is not asked."""
    pi = start_with_codes()
    code = pi.new("control")
    for answer, is_new in (("", False), ("no", False), ("y", True)):
        master, slave = pty.openpty()
        os.write(master, f"{answer}\n".encode())
        done = pi.command("--new", "control", stdin=slave)
        for end in (master, slave):
            os.close(end)
        said, question, _ = done.stdout.partition("Make a new code? [y/N] ")
        assert SIGNS_OUT in said and question
        assert done.returncode == int(not is_new)
        assert bool(CODE.findall(done.stdout)) == is_new
        assert ("The code stays as it is." in done.stderr) != is_new
        pi.reload()
        assert (pi.sign_in(code).status == 200) != is_new
    made = pi.command("--new", "control").stdout
    assert made.index(SIGNS_OUT) < made.index(CODE.findall(made)[0])
