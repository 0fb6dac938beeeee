"""Sign-in links: made by `raspi-server code`, valid once and for 15 minutes."""

import fcntl
import os
from pathlib import Path

import pytest

from raspi_server.security import sign_in_links
from raspi_server.security.sign_in_links import Links
from tests.support.coded_server import TOKEN

USED = (
    401,
    "sign-in",
    "this link was used or is older than 15 minutes; sudo raspi-server code --qr shows a fresh one",
)


def open_link(home, token, **headers):
    return home.ask("POST", "/api/login", {"token": token}, **headers)


def test_a_link_is_good_once(start_with_codes):
    """The token signs in for what its code is for; a second time, or a wrong one, is refused and
    costs no try. It is kept only as a hash."""
    home = start_with_codes()
    code = home.new("control")
    home.new("view")
    control, view = home.token("control"), home.token("view")
    file = home.run / "links.json"
    assert file.stat().st_mode & 0o777 == 0o600 and control not in file.read_text()
    answer = open_link(home, control)
    assert answer.json == {"access": "control", "signed_in": "control"}
    assert home.switch(1, **answer.cookie_header).json["value"] == 1
    for token in [control, "x" * 22] * 4:
        assert open_link(home, token).error == USED
    assert open_link(home, view).json["signed_in"] == "view"
    assert home.sign_in("guess").status == 401 and home.sign_in(code).status == 200
    assert "Traceback" not in home.server.log


def test_a_link_replaces_no_stronger_sign_in(start_with_codes):
    """A link for viewing, or another for the same, leaves a phone as it is signed in; one for
    switching raises it. It is used up all the same."""
    home = start_with_codes()
    home.new("control")
    home.new("view")
    looks = open_link(home, home.token("view")).cookie_header
    raised = open_link(home, home.token("control"), **looks)
    assert raised.json["signed_in"] == "control"
    assert home.switch(1, **raised.cookie_header).status == 200
    for right in ("view", "control"):
        token = home.token(right)
        same = open_link(home, token, **raised.cookie_header)
        assert same.json["signed_in"] == "control" and same.headers["Set-Cookie"] is None
        assert open_link(home, token).error == USED
    assert home.switch(1, **raised.cookie_header).status == 200


def test_a_new_code_ends_its_links(start_with_codes):
    """And not those of the other code."""
    home = start_with_codes()
    home.new("control")
    home.new("view")
    control, view = home.token("control"), home.token("view")
    home.new("control")
    assert open_link(home, control).error == USED
    assert open_link(home, view).status == 200


def test_how_long_and_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is good for 15 minutes of the clock that nobody sets, and the last 32 are."""
    now = 1000.0
    monkeypatch.setattr(sign_in_links, "_now", lambda: now)
    made = Links(tmp_path)
    old, late = made.make("1"), made.make("1")
    now += 15 * 60 - 1
    assert made.take(late) == "1"
    now += 1
    assert made.take(old) is None
    tokens = [made.make(str(number)) for number in range(40)]
    assert [made.take(token) for token in tokens] == [None] * 8 + [str(n) for n in range(8, 40)]
    after = made.make("1")
    now = 5.0  # another boot, on a machine that kept the folder
    assert made.take(after) is None


@pytest.mark.parametrize("torn", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_a_torn_file(start_with_codes, torn):
    """A file that cannot be read has no links; it is said once, and a new link mends it."""
    home = start_with_codes()
    home.new("control")
    (home.run / "links.json").write_bytes(torn)
    for _ in range(3):
        assert open_link(home, "x" * 22).error == USED
    home.server.wait_for_log(r"links\.json: .*sudo raspi-server code --qr")
    assert home.server.log.count("links.json: ") == 1
    assert open_link(home, home.token("control")).status == 200


def test_no_service_and_no_code(start_with_codes):
    """Where there is nothing to make a link of, the command says what to do; the code itself is
    shown all the same."""
    home = start_with_codes()
    refused = home.command("--qr")
    assert refused.returncode == 1
    assert "no code for viewing and switching yet: sudo raspi-server code --new control" in (
        refused.stderr
    )
    if not Path("/run/raspi-server").is_dir():
        del home.environment["RUNTIME_DIRECTORY"]
        made = home.command("--new", "control")
        assert made.returncode == 0 and "No link: the service does not run" in made.stderr
        assert not TOKEN.findall(made.stdout)
        refused = home.command("--qr")
        assert refused.returncode == 1 and "sudo systemctl start raspi-server" in refused.stderr


def test_a_link_that_cannot_be_used_up_is_not_taken(start_with_codes):
    """Else it would be good twice."""
    home = start_with_codes()
    home.new("control")
    token = home.token("control")
    folder = os.open(home.run, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # as a command that does not end
    assert open_link(home, token).error[:2] == (409, "unavailable")
    os.close(folder)
    assert open_link(home, token).status == 200
    assert open_link(home, token).error == USED


def test_a_link_leads_where_the_service_is(start_with_codes):
    """An edit of config.yaml that the service has not taken yet does not mislead the phone."""
    home = start_with_codes()
    home.new("control")
    home.file.write_text("port: 9\n" + home.file.read_text())
    made = home.command("--qr")
    assert TOKEN.findall(made.stdout) and ":9/" not in made.stdout
    home.reload()
    assert ":9/#token=" in home.command("--qr").stdout
