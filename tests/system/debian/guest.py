"""Debian guests under real systemd. debootstrap makes a tree once, outside the checkout. The guest
boots it in a container that keeps its changes in memory."""

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).parents[3]
LIMIT, BUILDING = 60.0, 600.0
"""Seconds to wait for a fact, and for what loads packages from the network."""
PACKAGES = (
    "avahi-daemon,ca-certificates,dbus,iproute2,openssl,python3,python3-venv,systemd-sysv,udev"
)
ADDRESS = "192.168.1.7"
"""Address of the guest for other machines of its network."""
PIP = "[global]\nno-index = true\nfind-links = /var/cache/wheels\n"
"""Contents of the guest's pip.conf."""
SOURCES = (
    "raspi_server www scripts systemd config.yaml pyproject.toml README.md CHANGELOG.md LICENSE"
)
FIRST_RELEASE, LAST_RELEASE = "1dc98c3", "5d11a04"
"""The commits of 0.1.0, as people had it first, and of 0.8.0."""
LOCKS = CHECKOUT / "scripts/requirements"
GIT = ("git", "-c", "safe.directory=*", "-C", str(CHECKOUT))
"""git, also if the checkout belongs to another user."""


HOME_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(os.environ.get("TEST_CACHE") or Path(HOME_CACHE) / "raspi-server") / "system"
"""Folder that keeps trees and wheels between runs."""


class GuestUnavailableError(Exception):
    """Error of a machine that cannot boot a guest, with the reason."""


def check_tools() -> None:
    """Raise GuestUnavailableError if guests cannot be booted."""
    if os.geteuid() != 0:
        raise GuestUnavailableError("containers with systemd need root")
    for tool in ("debootstrap", "systemd-nspawn", "nsenter"):
        if not shutil.which(tool):
            raise GuestUnavailableError(f"{tool} is missing; scripts/test.sh installs it")


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILDING
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise GuestUnavailableError(f"{command[0]} ended with {done.returncode}:\n{said}")
    return done.stdout


@contextlib.contextmanager
def making(made: Path) -> Iterator[Path]:
    """Give a new folder that gets its final name at the end, unless another run was faster."""
    new = made.with_name(f"{made.name}.new.{os.getpid()}")
    new.mkdir(parents=True)
    try:
        yield new
        with contextlib.suppress(OSError):
            new.rename(made)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _mirror() -> list[str]:
    """Return the host's own mirror of Debian, if it has one; debootstrap has a default."""
    lists = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*.*")]
    text = "\n".join(file.read_text() for file in lists if file.suffix in (".list", ".sources"))
    return re.findall(r"^(?:deb|URIs:).*?(https?://\S+/debian)/?(?:\s|$)", text, re.MULTILINE)[:1]


def tree(suite: str) -> Path:
    """Return the system of a suite; make it the first time."""
    made = CACHE / f"{suite}-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:12]}"
    if not made.exists():
        with making(made) as new:
            packages = f"--include={PACKAGES}"
            _run("debootstrap", "--variant=minbase", packages, suite, new, *_mirror())
            shutil.rmtree(new / "var/cache/apt/archives", ignore_errors=True)
            for mine in ("etc/hostname", "etc/resolv.conf"):  # copied from this machine
                (new / mine).unlink(missing_ok=True)
    return made


