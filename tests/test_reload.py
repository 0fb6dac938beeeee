"""Reloads of the configuration by SIGHUP, and starts with an invalid file."""

import ctypes
import os
import re
import signal
import socket
import ssl
import subprocess
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

CONFIG = """
access: {control: everyone}
interval: 0.05
pins:
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 2}
"""

Run = Callable[..., Pi]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """`run(text)`: a server with this configuration, on a port that it keeps."""
    pis: list[Pi] = []

    def run(text: str = CONFIG, **options: Any) -> Pi:
        pis.append(Pi(tmp_path, f"port: {free_port()}\n{text}", **options))
        return pis[-1]

    yield run
    for pi in pis:
        check_end(pi.server)


def with_port(pi: Pi, text: str) -> str:
    return f"port: {pi.server.port}\n{text}"


def notice_codes(hello: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in hello["server"]["notices"]]


def receive_config_notice(viewer: WebSocketClient) -> tuple[dict[str, Any], str]:
    """Return the next hello with a notice about the configuration, and its text."""
    hello = viewer.receive("hello")
    while "configuration" not in notice_codes(hello):
        hello = viewer.receive("hello")
    (notice,) = [each for each in hello["server"]["notices"] if each["code"] == "configuration"]
    return hello, notice["message"]


# What changes, and what does not


def test_unchanged_pins_are_not_touched(run: Run) -> None:
    """An output that is on stays on through a reload, and a running pulse ends in time."""
    pi = run()
    with WebSocketClient(pi.server.port) as viewer:
        viewer.command(type="set", pin="lamp", value=1)
        viewer.command(type="set", pin="gate", value=1)
        pi.reload(pi.file.read_text() + "  fan: {gpio: 18, mode: pwm, initial: 0.5}\n")
        seen = [viewer.receive()]
        while seen[-1]["type"] != "hello" or len(seen[-1]["pins"]) != 3:
            seen.append(viewer.receive())
        assert seen[-1]["state"] == {"lamp": 1, "gate": 1, "fan": 0.5}
        assert not [m for m in seen if m["type"] == "change" and m["value"] == 0]
        assert viewer.receive("change", pin="gate", value=0)["by"] == "pulse"


def test_renamed_pin_keeps_its_level_and_viewers_stay(run: Run) -> None:
    """A renamed output stays on. Viewers stay connected, get a hello, and numbers go on growing."""
    pi = run()
    with WebSocketClient(pi.server.port) as viewer:
        viewer.command(type="set", pin="lamp", value=1)
        before = viewer.receive("state")["seq"]
        pi.reload(pi.file.read_text().replace("lamp: {", "light: {label: Light, "))
        assert viewer.receive("hello")["state"] == {"light": 1, "gate": 0}
        state = viewer.receive("state")
        assert state["seq"] > before and state["pins"]["light"] == 1
        assert viewer.command(type="set", pin="light", value=0)["value"] == 0


def test_removed_pin_is_off(run: Run) -> None:
    """A removed output is left as its `on_stop`, and its place in the header is free."""
    pi = run()
    assert ask(pi.server, "PUT", "/api/pins/lamp", {"value": 1}).status == 200
    pi.reload(with_port(pi, "access: {control: everyone}\npins: {}\n"))
    pi.server.wait_for_log("0 pins, serving")
    assert pi.get("/api/pins")["pins"] == []
    assert not [pin for pin in pi.get("/api/header")["pins"] if pin["holder"]]
    pi.reload(with_port(pi, CONFIG))
    pi.server.wait_for_log("2 pins, serving", again=True)
    assert pi.get("/api/pins/lamp")["value"] == 0


