"""Processes with a bounded lifetime, and their memory: the broker and raspi-server."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.server import free_port

from ..process import CHECKOUT, Running, ServerFailedError

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
MAX_LIFETIME_S = 900
"""Seconds after which every process ends, even if its parent is gone."""
START_TIMEOUT_S = 30.0


def settle() -> None:
    """Limit the lifetime of a child process. The alarm survives the exec."""
    signal.alarm(MAX_LIFETIME_S)


def memory(pid: int) -> tuple[float, float]:
    """Return a process's memory in MB: now, and the highest so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, most = (re.search(rf"{key}:\s+(\d+) kB", text) for key in ("VmRSS", "VmHWM"))
    assert now and most
    return int(now[1]) / 1000, int(most[1]) / 1000


def make_certificate(folder: Path) -> Path:
    """Make a self-signed certificate for a broker on this machine, and return its file."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-noenc", "-days", "2", *curve, *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "certificate.pem"


class Mosquitto:
    """Broker without a disk: its retained messages are lost in a restart. `port` is for the Pis,
    with TLS if there is a `certificate`. `plain_port` is for subscribers."""

    def __init__(self, folder: Path, lines: list[str], with_tls: bool) -> None:
        self.port = self.plain_port = free_port()
        self.certificate: Path | None = None
        self._folder = folder
        listeners = [f"listener {self.port} 127.0.0.1"]
        if with_tls:
            self.certificate = make_certificate(folder)
            self.plain_port = free_port()
            pair = [f"certfile {self.certificate}", f"keyfile {folder / 'key.pem'}"]
            listeners += [*pair, f"listener {self.plain_port} 127.0.0.1"]
        own = ["persistence false", "allow_anonymous true", "user root", "sys_interval 1"]
        text = [*listeners, *own, "log_type error", *lines, ""]
        (folder / "mosquitto.conf").write_text("\n".join(text))

    async def start(self) -> None:
        """Start the broker and wait until it accepts connections."""
        with (self._folder / "mosquitto.log").open("ab") as said:
            self._process = await asyncio.create_subprocess_exec(
                MOSQUITTO, "-c", self._folder / "mosquitto.conf",
                stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=settle,
            )  # fmt: skip
        self.running = Running(self._process.pid, self.port)
        until = time.monotonic() + START_TIMEOUT_S
        while self._process.returncode is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.plain_port), 1).close()
                return
            except OSError:
                await asyncio.sleep(0.01)
        raise ServerFailedError((self._folder / "mosquitto.log").read_text())

    async def stop(self, how: int = signal.SIGTERM) -> None:
        if self._process.returncode is None:
            self._process.send_signal(how)
        await self._process.wait()


@asynccontextmanager
async def raspi_server(folder: Path, config: str) -> AsyncIterator[Running]:
    """Run `raspi-server run` with this configuration and simulated pins."""
    folder.mkdir()
    (folder / "config.yaml").write_text(config)
    log = folder / "stderr"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "raspi_server", "run", "--config", folder / "config.yaml",
            "--port", "0", "--simulate",
            stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=settle,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "STATE_DIRECTORY": str(folder),
                 "RUNTIME_DIRECTORY": str(folder)},
        )  # fmt: skip
    try:
        yield Running(process.pid, await _port_in(log, process))
    except BaseException:
        print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        raise
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _port_in(log: Path, process: asyncio.subprocess.Process) -> int:
    until = time.monotonic() + START_TIMEOUT_S
    while process.returncode is None and time.monotonic() < until:
        found = re.search(r"serving http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        if found:
            return int(found[1])
        await asyncio.sleep(0.05)
    raise ServerFailedError("raspi-server did not start")
