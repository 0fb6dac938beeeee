"""The emulated Pi for tests: its commands, the service in it, and the levels of its pins."""

import ssl
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.pi.machine import GPIO, LIMIT, Machine
from tests.support.http import ask
from tests.system.debian.guest import GIT

CONFIG = "/etc/raspi-server/config.yaml"
CURRENT = "/opt/raspi-server/current"
PERSIST = "pinctrl_bcm2835.persist_gpio_outputs=1"
"""Word for the kernel: an output keeps its level without a program, as on Raspberry Pi OS."""
PINS = """\
  door: {gpio: 17, mode: input, pull: up, debounce: 0.02}
  motion: {gpio: 4, mode: input, pull: down}
  lamp: {gpio: 27, mode: output, active: low, initial: keep, on_stop: keep, on_failure: keep}
  gate: {gpio: 22, mode: output, pulse: 0.5}
  relay: {gpio: 23, mode: output, active: low, on_failure: "on"}
  heater: {gpio: 24, mode: output, on_stop: keep, on_failure: "off"}
"""
INPUT, OUTPUT = 0, 1
"""Function selects of the controller."""


class Pi:
    """A booted Pi. Its commands run as root."""

    def __init__(self, machine: Machine, suite: str) -> None:
        self.machine = machine
        self.suite = suite

    def attempt(self, command: str) -> tuple[int, str]:
        """Run a shell command; return its exit status and output."""
        return self.machine.agent.attempt(command)

    def run(self, command: str) -> str:
        """Run a shell command, which must succeed; return its output without the last newline."""
        status, output = self.attempt(command)
        assert status == 0, f"{command}: {status}\n{output}"
        return output.rstrip("\n")

    def write(self, file: str, text: str) -> None:
        self.machine.agent.write(file, text)

    def clone(self) -> None:
        """Clone the last commit of this repository, as the user `pi`."""
        pack = [*GIT, "bundle", "create", "-", "HEAD"]
        bundle = subprocess.run(pack, capture_output=True, check=True).stdout
        self.machine.agent.write("/home/pi/bundle", bundle)
        self.run("runuser -l pi -c 'git clone -q bundle raspi-server'")

    def as_user(self, command: str) -> str:
        """Run a shell command in the clone, as the user `pi`, who may use sudo."""
        return self.run(f"runuser -l pi -c 'cd raspi-server && {command}'")

    def configure(self, pins: str) -> None:
        """Give the service these pins, which everyone may switch, and wait until it has them."""
        text = f"ssl: true\naccess: {{control: everyone}}\npins:\n{pins}"
        self.write(CONFIG, text)
        self.run("systemctl reload raspi-server")
        names = [line.split(":")[0].strip() for line in pins.splitlines()]
        self.wait_for(lambda: list(self.pins()) == names, "the service has the new pins")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer over HTTPS with status 200. The authority of this Pi is the
        only one that counts."""
        context = ssl.create_default_context(cadata=self.run("cat /etc/raspi-server/tls/ca.crt"))
        url = f"https://localhost:{self.machine.web_port}"
        response = ask(url, method, path, body, context=context)
        assert response.status == 200, response
        return response.json

    def pins(self) -> dict[str, dict[str, Any]]:
        """Return all pins by name."""
        return {pin["name"]: pin for pin in self.ask("GET", "/api/pins")["pins"]}

    def header(self) -> tuple[str, dict[int, str | None]]:
        """Return the model, and the holder of each GPIO."""
        header = self.ask("GET", "/api/header")
        pins = {pin["gpio"]: pin["holder"] for pin in header["pins"] if pin.get("gpio") is not None}
        return header["model"], pins

    def switch(self, pin: str, value: float) -> None:
        assert self.ask("PUT", f"/api/pins/{pin}", {"value": value})["value"] == value

    def level(self, gpio: int) -> int:
        """Return the level of a line by the controller's register."""
        return self.machine.monitor.word(GPIO + 0x34) >> gpio & 1

    def function(self, gpio: int) -> int:
        """Return the function select of a line: INPUT, OUTPUT, or another function of the chip."""
        return self.machine.monitor.word(GPIO + gpio // 10 * 4) >> gpio % 10 * 3 & 7

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run(f"systemctl show raspi-server --property {name} --value")

    def release(self) -> str:
        return self.run(f"basename $(readlink {CURRENT})")

    def doctor(self) -> str:
        """Return what doctor prints, whatever it finds."""
        return self.attempt("raspi-server doctor")[1]

    def wait_for(self, fact: Callable[[], bool], what: str) -> None:
        """Wait until `fact` is true; `what` names it in the error."""
        until = time.monotonic() + LIMIT
        while not fact():
            if time.monotonic() > until:
                journal = self.run("journalctl -u raspi-server -o cat -n 40")
                raise AssertionError(f"it never came true: {what}\n{journal}")
            time.sleep(0.05)

    def wait_until_active(self) -> None:
        self.wait_for(lambda: self.show("ActiveState") == "active", "the service is active")
