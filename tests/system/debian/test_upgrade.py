"""A newer checkout over a running service: scripts/install.sh switches, or leaves all as it was."""

import re

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.guest import BUILDING

# Edits that break a release: a module, a text in it, and what takes its place.
# tests/cli/test_command_line.py checks that the texts are there.
UNHEALTHY = ("status.py", "        failures = []\n", "        failures = ['for a test']\n")
NOT_IMPORTABLE = ("server.py", "import asyncio\n", "raise SystemExit(3)\nimport asyncio\n")
DIES_AT_START = ("cli/main.py", "    faulthandler.enable()", "    1 / 0\n    faulthandler.enable()")


def make_newer(service: Service, version: str = "9.0.0") -> None:
    text = f'"""A newer one."""\n\n__version__ = "{version}"\n'
    service.guest.write(f"{service.guest.checkout}/raspi_server/__init__.py", text)


def running_version(service: Service) -> str:
    return str(service.get("/api")["version"])


def test_a_newer_checkout_is_switched_to_and_the_last_two_stay(service: Service) -> None:
    """An upgrade serves the new version; of all releases only it and the one before are kept."""
    before = service.release()
    make_newer(service)
    service.guest.install()
    newer = service.release()
    assert running_version(service) == "9.0.0"
    assert set(service.releases()) == {before, newer}
    make_newer(service, "9.1.0")
    service.guest.install()
    assert running_version(service) == "9.1.0"
    assert set(service.releases()) == {newer, service.release()}


def test_back_is_one_release_and_no_more(service: Service) -> None:
    """--rollback brings the release before; a second time there is none to go back to."""
    before = service.release()
    make_newer(service)
    service.guest.install()
    said = service.guest.install("--rollback").stdout
    assert f"raspi-server {before} runs" in said
    assert service.release() == before
    assert running_version(service) != "9.0.0"
    done = service.guest.install("--rollback", check=False)
    assert done.returncode == 1
    assert "There is no release to go back to." in done.stdout
    assert service.is_serving()


def test_a_configuration_the_new_release_cannot_read_stops_the_upgrade(service: Service) -> None:
    """The errors are shown with their lines, and what ran runs on, untouched."""
    before = service.release(), service.guest.main_pid()
    text = service.guest.output("cat /etc/raspi-server/config.yaml")
    service.configure(text.replace("interval: 0.1", "interval: often"))
    make_newer(service)
    done = service.guest.install(check=False)
    assert done.returncode == 1
    assert re.search(r"config.yaml:\d+: interval: expected", done.stdout)
    assert "still in place: " + before[0] in done.stdout
    assert (service.release(), service.guest.main_pid()) == before
    assert service.is_serving()


@pytest.mark.parametrize(
    ("module", "old", "new"), [UNHEALTHY, NOT_IMPORTABLE], ids=["unhealthy", "dead"]
)
def test_a_release_that_does_not_come_up_gives_way_to_the_one_before(
    service: Service, module: str, old: str, new: str
) -> None:
    """If the new release fails, the old one serves again, and install.sh says so."""
    before = service.release()
    make_newer(service)
    service.edit(f"raspi_server/{module}", old, new)
    done = service.guest.install(check=False)
    assert done.returncode == 1
    if "SystemExit" in new:
        assert "could not be built" in done.stdout
    else:
        assert f"did not come up; {before} runs again" in done.stdout
        assert "for a test" in done.stdout
    assert service.release() == before
    assert service.releases() == [before]
    assert service.is_serving()


def test_a_release_that_dies_at_its_start_gives_way_with_its_last_words(service: Service) -> None:
    """The last log lines of a release that ends at once are shown; the old one serves again."""
    before = service.release()
    make_newer(service)
    module, old, new = DIES_AT_START
    service.edit(f"raspi_server/{module}", old, new)
    done = service.guest.install(check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert f"did not come up; {before} runs again" in done.stdout
    assert service.release() == before
    assert service.is_serving()


def test_power_lost_in_the_middle_leaves_the_old_release_or_the_new_one(service: Service) -> None:
    """Whenever the power goes, the next boot serves; running the installation again ends well, and
    what was half built does not fill the card."""
    guest, before = service.guest, service.release()
    make_newer(service)
    for moment in ("Building release", "Checking", "Refreshing", "Switching", "Starting"):
        running = guest.start(f"exec '{guest.checkout}/scripts/install.sh'")
        try:
            assert running.stdout is not None
            said = ""
            while moment not in said:
                more = running.stdout.read(1)
                assert more, said
                said += more
        finally:
            guest.kill(running)
        # As at a boot, systemd reads all units and starts the enabled ones.
        guest.run("systemctl daemon-reload; systemctl stop raspi-server")
        guest.run("systemctl start multi-user.target raspi-server")
        service.wait_until_serving()
        assert running_version(service) in ("9.0.0", before.partition("-")[0])
        guest.run(f"ln -sfn releases/{before} /opt/raspi-server/current")
    guest.run("mkdir -p /opt/raspi-server/releases/7.0.0-99/venv /opt/raspi-server/wheels.new")
    make_newer(service, "9.1.0")
    guest.install()
    assert running_version(service) == "9.1.0"
    assert set(service.releases()) == {before, service.release()}
    assert guest.run("ls /opt/raspi-server/wheels.new", check=False).returncode


def test_another_python_is_noticed_and_mended(service: Service) -> None:
    """After an upgrade of the operating system the journal says what to do, systemd does not try
    again, and a second run of install.sh repairs it."""
    guest = service.guest
    before = service.release()
    site = guest.output("ls -d /opt/raspi-server/current/venv/lib/python3.*")
    guest.run(f"mv {site} {site}.gone")
    cursor = service.cursor()
    assert guest.run("systemctl restart raspi-server", check=False).returncode == 1
    assert "was installed for another Python" in service.journal(cursor)
    assert "sudo scripts/install.sh" in service.journal(cursor)
    assert guest.output("systemctl show raspi-server -P ActiveState") == "failed"
    assert guest.output("systemctl show raspi-server -P ExecMainStatus") == "78"
    assert "sudo scripts/install.sh" in guest.run("raspi-server check", check=False).stdout
    guest.install()
    assert service.is_serving()
    assert service.release() != before


def test_two_installations_at_once_do_not_meet(service: Service) -> None:
    """The second one ends and says why."""
    lock = service.guest.start("exec 9>/run/raspi-server-install.lock; flock 9; echo; sleep 99")
    assert lock.stdout is not None
    try:
        lock.stdout.readline()
        done = service.guest.run(f"'{service.guest.checkout}/scripts/install.sh'", False, BUILDING)
    finally:
        service.guest.kill(lock)
    assert done.returncode == 1
    assert "Another install.sh is running" in done.stdout
