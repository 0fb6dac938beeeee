"""`raspi-server doctor`: a finding for each error. Small scripts replace the programs it runs;
tests/system/debian tests the installed service."""

import contextlib
import hashlib
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from raspi_server import __version__
from raspi_server.cli import doctor
from raspi_server.cli.health import MAX_ANSWER_BYTES
from raspi_server.cli.main import main
from raspi_server.gpio import chardev, software_pwm
from raspi_server.net.addresses import local_name
from raspi_server.security.hooks import Hooks
from raspi_server.system import vitals
from tests.cli.test_command_line import another_program
from tests.support.server import LIMIT, Server, check_end, free_port


class Machine:
    """A configuration, and the programs that doctor runs."""

    def __init__(self, folder: Path, read_output: Callable[[], str]) -> None:
        self.file = folder / "config.yaml"
        self.file.write_text(f"gpio: simulated\nport: {free_port()}\n")
        (folder / "bin").mkdir()
        self._read_output = read_output

    def program(self, name: str, output: str) -> None:
        """Write a program that prints `output`, whatever its arguments are."""
        file = self.file.parent / "bin" / name
        file.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
        file.chmod(0o755)

    def service(self, active: str = "active", status: str = "", **facts: object) -> None:
        """Write a systemctl that prints these properties of the service."""
        facts = {"ActiveState": active, "StatusText": status, "NRestarts": 0, **facts}
        facts |= {"LoadState": "loaded", "UnitFileState": "enabled"}
        self.program("systemctl", "\n".join(f"{key}={value}" for key, value in facts.items()))

    def examine(self, config: str = "") -> tuple[int, dict[str, list[str]]]:
        """Return the exit status, and by subject the lines with their kind and remedy.

        A new `config` may be given. Its pins are simulated."""
        if config:
            self.file.write_text(f"gpio: simulated\n{config}\n")
        status = main(["doctor", "--config", str(self.file)])
        found: dict[str, list[str]] = {}
        lines = self._read_output().splitlines()
        for line, after in zip(lines, [*lines[1:], ""], strict=True):
            if not line.startswith(" "):
                words = line[:6].strip(), line[20:], after.strip() if after[:1] == " " else ""
                found.setdefault(line[7:19].strip(), []).append(" ".join(filter(None, words)))
        return status, found


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Machine:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = Machine(tmp_path, lambda: capfd.readouterr().out)
    for name in ("systemctl", "journalctl", "timedatectl", "ss"):
        found.program(name, "")
    return found


