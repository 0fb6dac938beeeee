"""`raspi-server doctor`: a finding for each error. Small scripts replace the programs it runs;
tests/system/debian has the installed service."""

import contextlib
import hashlib
import http.server
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raspi_server.cli import doctor
from raspi_server.cli.main import main
from raspi_server.gpio import chardev
from raspi_server.system import vitals
from tests.support.mqtt import Brokers
from tests.support.server import Server, check_end, free_port

SERVICE = """LoadState=loaded
ActiveState={active}
UnitFileState=enabled
Result={result}
NRestarts={restarts}
StatusText={status}
"""


class Clinic:
    """A configuration and the programs that doctor runs."""

    def __init__(self, folder: Path, said: Callable[[], str]) -> None:
        self.file = folder / "config.yaml"
        self.file.write_text("gpio: simulated\n")
        self.programs = folder / "bin"
        self.programs.mkdir()
        self._said = said

    def program(self, name: str, answers: str, status: int = 0) -> None:
        """Write a program that prints `answers`, whatever its arguments."""
        file = self.programs / name
        file.write_text(f"#!/bin/sh\ncat <<'END'\n{answers}\nEND\nexit {status}\n")
        file.chmod(0o755)

    def service(self, active: str = "active", result: str = "success", **facts: object) -> None:
        facts = {"restarts": 0, "status": "http on port 8080", **facts}
        self.program("systemctl", SERVICE.format(active=active, result=result, **facts))

    def examine(self) -> tuple[int, dict[str, list[str]]]:
        """Return the exit status, and by subject the lines with their kind and remedy."""
        status = main(["doctor", "--config", str(self.file)])
        found: dict[str, list[str]] = {}
        lines = self._said().splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if not line.startswith(" "):
                words = line[:6].strip(), line[20:], after.strip() if after[:1] == " " else ""
                found.setdefault(line[7:19].strip(), []).append(" ".join(filter(None, words)))
        return status, found


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with Brokers(tmp_path) as found:
        yield found


@pytest.fixture
def clinic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Clinic:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = Clinic(tmp_path, lambda: capfd.readouterr().out)
    for name in ("systemctl", "journalctl", "timedatectl", "ss"):
        found.program(name, "")
    return found


def test_all_is_well(clinic, start_server):
    """A service that runs and answers has no errors."""
    server: Server = start_server("gpio: simulated\n")
    clinic.file.write_text(f"gpio: simulated\nport: {server.port}\n")
    clinic.service(status="http on port 8080; 0 pins")
    status, found = clinic.examine()
    assert status == 0
    assert found["service"] == ["ok http on port 8080; 0 pins"]
    assert found["port"] == [f"ok port {server.port} answers: ok"]
    assert found["gpio"] == ["note the pins are simulated: by gpio: simulated"]


def test_a_service_that_shows_little_without_a_code(clinic, start_server, tmp_path):
    """If viewing needs a code, the health in one word is enough. If it is not ok, doctor names the
    command that shows the reasons."""
    clinic.service()
    server: Server = start_server("gpio: simulated\naccess: {view: code}\n")
    clinic.file.write_text(f"gpio: simulated\nport: {server.port}\n")
    status, found = clinic.examine()
    assert (status, found["port"]) == (0, [f"ok port {server.port} answers: ok"])
    assert "health" not in found
    (tmp_path / "config-0.yaml").write_text("nonsense")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("was rejected")
    status, found = clinic.examine()
    where = "sudo journalctl -u raspi-server -p warning -n 20"
    assert found["port"] == [f"error port {server.port} answers: degraded -> {where}"]
    assert status == 1
    assert "health" not in found


