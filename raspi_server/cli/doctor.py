"""`raspi-server doctor`: looks at everything between the wires and the phone, and says in words
what is wrong and the command that mends it. It changes nothing and claims no line."""

import contextlib
import grp
import importlib.metadata
import json
import os
import platform
import pwd
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .. import __version__
from ..config.schema import Certificate, Config, ConfigError, Mqtt
from ..config.source import Source
from ..gpio import chardev
from ..net.addresses import local_name
from ..net.listener import CannotListen, in_url, listen
from ..security import key_exchange, tls
from ..system import storage, vitals
from ..system.logs import legible
from ..system.storage import SERVICE

LEAST_SPACE = 100 * 1024 * 1024
"""Bytes free below which the next upgrade of anything fails half way."""
SOON = 14 * 86400
"""Seconds of a certificate's life in which the timer should long have renewed it."""
PATIENCE = 5.0
"""Seconds for one answer of another program or of the service."""
_LEAST_LGPIO = (0, 2, 2)
_KEEPS_OUTPUTS = "/sys/module/pinctrl_{}/parameters/persist_gpio_outputs"
"""Whether an output keeps its level when nobody holds it (raspberrypi/linux, pull request 6150)."""

_RENEW = "sudo systemctl start raspi-server-cert.service"
_OTHER_PYTHON = "sudo apt install python3 && sudo scripts/install.sh, with Debian's own python3"
_LEFT_OUT = "left-out"
"""Where scripts/make-cert.sh lists, beside the certificate, what the authority cannot vouch for."""
_NEW_AUTHORITY = (
    "sudo /opt/raspi-server/current/scripts/make-cert.sh --new-authority"
    " (each phone has to trust this Pi again)"
)
_OWN_CERTIFICATE = "open the Pi by {}, or use a certificate of your own: ssl in config.yaml"
MOST = 64 * 1024
"""Bytes of an answer or a file that are looked at."""


class Finding(NamedTuple):
    """`remedy` is the command, or the sentence, that mends it."""

    kind: Literal["ok", "note", "fault"]
    subject: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        # Brokers, other programs and the service's answer have their words in here.
        line = f"{self.kind:<6} {self.subject:<12} {legible(self.message)}"
        return f"{line}\n{'':<19} -> {legible(self.remedy)}" if self.remedy else line


def examine(source: Source) -> Iterator[Finding]:
    """All there is to say, in the order in which things depend on each other."""
    yield Finding(
        "ok", "version", f"raspi-server {__version__}, Python {platform.python_version()}"
    )
    service = _service()
    yield from _look_at_service(service)
    is_active = service.get("ActiveState") == "active"
    config = served = None
    try:
        config = served = source.load()
    except ConfigError as error:
        for fault in error.faults:
            yield Finding("fault", "config", str(fault), f"sudo nano {source.file}")
    else:
        pins = len(config.pins)
        yield Finding("ok", "config", f"{source.file}: {pins} pin{'' if pins == 1 else 's'}")
        for warning in source.warnings:
            yield Finding("note", "config", str(warning))
    if is_active and source.is_in_force() is False:
        served = source.last_good() or served
        if config:
            message = f"{source.file} has changed; the service still runs what was in it before"
            yield Finding("fault", "config", message, f"sudo systemctl reload {SERVICE}")
    yield from _look_at_gpio(config or Config())
    if config:
        for secret in config.secret_files:
            if exposure := storage.exposure(secret):
                yield Finding("fault", "secrets", f"{secret}: {exposure.message}", exposure.remedy)
        if config.certificate:
            yield from _look_at_certificate(config.certificate)
    if served:
        yield from _look_at_port(served, is_active)
    if config and config.mqtt:
        yield _look_at_broker(config.mqtt)
    yield from _look_at_machine()


def _look_at_service(service: dict[str, str]) -> Iterator[Finding]:
    """The unit: whether it runs, and how it failed last."""
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
        yield Finding("fault", "service", why, f"sudo systemctl restart {SERVICE}")
    if state != "active" or again:
        said = _ask("journalctl", "-u", SERVICE, "-p", "err", "-n", "3", "-o", "cat", "--no-pager")
        for line in (said or "").splitlines():
            yield Finding("note", "last errors", line)
    if service.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        message = "it does not start with the Pi"
        yield Finding("fault", "service", message, f"sudo systemctl enable {SERVICE}")