def test_running_service(machine, tmp_path, monkeypatch):
    """A service that runs and answers has no errors. After an edit without a reload, doctor sends
    its request to the old port, and names the command that reloads the service. After one with
    errors it does so, too, and names each error with the command that opens the file. If viewing
    needs a code, it gets no reasons of the health, but names the command that shows them."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    machine.service(status="http on port 8080; 0 pins")
    machine.file.write_text(f"gpio: simulated\nport: {free_port()}\naccess: {{view: code}}\n")
    server = Server(["run", "--config", str(machine.file)], port=None)
    try:
        answers = f"port {server.port} answers: "
        status, found = machine.examine()
        assert (status, found["port"]) == (0, [f"ok {answers}ok"])
        assert found["service"] == ["ok http on port 8080; 0 pins"]
        assert found["gpio"] == ["note the pins are simulated: by gpio: simulated"]
        status, found = machine.examine(f"port: {free_port()}")
        assert (status, found["port"]) == (1, [f"ok {answers}ok"])
        why = f"{machine.file} has changed; the service still runs what was in it before"
        assert found["config"][1:] == [f"error {why} -> sudo systemctl reload raspi-server"]
        server.reload("port: 0\npins: 3\n")
        server.wait_for_log("was rejected")
        status, found = machine.examine()
        where = "sudo journalctl -u raspi-server -p warning -n 20"
        assert found["port"] == [f"error {answers}degraded -> {where}"]
        for line, key in zip(found["config"], ("1: port", "2: pins"), strict=True):
            assert line.startswith(f"error {machine.file}:{key}: expected ")
            assert line.endswith(f"-> sudo nano {machine.file}")
        assert (status, "health" in found) == (1, False)
        machine.service("inactive")
        _, found = machine.examine(f"port: {free_port()}")
        assert len(found["config"]) == 1
    finally:
        check_end(server)


def test_port_without_the_service(machine):
    """If the service runs, and nothing or another program answers on its port, that is an error. An
    answer without end does not fill the memory of doctor, which runs as root."""
    machine.service()

    def check_error(port: int, error: str) -> None:
        status, found = machine.examine(f"port: {port}")
        (line,) = found["port"]
        assert status == 1
        assert line.startswith(f"error port {port}: the service runs but does not answer: {error}")
        assert line.endswith("-> sudo systemctl restart raspi-server")

    check_error(free_port(), "<urlopen error [Errno 111] Connection refused>")
    for answer, error in (
        ("[1]", "expected its health, got [1]"),
        ('{"status": 7}', 'expected its health, got {"status": 7}'),
        (" " * MAX_ANSWER_BYTES + '{"status": "ok"}', "Expecting value"),
    ):
        with another_program(f"HTTP/1.0 200 OK\r\n\r\n{answer}".encode()) as port:
            check_error(port, error)
    with another_program(b"SSH-2.0-x\r\n") as port:
        check_error(port, "SSH-2.0-x")


def test_service_that_does_not_run(machine):
    """A failed service is shown with its last errors and the command that starts it. Without an
    installed service, doctor names the command that installs it. That is no error."""
    machine.service("failed", Result="watchdog", NRestarts=3)
    machine.program("journalctl", "lamp (GPIO17): broken\nthe loop has not answered")
    status, found = machine.examine()
    assert status == 1
    why = "error failed, watchdog, restarted 3 times -> sudo systemctl restart raspi-server"
    assert found["service"] == [why]
    said = ["note lamp (GPIO17): broken", "note the loop has not answered"]
    assert found["last errors"] == said
    machine.program("systemctl", "LoadState=not-found")
    status, found = machine.examine()
    assert (status, found["service"]) == (0, ["note not installed -> sudo scripts/install.sh"])
    assert "is free" in found["port"][0]


def certificate(folder: Path, names: str, days: str) -> str:
    """Make a self-signed pair; return the configuration line for it."""
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
         "-subj", "/CN=test", "-addext", f"subjectAltName={names}", "-days", days],
        check=True, capture_output=True,
    )  # fmt: skip
    return f"ssl: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}\n"


def test_certificate(machine, tmp_path, monkeypatch):
    """Missing names and an end that is near are errors, with the command that renews the
    certificate. Names that make-cert.sh left out are notes."""
    monkeypatch.setattr(socket, "gethostname", lambda: "kitchen")
    machine.program("ip", '[{"addr_info": [{}, {"local": "192.168.1.5"}]}]')
    text = f"port: {free_port()}\n" + certificate(tmp_path, "DNS:kitchen.local", "7")
    status, found = machine.examine(text)
    assert status == 1
    renew = "-> sudo systemctl start raspi-server-cert.service"
    file = tmp_path / "cert.pem"
    assert found["certificate"] == [
        f"error {file}: it expires within 14 days {renew}",
        f"error {file}: it does not name 192.168.1.5 {renew}",
    ]
    certificate(tmp_path, "DNS:kitchen.local,IP:192.168.1.5", "90")
    _, found = machine.examine()
    assert found["certificate"] == [f"ok {file}: 192.168.1.5, kitchen.local"]
    assert not found.keys() & {"authority", "tls"}
    (tmp_path / "left-out").write_text("new kitchen\nnever 8.8.8.8\n")
    machine.program("ip", '[{"addr_info": [{"local": "192.168.1.5"}, {"local": "8.8.8.8"}]}]')
    (tmp_path / "ca.crt").write_bytes(file.read_bytes())
    monkeypatch.setattr("raspi_server.security.key_exchange.is_whole", lambda context: False)
    _, found = machine.examine()
    outside = "for which this Pi's authority may not vouch"
    assert found["certificate"] == [
        f"ok {file}: 192.168.1.5, kitchen.local",
        f"note {file}: it does not name kitchen, {outside} -> sudo /opt/raspi-server/current"
        "/scripts/make-cert.sh --new-authority (each phone has to trust this Pi again)",
        f"note {file}: it does not name 8.8.8.8, {outside} -> open the Pi by kitchen.local,"
        " or use a certificate of your own: ssl in config.yaml",
    ]
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read_text())).digest().hex(":")
    assert found["authority"] == [f"ok SHA-256 {fingerprint.upper()}"]
    assert found["tls"][0].startswith("note TLS agrees to P-256 alone: expected X25519")
    (tmp_path / "key.pem").unlink()
    status, found = machine.examine()
    assert status == 1
    assert "key.pem: the key cannot be read: No such file" in found["certificate"][0]


@pytest.mark.parametrize(
    ("is_raspberry_pi_os", "version", "largest", "remedy"),
    [
        (True, (3, 13), 2**63 - 1, "sudo apt install python3-lgpio && sudo scripts/install.sh"),
        (True, (3, 11), 2**31 - 1, "sudo apt install python3-lgpio && sudo scripts/install.sh"),
        (False, (3, 11), 2**63 - 1, "sudo scripts/install.sh"),
        (False, (3, 13), 2**63 - 1, "write mode: output"),
        (False, (3, 11), 2**31 - 1, "write mode: output"),
    ],
    ids=["Raspberry Pi OS", "32-bit Raspberry Pi OS", "Debian 12", "Debian 13", "32-bit Debian"],
)
def test_remedy_for_a_missing_lgpio(
    monkeypatch, tmp_path, is_raspberry_pi_os, version, largest, remedy
):
    """The remedy exists on the system: only Raspberry Pi OS has a package, and only Python up to
    3.12 with 64 bits has a wheel."""
    monkeypatch.setattr(software_pwm, "_RASPBERRY_PI_OS", tmp_path / "issue")
    if is_raspberry_pi_os:
        (tmp_path / "issue").touch()
    monkeypatch.setattr(software_pwm.sys, "version_info", version)
    monkeypatch.setattr(software_pwm.sys, "maxsize", largest)
    assert software_pwm.remedy().startswith(remedy)


def test_gpio_of_a_pi(machine, monkeypatch, tmp_path):
    """On a Pi, a missing chip, a user who is not in its group, and for a pwm pin lgpio as an empty
    stub are each named with the command that solves it."""
    pins = "pins: {fan: {gpio: 18, mode: pwm}}\n"
    machine.file.write_text(f"gpio: real\nport: {free_port()}\n{pins}")
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "0.0.0.2")
    status, found = machine.examine()
    assert status == 1
    assert "expected a gpiochip labelled pinctrl-bcm2835" in found["gpio"][0]
    assert found["kernel"][0].startswith("note it has no parameter persist_gpio_outputs: outputs")
    remedy = software_pwm.remedy()
    assert found["lgpio"] == [f"error expected 0.2.2 or newer, found 0.0.0.2 -> {remedy}"]

    device = tmp_path / "gpiochip0"
    device.touch()
    device.chmod(0o660)
    chip = contextlib.nullcontext(SimpleNamespace(path=str(device)))
    monkeypatch.setattr(chardev, "open_chip", lambda: chip)
    nobody = doctor.pwd.getpwnam("nobody")
    monkeypatch.setattr(doctor.pwd, "getpwnam", lambda _: nobody)
    monkeypatch.setattr(doctor.grp, "getgrgid", lambda _: doctor.grp.getgrnam("tty"))
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: "0.2.2.0")
    status, found = machine.examine()
    join = f"the user nobody is not in the group tty of {device} -> sudo usermod -aG tty nobody"
    assert (status, found["gpio"], found["lgpio"]) == (1, [f"error {join}"], ["ok 0.2.2.0"])
    monkeypatch.setattr(doctor.os, "getgrouplist", lambda *_: [device.stat().st_gid])
    status, found = machine.examine()
    assert (status, found["gpio"]) == (0, [f"ok {device}, open to the user nobody"])
    device.chmod(0o600)
    status, found = machine.examine()
    closed = f"{device} is not open to a group: expected gpio, 0660 -> sudo scripts/install.sh"
    assert (status, found["gpio"]) == (1, [f"error {closed}"])


def test_power_space_and_clock(machine, monkeypatch):
    """Weak power, a full card and a clock that is not set are reported. If the programs that doctor
    runs are missing, it reports the rest."""
    machine.program("timedatectl", "no")
    monkeypatch.setattr(vitals, "throttled", lambda: ["under-voltage now", "too hot since boot"])
    usage = doctor.shutil.disk_usage("/")._replace(free=5 * 2**20)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    status, found = machine.examine()
    assert status == 1
    assert found["power"][0].startswith("error under-voltage now -> a stronger power supply")
    assert found["power"][1].startswith("note too hot since boot")
    assert found["space"] == ["error 5 MB free on / -> sudo apt clean"]
    assert found["clock"][0].startswith("note not set by the network yet")
    assert found["name"][0].endswith("-> sudo apt install avahi-daemon")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    status, found = machine.examine()
    assert (status, len(found["power"])) == (1, 2)
    assert not found.keys() & {"clock", "name"}


def test_broker(machine, brokers):
    """A broker that accepts the connection is ok. One that does not, and a password file that
    cannot be read, are errors with their reason."""
    machine.service("inactive")
    broker = brokers.broker()
    text = f'port: {free_port()}\nmqtt: {{url: "{broker.url}"}}\n'
    accepts = f"ok the broker 127.0.0.1:{broker.port} accepts the connection"
    assert machine.examine(text)[1]["mqtt"] == [accepts]
    (found,) = machine.examine(text.replace("}", ", user: me, password_file: none}"))[1]["mqtt"]
    assert "mqtt.password_file: expected a file that can be read: No such file" in found
    broker.kill()
    status, found = machine.examine(text)
    assert status == 1
    assert found["mqtt"][0].startswith(f"error the broker 127.0.0.1:{broker.port} refuses conn")


def test_hook_without_an_address(machine, tmp_path, monkeypatch):
    """A hook that config.yaml names and that has no address is an error, with the command that
    makes one. After that, doctor says nothing of it."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    text = f"port: {free_port()}\nhooks: {{hall: {{pin: lamp, do: on}}}}\n"
    text += "pins: {lamp: {gpio: 17, mode: output}}\n"
    status, found = machine.examine(text)
    how = "sudo raspi-server hook --new hall"
    assert found["hooks"] == [f"error hall has no address, so nothing can use it -> {how}"]
    assert status == 1
    Hooks(tmp_path).make("hall")
    assert machine.examine()[0] == 0


