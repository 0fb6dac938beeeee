"""The command line as people and systemd use it: words, exit statuses, signals, log, wheel."""

import asyncio
import contextlib
import http.client
import json
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
from tornado.websocket import websocket_connect

from raspi_server import __version__
from raspi_server.cli.main import main
from raspi_server.config.source import SYSTEM_FILE
from raspi_server.limits import Limits
from tests.support.server import LIMIT, Server, free_port
from tests.system.debian.test_upgrade import DIES_AT_START, NOT_IMPORTABLE, UNHEALTHY

ROOT = Path(__file__).parents[2]
ANYWHERE = {**os.environ, "PYTHONPATH": str(ROOT)}
"""The environment in which this package is found from any working directory."""

FAULTY = """port: 99999
pins:
  lamp: {gpio: seventeen, mode: output}
  door: {gpio: 4, mode: inputt}
colour: red
"""
FAULTS = [":1: port: ", ":3: pins.lamp.gpio: ", ":4: pins.door.mode: ", ":5: colour: "]


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


def get(port: int, path: str = "/", host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=LIMIT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def write(folder: Path, text: str) -> str:
    (folder / "config.yaml").write_text(text)
    return str(folder / "config.yaml")


# Words


def test_version() -> None:
    """`--version` prints the version and nothing else."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"raspi-server {__version__}\n")


def test_help() -> None:
    """`--help` names the commands, and `--help` of a command its options."""
    done = run("--help")
    assert done.returncode == 0
    for command in ("run", "check", "demo", "wait-healthy"):
        assert re.search(rf"^ +{command}\s+\w", done.stdout, re.MULTILINE)
    done = run("run", "--help")
    assert done.returncode == 0
    for option in ("--config FILE", "--port PORT", "--simulate"):
        assert option in done.stdout


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run", "--port", "65536"], "expected a port from 0 to 65535, got '65536'"),
        (["run", "--port", "http"], "expected a port from 0 to 65535, got 'http'"),
        (["run", "--port", "-1"], "-1"),
        (["run", "--config"], "expected one argument"),
        (["run", "config.yaml"], "unrecognized arguments: config.yaml"),
        (["check", "a.yaml", "b.yaml"], "unrecognized arguments: b.yaml"),
        (["demo", "--simulate"], "unrecognized arguments: --simulate"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], reason: str) -> None:
    """A wrong command line ends with status 2 and prints the error and the usage."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: raspi-server")
    assert reason in done.stderr


# Configurations


