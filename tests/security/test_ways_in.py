"""The ways in which a client presents its code: a header, a message, and pages of any origin."""

import base64
import signal
import subprocess

import pytest

from tests.security.test_codes import NOT_THE_CODE
from tests.support.server import LIMIT

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
FIXED_ORIGINS = ("file://", "null", "http://127.0.0.1", "https://esp.example", "")


def basic(code: str, user: str = "anyone") -> str:
    return f"Basic {base64.b64encode(f'{user}:{code}'.encode()).decode()}"


def test_password_of_basic_is_the_code(start_with_codes):
    """The code is the password of Basic, with any user name, also for a program that first waits to
    be asked for it. It has the limit of all codes. No browser is asked, as it would show its own
    dialog above the page."""
    pi = start_with_codes("{view: code}")
    code = pi.new("control")
    for user in ("anyone", "", "käthe"):
        assert pi.switch(1, Authorization=basic(code, user)).json["value"] == 1
    for option in ("--basic", "--anyauth"):
        done = subprocess.run(
            ["curl", "-sS", option, "-u", f"me:{code}", f"{pi.server.url}/api/pins/lamp"],
            capture_output=True, text=True, timeout=LIMIT, check=True,
        )  # fmt: skip
        assert '"name":"lamp"' in done.stdout
    for header in ("Basic %%%", "Basic /w==", "Basic"):
        assert pi.ask("GET", "/api/pins", Authorization=header).error[:2] == (401, "sign-in")
    for headers in ({}, {"Authorization": basic("guess")}):
        answer = pi.ask("GET", "/api/pins", User_Agent=FIREFOX, **headers)
        assert answer.headers.get_all("WWW-Authenticate") == ["Bearer"]
    assert pi.ask("GET", "/api/pins", Authorization="Digest x").error[1] == "sign-in"
    for _ in range(3):  # one was sent above, and one that was empty
        assert pi.ask("GET", "/api/pins", Authorization=basic("guess")).error == NOT_THE_CODE
    assert pi.ask("GET", "/api/pins", Authorization=basic(code)).error[:2] == (429, "too-fast")
    assert code not in pi.server.log


def test_signing_in_by_a_message(start_with_codes):
    """A WebSocket may present the code in its first message. Until then a caller that may not view
    gets an error, and after a wrong code or any other message the close code 4401."""
    pi = start_with_codes("{view: code}")
    control, view = pi.new("control"), pi.new("view")
    with pi.viewer() as viewer:
        assert viewer.receive()["code"] == "sign-in"
        viewer.send(type="sign-in", code=control)
        viewer.send(type="set", pin="lamp", value="on")  # sent without waiting for the hello
        assert viewer.receive()["signed_in"] == "control"
        assert viewer.receive("change", pin="lamp")["value"] == 1
    pi.server.wait_for_log(r"lamp \(GPIO27\): on, by 127\.0\.0\.1 \(control code\)$")
    with pi.viewer({"Cookie": pi.cookie(view)}) as viewer:
        assert viewer.receive()["signed_in"] == "view"
        viewer.send(type="sign-in", code="guess", ref=7)
        assert viewer.receive("error")["ref"] == 7
        viewer.send(type="sign-in", code=control)
        assert viewer.receive("hello")["access"] == "control"
        pi.new("control")  # replaces its code
        assert viewer.receive("error", ref=None)["code"] == "sign-in"
        assert viewer.close_code() == 4401
    for message in ({"type": "sign-in", "code": "guess"}, {"type": "toggle", "pin": "lamp"}):
        with pi.viewer() as viewer:
            viewer.send(**message)
            assert viewer.close_code() == 4401
    with pi.viewer() as viewer:
        assert viewer.receive()["message"] == "viewing needs an access code"
        assert viewer.close_code() == 4401  # after ten seconds


def test_waiting_for_a_code_ends_with_the_scheme(start_with_codes, certificate):
    """A socket that has not signed in yet is closed like those of viewers: a code that it sent
    after a change to https would have been read on the way."""
    pi = start_with_codes("{view: code}")
    code = pi.new("control")
    with pi.viewer() as waiting, pi.viewer({"Authorization": f"Bearer {code}"}) as viewer:
        assert waiting.receive()["code"] == "sign-in"
        pair = f"{{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}"
        pi.file.write_text(f"ssl: {pair}\n{pi.file.read_text()}")
        pi.server.process.send_signal(signal.SIGHUP)
        assert (waiting.close_code(), viewer.close_code()) == (1012, 1012)


@pytest.mark.parametrize("path", ["/ws", "/fleet/ws"])
def test_programs_may_send_any_origin(start_with_codes, path: str):
    """A WebSocket with a fixed or foreign `Origin` is let in with a valid Bearer, which no page can
    send. Neither a cookie nor Basic, which browsers add by themselves, lets one in."""
    pi = start_with_codes()
    code = pi.new("control")
    bearer, cookie = {"Authorization": f"Bearer {code}"}, {"Cookie": pi.cookie(code)}
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    for origin in FIXED_ORIGINS:
        if path == "/ws":
            with pi.viewer({**bearer, "Origin": origin}) as viewer:
                assert viewer.receive("hello")["access"] == "control"
        for headers in ({}, cookie, {"Authorization": basic(code)}):
            answer = pi.ask("GET", path, **upgrade, **headers, Origin=origin)
            assert answer.status == 403
            assert b"pages of other sites" in answer.body
            assert b"Authorization: Bearer" in answer.body
    wrong = {"Authorization": "Bearer guess", "Origin": "file://", **cookie}
    assert pi.ask("GET", path, **upgrade, **wrong).status == 401
    for name in upgrade:
        left = {key: value for key, value in upgrade.items() if key != name}
        answer = pi.ask("GET", path, **left, **bearer)
        assert (answer.status, b"expected a WebSocket, with" in answer.body) == (
            (400, True) if path == "/ws" else (404, False)
        )
