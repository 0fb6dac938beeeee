"""The machine and the versions a figure was measured with."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import mosquitto, nginx
from .contenders import PEERS_NODE, PEERS_PYTHON
from .process import CHECKOUT


def raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the servers inherit it
    if hard != resource.RLIM_INFINITY and wanted > hard:
        sys.exit(f"bench: {wanted} open files wanted, and this machine allows {hard} (ulimit -Hn)")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def circumstances(cores: list[int]) -> Iterator[str]:
    packages = versions("raspi-server", "tornado", "msgspec", "gpiozero")
    yield f"{packages}, {ssl.OPENSSL_VERSION}; commit {commit()}."
    yield f"Beside: {', '.join(_others()) or 'nobody'}."
    load = os.getloadavg()[0]
    yield (
        f"{name()}, {len(cores)} cores, Linux {platform.release()}; servers on core {cores[0]},"
        f" clients on core {cores[-1]}, everything on 127.0.0.1; load {load:.1f} at the end."
    )


def _others() -> Iterator[str]:
    if PEERS_PYTHON.exists():
        names = ("websockets", "aiohttp", "picows")
        asked = f"import importlib.metadata as m\nfor n in {names}: print(n, m.version(n))"
        yield from said([PEERS_PYTHON, "-c", asked]).splitlines()
    if shutil.which("node") and (PEERS_NODE / "ws").is_dir():
        found = re.search(r'"version": "([^"]+)"', (PEERS_NODE / "ws/package.json").read_text())
        yield f"ws {found[1] if found else '?'} on node {said(['node', '--version'])}"
    for program, option in ((mosquitto.find(), "-h"), (nginx.find(), "-v")):
        if program:
            yield said([program, option]).splitlines()[0].replace(" version ", " ")


def said(command: list[str | Path]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace").strip()


def versions(*packages: str) -> str:
    """Python's own and those of some packages."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def commit() -> str:
    asked = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def name() -> str:
    model = Path("/proc/device-tree/model")  # a Raspberry Pi names itself here
    if model.exists():
        return model.read_text().rstrip("\0\n")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.machine()