def test_output_of_other_programs_is_escaped(machine):
    """A port in use is named with the program that uses it. Control characters in the output of
    other programs, and in the status and the answer of the service, are escaped."""
    controls = "\x1b]0;title\x07\x1b[31mred \x9b31m\N{RIGHT-TO-LEFT OVERRIDE}"
    machine.service("failed", controls, Result=controls)
    machine.program("journalctl", f"one {controls}")
    machine.program("ss", f'LISTEN 0 9 *:80 *:* users:(("nginx{controls}",pid=7,fd=3))')
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        status, found = machine.examine(f"port: {port}")
    (line,) = found["port"]
    assert status == 1
    assert line.startswith(f"error port {port}: Address already in use, by nginx")
    assert line.endswith(" -> another port in config.yaml")
    for line in (*found["service"], *found["last errors"], *found["port"]):
        assert line.isprintable(), ascii(line)
    assert "\\x1b[31mred" in found["last errors"][0]
    answer = json.dumps({"status": "ok\x1b[2J", "reasons": ["\x1b[31mred\nerror  port"]}).encode()
    machine.service()
    with another_program(b"HTTP/1.0 200 OK\r\n\r\n" + answer) as port:
        _, found = machine.examine(f"port: {port}")
    assert found["port"][0].startswith(f"error port {port} answers: ok\\x1b[2J")
    assert found["health"] == ["note \\x1b[31mred\\nerror  port"]


def test_report_has_facts_and_nothing_private(tmp_path):
    """The report for an issue names versions, chips and times. Neither the host's name nor anything
    of config.yaml is in it."""
    file = tmp_path / "config.yaml"
    file.write_text("port: 18443\npins: {lamp: {gpio: 17, mode: output, label: Bedroom}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "raspi_server", "doctor", "--report", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    facts = dict(line.removeprefix("- ").split(": ", 1) for line in done.stdout.splitlines())
    assert facts["raspi-server"] == __version__
    assert {"board", "kernel", "system", "libraries", "power"} <= facts.keys()
    assert re.fullmatch(r"\d+ ms", facts["import of the server"])
    for private in (local_name(), "18443", "Bedroom", str(tmp_path)):
        assert private not in done.stdout
