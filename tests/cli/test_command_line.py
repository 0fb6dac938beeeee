"""The command line as people and systemd use it: output, exit statuses, signals, log, wheel."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server import __version__
from raspi_server.cli.main import main
from raspi_server.config.source import SYSTEM_FILE
from raspi_server.limits import Limits
from tests.support.http import HttpClient, ask
from tests.support.server import LIMIT, Server, check_end, free_port
from tests.support.websocket import WebSocketClient
from tests.system.debian.test_upgrade import DIES_AT_START, NOT_IMPORTABLE, UNHEALTHY

ROOT = Path(__file__).parents[2]
ANYWHERE = {**os.environ, "PYTHONPATH": str(ROOT)}
"""An environment in which Python finds this package from any working directory."""

WITH_ERRORS = """port: 99999
pins:
  lamp: {gpio: seventeen, mode: output}
  door: {gpio: 4, mode: inputt}
colour: red
"""
ERRORS = [":1: port: ", ":3: pins.lamp.gpio: ", ":4: pins.door.mode: ", ":5: colour: "]


def run(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `raspi-server …`, which must end by itself, and without a traceback."""
    options.setdefault("env", ANYWHERE)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "raspi_server", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def get(server: Server | str, path: str = "/") -> tuple[int, bytes]:
    response = ask(server, "GET", path)
    return response.status, response.body