def test_all_other_keys_apply(run: Run, tmp_path: Path) -> None:
    """`interval`, `www`, `access`, `hosts` and `log_level` apply after a reload."""
    pi = run()
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.html").write_text("mine")
    with WebSocketClient(pi.server.port) as viewer:
        viewer.receive("state")
        more = "access: {control: nobody, hosts: [pi.example]}\ninterval: 3600\nwww: pages\n"
        pins = CONFIG.partition("pins:")[2]
        pi.reload(with_port(pi, f"{more}log_level: debug\npins:{pins}"))
        hello = viewer.receive("hello")
        assert (hello["interval"], hello["access"]) == (3600, "view")
        assert viewer.receive()["type"] == "health"  # no state any more
        assert viewer.command(type="set", pin="lamp", value=1)["code"] == "not-allowed"
    assert ask(pi.server, "GET", "/mine.html", Host="pi.example").body == b"mine"
    pi.server.wait_for_log("DEBUG GET /mine.html")


def test_viewer_without_access_is_closed(run: Run) -> None:
    """A viewer that may not view after a reload is closed with the code for signing in."""
    pi = run()
    with WebSocketClient(pi.server.port) as viewer:
        viewer.receive("hello")
        pi.reload(pi.file.read_text().replace("access: {", "access: {view: code, "))
        assert viewer.close_code() == 4401


def test_many_reloads(run: Run) -> None:
    """Of many reloads in a row the last one counts."""
    pi = run()
    with WebSocketClient(pi.server.port) as viewer:
        viewer.command(type="set", pin="lamp", value=1)
        for number in range(10):
            pi.reload(with_port(pi, CONFIG + f"  extra{number}: {{gpio: 5, mode: input}}\n"))
        hello = viewer.receive("hello")
        while [pin["name"] for pin in hello["pins"]] != ["lamp", "gate", "extra9"]:
            hello = viewer.receive("hello")
        assert hello["state"]["lamp"] == 1


def test_demo_ignores_a_reload(start_demo: Callable[[], Any]) -> None:
    """A demo has no configuration file and ignores SIGHUP."""
    server = start_demo()
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("ignored SIGHUP: a demo has no configuration file")


def test_systemd_is_notified(run: Run, tmp_path: Path) -> None:
    """In a reload systemd gets RELOADING with the time, then READY, and the error as the status."""
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


# Addresses and ports


def test_another_port(run: Run) -> None:
    """A reload moves the listener to another port. Viewers of the old one stay connected."""
    pi = run()
    with WebSocketClient(pi.server.port) as viewer:
        old, new = pi.server.port, free_port()
        pi.reload(f"port: {new}\n{CONFIG}")
        pi.server.wait_for_log(f"serving http://127.0.0.1:{new}/")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old), LIMIT)
        assert viewer.command(type="toggle", pin="lamp")["value"] == 1
        pi.server.port = new
        assert pi.get("/api/pins/lamp")["value"] == 1


def test_another_address_on_the_same_port(run: Run) -> None:
    """A reload moves the listener from all addresses to one, on the same port, and back."""
    pi = run()
    pi.reload(with_port(pi, "address: 127.0.0.1\n" + CONFIG))
    pi.server.wait_for_log(rf"2 pins, serving http://127\.0\.0\.1:{pi.server.port}/$")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", pi.server.port), LIMIT)
    pi.reload(with_port(pi, CONFIG))
    pi.server.wait_for_log(r"2 pins, serving \S+ \S+", again=True)
    with socket.create_connection(("::1", pi.server.port), LIMIT):
        pass


