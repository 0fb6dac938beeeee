"""Root and the files that the service may write: root follows no link, waits for no FIFO, and reads
no file without an end."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.config.source import SYSTEM_FILE
from raspi_server.system import storage
from tests.cli.test_command_line import run
from tests.support.coded_server import CODE, CodedServer
from tests.support.server import LIMIT, check_end, free_port
from tests.web.test_trust import make_authority

SERVICE = 4321
"""The number of a user who is nobody here."""
MEMORY = 1 << 30

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand folders to others")


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that belongs to the service, where the service can reach it."""
    outside = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
    outside.chmod(0o755)
    folder = outside / "state"
    folder.mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(folder, SERVICE, SERVICE)
    yield folder
    shutil.rmtree(outside)


def code(state: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`raspi-server code …` as root runs it. More memory than a Pi Zero has, it does not get."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "raspi_server", "code", *arguments],
        env={**os.environ, "STATE_DIRECTORY": str(state), "PATH": ""},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


SWAP = """
import os, sys

folder, victim, user = sys.argv[1:]
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
os.chdir(folder)
print("swapping", flush=True)
names = {"access.new"}
while os.getppid() != 1:
    names.update(name for name in os.listdir() if name.endswith(".new"))
    for name in [*names, "access.json"]:
        try:
            os.symlink(victim, "link")
            os.rename("link", name)
        except OSError:
            pass
    if len(names) > 3:
        names = {"access.new"}
"""
"""A service that was taken over: whatever root writes in its folder, it makes a link of."""


@as_root
def test_root_follows_no_link_of_the_service(state: Path) -> None:
    """While the service swaps every file in its folder for a link, as fast as it can, root makes
    new codes; what the link leads to stays as it was, and root's."""
    victim = state.parent / "shadow"
    victim.write_text("root's own")
    victim.chmod(0o600)
    swapping = subprocess.Popen(
        [sys.executable, "-I", "-c", SWAP, state, victim, str(SERVICE)], stdout=subprocess.PIPE
    )
    try:
        assert swapping.stdout and swapping.stdout.readline()
        for _ in range(30):
            made = code(state, "--new", "control")
            assert made.returncode in (0, 1), made.stderr
            assert "Traceback" not in made.stderr
            found = victim.stat()
            assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, 0o600)
            assert victim.read_text() == "root's own"
    finally:
        swapping.kill()
        swapping.communicate()
    (state / "access.json").unlink()
    assert CODE.search(code(state, "--new", "control").stdout)


@as_root
def test_what_root_writes_belongs_to_the_service(state: Path) -> None:
    """A code that root makes can be read by the service, and by nobody else."""
    assert code(state, "--new", "control").returncode == 0
    found = (state / "access.json").stat()
    assert (found.st_uid, found.st_gid, found.st_mode) == (SERVICE, SERVICE, 0o100600)
    assert "there is one" in code(state).stdout


@as_root
def test_root_is_root_again_afterwards(state: Path) -> None:
    """Only while it is in the service's folder does root act as the service."""
    before = os.getegid(), os.getgroups()
    with pytest.raises(ValueError, match="in between"), storage.as_owner(state):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (SERVICE, SERVICE, [SERVICE])
        raise ValueError("in between")
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, *before)


def _large(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(1 << 30)


MISCHIEF: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (os.mkfifo, "a FIFO"),
    "zeros": (lambda file: file.symlink_to("/dev/zero"), "a link"),
    "large": (_large, f"{1 << 30} bytes"),
    "folder": (lambda file: (file / "in").mkdir(parents=True), "a folder"),
    "socket": (lambda file: os.mknod(file, stat.S_IFSOCK | 0o600), "a socket"),
}


@pytest.mark.parametrize(("put", "kind"), MISCHIEF.values(), ids=MISCHIEF)
def test_no_file_hangs_the_command_or_eats_memory(
    state: Path, put: Callable[[Path], None], kind: str
) -> None:
    """Whatever lies in the place of the codes, the command ends, says what it found, and how that
    is mended; a new code mends it by itself, unless it is a folder."""
    file = state / "access.json"
    put(file)
    if os.geteuid() == 0:
        os.chown(file, SERVICE, SERVICE, follow_symlinks=False)
    said = code(state)
    words = f"{file}: expected a file of at most 64 KiB, found {kind}: sudo rm -r {file}"
    assert words in said.stderr
    assert "control:  for viewing and switching: none yet" in said.stdout
    made = code(state, "--new", "control")
    if kind == "a folder":
        assert made.returncode == 1
        assert f"{file}: Is a directory: sudo rm -r {file}" in made.stderr
    else:
        assert CODE.search(made.stdout), made.stderr
        assert file.is_file() and not file.is_symlink()


