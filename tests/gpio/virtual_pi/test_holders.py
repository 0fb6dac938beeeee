"""Holders of lines, and lines that the server cannot have."""

import re

from tests.gpio.virtual_pi.pi import CODE, Pi
from tests.support.http import ask

CONFIG = """
  lamp: {gpio: 17, mode: output, initial: on}
  bell: {gpio: 22, mode: input}
  taken: {gpio: 8, mode: input}
"""


def test_a_line_in_use(pi: Pi) -> None:
    """The server starts although other programs hold some of its lines, names these programs, and
    does not disturb them. A line that becomes free is opened with the pin's `initial` value. lgpio
    is not imported, since no pin is a pwm pin."""
    gpioset = "gpioset --mode=signal gpiochip0 17=0"
    pi.run(f"systemd-run --quiet --unit=other --property=Type=exec {gpioset}")
    try:
        line = "gpioinfo gpiochip0 | grep -w GPIO17"
        pi.wait_for(lambda: "gpioset" in pi.run(line), "gpioset holds the line")
        pi.start(CONFIG)
        with pi.viewer() as viewer:
            assert viewer.receive("hello")["state"] == {"lamp": None, "bell": 0, "taken": None}
            assert pi.pins["lamp"]["error"] == "GPIO17 is in use by gpioset"
            assert pi.pins["lamp"]["error_reason"] == "line-in-use"
            assert pi.pins["lamp"]["error_values"] == {"gpio": 17, "holder": "gpioset"}
            assert pi.pins["taken"]["error"] == "GPIO8 is in use by spi0 CS0"
            with pi.record() as record:
                header = {pin["gpio"]: pin["holder"] for pin in pi.get("/api/header")[1]["pins"]}
            assert record.events == []
            expected = {17: "gpioset", 8: "spi0 CS0", 22: "raspi-server", 4: None}
            assert header | expected == header
            with pi.record() as record:
                pi.run("systemctl stop other")
                assert viewer.receive("hello")["state"]["lamp"] == 1
            assert record.of(17)[-2:] == ["set 1", "out"]
    finally:
        pi.attempt("systemctl stop other")
    assert "lgpio" not in pi.run("cat /proc/$(systemctl show -P MainPID raspi-server)/maps")


CHANGE_CHIPS = """
cd /sys/kernel/config/gpio-sim
echo 0 >pi/live
{}
echo 1 >pi/live
ln -sfn /sys/devices/platform/$(cat pi/dev_name)/$(cat pi/soc/chip_name) /run/gpio-sim
udevadm settle
"""
ADD = "mkdir -p expander/bank; echo gpio-exp >expander/bank/label; echo 1 >expander/live"
REMOVE = "echo 0 >expander/live; rmdir expander/bank expander"

OPEN_TWICE = """
import os
os.chdir("/run")
from raspi_server.gpio.backend import open_factory
factory = open_factory("auto")
factory.pin(17).output_with_state(1)
print(factory.board_info.description)
os.setgroups([])
os.setegid(65534)
os.seteuid(65534)
open_factory("auto").pin(17)
"""


def test_the_chip_of_the_header(pi: Pi) -> None:
    """The header is found by its label, although another chip comes first, as on some kernels of a
    Pi 5. The model is that of the device tree. Without permission a pin fails with the remedy, and
    is not simulated."""
    pi.run(CHANGE_CHIPS.format(ADD))
    try:
        assert "gpio-exp" in pi.run("gpiodetect | grep gpiochip0")
        pi.write("/tmp/open.py", OPEN_TWICE)
        status, output = pi.attempt(f"PYTHONPATH={CODE} python3 /tmp/open.py")
        assert status == 1 and "\nRaspberry Pi 4B" in f"\n{output}"
        assert re.search(r"GPIO cannot be opened: .*/dev/gpiochip\d.* the group gpio", output)
        assert pi.level(17) == 1
    finally:
        pi.run(CHANGE_CHIPS.format(REMOVE))


def test_unplugged_chip(pi: Pi) -> None:
    """A chip that goes takes its pins along, with the reason, and nothing else ends. When it is
    back, they are: inputs report edges, and outputs are off until a command."""
    pins = "  door: {gpio: 27, mode: input}\n  lamp: {gpio: 17, mode: output, initial: on}\n"
    pi.start(pins)
    try:
        with pi.viewer() as viewer:
            viewer.receive("hello")
            pi.run("echo 0 >/sys/kernel/config/gpio-sim/pi/live")
            try:
                assert viewer.receive("hello")["state"]["door"] is None
                reason = pi.pins["door"]["error"]  # at first, and once it was looked for again
                assert re.search("GPIO27: (No such device|.* there is no gpiochip)", reason)
                response = ask(f"http://127.0.0.1:{pi.port}", "PUT", "/api/pins/lamp", {"value": 0})
                assert response.status == 409
                assert viewer.receive("hello")["state"]["lamp"] is None
            finally:
                pi.run(CHANGE_CHIPS.format(""))
            pi.wait_for(
                lambda: not any(pin["error"] for pin in pi.pins.values()), "the pins are back"
            )
            for value in (0, 1):
                pi.set("lamp", value)
                assert pi.level(17) == value
            pi.drive([(27, 1)])
            assert viewer.receive("change", pin="door")["value"] == 1
        assert pi.journal.count("Traceback") == 0
    finally:  # while the server held it, the chip could not come back as gpiochip0
        pi.run("systemctl stop raspi-server")
        pi.run(CHANGE_CHIPS.format(""))