@contextlib.contextmanager
def another_program(*answers: bytes) -> Iterator[int]:
    """Serve these answers, one a connection; the port is the value."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)

        def reply() -> None:
            for answer in answers:
                caller, _ = listener.accept()
                with caller:
                    caller.recv(65536)
                    caller.sendall(answer)

        replying = threading.Thread(target=reply)
        replying.start()
        try:
            yield listener.getsockname()[1]
        finally:
            replying.join()


def write(folder: Path, text: str) -> str:
    (folder / "config.yaml").write_text(text)
    return str(folder / "config.yaml")


# Output and exit statuses


def test_version() -> None:
    """`--version` prints the version and nothing else."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"raspi-server {__version__}\n")


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    """`--help` lists all commands, and `--help` of a command its options."""

    def shown(*arguments: str) -> str:
        with pytest.raises(SystemExit, match="^0$"):
            main([*arguments, "--help"])
        return capfd.readouterr().out

    for command in ("run", "check", "safe-state", "code", "doctor", "demo", "wait-healthy"):
        assert re.search(rf"^ +{command}\s+\w", shown(), re.MULTILINE)
    for option in ("--config FILE", "--port PORT", "--simulate"):
        assert option in shown("run")
    assert "--new" in shown("code") and "--qr" in shown("code")


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "--port", "65536"], "expected a port from 0 to 65535, got '65536'"),
        (["run", "--port", "http"], "expected a port from 0 to 65535, got 'http'"),
        (["run", "--port=-1"], "expected a port from 0 to 65535, got '-1'"),
        (["run", "--config"], "expected one argument"),
        (["run", "config.yaml"], "unrecognized arguments: config.yaml"),
        (["check", "a.yaml", "b.yaml"], "unrecognized arguments: b.yaml"),
        (["demo", "--simulate"], "unrecognized arguments: --simulate"),
    ],
)
def test_wrong_command_line(
    arguments: list[str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A wrong command line ends with status 2 and prints the error and the usage."""
    with pytest.raises(SystemExit, match="^2$"):
        main(arguments)
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith("usage: raspi-server")
    assert reason in error


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("port: 9000\npins: {lamp: {gpio: 17, mode: output}, door: {gpio: 4, mode: input}}\n",
         "http on port 9000, 1 output, 1 input"),
        ((ROOT / "config.yaml").read_text(), "http on port 8080, no pins yet"),
    ],
    ids=["pins", "shipped"],
)  # fmt: skip
def test_check_of_a_valid_configuration(tmp_path: Path, text: str, summary: str) -> None:
    """`check` of a valid configuration prints in one line what it would serve."""
    file = write(tmp_path, text)
    done = run("check", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ok: {file}: {summary}\n"


@pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
def test_invalid_configuration(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """An invalid configuration ends with status 78, and prints each error with its line. So does a
    file that does not exist."""
    file = str(tmp_path / "config.yaml")
    assert main([*command, file]) == 78
    assert capfd.readouterr() == ("", f"{file}: expected a file, found none\n")
    write(tmp_path, WITH_ERRORS)
    done = run(*command, file)
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    for line, error in zip(lines, ERRORS, strict=True):
        assert line.startswith(f"{file}{error}expected ")


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason=f"{SYSTEM_FILE} is used before ./config.yaml")
def test_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a file on the command line, config.yaml in the working directory is used."""
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 78
    assert capfd.readouterr().err == "config.yaml: expected a file, found none\n"
    write(tmp_path, WITH_ERRORS)
    assert main(["run"]) == 78
    assert capfd.readouterr().err.startswith("config.yaml:1: port: ")
    write(tmp_path, "port: 9001\n")
    assert main(["check"]) == 0
    assert capfd.readouterr().out == "ok: config.yaml: http on port 9001, no pins yet\n"


def test_line_that_fails_during_the_start(start_server: Callable[..., Server]) -> None:
    """If a line fails while others are still being opened, only its pin has an error."""
    program = """
import sys
from gpiozero.exc import PinError
from raspi_server.cli.main import main
from raspi_server.gpio.backend import SimulatedPin
original = SimulatedPin._change_state
def change(self, value):
    if value and str(self) == "GPIO17":
        raise PinError("GPIO17 cannot be switched")
    return original(self, value)
SimulatedPin._change_state = change
sys.exit(main())
"""
    motor = "mode: output, group: motor, initial: on, group_pause: 0"
    other = "mode: output, group: motor"
    text = f"pins: {{left: {{gpio: 17, {motor}}}, right: {{gpio: 27, {other}}}}}"
    server = start_server(f"access: {{control: everyone}}\n{text}", program=("-c", program))
    pins = ask(server, "GET", "/api/pins").json["pins"]
    assert {pin["name"]: pin["error"] for pin in pins} == {
        "left": "GPIO17 cannot be switched",
        "right": None,
    }


def test_run_from_another_directory(tmp_path: Path) -> None:
    """The server runs from any working directory. Its pages are in the folder of config.yaml."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home / "www", elsewhere / "www"):
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(str(folder))
    server = Server(
        ["run", "--simulate", "--config", os.path.relpath(write(home, "pins: {}\n"), elsewhere)],
        cwd=elsewhere,
        env=ANYWHERE,
    )
    page = get(server)
    check_end(server)
    assert page == (200, str(home / "www").encode())


# Addresses


def test_port_in_use(tmp_path: Path) -> None:
    """A port that another program uses ends with status 75, and is named. systemd tries again."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for address, shown in (("", f"port {port}"), ("127.0.0.1", f"127.0.0.1:{port}")):
            file = write(tmp_path, f"port: {port}\naddress: '{address}'\n")
            done = run("run", "--simulate", "--config", file)
            assert done.returncode == 75
            assert f"{shown}: Address already in use" in done.stderr


def test_address_of_another_machine(tmp_path: Path) -> None:
    """An address that this machine does not have (yet) ends with status 75, and is named."""
    file = write(tmp_path, "address: 203.0.113.7\n")
    done = run("run", "--simulate", "--config", file)
    assert done.returncode == 75
    assert "203.0.113.7:8080: " in done.stderr


def test_configured_port(tmp_path: Path) -> None:
    """The port of config.yaml is served, unless the command line names another."""
    port = free_port()
    command = ["run", "--simulate", "--config", write(tmp_path, f"port: {port}\n")]
    configured, other = Server(command, port=None), Server(command)
    try:
        assert get(configured)[0] == get(other)[0] == 200
        assert configured.port == port != other.port
    finally:
        check_end(configured)
        check_end(other)


@pytest.mark.parametrize(
    ("address", "hosts"),
    [("", ["127.0.0.1", "[::1]"]), ("127.0.0.1", ["127.0.0.1"]), ("::1", ["[::1]"])],
)
def test_configured_address(
    start_server: Callable[..., Server], address: str, hosts: list[str]
) -> None:
    """With an address configured, only this one is served. Without, IPv4 and IPv6 are both served,
    on the same port."""
    server = start_server(f"address: '{address}'\n")
    for host in ("127.0.0.1", "[::1]"):
        if host in hosts:
            assert get(f"http://{host}:{server.port}")[0] == 200
        else:
            assert server.url == f"http://{hosts[0]}:{server.port}"
            with pytest.raises(ConnectionRefusedError):
                get(f"http://{host}:{server.port}")


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_clean_stop(start_server: Callable[..., Server], number: signal.Signals) -> None:
    """SIGTERM and Ctrl+C stop the server within seconds, with status 0, and close all viewers. A
    phone that sleeps, and does not answer the close frame, does not delay the stop."""
    server = start_server("interval: 0.05\npins: {lamp: {gpio: 17, mode: output}}\n")
    with WebSocketClient(server.port) as viewer, WebSocketClient(server.port):
        viewer.receive()
        began = time.monotonic()
        server.process.send_signal(number)
        assert viewer.close_code() == 1001
        assert server.stop() == 0
        assert time.monotonic() - began < 10
    assert "stopping" in server.lines[-1]


def test_port_is_free_after_a_restart(start_server: Callable[..., Server]) -> None:
    """A server can be started again immediately on the same port, also if clients were
    connected."""
    server = start_server("pins: {}\n")
    port = server.port
    with HttpClient(server) as kept:
        kept.ask("GET", "/api")
        server.restart()
        assert (server.port, get(server)[0]) == (port, 200)


@pytest.mark.parametrize("moment", ["immediately", "importing", "listening"])
def test_stop_during_the_start(tmp_path: Path, moment: str) -> None:
    """A SIGTERM at any moment of the start ends the program and leaves its port free."""
    file = write(tmp_path, "pins: {lamp: {gpio: 17, mode: output, initial: 'on'}}\n")
    port = free_port()
    arguments = ["run", "--simulate", "--port", str(port), "--config", file]
    process = subprocess.Popen(
        [sys.executable, *(["-v"] if moment == "importing" else []), "-m", "raspi_server"]
        + arguments,
        stderr=subprocess.PIPE,
        text=True,
        env=ANYWHERE,
    )
    assert process.stderr is not None
    with killed_after_limit(process):
        if moment == "importing":  # Python prints each import
            assert any("raspi_server.server" in line for line in process.stderr)
        elif moment == "listening":
            wait_for_port(port)
        process.terminate()
        _, log = process.communicate()
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in log
    with socket.create_server(("127.0.0.1", port)):
        pass  # raises where the port is not free


@contextlib.contextmanager
def killed_after_limit(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Kill a process after LIMIT seconds, so that no test reads its log forever."""
    killing = threading.Timer(LIMIT, process.kill)
    killing.start()
    try:
        yield
    finally:
        killing.cancel()
        process.kill()


def wait_for_port(port: int) -> None:
    """Wait until a program listens there."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise TimeoutError(port)


# The log


def logged(tmp_path: Path, config: str, stream: str | None) -> list[str]:
    """Return the log lines of a server that starts and stops.

    `stream` is the value of JOURNAL_STREAM, with `{}` for device and inode of standard error."""
    reading, writing = os.pipe()
    found = os.fstat(writing)
    environment = {key: value for key, value in ANYWHERE.items() if key != "JOURNAL_STREAM"}
    if stream is not None:
        environment["JOURNAL_STREAM"] = stream.format(f"{found.st_dev}:{found.st_ino}")
    command = [sys.executable, "-m", "raspi_server", "run", "--simulate", "--port", "0"]
    with os.fdopen(reading) as log:
        process = subprocess.Popen(
            [*command, "--config", write(tmp_path, config)], stderr=writing, env=environment
        )
        os.close(writing)
        lines = []
        with killed_after_limit(process):
            for line in log:
                lines.append(line.rstrip("\n"))
                if "serving" in line:
                    process.terminate()
            assert process.wait() == 0
    return lines


def test_log_under_the_journal(tmp_path: Path) -> None:
    """Under the journal each line begins with its priority and has no time."""
    lines = logged(tmp_path, "log_level: debug\n", "{}")
    assert all(re.match(r"<[2-7]>(?!\d\d:\d\d)", line) for line in lines)
    assert "<4>The pins are simulated: nothing real is read or switched" in lines
    assert any(line.startswith("<6>0 pins, serving http://") for line in lines)
    assert "<6>stopping" in lines


@pytest.mark.parametrize("stream", [None, "1:{}", ""], ids=["unset", "of-another", "empty"])
def test_log_without_the_journal(tmp_path: Path, stream: str | None) -> None:
    """Without the journal, or with that of another process, each line has the time and its level
    in words."""
    lines = logged(tmp_path, "pins: {}\n", stream)
    assert len(lines) >= 3
    assert all(re.match(r"\d\d:\d\d:\d\d (INFO|WARNING) \S", line) for line in lines)


def test_requests_write_no_log_lines(start_server: Callable[..., Server]) -> None:
    """Requests write no log lines, also if they are rejected or invalid."""
    server = start_server("pins: {}\n")
    lines = len(server.lines)
    for words in (b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), LIMIT) as client:
            client.sendall(words)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):  # a TLS client is disconnected here
                client.recv(65536)
    for path in ("/", "/nothing", "/api/nothing", "/api/pins/lamp", "/ws"):
        get(server, path)
    assert server.stop() == 0
    assert [line for line in server.lines[lines:] if "stopping" not in line] == []


# The last step of install.sh


def wait_healthy(config: Path, port: int, **limits: float) -> int:
    config.write_text(f"port: {port}\naddress: 127.0.0.1\n")
    return main(["wait-healthy", "--config", str(config)], Limits(**limits))


def test_wait_for_a_server(
    start_server: Callable[..., Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`wait-healthy` succeeds if the server answers, and prints why its health is not ok. A caller
    without a code gets no reasons."""
    public, private = start_server("pins: {}\n"), start_server("access: {view: code}\n")
    for server in (public, private):
        assert wait_healthy(tmp_path / "healthy.yaml", server.port) == 0
        assert capfd.readouterr() == ("", "")
    for number, server in enumerate((public, private)):
        (tmp_path / f"config-{number}.yaml").write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("was rejected")
    assert wait_healthy(tmp_path / "healthy.yaml", public.port) == 0
    assert "The server reports: config.yaml has errors" in capfd.readouterr().out
    assert wait_healthy(tmp_path / "healthy.yaml", private.port) == 0
    assert capfd.readouterr().out == "The server reports: degraded\n"


def test_wait_tries_again(tmp_path: Path) -> None:
    """`wait-healthy` tries again after an invalid answer."""
    with another_program(b"", b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok"}') as port:
        assert wait_healthy(tmp_path / "healthy.yaml", port, wait_healthy_s=LIMIT) == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "Remote end closed connection without response"),
        (b"SSH-2.0-x\r\n", "SSH-2.0-x"),
        (b"HTTP/1.0 200 OK\r\n\r\n[1]", "[1]"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", "{}"),
        (b'HTTP/1.0 503 Busy\r\n\r\n{"status": "\x1b[31m"}', '{"status": "\\x1b[31m"}'),
    ],
    ids=["closed", "ssh", "list", "object", "error"],
)
def test_wait_for_another_program(
    answer: bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`wait-healthy` fails if another program, or an HTTP error, answers. The answer is escaped."""
    with another_program(answer) as port:
        assert wait_healthy(tmp_path / "healthy.yaml", port, wait_healthy_s=0.0) == 1
    output, error = capfd.readouterr()
    assert output == ""
    assert error.startswith("The server does not report its health: ") and words in error


def test_wait_for_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`wait-healthy` fails after its time if nothing listens."""
    began = time.monotonic()
    assert wait_healthy(tmp_path / "healthy.yaml", free_port(), wait_healthy_s=0.7) == 1
    assert time.monotonic() - began > 0.7
    assert "Connection refused" in capfd.readouterr().err


OLD_SCRIPT = "import sys; print('script', sys.argv[1])"


@pytest.mark.parametrize(("has_script", "said"), [(True, "script"), (False, "command")])
def test_install_waits_as_the_release_can(tmp_path: Path, has_script: bool, said: str) -> None:
    """The installer waits with the command of a release, or with the script of releases up to
    0.3.0, which it may switch back to."""
    scripts, python = tmp_path / "current/scripts", tmp_path / "current/venv/bin/python"
    for folder in (scripts, python.parent):
        folder.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (scripts / "start.sh").write_text("#!/bin/sh\necho command $1 $3\n")
    (scripts / "start.sh").chmod(0o755)
    if has_script:
        (scripts / "healthy.py").write_text(OLD_SCRIPT)
    run = f"current='{tmp_path}/current'; config=/my.yaml; source '{ROOT}/scripts/release.sh'"
    done = subprocess.run(["bash", "-euc", f"{run}; wait_healthy"], capture_output=True, text=True)
    arguments = "" if has_script else " wait-healthy"
    assert (done.returncode, done.stdout) == (0, f"{said}{arguments} /my.yaml\n"), done.stderr


def test_current_is_switched_before_the_timer_can_fire(tmp_path: Path) -> None:
    """The units of a release are loaded as soon as `current` points to it, before the slow sync:
    they name scripts that the other release may not have."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("systemctl", "sync"):
        (stubs / name).write_text(f'#!/bin/sh\necho {name} $1 "$(readlink "{tmp_path}/current")"\n')
        (stubs / name).chmod(0o755)
    run = f"home='{tmp_path}'; current=$home/current; source '{ROOT}/scripts/release.sh'"
    done = subprocess.run(
        ["bash", "-euc", f'{run}; point "$home/previous" 1.0-1; point "$current" 2.0-2'],
        env={**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "sync -f ",
        "systemctl daemon-reload releases/2.0-2",
        "sync -f releases/2.0-2",
    ], done.stderr


@pytest.mark.parametrize(
    ("script", "call"),
    [
        ("common.sh", "is_in_force"),
        ("release.sh", '"$current/venv/bin/python" -I -c "$imports_all"'),
    ],
    ids=["is_in_force", "imports_all"],
)
def test_scripts_name_modules_that_exist(tmp_path: Path, script: str, call: str) -> None:
    """Python code in the scripts imports modules that exist."""
    (tmp_path / "venv").symlink_to(sys.prefix)
    (tmp_path / "config.yaml").write_text("pins: {}\n")
    run = f"source '{ROOT}/scripts/{script}'; current='{tmp_path}'; config=$current/config.yaml"
    done = subprocess.run(["bash", "-euc", f"{run}; {call}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["raspi-server.service", "raspi-server-cert.service"])
def test_units_name_scripts_that_exist(unit: str) -> None:
    """Each script that a unit starts exists."""
    scripts = re.findall(r"/opt/raspi-server/current/(\S+)", (ROOT / "systemd" / unit).read_text())
    assert scripts
    for script in scripts:
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize(
    "edit", [UNHEALTHY, NOT_IMPORTABLE, DIES_AT_START], ids=lambda edit: edit[0]
)
def test_system_tests_find_what_they_edit(edit: tuple[str, str, str]) -> None:
    """The texts that tests/system/debian/test_upgrade.py edits to break a release exist."""
    module, old, _ = edit
    assert old in (ROOT / "raspi_server" / module).read_text()


# The demo


def test_demo(start_demo: Callable[[], Server]) -> None:
    """The demo needs no file and no Pi. It has simulated pins of all kinds, its motion sensor
    changes by itself, and every client may switch."""
    demo = start_demo()
    pins = ask(demo, "GET", "/api/pins").json["pins"]
    assert {pin["name"]: pin["mode"] for pin in pins} == {
        "door": "input",
        "motion": "input",
        "lamp": "output",
        "doorbell": "output",
        "fan": "pwm",
    }
    assert b"<title>raspi-server</title>" in get(demo)[1]
    demo.wait_for_log("The pins are simulated")
    with WebSocketClient(demo.port) as viewer:
        result = viewer.command(type="set", pin="lamp", value=1)
        assert (result["type"], result["value"]) == ("result", 1)
        moved = viewer.receive("change", pin="motion")
        assert moved["value"] in (0, 1) and "by" not in moved


# The wheel


@pytest.mark.slow
def test_wheel(tmp_path: Path) -> None:
    """The installed package has the dashboard, and needs nothing of the checkout."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = subprocess.run(
        [*pip, "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("raspi_server-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    pages = {page.relative_to(ROOT) for page in (ROOT / "www").rglob("*") if page.is_file()}
    assert {f"raspi_server/{page}" for page in pages} <= names
    assert "raspi_server/www/index.html" in names
    assert not {name for name in names if name.startswith(("tests", "www"))}
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = subprocess.run(
        [installed / "bin" / "raspi-server", "--version"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (command.returncode, command.stdout) == (0, f"raspi-server {__version__}\n")
    server = Server(["demo"], cwd=elsewhere, env=environment)
    status, page = get(server)
    check_end(server)
    page, versions = re.subn(rb"v/[0-9a-f]{16}/", b"v/current/", page)
    assert versions
    assert (status, page) == (200, (ROOT / "www" / "index.html").read_bytes())
