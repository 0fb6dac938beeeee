"""Reloads of the configuration by SIGHUP, and a start with an invalid file."""

import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.security.codes import Codes
from tests.support.http import ask
from tests.support.reloadable import Pi
from tests.support.server import LIMIT, check_end, free_port
from tests.support.websocket import WebSocketClient
from tests.system.test_systemd import Systemd
from tests.web.test_websocket import Browser

CONFIG = """
access: {control: everyone}
interval: 0.05
pins:
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 2}
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Pi]]:
    pis: list[Pi] = []

    def run(text: str = CONFIG, **options: Any) -> Pi:
        pis.append(Pi(tmp_path, f"port: {free_port()}\n{text}", **options))
        return pis[-1]

    yield run
    for pi in pis:
        check_end(pi.server)


def with_port(pi: Pi, text: str) -> str:
    return f"port: {pi.server.port}\n{text}"


def test_an_unchanged_pin_is_not_touched(run):
    """A lamp that is on stays on through a reload, and a running pulse ends when it should."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.ask(type="set", pin="lamp", value=1)
        browser.ask(type="set", pin="gate", value=1)
        pi.reload(pi.file.read_text() + "  fan: {gpio: 18, mode: pwm, initial: 0.5}\n")
        seen = [browser.read()]
        while seen[-1]["type"] != "hello" or len(seen[-1]["pins"]) != 3:
            seen.append(browser.read())
        assert seen[-1]["state"] == {"lamp": 1, "gate": 1, "fan": 0.5}
        assert not [m for m in seen if m["type"] == "change" and m["value"] == 0]
        assert browser.read_until("change", pin="gate", value=0)["by"] == "pulse"


def test_the_same_socket_goes_on(run):
    """Who watches goes on watching over a reload, with a new hello and growing numbers."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.read()
        before = browser.read_until("state")["seq"]
        pi.reload(pi.file.read_text().replace("lamp:", "light:"))
        assert [pin["name"] for pin in browser.read_until("hello")["pins"]] == ["light", "gate"]
        state = browser.read_until("state")
        assert state["seq"] > before and "light" in state["pins"]
        assert browser.ask(type="set", pin="light", value=1)["value"] == 1


def test_a_renamed_pin_keeps_its_level(run):
    """Renaming or relabelling a lamp that is on does not switch it."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.ask(type="set", pin="lamp", value=1)
        pi.reload(pi.file.read_text().replace("lamp: {", "light: {label: Light, "))
        assert browser.read_until("hello")["state"]["light"] == 1


def test_a_removed_pin_is_left_as_on_stop_says(run):
    """A pin that is taken out is switched off, and a new one takes its place in the header."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.ask(type="set", pin="lamp", value=1)
    pi.reload(with_port(pi, "access: {control: everyone}\npins: {}\n"))
    pi.server.wait_for_log("0 pins, serving")
    assert pi.get("/api/pins")["pins"] == []
    held = [pin for pin in pi.get("/api/header")["pins"] if pin["holder"]]
    assert held == []
    pi.reload(with_port(pi, CONFIG))
    pi.server.wait_for_log("2 pins, serving", again=True)
    assert pi.get("/api/pins/lamp")["value"] == 0


def test_everything_else_takes_effect(run, tmp_path):
    """Interval, www, access, host names and log level are the new ones after a reload."""
    pi = run()
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.html").write_text("mine")
    with Browser(pi.server) as browser:
        browser.read_until("state")
        more = "access: {control: nobody, hosts: [pi.example]}\ninterval: 3600\nwww: pages\n"
        pins = CONFIG.partition("pins:")[2]
        pi.reload(with_port(pi, f"{more}log_level: debug\npins:{pins}"))
        hello = browser.read_until("hello")
        assert (hello["interval"], hello["access"]) == (3600, "view")
        assert browser.read()["type"] == "health"  # no state any more
        assert browser.ask(type="set", pin="lamp", value=1)["code"] == "not-allowed"
    request = urllib.request.Request(pi.server.url + "/mine.html", headers={"Host": "pi.example"})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        assert answer.read() == b"mine"
    pi.server.wait_for_log("DEBUG GET /mine.html")


def test_who_may_look_no_longer(run):
    """Who may no longer look after a reload is asked to sign in."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.read()
        pi.reload(pi.file.read_text().replace("access: {", "access: {view: code, "))
        assert browser.close_code() == 4401


