"""Other programs at a broker: Home Assistant, RabbitMQ, amqtt and Node-RED, as they are released.

The newest ones need a newer Debian than this machine may have. So they run in a tree of it, which
mmdebstrap makes once, in the cache. They use this machine's network."""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import LIMIT, free_port
from tests.system.debian.guest import making, pip_settings

SUITE, PACKAGES = "forky", "ca-certificates,nodejs,python3,python3-venv,rabbitmq-server"
NEWEST, OLDEST = "2026.11.0", "2024.11.3"
"""Releases of Home Assistant: the newest when this was written, and the first whose discovery by
one message for a whole device is known to work."""
NODE_RED, AMQTT = "5.0.7", "0.12.1"
DRIVER = Path(__file__).with_name("home_assistant_driver.py")
STARTING, BUILDING = 120.0, 900.0
"""Seconds to wait for a program that starts, and for what loads packages from the network."""
# What Home Assistant installs by itself when it loads the MQTT integration.
NEEDED = {
    NEWEST: ("aiohasupervisor", "paho-mqtt"),
    OLDEST: ("aiohasupervisor==0.2.1", "josepy<2", "paho-mqtt==1.6.1"),
}

HOME_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(os.environ.get("TEST_CACHE") or Path(HOME_CACHE) / "raspi-server") / "peers"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILDING, cwd="/")
    assert done.returncode == 0, f"{command}:\n{(done.stdout + done.stderr)[-2000:]}"


def debian() -> Path:
    """Return the tree of a newer Debian. Without root the test is skipped."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("needs root and mmdebstrap; on Debian: sudo apt install mmdebstrap")
    made = CACHE / f"{SUITE}-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:12]}"
    if not made.exists():
        # A mirror may keep a suite for longer than its signature says.
        late = 'Acquire::Check-Valid-Until "false"'
        options = ("--mode=root", "--variant=minbase", f"--aptopt={late}", f"--include={PACKAGES}")
        with making(made) as new:
            _run("mmdebstrap", *options, SUITE, new)
    return made


def _newest_home_assistant() -> list[str | Path]:
    """Return the command of the newest Home Assistant's Python, in the tree."""
    tree = debian()
    inside = Path(f"/opt/home-assistant-{NEWEST}")
    made = tree / inside.relative_to("/")
    if not (made / "installed").exists():
        settings, files = pip_settings()
        for file in filter(os.path.isfile, [*files, "/etc/resolv.conf"]):
            copy = tree / file.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        own = ("chroot", tree, "env", "HOME=/root", *(f"{k}={v}" for k, v in settings.items()))
        _install(NEWEST, made, inside, [*own, "python3"], [*own, inside / "bin/python"])
    return ["chroot", tree, inside / "bin/python"]


def _install(
    release: str, made: Path, inside: Path, python: list[str | Path], own: list[str | Path]
) -> None:
    """Make an environment with a release, whose own list says which packages fit to it."""
    _run(*python, "-m", "venv", "--clear", inside)
    pip = [*own, "-m", "pip", "install", "-q"]
    _run(*pip, "--no-deps", f"homeassistant=={release}")
    (constraints,) = made.glob("lib/*/site-packages/homeassistant/package_constraints.txt")
    fitting = ("-c", inside / constraints.relative_to(made))
    _run(*pip, f"homeassistant=={release}", *NEEDED[release], *fitting)
    (made / "installed").touch()


def _oldest_home_assistant() -> list[str | Path]:
    """Return the command of the oldest Home Assistant's Python, an environment of this machine."""
    made = CACHE / f"home-assistant-{OLDEST}"
    python = made / "bin/python"
    if not (made / "installed").exists():
        own = [Path(shutil.which("python3.12") or "/none")]
        own += (Path.home() / ".pyenv/versions").glob("3.12*/bin/python3.12")
        works = [each for each in own if each.exists() and _works(each)]
        if not works:
            pytest.skip(f"Home Assistant {OLDEST} needs Python 3.12")
        _install(OLDEST, made, made, [works[0]], [python])
    return [python]


def _works(python: Path) -> bool:
    return subprocess.run([python, "-V"], capture_output=True).returncode == 0


