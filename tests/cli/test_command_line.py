"""The command line as people and systemd use it: output, exit statuses, log, demo, wheel."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server import __version__
from raspi_server.cli.main import main
from raspi_server.config import source
from raspi_server.limits import Limits
from tests.support.http import ask
from tests.support.server import LIMIT, Server, changing, free_port
from tests.support.websocket import WebSocketClient

ROOT = Path(__file__).parents[2]

Start = Callable[..., Server]
Capture = pytest.CaptureFixture[str]


def run(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `raspi-server …`, which must end by itself, and without a traceback."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "raspi_server", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def another_program(*answers: bytes) -> Iterator[int]:
    """Serve these answers, one a connection; the port is the value."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)

        def reply() -> None:
            for answer in answers:
                caller, _ = listener.accept()
                with caller, contextlib.suppress(ConnectionError):
                    caller.recv(65536)
                    caller.sendall(answer)

        replying = threading.Thread(target=reply)
        replying.start()
        try:
            yield listener.getsockname()[1]
        finally:
            replying.join()


# Output and exit statuses


def test_version_and_help(capfd: Capture) -> None:
    """`--version` prints the version and nothing else. `--help` lists all commands, and `--help` of
    a command its options."""

    def shown(*arguments: str) -> str:
        with pytest.raises(SystemExit, match="^0$"):
            main([*arguments])
        return capfd.readouterr().out

    assert shown("--version") == f"raspi-server {__version__}\n"
    commands = ("run", "check", "simulate", "safe-state", "code", "doctor", "demo", "wait-healthy")
    for command in commands:
        assert re.search(rf"^ +{command}\s+\w", shown("--help"), re.MULTILINE)
    for option in ("--config FILE", "--port PORT", "--simulate"):
        assert option in shown("run", "--help")
    assert "--new" in shown("code", "--help") and "--qr" in shown("code", "--help")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["run", "--port", "65536"], "expected a port from 0 to 65535, got '65536'"),
        (["run", "--port", "http"], "expected a port from 0 to 65535, got 'http'"),
        (["run", "--port=-1"], "expected a port from 0 to 65535, got '-1'"),
        (["run", "config.yaml"], "unrecognized arguments: config.yaml"),
    ],
)
def test_wrong_command_line(arguments: list[str], reason: str, capfd: Capture) -> None:
    """A wrong command line ends with status 2 and prints the error and the usage."""
    with pytest.raises(SystemExit, match="^2$"):
        main(arguments)
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith("usage: raspi-server")
    assert reason in error


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    """`check` of a valid configuration prints in one line what it would serve, and below it what
    each input means. `check` and `run` with an invalid one, or with none, end with status 78, and
    print each error with its line. Without a file on the command line, config.yaml in the working
    directory is used."""
    assert main(["check", str(ROOT / "config.yaml")]) == 0
    assert capfd.readouterr().out.endswith("config.yaml: http on port 8080, no pins yet\n")
    monkeypatch.setattr(source, "SYSTEM_FILE", tmp_path / "none.yaml")
    monkeypatch.chdir(tmp_path)
    file = Path("config.yaml")
    file.write_text(
        "port: 9\npins:\n  lamp: {gpio: 17, mode: output}\n"
        "  door: {gpio: 4, mode: input, kind: door, pull: up}\n"
    )
    assert main(["check"]) == 0
    said, meaning = capfd.readouterr().out.splitlines()
    assert said == "ok: config.yaml: http on port 9, 1 output, 1 input"
    assert meaning == "    door: 1 = open = GPIO4 high (contact open)"
    file.write_text("port: 99999\npins:\n  lamp: {gpio: seventeen, mode: output}\n")
    for arguments in (["check"], ["run"], ["run", "--config", "config.yaml"]):
        assert main(arguments) == 78
        first, second = capfd.readouterr().err.splitlines()
        assert first.startswith("config.yaml:1: port: expected ")
        assert second.startswith("config.yaml:3: pins.lamp.gpio: expected ")
    file.write_text("mqtt:\n  password:s3cret\npins:\n  lamp\n    gpio: 17\n")
    for arguments in (["check"], ["run"]):
        assert main(arguments) == 78
        assert capfd.readouterr().err.splitlines() == [
            "config.yaml:2: expected no password in this file; write password_file: FILE below"
            " mqtt, with the password alone in that file",
            "    password: •••",
            "    ^",
            "config.yaml:4: expected a colon after lamp; write lamp:",
            "    lamp",
            "        ^",
        ]
    done = run("check", "none.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "none.yaml: expected a file, found none\n"


def test_address_that_cannot_be_used(tmp_path: Path) -> None:
    """A port that another program uses, and an address that this machine does not have (yet), end
    with status 75, and are named. systemd tries again."""
    file = tmp_path / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for text, error in (
            (f"port: {port}\n", f"port {port}: Address already in use"),
            ("address: 203.0.113.7\n", "203.0.113.7:8080: "),
        ):
            file.write_text(text)
            done = run("run", "--simulate", "--config", str(file))
            assert done.returncode == 75
            assert error in done.stderr


def test_line_that_fails_during_the_start(start_server: Start) -> None:
    """If a line fails while others are still being opened, only its pin has an error."""
    fail = """
from gpiozero.exc import PinError
from raspi_server.gpio.backend import SimulatedPin
original = SimulatedPin._change_state
def change(self, value):
    if value and str(self) == "GPIO17":
        raise PinError("broken")
    return original(self, value)
SimulatedPin._change_state = change
"""
    keys = "mode: output, group: motor"
    left = f"{{gpio: 17, {keys}, initial: on, group_pause: 0}}"
    text = f"pins: {{left: {left}, right: {{gpio: 27, {keys}}}}}"
    pins = ask(start_server(text, program=changing(fail)), "GET", "/api/pins").json["pins"]
    assert [pin["error"] for pin in pins] == ["unavailable", None]


# The log


def test_log_under_the_journal(
    start_server: Start, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """Under the journal each line begins with its priority and has no time. So does an error before
    the start. The journal of another process does not count."""
    under_journal = """
import os
found = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
"""
    server = start_server("log_level: debug\n", program=changing(under_journal))
    assert server.stop() == 0
    assert all(re.match(r"<[2-7]>(?!\d\d:\d\d)", line) for line in server.lines)
    assert "<4>The pins are simulated: nothing real is read or switched" in server.lines
    assert any(line.startswith("<6>0 pins, serving http://") for line in server.lines)
    assert "<6>stopping" in server.lines
    own = os.fstat(sys.stderr.fileno())
    streams = {f"{own.st_dev}:{own.st_ino}": "<3>", f"{own.st_dev + 1}:{own.st_ino}": "", "": ""}
    for stream, prefix in streams.items():
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        assert main(["check", "/none.yaml"]) == 78
        assert capfd.readouterr().err == f"{prefix}/none.yaml: expected a file, found none\n"


# The last step of install.sh


def wait_healthy(folder: Path, port: int, seconds: float = LIMIT) -> int:
    """Run `wait-healthy` for a server on this port; return its exit status."""
    (folder / "healthy.yaml").write_text(f"port: {port}\naddress: 127.0.0.1\n")
    arguments = ["wait-healthy", "--config", str(folder / "healthy.yaml")]
    return main(arguments, Limits(wait_healthy_s=seconds))


@pytest.mark.parametrize(
    ("view", "said"), [("everyone", "config.yaml has errors"), ("code", "degraded\n")]
)
def test_wait_for_a_server(
    start_server: Start, tmp_path: Path, capfd: Capture, view: str, said: str
) -> None:
    """`wait-healthy` succeeds if the server answers, and prints why its health is not ok. A caller
    without a code gets no reasons."""
    server = start_server(f"access: {{view: {view}}}\n")
    assert wait_healthy(tmp_path, server.port) == 0
    assert capfd.readouterr() == ("", "")
    server.reload("nonsense")
    server.wait_for_log("was rejected")
    assert wait_healthy(tmp_path, server.port) == 0
    output, error = capfd.readouterr()
    assert output.startswith(f"The server reports: {said}")
    assert (output.count("\n"), error) == (1, "")


def test_wait_for_another_program(tmp_path: Path, capfd: Capture) -> None:
    """`wait-healthy` fails after its time if another program, an HTTP error, or nothing answers.
    The answer is escaped. It tries again after an invalid answer."""

    def check_failure(port: int, words: str) -> None:
        assert wait_healthy(tmp_path, port, 0.0) == 1
        output, error = capfd.readouterr()
        assert output == ""
        assert error.startswith("The server does not report its health: ") and words in error

    check_failure(free_port(), "Connection refused")
    for answer, words in (
        (b"", "Remote end closed connection without response"),
        (b"HTTP/1.0 200 OK\r\n\r\n[1]", "[1]"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "{}"),
        (b'HTTP/1.0 503 Busy\r\n\r\n{"status": "\x1b[31m"}', '{"status": "\\x1b[31m"}'),
    ):
        with another_program(answer) as port:
            check_failure(port, words)
    with another_program(b"SSH-2.0-x\r\n", b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok"}') as port:
        assert wait_healthy(tmp_path, port) == 0


def test_current_is_switched_before_the_timer_can_fire(tmp_path: Path) -> None:
    """The units of a release are loaded as soon as `current` points to it, before the slow sync:
    they name scripts that the other release may not have."""
    for name in ("systemctl", "sync"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho {name} $1 "$(readlink {tmp_path}/current)"\n'
        )
        (tmp_path / name).chmod(0o755)
    run = f"home='{tmp_path}'; current=$home/current; source '{ROOT}/scripts/release.sh'"
    done = subprocess.run(
        ["bash", "-euc", f'{run}; point "$home/previous" 1.0-1; point "$current" 2.0-2'],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "sync -f ",
        "systemctl daemon-reload releases/2.0-2",
        "sync -f releases/2.0-2",
    ], done.stderr


# The demo, and the wheel


def test_demo(start_demo: Callable[[], Server]) -> None:
    """The demo needs no file and no Pi. It has simulated pins of all kinds, its motion sensor
    changes by itself, a garage door moves when it is told to, and every client may switch. Lines of
    its log have time and level."""
    demo = start_demo()
    pins = ask(demo, "GET", "/api/pins").json["pins"]
    modes = {"door": "input", "motion": "input", "lamp": "output", "doorbell": "output"}
    found = {pin["name"]: pin["mode"] for pin in pins if pin["cover"] is None}
    assert found == modes | {"fan": "pwm"}
    title = f'<title data-host="">{socket.gethostname()}</title>'
    assert title in ask(demo, "GET", "/").body.decode()
    demo.wait_for_log(r"^\d\d:\d\d:\d\d WARNING The pins are simulated")
    with WebSocketClient(demo.port) as viewer:
        result = viewer.command(type="set", pin="lamp", value=1)
        assert (result["type"], result["value"]) == ("result", 1)
        moved = viewer.receive("change", pin="motion")
        assert moved["value"] in (0, 1) and "by" not in moved
        assert viewer.command(type="open", cover="garage")["state"] == "opening"
        assert viewer.receive("change", pin="garage_shut")["value"] == 1


@pytest.mark.slow
def test_wheel_has_the_pages(tmp_path: Path) -> None:
    """The wheel has the dashboard, and nothing else beside the package."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "wheel"]
    subprocess.run([*pip, str(ROOT), "--no-deps", "--wheel-dir", str(tmp_path)], check=True)
    (wheel,) = tmp_path.glob("raspi_server-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    pages = {page.relative_to(ROOT) for page in (ROOT / "www").rglob("*") if page.is_file()}
    assert {f"raspi_server/{page}" for page in pages} <= names
    assert "raspi_server/www/index.html" in names
    assert not {name for name in names if name.startswith(("tests", "www"))}


def test_reader_that_leaves(tmp_path: Path) -> None:
    """A command whose output is read in part, as by `head -1`, ends without a traceback."""
    file = tmp_path / "config.yaml"
    file.write_text("pins: {lamp: {gpio: 17, mode: output}}\n")
    command = f"{sys.executable} -u -m raspi_server doctor --config {file} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=LIMIT)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
