"""An upgrade from a release that allowed a configuration that this one rejects: install.sh prints
that before it changes anything, and the service does not end with status 78 later."""

from collections.abc import Iterator

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.test_from_release import install_first_release

pytestmark = pytest.mark.one_debian

CERTIFICATE = "/etc/raspi-server/tls/server.crt"
STATE = "/var/lib/raspi-server/last-good.json"
PINS = """
access: {control: everyone}
pins:
  heater: {gpio: 17, mode: output, max_on: 4, on_stop: keep}
  tap: {gpio: 22, mode: output, pulse: 500}
"""
REFUSED = "pins.heater.on_stop: expected off or input, got keep"
CORRECT = "sed -i 's/on_stop: keep/on_stop: off/' /etc/raspi-server/config.yaml"


@pytest.fixture
def older(service: Service) -> Iterator[Service]:
    """A Pi on which the first release runs with a configuration that this one rejects."""
    guest = service.guest
    install_first_release(service)
    service.configure(f"port: {service.port}\nssl: true\n{PINS}")
    guest.run("systemctl restart raspi-server")
    service.wait_until_serving()
    guest.put_checkout()
    yield service


def test_upgrade_is_refused_before_anything_changes(older: Service) -> None:
    """The rejected key is shown with its line and what to write instead, and the older release goes
    on. With the file corrected, the upgrade succeeds and shows the warnings. After --rollback the
    older release accepts the key again, and an upgrade is refused again. An upgrade makes a missing
    certificate."""
    guest = older.guest
    guest.run(f"mv {CERTIFICATE} /tmp/server.crt")
    before = older.release(), guest.main_pid(), guest.output(f"sha256sum {STATE}")
    done = guest.install(check=False)
    assert done.returncode == 1
    assert f"/etc/raspi-server/config.yaml:6: {REFUSED}" in done.stdout
    assert "write on_stop: off" in done.stdout
    assert f"still in place: {before[0]}" in done.stdout
    assert (older.release(), guest.main_pid(), guest.output(f"sha256sum {STATE}")) == before
    guest.run(f"test ! -e {CERTIFICATE} && mv /tmp/server.crt {CERTIFICATE}")
    assert older.is_serving()
    guest.run(CORRECT)
    said = guest.install().stdout
    assert "warning: /etc/raspi-server/config.yaml:7: pins.tap.pulse: 500 seconds are long" in said
    # The configuration that the older release used, which runs if the file has errors.
    assert f"warning: {STATE}:6: {REFUSED}" in said
    assert older.release() != before[0]
    assert older.is_serving()
    guest.install("--rollback")
    assert older.release() == before[0]
    older.configure(f"port: {older.port}\nssl: true\n{PINS}")
    guest.run("systemctl reload raspi-server")
    done = guest.install(check=False)
    assert (done.returncode, older.release()) == (1, before[0])
    assert REFUSED in done.stdout
    assert older.is_serving()
    guest.run(f"{CORRECT} && rm {CERTIFICATE}")
    guest.install()
    guest.run(f"test -e {CERTIFICATE}")
    assert older.is_serving()


def test_invalid_file_at_the_first_boot_after_an_upgrade(older: Service) -> None:
    """The configuration that the older release used runs, without the key that is rejected."""
    guest = older.guest
    guest.run(CORRECT)
    guest.install("--no-start")
    guest.run("systemctl stop raspi-server")
    guest.run("sed -i 's/^ssl: true/ssl: perhaps/' /etc/raspi-server/config.yaml")
    cursor = older.cursor()
    guest.run("systemctl start raspi-server")
    assert older.show("ActiveState") == "active"
    health = older.get()
    assert health["status"] == "degraded"
    assert "ssl: expected" in str(health["reasons"])
    assert f"{STATE}:6: {REFUSED}" in older.journal(cursor)
    assert [pin["name"] for pin in older.get("/api/pins")["pins"]] == ["heater", "tap"]
