"""Guests for the tests of the whole system: one boot for each suite of Debian."""

import json
import os
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ..wire import Client
from .guest import Guest, NotToBeHad, check_tools

SUITES = ("bookworm", "trixie")
PORT = 8090
"""The service's port in a guest, which has a network of its own; not the one of a fresh
configuration."""


def _unavailable(why: str) -> None:
    """Skips; but where CI may boot guests, it must."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="package", params=SUITES)
def booted(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A booted Debian with this checkout in it; tests leave nothing running in it."""
    try:
        check_tools()
        guest = Guest(request.param)
    except NotToBeHad as error:
        _unavailable(str(error))
        return
    yield guest
    guest.end()


class House:
    """raspi-server in a guest, seen over its network with nothing but its certificate authority."""

    def __init__(self, guest: Guest, port: int = PORT) -> None:
        self.guest = guest
        self.port = port

    def context(self) -> ssl.SSLContext:
        """Trusts the authority of this Pi and nothing else, and is as strict as Python can be."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self.guest.tell("cat /etc/raspi-server/tls/ca.crt"))
        return context

    def get(self, path: str = "/api/health") -> Any:
        """The JSON at a path, over https."""
        url = f"https://localhost:{self.port}{path}"
        context = self.context()
        with (
            self.guest.network(),
            urllib.request.urlopen(url, timeout=10, context=context) as answer,
        ):
            return json.load(answer)

    def viewer(self) -> Client:
        """A phone with the page open."""
        context = self.context()
        with self.guest.network():
            return Client(self.port, context=context)

    def is_serving(self) -> bool:
        try:
            return bool(self.get()["status"] == "ok")
        except OSError:
            return False

    def wait_until_serving(self, limit: float = 60.0) -> None:
        """Nothing outside announces it, so it is asked again and again."""
        for _ in self.guest.patience("it never served again", limit):
            if self.is_serving():
                return

    def release(self) -> str:
        return self.guest.tell("basename $(readlink /opt/raspi-server/current)")

    def releases(self) -> list[str]:
        return self.guest.tell("ls /opt/raspi-server/releases").split()

    def journal(self, since: str = "") -> str:
        """What the service has said since a cursor."""
        cursor = f"--after-cursor='{since}'" if since else ""
        self.guest.run("journalctl --sync")
        return self.guest.tell(f"journalctl -u raspi-server -o cat --no-pager {cursor}")

    def cursor(self) -> str:
        """The end of the journal as it is now."""
        said = self.guest.tell("journalctl --sync; journalctl -n 1 -q --show-cursor -o cat")
        return said.rpartition("-- cursor: ")[2]

    def configure(self, text: str) -> None:
        self.guest.write("/etc/raspi-server/config.yaml", text)

    def edit(self, file: str, old: str, new: str) -> None:
        """Changes a line of the checkout in the guest."""
        path = f"{self.guest.checkout}/{file}"
        text = self.guest.tell(f"cat '{path}'")
        assert old in text, f"{file} has no {old}"
        self.guest.write(path, text.replace(old, new, 1) + "\n")


@pytest.fixture(scope="module")
def bare(booted: Guest) -> House:
    """A machine on which raspi-server was never installed, and the checkout."""
    booted.run(f"! test -e '{booted.checkout}' || '{booted.checkout}/scripts/uninstall.sh' --purge")
    booted.put_checkout()
    return House(booted)


PUT_BACK = """
rm -rf /etc/systemd/system/raspi-server.service.d
mkdir -p /opt/raspi-server
cd /opt/raspi-server
rm -rf releases wheels previous
cp -a /opt/kept/releases /opt/kept/wheels .
"""


def install(house: House) -> None:
    """Installs this checkout; from the second time on with the release that the first has built."""
    if house.guest.run("test -d /opt/kept", check=False).returncode:
        house.guest.install(f"--port {house.port}")
        house.guest.run("cp -a /opt/raspi-server /opt/kept")
    else:
        house.guest.run(PUT_BACK)
        assert "Building" not in house.guest.install(f"--port {house.port}").stdout


@pytest.fixture(scope="module")
def _installed(bare: House) -> House:
    install(bare)
    return bare


@pytest.fixture
def house(_installed: House) -> Iterator[House]:
    """raspi-server installed from this checkout and serving, with a configuration without pins; a
    test may change both."""
    house = _installed
    yield house
    guest = house.guest
    guest.put_checkout()
    text = guest.tell(f"cat '{guest.checkout}/config.yaml'")
    text = text.replace("ssl: false", "ssl: true").replace("port: 8080", f"port: {house.port}")
    house.configure(text + "\n")
    guest.run(f"{PUT_BACK} ln -sfn releases/$(ls releases) current")
    guest.run("systemctl daemon-reload; systemctl restart raspi-server")
    assert "Building" not in guest.install().stdout
