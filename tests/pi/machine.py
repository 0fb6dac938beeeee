"""The emulated Raspberry Pi 3B: QEMU's raspi3b with Debian arm64, its kernel's own GPIO driver, and
the registers of its GPIO controller.

The card of each suite of Debian is built once and kept in the test cache."""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.gpio.virtual_pi.machine import HERE as VIRTUAL_PI
from tests.gpio.virtual_pi.machine import Agent, CannotBuildError
from tests.support.server import free_port
from tests.system.debian.guest import CACHE

HERE = Path(__file__).parent
LIMIT, BOOT_LIMIT, INSTALL_LIMIT = 300.0, 1800.0, 7200.0
"""Seconds to wait for a fact in the guest, for a boot, and for an installation: each instruction is
translated, on a machine that may be busy with other tests."""
TOOLS = ("qemu-system-aarch64", "qemu-img", "qemu-aarch64-static", "mmdebstrap", "dtc", "mkfs.ext4")
"""Programs for building and running the image; scripts/test.sh installs them."""
GPIO = 0x3F200000
"""Physical address of the GPIO controller: function selects of 10 lines each, levels at 0x34."""
INSTRUCTION_SHIFT = 1
"""The clock of a guest that counts goes on by 2 ns for each instruction."""
PIP_FILE = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
CONSOLE = (
    "earlycon=uart8250,mmio32,0x3f215040 console=ttyS1,115200 root=/dev/mmcblk0 rw rootwait"
    " systemd.default_timeout_start_sec=600"
)


class Monitor:
    """QEMU's monitor, which reads the guest's physical memory and so its devices (QMP)."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket, self._file = ours, ours.makefile("rw")

    def open(self) -> None:
        """Wait for QEMU's greeting, and let it accept commands."""
        self._file.readline()
        self._execute("qmp_capabilities")

    def _execute(self, command: str, **arguments: str) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        for line in self._file:
            answer = json.loads(line)
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]
        raise AssertionError("QEMU has ended")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def word(self, address: int) -> int:
        """Return the 32-bit word at a physical address."""
        answer = self._execute("human-monitor-command", **{"command-line": f"xp /1wx {address}"})
        return int(answer.partition(":")[2], 16)


class Machine:
    """A Raspberry Pi with a card of its own in `folder`, switched off at first."""

    def __init__(self, suite: str, folder: Path) -> None:
        self._image = _image(suite)
        self._card = folder / "card.qcow2"
        self._console, self._log = folder / "console.log", folder / "qemu.log"
        backing = ("-b", self._image / "card.img", "-F", "raw")
        create = ("qemu-img", "create", "-q", "-f", "qcow2", *backing, self._card)
        subprocess.run(create, check=True)
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self, device_tree: str = "pi.dtb", words: str = "", counts: bool = False) -> None:
        """Boot until systemd is up. `words` are for the kernel's command line.

        If the machine `counts` instructions, they are its clock, so figures do not depend on how
        busy this machine is; but the network is slow, and so are installations.
        """
        agent_port, self.web_port = free_port(), free_port()
        network = "user,id=net"
        for port, inside in ((agent_port, 8099), (self.web_port, 8080)):
            network += f",hostfwd=tcp:127.0.0.1:{port}-:{inside}"
        ours, theirs = socket.socketpair()
        image = self._image
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("qemu-system-aarch64", "-M", "raspi3b", "-display", "none", "-no-reboot"),
                    *("-kernel", image / "kernel", "-initrd", image / "initrd.img"),
                    *("-dtb", image / device_tree, "-append", f"{CONSOLE} {words}"),
                    *("-drive", f"file={self._card},format=qcow2,if=sd,cache=unsafe"),
                    *("-netdev", network, "-device", "usb-net,netdev=net"),
                    *("-serial", "null", "-serial", f"file:{self._console}"),
                    *("-chardev", f"socket,id=monitor,fd={theirs.fileno()}"),
                    *("-mon", "chardev=monitor,mode=control"),
                    *(("-icount", f"shift={INSTRUCTION_SHIFT}") if counts else ()),
                ],
                stdin=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[theirs.fileno()],
                # A test run that is killed ends its guest: prctl(2), PR_SET_PDEATHSIG.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
            )
        theirs.close()
        self.monitor = Monitor(ours)
        self.agent = Agent(agent_port, INSTALL_LIMIT)
        try:
            self.monitor.open()
            self._wait_for(Agent(agent_port, 20))
        except BaseException as error:
            self.kill()
            error.add_note(self._log.read_text(errors="replace")[-1000:])
            raise
        # A Raspberry Pi has no clock.
        self.agent.attempt(f"date -s @{time.time():.0f}; systemctl is-system-running --wait")
        self.agent.write("/etc/pip.conf", PIP_FILE + _index())

    def _wait_for(self, agent: Agent) -> None:
        assert self._process
        until = time.monotonic() + BOOT_LIMIT
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError):
                agent.read("/etc/hostname")
                return
            time.sleep(0.5)
        console = self._console.read_text(errors="replace")
        raise RuntimeError(f"QEMU has ended, or the guest does not answer:\n{console[-4000:]}")

    def shut_down(self) -> None:
        """Stop all services and end; the card keeps its contents."""
        assert self._process
        self.agent.attempt("systemctl --no-block reboot")
        self._process.wait(BOOT_LIMIT)
        self.kill()

    def kill(self) -> None:
        """End without a shutdown."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.monitor.close()


def _index() -> str:
    """Return the lines for the guest's pip.conf that name this machine's own index, if any."""
    lines = ""
    for key in ("index-url", "extra-index-url"):
        command = (sys.executable, "-m", "pip", "config", "get", f"global.{key}")
        url = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        if url and "file:" not in url:
            lines += f"{key} = {url}\n"
    return lines


def _image(suite: str) -> Path:
    """Return the folder of the image of a suite. Build it if there is none, or one from other
    sources. Raises CannotBuildError."""
    is_debian = platform.freedesktop_os_release()["ID"] == "debian"
    if not (is_debian and platform.machine() == "x86_64" and os.geteuid() == 0):
        raise CannotBuildError("only root on Debian on x86-64 can build the emulated Pi")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise CannotBuildError(f"scripts/test.sh pi installs what is missing: {missing}")
    key = hashlib.sha256()
    for file in (HERE / "build.sh", *sorted((VIRTUAL_PI / "guest").glob("agent.*"))):
        key.update(file.name.encode() + file.read_bytes())
    cache = CACHE.with_name("pi")
    image = cache / f"{suite}-{key.hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            for old in cache.glob(f"{suite}-*"):
                shutil.rmtree(old)
            new = cache / f"{suite}-new"
            # In a mount namespace, so that nothing stays mounted, however it ends.
            build = ("unshare", "--mount", HERE / "build.sh", new, suite)
            done = subprocess.run(
                build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode:
                raise RuntimeError(f"the image could not be built:\n{done.stdout[-4000:]}")
            new.rename(image)
    return image
