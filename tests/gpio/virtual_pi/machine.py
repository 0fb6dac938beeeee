"""The virtual Raspberry Pi: a qemu process that continues from a saved state after the boot.

The image is built once and kept in the test cache, with that state."""

import contextlib
import fcntl
import hashlib
import http.client
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.server import free_port

HERE = Path(__file__).parent
ANSWER_LIMIT, BOOT_LIMIT = 120.0, 300.0
"""Time limits in seconds of one call of the agent, and of a boot. qemu translates every
instruction: in a virtual machine /dev/kvm may exist without working."""

_COMMANDS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "debootstrap": "debootstrap",
    "gcc": "gcc",
    "make": "make",
    "strip": "binutils",
    "xz": "xz-utils",
    "mkfs.ext4": "e2fsprogs",
}
"""Programs for building and running the image, and their Debian packages."""

_QEMU = [
    "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512", "-smp", "2",
    "-machine", "pc,usb=off,vmport=off", "-nodefaults", "-display", "none", "-no-reboot",
    "-monitor", "stdio", "-serial", "chardev:console", "-append",
    "console=ttyS0 root=/dev/vda rw loglevel=4 mitigations=off nokaslr audit=0 net.ifnames=0"
    " random.trust_cpu=on systemd.show_status=0"
    # Enabled from the boot on: enabling them later patches the running kernel, and a translated
    # kernel with two processors may hang then.
    " trace_event=gpio:gpio_value,gpio:gpio_direction",
]  # fmt: skip


class CannotBuildError(Exception):
    """This machine lacks what every image needs."""


class _TransportWithTimeout(xmlrpc.client.Transport):
    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = self._timeout
        return connection


class Agent:
    """A client of guest/agent.py. A call may take `limit` seconds."""

    def __init__(self, port: int, limit: float = ANSWER_LIMIT) -> None:
        self._agent: Any = xmlrpc.client.ServerProxy(
            f"http://127.0.0.1:{port}", transport=_TransportWithTimeout(limit)
        )

    def attempt(self, command: str) -> tuple[int, str]:
        """Run a shell command; return its exit status and output."""
        status, output = self._agent.run(command)
        return status, output.data.decode(errors="replace")

    def read(self, file: str) -> str:
        return str(self._agent.read(file).data.decode())

    def write(self, file: str, content: str | bytes) -> None:
        self._agent.write(file, content.encode() if isinstance(content, str) else content)

    def unpack(self, folder: str, archive: bytes) -> None:
        """Unpack a tar archive in a folder."""
        self._agent.unpack(folder, archive)


class Machine:
    """A running guest. Only `save` keeps its changes of the disk."""

    def __init__(self, folder: Path, disk: Path, is_saved: bool) -> None:
        self.agent_port, self.server_port = free_port(), free_port()
        network = "user,id=net,restrict=on"
        for port, inside in ((self.agent_port, 8099), (self.server_port, 8080)):
            network += f",hostfwd=tcp:127.0.0.1:{port}-:{inside}"
        self._console = disk.with_suffix(".console")
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *_QEMU,
                    *("-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd.img")),
                    *("-drive", f"file={disk},format=qcow2,if=virtio,cache=unsafe"),
                    *("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="),
                    *("-chardev", f"file,id=console,append=on,path={self._console}"),
                    *(["-loadvm", "booted"] if is_saved else []),
                ],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        self.agent = Agent(self.agent_port)
        try:
            self._wait_for_agent()
        except BaseException:
            self.stop()
            raise

    def _wait_for_agent(self) -> None:
        until = time.monotonic() + BOOT_LIMIT
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                self.agent.read("/etc/hostname")
                return
            time.sleep(0.2)
        console = self._console.read_text(errors="replace")
        raise RuntimeError(f"qemu has ended, or does not answer:\n{console[-4000:]}")

    def save(self) -> None:
        """Save the state of the machine on its disk, and stop it."""
        self._process.communicate(b"savevm booted\nquit\n", BOOT_LIMIT)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Machine]:
    """Yield a machine that has just booted, with its own disk in `folder`."""
    image = _image()
    disk = folder / "disk.qcow2"
    shutil.copyfile(image / "disk.qcow2", disk)
    machine = Machine(image, disk, is_saved=True)
    try:
        yield machine
    finally:
        machine.stop()
        disk.unlink()


def _image() -> Path:
    """Return the folder of the image. Build it if there is none, or one from other sources.

    Raises CannotBuildError, or any other error if the build fails."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(["qemu-system-x86_64"])
        requirements = _requirements()
        image = cache / _key(requirements)
        if not image.exists():
            for old in cache.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
            new = cache / "new"
            new.mkdir()
            _build(new, requirements)
            new.rename(image)
    return image


def _build(folder: Path, requirements: list[str]) -> None:
    is_debian = platform.freedesktop_os_release()["ID"] == "debian"
    if not (is_debian and platform.machine() == "x86_64" and os.geteuid() == 0):
        raise CannotBuildError("only root on Debian on x86-64 can build the virtual Pi's image")
    _install(list(_COMMANDS))
    # In a mount namespace, so that nothing of debootstrap stays mounted, however it ends.
    command = ["unshare", "--mount", str(HERE / "build.sh"), str(folder), sys.executable]
    done = subprocess.run(
        [*command, *requirements], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"the virtual Pi's image could not be built:\n{done.stdout[-4000:]}")
    machine = Machine(folder, folder / "disk.qcow2", is_saved=False)
    # Read the files that the tests use, so that the saved state has them in memory.
    settle = (
        "systemctl is-system-running --wait; journalctl --flush;"
        " python3 -c 'import tornado.web, tornado.websocket, gpiozero, msgspec, yaml';"
        " python3 -c 'import gpiod, lgpio';"
        " rm -f .lgd-nfy*; sync"
    )
    status, output = machine.agent.attempt(settle)
    machine.save()
    if status != 0:
        raise RuntimeError(f"the virtual Pi did not finish booting:\n{output}")


def _install(commands: list[str]) -> None:
    """Install the packages of missing programs, as root on Debian. Raises CannotBuildError."""
    missing = {_COMMANDS[command] for command in commands if not shutil.which(command)}
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        packages = " ".join(sorted(missing))
        raise CannotBuildError(f"the virtual Pi needs, as root on Debian: apt install {packages}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *sorted(missing)],
        stdout=subprocess.DEVNULL,
        env=environment,
        check=True,
    )


def _requirements() -> list[str]:
    """Return the requirements of the package on a Pi."""
    project = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["pi"]]


def _key(requirements: list[str]) -> str:
    """Return a hash of all sources of the image, and of the qemu version of its saved state."""
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, check=True)
    key = hashlib.sha256(qemu.stdout + repr((_QEMU, requirements)).encode())
    for file in (HERE / "build.sh", *sorted((HERE / "guest").iterdir())):
        key.update(file.name.encode() + file.read_bytes())
    return key.hexdigest()[:16]


def _cache() -> Path:
    """Return the folder of the cache, the same as in scripts/test.sh."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TEST_CACHE") or home / "raspi-server") / "gpio"
