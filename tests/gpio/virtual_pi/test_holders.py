"""Holders of lines, and lines that the server cannot have."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.gpio.virtual_pi.pi import Pi

CONFIG = """
  lamp: {gpio: 17, mode: output, initial: on}
  bell: {gpio: 22, mode: input}
  taken: {gpio: 8, mode: input}
"""


@contextmanager
def held(pi: Pi, gpio: int) -> Iterator[None]:
    """Let another program drive the line."""
    program = f"gpioset --mode=signal gpiochip0 {gpio}=0"
    pi.run(f"systemd-run --quiet --unit=other --property=Type=exec {program}")
    try:
        line = f"gpioinfo gpiochip0 | grep -w GPIO{gpio}"
        pi.wait_for(lambda: "gpioset" in pi.run(line), "gpioset holds the line")
        yield
    finally:
        pi.attempt("systemctl stop other")


def holders(pi: Pi) -> dict[int, str | None]:
    status, body = pi.get("/api/header")
    assert status == 200
    return {pin["position"]: pin["holder"] for pin in body["pins"]}


def test_a_line_in_use(pi: Pi) -> None:
    """The server starts although other programs hold some of its lines, names these programs, and
    does not disturb them. A line that becomes free is opened with the pin's `initial` value."""
    with held(pi, 17):
        pi.start(CONFIG)
        with pi.viewer() as viewer:
            assert viewer.receive("hello")["state"] == {"lamp": None, "bell": 0, "taken": None}
            pins = pi.pins
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
                hello = viewer.receive("hello")
            assert hello["state"]["lamp"] == 1
            assert record.of(17)[-2:] == ["set 1", "out"]


def test_without_permission(pi: Pi) -> None:
    """If the device cannot be opened, each pin has an error with the remedy. It is not
    simulated."""
    with pi.record() as record:
        pi.run("chmod 0600 /dev/gpiochip0")
        try:
            pi.start(CONFIG)
        finally:
            pi.run("chmod 0660 /dev/gpiochip0")
    assert record.events == []
    for pin in pi.pins.values():
        assert pin["value"] is None
        assert pin["error"].startswith("GPIO cannot be opened: ")
        assert "/dev/gpiochip0" in pin["error"] and "the group gpio" in pin["error"]
    with pi.viewer() as viewer:
        assert viewer.receive("hello")["server"]["simulated"] is False


def test_the_fifo_of_lgpio(pi: Pi) -> None:
    """The FIFO of lgpio is in the runtime folder. The working directory does not change."""
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
    """If another chip comes first, as on some kernels of a Pi 5, the header is still found. The
    lines of the other chip are not touched."""
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
    """The model is that of the device tree."""
    output = pi.run(
        "cd /run; PYTHONPATH=/opt/raspi-server/current python3 -c 'from raspi_server.gpio.backend"
        ' import open_factory; print(open_factory("auto").board_info.description)\''
    )
    assert output.startswith("Raspberry Pi 4B")
