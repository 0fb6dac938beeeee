"""The command `raspi-server doctor`: checks everything between the wires and the phone.

It prints what is wrong and the command that solves it. It changes nothing and requests no GPIO
line.
"""

import contextlib
import grp
import importlib.metadata
import json
import os
import platform
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .. import __version__
from ..config.errors import ConfigError
from ..config.schema import CertificateFiles, Config, MqttConfig, PwmConfig
from ..config.source import ConfigSource
from ..gpio.raspberry_pi import are_real
from ..limits import DEFAULT, Limits
from ..net.addresses import local_name
from ..net.listener import ListenError, listen
from ..security import key_exchange, tls
from ..security.hooks import Hooks
from ..system import storage, vitals
from ..system.logs import legible
from ..system.storage import SERVICE
from .health import request_health

MIN_FREE_BYTES = 100 * 1024 * 1024
"""With less space on the SD card, an upgrade can fail half way."""
CERTIFICATE_RENEWAL_S = 14 * 86400
"""Time before a certificate expires. The timer renews it earlier, with 30 days left."""
MAX_LEFT_OUT_BYTES = 64 * 1024
"""Limit of the size of the list of names that the certificate does not have."""
_MIN_LGPIO_VERSION = (0, 2, 2)
_KEEPS_OUTPUTS = "/sys/module/pinctrl_{}/parameters/persist_gpio_outputs"
"""Kernel parameter: Y if an output keeps its level after its line is released.

See pull request 6150 of raspberrypi/linux.
"""
_LEFT_OUT = "left-out"
"""File beside the certificate in which scripts/make-cert.sh lists the names it left out."""

_RENEW = "sudo systemctl start raspi-server-cert.service"
_OTHER_PYTHON = "sudo apt install python3 && sudo scripts/install.sh, with Debian's own python3"
_NEW_AUTHORITY = (
    "sudo /opt/raspi-server/current/scripts/make-cert.sh --new-authority"
    " (each phone has to trust this Pi again)"
)
_OWN_CERTIFICATE = "open the Pi by {}, or use a certificate of your own: ssl in config.yaml"


class Finding(NamedTuple):
    """Result of one check. `remedy` is the command, or the advice, that solves an error."""

    kind: Literal["ok", "note", "error"]
    subject: str
    message: str
    remedy: str = ""

    def line(self) -> str:
        """Return the finding for the terminal, with control characters escaped."""
        line = f"{self.kind:<6} {self.subject:<12} {legible(self.message)}"
        return f"{line}\n{'':<19} -> {legible(self.remedy)}" if self.remedy else line