def test_a_configuration_that_is_not_in_force(clinic, tmp_path, monkeypatch):
    """After an edit without a reload, doctor asks the service at its old port and names the command
    that reloads it; after an edit with errors it asks there, too."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    clinic.service()
    clinic.file.write_text(f"gpio: simulated\nport: {free_port()}\n")
    server = Server(["run", "--config", str(clinic.file)], port=None)
    try:
        status, found = clinic.examine()
        assert (status, found["port"]) == (0, [f"ok port {server.port} answers: ok"])
        clinic.file.write_text(f"gpio: simulated\nport: {free_port()}\n")
        status, found = clinic.examine()
        assert (status, found["port"]) == (1, [f"ok port {server.port} answers: ok"])
        why = f"{clinic.file} has changed; the service still runs what was in it before"
        assert found["config"][1:] == [f"error {why} -> sudo systemctl reload raspi-server"]
        clinic.file.write_text("port: 0\n")
        status, found = clinic.examine()
        assert (status, found["port"]) == (1, [f"ok port {server.port} answers: ok"])
        assert len(found["config"]) == 1
    finally:
        check_end(server)


@pytest.mark.parametrize("said", ["SSH-2.0-x", "[1]", "{}", "<html>", '{"status": 7}'])
def test_another_program_in_the_place_of_the_service(clinic, said):
    """Another program on the service's port is an error in words."""
    clinic.service()
    head = "" if "SSH" in said else "HTTP/1.0 200 OK\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            caller, _ = other.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(f"{head}{said}\r\n".encode())

        answering = threading.Thread(target=answer)
        answering.start()
        clinic.file.write_text(f"port: {other.getsockname()[1]}\n")
        status, found = clinic.examine()
        answering.join()
    assert status == 1
    assert "the service runs, and does not answer: " in found["port"][0]


def test_a_service_that_failed(clinic):
    """A service that is down is shown with its last errors and the command that starts it."""
    clinic.service("failed", "watchdog", restarts=3)
    clinic.program("journalctl", "lamp (GPIO17): broken\nthe loop has not answered")
    clinic.file.write_text(f"port: {free_port()}\n")
    status, found = clinic.examine()
    assert status == 1
    why = "error failed, watchdog, restarted 3 times -> sudo systemctl restart raspi-server"
    assert found["service"] == [why]
    said = ["note lamp (GPIO17): broken", "note the loop has not answered"]
    assert found["last errors"] == said


def test_no_service(clinic):
    """Without an installation, doctor names the command that installs it; that is no error."""
    clinic.program("systemctl", "LoadState=not-found")
    clinic.file.write_text(f"port: {free_port()}\n")
    status, found = clinic.examine()
    assert (status, found["service"]) == (0, ["note not installed -> sudo scripts/install.sh"])
    assert "is free" in found["port"][0]


def test_a_faulty_configuration(clinic):
    """Every mistake is named, with the command that opens the file."""
    clinic.file.write_text("port: 0\npins: 3\n")
    status, found = clinic.examine()
    assert status == 1
    assert [line.split(": expected")[0] for line in found["config"]] == [
        f"error {clinic.file}:1: port",
        f"error {clinic.file}:2: pins",
    ]
    assert all(line.endswith(f"-> sudo nano {clinic.file}") for line in found["config"])


def test_a_port_in_use(clinic):
    """A port in use is named with the program that holds it."""
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        clinic.file.write_text(f"port: {port}\n")
        clinic.program("ss", 'LISTEN 0 100 *:80 *:* users:(("nginx",pid=7,fd=3))')
        status, found = clinic.examine()
    assert status == 1
    message = f"error port {port}: Address already in use, by nginx"
    assert found["port"] == [f"{message} -> another port in config.yaml"]


def test_a_service_that_does_not_answer(clinic):
    """A service that runs and is silent is an error."""
    clinic.service()
    clinic.file.write_text(f"port: {free_port()}\n")
    status, found = clinic.examine()
    assert status == 1
    assert "the service runs, and does not answer: " in found["port"][0]


def test_a_service_that_never_ends_its_answer(clinic):
    """A service that was taken over cannot feed doctor, which is root, until the memory is full."""
    clinic.service()
    taken = 0
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def feed() -> None:
            nonlocal taken
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while taken < 64 * 2**20:
                    taken += connection.send(b'{"a":' * 2000)

        feeding = threading.Thread(target=feed)
        feeding.start()
        clinic.file.write_text(f"gpio: simulated\nport: {listening.getsockname()[1]}\n")
        status, found = clinic.examine()
        feeding.join(60)
    assert status == 1
    assert "the service runs, and does not answer: " in found["port"][0]
    assert taken < 32 * 2**20


