"""An upgrade over a running release that allowed what this one refuses: install.sh says so before
it changes anything, and whatever comes after, the service does not end with status 78."""

from collections.abc import Iterator

import pytest

from .conftest import House
from .test_from_release import put_first_release
from .test_service import show

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
def older(house: House) -> Iterator[House]:
    """A house in which the first release runs, and serves what this one refuses."""
    guest = house.guest
    put_first_release(house)
    guest.install()
    house.configure(f"port: {house.port}\nssl: true\n{PINS}")
    guest.run("systemctl restart raspi-server")
    house.wait_until_serving()
    guest.put_checkout()
    yield house


def test_an_upgrade_is_refused_before_anything_changes(older: House) -> None:
    """What is refused is shown with its line and what to write instead, before even a certificate
    is made; the older release runs on as it was, and once the file is mended the upgrade goes
    through, warnings shown."""
    guest = older.guest
    guest.run(f"mv {CERTIFICATE} /tmp/server.crt")
    before = older.release(), guest.main_pid(), guest.tell(f"sha256sum {STATE}")
    done = guest.install(check=False)
    assert done.returncode == 1
    assert f"/etc/raspi-server/config.yaml:6: {REFUSED}" in done.stdout
    assert "write on_stop: off" in done.stdout
    assert f"still in place: {before[0]}" in done.stdout
    assert (older.release(), guest.main_pid(), guest.tell(f"sha256sum {STATE}")) == before
    guest.run(f"test ! -e {CERTIFICATE} && mv /tmp/server.crt {CERTIFICATE}")
    assert older.is_serving()
    guest.run(MEND)
    said = guest.install().stdout
    assert "warning: /etc/raspi-server/config.yaml:7: pins.tap.pulse: 500 seconds are long" in said
    assert (
        f"warning: {STATE}:6: {REFUSED}" in said
    )  # what ran before, and runs if the file has faults
    assert older.release() != before[0]
    assert older.is_serving()


def test_back_and_forward_again(older: House) -> None:
    """An upgrade makes a certificate that is missing. After --rollback the older release takes
    again what this one refuses; on the way forward that is said as the first time."""
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


def test_a_faulty_file_beside_what_ran_before_the_upgrade(older: House) -> None:
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