class Doctor:
    """Checks of the machine, and of the service that `source` configures."""

    def __init__(self, source: ConfigSource, limits: Limits = DEFAULT) -> None:
        self._source = source
        self._limits = limits

    def examine(self) -> Iterator[Finding]:
        """Yield all findings, causes before their effects."""
        yield Finding(
            "ok", "version", f"raspi-server {__version__}, Python {platform.python_version()}"
        )
        service = self._unit_properties()
        yield from self._check_service(service)
        is_active = service.get("ActiveState") == "active"
        config = served = None
        try:
            config = served = self._source.load()
        except ConfigError as error:
            for each in error.errors:
                yield Finding("error", "config", str(each), f"sudo nano {self._source.file}")
        else:
            yield from self._check_config(config)
        if is_active and self._source.is_in_force() is False:
            served = self._source.last_good() or served
            if config:
                message = "has changed; the service still runs what was in it before"
                remedy = f"sudo systemctl reload {SERVICE}"
                yield Finding("error", "config", f"{self._source.file} {message}", remedy)
        yield from self._check_gpio(config or Config())
        if config:
            yield from _check_secrets(config)
            yield from _check_hooks(config)
            if config.certificate:
                yield from self._check_certificate(config.certificate)
        if served:
            yield from self._check_port(served, is_active)
        if config and config.mqtt:
            yield _check_broker(config.mqtt)
        yield from self._check_machine()

    def _check_service(self, service: dict[str, str]) -> Iterator[Finding]:
        """Check that the unit runs and is enabled; show its last errors."""
        state = service.get("ActiveState", "")
        if service.get("LoadState") != "loaded":
            yield Finding("note", "service", "not installed", "sudo scripts/install.sh")
            return
        restarts = service.get("NRestarts", "0")
        again = f", restarted {restarts} times" if restarts != "0" else ""
        if state == "active":
            words = service.get("StatusText") or "running"
            yield Finding("note" if again else "ok", "service", words + again)
        else:
            result = service.get("Result", "")
            why = f"{state}{f', {result}' if result not in ('', 'success') else ''}{again}"
            yield Finding("error", "service", why, f"sudo systemctl restart {SERVICE}")
        if state != "active" or again:
            journal = f"journalctl -u {SERVICE} -p err -n 3 -o cat --no-pager".split()
            for line in (self._run(*journal) or "").splitlines():
                yield Finding("note", "last errors", line)
        if service.get("UnitFileState") not in ("enabled", "enabled-runtime"):
            message = "it does not start with the Pi"
            yield Finding("error", "service", message, f"sudo systemctl enable {SERVICE}")

    def _check_config(self, config: Config) -> Iterator[Finding]:
        pins = len(config.pins)
        summary = f"{self._source.file}: {pins} pin{'' if pins == 1 else 's'}"
        yield Finding("ok", "config", summary)
        for warning in self._source.warnings:
            yield Finding("note", "config", str(warning))

    def _check_gpio(self, config: Config) -> Iterator[Finding]:
        """Check the board, its GPIO chip, the permission to open it, and the library."""
        with contextlib.suppress(OSError):
            model = Path("/proc/device-tree/model").read_text().rstrip("\0")
            yield Finding("ok", "board", model)
        if not are_real(config.gpio):
            why = "by gpio: simulated" if config.gpio == "simulated" else "this is no Raspberry Pi"
            yield Finding("note", "gpio", f"the pins are simulated: {why}")
            return
        try:
            from ..gpio import chardev

            with chardev.open_chip() as chip:
                yield _check_permission(Path(chip.path))
        except ImportError as error:
            message = f"no pin can be opened: {error}"
            yield Finding("error", "gpiod", message, "sudo scripts/install.sh")
        except PermissionError as error:
            yield Finding("error", "gpio", str(error), "sudo raspi-server doctor")
        except OSError as error:
            yield Finding("error", "gpio", str(error), "gpio: simulated, for trying without a Pi")
        if any(isinstance(pin, PwmConfig) for pin in config.pins):
            yield _check_lgpio()
        yield _check_kernel()

    def _check_certificate(self, pair: CertificateFiles) -> Iterator[Finding]:
        """Check the key, the dates and the names."""
        try:
            identity = tls.identity(pair)
        except tls.CertificateError as error:
            yield Finding("error", "certificate", str(error), _RENEW)
            return
        file = str(pair.certificate)
        date_error = identity.validity_error()
        ends = ("-noout", "-checkend", str(CERTIFICATE_RENEWAL_S))
        if date_error:
            yield Finding("error", "certificate", f"{file}: {date_error}", _RENEW)
        elif self._run("openssl", "x509", "-in", file, *ends) is None:
            message = f"{file}: it expires within {CERTIFICATE_RENEWAL_S // 86400} days"
            yield Finding("error", "certificate", message, _RENEW)
        names = self._run("openssl", "x509", "-in", file, "-noout", "-ext", "subjectAltName") or ""
        named = set(re.findall(r"(?:DNS|IP Address):([^\s,]+)", names))
        left_out = _left_out(pair.certificate.with_name(_LEFT_OUT))
        wanted = {local_name(), *self._addresses()}
        missing = sorted(wanted - {name.lower() for name in named} - left_out.keys())
        if missing:
            message = f"{file}: it does not name {', '.join(missing)}"
            yield Finding("error", "certificate", message, _RENEW)
        elif not date_error:
            yield Finding("ok", "certificate", f"{file}: {', '.join(sorted(named))}")
        if not key_exchange.is_whole(identity.context):
            yield Finding("note", "tls", tls.ONE_GROUP, _OTHER_PYTHON)
        for name, remedy in left_out.items():
            message = f"it does not name {name}, for which this Pi's authority may not vouch"
            yield Finding("note", "certificate", f"{file}: {message}", remedy)
        if identity.authority:
            yield Finding("ok", "authority", f"SHA-256 {identity.authority.fingerprint}")

    def _check_port(self, config: Config, is_active: bool) -> Iterator[Finding]:
        """Check that the running service answers, or that its port is free."""
        where = f"port {config.port}"
        if not is_active:
            try:
                for listening in listen(config.address, config.port):
                    listening.close()
            except ListenError as error:
                holder = self._run("ss", "-Hltnp", "sport", "=", f":{config.port}") or ""
                by = ", by ".join(["", *sorted(set(re.findall(r'"([^"]+)"', holder)))])
                yield Finding("error", "port", f"{error}{by}", "another port in config.yaml")
            else:
                yield Finding("ok", "port", f"{where} is free")
            return
        try:
            health = _read_health(config, self._limits.health_timeout_s)
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            message = f"{where}: the service runs but does not answer: {error}"
            yield Finding("error", "port", message, f"sudo systemctl restart {SERVICE}")
            return
        message = f"{where} answers: {health['status']}"
        if health["status"] == "ok":
            yield Finding("ok", "port", message)
        else:
            # Only callers with `control` get the reasons. The log has them.
            remedy = f"sudo journalctl -u {SERVICE} -p warning -n 20"
            yield Finding("error", "port", message, remedy)
        reasons = health.get("reasons")
        for reason in reasons if isinstance(reasons, list) else ():
            yield Finding("note", "health", str(reason))

    def _check_machine(self) -> Iterator[Finding]:
        """Check the clock, the name on the network, the power supply and the free space."""
        if self._run("timedatectl", "show", "-p", "NTPSynchronized", "--value") == "no":
            message = "not set by the network yet: times and certificates may be wrong"
            yield Finding("note", "clock", message, "sudo timedatectl set-ntp true")
        host = local_name()
        if self._run("systemctl", "is-active", "avahi-daemon") == "active":
            yield Finding("ok", "name", host)
        elif shutil.which("systemctl"):
            message = f"{host} is not announced on the network: only the address works"
            yield Finding("note", "name", message, "sudo apt install avahi-daemon")
        for warning in vitals.throttled() or ():
            kind: Literal["error", "note"] = "error" if warning.endswith("now") else "note"
            remedy = "a stronger power supply, a shorter cable, a fan"
            yield Finding(kind, "power", warning, remedy)
        free = shutil.disk_usage("/").free
        if free < MIN_FREE_BYTES:
            yield Finding("error", "space", f"{free // 2**20} MB free on /", "sudo apt clean")

    def _unit_properties(self) -> dict[str, str]:
        lines = (self._run("systemctl", "show", SERVICE, "--no-pager") or "").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def _addresses(self) -> set[str]:
        """Return the IPv4 addresses by which others reach this machine."""
        found = json.loads(self._run("ip", "-j", "-4", "addr", "show", "scope", "global") or "[]")
        # `ip` prints an empty entry for an address of another scope.
        infos = [info for interface in found for info in interface.get("addr_info", ())]
        return {info["local"] for info in infos if "local" in info}

    def _run(self, *command: str) -> str | None:
        """Return the output of another program, or None if it is missing, is slow, or fails."""
        timeout_s = self._limits.program_timeout_s
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            return None
        output = done.stdout.strip()
        # The exit status of `systemctl is-active` is the state of the unit, not a failure.
        is_answer = done.returncode == 0 or (command[0] == "systemctl" and output)
        return output if is_answer else None


