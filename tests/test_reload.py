"""Reloads by SIGHUP, and starts with an invalid file. The models test pins and viewers."""

import ctypes
import os
import re
import signal
import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from raspi_server.security.codes import Codes
from tests.security.test_tls import Authority
from tests.support.http import ask
from tests.support.server import LIMIT, Server, changing, clock_is, free_port
from tests.support.websocket import WebSocketClient
from tests.system.test_systemd import Systemd

CONFIG = """
access: {control: everyone}
interval: 0.05
pins:
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 2}
"""
REJECTED = "was rejected: the running configuration stays active"
PATHS = ("/api/hello", "/api/health", "/api", "/metrics", "/api/pins", "/api/header")
VALID = timedelta(0), timedelta(days=7)
Run = Callable[..., Server]


@pytest.fixture
def run(start_server: Callable[..., Server], tmp_path: Path) -> Run:
    """`run(text, **environment)`: a server on the port of its file, with a folder for its state."""

    def run(text: str = CONFIG, preexec_fn: Any = None, **environment: str) -> Server:
        (tmp_path / "state").mkdir()
        environment = {"STATE_DIRECTORY": str(tmp_path / "state"), **environment}
        text = f"port: {free_port()}\n{text}"
        return start_server(text, port=None, env=os.environ | environment, preexec_fn=preexec_fn)

    return run


def reload(server: Server, text: str, said: str) -> None:
    """Reload another configuration, and wait until the log says so once more."""
    before = len(re.findall(said, server.log))
    server.reload(f"port: {server.port}\n{text}")
    server.wait_for_log(said, again=before)


def receive_config_notice(viewer: WebSocketClient) -> tuple[dict[str, Any], str]:
    """Return the next hello with a notice about the configuration, and its text."""
    while True:
        hello = viewer.receive("hello")
        for notice in hello["server"]["notices"]:
            if notice["code"] == "configuration":
                return hello, notice["message"]


def test_other_keys(run: Run, tmp_path: Path) -> None:
    """Keys beside the pins apply after a reload. Viewers stay connected, also when the listener
    moves to another address or port, but not without the right to view."""
    server = run()
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.html").write_text("mine")
    with WebSocketClient(server.port) as viewer:
        viewer.receive("state")
        more = "access: {control: nobody, hosts: [pi.example]}\ninterval: 3600\nwww: pages\n"
        reload(server, f"{more}log_level: debug\npins:{CONFIG.partition('pins:')[2]}", "serving")
        hello = viewer.receive("hello", interval=3600)
        assert hello["access"] == "view"
        assert viewer.receive()["type"] == "health"  # no state any more
        assert viewer.command(type="set", pin="lamp", value=1)["code"] == "not-allowed"
        assert ask(server, "GET", "/mine.html", Host="pi.example").body == b"mine"
        server.wait_for_log("DEBUG GET /mine.html")
        reload(server, "access: {view: code}\n", "0 pins, serving")
        assert viewer.receive("error", ref=None)["code"] == "sign-in"
        assert viewer.close_code() == 4401
    reload(server, CONFIG, "2 pins, serving")
    with WebSocketClient(server.port) as viewer:
        reload(server, f"address: 127.0.0.1\n{CONFIG}", rf"serving \S+1:{server.port}/$")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", server.port), LIMIT)
        reload(server, CONFIG, r"serving \S+ \S+")
        socket.create_connection(("::1", server.port), LIMIT).close()
        old, server.port = server.port, free_port()
        reload(server, CONFIG, f":{server.port}/")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old), LIMIT)
        assert viewer.command(type="toggle", pin="lamp")["value"] == 1
        assert ask(server, "GET", "/api/pins/lamp").json["value"] == 1


