"""From a checkout to a running service: scripts/install.sh on a fresh Debian."""

import re

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.guest import ADDRESS

PYTHON = "/opt/raspi-server/current/venv/bin/python -I"
RELEASE = r"raspi-server \d+\.\d+\.\d+-\d+ runs"


def test_a_dry_run_says_what_it_would_do_and_does_nothing(bare: Service) -> None:
    """--dry-run prints each step and changes nothing."""
    mark = "touch /tmp/before"
    found = "find / -xdev -newer /tmp/before -not -path '/tmp*' -not -path '/var/log/*'"
    bare.guest.run(mark)
    said = bare.guest.install("--dry-run").stdout
    for part in ("user raspi-server", "Building release", "config.yaml", "raspi-server.service"):
        assert part in said
    assert "Nothing was done." in said
    assert bare.guest.output(found + " -not -type d") == ""
    assert bare.guest.run("id raspi-server", check=False).returncode == 1


def test_nothing_is_asked_of_the_machine_for_the_version(bare: Service) -> None:
    """--version prints the version of the checkout, for any user."""
    command = f"setpriv --reuid 1234 --clear-groups '{bare.guest.checkout}/scripts/install.sh'"
    assert re.fullmatch(r"raspi-server \d+\.\d+\.\d+", bare.guest.output(command + " --version"))


@pytest.mark.parametrize("arguments", ["--port 0", "--port 65536", "--port", "--port x", "--help"])
def test_a_wrong_command_line_is_answered_with_the_right_ones(
    bare: Service, arguments: str
) -> None:
    """A wrong option prints all options and changes nothing."""
    done = bare.guest.install(arguments, check=False)
    assert done.returncode == 2
    assert "--rollback" in done.stdout
    assert "Mend" not in done.stdout


def stub(service: Service, name: str, script: str) -> str:
    """Return the shell line that replaces a command of the machine."""
    service.guest.run("rm -rf /tmp/stubs; mkdir /tmp/stubs")
    service.guest.write(f"/tmp/stubs/{name}", f"#!/bin/sh\n{script}\n")
    service.guest.run(f"chmod +x /tmp/stubs/{name}")
    return "PATH=/tmp/stubs:$PATH; cd /"


@pytest.mark.parametrize(
    ("command", "script", "reason"),
    [
        ("dpkg", "echo riscv64", "this machine is riscv64"),
        ("df", "echo Avail; echo 1024", r"has 1 MB left; 200 MB are needed"),
    ],
)
def test_a_machine_that_will_not_do_is_refused(
    bare: Service, command: str, script: str, reason: str
) -> None:
    """It names what is missing before it changes anything."""
    done = bare.guest.install(check=False, before=stub(bare, command, script))
    assert done.returncode == 1
    assert re.search(reason, done.stdout)
    assert bare.guest.run("test -e /opt/raspi-server", check=False).returncode == 1