def test_another_port(run):
    """After a reload it is found at the new port; who watches at the old one goes on watching."""
    pi = run()
    with Browser(pi.server) as browser:
        old, new = pi.server.port, free_port()
        pi.reload(f"port: {new}\n{CONFIG}")
        pi.server.wait_for_log(f"serving http://127.0.0.1:{new}/")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old), LIMIT)
        assert browser.ask(type="toggle", pin="lamp")["value"] == 1
        pi.server.port = new
        assert pi.get("/api/pins/lamp")["value"] == 1


def test_a_port_that_is_taken(run):
    """A port that another program has is refused, and all stays as it is, the lamp included."""
    pi = run()
    with Browser(pi.server) as browser, socket.create_server(("127.0.0.1", 0)) as taken:
        browser.ask(type="set", pin="lamp", value=1)
        port = taken.getsockname()[1]
        pi.reload(f"port: {port}\naddress: 127.0.0.1\n" + CONFIG.replace("lamp", "light"))
        pi.server.wait_for_log(f"127.0.0.1:{port}: Address already in use")
        hello = browser.read_until("hello", access="control")
        while not hello["server"]["notices"][0]["message"].startswith(str(pi.file)):
            hello = browser.read_until("hello")
        assert hello["state"]["lamp"] == 1
        assert pi.get("/api/pins/lamp")["value"] == 1


def test_another_address_on_the_same_port(run):
    """From all addresses to one, on the same port; and back again."""
    pi = run()
    pi.reload(with_port(pi, "address: 127.0.0.1\n" + CONFIG))
    pi.server.wait_for_log(rf"2 pins, serving http://127\.0\.0\.1:{pi.server.port}/$")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", pi.server.port), LIMIT)
    pi.reload(with_port(pi, CONFIG))
    pi.server.wait_for_log(r"2 pins, serving \S+ \S+", again=True)
    with socket.create_connection(("::1", pi.server.port), LIMIT):
        pass


