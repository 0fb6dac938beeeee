"""scripts/install.sh run again while the service runs, from the same checkout or a newer one: it
uses an edited configuration and switches to a newer release, or leaves everything as it was."""

import re
import urllib.request

import pytest

from tests.system.debian.conftest import PORT, Service
from tests.system.debian.guest import ADDRESS
from tests.system.debian.test_from_release import SIGN_IN_AGAIN

pytestmark = pytest.mark.one_debian

OTHER = PORT + 1
AVAHI = "/etc/avahi/services/raspi-server.service"

# Edits that break a release: a module, a text in it, and the text that replaces it.
UNHEALTHY = ("status.py", "        failures = []\n", "        failures = ['for a test']\n")
NOT_IMPORTABLE = ("server.py", "import asyncio\n", "raise SystemExit(3)\nimport asyncio\n")
DIES_AT_START = ("cli/main.py", "    faulthandler.enable()", "    1 / 0\n    faulthandler.enable()")


def test_second_run_uses_what_was_edited_and_viewers_stay(service: Service) -> None:
    """A second run without an edit writes no file, sends viewers no `hello` and logs nothing.
    Another port, and an edited address with http, are used without a restart, and WebSockets stay.
    Avahi announces the change when the server uses it. Lines of `systemctl edit` stay."""
    announcement = r"<(?:type|port)>(\S+)</"
    service.drop_in("Environment=MINE=1")
    guest, pid, cursor = service.guest, service.guest.main_pid(), service.cursor()
    with service.viewer() as phone:
        phone.receive("state")
        guest.run("touch /run/before")
        said = guest.install(before="cd /tmp && mkdir -p x && cd x").stdout
        assert "one more phone in: sudo raspi-server code --qr" in said
        assert "Building" not in said and "#token=" not in said
        written = "find /opt/raspi-server /etc /usr/local -newer /run/before ! -type d"
        assert guest.output(written) == ""
        phone.send(type="set", pin="none", value=1)
        kinds = set()
        while "error" not in kinds:
            kinds.add(phone.receive()["type"])
        assert "hello" not in kinds
        assert (guest.main_pid(), service.journal(cursor)) == (pid, "")
        assert f":{OTHER}/" in guest.install(f"--port {OTHER}").stdout
        assert Service(guest, OTHER).is_serving()
        assert not service.is_serving()
        service.edit('address: ""', f"address: {ADDRESS}")
        service.edit("ssl: true", "ssl: false")
        guest.run("systemctl start raspi-server-cert")
        assert re.findall(announcement, guest.output(f"cat {AVAHI}")) == ["_https._tcp", str(OTHER)]
        assert f"http://raspberrypi.local:{OTHER}/" in guest.install().stdout
        phone.receive("state")
    with guest.network(), urllib.request.urlopen(f"http://{ADDRESS}:{OTHER}/api/health") as said:
        assert said.status == 200
    assert guest.main_pid() == pid
    assert re.findall(announcement, guest.output(f"cat {AVAHI}")) == ["_http._tcp", str(OTHER)]
    assert "MINE=1" in service.show("Environment")


def test_port_of_another_program_is_refused(service: Service) -> None:
    """If another program uses the edited port, install.sh names it before it changes anything. The
    same port at another address is no obstacle."""
    guest, pid, before = service.guest, service.guest.main_pid(), service.config()
    for held, address, is_in_the_way in [
        ("", "", True),
        (ADDRESS, "", True),
        ("127.0.0.1", ADDRESS, False),
    ]:
        text = before.replace(f"port: {PORT}", f"port: {OTHER}")
        service.configure(text.replace('address: ""', f'address: "{address}"'))
        with guest.listening(OTHER, held):
            done = guest.install(check=False)
        assert done.returncode == int(is_in_the_way), (held, address)
        assert (f"Port {OTHER} is in use by python3" in done.stdout) == is_in_the_way
        assert guest.main_pid() == pid
        assert service.is_serving() == is_in_the_way


# Functions of install.sh: it sees no other program, and it waits in vain for the reload as soon as
# the server has logged why it did not move.
BLIND = """
ss() { :; }
sleep() {
    until journalctl -u raspi-server -o cat --after-cursor="$cursor" | grep 'Address already'; do
        command sleep 0.2
    done >/dev/null
    SECONDS=$((SECONDS + 30))
}
export -f ss sleep
"""


def test_configuration_that_the_running_server_rejects(service: Service) -> None:
    """If the port is taken after the check, the server logs why it did not move and goes on, and
    install.sh fails with that. The change of --port is undone."""
    guest, pid, before = service.guest, service.guest.main_pid(), service.config()
    for arguments in (f"--port {OTHER}", ""):
        blind = f"{BLIND}export cursor='{service.cursor()}'"
        with guest.listening(OTHER):
            if not arguments:
                service.edit(f"port: {PORT}", f"port: {OTHER}")
            done = guest.install(arguments, check=False, before=blind)
        assert done.returncode == 1
        assert f"port {OTHER}: Address already in use" in done.stdout
        assert "The running server did not take" in done.stdout
        assert guest.main_pid() == pid
        if arguments:
            assert service.config() == before
            service.wait_until_serving()
    assert service.get()["status"] == "degraded"