def certificate(folder: Path, names: str, *more: str) -> str:
    """Make a self-signed pair; return the configuration line for it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
         "-subj", "/CN=test", "-addext", f"subjectAltName={names}", *more],
        check=True, capture_output=True,
    )  # fmt: skip
    return f"ssl: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}\n"


def test_a_certificate(clinic, tmp_path, monkeypatch):
    """Names that are missing and an end that is near are errors, with the command that renews."""
    monkeypatch.setattr(socket, "gethostname", lambda: "kitchen")
    clinic.program("ip", '[{"addr_info": [{}, {"local": "192.168.1.5"}]}]')
    text = f"port: {free_port()}\n" + certificate(tmp_path, "DNS:kitchen.local", "-days", "7")
    clinic.file.write_text(text)
    status, found = clinic.examine()
    assert status == 1
    renew = "-> sudo systemctl start raspi-server-cert.service"
    file = tmp_path / "cert.pem"
    assert found["certificate"] == [
        f"error {file}: it expires within 14 days {renew}",
        f"error {file}: it does not name 192.168.1.5 {renew}",
    ]
    names = "DNS:kitchen.local,IP:192.168.1.5"
    certificate(tmp_path, names, "-days", "90")
    status, found = clinic.examine()
    assert found["certificate"] == [f"ok {file}: 192.168.1.5, kitchen.local"]
    assert "authority" not in found
    (tmp_path / "left-out").write_text("new kitchen\nnever 8.8.8.8\n")
    clinic.program("ip", '[{"addr_info": [{"local": "192.168.1.5"}, {"local": "8.8.8.8"}]}]')
    status, found = clinic.examine()
    assert "error" not in " ".join(found["certificate"])
    outside = "for which this Pi's authority may not vouch"
    assert found["certificate"][1:] == [
        f"note {file}: it does not name kitchen, {outside} -> sudo /opt/raspi-server/current"
        "/scripts/make-cert.sh --new-authority (each phone has to trust this Pi again)",
        f"note {file}: it does not name 8.8.8.8, {outside} -> open the Pi by kitchen.local,"
        " or use a certificate of your own: ssl in config.yaml",
    ]
    (tmp_path / "ca.crt").write_bytes(file.read_bytes())
    status, found = clinic.examine()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read_text())).digest().hex(":")
    assert found["authority"] == [f"ok SHA-256 {fingerprint.upper()}"]
    assert "tls" not in found
    monkeypatch.setattr("raspi_server.security.key_exchange.is_whole", lambda context: False)
    status, found = clinic.examine()
    assert found["tls"][0].startswith("note TLS agrees to P-256 alone: expected X25519")
    (tmp_path / "key.pem").unlink()
    status, found = clinic.examine()
    assert status == 1
    assert "key.pem: the key cannot be read: No such file" in found["certificate"][0]


def test_a_pi_without_its_library(clinic, monkeypatch, tmp_path):
    """On a Pi, a chip that is missing, a user outside its group and a library that is an empty stub
    are each named with the command that mends it."""
    clinic.file.write_text(f"gpio: real\nport: {free_port()}\n")
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "0.0.0.2")
    status, found = clinic.examine()
    assert status == 1
    assert "expected a gpiochip labelled pinctrl-bcm2835" in found["gpio"][0]
    install = "-> sudo apt install python3-lgpio && sudo scripts/install.sh"
    assert found["lgpio"] == [f"error expected 0.2.2 or newer, found 0.0.0.2 {install}"]

    device = tmp_path / "gpiochip0"
    device.touch()
    device.chmod(0o660)
    monkeypatch.setattr(chardev, "find", lambda: device)
    nobody = doctor.pwd.getpwnam("nobody")
    monkeypatch.setattr(doctor.pwd, "getpwnam", lambda _: nobody)
    monkeypatch.setattr(doctor.grp, "getgrgid", lambda _: doctor.grp.getgrnam("tty"))
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "0.2.2.0")
    status, found = clinic.examine()
    assert status == 1
    join = f"the user nobody is not in the group tty of {device} -> sudo usermod -aG tty nobody"
    assert (found["gpio"], found["lgpio"]) == ([f"error {join}"], ["ok 0.2.2.0"])


def test_the_machine(clinic, monkeypatch):
    """Doctor reports weak power, a full card and a clock that is not set."""
    clinic.program("timedatectl", "no")
    monkeypatch.setattr(vitals, "throttled", lambda: ["under-voltage now", "too hot since boot"])
    usage = doctor.shutil.disk_usage("/")._replace(free=5 * 2**20)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    status, found = clinic.examine()
    assert status == 1
    assert found["power"][0].startswith("error under-voltage now -> a stronger power supply")
    assert found["power"][1].startswith("note too hot since boot")
    assert found["space"] == ["error 5 MB free on / -> sudo apt clean"]
    assert found["clock"][0].startswith("note not set by the network yet")
    assert found["name"][0].endswith("-> sudo apt install avahi-daemon")


def test_a_machine_without_systemd(clinic: Clinic, monkeypatch: Any) -> None:
    """Without the programs that doctor runs it still reports the rest."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    clinic.file.write_text(f"port: {free_port()}\n")
    status, found = clinic.examine()
    assert status == 0 and "clock" not in found and "name" not in found