def test_an_address_that_is_not_ours(run):
    """An address this machine does not have is refused, and the old one goes on."""
    pi = run()
    pi.reload(with_port(pi, "address: 192.0.2.77\n" + CONFIG))
    pi.server.wait_for_log("192.0.2.77:.*: Cannot assign requested address")
    pi.server.wait_for_log("the running configuration stays active")
    assert pi.get("/api/pins/lamp")["value"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pins: {lamp: {gpio: seventeen, mode: output}}\n", "expected a pin from GPIO0 to GPIO27"),
        ("pins:\n\tlamp: 1\n", "indent with spaces, not tabs"),
        ("ssl: true\n", "the certificate cannot be read"),
        (None, "expected a file, found none"),
    ],
    ids=["fault", "syntax", "certificate", "missing"],
)
def test_a_faulty_file_is_refused(run, text, words):
    """A faulty file is refused with its faults in the log and on the page, and what ran runs on;
    mended, it is taken and the complaint is gone."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.ask(type="set", pin="lamp", value=1)
        good = pi.file.read_text()
        if text is None:
            pi.file.unlink()
            pi.reload()
        else:
            pi.reload(with_port(pi, text))
        pi.server.wait_for_log(words)
        hello = browser.read_until("hello")
        while hello["server"]["notices"][0]["code"] != "configuration":
            hello = browser.read_until("hello")
        assert "the running configuration stays active" in hello["server"]["notices"][0]["message"]
        assert hello["state"] == {"lamp": 1, "gate": 0}
        health = pi.get("/api/health")
        assert health["status"] == "degraded" and words in health["reasons"][0]
        pi.reload(good)
        assert browser.read_until("hello")["server"]["notices"][0]["code"] == "simulated"
        assert pi.get("/api/health")["status"] == "ok"


def test_systemd_is_told(run, tmp_path):
    """systemd hears RELOADING with the monotonic time and READY after it, and the status says what
    was wrong."""
    systemd = Systemd(str(tmp_path / "notify"))
    pi = run(NOTIFY_SOCKET=systemd.address)
    assert systemd.next() == "READY=1"
    assert systemd.next().startswith("STATUS=")
    pi.reload("port: 0\n")
    reloading, _, moment = systemd.next().partition("\n")
    assert reloading == "RELOADING=1"
    assert int(moment.removeprefix("MONOTONIC_USEC=")) > 0
    assert systemd.next() == "READY=1"
    assert "expected a whole number from 1 to 65535, got 0" in systemd.next()
    systemd.close()


def test_ten_reloads_in_a_second_and_one_during_the_stop(run):
    """Reloads in quick succession do no harm: the last one counts; one during the stop is none."""
    pi = run()
    with Browser(pi.server) as browser:
        browser.ask(type="set", pin="lamp", value=1)
        for number in range(10):
            pi.reload(with_port(pi, CONFIG + f"  extra{number}: {{gpio: 5, mode: input}}\n"))
        hello = browser.read_until("hello")
        while [pin["name"] for pin in hello["pins"]] != ["lamp", "gate", "extra9"]:
            hello = browser.read_until("hello")
        assert hello["state"]["lamp"] == 1
        pi.server.process.send_signal(signal.SIGTERM)
        pi.server.process.send_signal(signal.SIGHUP)
        assert browser.close_code() == 1001


def test_a_reload_while_stopping(run):
    """A reload that comes during a stop opens nothing again."""
    pi = run()
    with socket.create_connection(("127.0.0.1", pi.server.port), LIMIT) as sleeper:
        sleeper.sendall(
            b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert sleeper.recv(100).startswith(b"HTTP/1.1 101")
        pi.server.process.send_signal(signal.SIGTERM)  # which waits for the sleeper's goodbye
        pi.server.wait_for_log("INFO stopping$")
        pi.reload()
        pi.server.wait_for_log("ignored SIGHUP: the server is stopping")
        assert pi.server.stop(signal.SIGCONT) == 0


def test_the_demo_has_nothing_to_reload(start_demo):
    """A reload of the demo house does no harm."""
    server = start_demo()
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("ignored SIGHUP: a demo has no configuration file")


class TestLastGood:
    @pytest.fixture
    def state(self, tmp_path: Path) -> str:
        (tmp_path / "state").mkdir()
        return str(tmp_path / "state")

    def test_a_start_with_a_faulty_file(self, run, state):
        """Under systemd a start with a faulty file runs the last good one, and says so loudly."""
        pi = run(STATE_DIRECTORY=state)
        pi.server.stop()
        good = pi.file.read_text()
        pi.file.write_text("pins: [lamp]\n")
        pi.start()
        pi.server.wait_for_log("expected keys and values, got a list")
        pi.server.wait_for_log("the last good configuration runs")
        assert [pin["name"] for pin in pi.get("/api/pins")["pins"]] == ["lamp", "gate"]
        assert pi.get("/api/health")["status"] == "degraded"
        pi.reload(good)
        pi.server.wait_for_log("2 pins, serving", again=True)
        assert pi.get("/api/health")["status"] == "ok"

    def test_a_reload_is_kept_too(self, run, state):
        """What a reload brought is the last good one from then on."""
        pi = run(STATE_DIRECTORY=state)
        pi.reload(pi.file.read_text().replace("lamp", "light"))
        pi.server.wait_for_log("2 pins, serving", again=True)
        pi.server.stop()
        pi.file.write_text("\t")
        pi.start()
        assert [pin["name"] for pin in pi.get("/api/pins")["pins"]] == ["light", "gate"]

    def test_it_is_written_only_when_it_changes(self, run, state):
        """A start with the same file writes nothing."""
        pi = run(STATE_DIRECTORY=state)
        kept = Path(state, "last-good.json")
        before = kept.stat()
        pi.server.restart()
        pi.reload()
        pi.server.wait_for_log("2 pins, serving", again=True)
        after = kept.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)

    @pytest.mark.parametrize("kept", [None, "", "{", '{"folder":"/","text":"pins: 1"}'])
    def test_without_a_last_good_one(self, run, state, kept):
        """With no last good one, or a torn one, a faulty file ends the start with status 78."""
        pi = run(STATE_DIRECTORY=state)
        pi.server.stop()
        file = Path(state, "last-good.json")
        file.unlink()
        if kept is not None:
            file.write_text(kept)
        pi.file.write_text("pins: [lamp]\n")
        with pytest.raises(AssertionError, match="expected keys and values, got a list"):
            pi.start()


def make_certificate(folder: Path, name: str) -> str:
    """A new self-signed pair; the configuration's line for it."""
    command = [
        "openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-days", "30", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return f"ssl: {{certificate: {name}.crt, key: {name}.key}}\n"


def served_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=LIMIT)


def test_https_comes_and_goes(run, tmp_path):
    """A reload turns https on and off on the same port; who watches over the other is told to come
    again."""
    pi = run()
    line = make_certificate(tmp_path, "first")
    with WebSocketClient(pi.server.port) as viewer:
        assert next(viewer.messages())["type"] == "hello"
        viewer.send(type="set", pin="lamp", value=1)
        assert next(each for each in viewer.messages() if each["type"] == "result")["value"] == 1
        pi.reload(with_port(pi, line + CONFIG))
        assert viewer.close_code() == 1012
    pi.server.wait_for_log(r"serving https://127\.0\.0\.1")
    assert served_certificate(pi.server.port) == (tmp_path / "first.crt").read_text()
    pi.reload(with_port(pi, CONFIG))
    pi.server.wait_for_log(r"serving http://127\.0\.0\.1", again=True)
    assert pi.get("/api/pins/lamp")["value"] == 1
    with Browser(pi.server) as browser:
        assert browser.ask(type="toggle", pin="lamp")["value"] == 0


