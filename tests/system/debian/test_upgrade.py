"""A newer checkout while the service runs: install.sh switches, or leaves everything as it was."""

import re

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.test_from_release import SIGN_IN_AGAIN
from tests.system.debian.test_install import running

# Edits that break a release: a module, a text in it, and the text that replaces it.
UNHEALTHY = ("status.py", "        failures = []\n", "        failures = ['for a test']\n")
NOT_IMPORTABLE = ("server.py", "import asyncio\n", "raise SystemExit(3)\nimport asyncio\n")
DIES_AT_START = ("cli/main.py", "    faulthandler.enable()", "    1 / 0\n    faulthandler.enable()")


def make_newer(service: Service, version: str = "9.0.0") -> None:
    text = f'"""A newer one."""\n\n__version__ = "{version}"\n'
    service.guest.write(f"{service.guest.checkout}/raspi_server/__init__.py", text)


def running_version(service: Service) -> str:
    return str(service.get("/api")["version"])


def test_upgrade_switches_and_keeps_one_release_to_go_back_to(service: Service) -> None:
    """An upgrade serves the new version, also with `view: code`, and keeps one release before it.
    --rollback brings that one back; then there is none to go back to."""
    guest = service.guest
    make_newer(service)
    assert SIGN_IN_AGAIN not in guest.install().stdout
    newer = service.release()
    assert running_version(service) == "9.0.0"
    service.edit_config("view: everyone", "view: code")
    make_newer(service, "9.1.0")
    guest.install()
    newest = service.release()
    assert newest.startswith("9.1.0-")
    assert set(service.releases()) == {newer, newest}
    assert service.get() == {"status": "ok"}
    assert f"port {service.port} answers: ok" in guest.run("raspi-server doctor", False).stdout
    service.edit_config("view: code", "view: everyone")
    said = guest.install("--rollback").stdout
    assert f"raspi-server {newer} runs" in said
    assert service.release() == newer
    assert running_version(service) == "9.0.0"
    done = guest.install("--rollback", check=False)
    assert done.returncode == 1
    assert "There is no release to go back to." in done.stdout
    assert service.is_serving()


@pytest.mark.one_debian
def test_configuration_that_the_new_release_rejects_stops_the_upgrade(service: Service) -> None:
    """The errors are shown with their lines, and the running release stays active."""
    before = service.release(), service.guest.main_pid()
    service.edit_config("interval: 0.1", "interval: often")
    make_newer(service)
    done = service.guest.install(check=False)
    assert done.returncode == 1
    assert re.search(r"config.yaml:\d+: interval: expected", done.stdout)
    assert "Not done." in done.stdout
    assert "still in place: " + before[0] in done.stdout
    assert (service.release(), service.guest.main_pid()) == before
    assert service.is_serving()


@pytest.mark.one_debian
@pytest.mark.parametrize(
    ("edit", "messages"),
    [
        (UNHEALTHY, ["did not come up; {} runs again", "for a test"]),
        (NOT_IMPORTABLE, ["could not be built"]),
        (DIES_AT_START, ["did not come up; {} runs again", "ZeroDivisionError"]),
    ],
    ids=["unhealthy", "not importable", "dies at start"],
)
def test_release_that_does_not_come_up_is_replaced_by_the_one_before(
    service: Service, edit: tuple[str, str, str], messages: list[str]
) -> None:
    """If the new release fails, the old one serves again. install.sh prints that, and the last log
    lines of the new one."""
    before = service.release()
    make_newer(service)
    module, old, new = edit
    service.edit(f"raspi_server/{module}", old, new)
    done = service.guest.install(check=False)
    assert done.returncode == 1
    for message in messages:
        assert message.format(before) in done.stdout
    assert service.release() == before
    assert service.releases() == [before]
    assert service.is_serving()


@pytest.mark.one_debian
def test_power_cut_during_an_upgrade_leaves_the_old_release_or_the_new_one(
    service: Service,
) -> None:
    """Whenever the power goes, the next boot serves. Running the installation again completes it
    and removes what was incomplete."""
    guest, before = service.guest, service.release()
    make_newer(service)
    for moment in ("Building release", "Checking", "Refreshing", "Switching", "Starting"):
        installing = guest.start(f"exec '{guest.checkout}/scripts/install.sh'")
        try:
            assert installing.stdout is not None
            said = ""
            while moment not in said:
                more = installing.stdout.read(1)
                assert more, said
                said += more
        finally:
            guest.kill(installing)
        # As at a boot, systemd reads all units and starts the enabled ones.
        guest.run("systemctl daemon-reload; systemctl stop raspi-server")
        guest.run("systemctl start multi-user.target raspi-server")
        service.wait_until_serving()
        assert running_version(service) in ("9.0.0", before.partition("-")[0])
        guest.run(f"ln -sfn releases/{before} /opt/raspi-server/current")
    guest.run("mkdir -p /opt/raspi-server/releases/7.0.0-99/venv /opt/raspi-server/wheels.new")
    guest.install()
    assert running_version(service) == "9.0.0"
    assert set(service.releases()) == {before, service.release()}
    assert guest.run("ls /opt/raspi-server/wheels.new", check=False).returncode


@pytest.mark.one_debian
def test_other_python_version_is_reported_and_repaired(service: Service) -> None:
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
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "78")
    assert "sudo scripts/install.sh" in guest.run("raspi-server check", check=False).stdout
    guest.install()
    assert service.is_serving()
    assert service.release() != before


@pytest.mark.one_debian
def test_second_install_at_the_same_time_is_refused(service: Service) -> None:
    """The second one ends with the reason."""
    lock = "bash -c 'exec 9>/run/raspi-server-install.lock; flock 9; echo; sleep 99'"
    with running(service.guest, lock):
        done = service.guest.install(check=False)
    assert done.returncode == 1
    assert "Another install.sh is running" in done.stdout