def _check_permission(device: Path) -> Finding:
    """Check that the service's user may open the GPIO chip."""
    found = device.stat()
    owner = grp.getgrgid(found.st_gid).gr_name
    try:
        user = pwd.getpwnam(SERVICE)
    except KeyError:
        return Finding("ok", "gpio", f"{device}, group {owner}")
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    if found.st_gid in groups and found.st_mode & 0o060 == 0o060:
        return Finding("ok", "gpio", f"{device}, open to the user {user.pw_name}")
    if found.st_mode & 0o060 != 0o060 or owner == "root":
        message = f"{device} is not open to a group: expected gpio, 0660"
        return Finding("error", "gpio", message, "sudo scripts/install.sh")
    message = f"the user {user.pw_name} is not in the group {owner} of {device}"
    return Finding("error", "gpio", message, f"sudo usermod -aG {owner} {user.pw_name}")


def _check_kernel() -> Finding:
    """Check whether the kernel continues to drive an output that no program holds."""
    for driver in ("bcm2835", "rp1"):
        with contextlib.suppress(OSError):
            keeps = Path(_KEEPS_OUTPUTS.format(driver)).read_text().strip() == "Y"
            words = "keep their level" if keeps else "are released"
            return Finding("ok", "kernel", f"outputs {words} while the server is down")
    message = "it has no parameter persist_gpio_outputs: outputs may be released while the server"
    return Finding("note", "kernel", f"{message} is down, and then the wiring decides")