def forbid_low_ports() -> None:
    """Take CAP_NET_BIND_SERVICE from root, as from a service: prctl(2), PR_CAPBSET_DROP."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 10, 0, 0, 0)


def test_invalid_file_is_rejected(run: Run, tmp_path: Path) -> None:
    """An invalid file is rejected in the log, in a notice and to systemd, and the running
    configuration stays active. A repaired file applies, and the notice is gone."""
    systemd = Systemd(str(tmp_path / "notify"))
    server = run(preexec_fn=forbid_low_ports, NOTIFY_SOCKET=systemd.address)
    (file,) = tmp_path.glob("*.yaml")
    with WebSocketClient(server.port) as viewer, socket.create_server(("127.0.0.1", 0)) as taken:
        viewer.command(type="set", pin="lamp", value=1)
        own = f"port: {server.port}\n"
        for text, error in {
            own + "pins: {lamp: {gpio: x, mode: output}}\n": "expected a pin from GPIO0 to GPIO27",
            own + "pins:\n\tlamp: 1\n": "expected spaces before the key, got a tab",
            own + "ssl: true\n": "the certificate cannot be read",
            own + "address: 192.0.2.77\n": "Cannot assign requested address",
            f"port: {taken.getsockname()[1]}\naddress: 127.0.0.1\n": "Address already in use",
            "port: 443\n": "port 443: Permission denied; a port below 1024 needs: sudo systemctl",
            "": "expected a file, found none",
        }.items():
            if text:
                server.reload(text)
            else:
                file.unlink()
                server.process.send_signal(signal.SIGHUP)
            for told in ("RELOADING=1\nMONOTONIC_USEC=", "READY=1", "STATUS="):
                systemd.wait_for(told, error if told == "STATUS=" else "")
            hello, message = receive_config_notice(viewer)
            assert message.startswith(f"{file} {REJECTED}") and error in message
            assert "\n" not in message and "→lamp" not in message
            server.wait_for_log(re.escape(error))
            if "a tab" in error:  # the log has the line of the file, and a mark below it
                server.wait_for_log(r"ERROR   →lamp: 1$")
                server.wait_for_log(r"ERROR   \^$")
            assert hello["state"] == {"lamp": 1, "gate": 0}
            health = ask(server, "GET", "/api/health").json
            assert health["status"] == "degraded" and error in health["reasons"][0]
            server.reload(own + CONFIG)
            codes = [notice["code"] for notice in viewer.receive("hello")["server"]["notices"]]
            assert "configuration" not in codes
            assert ask(server, "GET", "/api/health").json["status"] == "ok"


def test_details_of_errors_need_the_control_code(run: Run, tmp_path: Path) -> None:
    """Values and paths of an invalid file are only for callers that may switch."""
    server = run(CONFIG.replace("access: {control: everyone}\n", "metrics: true\n"))
    code = Codes(tmp_path / "state").renew("control")
    with WebSocketClient(server.port) as viewer:
        for secret, text in {
            "seventeen": "pins: {lamp: {gpio: seventeen, mode: output}}\n",
            "none.pem": "ssl: {certificate: none.pem, key: none.key}\n",
        }.items():
            reload(server, text, REJECTED)
            hello, message = receive_config_notice(viewer)
            assert "config.yaml has errors" in message
            texts = {path: ask(server, "GET", path).body.decode() for path in PATHS}
            texts["hello"] = str(hello)
            assert not [text for text in texts.values() if secret in text or str(tmp_path) in text]
            for path in ("/api/hello", "/api/health"):
                assert "config.yaml has errors" in texts[path]
                full = ask(server, "GET", path, Authorization=f"Bearer {code}").body.decode()
                assert secret in full and str(tmp_path) in full


def test_start_with_an_invalid_file(run: Run, tmp_path: Path) -> None:
    """A start with an invalid file runs the last good configuration, or fails without it."""
    server = run()
    kept = tmp_path / "state" / "last-good.json"
    (file,) = tmp_path.glob("*.yaml")
    valid = CONFIG.replace("lamp", "light")
    assert "lamp" in kept.read_text()
    reload(server, valid, "2 pins, serving")
    before = kept.stat()
    file.write_text("pins: [lamp]\n")
    server.restart()
    server.wait_for_log("expected keys and values, got a list")
    server.wait_for_log("the last good configuration runs")
    assert [*ask(server, "GET", "/api/hello").json["state"]] == ["light", "gate"]
    assert ask(server, "GET", "/api/health").json["status"] == "degraded"
    reload(server, valid, "2 pins, serving")
    server.restart()
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    file.write_text("pins: [lamp]\n")
    server.stop()
    kept.write_text("{")
    with pytest.raises(AssertionError, match="expected keys and values, got a list"):
        server.restart()


def test_start_with_an_unchanged_file(run: Run, tmp_path: Path) -> None:
    """A start after a crash is fast: the file that ran last is not parsed again, so the parser of
    YAML, a library that the process would show, is not loaded. A changed file is parsed."""

    def has_parsed() -> bool:
        return "/_yaml." in Path(f"/proc/{server.process.pid}/maps").read_text()

    server = run()
    hello = ask(server, "GET", "/api/hello").json
    assert has_parsed()
    server.process.kill()
    server.restart()
    again = ask(server, "GET", "/api/hello").json
    assert (again["pins"], has_parsed()) == (hello["pins"], False)
    (file,) = tmp_path.glob("*.yaml")
    file.write_text(file.read_text() + "# edited\n")
    server.restart()
    assert has_parsed()


def test_renewed_certificate(run: Run, tmp_path: Path) -> None:
    """A reload serves a renewed certificate, also beside an invalid file, but no torn one."""
    authority = Authority(tmp_path)
    pair = authority.issue("pi", *VALID)
    text = pair.config() + CONFIG
    server = run(text)
    served = {pair.certificate.read_text()}
    with WebSocketClient(server.port, context=authority.trusting()) as viewer:
        before = viewer.receive("state")["seq"]
        for pins, said, torn in (
            (text, "2 pins, serving", "expected PEM files"),
            ("port: 0\n", REJECTED, "pi.key: .*; the previous certificate stays in use"),
        ):
            for old, new in zip(pair, authority.issue(f"pi-{len(served)}", *VALID), strict=True):
                new.replace(old)
            renewed = pair.certificate.read_text()
            reload(server, pins, said)
            for _ in range(2):
                found = ssl.get_server_certificate(("127.0.0.1", server.port), timeout=LIMIT)
                assert found == renewed not in served
                pair.key.write_text("torn")
                reload(server, pins, torn)
            served.add(renewed)
        viewer.receive("hello")
        assert viewer.receive("state")["seq"] > before


AUTOMATION = """
access: {control: everyone}
pins:
  button: {gpio: 4, mode: input}
  lamp: {gpio: 17, mode: output}
  fan: {gpio: 18, mode: pwm}
