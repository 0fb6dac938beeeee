"""From a checkout to a running service: scripts/install.sh on a new Debian. The tests run in their
order."""

import contextlib
import re
from collections.abc import Iterator

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.guest import ADDRESS, Guest

PYTHON = "/opt/raspi-server/current/venv/bin/python -I"
RELEASE = r"raspi-server \d+\.\d+\.\d+-\d+ runs"
one_debian = pytest.mark.one_debian


@contextlib.contextmanager
def running(guest: Guest, script: str) -> Iterator[None]:
    """Run a script in the guest, from its first line of output to the end of the block."""
    process = guest.start(f"exec {script}")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() in ("1\n", "\n")
        yield
    finally:
        guest.kill(process)


def listening(
    guest: Guest, port: int, address: str = ""
) -> contextlib.AbstractContextManager[None]:
    """Listen with another program on a port of the guest."""
    socket = f"s = socket.create_server(('{address}', {port}))"
    return running(guest, f'python3 -c "import socket; {socket}; print(1, flush=True); s.accept()"')


def stub(service: Service, name: str, script: str) -> str:
    """Return the shell line that replaces a command of the machine."""
    service.guest.run("rm -rf /tmp/stubs; mkdir /tmp/stubs")
    service.guest.write(f"/tmp/stubs/{name}", f"#!/bin/sh\n{script}\n")
    service.guest.run(f"chmod +x /tmp/stubs/{name}")
    return "PATH=/tmp/stubs:$PATH; cd /"


@one_debian
def test_dry_run_prints_the_steps_and_changes_nothing(bare: Service) -> None:
    """--dry-run prints each step and changes nothing."""
    bare.guest.run("touch /tmp/before")
    said = bare.guest.install("--dry-run").stdout
    for part in ("user raspi-server", "Building release", "config.yaml", "raspi-server.service"):
        assert part in said
    assert "Nothing was done." in said
    found = "find / -xdev -newer /tmp/before -not -path '/tmp*' -not -path '/var/log/*'"
    assert bare.guest.output(found + " -not -type d") == ""
    assert bare.guest.run("id raspi-server", check=False).returncode == 1


@one_debian
def test_any_user_can_ask_for_the_version_but_only_root_can_install(bare: Service) -> None:
    """--version prints the version of the checkout, for any user. Without root an installation ends
    with the command to type."""
    path = f"{bare.guest.checkout}/scripts/install.sh"
    command = f"setpriv --reuid 1234 --clear-groups '{path}'"
    assert re.fullmatch(r"raspi-server \d+\.\d+\.\d+", bare.guest.output(command + " --version"))
    done = bare.guest.run(command, check=False)
    assert done.returncode == 1
    assert f"This needs root: sudo {path}" in done.stdout


@one_debian
def test_wrong_option_prints_all_options(bare: Service) -> None:
    """A wrong option prints the right ones, ends with status 2 and changes nothing."""
    for arguments in ("--port 0", "--port 65536", "--port", "--port x", "--help"):
        done = bare.guest.install(arguments, check=False)
        assert done.returncode == 2, arguments
        assert "--rollback" in done.stdout
        assert "Not done" not in done.stdout


@one_debian
def test_unsuitable_machine_is_refused(bare: Service) -> None:
    """A machine of another architecture, without space or with an old Python is refused before
    anything changes."""
    script = f"{bare.guest.checkout}/scripts/install.sh"
    hide = "mount --bind /bin/false $(readlink -f /usr/bin/python3)"
    old_python = f"unshare --mount sh -c '{hide}; exec \"{script}\"'"
    for command, reason in (
        (f"{stub(bare, 'dpkg', 'echo riscv64')}; '{script}'", "this machine is riscv64"),
        (old_python, "needs Python 3.11 or newer"),
    ):
        done = bare.guest.run(command, check=False)
        assert (done.returncode, reason in done.stdout) == (1, True), done.stdout
    full = stub(bare, "df", "echo Avail; echo 1024")
    done = bare.guest.install(check=False, before=full)
    assert done.returncode == 1
    assert "has 1 MB left; 200 MB are needed" in done.stdout
    assert bare.guest.run("test -e /opt/raspi-server", check=False).returncode == 1


@one_debian
def test_port_of_another_program_is_refused(bare: Service) -> None:
    """The other program is named before anything is built."""
    with listening(bare.guest, bare.port):
        done = bare.guest.install(f"--port {bare.port}", check=False)
    assert done.returncode == 1
    assert re.search(rf"Port {bare.port} is in use by python3 \(process \d+\)", done.stdout)
    assert "--port" in done.stdout
    assert "Building" not in done.stdout