def _check_lgpio() -> Finding:
    """Check that lgpio is installed and new enough. Release 0.0.0.2 on PyPI is an empty stub."""
    from ..gpio.software_pwm import remedy

    try:
        version = importlib.metadata.version("lgpio")
    except importlib.metadata.PackageNotFoundError:
        return Finding("error", "lgpio", "not installed: no pwm pin can be opened", remedy())
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < _MIN_LGPIO_VERSION:
        return Finding("error", "lgpio", f"expected 0.2.2 or newer, found {version}", remedy())
    return Finding("ok", "lgpio", version)


def _check_secrets(config: Config) -> Iterator[Finding]:
    """Check that other users can neither read nor change keys and password files."""
    for secret in config.secret_files:
        if exposure := storage.exposure(secret):
            yield Finding("error", "secrets", f"{secret}: {exposure.message}", exposure.remedy)


def _check_hooks(config: Config) -> Iterator[Finding]:
    """Check that each hook has an address."""
    folder = storage.state_folder_of_service()
    if not config.hooks or folder is None:
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        yield Finding("note", "hooks", f"{folder} cannot be read", "sudo raspi-server doctor")
        return
    with storage.as_owner(folder):
        hooks = Hooks(folder)
    for name in config.hooks:
        if not hooks.has(name):
            remedy = f"sudo raspi-server hook --new {name}"
            yield Finding("error", "hooks", f"{name} has no address, so nothing can use it", remedy)


def _left_out(file: Path) -> dict[str, str]:
    """Return the names that make-cert.sh left out of the certificate, each with its remedy."""
    try:
        lines = storage.read(file, MAX_LEFT_OUT_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}  # nothing was left out, or make-cert.sh did not make the certificate
    never = _OWN_CERTIFICATE.format(local_name())
    found = (line.partition(" ") for line in lines)
    return {name: _NEW_AUTHORITY if kind == "new" else never for kind, _, name in found}


def _check_broker(mqtt: MqttConfig) -> Finding:
    """Check that the broker accepts a connection. The service has another client id."""
    import asyncio

    from ..mqtt.broker_config import read_broker_config
    from ..mqtt.client import MqttClient

    try:
        ours = read_broker_config(mqtt)
    except ConfigError as error:
        return Finding("error", "mqtt", str(error.errors[0]), f"sudo ls -l {error.errors[0].file}")

    async def ask() -> str | None:
        return await MqttClient(ours, f"raspi-server-doctor-{os.getpid()}").check()

    broker_error = asyncio.run(ask())
    if broker_error:
        return Finding(
            "error", "mqtt", broker_error, "the keys of mqtt in config.yaml, or the broker"
        )
    user = f" as {mqtt.user}" if mqtt.user else ""
    return Finding("ok", "mqtt", f"the broker {ours.address} accepts the connection{user}")


def _read_health(config: Config, timeout_s: float) -> dict[str, Any]:
    """Return the health that the service reports. Raise OSError, HTTPException or ValueError.

    This caller has no code, so it may get nothing but the status.
    """
    found: Any = json.loads(request_health(config, timeout_s).body)
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        raise ValueError(f"expected its health, got {json.dumps(found)[:200]}")
    return found