def forbid_low_ports() -> None:
    """Take CAP_NET_BIND_SERVICE from root, which a service does not have either: prctl(2),
    PR_CAPBSET_DROP."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 10, 0, 0, 0)


# Rejected files


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("pins: {lamp: {gpio: seventeen, mode: output}}\n", "expected a pin from GPIO0 to GPIO27"),
        ("pins:\n\tlamp: 1\n", "indent with spaces, not tabs"),
        ("ssl: true\n", "the certificate cannot be read"),
        (None, "expected a file, found none"),
        ("address: 192.0.2.77\npins: {}\n", "Cannot assign requested address"),
        ("port: TAKEN\naddress: 127.0.0.1\npins: {}\n", "Address already in use"),
        (
            "port: 443\npins: {}\n",
            "port 443: Permission denied; a port below 1024 needs: sudo systemctl edit"
            " raspi-server, and there the lines [Service],"
            " CapabilityBoundingSet=CAP_NET_BIND_SERVICE and"
            " AmbientCapabilities=CAP_NET_BIND_SERVICE",
        ),
    ],
    ids=["value", "syntax", "certificate", "missing", "address", "taken", "low"],
)
def test_invalid_file_is_rejected(run: Run, text: str | None, error: str) -> None:
    """An invalid file is rejected with its errors in the log and in a notice, and the running
    configuration stays active. A repaired file applies, and the notice is gone."""
    pi = run(before_exec=forbid_low_ports)
    with (
        WebSocketClient(pi.server.port) as viewer,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        viewer.command(type="set", pin="lamp", value=1)
        valid = pi.file.read_text()
        if text is None:
            pi.file.unlink()
        elif "port" in text:
            text = text.replace("TAKEN", str(taken.getsockname()[1]))
        else:
            text = with_port(pi, text)
        pi.reload(text)
        hello, message = receive_config_notice(viewer)
        rejected = f"{pi.file} was rejected: the running configuration stays active"
        assert message.startswith(rejected)
        assert error in message
        pi.server.wait_for_log(re.escape(error))
        assert hello["state"] == {"lamp": 1, "gate": 0}
        health = pi.get("/api/health")
        assert health["status"] == "degraded" and error in health["reasons"][0]
        pi.reload(valid)
        while "configuration" in notice_codes(viewer.receive("hello")):
            pass
        assert pi.get("/api/health")["status"] == "ok"


def test_details_of_errors_need_the_control_code(run: Run, tmp_path: Path) -> None:
    """Values and paths of an invalid file are only for callers that may switch. Others get the fact
    that it has errors."""
    state = tmp_path / "state"
    state.mkdir()
    code = Codes(state).renew("control")
    text = CONFIG.replace("access: {control: everyone}\n", "metrics: true\n")
    pi = run(text, STATE_DIRECTORY=str(state))
    invalid = {
        "seventeen": "pins: {lamp: {gpio: seventeen, mode: output}}\n",
        str(tmp_path): f"ssl: {{certificate: {tmp_path}/none.pem, key: {tmp_path}/none.key}}\n",
    }
    details, notices = ("/api/hello", "/api/health"), ("/api/hello", "/api/health", "/api")
    with WebSocketClient(pi.server.port) as viewer:
        viewer.receive("hello")
        for again, (secret, text) in enumerate(invalid.items()):
            pi.reload(with_port(pi, text))
            pi.server.wait_for_log("the running configuration stays active", again)
            hello, message = receive_config_notice(viewer)
            assert hello["access"] == "view" and "config.yaml has errors" in message
            texts = [str(hello)]
            for path in (*notices, "/metrics", "/api/pins", "/api/header"):
                texts.append(ask(pi.server, "GET", path).body.decode())
                assert path not in details or "config.yaml has errors" in texts[-1]
            assert not [each for each in texts if secret in each or str(pi.file) in each]
            for path in details:
                full = ask(pi.server, "GET", path, Authorization=f"Bearer {code}").body.decode()
                assert secret in full and str(pi.file) in full


# The last good configuration


@pytest.fixture
def state(tmp_path: Path) -> str:
    (tmp_path / "state").mkdir()
    return str(tmp_path / "state")


def test_start_with_an_invalid_file(run: Run, state: str) -> None:
    """A start with an invalid file runs the last good configuration, which a reload brought, and
    reports that until a reload."""
    pi = run(STATE_DIRECTORY=state)
    valid = pi.file.read_text().replace("lamp", "light")
    pi.reload(valid)
    pi.server.wait_for_log("2 pins, serving", again=True)
    pi.server.stop()
    pi.file.write_text("pins: [lamp]\n")
    pi.start()
    pi.server.wait_for_log("expected keys and values, got a list")
    pi.server.wait_for_log("the last good configuration runs")
    assert [pin["name"] for pin in pi.get("/api/pins")["pins"]] == ["light", "gate"]
    assert pi.get("/api/health")["status"] == "degraded"
    pi.reload(valid)
    pi.server.wait_for_log("2 pins, serving", again=True)
    assert pi.get("/api/health")["status"] == "ok"


def test_last_good_configuration_is_written_only_if_it_changed(run: Run, state: str) -> None:
    """A start and a reload with the same file write nothing."""
    pi = run(STATE_DIRECTORY=state)
    kept = Path(state, "last-good.json")
    before = kept.stat()
    pi.server.restart()
    pi.reload()
    pi.server.wait_for_log("2 pins, serving", again=True)
    after = kept.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("kept", [None, "{"], ids=["none", "torn"])
def test_start_without_a_last_good_configuration(run: Run, state: str, kept: str | None) -> None:
    """A start with an invalid file fails if there is no last good configuration, or a torn one."""
    pi = run(STATE_DIRECTORY=state)
    pi.server.stop()
    file = Path(state, "last-good.json")
    file.unlink()
    if kept is not None:
        file.write_text(kept)
    pi.file.write_text("pins: [lamp]\n")
    with pytest.raises(AssertionError, match="expected keys and values, got a list"):
        pi.start()


# Certificates


def make_certificate(folder: Path) -> str:
    """Write a new self-signed pair. Return the lines of the configuration for it."""
    command = [
        "openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-days", "30", "-subj", "/CN=pi",
        "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", folder / "pi.key", "-out", folder / "pi.crt",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return "ssl: {certificate: pi.crt, key: pi.key}\n"


def served_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=LIMIT)


def test_https_on_and_off(run: Run, tmp_path: Path) -> None:
    """A reload turns HTTPS on and off on the same port, and closes the viewers of the other scheme
    with 1012. Outputs keep their values."""
    pi = run()
    line = make_certificate(tmp_path)
    with WebSocketClient(pi.server.port) as viewer:
        assert viewer.command(type="set", pin="lamp", value=1)["value"] == 1
        pi.reload(with_port(pi, line + CONFIG))
        assert viewer.close_code() == 1012
    pi.server.wait_for_log(r"serving https://127\.0\.0\.1")
    assert served_certificate(pi.server.port) == (tmp_path / "pi.crt").read_text()
    pi.reload(with_port(pi, CONFIG))
    pi.server.wait_for_log(r"serving http://127\.0\.0\.1", again=True)
    assert pi.get("/api/pins/lamp")["value"] == 1
    with WebSocketClient(pi.server.port) as viewer:
        assert viewer.command(type="toggle", pin="lamp")["value"] == 0


def test_renewed_certificate(run: Run, tmp_path: Path) -> None:
    """A reload serves a renewed certificate, also while config.yaml is invalid. With a torn one the
    previous stays in use. Viewers stay connected."""
    pi = run(make_certificate(tmp_path) + CONFIG)
    certificate, key = tmp_path / "pi.crt", tmp_path / "pi.key"
    served = [served_certificate(pi.server.port)]
    context = ssl.create_default_context(cafile=certificate)
    with WebSocketClient(pi.server.port, context=context) as viewer:
        before = viewer.receive("state")["seq"]
        make_certificate(tmp_path)
        pi.reload()
        pi.server.wait_for_log("2 pins, serving", again=True)
        served.append(served_certificate(pi.server.port))
        assert served[1] == certificate.read_text() != served[0]
        key.write_text("torn")
        pi.reload()
        pi.server.wait_for_log("expected PEM files")
        assert served_certificate(pi.server.port) == served[1]
        make_certificate(tmp_path)
        pi.reload("port: 0\n")
        pi.server.wait_for_log("was rejected: the running configuration stays active", again=True)
        served.append(served_certificate(pi.server.port))
        assert served[2] == certificate.read_text() != served[1]
        key.write_text("torn")
        pi.reload()
        pi.server.wait_for_log("pi.key: .*; the previous certificate stays in use")
        assert served_certificate(pi.server.port) == served[2]
        viewer.receive("hello")
        assert viewer.receive("state")["seq"] > before
