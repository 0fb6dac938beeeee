"""An upgrade from a release that allowed what this one rejects: install.sh prints it before it
changes anything, and the service does not end with status 78 later."""

from collections.abc import Iterator

import pytest

from tests.system.debian.conftest import Service
from tests.system.debian.test_from_release import put_first_release
from tests.system.debian.test_service import show

CERTIFICATE = "/etc/raspi-server/tls/server.crt"
STATE = "/var/lib/raspi-server/last-good.json"
PINS = """
access: {control: everyone}
pins:
  heater: {gpio: 17, mode: output, max_on: 4, on_stop: keep}
  tap: {gpio: 22, mode: output, pulse: 500}
"""
REFUSED = "pins.heater.on_stop: expected off or input, got keep"
MEND = "sed -i 's/on_stop: keep/on_stop: off/' /etc/raspi-server/config.yaml"


@pytest.fixture
def older(service: Service) -> Iterator[Service]:
    """A Pi on which the first release runs with a configuration that this one rejects."""
    guest = service.guest
    put_first_release(service)
    guest.install()
    service.configure(f"port: {service.port}\nssl: true\n{PINS}")
    guest.run("systemctl restart raspi-server")
    service.wait_until_serving()
    guest.put_checkout()
    yield service


def test_an_upgrade_is_refused_before_anything_changes(older: Service) -> None:
    """The rejected key is shown with its line and what to write instead, before a certificate is
    made. The older release goes on. After the file is mended the upgrade succeeds and shows the
    warnings."""
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
    guest.run(MEND)
    said = guest.install().stdout
    assert "warning: /etc/raspi-server/config.yaml:7: pins.tap.pulse: 500 seconds are long" in said
    assert (
        f"warning: {STATE}:6: {REFUSED}" in said
    )  # what ran before, and runs if the file has errors
    assert older.release() != before[0]
    assert older.is_serving()


def test_back_and_forward_again(older: Service) -> None:
    """An upgrade makes a missing certificate. After --rollback the older release accepts again what
    this one rejects. A second upgrade is refused like the first."""
    guest = older.guest
    before = older.release()
    guest.run(f"{MEND} && rm {CERTIFICATE}")
    guest.install()
    guest.install("--rollback")
    assert older.release() == before
    older.configure(f"port: {older.port}\nssl: true\n{PINS}")
    guest.run("systemctl reload raspi-server")
    done = guest.install(check=False)
    assert (done.returncode, older.release()) == (1, before)
    assert REFUSED in done.stdout
    assert older.is_serving()


def test_a_faulty_file_beside_what_ran_before_the_upgrade(older: Service) -> None:
    """Even when the file is faulty at the first boot after an upgrade, what the older release ran
    runs, without the key that is refused."""
    guest = older.guest
    guest.run(MEND)
    guest.install("--no-start")
    guest.run("systemctl stop raspi-server")
    guest.run("sed -i 's/^ssl: true/ssl: perhaps/' /etc/raspi-server/config.yaml")
    cursor = older.cursor()
    guest.run("systemctl start raspi-server")
    assert show(older, "ActiveState") == "active"
    health = older.get()
    assert health["status"] == "degraded"
    assert "ssl: expected" in str(health["reasons"])
    assert f"{STATE}:6: {REFUSED}" in older.journal(cursor)
    assert [pin["name"] for pin in older.get("/api/pins")["pins"]] == ["heater", "tap"]