def test_an_old_python_is_refused(bare: Service) -> None:
    """A Raspberry Pi OS that is too old is named, not tried."""
    hide = "mount --bind /bin/false $(readlink -f /usr/bin/python3)"
    command = f"unshare --mount sh -c '{hide}; exec \"{bare.guest.checkout}/scripts/install.sh\"'"
    done = bare.guest.run(command, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stdout


def test_only_root_may_install(bare: Service) -> None:
    """Without sudo it prints the line to type."""
    path = f"{bare.guest.checkout}/scripts/install.sh"
    done = bare.guest.run(f"setpriv --reuid 1234 --clear-groups '{path}'", check=False)
    assert done.returncode == 1
    assert f"This needs root: sudo {path}" in done.stdout


def test_a_port_in_use_is_refused_with_the_name_of_its_user(bare: Service) -> None:
    """It names the other server on the port before it builds anything."""
    listen = (
        "import socket,time; s=socket.create_server(('', {})); print(1, flush=True); time.sleep(99)"
    )
    other = bare.guest.start(f'exec python3 -c "{listen.format(bare.port)}"')
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "1\n"
        done = bare.guest.install(f"--port {bare.port}", check=False)
    finally:
        bare.guest.kill(other)
    assert done.returncode == 1
    assert re.search(rf"Port {bare.port} is in use by python3 \(process \d+\)", done.stdout)
    assert "--port" in done.stdout
    assert "Building" not in done.stdout


def test_a_fresh_machine_ends_with_the_service_running(bare: Service) -> None:
    """After one command the page is served over https, with a certificate of this Pi's authority.
    The addresses and the next step are printed."""
    said = bare.guest.install(f"--port {bare.port}").stdout
    assert re.search(RELEASE, said)
    for host in ("raspberrypi.local", ADDRESS):
        assert f"    https://{host}:{bare.port}/\n" in said
    assert "systemctl reload raspi-server" in said
    facts = bare.get("/trust/authority.json")
    assert f"http://raspberrypi.local:{bare.port}/trust\n" in said and facts["fingerprint"] in said
    links = re.findall(rf"https://\S+\.local:{bare.port}/#token=[\w-]{{22}}\n", said)
    assert len(links) == 2, "one for viewing, one for switching"
    assert bare.guest.output("systemctl is-active raspi-server raspi-server-cert.timer") == (
        "active\nactive"
    )
    assert bare.guest.output("systemctl is-enabled raspi-server raspi-server-cert.timer") == (
        "enabled\nenabled"
    )
    assert bare.get()["reasons"] == []
    has_lgpio = bare.guest.run(f"{PYTHON} -c 'import _lgpio'", check=False).returncode == 0
    assert ("simulated pins only" in said) == (not has_lgpio)
    assert bare.guest.output("raspi-server --version").startswith("raspi-server ")
    pid = bare.guest.main_pid()
    assert bare.guest.output(f"stat -c %U /proc/{pid}") == "raspi-server"


def test_what_is_private_is_private_and_the_rest_readable(bare: Service) -> None:
    """The keys belong to root and the service reads only its own. Everything else can be read, with
    any umask."""
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


def test_a_second_run_changes_nothing(bare: Service) -> None:
    """A second run builds nothing, and the service goes on without a reload."""
    before = bare.guest.main_pid(), bare.release()
    bare.guest.run("touch /tmp/before; sleep 0.1")
    said = bare.guest.install(f"--port {bare.port}", before="cd /tmp && mkdir -p x && cd x").stdout
    assert re.search(RELEASE, said)
    assert "Building" not in said
    assert "#token=" not in said
    assert (bare.guest.main_pid(), bare.release()) == before
    places = "/opt/raspi-server /etc /usr/local"
    assert bare.guest.output(f"find {places} -newer /tmp/before ! -type d") == ""


def test_another_port_is_taken_on_and_the_old_one_let_go(bare: Service) -> None:
    """--port changes the one line of the configuration, and the service moves."""
    other = bare.port + 1
    before = bare.guest.output("cat /etc/raspi-server/config.yaml")
    try:
        bare.guest.install(f"--port {other}")
        after = bare.guest.output("cat /etc/raspi-server/config.yaml")
        assert after == before.replace(f"port: {bare.port}", f"port: {other}")
        assert Service(bare.guest, other).is_serving()
        assert not bare.is_serving()
    finally:
        bare.guest.install(f"--port {bare.port}")
    assert bare.is_serving()


def test_what_is_there_already_needs_no_network(bare: Service) -> None:
    """Without a network, another release is built from the packages of the last time."""
    bare.guest.write("/etc/pip.conf", "[global]\nindex-url = http://127.0.0.1:9/simple\n")
    bare.edit("raspi_server/__init__.py", '"0.', '"1.')
    try:
        said = bare.guest.install().stdout
    finally:
        text = "[global]\nno-index = true\nfind-links = /var/cache/wheels\n"
        bare.guest.write("/etc/pip.conf", text)
        bare.guest.put_checkout()
    assert re.search(r"raspi-server 1\.\d+\.\d+-\d+ runs", said)


def test_on_no_start_nothing_is_started(bare: Service) -> None:
    """--no-start makes all ready and leaves what runs alone."""
    before = bare.guest.main_pid()
    said = bare.guest.install("--no-start").stdout
    assert "starts with the next boot" in said
    assert bare.guest.main_pid() == before


@pytest.mark.parametrize("low", [83])
def test_a_low_port_is_permitted_only_while_it_is_configured(bare: Service, low: int) -> None:
    """For a port below 1024 the service gets that one right, and loses it with the next port."""
    show = "systemctl show raspi-server --property AmbientCapabilities --value"
    try:
        bare.guest.install(f"--port {low}")
        assert bare.guest.output(show) == "cap_net_bind_service"
        assert Service(bare.guest, low).is_serving()
    finally:
        bare.guest.install(f"--port {bare.port}")
    assert bare.guest.output(show) == ""
    assert bare.is_serving()


OLD = """
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


def test_lgpio_comes_from_apt_and_nothing_else_does(bare: Service) -> None:
    """On Raspberry Pi OS the release sees apt's lgpio, but Tornado and the rest in the versions it
    was made for, not those of apt."""
    bare.guest.run(OLD)
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


def test_root_lays_its_hands_on_no_folder_of_the_service(bare: Service) -> None:
    """If the service could put links in a folder for root to follow, the scripts change nothing and
    print the command that mends it."""
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
        mend = re.search(r"sudo (chown .*) && sudo (chmod .*)", done.stdout)
        assert mend
        guest.run(f"{mend[1]} && {mend[2]}")
    assert guest.run(f"'{guest.checkout}/scripts/make-cert.sh'").returncode == 0


def test_a_key_that_is_a_link_is_left_as_it_is(bare: Service) -> None:
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


def test_a_lock_that_the_service_cannot_take(bare: Service) -> None:
    """The service cannot hold up the certificate by a lock on what it may open."""
    guest = bare.guest
    service = "setpriv --reuid raspi-server --regid raspi-server --init-groups"
    take = f"exec {service} bash -c 'exec 7</etc/raspi-server/tls; flock 7; echo; sleep 99'"
    lock = guest.start(take)
    assert lock.stdout is not None
    try:
        assert lock.stdout.readline() == "\n"
        guest.run("timeout 30 /opt/raspi-server/current/scripts/make-cert.sh")
    finally:
        guest.kill(lock)
    assert guest.run(f"{service} test -r /etc/raspi-server/tls/.lock", check=False).returncode == 1