def pip_settings() -> tuple[dict[str, str], list[str]]:
    """Return pip's settings on this machine as environment, and the local files they name."""
    settings = {}
    for line in _run(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        text = " ".join(value.strip("'\"").replace(r"\n", " ").split())
        if key.startswith(("global.", ":env:.", "install.")) and name != "config-file":
            settings["PIP_" + name.upper().replace("-", "_")] = text
    words = {word.removeprefix("file://") for text in settings.values() for word in text.split()}
    files = [word for word in words if word.startswith("/") and os.path.exists(word)]
    # A simple index points to files beside it.
    return settings, sorted({str(Path(f).parent if f.endswith("/simple") else f) for f in files})


def wheels(suite: str) -> Path:
    """Return a folder with the wheels of the lock files, and of what the older releases need, for
    the Python of a suite."""
    needed = []
    for commit in (FIRST_RELEASE, LAST_RELEASE):
        git = [*GIT, "show", f"{commit}:pyproject.toml"]
        text = subprocess.run(git, capture_output=True).stdout
        project = tomllib.loads(text.decode())
        if project:
            needed += [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    needed = list(dict.fromkeys(needed))
    locks = [each.read_text() for each in sorted(LOCKS.iterdir())]
    key = hashlib.sha256(repr((needed, locks)).encode()).hexdigest()[:12]
    made = CACHE / f"{suite}-wheels-{key}"
    if not made.exists():
        settings, files = pip_settings()
        pip = "/tmp/venv/bin/python -m pip wheel --use-pep517 -w /wheels"
        locked = f"{pip} --only-binary :all: --require-hashes -r /locks"
        older = f'([ $# -eq 0 ] || {pip} "$@")'
        script = "python3 -m venv /tmp/venv"
        script += f" && {locked}/release.txt && {older} && ({locked}/pi.txt || true)"
        with making(made) as new:
            _run(
                *_nspawn(suite, f"wheels-{os.getpid()}"),
                "--pipe",
                f"--bind={new}:/wheels",
                f"--bind-ro={LOCKS}:/locks",
                *(f"--bind-ro={file}" for file in files),
                *(f"--setenv={key}={value}" for key, value in settings.items()),
                *("sh", "-c", script, "sh", *needed),
            )
    return made


def _nspawn(suite: str, name: str) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--volatile=overlay", "--register=no", "--keep-unit"),
        *(f"--directory={tree(suite)}", f"--machine={name}"),
        *("--hostname=raspberrypi", "--resolv-conf=replace-host"),
    ]


def _new_control_groups(name: str) -> list[Path]:
    """Make a control group in each hierarchy of systemd. Without one of its own, a guest would
    share them with the guest of a test run that was killed."""
    root = Path("/sys/fs/cgroup")
    roots = [root / each for each in ("systemd", "unified") if (root / each).exists()]
    groups = [each / name for each in roots or [root]]
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def _join_network(namespace: IO[bytes]) -> None:
    """Move this thread into a network. Raise OSError."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    if libc.setns(namespace.fileno(), 0x40000000):  # CLONE_NEWNET of linux/sched.h
        raise OSError(ctypes.get_errno(), "setns failed")


class Guest:
    """A booted Debian with its own network: it shares no ports with this machine or another guest.
    Tests reach it with `network`."""

    checkout = "/home/pi/my pi"
    """A path with a space, owned by a user other than root."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        name = f"raspi-server-{suite}-{os.getpid()}"
        arguments = ["--boot", "--private-network", "--console=pipe"]
        arguments.append(f"--bind-ro={wheels(suite)}:/var/cache/wheels")
        self._groups = _new_control_groups(name)

        def before_exec() -> None:
            # A test run that is killed ends its guest: prctl(2), PR_SET_PDEATHSIG.
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
            for group in self._groups:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        # Two runs may use one tree: its files are only read. systemd from 256 on refuses a host
        # with the old kind of control groups without this variable.
        self._container = subprocess.Popen(
            [*_nspawn(suite, name), *arguments, "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SYSTEMD_NSPAWN_LOCK": "0"},
            preexec_fn=before_exec,
        )
        try:
            self._leader = self._find_leader()
            for _ in self.attempts("systemd never came up"):
                said = self.run("systemctl is-system-running --wait", check=False).stdout.strip()
                if said in ("running", "degraded"):
                    break
        except BaseException:
            self.end()
            raise
        self.write("/etc/pip.conf", PIP)
        # No other machine is in its network.
        mask = "systemctl mask --quiet --now avahi-daemon.service avahi-daemon.socket"
        self.run(f"ip address add {ADDRESS}/24 dev lo && {mask}")

    def end(self) -> None:
        """Stop the container."""
        self._container.terminate()
        try:
            self._container.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._container.kill()
            self._container.wait()
        for group in self._groups:
            for folder in (*sorted(group.rglob("*/"), reverse=True), group):
                folder.rmdir()

    def _find_leader(self) -> int:
        children = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children")
        for _ in self.attempts("the container never had a first process"):
            status = self._container.poll()
            if status is not None:
                raise GuestUnavailableError(f"systemd-nspawn ended with {status}")
            for child in children.read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                    return int(child)
        raise AssertionError

    def attempts(self, otherwise: str) -> Iterator[None]:
        """Yield for each attempt to find a fact that nothing reports. Raise AssertionError with the
        text `otherwise` when the time is up."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            yield
            time.sleep(0.05)
        raise AssertionError(otherwise)

    def enter(self, script: str) -> list[str]:
        """Return the command on this machine that runs a shell script in the guest."""
        environment = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["env", "-i", environment, "HOME=/root", "LANG=C", "bash", "-c", script]
        return ["nsenter", "--target", str(self._leader), "--all", *inside]

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Make this thread open its sockets in the guest's network; they stay there."""
        with (
            open("/proc/thread-self/ns/net", "rb") as ours,
            open(f"/proc/{self._leader}/ns/net", "rb") as theirs,
        ):
            _join_network(theirs)
            try:
                yield
            finally:
                _join_network(ours)

    def run(
        self, script: str, check: bool = True, limit: float = LIMIT
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the guest as root; `stdout` holds all its output."""
        done = subprocess.run(
            self.enter(script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
        )
        assert not check or done.returncode == 0, f"{script}:\n{done.stdout}"
        return done

    def output(self, script: str) -> str:
        """Return the output of a script, without the last newline."""
        return self.run(script).stdout.rstrip("\n")

    @contextlib.contextmanager
    def running(self, script: str, until: str = "1\n") -> Iterator[None]:
        """Run a script until it prints a text, and during the block; then kill it, with its
        children."""
        process = subprocess.Popen(
            self.enter(f"exec {script}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            said = ""
            while until not in said:
                more = process.stdout.read(1)
                assert more, said
                said += more
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def listening(self, port: int, address: str = "") -> AbstractContextManager[None]:
        """Listen with another program on a port."""
        socket = f"s = socket.create_server(('{address}', {port}))"
        program = f"import socket; {socket}; print(1, flush=True); s.accept()"
        return self.running(f'python3 -c "{program}"')

    def write(self, file: str, text: str) -> None:
        """Write a file in an existing folder."""
        subprocess.run(self.enter(f"cat >'{file}'"), input=text, text=True, check=True)

    def put_checkout(self, commit: str = "") -> None:
        """Copy this checkout, or a commit of it, into the guest. Raise CalledProcessError if there
        is no such commit."""
        pack = ["tar", "--create", "--exclude=__pycache__", "--directory", str(CHECKOUT)]
        if commit:
            pack = [*GIT, "archive", commit]
        archive = subprocess.run([*pack, *SOURCES.split()], capture_output=True, check=True).stdout
        folder = f"'{self.checkout}'"
        unpack = f"rm -rf {folder} && mkdir -p {folder} && tar --extract -C {folder}"
        subprocess.run(
            self.enter(f"{unpack} && chown -R 1234:1234 {folder}"), input=archive, check=True
        )

    def install(
        self, arguments: str = "", check: bool = True, before: str = "cd /"
    ) -> subprocess.CompletedProcess[str]:
        """Run install.sh with an odd umask and the C locale, as a careful administrator might."""
        command = f"umask 077; {before}; '{self.checkout}/scripts/install.sh' {arguments}"
        return self.run(command, check=check, limit=BUILDING)

    def main_pid(self) -> int:
        return int(self.output("systemctl show raspi-server --property MainPID --value"))