@pytest.mark.parametrize(("put", "kind"), MISCHIEF.values(), ids=MISCHIEF)
def test_no_file_hangs_the_service(tmp_path: Path, put: Callable[[Path], None], kind: str) -> None:
    """A service whose kept levels, codes and configuration are no files starts as if there were
    none, and says so once for each."""
    home = CodedServer.__new__(CodedServer)
    (tmp_path / "state").mkdir()
    for name in ("access.json", "levels.json", "last-good.json"):
        put(tmp_path / "state" / name)
    home.__init__(tmp_path, "{}")  # type: ignore[misc]
    for name in ("access.json", "levels.json", "last-good.json"):
        home.server.wait_for_log(rf"{name}: .*found {kind}")
    assert home.ask("GET", "/api/pins").status == 200
    check_end(home.server)


def test_two_writers_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    """However the writes of two processes fall, a reader finds what one of them has written."""
    writer = """
import sys
from pathlib import Path
from raspi_server.system import storage

for _ in range(300):
    storage.replace(Path(sys.argv[1]), sys.argv[2].encode() * 4000, durable=False)
"""
    file = tmp_path / "levels.json"
    file.write_bytes(b"a" * 4000)
    writers = [subprocess.Popen([sys.executable, "-c", writer, file, mark]) for mark in "ab"]
    while any(each.poll() is None for each in writers):
        found = storage.read(file, 4000)
        assert found in (b"a" * 4000, b"b" * 4000)
    assert [each.returncode for each in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [file]


# Configuration that root reads in a working directory


@as_root
def test_root_takes_no_configuration_that_another_has_left(tmp_path: Path) -> None:
    """A configuration names files to read and brokers to sign in at: root reads one from the
    working directory only if it is root's, or if the command names it."""
    if SYSTEM_FILE.exists():
        pytest.skip("the service is installed on this machine")
    file = tmp_path / "config.yaml"
    file.write_text("port: 8080\n")
    assert run("check", cwd=tmp_path).returncode == 0
    os.chown(file, SERVICE, SERVICE)
    for command in ("check", "doctor", "code"):
        refused = run(command, cwd=tmp_path)
        assert refused.returncode == 78
        assert f"{file}: it belongs to another user" in refused.stderr
    assert run("check", str(file)).returncode == 0


# Files that nobody else may read


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with a configuration whose every secret stands in a file of its own."""
    make_authority(tmp_path)
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o640)
    (tmp_path / "config.yaml").write_text(
        f"port: {free_port()}\nssl: true\ngpio: simulated\nmqtt:\n"
        "  url: mqtt://127.0.0.1:9\n  user: me\n  password_file: password\n"
    )
    return tmp_path


SECRETS = ("tls/server.key", "tls/ca.key", "password")


def test_a_secret_that_is_one_is_not_worth_a_word(keys: Path) -> None:
    """What only its owner, and a group, may read is as it should be."""
    checked = run("check", str(keys / "config.yaml"))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "secrets" not in run("doctor", "--config", str(keys / "config.yaml")).stdout


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    ("mode", "verbs"), [(0o644, "read"), (0o602, "change"), (0o666, "read and change")]
)
def test_a_secret_that_others_can_read_is_said(
    keys: Path, secret: str, mode: int, verbs: str
) -> None:
    """A key, or the file of the password, that everybody on the Pi can read is named by `check`,
    which lets it pass, and by doctor, with the command that mends it; and that does."""
    file = keys / secret
    file.chmod(mode)
    words, remedy = f"{file}: everybody on this machine can {verbs} it", f"sudo chmod o= {file}"
    checked = run("check", str(keys / "config.yaml"))
    assert (checked.returncode, checked.stderr) == (0, f"warning: {words}: {remedy}\n")
    found = run("doctor", "--config", str(keys / "config.yaml")).stdout
    assert f"error  secrets      {words}\n{'':<19} -> {remedy}\n" in found
    subprocess.run(remedy.removeprefix("sudo "), shell=True, check=True)
    assert run("check", str(keys / "config.yaml")).stderr == ""


@as_root
def test_a_secret_of_another_user_is_said(keys: Path) -> None:
    """Who owns a key can read it, whatever its mode."""
    file = keys / "password"
    os.chown(file, SERVICE, 0)
    words = f"{file}: it belongs to the user {SERVICE}, who can read and change it"
    checked = run("check", str(keys / "config.yaml"))
    assert (checked.returncode, checked.stderr) == (
        0,
        f"warning: {words}: sudo chown root {file}\n",
    )
