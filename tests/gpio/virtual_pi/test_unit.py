"""The shipped unit with its hardening, on real lines and with the kernel's address filter."""

from collections.abc import Iterator

import pytest

from tests.gpio.virtual_pi.pi import CHECKOUT, Pi

PINS = """
  lamp: {gpio: 17, mode: output, active: low}
  door: {gpio: 27, mode: input}
"""

ASK = """
import socket, sys
caller = socket.socket()
caller.settimeout(3)
caller.bind((sys.argv[1], 0))
try:
    caller.connect((sys.argv[2], 8080))
    caller.sendall(b"GET /api/pins HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
    print(caller.recv(15).decode())
except TimeoutError:
    print("no answer")
"""


@pytest.fixture
def shipped(pi: Pi) -> Iterator[Pi]:
    """The Pi with the unit of systemd/, and a release as install.sh builds it."""
    unit = "/etc/systemd/system/raspi-server.service"
    of_the_tests = pi.read(unit)
    release = "/opt/raspi-server/1"
    packages = f"{release}/venv/lib/python3.11/site-packages"
    pi.run(
        f"mkdir -p {release}/scripts && python3 -m venv --without-pip --system-site-packages"
        f" {release}/venv && ln -sfn {release}/raspi_server {packages}/raspi_server &&"
        f" ln -sfn {release}/www {packages}/www"
    )
    pi.write(f"{release}/scripts/start.sh", (CHECKOUT / "scripts" / "start.sh").read_text())
    pi.write(unit, (CHECKOUT / "systemd" / "raspi-server.service").read_text())
    pi.run(f"chmod +x {release}/scripts/start.sh; systemctl daemon-reload")
    yield pi
    pi.stop()
    pi.write(unit, of_the_tests)
    pi.run("systemctl daemon-reload")


def test_it_works_inside_the_shipped_unit(shipped: Pi) -> None:
    """Edges arrive, outputs are driven, a reload works. After a kill and after an out-of-memory
    kill the outputs get their safe state, and the service starts again."""
    shipped.start(PINS)
    with shipped.viewer() as viewer:
        viewer.receive("state", pins={"lamp": 0, "door": 0})
        shipped.pull(27, up=True)
        assert viewer.receive("change", pin="door")["value"] == 1
    shipped.set("lamp", 1)
    assert shipped.level(17) == 0
    shipped.reload(PINS + "  fan: {gpio: 18, mode: pwm}\n")
    assert shipped.level(17) == 0
    with shipped.record() as record:
        shipped.signal("KILL")
        shipped.wait_for(lambda: shipped.level(17) == 1, "the relay is off")
        shipped.wait_for(lambda: shipped.state == "active", "it runs again")
    assert record.of(17)[:2] == ["set 1", "out"]
    assert "lamp (GPIO17): off" in shipped.journal
    shipped.set("lamp", 1)
    shipped.run_out_of_memory()
    shipped.wait_for(lambda: shipped.level(17) == 1, "the relay is off")
    shipped.wait_for(lambda: shipped.state == "active", "it runs again")
    assert "(oom-kill, " in shipped.journal


def test_only_private_addresses_get_an_answer(shipped: Pi) -> None:
    """A private address gets an answer. The kernel drops what the service would send to others."""
    shipped.start(PINS)
    shipped.write("/tmp/ask.py", ASK)
    own = shipped.run("hostname -I").split()[0]
    shipped.run("ip addr add 192.168.77.1/32 dev lo; ip addr add 8.8.8.8/32 dev lo")
    try:
        answers = [
            shipped.run(f"python3 /tmp/ask.py {caller} {own}").strip()
            for caller in ("192.168.77.1", "8.8.8.8")
        ]
    finally:
        shipped.run("ip addr del 192.168.77.1/32 dev lo; ip addr del 8.8.8.8/32 dev lo")
    assert answers == ["HTTP/1.1 200 OK", "no answer"]


def test_the_clock_jumps_by_a_year(shipped: Pi) -> None:
    """If NTP sets the clock, the service does not restart, and a pulse ends after its length."""
    shipped.start("\n  gate: {gpio: 17, mode: output, pulse: 3}\n")
    with shipped.viewer() as viewer:
        viewer.receive("hello")
        for step in ("+1 year", "-1 year"):
            shipped.set("gate", 1)
            assert viewer.receive("change")["value"] == 1
            shipped.run(f"date -s '{step}'")
            assert shipped.level(17) == 1
            assert viewer.receive("change")["by"] == "pulse"
    assert shipped.state == "active"
    assert shipped.run("systemctl show -P NRestarts raspi-server").strip() == "0"
