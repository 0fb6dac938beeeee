"""Servers to measure: raspi-server, the ones to compare with, and those missing on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import mosquitto
from .common import StateMessage
from .process import CHECKOUT, Command, Running, running
from .reader import ProtocolError, Reader

OURS = "raspi-server"
BARE_LOOP = "bare-loop"
TUTORIAL = "tutorial"
PINS = "".join(
    f"  pin{n}: {{gpio: {n}, mode: {'output' if n < 14 else 'input'}}}\n" for n in range(28)
)
INPUT = "pin20"
CONFIG = f"address: 127.0.0.1\ninterval: 0.1\naccess: {{control: everyone}}\npins:\n{PINS}"
MESSAGE = '{"type":"state","seq":812,"time":1763800000.123456,"pins":{%s}}' % ",".join(  # noqa: UP031
    f'"pin{n}":0' for n in range(28)
)
# Where scripts/bench.sh installs the packages of others, apart from ours.
PEERS = Path(os.environ.get("BENCH_PEERS", "/nonexistent"))
PEERS_PYTHON = PEERS / "python/bin/python"
PEERS_NODE = PEERS / "node/node_modules"


class Rig:
    """The folder of one run, with all that servers and clients find there, and the servers' core.
    `seconds` is how long each measurement lasts at least; None leaves that to each line."""

    def __init__(self, folder: Path, core: int, seconds: float | None) -> None:
        self.folder = folder
        self.core = core
        self.seconds = seconds
        self._certificate = folder / "certificate.pem", folder / "key.pem"
        _make_certificate(*self._certificate)
        pair = "{{certificate: {}, key: {}}}".format(*self._certificate)
        for name, ssl_line in (("http.yaml", "false"), ("https.yaml", pair)):
            (folder / name).write_text(f"ssl: {ssl_line}\n{CONFIG}")
        self.message = folder / "message"
        self.message.write_text(MESSAGE)
        self.message.write_text(self._hear_ours())

    def certificate(self, tls: bool) -> tuple[Path, Path] | None:
        return self._certificate if tls else None

    def trusting(self, tls: bool) -> ssl.SSLContext | None:
        """Return the TLS context with which clients trust the servers of this run."""
        return ssl.create_default_context(cafile=self._certificate[0]) if tls else None

    def ours(self, tls: bool = False, *python_options: str) -> Command:
        config = self.folder / ("https.yaml" if tls else "http.yaml")
        run = ["run", "--config", config, "--port", "0", "--simulate"]
        return Command([sys.executable, *python_options, "-m", "raspi_server", *run])

    @contextmanager
    def running(self, command: Command, lifetime: float = 300) -> Iterator[Running]:
        with running(command, self.folder, self.core, lifetime) as server:
            yield server

    def _hear_ours(self) -> str:
        """A `state` message from our own server, for the others to send the same bytes."""
        heard: list[str] = []
        with self.running(self.ours()) as server, Reader(server.port, 1) as reader:
            reader.on_text = lambda _, payload: heard.append(payload.decode())
            reader.read_for(1)
        states = [text for text in heard if text.startswith('{"type":"state"')]
        if not states:
            raise ProtocolError(f"raspi-server sent no state within 1 s, but {heard}")
        return max(states, key=len)  # one whose time does not happen to end in a nought


def _make_certificate(certificate: Path, key: Path) -> None:
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-noenc", "-days", "2", *curve, *names]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )


@dataclass(frozen=True)
class Contender:
    """`is_peer` is one that others wrote to be fast; the rest are measures, and some of those only
    for plain connections."""

    meaning: str
    command: Callable[[Rig, bool], Command]  # the bool: over TLS
    missing: Callable[[], str | None]  # why it cannot take part, or None
    is_peer: bool = False
    over_tls: bool = True
    reader: type[Reader] = Reader

    @contextmanager
    def broadcasting(self, rig: Rig, tls: bool) -> Iterator[tuple[Running, Reader]]:
        """The server, and a reader without sockets yet."""
        with rig.running(self.command(rig, tls)) as server, contextlib.ExitStack() as stack:
            context = rig.trusting(tls)
            if self.reader is mosquitto.Subscribers:
                message = StateMessage(rig.message.read_text())
                stack.enter_context(mosquitto.Publisher(server.port, message, context))
            yield server, stack.enter_context(self.reader(server.port, 0, context))


def _python(python: Path | str, module: str, name: str) -> Callable[[Rig, bool], Command]:
    def command(rig: Rig, tls: bool) -> Command:
        arguments: list[str | Path] = [python, "-m", f"tests.bench.{module}", name]
        arguments += ["--message", rig.message]
        certificate = rig.certificate(tls)
        if certificate:
            arguments += ["--certificate", certificate[0], "--key", certificate[1]]
        return Command(arguments)

    return command


def _node(rig: Rig, tls: bool) -> Command:
    program = CHECKOUT / "tests/bench/peer.cjs"
    arguments = ["node", program, rig.message, *(rig.certificate(tls) or ())]
    return Command(arguments, {"NODE_PATH": str(PEERS_NODE)})


def _of_peers(package: str) -> Contender:
    def missing() -> str | None:
        if not PEERS_PYTHON.exists():
            return f"scripts/bench.sh could not install {package}"
        asked = [PEERS_PYTHON, "-c", f"import {package}"]
        done = subprocess.run(asked, capture_output=True, check=False)
        return f"{package} cannot be imported" if done.returncode else None

    return Contender(package, _python(PEERS_PYTHON, "peers", package), missing, is_peer=True)


def _missing_node() -> str | None:
    if shutil.which("node") is None:
        return "there is no node"
    return None if (PEERS_NODE / "ws").is_dir() else "scripts/bench.sh could not install ws"


def _never() -> None:
    return None


CONTENDERS = {
    OURS: Contender("raspi-server, 28 simulated pins", lambda rig, tls: rig.ours(tls), _never),
    TUTORIAL: Contender(
        "the tutorial, its text padded to the same length",
        _python(sys.executable, "tornados", "tutorial"),
        _never,
        over_tls=False,
    ),
    "write-message": Contender(
        "Tornado write_message, one text encoded once a tick",
        _python(sys.executable, "tornados", "write-message"),
        _never,
        over_tls=False,
    ),
    BARE_LOOP: Contender(
        "bare Python loop of socket.send, one frame a tick",
        _python(sys.executable, "bareloop", "bare-loop"),
        _never,
    ),
    "websockets": _of_peers("websockets"),
    "aiohttp": _of_peers("aiohttp"),
    "picows": _of_peers("picows"),
    "ws": Contender("node's ws", _node, _missing_node, is_peer=True),
    "mosquitto": Contender(
        "mosquitto, plain MQTT, told by a publisher",
        lambda rig, tls: mosquitto.command(rig.folder, rig.certificate(tls)),
        lambda: None if mosquitto.find() else "there is no mosquitto",
        is_peer=True,
        reader=mosquitto.Subscribers,
    ),
}
BARE_HANDLER = _python(sys.executable, "tornados", "bare-handler")
