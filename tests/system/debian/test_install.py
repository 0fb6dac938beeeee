"""From a checkout to a running service: scripts/install.sh on a new Debian. The tests run in their
order."""

import re

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.guest import ADDRESS, PIP

PYTHON = "/opt/raspi-server/current/venv/bin/python -I"
RELEASE = r"raspi-server \d+\.\d+\.\d+-\d+ runs"
one_debian = pytest.mark.one_debian


@one_debian
def test_nothing_changes_before_an_installation(bare: Service) -> None:
    """--dry-run prints each step, and --version the version of the checkout, for any user. A wrong
    option prints the right ones and ends with status 2. Without root, on another architecture, with
    an old Python, or without space, the reason is printed. Nothing changes."""
    guest = bare.guest
    guest.run("touch /tmp/before")
    said = guest.install("--dry-run").stdout
    for part in ("user raspi-server", "Building release", "config.yaml", "raspi-server.service"):
        assert part in said
    assert "Nothing was done." in said
    for arguments in ("--port 0", "--port 65536", "--port", "--port x", "--help"):
        done = guest.install(arguments, check=False)
        assert done.returncode == 2, arguments
        assert "--rollback" in done.stdout and "Not done" not in done.stdout

    path = f"{guest.checkout}/scripts/install.sh"
    command = f"setpriv --reuid 1234 --clear-groups '{path}'"
    assert re.fullmatch(r"raspi-server \d+\.\d+\.\d+", guest.output(command + " --version"))
    hide = "mount --bind /bin/false $(readlink -f /usr/bin/python3)"
    for script, reason in (
        (command, f"This needs root: sudo {path}"),
        (f"dpkg() {{ echo riscv64; }}; export -f dpkg; '{path}'", "this machine is riscv64"),
        (f"unshare --mount sh -c '{hide}; exec \"{path}\"'", "needs Python 3.11 or newer"),
        (f"df() {{ echo 1024; }}; export -f df; '{path}'", "has 1 MB left; 200 MB are needed"),
    ):
        done = guest.run(script, check=False)
        assert (done.returncode, reason in done.stdout) == (1, True), done.stdout
    found = "find / -xdev -newer /tmp/before -not -path '/tmp*' -not -path '/var/log/*'"
    assert guest.output(found + " -not -type d") == ""
    assert guest.run("id raspi-server", check=False).returncode == 1


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
    assert len(links) == 1, "for switching; everyone may view"
    units = "raspi-server raspi-server-cert.timer"
    assert guest.output(f"systemctl is-active {units}") == "active\nactive"
    assert guest.output(f"systemctl is-enabled {units}") == "enabled\nenabled"
    assert bare.get()["reasons"] == []
    assert guest.output(f"stat -c %U /proc/{guest.main_pid()}") == "raspi-server"


def test_private_files_are_private_and_the_others_readable(bare: Service) -> None:
    """The keys belong to root, and the service reads only its own key. With any umask, all users
    can read everything else but the configuration and the lock of the certificate."""
    names = ("config.yaml", "tls/.lock", "tls/ca.key", "tls/server.key")
    places = "/opt/raspi-server /etc/raspi-server /usr/local/bin/raspi-server"
    hidden = bare.guest.output(f"find {places} ! -perm -o=r -printf '%P %u:%g %m\\n' | sort")
    owners = ("root:raspi-server 640", "root:root 600", "root:root 600", "root:raspi-server 640")
    assert hidden.splitlines() == [" ".join(each) for each in zip(names, owners, strict=True)]
    assert bare.guest.output("find /opt/raspi-server ! -user root") == ""


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


@one_debian
def test_lgpio_is_apts_and_the_other_packages_are_not(bare: Service) -> None:
    """On Raspberry Pi OS a release uses apt's lgpio, but Tornado and the rest in the versions it
    was made for. Without a network it is built from the packages of the last installation."""
    guest, before = bare.guest, bare.release()
    guest.run(PACKAGE)
    guest.write("/etc/pip.conf", "[global]\nindex-url = http://127.0.0.1:9/simple\n")
    try:
        guest.install()
    finally:
        guest.write("/etc/pip.conf", PIP)
    assert bare.release() != before
    where = guest.output(f"{PYTHON} -c 'import lgpio, tornado; print(lgpio.__file__)'")
    assert where == "/usr/lib/python3/dist-packages/lgpio.py"
    assert guest.output(f"{PYTHON} -c 'import tornado; print(tornado.version)'") != "of apt"
    assert bare.is_serving()
    guest.run("dpkg --purge python3-lgpio; rm -r /tmp/deb /tmp/lgpio.deb")
    guest.install()
    assert bare.release() == before
    assert "dist-packages" not in guest.output(f"{PYTHON} -c 'import sys; print(sys.path)'")
    assert bare.is_serving()


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
    guest.run(f"'{guest.checkout}/scripts/make-cert.sh'")
