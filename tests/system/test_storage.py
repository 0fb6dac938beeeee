"""Files that the service may write: root follows no link and hangs at none. Files of secrets."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raspi_server.config.source import SYSTEM_FILE
from tests.cli.test_command_line import run
from tests.support.coded_server import CODE, CodedServer
from tests.support.server import LIMIT, check_end, free_port
from tests.web.test_trust import make_authority

SERVICE = 4321
"""Number of a user that does not exist here."""

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand folders to others")


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that belongs to the service and that the service can reach."""
    outside = Path(tempfile.mkdtemp(prefix="raspi-server-test-"))
    outside.chmod(0o755)
    folder = outside / "state"
    folder.mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(folder, SERVICE, SERVICE)
    yield folder
    shutil.rmtree(outside)


def code(state: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `raspi-server code …`."""
    command = [sys.executable, "-W", "error", "-m", "raspi_server", "code", *arguments]
    variables = {**os.environ, "STATE_DIRECTORY": str(state), "PATH": ""}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=LIMIT)


SWAP = """
import os, sys

folder, victim, user = sys.argv[1:]
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
os.chdir(folder)
print("swapping", flush=True)
while os.getppid() != 1:
    new = {name for name in os.listdir() if name.endswith(".new")}
    for name in {"access.new", "access.json", *new}:
        try:
            os.symlink(victim, "link")
            os.rename("link", name)
        except OSError:
            pass
"""
"""A service that was taken over: it replaces whatever root writes in its folder by a link."""


@as_root
def test_root_follows_no_link_of_the_service(state: Path) -> None:
    """While the service makes links of all files, root makes new codes and follows none."""
    victim = state.parent / "shadow"
    victim.write_text("root's own")
    victim.chmod(0o600)
    swapping = subprocess.Popen(
        [sys.executable, "-I", "-c", SWAP, state, victim, str(SERVICE)], stdout=subprocess.PIPE
    )
    try:
        assert swapping.stdout and swapping.stdout.readline()
        for _ in range(10):
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
    found = (state / "access.json").stat()
    assert (found.st_uid, found.st_gid, found.st_mode) == (SERVICE, SERVICE, 0o100600)
    assert "there is one" in code(state).stdout


def test_obstacle_in_place_of_the_codes_is_reported(state: Path) -> None:
    """The command says what it found, and how to remove it. A new code replaces it."""
    file = state / "access.json"
    os.mkfifo(file)
    if os.geteuid() == 0:
        os.chown(file, SERVICE, SERVICE)
    done = code(state)
    message = f"{file}: expected a file of at most 64 KiB, found a FIFO: sudo rm -r {file}"
    assert message in done.stderr
    assert "control:  for viewing and switching: none yet" in done.stdout
    assert CODE.search(code(state, "--new", "control").stdout)
    assert file.is_file()


def test_obstacles_do_not_hang_the_service(tmp_path: Path) -> None:
    """The service starts as if files that are not small files were missing, and logs each once."""
    state = tmp_path / "state"
    state.mkdir()
    os.mkfifo(state / "access.json")
    (state / "levels.json").symlink_to("/dev/zero")
    (state / "last-good.json").touch()
    os.truncate(state / "last-good.json", 1 << 30)
    coded = CodedServer(tmp_path, "{}")
    coded.server.wait_for_log("access.json: .*found a FIFO: sudo rm -r")
    coded.server.wait_for_log("levels.json: .*found a link: sudo rm -r")
    coded.server.wait_for_log(f"last-good.json: .*found {1 << 30} bytes: sudo rm -r")
    assert coded.ask("GET", "/api/pins").status == 200
    check_end(coded.server)


@as_root
def test_root_reads_no_configuration_of_another_user(tmp_path: Path) -> None:
    """Root reads a configuration of another user only if the command names it."""
    if SYSTEM_FILE.exists():
        pytest.skip("the service is installed on this machine")
    file = tmp_path / "config.yaml"
    file.write_text("port: 8080\n")
    assert run("check", cwd=tmp_path).returncode == 0
    os.chown(file, SERVICE, SERVICE)
    for command in ("check", "code"):
        refused = run(command, cwd=tmp_path)
        assert refused.returncode == 78
        assert f"{file}: it belongs to another user" in refused.stderr
    assert run("check", str(file)).returncode == 0


def test_secret_that_others_can_read_is_reported(tmp_path: Path) -> None:
    """`check` and doctor report secrets that others can read or change, with the remedy."""
    make_authority(tmp_path)
    config, password = tmp_path / "config.yaml", tmp_path / "password"
    password.write_text("secret")
    config.write_text(
        f"port: {free_port()}\nssl: true\ngpio: simulated\nmqtt:\n"
        "  url: mqtt://127.0.0.1:9\n  user: me\n  password_file: password\n"
    )
    remedies = []
    for file, mode, verbs in (
        (tmp_path / "tls/server.key", 0o644, "read"),
        (tmp_path / "tls/ca.key", 0o602, "change"),
        (password, 0o666, "read and change"),
    ):
        file.chmod(mode)
        message, remedy = f"{file}: everybody on this machine can {verbs} it", f"chmod o= {file}"
        remedies.append(remedy)
        assert f"warning: {message}: sudo {remedy}\n" in run("check", str(config)).stderr
    found = run("doctor", "--config", str(config)).stdout
    assert f"error  secrets      {message}\n{'':<19} -> sudo {remedy}\n" in found
    subprocess.run(" && ".join(remedies), shell=True, check=True)
    checked = run("check", str(config))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "secrets" not in run("doctor", "--config", str(config)).stdout
    if os.geteuid() == 0:
        os.chown(password, SERVICE, 0)
        message = f"{password}: it belongs to the user {SERVICE}, who can read and change it"
        stderr = run("check", str(config)).stderr
        assert stderr == f"warning: {message}: sudo chown root {password}\n"