class HomeAssistant:
    """A running Home Assistant of a release, at a broker's port. It keeps `folder`."""

    def __init__(self, release: str, broker_port: int, folder: Path) -> None:
        command = _newest_home_assistant() if release == NEWEST else _oldest_home_assistant()
        root = command[1] if command[0] == "chroot" else None
        self._folder = folder
        self._inside = Path("/") / folder.relative_to(root) if root else folder
        shutil.copy(DRIVER, folder)
        own = (self._inside / DRIVER.name, self._inside / "home", broker_port, free_port())
        self._command = [*map(str, (*command, *own))]
        self.start()

    def start(self) -> None:
        """Start it, as after a restart: with all it knew."""
        self._log = (self._folder / "log").open("w+")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        giving_up = threading.Timer(STARTING, self._process.kill)
        giving_up.start()
        self.ask("devices")
        giving_up.cancel()

    def stop(self) -> None:
        """Stop it in peace. It warned of nothing but what was not installed."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._process.stdout.close()
        self._log.close()

    @property
    def complaints(self) -> list[str]:
        """Lines of the log with warnings and errors."""
        lines = (self._folder / "log").read_text().splitlines()
        known = ("Skipping pip installation", "zlib_ng and isal are not available")
        return [
            line
            for line in lines
            if ("WARNING" in line or "ERROR" in line) and not any(each in line for each in known)
        ]

    def ask(self, *command: Any) -> Any:
        """Call a function of the driver."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, (self._folder / "log").read_text()[-3000:]
        return json.loads(answer)

    def wait_for(self, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until something is true of the entities, and return them."""
        until = time.monotonic() + LIMIT
        while True:
            found: dict[str, Any] = self.ask("entities")
            with contextlib.suppress(KeyError):
                if what(found):
                    return found
            assert time.monotonic() < until, json.dumps(found, indent=1)
            time.sleep(0.02)

    def call(self, domain: str, service: str, entity: str, **data: Any) -> None:
        """Call a service of an entity."""
        self.ask("call", domain, service, {"entity_id": entity, **data})


def folder_for(release: str) -> Path:
    """Return a new folder that a Home Assistant of this release can read."""
    if release != NEWEST:
        return Path(tempfile.mkdtemp())
    _newest_home_assistant()
    return Path(tempfile.mkdtemp(dir=debian() / "tmp"))


class RabbitMQ:
    """RabbitMQ with its MQTT plugin, for everyone on this machine."""

    CONFIG = """
listeners.tcp = none
mqtt.listeners.tcp.1 = 127.0.0.1:{port}
anonymous_login_user = guest
anonymous_login_pass = guest
"""

    def __init__(self) -> None:
        tree = debian()
        self._folder = Path(tempfile.mkdtemp(dir=tree / "tmp"))
        inside = Path("/tmp") / self._folder.name
        self.port, epmd = free_port(), free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        (self._folder / "rabbitmq.conf").write_text(self.CONFIG.format(port=self.port))
        (self._folder / "plugins").write_text("[rabbitmq_mqtt].")
        environment = {
            "HOME": inside,
            "ERL_EPMD_PORT": epmd,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"peer{self.port}@localhost",
            "RABBITMQ_DIST_PORT": free_port(),
            "RABBITMQ_CONFIG_FILE": inside / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": inside / "plugins",
            "RABBITMQ_MNESIA_BASE": inside / "data",
            "RABBITMQ_LOG_BASE": inside / "log",
        }
        self._inside = ["chroot", str(tree), "env", *(f"{k}={v}" for k, v in environment.items())]
        with (self._folder / "said").open("w") as said:
            command = [*self._inside, "/usr/lib/rabbitmq/bin/rabbitmq-server"]
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        until = time.monotonic() + STARTING
        while "completed with" not in (words := (self._folder / "said").read_text()):
            assert self._process.poll() is None and time.monotonic() < until, words[-3000:]
            time.sleep(0.1)

    def close(self) -> None:
        """Stop it and its port mapper."""
        self._process.terminate()
        self._process.wait(STARTING)
        subprocess.run([*self._inside, "epmd", "-kill"], capture_output=True)
        shutil.rmtree(self._folder)


class Amqtt:
    """amqtt, a broker that speaks MQTT 3.1.1 only, in an environment of this machine's Python."""

    def __init__(self, folder: Path) -> None:
        made = CACHE / "amqtt"
        if not (made / "installed").exists():
            _run(sys.executable, "-m", "venv", "--clear", made)
            _run(made / "bin/python", "-m", "pip", "install", "-q", f"amqtt=={AMQTT}")
            (made / "installed").touch()
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        file, self._log = folder / "amqtt.yaml", folder / "amqtt.log"
        file.write_text(f"listeners: {{default: {{type: tcp, bind: '127.0.0.1:{self.port}'}}}}\n")
        with self._log.open("w") as log:
            command = [made / "bin/amqtt", "-c", file]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + STARTING
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            assert self._process.poll() is None and time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(LIMIT)


class NodeRed:
    """Node-RED with a flow, in the tree: a switch of a pin follows another pin of a Pi."""

    def __init__(self, flow: list[dict[str, Any]]) -> None:
        tree = debian()
        program = tree / f"opt/node-red-{NODE_RED}"
        if not program.exists():
            with making(program) as new:
                npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts")
                _run(*npm, "--prefix", new, f"node-red@{NODE_RED}")
        self._folder = Path(tempfile.mkdtemp(dir=tree / "tmp"))
        inside = Path("/tmp") / self._folder.name
        (self._folder / "flows.json").write_text(json.dumps(flow))
        (self._folder / "settings.js").write_text(
            "module.exports = {uiHost: '127.0.0.1', flowFile: 'flows.json'};\n"
        )
        red = f"/opt/{program.name}/node_modules/node-red/red.js"
        options = ("-u", inside, "-s", inside / "settings.js", "-p", str(free_port()))
        with (self._folder / "said").open("w") as said:
            command = ["chroot", tree, "env", f"HOME={inside}", "node", red, *options]
            self._process = subprocess.Popen(command, stdout=said, stderr=said)
        self.wait_for("Connected to broker")

    def wait_for(self, words: str) -> None:
        """Wait until it has said these words."""
        until = time.monotonic() + STARTING
        while words not in (said := (self._folder / "said").read_text()):
            assert self._process.poll() is None and time.monotonic() < until, said[-3000:]
            time.sleep(0.1)

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(LIMIT)
        shutil.rmtree(self._folder)