def test_check_finds_nothing(tmp_path: Path) -> None:
    """`check` of a valid configuration prints in one line what it would serve."""
    pins = "pins: {lamp: {gpio: 17, mode: output}, door: {gpio: 4, mode: input}}"
    file = write(tmp_path, f"port: 9000\n{pins}\n")
    done = run("check", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ok: {file}: http on port 9000, 1 output, 1 input\n"


def test_check_of_the_shipped_file() -> None:
    """The configuration that is shipped has no mistakes, and no pins."""
    done = run("check", str(ROOT / "config.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("config.yaml: http on port 8080, no pins yet\n")


@pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
def test_a_faulty_configuration(tmp_path: Path, command: list[str]) -> None:
    """A faulty configuration ends with status 78 and names every fault with its line."""
    file = write(tmp_path, FAULTY)
    done = run(*command, file)
    assert (done.returncode, done.stdout) == (78, "")
    lines = done.stderr.splitlines()
    assert [line[: len(file + fault)] for line, fault in zip(lines, FAULTS, strict=True)] == [
        file + fault for fault in FAULTS
    ]
    assert all("expected" in line for line in lines)


@pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
def test_no_configuration(tmp_path: Path, command: list[str]) -> None:
    """A configuration that is not there ends with status 78 and names the file."""
    file = str(tmp_path / "config.yaml")
    done = run(*command, file)
    assert (done.returncode, done.stderr) == (78, f"{file}: expected a file, found none\n")


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason=f"{SYSTEM_FILE} goes before ./config.yaml")
def test_the_file_in_the_working_directory(tmp_path: Path) -> None:
    """Without a file on the command line, config.yaml in the working directory is meant."""
    assert run("check", cwd=tmp_path).stderr == "config.yaml: expected a file, found none\n"
    write(tmp_path, FAULTY)
    assert run("run", cwd=tmp_path).stderr.startswith("config.yaml:1: port: ")
    write(tmp_path, "port: 9001\n")
    assert run("check", cwd=tmp_path).stdout == "ok: config.yaml: http on port 9001, no pins yet\n"


def test_a_line_that_fails_during_the_start(start_server: Callable[..., Server]) -> None:
    """A line that refuses while the others are still being opened is a pin in error, no more."""
    program = """
import sys
from gpiozero.exc import PinError
from raspi_server.cli.main import main
from raspi_server.gpio.backend import SimulatedPin
well = SimulatedPin._change_state
def change(self, value):
    if value and str(self) == "GPIO17":
        raise PinError("GPIO17 does not obey")
    return well(self, value)
SimulatedPin._change_state = change
sys.exit(main())
"""
    motor = "mode: output, group: motor, initial: on, group_pause: 0"
    other = "mode: output, group: motor"
    pins = f"pins: {{left: {{gpio: 17, {motor}}}, right: {{gpio: 27, {other}}}}}"
    server = start_server(f"access: {{control: everyone}}\n{pins}", program=("-c", program))
    answered = {
        pin["name"]: pin["error"] for pin in json.loads(get(server.port, "/api/pins")[1])["pins"]
    }
    assert answered == {"left": "GPIO17 does not obey", "right": None}


def test_from_another_directory(tmp_path: Path) -> None:
    """The server runs from any working directory, and its pages are beside its config.yaml."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home / "www", elsewhere / "www"):
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(str(folder))
    server = Server(
        ["run", "--simulate", "--config", os.path.relpath(write(home, "pins: {}\n"), elsewhere)],
        cwd=elsewhere,
        env=ANYWHERE,
    )
    page = get(server.port)
    assert server.stop() == 0
    assert page == (200, str(home / "www").encode())


# Addresses


def test_a_port_in_use(tmp_path: Path) -> None:
    """A port that another program has ends with status 75, which systemd tries again, and is
    named."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file = write(tmp_path, f"port: {port}\n")
        done = run("run", "--simulate", "--config", file)
        assert done.returncode == 75
        assert f"port {port}: Address already in use" in done.stderr
        write(tmp_path, f"port: {port}\naddress: 127.0.0.1\n")
        done = run("run", "--simulate", "--config", file)
        assert done.returncode == 75
        assert f"127.0.0.1:{port}: Address already in use" in done.stderr


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """An address that this machine does not have, or not yet, ends with status 75 and is named."""
    file = write(tmp_path, "address: 203.0.113.7\n")
    done = run("run", "--simulate", "--config", file)
    assert done.returncode == 75
    assert "203.0.113.7:8080: " in done.stderr


def test_the_configured_port(tmp_path: Path) -> None:
    """The port of config.yaml is served, unless the command line names another."""
    port = free_port()
    file = write(tmp_path, f"port: {port}\n")
    command = [sys.executable, "-m", "raspi_server", "run", "--simulate", "--config", file]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=ANYWHERE)
    try:
        wait_for_port(port)
        assert get(port)[0] == 200
        other = Server(["run", "--simulate", "--config", file], env=ANYWHERE)
        assert other.port != port
        assert other.stop() == 0
    finally:
        process.terminate()
        status = process.wait(LIMIT)
    assert status == 0


def test_all_addresses(start_server: Callable[..., Server]) -> None:
    """With no address configured, IPv4 and IPv6 are both served, on the same port."""
    server = start_server("address: ''\n")
    assert [get(server.port, host=host)[0] for host in ("127.0.0.1", "::1")] == [200, 200]


@pytest.mark.parametrize("address, other", [("127.0.0.1", "::1"), ("::1", "127.0.0.1")])
def test_one_address(start_server: Callable[..., Server], address: str, other: str) -> None:
    """With one address configured, that one is served and no other."""
    server = start_server(f"address: '{address}'\n")
    shown = f"[{address}]" if ":" in address else address
    assert server.url == f"http://{shown}:{server.port}"
    assert get(server.port, host=address)[0] == 200
    with pytest.raises(ConnectionRefusedError):
        get(server.port, host=other)


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_clean_stop(start_server: Callable[..., Server], number: signal.Signals) -> None:
    """SIGTERM and Ctrl+C stop the server within seconds, with status 0, and close all viewers."""
    server = start_server("interval: 0.05\npins: {lamp: {gpio: 17, mode: output}}\n")

    async def watch() -> int | None:
        connection = await websocket_connect(server.ws_url)
        await connection.read_message()
        server.process.send_signal(number)
        while await connection.read_message() is not None:
            pass
        connection.close()
        return connection.close_code

    began = time.monotonic()
    assert asyncio.run(asyncio.wait_for(watch(), LIMIT)) == 1001
    assert server.stop() == 0
    assert time.monotonic() - began < 10
    assert "stopping" in server.lines[-1]


def test_a_sleeping_viewer_does_not_hold_up_a_stop(start_server: Callable[..., Server]) -> None:
    """A phone that sleeps, and does not answer the close frame, does not delay a stop."""
    server = start_server("pins: {}\n")
    asking = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as phone:
        phone.sendall(asking.encode())
        assert phone.recv(12) == b"HTTP/1.1 101"
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10


def test_a_restart_finds_its_port_free(start_server: Callable[..., Server]) -> None:
    """A server can be started again at once on the same port, though browsers were connected."""
    server = start_server("pins: {}\n")
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    kept.request("GET", "/api")
    assert kept.getresponse().read()
    port = server.port
    server.restart()
    kept.close()
    assert (server.port, get(port)[0]) == (port, 200)


@pytest.mark.parametrize("moment", ["at-once", "importing", "listening"])
def test_a_stop_during_the_start(tmp_path: Path, moment: str) -> None:
    """A SIGTERM at any moment of the start ends it at once and leaves nothing behind: the next
    start finds its port free."""
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
    with no_longer_than_allowed(process):
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
def no_longer_than_allowed(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Kill a process after LIMIT, so that no test reads its log for ever."""
    killing = threading.Timer(LIMIT, process.kill)
    killing.start()
    try:
        yield
    finally:
        killing.cancel()
        process.kill()


def wait_for_port(port: int) -> None:
    """Until something listens there."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise TimeoutError(port)


# The log


def logged(tmp_path: Path, config: str, stream: str | None) -> list[str]:
    """Return the log lines of a server that starts and stops. `stream` is the value of
    JOURNAL_STREAM, with `{}` for the device and inode of its standard error."""
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
        with no_longer_than_allowed(process):
            for line in log:
                lines.append(line.rstrip("\n"))
                if "serving" in line:
                    process.terminate()
            assert process.wait() == 0
    return lines


def test_under_the_journal(tmp_path: Path) -> None:
    """Under the journal every line begins with its priority and has no time of its own."""
    lines = logged(tmp_path, "log_level: debug\n", "{}")
    assert all(re.match(r"<[2-7]>(?!\d\d:\d\d)", line) for line in lines)
    assert "<4>The pins are simulated: nothing real is read or switched" in lines
    assert any(line.startswith("<6>0 pins, serving http://") for line in lines)
    assert "<6>stopping" in lines


@pytest.mark.parametrize("stream", [None, "1:{}", ""], ids=["unset", "of-another", "empty"])
def test_without_the_journal(tmp_path: Path, stream: str | None) -> None:
    """Without the journal, or with the journal of another process, every line has the time and its
    level in words."""
    lines = logged(tmp_path, "pins: {}\n", stream)
    assert len(lines) >= 3
    assert all(re.match(r"\d\d:\d\d:\d\d (INFO|WARNING) \S", line) for line in lines)


def test_clients_do_not_fill_the_log(start_server: Callable[..., Server]) -> None:
    """Requests, refused ones and nonsense included, write no lines into the log."""
    server = start_server("pins: {}\n")
    lines = len(server.lines)
    for words in (b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), LIMIT) as client:
            client.sendall(words)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):  # a TLS client is disconnected here
                client.recv(65536)
    for path in ("/", "/nothing", "/api/nothing", "/api/pins/lamp", "/ws"):
        get(server.port, path)
    assert server.stop() == 0
    assert [line for line in server.lines[lines:] if "stopping" not in line] == []


