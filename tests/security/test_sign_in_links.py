"""Sign-in links: made by `raspi-server code`, valid once and for 15 minutes."""

import fcntl
import os
from pathlib import Path

import pytest

from raspi_server.limits import DEFAULT
from raspi_server.security import sign_in_links
from raspi_server.security.sign_in_links import Links
from tests.support.coded_server import TOKEN

USED = (
    401,
    "sign-in",
    "this link was used or is older than 15 minutes; sudo raspi-server code --qr shows a fresh one",
)


@pytest.fixture
def pi(start_with_codes):
    """A server with both codes."""
    pi = start_with_codes()
    pi.codes = {right: pi.new(right) for right in ("control", "view")}
    return pi


def open_link(pi, token, **headers):
    return pi.ask("POST", "/api/login", {"token": token}, **headers)


def test_link_signs_in_once(pi):
    """A token signs in once, with the right of its code, until there is a new one. Only its hash is
    stored. A wrong one costs no attempt. It never lowers the rights of a phone."""
    control, view, late = pi.token("control"), pi.token("view"), pi.token("control")
    file = pi.run / "links.json"
    assert file.stat().st_mode & 0o777 == 0o600 and control not in file.read_text()
    answer = open_link(pi, control)
    assert answer.json == {"access": "control", "signed_in": "control"}
    assert pi.switch(1, **answer.cookie_header).json["value"] == 1
    for token in [control, "x" * 22] * 4:
        assert open_link(pi, token).error == USED
    assert pi.sign_in("guess").status == 401 and pi.sign_in(pi.codes["control"]).status == 200
    with pi.viewer(answer.cookie_header) as viewer:
        assert viewer.receive("hello")["signed_in"] == "control"
        pi.new("control")
        assert viewer.close_code() == 4401
    assert open_link(pi, late).error == USED
    viewing = open_link(pi, view)
    assert viewing.json["signed_in"] == "view"
    again = open_link(pi, pi.token("view"), **viewing.cookie_header)
    assert again.json["signed_in"] == "view" and again.headers["Set-Cookie"] is None
    raised = open_link(pi, pi.token("control"), **viewing.cookie_header)
    assert raised.json["signed_in"] == "control"
    for right in ("view", "control"):
        token = pi.token(right)
        same = open_link(pi, token, **raised.cookie_header)
        assert same.json["signed_in"] == "control" and same.headers["Set-Cookie"] is None
        assert open_link(pi, token).error == USED
    assert pi.switch(1, **raised.cookie_header).status == 200


def test_lifetime_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is valid for 15 minutes of a clock that cannot be set, and only the last 32 are."""
    now = 1000.0
    monkeypatch.setattr(sign_in_links, "_now", lambda: now)
    made = Links(tmp_path)
    old, late = made.make("1"), made.make("1")
    now += DEFAULT.link_lifetime_s - 1
    assert made.take(late) == "1" and made.take(late) is None
    now += 1
    assert DEFAULT.link_lifetime_s == 900 and made.take(old) is None
    tokens = [made.make(str(number)) for number in range(34)]
    assert [made.take(token) for token in tokens] == [None] * 2 + [str(n) for n in range(2, 34)]
    after = made.make("1")
    now = 5.0  # another boot, on a machine that kept the folder
    assert made.take(after) is None
    assert Links(None).take(after) is None


def test_links_that_cannot_be_read_or_used_up(pi):
    """A file that cannot be read has no links. A link that cannot be used up does not sign in."""
    for torn in (b"", b"\xff", b"[" * 100_000):
        (pi.run / "links.json").write_bytes(torn)
        before = pi.server.log.count("links.json: ")
        for _ in range(3):
            assert open_link(pi, "x" * 22).error == USED
        pi.server.wait_for_log(r"links\.json: .*sudo raspi-server code --qr", again=before)
        assert pi.server.log.count("links.json: ") == before + 1
    token = pi.token("control")
    folder = os.open(pi.run, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as a command that does not end
    assert open_link(pi, token).error[:2] == (409, "unavailable")
    os.close(folder)
    assert open_link(pi, token).status == 200
    assert open_link(pi, token).error == USED


def test_link_leads_to_the_running_service(pi):
    """A link has the port of the running service and the name that others know this Pi by."""
    pi.file.write_text("port: 9\n" + pi.file.read_text())
    made = pi.command("--qr")
    assert TOKEN.findall(made.stdout) and ":9/" not in made.stdout
    pi.reload()
    pi.programs.mkdir()
    busctl = pi.programs / "busctl"
    busctl.write_text("#!/bin/sh\necho 's \"raspberrypi-2.local\"'\n")
    busctl.chmod(0o755)
    assert "http://raspberrypi-2.local:9/#token=" in pi.command("--qr").stdout