def test_release_that_fails_is_replaced_by_the_one_before(service: Service) -> None:
    """If the new release rejects the configuration, or cannot be built, the running one stays
    active. If the new one does not come up, the old one serves again, and install.sh prints the
    last log lines of the new one."""
    guest, before, text = service.guest, service.release(), service.config()
    for edit, messages in (
        (NOT_IMPORTABLE, ["could not be built"]),
        (DIES_AT_START, ["did not come up; {} runs again", "ZeroDivisionError"]),
        (UNHEALTHY, ["did not come up; {} runs again", "for a test"]),
    ):
        guest.put_checkout()
        module, old, new = edit
        wait = "wait_healthy_s: float = "
        service.edit(old, new, f"{guest.checkout}/raspi_server/{module}")
        service.edit(f"{wait}10", f"{wait}1", f"{guest.checkout}/raspi_server/limits.py")
        if edit is DIES_AT_START:
            pid = guest.main_pid()
            service.edit("interval: 0.1", "interval: often")
            done = guest.install(check=False)
            assert done.returncode == 1
            assert re.search(r"config.yaml:\d+: interval: expected", done.stdout)
            assert f"still in place: {before}" in done.stdout
            assert (service.release(), guest.main_pid()) == (before, pid)
            service.configure(text)
        done = guest.install(check=False)
        assert done.returncode == 1
        for message in messages:
            assert message.format(before) in done.stdout
        assert service.release() == before
        assert service.releases() == [before]
        assert service.is_serving()


def test_power_cut_during_an_upgrade_leaves_the_old_release_or_the_new_one(
    service: Service,
) -> None:
    """Whenever the power goes, the next boot serves. Running the installation again completes it,
    also with `view: code`, and leaves this release and the one before."""
    guest, before = service.guest, service.release()
    text = '"""A newer one."""\n\n__version__ = "9.0.0"\n'
    guest.write(f"{guest.checkout}/raspi_server/__init__.py", text)
    for moment in ("Building release", "Checking", "Refreshing", "Switching", "Starting"):
        with guest.running(f"'{guest.checkout}/scripts/install.sh'", until=moment):
            pass
        # As at a boot, systemd reads all units and starts the enabled ones.
        guest.run("systemctl daemon-reload; systemctl stop raspi-server")
        guest.run("systemctl start multi-user.target raspi-server")
        service.wait_until_serving()
        assert service.get("/api")["version"] in ("9.0.0", before.partition("-")[0])
        guest.run(f"ln -sfn releases/{before} /opt/raspi-server/current")
    guest.run("cd /opt/raspi-server && mkdir -p releases/7.0.0-9{8,9} wheels.new")
    guest.run("touch /opt/raspi-server/releases/7.0.0-99/{complete,fingerprint}")
    service.edit("view: everyone", "view: code")
    assert SIGN_IN_AGAIN not in guest.install().stdout
    assert service.release().startswith("9.0.0-")
    assert set(service.releases()) == {before, service.release()}
    assert guest.run("ls /opt/raspi-server/wheels.new", check=False).returncode
    assert service.get() == {"status": "ok"}
    assert f"port {PORT} answers: ok" in guest.run("raspi-server doctor", False).stdout


def test_other_python_version_is_reported_and_repaired(service: Service) -> None:
    """After an upgrade of the operating system the journal says what to do, systemd does not try
    again, and install.sh builds the release again. It starts a service that failed. Only one
    install.sh runs at a time."""
    guest = service.guest
    python = guest.output("ls /opt/raspi-server/current/venv/bin/python3.*")
    system_python = guest.output(f"readlink {python}")
    guest.run(f"ln -sfn {system_python}.gone {python}")
    cursor = service.cursor()
    assert guest.run("systemctl restart raspi-server", check=False).returncode == 1
    assert "was installed for another Python" in service.journal(cursor)
    assert "sudo scripts/install.sh" in service.journal(cursor)
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "78")
    assert "sudo scripts/install.sh" in guest.run("raspi-server check", check=False).stdout
    assert "Building release" in guest.install("--dry-run").stdout
    guest.run(f"ln -sfn {system_python} {python}")
    service.edit(f"port: {PORT}", f"port: {OTHER}")
    lock = "bash -c 'exec 9>/run/raspi-server-install.lock; flock 9; echo 1; sleep 99'"
    with guest.running(lock):
        done = guest.install(check=False)
    assert done.returncode == 1
    assert "Another install.sh is running" in done.stdout
    guest.install()
    assert Service(guest, OTHER).is_serving()
