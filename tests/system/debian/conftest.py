"""Fixtures for the tests of the whole system: one booted guest for each suite of Debian."""

import json
import os
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.websocket import WebSocketClient
from tests.system.debian.guest import Guest, GuestUnavailable, check_tools

SUITES = ("bookworm", "trixie")
PORT = 8090
"""Port of the service in a guest, which has its own network; not the port of a fresh
configuration."""


def _unavailable(why: str) -> None:
    """Skip the tests, or fail if this is CI as root, which can boot guests."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="package", params=SUITES)
def booted(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A booted Debian with this checkout; tests leave nothing running in it."""
    try:
        check_tools()
        guest = Guest(request.param)
    except GuestUnavailable as error:
        _unavailable(str(error))
        return
    yield guest
    guest.end()


class Service:
    """raspi-server in a guest, reached over its network and trusted by its authority only."""

    def __init__(self, guest: Guest, port: int = PORT) -> None:
        self.guest = guest
        self.port = port

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts this Pi's authority only, as strict as Python can be."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self.guest.output("cat /etc/raspi-server/tls/ca.crt"))
        return context

    def get(self, path: str = "/api/health") -> Any:
        """Return the JSON at a path, over https."""
        url = f"https://localhost:{self.port}{path}"
        context = self.context()
        with (
            self.guest.network(),
            urllib.request.urlopen(url, timeout=10, context=context) as answer,
        ):
            return json.load(answer)

    def viewer(self) -> WebSocketClient:
        """Return a WebSocket client, as a phone with the open page is."""
        context = self.context()
        with self.guest.network():
            return WebSocketClient(self.port, context=context)

    def is_serving(self) -> bool:
        try:
            return bool(self.get()["status"] == "ok")
        except OSError:
            return False

    def wait_until_serving(self, limit: float = 60.0) -> None:
        """Ask until it serves: nothing reports that to other machines."""
        for _ in self.guest.attempts("it never served again", limit):
            if self.is_serving():
                return

    def release(self) -> str:
        return self.guest.output("basename $(readlink /opt/raspi-server/current)")

    def releases(self) -> list[str]:
        return self.guest.output("ls /opt/raspi-server/releases").split()

    def journal(self, since: str = "") -> str:
        """Return what the service logged after a cursor."""
        cursor = f"--after-cursor='{since}'" if since else ""
        self.guest.run("journalctl --sync")
        return self.guest.output(f"journalctl -u raspi-server -o cat --no-pager {cursor}")

    def cursor(self) -> str:
        """Return the present end of the journal."""
        said = self.guest.output("journalctl --sync; journalctl -n 1 -q --show-cursor -o cat")
        return said.rpartition("-- cursor: ")[2]

    def configure(self, text: str) -> None:
        self.guest.write("/etc/raspi-server/config.yaml", text)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text of the checkout in the guest."""
        path = f"{self.guest.checkout}/{file}"
        text = self.guest.output(f"cat '{path}'")
        assert old in text, f"{file} has no {old}"
        self.guest.write(path, text.replace(old, new, 1) + "\n")


@pytest.fixture(scope="module")
def bare(booted: Guest) -> Service:
    """A machine with the checkout on which raspi-server was never installed."""
    booted.run(f"! test -e '{booted.checkout}' || '{booted.checkout}/scripts/uninstall.sh' --purge")
    booted.put_checkout()
    return Service(booted)


PUT_BACK = """
rm -rf /etc/systemd/system/raspi-server.service.d
mkdir -p /opt/raspi-server
cd /opt/raspi-server
rm -rf releases wheels previous
cp -a /opt/kept/releases /opt/kept/wheels .
"""


def install(service: Service) -> None:
    """Install this checkout; use the release that was built the first time, if there is one."""
    if service.guest.run("test -d /opt/kept", check=False).returncode:
        service.guest.install(f"--port {service.port}")
        service.guest.run("cp -a /opt/raspi-server /opt/kept")
    else:
        service.guest.run(PUT_BACK)
        assert "Building" not in service.guest.install(f"--port {service.port}").stdout


@pytest.fixture(scope="module")
def _installed(bare: Service) -> Service:
    install(bare)
    return bare


@pytest.fixture
def service(_installed: Service) -> Iterator[Service]:
    """raspi-server installed from this checkout and serving, with a configuration without pins. A
    test may change both."""
    service = _installed
    yield service
    guest = service.guest
    guest.put_checkout()
    text = guest.output(f"cat '{guest.checkout}/config.yaml'")
    text = text.replace("ssl: false", "ssl: true").replace("port: 8080", f"port: {service.port}")
    service.configure(text + "\n")
    guest.run(f"{PUT_BACK} ln -sfn releases/$(ls releases) current")
    guest.run("systemctl daemon-reload; systemctl restart raspi-server")
    assert "Building" not in guest.install().stdout