def test_a_renewed_certificate_beside_a_faulty_file(run, tmp_path):
    """A renewed certificate is served also while the file has errors, and a broken one is not."""
    pi = run(make_certificate(tmp_path, "pi") + CONFIG)
    first = served_certificate(pi.server.port)
    make_certificate(tmp_path, "pi")
    pi.reload("port: 0\n")
    pi.server.wait_for_log("was rejected: the running configuration stays active")
    second = (tmp_path / "pi.crt").read_text()
    assert served_certificate(pi.server.port) == second != first
    (tmp_path / "pi.key").write_text("none")
    pi.reload()
    pi.server.wait_for_log("pi.key: .*; the previous certificate stays in use")
    assert served_certificate(pi.server.port) == second


def test_a_renewed_certificate(run, tmp_path):
    """A certificate that was renewed in its place is served after a reload; a broken one is not."""
    pi = run(make_certificate(tmp_path, "pi") + CONFIG)
    first = served_certificate(pi.server.port)
    context = ssl.create_default_context(cafile=tmp_path / "pi.crt")
    with WebSocketClient(pi.server.port, context=context) as viewer:
        told = viewer.messages()
        next(each for each in told if each["type"] == "state")
        make_certificate(tmp_path, "pi")
        pi.reload()
        pi.server.wait_for_log("2 pins, serving", again=True)
        second = served_certificate(pi.server.port)
        assert second == (tmp_path / "pi.crt").read_text() != first
        (tmp_path / "pi.key").write_text("torn")
        pi.reload()
        pi.server.wait_for_log("expected PEM files")
        assert served_certificate(pi.server.port) == second
        # Who watches goes on watching.
        next(each for each in told if each["type"] == "hello")
        first_seq, second_seq = (
            next(each for each in told if each["type"] == "state")["seq"] for _ in range(2)
        )
        assert second_seq > first_seq


def forbid_low_ports() -> None:
    """What a service under systemd may not do, may root not do here: PR_CAPBSET_DROP of
    CAP_NET_BIND_SERVICE (prctl(2), capabilities(7))."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 10, 0, 0, 0)


def test_a_port_the_service_may_not_open(run):
    """A port below 1024 is refused with the command that permits it, and all stays as it is."""
    pi = run(before_exec=forbid_low_ports)
    pi.reload("port: 443\n" + CONFIG)
    said = pi.server.wait_for_log("port 443: Permission denied")
    assert "systemctl edit raspi-server" in said.string
    assert "[Service], CapabilityBoundingSet=CAP_NET_BIND_SERVICE and" in said.string
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in said.string
    assert pi.get("/api/pins/lamp")["value"] == 0


@pytest.mark.parametrize("kind", ["fault", "certificate"])
def test_guests_read_that_a_file_is_faulty_and_no_more(run, tmp_path, kind):
    """Paths and values are for callers who may switch; the others are told that there are faults,
    over the WebSocket, by the API, and in the numbers."""
    state = tmp_path / "state"
    state.mkdir()
    code = Codes(state).renew("control")
    text = CONFIG.replace("access: {control: everyone}\n", "metrics: true\n")
    pi = run(text, STATE_DIRECTORY=str(state))
    secret = "seventeen" if kind == "fault" else str(tmp_path)
    faulty = {
        "fault": "pins: {lamp: {gpio: seventeen, mode: output}}\n",
        "certificate": f"ssl: {{certificate: {tmp_path}/none.pem, key: {tmp_path}/none.key}}\n",
    }[kind]
    with Browser(pi.server) as guest:
        guest.read_until("hello")
        pi.reload(with_port(pi, faulty))
        pi.server.wait_for_log("the running configuration stays active")
        hello = guest.read_until("hello")
        while hello["server"]["notices"][0]["code"] != "configuration":
            hello = guest.read_until("hello")
    assert hello["access"] == "view"
    told = [json.dumps(hello["server"])]
    told += [ask(pi.server, "GET", path).body.decode() for path in PLACES]
    assert all("config.yaml has errors" in words for words in told[:3])
    for words in told:
        assert secret not in words and str(pi.file) not in words
    for path in PLACES[:2]:
        words = ask(pi.server, "GET", path, Authorization=f"Bearer {code}").body.decode()
        assert secret in words and str(pi.file) in words


PLACES = ("/api/hello", "/api/health", "/api", "/metrics", "/api/pins", "/api/header")
