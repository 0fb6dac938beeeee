"""The pages below a path of a reverse proxy, as with nginx's `location /pi/ { proxy_pass …/; }`."""

import contextlib
import json
import re
import signal
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin

import pytest
from playwright.sync_api import expect

from raspi_server.security.codes import Codes
from tests.browser.looking import (
    CONFIG,
    INSTALL_WORKER,
    NO_WEBSOCKETS,
    card,
    expect_live,
    open_row,
    string,
    value,
    word,
)
from tests.browser.test_service_worker import wait_for_kept
from tests.support.coded_server import folders
from tests.support.http import ask
from tests.support.mqtt import Brokers
from tests.support.server import Server

PREFIX = b"/pi/"


class Proxy(socketserver.ThreadingTCPServer):
    """A reverse proxy that removes the prefix, and sends another `host` if there is one. Paths
    without the prefix are noted in `lost`."""

    daemon_threads = True
    block_on_close = False
    lost: ClassVar[list[bytes]] = []

    def __init__(self, port: int, host: bytes | None = None) -> None:
        self.onward_port, self.host = port, host
        super().__init__(("127.0.0.1", 0), Relay)
        self.url = f"http://127.0.0.1:{self.server_address[1]}{PREFIX.decode().rstrip('/')}"


class Relay(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        address = ("127.0.0.1", self.server.onward_port)
        with contextlib.suppress(OSError), socket.create_connection(address) as onward:
            threading.Thread(target=copy, args=(onward, self.request), daemon=True).start()
            copy(self.request, onward, self.without_prefix)

    def without_prefix(self, data: bytes) -> bytes:
        """Return what a browser sent, in which a request begins the data or is not there."""
        request = re.match(rb"(?:GET|HEAD|POST|PUT) (\S+) HTTP/1.1\r\n", data)
        if request and not request[1].startswith(PREFIX):
            self.server.lost.append(request[1])
        if request and self.server.host:
            data = re.sub(rb"\r\nHost: [^\r]+", b"\r\nHost: " + self.server.host, data, count=1)
        return data.replace(PREFIX, b"/", 1) if request else data


def copy(
    source: socket.socket, to: socket.socket, change: Callable[[bytes], bytes] = bytes
) -> None:
    """Pass on all that is received, and its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            to.sendall(change(data))
        to.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Callable[[Server], Proxy]]:
    with contextlib.ExitStack() as ends:

        def start(server: Server, host: bytes | None = None) -> Proxy:
            proxy = ends.enter_context(Proxy(server.port, host))
            thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
            thread.start()
            ends.callback(thread.join)
            ends.callback(proxy.shutdown)
            return proxy

        yield start
    assert set(Proxy.lost) <= {b"/favicon.ico"}, "an address leaves the prefix"


def test_dashboard(start_server, open_page, proxy) -> None:
    """The dashboard, its downloads, its app and its service worker work and stay below a prefix.
    While the server is away, or does not answer, the page opens and says so, and is live
    afterwards."""
    server = start_server(CONFIG)
    reached = proxy(server)
    page = open_page(f"{reached.url}/")
    expect_live(page)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    assert value(server, "lamp") == 1
    page.locator("#board summary").click()
    expect(page.locator(".header > button")).to_have_count(40)
    open_row(page, "lamp").get_by_role("link").click()
    expect(page.locator(".changes li")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "127.0.0.1" in Path(download.value.path()).read_text()

    page.goto(f"{reached.url}/")
    found = page.context.new_cdp_session(page).send("Page.getAppManifest")
    assert found["errors"] == []
    app = json.loads(found["data"])
    assert app["name"] and app["display"] == "standalone"
    assert {found["manifest"][key] for key in ("startUrl", "scope")} == {f"{reached.url}/"}
    icons = {(icon["purpose"], icon["sizes"]): icon["src"] for icon in app["icons"]}
    assert {("any", "192x192"), ("any", "512x512"), ("maskable", "512x512")} <= icons.keys()
    icons["apple", "180x180"] = f"{reached.url}/apple-touch-icon.png"
    for (kind, sizes), path in icons.items():
        image = page.request.get(urljoin(found["url"], path)).body()
        width, height = int.from_bytes(image[16:20]), int.from_bytes(image[20:24])
        assert f"{width}x{height}" == sizes
        assert (b"tRNS" in image) == (kind == "any")  # transparent colours

    page.evaluate(INSTALL_WORKER)
    page.reload()
    for file in ("languages/en.json", "style.css", "dashboard/dashboard.js", "raspi.js"):
        wait_for_kept(page, f"/pi/{file}")
    server.process.send_signal(signal.SIGSTOP)
    try:
        page.reload(wait_until="commit")
        expect(page.locator("#link")).to_have_text(re.compile("Connecting|Reconnecting"))
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect_live(page)
    server.stop()
    page.reload()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    expect(page.locator("#last-known")).to_be_visible()
    expect(page.locator("#pins [role=switch]")).to_have_count(0)
    server.restart()
    expect_live(page)


def test_polling_and_signing_in(start_server, open_page, proxy, shoot, tmp_path: Path) -> None:
    """If no WebSocket gets through, the page says why, and everything works by polling."""
    code = Codes(tmp_path).renew("control")
    config = CONFIG.replace("everyone", "code")
    server = start_server(config, env=folders(tmp_path))
    reached = proxy(server)
    page = open_page("about:blank")
    page.add_init_script(NO_WEBSOCKETS)
    page.goto(f"{reached.url}/")
    expect(page.locator("#link")).to_contain_text(string("polling"))
    page.locator("#session").get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()
    expect(page.locator("#session")).to_contain_text(string("signedInControl"))
    # Another site of this host may use the same name.
    (cookie,) = page.context.cookies(f"{reached.url}/")
    assert cookie["path"] == "/pi"
    theirs = {"name": cookie["name"], "value": "x", "url": reached.url.removesuffix("/pi")}
    page.context.add_cookies([theirs])
    page.reload()
    lamp = page.get_by_role("switch", name="Desk lamp")
    lamp.click()
    expect(lamp).to_be_checked()
    open_row(page, "fan").get_by_role("slider", name="Fan level").fill("35")
    expect(word(page, "fan")).to_have_text("35%")
    ask(server, "PUT", "/api/pins/lamp", {"value": 0}, Authorization=f"Bearer {code}")
    expect(lamp).not_to_be_checked()
    expect(card(page, "door").locator(".control button")).to_have_count(0)  # only a socket moves it
    expect(page.locator('[data-fact="memory"]')).to_be_visible()
    notice = page.locator('[data-code="polling"]')
    expect(notice).to_contain_text("until they trust the certificate")
    shoot(page)
    server.reload(config + "  shed: {gpio: 6, mode: input, label: Garden shed}\n")
    expect(card(page, "shed")).to_contain_text("Garden shed")
    server.reload(config + "  shed: {gpio: 99, mode: input}\n")
    expect(page.locator('[data-code="configuration"]')).to_contain_text("GPIO0 to GPIO27")
    page.get_by_role("button", name="All notices").click()
    trust = notice.get_by_role("link", name=string("howToTrust")).evaluate("link => link.href")
    assert trust == f"{reached.url}/trust/"
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#session .sign-out")).to_be_hidden()
    assert [each["value"] for each in page.context.cookies(f"{reached.url}/")] == ["x"]
    page = open_page(trust)
    expect(page.locator("h1")).to_have_text(string("title", section="trust"))
    onward = page.locator("#on").evaluate("link => link.href")
    assert onward == f"{reached.url.replace('http', 'https')}/"


def test_proxy_that_changes_the_host(start_server, open_page, proxy) -> None:
    """Behind a bare `proxy_pass` the page shows which line of the proxy mends a refused press."""
    page = open_page(f"{proxy(start_server(CONFIG), b'127.0.0.1:8080').url}/")
    expect(page.locator("#link")).to_contain_text(string("polling"))
    page.get_by_role("switch", name="Desk lamp").click()
    why = page.get_by_role("alert")
    expect(why).to_contain_text("and the request is for http://127.0.0.1:8080")
    expect(why).to_contain_text("(nginx: proxy_set_header Host $http_host;")


def test_other_pages(start_server, open_page, proxy, shoot, tmp_path: Path) -> None:
    """Below a prefix scripts, examples, the 404 page, the fleet page and all links work."""
    deep = tmp_path / "www" / "garden" / "pond"
    deep.mkdir(parents=True)
    (deep / "index.html").write_text(
        '<!DOCTYPE html><script type="module">import { connect } from "../../raspi.js";'
        'connect().on("link", (link) => (document.title = link));</script>'
    )
    with Brokers(tmp_path) as brokers:
        mqtt = f'mqtt: {{url: "{brokers.broker().url}", topic: a/b, control: true, fleet: true}}\n'
        reached = proxy(start_server(CONFIG + mqtt))
        page = open_page(f"{reached.url}/garden/pond/")
        expect(page).to_have_title("live")
        page.goto(f"{reached.url}/examples")  # leads to the address with a slash
        page.wait_for_url(f"{reached.url}/examples/")
        page.locator('a[href="table.html"]').click()
        expect(page.locator("tbody tr")).to_have_count(6)
        shoot(page)
        for path in ("/nothing", "/v/current/x/y/z.html"):
            page.goto(f"{reached.url}{path}")
            expect(page.locator("h2")).to_have_text("There is no such page here")
            expect(page.locator("header")).to_have_css("position", "sticky")
        shoot(page)
        page.get_by_role("link", name="To the pins").click()
        page.wait_for_url(f"{reached.url}/")
        page.get_by_role("link", name="All Raspberry Pis").click()
        page.wait_for_url(f"{reached.url}/fleet/")
        expect(page.locator("#notices")).to_contain_text(string("alone", section="fleet"))
        lamp = page.locator('[data-pin="lamp"]').get_by_role("switch")
        lamp.click()
        expect(lamp).to_be_checked()
        page.get_by_role("link", name="The page of this Raspberry Pi").click()
        page.wait_for_url(f"{reached.url}/")
        expect_live(page)
