"""The life of an installation on an emulated Raspberry Pi 3B, from the first day to the last."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pi.pi import CURRENT, INPUT, OUTPUT, PINS, Pi

pytestmark = pytest.mark.pi

LAMP, GATE, RELAY, HEATER = 27, 22, 23, 24
PYTHON = {"trixie": "Python 3.13", "bookworm": "Python 3.11"}
OWNERS = "stat -c '%n %U %G %a' /dev/gpiochip*"
SERIAL = "the serial port (UART)"


@pytest.fixture(scope="module")
def owners(pi: Pi) -> str:
    """The owners of the GPIO chips before the installation."""
    return pi.run(OWNERS)


def test_install(pi: Pi, owners: str) -> None:
    """The commands of README install the service. It serves at once, and starts with the Pi. apt is
    not asked for a package that Debian does not have, and nobody compiles."""
    assert "root" in owners
    pi.clone()
    printed = pi.as_user("sudo scripts/install.sh")
    assert "https://raspberrypi.local:8080" in printed
    assert "lgpio" not in printed and "Continuing without" not in printed
    assert pi.show("ActiveState") == "active" and pi.show("UnitFileState") == "enabled"
    assert PYTHON[pi.suite] in pi.doctor()
    pi.configure(PINS)


def test_the_board(pi: Pi) -> None:
    """The board is known by its revision. The header shows who uses a pin, the console's UART too.
    The service's user can open the lines, and doctor says what becomes of them without it."""
    model, holders = pi.header()
    assert model == "Raspberry Pi 3B rev 1.2"
    assert holders[14] == holders[15] == SERIAL
    assert holders[17] == holders[LAMP] == "raspi-server" and holders[5] is None
    report = pi.doctor()
    assert "open to the user raspi-server" in report
    if pi.suite == "trixie":
        assert "outputs keep their level while the server is down" in report
    else:
        assert "it has no parameter persist_gpio_outputs" in report


def test_outputs(pi: Pi) -> None:
    """Each output has its level in the controller's register, and inputs stay inputs. A pulse ends
    by itself."""
    for gpio, function in ((17, INPUT), (4, INPUT), (LAMP, OUTPUT), (RELAY, OUTPUT), (5, INPUT)):
        assert pi.function(gpio) == function
    for name, gpio, is_active_low in (
        ("lamp", LAMP, 1),
        ("relay", RELAY, 1),
        ("heater", HEATER, 0),
    ):
        for value in (1, 0, 1):
            pi.switch(name, value)
            assert pi.level(gpio) == value ^ is_active_low
    pi.switch("relay", 0)
    assert pi.level(GATE) == 0
    with ThreadPoolExecutor() as others:
        press = others.submit(pi.switch, "gate", 1)
        pi.wait_for(lambda: pi.level(GATE) == 1, "the gate is pressed")
        pi.wait_for(lambda: pi.level(GATE) == 0, "the press has ended")
        press.result()
    assert pi.pins()["gate"]["value"] == 0


def test_kill(pi: Pi) -> None:
    """After kill -9 each output gets its on_failure level, by the controller's register, before the
    service is back with their initial values."""
    assert (pi.level(LAMP), pi.level(RELAY), pi.level(HEATER)) == (0, 1, 1)
    pi.run("systemctl kill --kill-whom=main --signal=KILL raspi-server")
    pi.wait_for(lambda: (pi.level(RELAY), pi.level(HEATER)) == (0, 0), "the safe state")
    pi.wait_for(lambda: pi.level(RELAY) == 1, "the relay is off again")
    pi.wait_until_active()
    assert pi.show("NRestarts") == "1"
    values = {name: pin["value"] for name, pin in pi.pins().items()}
    assert values | {"lamp": 1, "gate": 0, "relay": 0, "heater": 0} == values
    assert pi.level(LAMP) == 0 and pi.function(LAMP) == OUTPUT


def test_upgrade_and_rollback(pi: Pi) -> None:
    """A later commit replaces the release, and a rollback brings the earlier one back. A lamp that
    is kept stays on."""
    first = pi.release()
    pi.as_user('sed -i "s/^__version__ = .*/__version__ = \\"9.9.9\\"/" raspi_server/__init__.py')
    pi.as_user("sudo scripts/install.sh")
    assert pi.release().startswith("9.9.9-") and pi.show("ActiveState") == "active"
    assert "raspi-server 9.9.9" in pi.doctor()
    assert pi.level(LAMP) == 0 and pi.pins()["lamp"]["value"] == 1
    pi.as_user("sudo scripts/install.sh --rollback")
    assert pi.release() == first and pi.show("ActiveState") == "active"
    assert pi.level(LAMP) == 0 and pi.pins()["lamp"]["value"] == 1


def test_without_the_firmware(pi: Pi) -> None:
    """Booted without the firmware's additions to the device tree, and with a kernel that releases
    outputs, the service starts by itself. The board is unknown, its pins work by number, and doctor
    tells of the kernel."""
    pi.machine.shut_down()
    pi.machine.boot("bare.dtb")
    pi.wait_until_active()
    model, holders = pi.header()
    assert model == "unknown board: the firmware told no revision"
    assert holders[14] == holders[15] == SERIAL and holders[LAMP] == "raspi-server"
    for value in (1, 0):
        pi.switch("heater", value)
        assert pi.level(HEATER) == value
    told = {"trixie": "outputs are released", "bookworm": "outputs may be released"}
    assert told[pi.suite] in pi.doctor()


def test_uninstall(pi: Pi, owners: str) -> None:
    """Without raspi-server the Pi is as before: no file, no user, no process, and the GPIO chips
    have their old owner."""
    pi.as_user("sudo scripts/uninstall.sh --purge")
    assert pi.run(OWNERS) == owners
    assert pi.attempt("getent passwd raspi-server")[0] == 2
    assert pi.attempt("pgrep -f '[/]opt/raspi-server'")[1] == ""
    names = "-iname '*raspi[-_]server*' -o -lname '*raspi-server*'"
    unlike = "-not -path '/home/*' -not -path '/var/log/*'"
    assert pi.run(f"find / -xdev \\( {names} \\) {unlike}") == ""
    assert pi.attempt(f"ls {CURRENT}")[0] == 2
