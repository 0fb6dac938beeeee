"""Hooks: secret addresses for devices that can only open one."""

import json
import re
import subprocess
import time

import pytest

from tests.support.coded_server import CodedServer
from tests.support.http import Response, ask
from tests.support.server import LIMIT
from tests.support.websocket import WebSocketClient

CONFIG = """
access: {control: code}
hooks:
  gate: {pin: gate, do: pulse, unattended: true}
  light: {pin: lamp, do: toggle}
  dark: {pin: lamp, do: "off"}
  home: {cover: garage, do: open}
  away: {cover: garage, do: close}
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  gate: {gpio: 22, mode: output, label: Gate, pulse: 60, confirm: true}
  opener: {gpio: 23, mode: output, pulse: 0.05}
  shut: {gpio: 24, mode: input, kind: garage_door}
  above: {gpio: 25, mode: input}
covers:
  garage: {label: Garage door, button: opener, closed: shut, opened: above, travel: 1,
           confirm: true, unattended: true}
"""
ADDRESS = re.compile(r"^ {4}http://[\w.-]+:8080(/hook/([0-9a-f]{64}))$", re.MULTILINE)


@pytest.fixture
def pi(start_with_codes) -> CodedServer:
    pi = start_with_codes()
    pi.file.write_text(CONFIG)
    pi.reload()
    return pi


def new(pi: CodedServer, name: str) -> str:
    """Make a new address of a hook, and return its path."""
    done = pi.command("--new", name, name="hook")
    assert done.returncode == 0, done.stderr
    (path, _), *_ = ADDRESS.findall(done.stdout)
    pi.reload()
    return path


def value_of(pi: CodedServer, pin: str) -> int:
    value: int = pi.ask("GET", f"/api/pins/{pin}").json["value"]
    return value


def ended(answer: Response, status: int, words: str) -> None:
    assert (answer.status, answer.headers["Cache-Control"]) == (status, "no-store")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert words in answer.body.decode()


def test_hook_switches_its_pin(pi):
    """A GET or POST to the secret address does what config.yaml says, without a code. The log names
    the hook and the address, and nowhere the secret, which is stored as a hash only."""
    listed = pi.command(name="hook").stdout
    assert "gate: pulse gate: no address yet: sudo raspi-server hook --new gate" in listed
    gate, light, dark = (new(pi, name) for name in ("gate", "light", "dark"))
    assert "gate: pulse gate: it has an address" in pi.command(name="hook").stdout
    ended(pi.ask("GET", gate), 200, "Gate: on\n")
    pi.server.wait_for_log(r"gate \(GPIO22\): on, by 127\.0\.0\.1 \(hook gate\)$")
    for method, path, value in (
        ("POST", light, 1),
        ("GET", f"{dark}?temp=21", 0),
        ("GET", light, 1),
    ):
        ended(pi.ask(method, path), 200, f"Desk lamp: {'on' if value else 'off'}")
        assert value_of(pi, "lamp") == value
    done = subprocess.run(["curl", "-sS", f"{pi.server.url}{dark}"], capture_output=True, text=True,
                          timeout=LIMIT, check=True)  # fmt: skip
    assert done.stdout == "Desk lamp: off\n"
    file = pi.state / "hooks.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(file.read_text())) == {"gate", "light", "dark"}
    for secret in (path.rpartition("/")[2] for path in (gate, light, dark)):
        assert secret not in pi.server.log and secret not in file.read_text()


def test_hook_moves_its_cover(pi):
    """A hook gives a cover a goal, and the answer is the state after that. A refusal is an error in
    words, and the log names the hook."""
    listed = pi.command(name="hook").stdout
    assert "home: open garage: no address yet: sudo raspi-server hook --new home" in listed
    home, away = new(pi, "home"), new(pi, "away")
    answer = pi.ask("GET", home)
    assert answer.status == 200 and answer.body.startswith(b"Garage door: ")

    def wait_for(state: str) -> None:
        until = time.monotonic() + LIMIT
        while pi.ask("GET", "/api/covers/garage").json["state"] != state:
            assert time.monotonic() < until

    wait_for("open")
    pi.server.wait_for_log(r"by 127\.0\.0\.1 \(hook home\)$")
    ended(pi.ask("POST", home), 200, "Garage door: open\n")
    assert pi.ask("POST", away).status == 200
    wait_for("closed")
    code = pi.new("control")
    with WebSocketClient(pi.server.port, headers={"Authorization": f"Bearer {code}"}) as viewer:
        viewer.send(type="drive", pin="above", value=1)
        while viewer.receive("cover")["state"] != "unknown":
            pass
    ended(pi.ask("GET", home), 409, "409: Garage door: its state is not known, so it is not moved")