"""
DAY = "schedules: {day: {pin: fan, from: 00:00, to: 24:00, value: 0.4}}\n"
RULE = "rules: {press: {while: button, turn_on: lamp}}\n"


def test_rule_that_is_gone_at_a_restart(run: Run, tmp_path: Path) -> None:
    """What a button has switched on ends if its rule is gone at a restart, as it does at a reload.
    With the rule it comes back."""
    pins = AUTOMATION.replace("lamp: {", "lamp: {initial: keep, ")
    rule = "rules: {wall: {when: button, toggle: lamp}}\n"
    (tmp_path / "run").mkdir()
    server = run(pins + rule, RUNTIME_DIRECTORY=str(tmp_path / "run"))
    (file,) = tmp_path.glob("*.yaml")
    with WebSocketClient(server.port) as viewer:
        viewer.send(type="drive", pin="button", value=1)
        assert viewer.receive("change", pin="lamp")["by"] == "rule wall"

    def restarted(text: str) -> dict[str, Any]:
        file.write_text(f"port: {server.port}\n{text}")
        server.restart()
        return ask(server, "GET", "/api/pins/lamp").json

    found = restarted(pins + rule)
    assert (found["value"], found["source"]) == (1, {"level": "rule", "name": "wall"})
    found = restarted(pins)
    assert (found["value"], found["source"]) == (0, {"level": "default"})


def test_schedules_and_rules_come_and_go(start_server: Callable[..., Server]) -> None:
    """Schedules and rules appear, change and disappear with reloads, and what they claim with them.
    An output has the level of its window from its first moment: it is no change."""
    server = start_server(AUTOMATION, program=changing(clock_is(True)))
    port = {"Host": f"localhost:{server.port}"}

    def reload_and_read(text: str, count: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reload, and return the value and source of each output."""
        said = f"{count} pins, serving"
        before = server.log.count(said)
        server.reload(text)
        server.wait_for_log(said, again=before)
        pins = {pin["name"]: pin for pin in ask(server, "GET", "/api/pins", **port).json["pins"]}
        return (
            {name: pin["value"] for name, pin in pins.items()},
            {name: pin["source"] for name, pin in pins.items()},
        )

    default, day = {"level": "default"}, {"level": "schedule", "name": "day"}
    with WebSocketClient(server.port) as viewer:
        assert not viewer.receive("hello")["automation"]
        values, sources = reload_and_read(AUTOMATION + DAY + RULE)
        assert viewer.receive("hello", automation=True)
        assert (values["fan"], sources["fan"]) == (0.4, day)
        assert (values["lamp"], sources["lamp"]) == (0, default)
        viewer.send(type="drive", pin="button", value=1)
        assert viewer.receive("change", pin="lamp")["by"] == "rule press"
        values, sources = reload_and_read(AUTOMATION + DAY.replace("0.4", "0.7") + RULE)
        assert (values["fan"], values["lamp"]) == (0.7, 1)
        assert sources["lamp"] == {"level": "rule", "name": "press"}
        assert viewer.command(type="set", pin="fan", value=0.1)["value"] == 0.1
        values, sources = reload_and_read(AUTOMATION + DAY.replace("0.4", "0.7"))
        assert (values["fan"], sources["fan"]) == (0.1, {"level": "manual"})
        assert (values["lamp"], sources["lamp"]) == (0, default)
        assert viewer.command(type="auto", pin="fan")["value"] == 0.7
        # A new output, and one whose keys change, are opened with the level of their window.
        wired = AUTOMATION.replace("18, mode: pwm", "18, mode: pwm, active: low")
        new = "  porch: {gpio: 13, mode: output}\n"
        more = DAY.replace("}}", "}, night: {pin: porch, from: 00:00, to: 24:00}}")
        before = server.log.count("porch (GPIO13)")
        values, sources = reload_and_read(wired + new + more, 4)
        assert (values["fan"], values["porch"]) == (0.4, 1)
        assert sources["porch"] == {"level": "schedule", "name": "night"}
        assert server.log.count("porch (GPIO13)") == before
        values, sources = reload_and_read(wired)
        assert (values["fan"], sources["fan"]) == (0, default)
        assert viewer.receive("hello", automation=False)
    assert ask(server, "GET", "/api/schedules").json["schedules"] == []
    server.stop()
    server.reload(AUTOMATION + DAY + RULE)
    server.restart()
    fan = ask(server, "GET", "/api/pins/fan").json
    assert (fan["value"], fan["since"], fan["source"]) == (0.4, None, day)
