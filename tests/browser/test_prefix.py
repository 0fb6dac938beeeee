"""The pages below a path of a reverse proxy, as with nginx's `location /pi/ { proxy_pass …/; }`."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest
from playwright.sync_api import Page, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import CONFIG, expect_live, value
from tests.conftest import LIMIT, Server
from tests.home import folders
from tests.mqtt_rig import Brokers

PREFIX = "/pi/"
FIRST_LINE = re.compile(rb"^([A-Z]+) (\S+) (HTTP/1\.1)\r\n")


class Proxy:
    """A reverse proxy that removes the prefix, in a thread of its own. Each connection carries one
    request, so that all have the prefix; a path without it is a 404, which is recorded."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.lost: list[str] = []
        self._ports: Queue[int] = Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._ports.get(timeout=LIMIT)}{PREFIX.rstrip('/')}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._ports.put(server.sockets[0].getsockname()[1])
        await self._end.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        match = FIRST_LINE.match(head)
        assert match
        method, path, version = match.groups()
        if not path.startswith(PREFIX.encode()):
            self.lost.append(path.decode())
            writer.write(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            writer.close()
            return
        head = (
            method
            + b" /"
            + path.removeprefix(PREFIX.encode())
            + b" "
            + version
            + head[match.end() - 2 :]
        )
        if b"Upgrade: websocket" not in head:
            head = re.sub(rb"\r\nConnection: [^\r]*", b"", head)
            head = head[:-2] + b"Connection: close\r\n\r\n"
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._to)
        onward_writer.write(head)
        await asyncio.gather(_copy(reader, onward_writer), _copy(onward_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.CancelledError):  # cancelled when the proxy ends
        pass
    finally:
        writer.close()


@pytest.fixture
def proxy() -> Iterator[Callable[[Server], Proxy]]:
    proxies: list[Proxy] = []

    def start(server: Server) -> Proxy:
        proxies.append(Proxy(server.port))
        return proxies[-1]

    yield start
    for each in proxies:
        each.close()
        assert each.lost == [], "an address leaves the prefix"


def test_dashboard(start_server, open_page, proxy) -> None:
    """The dashboard is live below a prefix, switches, shows the history of a pin, and offers it for
    download."""
    server = start_server(CONFIG)
    page = open_page(f"{proxy(server).url}/")
    expect_live(page)
    expect(page.locator("#health")).to_be_visible()
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    assert value(server, "lamp") == 1
    page.locator("#board summary").click()
    expect(page.locator(".header button")).to_have_count(40)
    page.get_by_role("link", name="History of Desk lamp").click()
    expect(page.locator(".changes tbody tr")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "127.0.0.1" in Path(download.value.path()).read_text()


def test_polling(start_server, open_page, proxy) -> None:
    """Where no WebSocket gets through, polling works below a prefix, and the way to the trust page
    stays below it."""
    server = start_server(CONFIG)
    reached = proxy(server)
    page = open_page("about:blank")
    page.add_init_script("window.WebSocket = class { constructor() { throw new Error(); } };")
    page.goto(f"{reached.url}/")
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    trust = page.get_by_role("link", name="How to trust it").evaluate("link => link.href")
    assert trust == f"{reached.url}/trust/"
    page = open_page(trust)
    expect(page.locator("h1")).to_have_text("A safe way in")
    onward = page.locator("#on").evaluate("link => link.href")
    assert onward == f"{reached.url.replace('http', 'https')}/"


def test_signing_in(start_server, open_page, proxy, tmp_path: Path) -> None:
    """Signing in and out works below a prefix."""
    code = Codes(tmp_path).renew("control")
    server = start_server(CONFIG.replace("everyone", "code"), env=folders(tmp_path))
    page = open_page(f"{proxy(server).url}/")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    page.reload()
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#session")).to_be_hidden()


def test_fleet(start_server, open_page, proxy, tmp_path: Path) -> None:
    """The fleet page is live below a prefix; the links between the two pages stay below it."""
    with Brokers(tmp_path) as brokers:
        mqtt = f'mqtt: {{url: "{brokers.broker().url}", topic: a/b, control: true, fleet: true}}\n'
        server = start_server(CONFIG + mqtt)
        reached = proxy(server)
        page = open_page(f"{reached.url}/")
        page.get_by_role("link", name="All Raspberry Pis").click()
        page.wait_for_url(f"{reached.url}/fleet/")
        lamp = page.locator('[data-pin="lamp"]').get_by_role("switch")
        lamp.click()
        expect(lamp).to_be_checked()
        page.get_by_role("link", name="The page of this Raspberry Pi").click()
        page.wait_for_url(f"{reached.url}/")
        expect_live(page)


def test_pages_of_ones_own(start_server, open_page, proxy, tmp_path: Path) -> None:
    """`raspi.js` finds the server from pages of any depth; so do the examples."""
    deep = tmp_path / "www" / "garden" / "pond"
    deep.mkdir(parents=True)
    (deep / "index.html").write_text(
        '<!DOCTYPE html><script type="module">import { connect } from "../../raspi.js";'
        'connect().on("link", (link) => (document.title = link));</script>'
    )
    server = start_server(CONFIG)
    reached = proxy(server)
    page = open_page(f"{reached.url}/garden/pond/")
    expect(page).to_have_title("live")
    page.goto(f"{reached.url}/examples/table.html")
    expect(page.locator("tbody tr")).to_have_count(6)
    page.goto(f"{reached.url}/examples/")
    page.get_by_role("link", name="To the pins").click()
    page.wait_for_url(f"{reached.url}/")
    expect_live(page)


@pytest.mark.parametrize("path", ["/nothing", "/not/there/", "/v/current/x/y/z.html"])
def test_a_page_that_is_not_there(start_server, open_page, proxy, path: str) -> None:
    """The 404 page of any path finds its style, and leads to the pins."""
    reached = proxy(start_server(CONFIG))
    page: Page = open_page(f"{reached.url}{path}")
    expect(page.locator("h2")).to_have_text("There is no such page here")
    expect(page.locator("header")).to_have_css("position", "sticky")
    page.get_by_role("link", name="To the pins").click()
    page.wait_for_url(f"{reached.url}/")
    expect_live(page)


def test_home_screen(start_server, open_page, proxy) -> None:
    """Below a prefix the app starts and stays there, and so does its service worker, which opens
    the page while the server is away."""
    server = start_server(CONFIG)
    reached = proxy(server)
    page = open_page(f"{reached.url}/")
    session = page.context.new_cdp_session(page)
    found = session.send("Page.getAppManifest")
    assert found["errors"] == []
    manifest = session.send("Page.getAppManifest")["manifest"]
    assert manifest["startUrl"] == manifest["scope"] == f"{reached.url}/"
    assert all(page.request.get(icon["url"]).ok for icon in manifest["icons"])
    page.evaluate("""async () => {
        const workers = navigator.serviceWorker;
        const controlled = new Promise((done) => (workers.oncontrollerchange = done));
        await workers.register("service-worker.js");
        if (!workers.controller) await controlled;
    }""")
    page.reload()
    expect_live(page)
    page.wait_for_function("""async () => {
        for (const name of await caches.keys()) {
            const requests = await (await caches.open(name)).keys();
            if (requests.some(({ url }) => url.endsWith("/ui/strings.en.js"))) return true;
        }
    }""")
    server.stop()
    page.reload()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