def test_new_machine_ends_with_the_service_running(bare: Service) -> None:
    """After one command the page is served over https, with a certificate of this Pi's authority.
    The addresses, the sign-in links and the next step are printed."""
    guest = bare.guest
    said = guest.install(f"--port {bare.port}").stdout
    assert re.search(RELEASE, said)
    for host in ("raspberrypi.local", ADDRESS):
        assert f"    https://{host}:{bare.port}/\n" in said
    assert "systemctl reload raspi-server" in said
    facts = bare.get("/trust/authority.json")
    assert f"http://raspberrypi.local:{bare.port}/trust\n" in said and facts["fingerprint"] in said
    links = re.findall(rf"https://\S+\.local:{bare.port}/#token=[\w-]{{22}}\n", said)
    assert len(links) == 2, "one for viewing, one for switching"
    units = "raspi-server raspi-server-cert.timer"
    assert guest.output(f"systemctl is-active {units}") == "active\nactive"
    assert guest.output(f"systemctl is-enabled {units}") == "enabled\nenabled"
    assert bare.get()["reasons"] == []
    has_lgpio = guest.run(f"{PYTHON} -c 'import _lgpio'", check=False).returncode == 0
    assert ("simulated pins only" in said) == (not has_lgpio)
    assert guest.output("raspi-server --version").startswith("raspi-server ")
    assert guest.output(f"stat -c %U /proc/{guest.main_pid()}") == "raspi-server"


def test_private_files_are_private_and_the_others_readable(bare: Service) -> None:
    """The keys belong to root, and the service reads only its own key. With any umask, all users
    can read everything else but the configuration."""
    keys = "stat -c '%U:%G %a' /etc/raspi-server/tls/ca.key /etc/raspi-server/tls/server.key"
    assert bare.guest.output(keys) == "root:root 600\nroot:raspi-server 640"
    assert bare.guest.output("stat -c '%U:%G %a' /etc/raspi-server/config.yaml") == (
        "root:raspi-server 640"
    )
    places = "/opt/raspi-server /etc/raspi-server /etc/raspi-server/www /usr/local/bin/raspi-server"
    assert bare.guest.output(f"find {places} -path '*/tls/*' -prune -o ! -perm -o=r -print") == (
        "/etc/raspi-server/config.yaml"
    )
    assert bare.guest.output("find /opt/raspi-server ! -user root") == ""


def test_second_run_changes_nothing(bare: Service) -> None:
    """A second run builds nothing and writes no file, and the service goes on without a reload."""
    before = bare.guest.main_pid(), bare.release()
    bare.guest.run("touch /tmp/before; sleep 0.1")
    said = bare.guest.install(f"--port {bare.port}", before="cd /tmp && mkdir -p x && cd x").stdout
    assert re.search(RELEASE, said)
    assert "Building" not in said
    assert "#token=" not in said
    assert (bare.guest.main_pid(), bare.release()) == before
    places = "/opt/raspi-server /etc /usr/local"
    assert bare.guest.output(f"find {places} -newer /tmp/before ! -type d") == ""


@one_debian
def test_without_a_network_the_last_packages_are_used(bare: Service) -> None:
    """Without a network, another release is built from the packages of the last installation. With
    --no-start the running service is left alone."""
    guest, pid = bare.guest, bare.guest.main_pid()
    before = bare.release()
    guest.write("/etc/pip.conf", "[global]\nindex-url = http://127.0.0.1:9/simple\n")
    bare.edit("raspi_server/__init__.py", '"0.', '"1.')
    try:
        said = guest.install("--no-start").stdout
    finally:
        text = "[global]\nno-index = true\nfind-links = /var/cache/wheels\n"
        guest.write("/etc/pip.conf", text)
        guest.put_checkout()
    assert re.search(r"Release 1\.\d+\.\d+-\d+ starts with the next boot", said)
    assert guest.main_pid() == pid
    assert bare.release().startswith("1.")
    guest.install()
    assert (bare.release(), bare.get("/api")["version"]) == (before, before.partition("-")[0])


@one_debian
def test_low_port_is_permitted_only_while_it_is_configured(bare: Service) -> None:
    """--port changes one line of the configuration, and the service moves. For a port below 1024
    it gets the one capability that this needs, and loses it with the next port."""
    before = bare.config()
    try:
        bare.guest.install("--port 83")
        assert bare.config() == before.replace(f"port: {bare.port}", "port: 83")
        assert bare.show("AmbientCapabilities") == "cap_net_bind_service"
        assert Service(bare.guest, 83).is_serving()
        assert not bare.is_serving()
    finally:
        bare.guest.install(f"--port {bare.port}")
    assert bare.show("AmbientCapabilities") == ""
    assert bare.is_serving()