def _look_at_gpio(config: Config) -> Iterator[Finding]:
    """Board, chip, who may open it, and the library behind it."""
    with contextlib.suppress(OSError):
        model = Path("/proc/device-tree/model").read_text().rstrip("\0")
        yield Finding("ok", "board", model)
    if not chardev.are_real(config.gpio):
        why = "by gpio: simulated" if config.gpio == "simulated" else "this is no Raspberry Pi"
        yield Finding("note", "gpio", f"the pins are simulated: {why}")
        return
    try:
        device = chardev.find()
    except PermissionError as error:
        yield Finding("fault", "gpio", str(error), "sudo raspi-server doctor")
    except OSError as error:
        yield Finding("fault", "gpio", str(error), "gpio: simulated, for trying without a Pi")
    else:
        yield _permission(device)
    yield _lgpio()
    for driver in ("bcm2835", "rp1"):
        with contextlib.suppress(OSError):
            keeps = Path(_KEEPS_OUTPUTS.format(driver)).read_text().strip() == "Y"
            words = "keep their level" if keeps else "are let go"
            yield Finding("ok", "kernel", f"outputs {words} while the server is down")


def _permission(device: Path) -> Finding:
    """Whether the service's user may open the chip."""
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
        return Finding("fault", "gpio", message, "sudo scripts/install.sh")
    message = f"the user {user.pw_name} is not in the group {owner} of {device}"
    return Finding("fault", "gpio", message, f"sudo usermod -aG {owner} {user.pw_name}")


def _lgpio() -> Finding:
    """Whether the library is there, and is no empty stub."""
    remedy = "sudo apt install python3-lgpio && sudo scripts/install.sh"
    try:
        version = importlib.metadata.version("lgpio")
    except importlib.metadata.PackageNotFoundError:
        return Finding("fault", "lgpio", "not installed: no pin can be opened", remedy)
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < _LEAST_LGPIO:
        return Finding("fault", "lgpio", f"expected 0.2.2 or newer, found {version}", remedy)
    return Finding("ok", "lgpio", version)


def _look_at_certificate(pair: Certificate) -> Iterator[Finding]:
    """Key, dates and names."""
    try:
        identity = tls.identity(pair)
    except tls.CertificateError as error:
        yield Finding("fault", "certificate", str(error), _RENEW)
        return
    file = str(pair.certificate)
    complaint = identity.complaint()
    if complaint:
        yield Finding("fault", "certificate", f"{file}: {complaint}", _RENEW)
    elif _ask("openssl", "x509", "-in", file, "-noout", "-checkend", str(SOON)) is None:
        message = f"{file}: it expires within {SOON // 86400} days"
        yield Finding("fault", "certificate", message, _RENEW)
    names = _ask("openssl", "x509", "-in", file, "-noout", "-ext", "subjectAltName") or ""
    named = set(re.findall(r"(?:DNS|IP Address):([^\s,]+)", names))
    left_out = _left_out(pair.certificate.with_name(_LEFT_OUT))
    missing = sorted(
        {local_name(), *_addresses()} - {name.lower() for name in named} - left_out.keys()
    )
    if missing:
        message = f"{file}: it does not name {', '.join(missing)}"
        yield Finding("fault", "certificate", message, _RENEW)
    elif not complaint:
        yield Finding("ok", "certificate", f"{file}: {', '.join(sorted(named))}")
    if not key_exchange.is_whole(identity.context):
        yield Finding("note", "tls", tls.ONE_GROUP, _OTHER_PYTHON)
    for name, remedy in left_out.items():
        message = f"{file}: it does not name {name}, for which this Pi's authority may not vouch"
        yield Finding("note", "certificate", message, remedy)
    if identity.authority:
        yield Finding("ok", "authority", f"SHA-256 {identity.authority.fingerprint}")


def _left_out(file: Path) -> dict[str, str]:
    """The names that make-cert.sh has left out of the certificate, each with the remedy."""
    try:
        lines = storage.read(file, MOST).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}  # nothing was left out, or the certificate is not of make-cert.sh
    never = _OWN_CERTIFICATE.format(local_name())
    found = (line.partition(" ") for line in lines)
    return {name: _NEW_AUTHORITY if kind == "new" else never for kind, _, name in found}


def _addresses() -> set[str]:
    """IPv4 addresses by which others reach this machine."""
    found = json.loads(_ask("ip", "-j", "-4", "addr", "show", "scope", "global") or "[]")
    # Of an address of another scope ip leaves an empty entry.
    infos = [info for interface in found for info in interface.get("addr_info", ())]
    return {info["local"] for info in infos if "local" in info}