# The last step of install.sh


def wait_healthy(config: Path, port: int, **limits: float) -> int:
    config.write_text(f"port: {port}\naddress: 127.0.0.1\n")
    return main(["wait-healthy", "--config", str(config)], Limits(**limits))


def test_wait_until_healthy(
    start_server: Callable[..., Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`wait-healthy` succeeds with a server that answers, and prints why its health is not ok; a
    caller without a code reads no reasons."""
    server = start_server("pins: {}\n")
    assert wait_healthy(tmp_path / "healthy.yaml", server.port) == 0
    assert capfd.readouterr() == ("", "")
    secret = start_server("access: {view: code}\n")
    assert wait_healthy(tmp_path / "healthy.yaml", secret.port) == 0
    for each in (server, secret):
        (tmp_path / "config-0.yaml").write_text("nonsense")
        (tmp_path / "config-1.yaml").write_text("nonsense")
        each.process.send_signal(signal.SIGHUP)
        each.wait_for_log("was rejected")
    capfd.readouterr()
    assert wait_healthy(tmp_path / "healthy.yaml", server.port) == 0
    assert "It says: config.yaml has errors" in capfd.readouterr().out
    assert wait_healthy(tmp_path / "healthy.yaml", secret.port) == 0
    assert capfd.readouterr().out == "It says: degraded\n"


def test_wait_asks_again(tmp_path: Path) -> None:
    """`wait-healthy` asks again after an answer that is none."""
    answers = [b"", b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok"}']
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            for answer in answers:
                caller, _ = server.accept()
                with caller:
                    caller.recv(65536)
                    caller.sendall(answer)

        replying = threading.Thread(target=reply)
        replying.start()
        port = server.getsockname()[1]
        assert wait_healthy(tmp_path / "healthy.yaml", port, wait_healthy_s=LIMIT) == 0
        replying.join()


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
    """`wait-healthy` fails if another program, or an HTTP error, answers; its words are escaped."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def reply() -> None:
            caller, _ = other.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(answer)

        replying = threading.Thread(target=reply)
        replying.start()
        port = other.getsockname()[1]
        assert wait_healthy(tmp_path / "healthy.yaml", port, wait_healthy_s=0.0) == 1
        replying.join()
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("It does not answer as it should: ") and words in said.err


def test_wait_where_nothing_listens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`wait-healthy` tries again until its time is up."""
    began = time.monotonic()
    assert wait_healthy(tmp_path / "healthy.yaml", free_port(), wait_healthy_s=0.7) == 1
    assert time.monotonic() - began > 0.7
    assert "Connection refused" in capfd.readouterr().err


OLD_SCRIPT = "import sys; print('script', sys.argv[1])"


@pytest.mark.parametrize(("has_script", "said"), [(True, "script"), (False, "command")])
def test_install_waits_as_the_release_can(tmp_path: Path, has_script: bool, said: str) -> None:
    """install.sh waits with the command of a release, or with the script of releases up to 0.3.0,
    to which it goes back."""
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
    """systemd reads the units of a release as soon as `current` points to it, before the slow sync:
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
    """The Python in the scripts imports modules of this checkout."""
    (tmp_path / "venv").symlink_to(sys.prefix)
    (tmp_path / "config.yaml").write_text("pins: {}\n")
    run = f"source '{ROOT}/scripts/{script}'; current='{tmp_path}'; config=$current/config.yaml"
    done = subprocess.run(["bash", "-euc", f"{run}; {call}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["raspi-server.service", "raspi-server-cert.service"])
def test_units_name_scripts_that_exist(unit: str) -> None:
    """Each script that a unit starts is in the release the unit comes with."""
    scripts = re.findall(r"/opt/raspi-server/current/(\S+)", (ROOT / "systemd" / unit).read_text())
    assert scripts
    for script in scripts:
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize(
    "edit", [UNHEALTHY, NOT_IMPORTABLE, DIES_AT_START], ids=lambda edit: edit[0]
)
def test_system_tests_find_what_they_edit(edit: tuple[str, str, str]) -> None:
    """tests/system/debian/test_upgrade.py breaks a release by edits of its text."""
    module, old, _ = edit
    assert old in (ROOT / "raspi_server" / module).read_text()


# The demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(["demo"], cwd=tmp_path_factory.mktemp("empty"), env=ANYWHERE)
    yield server
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


def test_the_demo(demo: Server) -> None:
    """The demo needs no file and no Pi, and shows five simulated pins of all kinds."""
    pins = json.loads(get(demo.port, "/api/pins")[1])["pins"]
    assert {pin["name"]: pin["mode"] for pin in pins} == {
        "door": "input",
        "motion": "input",
        "lamp": "output",
        "doorbell": "output",
        "fan": "pwm",
    }
    assert b"<title>raspi-server</title>" in get(demo.port)[1]
    demo.wait_for_log("The pins are simulated")


def test_the_demo_changes_by_itself(demo: Server) -> None:
    """In the demo the motion sensor changes by itself, and every client may switch."""

    async def watch() -> list[Any]:
        connection = await websocket_connect(demo.ws_url)
        moved = switched = None
        await connection.write_message('{"type": "set", "pin": "lamp", "value": 1, "ref": 1}')
        while moved is None or switched is None:
            message = json.loads(str(await connection.read_message()))
            if message["type"] == "change" and message["pin"] == "motion":
                moved = message
            if message["type"] in ("result", "error"):
                switched = message
        connection.close()
        while await connection.read_message() is not None:
            pass
        return [moved["value"] in (0, 1), moved.get("by"), switched]

    assert asyncio.run(asyncio.wait_for(watch(), LIMIT)) == [
        True,
        None,
        {"type": "result", "ref": 1, "pin": "lamp", "value": 1},
    ]


# The wheel


def test_the_wheel(tmp_path: Path) -> None:
    """The installed package carries the dashboard and needs nothing of the checkout."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = subprocess.run(
        [*pip, "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("raspi_server-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
    pages = {page.relative_to(ROOT) for page in (ROOT / "www").rglob("*") if page.is_file()}
    assert {f"raspi_server/{page}" for page in pages} <= held
    assert "raspi_server/www/index.html" in held
    assert not {name for name in held if name.startswith(("tests", "www"))}
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
    status, page = get(server.port)
    assert server.stop() == 0
    page, versions = re.subn(rb"v/[0-9a-f]{16}/", b"v/current/", page)
    assert versions
    assert (status, page) == (200, (ROOT / "www" / "index.html").read_bytes())
