"""Fixtures for the tests of the whole system: one booted guest for each suite of Debian."""

import os
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http import Response, ask
from tests.support.websocket import WebSocketClient
from tests.system.debian.guest import Guest, GuestUnavailableError, check_tools

SUITES = ("trixie", "bookworm")
PORT = 8090
"""Port of the service in a guest, which has its own network; not the default port."""
CONFIG_FILE = "/etc/raspi-server/config.yaml"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on all suites, or on one if it is marked `one_debian`."""
    if "booted" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("one_debian")
        suites = (marker.args or SUITES[:1]) if marker else SUITES
        metafunc.parametrize("booted", suites, indirect=True, scope="package")


def skip_unavailable(reason: str) -> None:
    """Skip the tests, or fail if this is CI as root, which can boot guests."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="package")
def booted(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A booted Debian. Tests leave nothing running in it."""
    try:
        check_tools()
        guest = Guest(request.param)
    except GuestUnavailableError as error:
        skip_unavailable(str(error))
        return
    yield guest
    guest.end()


class Service:
    """raspi-server in a guest, reached over the guest's network."""

    def __init__(self, guest: Guest, port: int = PORT) -> None:
        self.guest = guest
        self.port = port

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts this Pi's authority only, as strict as Python can be."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self.guest.output("cat /etc/raspi-server/tls/ca.crt"))
        return context

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Send a request over HTTPS."""
        url, context = f"https://localhost:{self.port}", self.context()
        with self.guest.network():
            return ask(url, method, path, body, context=context, **headers)

    def get(self, path: str = "/api/health") -> Any:
        """Return the JSON at a path."""
        response = self.ask("GET", path)
        assert response.status == 200, response
        return response.json

    def viewer(self) -> WebSocketClient:
        """Return a WebSocket client, such as a phone with the open page."""
        context = self.context()
        with self.guest.network():
            return WebSocketClient(self.port, context=context)

    def is_serving(self) -> bool:
        try:
            response = self.ask("GET", "/api/health")
        except OSError:
            return False
        return response.status == 200 and bool(response.json["status"] == "ok")

    def wait_until_serving(self) -> None:
        for _ in self.guest.attempts("it never served again"):
            if self.is_serving():
                return

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.guest.output(f"systemctl show raspi-server --property {name} --value")

    def release(self) -> str:
        return self.guest.output("basename $(readlink /opt/raspi-server/current)")

    def releases(self) -> list[str]:
        return self.guest.output("ls /opt/raspi-server/releases").split()

    def journal(self, cursor: str) -> str:
        """Return what the service logged after a cursor."""
        show = f"journalctl -u raspi-server -o cat --no-pager --after-cursor='{cursor}'"
        return self.guest.output(f"journalctl --sync; {show}")

    def cursor(self) -> str:
        """Return the present end of the journal."""
        said = self.guest.output("journalctl --sync; journalctl -n 1 -q --show-cursor -o cat")
        return said.rpartition("-- cursor: ")[2]

    def config(self) -> str:
        return self.guest.output(f"cat {CONFIG_FILE}") + "\n"

    def configure(self, text: str) -> None:
        self.guest.write(CONFIG_FILE, text)

    def edit(self, old: str, new: str, file: str = CONFIG_FILE) -> None:
        """Replace a text of a file."""
        text = self.guest.output(f"cat '{file}'")
        assert old in text, f"{file} has no {old}"
        self.guest.write(file, text.replace(old, new, 1) + "\n")

    def drop_in(self, *lines: str) -> None:
        """Change the unit until the end of the test."""
        folder = "/etc/systemd/system/raspi-server.service.d"
        self.guest.run(f"mkdir -p {folder}")
        self.guest.write(f"{folder}/test.conf", "\n".join(["[Service]", *lines, ""]))
        self.guest.run("systemctl daemon-reload")


@pytest.fixture(scope="module")
def bare(booted: Guest) -> Service:
    """A machine with the checkout on which raspi-server was never installed."""
    booted.run(f"! test -e '{booted.checkout}' || '{booted.checkout}/scripts/uninstall.sh' --purge")
    booted.put_checkout()
    return Service(booted)


PUT_BACK = """
mkdir -p /opt/raspi-server
cd /opt/raspi-server
rm -rf releases wheels previous
cp -a /opt/kept/releases /opt/kept/wheels .
"""


def install(service: Service) -> None:
    """Install this checkout; use the release that was built the first time, if there is one."""
    guest = service.guest
    if guest.run("test -d /opt/kept", check=False).returncode:
        guest.install(f"--port {service.port}")
        guest.run("cp -a /opt/raspi-server /opt/kept")
    else:
        guest.run(PUT_BACK)
        assert "Building" not in guest.install(f"--port {service.port}").stdout


@pytest.fixture(scope="module")
def installed(bare: Service) -> Service:
    """raspi-server installed from this checkout and serving, with a configuration without pins. For
    tests that leave it serving as it was."""
    install(bare)
    return bare


RESTART = """
rm -rf /etc/systemd/system/raspi-server.service.d
systemctl daemon-reload
systemctl restart raspi-server
systemctl start raspi-server-cert.timer
/opt/raspi-server/current/scripts/refresh-network.sh
"""


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    """The same for tests that change the configuration, the unit, the checkout or the releases.
    Afterwards they are put back."""
    guest, text = installed.guest, installed.config()
    guest.run("touch /run/began")
    yield installed
    installed.configure(text)
    changed = f"find /opt/raspi-server '{guest.checkout}' -newercm /run/began -print -quit"
    if guest.output(changed):
        guest.put_checkout()
        guest.run(f"{PUT_BACK} ln -sfn releases/$(ls releases) current")
    guest.run(RESTART)