def test_secret_at_another_path_is_in_no_log(pi):
    """Also an address that a proxy has changed, so that it leads nowhere, leaves no secret."""
    pi.file.write_text(f"log_level: debug{CONFIG}")
    light = new(pi, "light")
    secret = light.rpartition("/")[2]
    for path in (light, f"/pi{light}", f"/{light}", f"/hook%2F{secret}", f"/api{light.upper()}"):
        assert pi.ask("GET", path).status == (200 if path == light else 404)
    pi.server.wait_for_log(r"DEBUG GET /api/HOOK/…: 404")
    assert secret not in pi.server.log.lower()


def test_previews_and_other_methods_switch_nothing(pi):
    """Neither HEAD nor a prefetch, nor a program that shows a preview of a message, switches."""
    light = new(pi, "light")
    for method in ("HEAD", "OPTIONS", "PUT", "DELETE"):
        answer = pi.ask(method, light)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
    for headers in (
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Purpose": "preview"},
        {"User-Agent": "WhatsApp/2.23.20.0"},
        {"User-Agent": "Mozilla/5.0 (Macintosh) facebookexternalhit/1.1 Facebot Twitterbot/1.0"},
        {"User-Agent": "TelegramBot (like TwitterBot)"},
        {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
    ):
        ended(pi.ask("GET", light, **headers), 403, "a preview or a prefetch switches nothing")
    assert value_of(pi, "lamp") == 0
    for agent in ("Shelly/1.4", "Mozilla/5.0 (iPhone)", "python-requests/2.32", "Robotics 1.0"):
        ended(pi.ask("GET", light, User_Agent=agent), 200, "Desk lamp: ")


def test_hook_is_revoked(pi):
    """A new address ends the old one, and so does a config.yaml without the hook, for good. With
    `control: nobody` the file is refused."""
    first = new(pi, "light")
    second = new(pi, "light")
    dark = new(pi, "dark")
    ended(pi.ask("GET", first), 404, "there is no such hook")
    ended(pi.ask("GET", second), 200, "Desk lamp: on")
    pi.file.write_text(CONFIG.replace("  light:", "  #"))
    pi.reload()
    ended(pi.ask("GET", second), 404, "there is no such hook")
    pi.file.write_text(CONFIG)
    pi.reload()
    ended(pi.ask("GET", second), 404, "there is no such hook")
    ended(pi.ask("GET", dark), 200, "Desk lamp: off")
    pi.file.write_text(CONFIG.replace("control: code", "control: nobody"))
    done = pi.command("--new", "dark", name="hook")
    assert done.returncode == 78 and "access.control: nobody" in done.stderr
    pi.file.write_text(CONFIG)
    done = pi.command("--new", "lihgt", name="hook")
    assert done.returncode == 1 and "no hook 'lihgt' (did you mean light?)" in done.stderr
    pi.server.restart()
    ended(pi.ask("GET", dark), 200, "Desk lamp: off")


def test_requests_are_limited(pi):
    """A hook takes ten requests at once, whoever sends them. Wrong addresses of one network do not
    delay the right one."""
    gate = new(pi, "gate")

    def until_limited(path: str, status: int, *sources: str) -> int:
        """Return how many requests had the status before one got 429."""
        for count in range(1000):  # on a slow machine some seconds pass meanwhile
            answer = pi.ask("GET", path, source=sources[count % len(sources)])
            if answer.status != status:
                ended(answer, 429, "too many requests: try again in 1 s")
                return count
        raise AssertionError("there is no limit")

    assert until_limited(f"/hook/{'0' * 64}", 404, "127.0.0.1") >= 10
    assert until_limited(gate, 200, *(f"127.0.0.{n}" for n in range(1, 255))) >= 10
    pi.server.wait_for_log(r"127\.0\.0\.1: a wrong address of a hook")


def test_hooks_are_off(start_server, certificate):
    """Without the key there is no hook. Over plain HTTP beside HTTPS there is none, and the answer
    says so. Another name of the server is rejected."""
    pair = f"ssl: {{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}\n"
    path = f"/hook/{'0' * 64}"
    for text, status, words in (("", 404, b"no such hook"), (pair, 403, b"expected https: ")):
        pi = start_server(f"access: {{control: everyone}}\nlog_level: debug\n{text}")
        answer = ask(f"http://127.0.0.1:{pi.port}", "GET", path)
        assert answer.status == status and words in answer.body
        assert ask(pi.url.replace("https", "http"), "GET", path, Host="evil").status == 421
        pi.wait_for_log(rf"DEBUG GET /hook/…: {status}")
        assert "00000000" not in pi.log
