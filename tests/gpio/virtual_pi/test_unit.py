"""The shipped unit, hardened as it is, on real lines and with the kernel's address filter: the
service does its whole job inside."""

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
    """The Pi with the unit of systemd/, and a release as install.sh makes it."""
    unit = "/etc/systemd/system/raspi-server.service"
    ours = pi.read(unit)
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
    pi.write(unit, ours)
    pi.run("systemctl daemon-reload")


def test_the_shipped_unit_does_its_whole_job(shipped: Pi) -> None:
    """Edges come, outputs obey, a reload is taken; a kill leaves the safe state at once, and the
    service comes back by itself."""
    shipped.start(PINS)
    with shipped.browser() as browser:
        browser.read_until("state", pins={"lamp": 0, "door": 0})
        shipped.pull(27, up=True)
        assert browser.read_until("change", pin="door")["value"] == 1
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


def test_out_of_memory_it_comes_back(shipped: Pi) -> None:
    """A server that the kernel chose to end for want of memory leaves the safe state, and serves
    again."""
    shipped.start(PINS)
    shipped.set("lamp", 1)
    main = shipped.run("systemctl show -P MainPID raspi-server").strip()
    shipped.run(f"echo 1000 >/proc/{main}/oom_score_adj; echo f >/proc/sysrq-trigger")
    shipped.wait_for(lambda: shipped.level(17) == 1, "the relay is off")
    shipped.wait_for(lambda: shipped.state == "active", "it runs again")
    assert "(oom-kill, " in shipped.journal


def test_only_the_house_gets_in(shipped: Pi) -> None:
    """The kernel answers private addresses, and lets nothing of the service reach others."""
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


def test_a_clock_that_jumps_by_a_year(shipped: Pi) -> None:
    """When NTP answers at last, nothing restarts, and what was to go off in time does so: not at
    once, nor a year late."""
    shipped.start("\n  gate: {gpio: 17, mode: output, pulse: 3}\n")
    with shipped.browser() as browser:
        browser.read_until("hello")
        for step in ("+1 year", "-1 year"):
            shipped.set("gate", 1)
            assert browser.read_until("change")["value"] == 1
            shipped.run(f"date -s '{step}'")
            assert shipped.level(17) == 1
            assert browser.read_until("change")["by"] == "pulse"
    assert shipped.state == "active"
    assert shipped.run("systemctl show -P NRestarts raspi-server").strip() == "0"