PACKAGE = """
mkdir -p /tmp/deb/DEBIAN /tmp/deb/usr/lib/python3/dist-packages/tornado-6.2.dist-info
cd /tmp/deb/usr/lib/python3/dist-packages
touch lgpio.py _lgpio.py
mkdir tornado
echo 'version = "of apt"' >tornado/__init__.py
printf 'Metadata-Version: 2.1\\nName: tornado\\nVersion: 99\\n' >tornado-6.2.dist-info/METADATA
cat >/tmp/deb/DEBIAN/control <<'CONTROL'
Package: python3-lgpio
Version: 0.2.2
Architecture: all
Maintainer: test <test@example.org>
Description: stands for the one of Raspberry Pi OS
CONTROL
dpkg-deb --build /tmp/deb /tmp/lgpio.deb
dpkg --install /tmp/lgpio.deb
"""


def test_lgpio_is_apts_and_the_other_packages_are_not(bare: Service) -> None:
    """On Raspberry Pi OS the release uses apt's lgpio, but Tornado and the rest in the versions it
    was made for."""
    bare.guest.run(PACKAGE)
    try:
        assert "simulated pins only" not in bare.guest.install(f"--port {bare.port}").stdout
        where = bare.guest.output(f"{PYTHON} -c 'import lgpio, tornado; print(lgpio.__file__)'")
        assert where == "/usr/lib/python3/dist-packages/lgpio.py"
        version = bare.guest.output(f"{PYTHON} -c 'import tornado; print(tornado.version)'")
        assert version != "of apt"
        assert bare.is_serving()
    finally:
        bare.guest.run("dpkg --purge python3-lgpio; rm -r /tmp/deb /tmp/lgpio.deb")
        bare.guest.install(f"--port {bare.port}")
    paths = bare.guest.output(f"{PYTHON} -c 'import sys; print(sys.path)'")
    assert "dist-packages" not in paths
    assert bare.is_serving()


@one_debian
def test_root_changes_nothing_in_a_folder_that_the_service_can_write_to(bare: Service) -> None:
    """If the service could put links in a folder for root to follow, the scripts change nothing and
    print the command that corrects it."""
    guest = bare.guest
    folder = "/etc/raspi-server/tls"
    for command in (f"chown raspi-server {folder}", f"chmod o+w {folder}"):
        guest.run(command)
        before = guest.output(f"ls -la --time-style=full-iso {folder}")
        for script in ("install.sh", "make-cert.sh"):
            done = guest.run(f"'{guest.checkout}/scripts/{script}'", check=False)
            assert done.returncode == 1
            assert f"{folder} can be written by the service or by every user" in done.stdout
        assert guest.output(f"ls -la --time-style=full-iso {folder}") == before
        remedy = re.search(r"sudo (chown .*) && sudo (chmod .*)", done.stdout)
        assert remedy
        guest.run(f"{remedy[1]} && {remedy[2]}")
    assert guest.run(f"'{guest.checkout}/scripts/make-cert.sh'").returncode == 0


@one_debian
def test_owner_and_mode_of_a_linked_key_stay(bare: Service) -> None:
    """A key behind a link belongs to another program: its owner and mode stay."""
    guest, key = bare.guest, "/etc/raspi-server/tls/server.key"
    guest.run(
        f"mv {key} /root/other.key; chown root:root /root/other.key; chmod 600 /root/other.key"
    )
    guest.run(f"ln -s /root/other.key {key}")
    try:
        done = guest.install(check=False)
        assert "server.key: the key cannot be read: Permission denied" in done.stdout
        assert guest.output("stat -c '%U:%G %a' /root/other.key") == "root:root 600"
    finally:
        guest.run(f"mv /root/other.key {key}")
        guest.install()
    assert guest.output(f"stat -c '%U:%G %a' {key}") == "root:raspi-server 640"


@one_debian
def test_service_cannot_lock_the_certificate(bare: Service) -> None:
    """A lock on anything that the service may open does not delay make-cert.sh."""
    guest = bare.guest
    service = "setpriv --reuid raspi-server --regid raspi-server --init-groups"
    take = f"{service} bash -c 'exec 7</etc/raspi-server/tls; flock 7; echo; sleep 99'"
    with running(guest, take):
        guest.run("timeout 30 /opt/raspi-server/current/scripts/make-cert.sh")
    assert guest.run(f"{service} test -r /etc/raspi-server/tls/.lock", check=False).returncode == 1