def _look_at_port(config: Config, is_active: bool) -> Iterator[Finding]:
    """The service answers there, or the port is free for it."""
    where = f"port {config.port}"
    if not is_active:
        try:
            for listening in listen(config.address, config.port):
                listening.close()
        except CannotListen as error:
            holder = _ask("ss", "-Hltnp", "sport", "=", f":{config.port}") or ""
            by = ", by ".join(["", *sorted(set(re.findall(r'"([^"]+)"', holder)))])
            yield Finding("fault", "port", f"{error}{by}", "another port in config.yaml")
        else:
            yield Finding("ok", "port", f"{where} is free")
        return
    scheme = "https" if config.certificate else "http"
    url = f"{scheme}://{in_url(config.address or '127.0.0.1')}:{config.port}/api/health"
    try:
        answer = _health(url)
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        message = f"{where}: the service runs, and does not answer: {error}"
        yield Finding("fault", "port", message, f"sudo systemctl restart {SERVICE}")
        return
    status = answer["status"]
    if status == "ok":
        yield Finding("ok", "port", f"{where} answers: {status}")
    else:
        # Which pin, which key and what the kernel said is for callers who may switch, and the log.
        remedy = f"sudo journalctl -u {SERVICE} -p warning -n 20"
        yield Finding("fault", "port", f"{where} answers: {status}", remedy)
    reasons = answer.get("reasons")
    for reason in reasons if isinstance(reasons, list) else ():
        yield Finding("note", "health", str(reason))


def _look_at_broker(mqtt: Mqtt) -> Finding:
    """Whether the broker lets us in, asked under a name beside that of the service."""
    import asyncio

    from ..mqtt.broker_config import read_broker_config
    from ..mqtt.client import MqttClient

    try:
        ours = read_broker_config(mqtt)
    except ConfigError as error:
        return Finding("fault", "mqtt", str(error.faults[0]), f"sudo ls -l {error.faults[0].file}")

    async def ask() -> str | None:
        return await MqttClient(ours, f"raspi-server-doctor-{os.getpid()}").check()

    trouble = asyncio.run(ask())
    if trouble:
        return Finding("fault", "mqtt", trouble, "the keys of mqtt in config.yaml, or the broker")
    who = f" as {mqtt.user}" if mqtt.user else ""
    return Finding("ok", "mqtt", f"the broker {ours.address} lets us in{who}")


def _health(url: str) -> dict[str, Any]:
    """Return what the service says of itself, whatever its certificate; without a code that may be
    the status alone. Raises OSError, HTTPException, ValueError."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE, context=unverified) as answer:
            found: Any = json.loads(answer.read(MOST))
    except urllib.error.HTTPError as error:
        with error:
            found = json.loads(error.read(MOST))
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        raise ValueError(f"it said {json.dumps(found)[:200]}")
    return found


def _look_at_machine() -> Iterator[Finding]:
    """Clock, name, power, space: what a Pi suffers from."""
    if _ask("timedatectl", "show", "-p", "NTPSynchronized", "--value") == "no":
        message = "not set by the network yet: times and certificates may be wrong"
        yield Finding("note", "clock", message, "sudo timedatectl set-ntp true")
    host = local_name()
    if _ask("systemctl", "is-active", "avahi-daemon") == "active":
        yield Finding("ok", "name", host)
    elif shutil.which("systemctl"):
        message = f"{host} is not told to the network: only the address works"
        yield Finding("note", "name", message, "sudo apt install avahi-daemon")
    for complaint in vitals.throttled() or ():
        kind: Literal["fault", "note"] = "fault" if complaint.endswith("now") else "note"
        yield Finding(kind, "power", complaint, "a stronger power supply, a shorter cable, a fan")
    free = shutil.disk_usage("/").free
    if free < LEAST_SPACE:
        yield Finding("fault", "space", f"{free // 2**20} MB free on /", "sudo apt clean")


def _service() -> dict[str, str]:
    said = _ask("systemctl", "show", SERVICE, "--no-pager") or ""
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def _ask(*command: str) -> str | None:
    """What another program says, or None where it is missing, slow, or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.strip()
    # is-active and is-enabled answer with their status, too.
    return said if done.returncode == 0 or (command[0] == "systemctl" and said) else None
