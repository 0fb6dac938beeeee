"""The Python packages that scripts/install.sh installs: those of the lock files, as wheels. On
32-bit systems it compiles what has no wheel, but never as root."""

from collections.abc import Iterator

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.guest import PIP

pytestmark = pytest.mark.one_debian

INDEX = "/tmp/index"
KEPT = "/opt/raspi-server/wheels"
GOOD = "/var/cache/wheels/segno-*"
ARMHF = "dpkg() { echo armhf; }; export -f dpkg"
COMPILER = "gcc() { :; }; export -f gcc"
HEADERS = "import sysconfig; print(sysconfig.get_path('include'))"

# What the other user makes is changed before root takes it.
TAMPER = f"""
setsid() {{
    command setsid "$@" || return
    for wheel in {KEPT}.build/segno-*.whl; do
        [[ ! -e $wheel ]] || echo more >>"$wheel"
    done
}}
export -f setsid"""

# Replaces msgspec's wheel by a source package whose build makes that wheel and notes its user.
SOURCE = r"""
import io, pathlib, tarfile
[wheel] = pathlib.Path("/tmp/index").glob("msgspec-*.whl")
version = wheel.name.split("-")[1]
backend = '''
import glob, pathlib, shutil
def build_wheel(folder, *rest):
    pathlib.Path("/tmp/built").touch()
    [wheel] = glob.glob("*.whl")
    return shutil.copy(wheel, folder) and wheel
'''
files = {
    "PKG-INFO": f"Metadata-Version: 2.1\nName: msgspec\nVersion: {version}\n".encode(),
    "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\n'
    b'backend-path = ["."]\n',
    "backend.py": backend.encode(),
    wheel.name: wheel.read_bytes(),
}
with tarfile.open(f"/tmp/index/msgspec-{version}.tar.gz", "w:gz") as archive:
    for name, content in files.items():
        member = tarfile.TarInfo(f"msgspec-{version}/{name}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
wheel.unlink()
"""


@pytest.fixture
def newer(service: Service) -> Iterator[Service]:
    """The service, a newer checkout that is not installed yet, and an index of its own."""
    guest = service.guest
    change_checkout(service, "9.0.0")
    guest.run(f"cp -r /var/cache/wheels {INDEX}")
    guest.write("/etc/pip.conf", PIP.replace("/var/cache/wheels", INDEX))
    yield service
    guest.write("/etc/pip.conf", PIP)
    guest.run(f"rm -rf {INDEX}")


def change_checkout(service: Service, version: str) -> None:
    text = f'"""A newer one."""\n\n__version__ = "{version}"\n'
    service.guest.write(f"{service.guest.checkout}/raspi_server/__init__.py", text)


def test_changed_package_is_not_installed(newer: Service) -> None:
    """A package with another hash is refused, whether the index has it, the last installation, or
    the user that fetches it changed it, and so is one without a wheel. The release before goes on.
    A good one of the index replaces a changed one of the last installation."""
    guest, before = newer.guest, newer.release()
    for change, message, prepare in (
        (f"rm -r {KEPT} {INDEX}/segno-*", "has no wheel for amd64 and Python 3.", "cd /"),
        (f"cp {GOOD} {INDEX}; echo more >>$(ls {INDEX}/segno-*.whl)", "its hash differs", "cd /"),
        (f"cp -r {INDEX} {KEPT}; rm {INDEX}/segno-*", "its hash differs", "cd /"),
        (f"cp {GOOD} {INDEX}; cp {GOOD} {KEPT}", "DO NOT MATCH THE HASHES", TAMPER),
    ):
        guest.run(change)
        done = guest.install(check=False, before=prepare)
        assert done.returncode == 1
        assert message in done.stdout
        assert (newer.release(), newer.releases()) == (before, [before])
        assert newer.is_serving()
    guest.run(f"echo more >>$(ls {KEPT}/segno-*.whl)")
    guest.install()
    assert newer.release().startswith("9.0.0-")
    guest.run(f"cmp {KEPT}/segno-* {INDEX}/segno-*")


def test_32_bit_system_compiles_only_what_is_permitted(newer: Service) -> None:
    """On a 32-bit system install.sh names the packages without a wheel and the line that permits to
    compile them, before anything changes. With a compiler it compiles them, not as root and not as
    the service. Without a network the next release uses them again."""
    guest = newer.guest
    guest.run(f"rm -r {KEPT}")
    guest.run(f"python3 - <<'END'\n{SOURCE}END")
    guest.run("touch /run/before")
    done = guest.install(check=False, before=ARMHF)
    assert done.returncode == 1
    assert "have to be compiled here: msgspec\n" in done.stdout
    assert "sudo apt install build-essential python3-dev\n" in done.stdout
    assert "Building" not in done.stdout
    changed = "find /opt /etc /usr /var/lib/raspi-server -newer /run/before ! -type d"
    assert guest.output(changed) == ""
    headers = guest.output(f'/usr/bin/python3 -c "{HEADERS}"')
    guest.run(f"mkdir -p {headers} && touch {headers}/Python.h")
    said = guest.install(before=f"{ARMHF}; {COMPILER}").stdout
    assert "compiled (an hour on a small Pi): msgspec\n" in said
    assert guest.output("stat -c %U /tmp/built") == "raspi-server-build"
    assert guest.output(f"find {KEPT} ! -user root") == ""
    assert newer.release().startswith("9.0.0-")
    assert newer.is_serving()
    guest.run(f"rm -r {headers} {INDEX}")
    change_checkout(newer, "9.0.1")
    assert "compiled" not in guest.install(before=ARMHF).stdout
    assert newer.release().startswith("9.0.1-")
    assert newer.is_serving()