def test_a_broker(clinic, brokers):
    """A broker that lets us in is in order; one that is away, or does not, is named with the
    reason, and so is a file that cannot be read."""
    clinic.service("inactive")
    broker = brokers.broker()
    text = f'port: {free_port()}\nmqtt: {{url: "{broker.url}"}}\n'
    clinic.file.write_text(text)
    assert clinic.examine()[1]["mqtt"] == [f"ok the broker 127.0.0.1:{broker.port} lets us in"]
    clinic.file.write_text(text.replace("}", ", user: me, password_file: none}"))
    (found,) = clinic.examine()[1]["mqtt"]
    assert "mqtt.password_file: expected a file that can be read: No such file" in found
    broker.kill()
    clinic.file.write_text(text)
    status, found = clinic.examine()
    assert status == 1
    assert found["mqtt"][0].startswith(f"error the broker 127.0.0.1:{broker.port} refuses conn")


def test_what_comes_from_elsewhere_is_escaped(clinic):
    """Words of other programs, of the service and of its health command no terminal and begin no
    line."""
    nasty = "\x1b]0;title\x07\x1b[31mred \x9b31m\N{RIGHT-TO-LEFT OVERRIDE}"
    clinic.service(active="failed", status=nasty, result=nasty)
    clinic.program("journalctl", f"one {nasty}")
    clinic.program("ss", f'users:(("{nasty}",pid=7,fd=3))')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        clinic.file.write_text(
            f"gpio: simulated\naddress: 127.0.0.1\nport: {taken.getsockname()[1]}\n"
        )
        _, found = clinic.examine()
    said = [*found["service"], *found["last errors"], *found["port"]]
    assert len(said) >= 3
    for line in said:
        assert line.isprintable(), ascii(line)
    assert "\\x1b[31mred" in found["last errors"][0]


def test_what_the_service_answers_is_escaped(clinic):
    """Even where something else has taken the service's place."""
    answer = json.dumps({"status": "ok\x1b[2J", "reasons": ["\x1b[31mred\nerror  port"]}).encode()

    class Impostor(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    clinic.service()
    with http.server.HTTPServer(("127.0.0.1", 0), Impostor) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        clinic.file.write_text(f"gpio: simulated\nport: {server.server_port}\n")
        _, found = clinic.examine()
    assert found["port"][0].startswith(f"error port {server.server_port} answers: ok\\x1b[2J")
    assert found["health"] == ["note \\x1b[31mred\\nerror  port"]
