"""Holders of lines, and the server when another program holds one of its lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.gpio.virtual_pi.pi import Pi
from tests.web.test_websocket import Browser

CONFIG = """
  lamp: {gpio: 17, mode: output, initial: on}
  bell: {gpio: 22, mode: input}
  taken: {gpio: 8, mode: input}
"""


@contextmanager
def held(pi: Pi, gpio: int) -> Iterator[None]:
    """Another program drives the line."""
    program = f"gpioset --mode=signal gpiochip0 {gpio}=0"
    pi.run(f"systemd-run --quiet --unit=other --property=Type=exec {program}")
    try:
        line = f"gpioinfo gpiochip0 | grep -w GPIO{gpio}"
        pi.wait_for(lambda: "gpioset" in pi.run(line), "it is held")
        yield
    finally:
        pi.attempt("systemctl stop other")


@contextmanager
def started(pi: Pi) -> Iterator[Browser]:
    pi.start(CONFIG)
    with pi.browser() as browser:
        yield browser


def holders(pi: Pi) -> dict[int, str | None]:
    status, body = pi.get("/api/header")
    assert status == 200
    return {pin["position"]: pin["holder"] for pin in body["pins"]}


def shown(pi: Pi) -> dict[str, dict[str, Any]]:
    return {pin["name"]: pin for pin in pi.get("/api/pins")[1]["pins"]}


def test_a_line_in_use(pi: Pi) -> None:
    """The server starts although other programs hold its lines, says who does, and disturbs
    nothing by looking; as soon as a line is free it is ours, at the level chosen for a pin that was
    in error."""
    with held(pi, 17), started(pi) as browser:
        assert browser.read_until("hello")["state"] == {"lamp": None, "bell": 0, "taken": None}
        pins = shown(pi)
        assert pins["lamp"]["error"] == "GPIO17 is in use by gpioset"
        assert pins["taken"]["error"] == "GPIO8 is in use by spi0 CS0"
        assert pi.get("/api/health")[1]["status"] == "degraded"
        with pi.record() as record:
            for _ in range(3):
                found = holders(pi)
        assert record.events == []
        assert found[11] == "gpioset"  # GPIO17
        assert found[24] == "spi0 CS0"  # GPIO8
        assert found[15] == "raspi-server"  # GPIO22
        assert found[1] is None and found[7] is None  # power, and GPIO4
        assert set(found) == set(range(1, 41))
        with pi.record() as record:
            pi.run("systemctl stop other")
            hello = browser.read_until("hello")
        assert hello["state"]["lamp"] == 1
        assert record.of(17)[-2:] == ["set 1", "out"]


def test_a_pi_that_does_not_let_us_in(pi: Pi) -> None:
    """If the device may not be opened, every pin says what to do about it; nothing is quietly
    simulated."""
    with pi.record() as record:
        pi.run("chmod 0600 /dev/gpiochip0")
        try:
            pi.start(CONFIG)
        finally:
            pi.run("chmod 0660 /dev/gpiochip0")
    assert record.events == []
    for pin in shown(pi).values():
        assert pin["value"] is None
        assert pin["error"].startswith("GPIO cannot be opened: ")
        assert "/dev/gpiochip0" in pin["error"] and "the group gpio" in pin["error"]
    with pi.browser() as browser:
        assert browser.read_until("hello")["server"]["simulated"] is False


def test_nothing_is_left_lying_about(pi: Pi) -> None:
    """lgpio's FIFO stands in the runtime folder, not in the working directory, which stays what it
    was."""
    pi.start(CONFIG)
    main = pi.run("systemctl show -P MainPID raspi-server").strip()
    assert pi.run(f"readlink /proc/{main}/cwd").strip() == "/"
    assert ".lgd-nfy" in pi.run("ls -A /run/raspi-server")
    assert ".lgd-nfy" not in pi.run("ls -A / /opt/raspi-server /etc/raspi-server")


SWAP = """
cd /sys/kernel/config/gpio-sim
echo 0 >pi/live
mkdir expander expander/bank
echo raspberrypi-exp-gpio >expander/bank/label
echo 1 >expander/live
echo 1 >pi/live
ln -sfn /sys/devices/platform/$(cat pi/dev_name)/$(cat pi/soc/chip_name) /run/gpio-sim
udevadm settle
"""
SWAP_BACK = """
cd /sys/kernel/config/gpio-sim
echo 0 >pi/live
echo 0 >expander/live
rmdir expander/bank expander
echo 1 >pi/live
ln -sfn /sys/devices/platform/$(cat pi/dev_name)/$(cat pi/soc/chip_name) /run/gpio-sim
udevadm settle
"""


def test_the_chip_is_found_by_its_label(pi: Pi) -> None:
    """If another chip comes first, as on some kernels of a Pi 5, the header is still found, and
    the lines of that chip are left alone."""
    pi.run(SWAP)
    try:
        assert "raspberrypi-exp-gpio" in pi.run("gpiodetect | grep gpiochip0")
        pi.start(CONFIG)
        assert pi.level(17) == 1
        assert "raspi-server" not in pi.run("gpioinfo gpiochip0")
    finally:
        pi.run("systemctl stop raspi-server")
        pi.run(SWAP_BACK)
    assert "pinctrl-bcm2711" in pi.run("gpiodetect | grep gpiochip0")


def test_the_board_is_known(pi: Pi) -> None:
    """The header shown is that of the board there is."""
    said = pi.run(
        "cd /run; PYTHONPATH=/opt/raspi-server/current python3 -c 'from raspi_server.gpio.backend"
        ' import open_factory; print(open_factory("auto").board_info.description)\''
    )
    assert said.startswith("Raspberry Pi 4B")
