"""Pages of other sites that try to read the pins and to switch them, in a real browser. The same
attempts succeed from a page in `www`."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link
from tests.support.http import ask
from tests.support.server import Server, free_port

EVIL = "evil.example"
PINS = """
log_level: debug
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""
EVERYONE = "access: {control: everyone}" + PINS
ATTACK = """
async (target) => {
  const pins = target + "/api/pins", lamp = pins + "/lamp";
  const socket = (order) => new Promise((done) => {
    const ws = new WebSocket(target.replace("http", "ws") + "/ws");
    ws.onopen = () => order && ws.send(JSON.stringify(order));
    ws.onmessage = ({data}) => (!order || data.includes('"result"')) && done(data);
    ws.onerror = () => done("error");
    ws.onclose = ({code}) => done("closed with " + code);
  });
  const element = (name, source) => new Promise((done) => {
    const made = document.createElement(name);
    made.onload = () => {
      try { done("loaded " + (made.contentDocument?.body.textContent ?? "")); }
      catch (error) { done("closed: " + error); }
    };
    made.onerror = () => done("error");
    made.src = source;
    document.body.append(made);
  });
  const form = (to) => new Promise((done) => {
    const frame = document.createElement("iframe"), made = document.createElement("form");
    frame.name = made.target = "hidden";
    Object.assign(made, {action: to, method: "POST", enctype: "text/plain"});
    made.innerHTML = `<input name='{"x":"' value='"}'>`;
    document.body.append(frame, made);
    frame.onload = () => done("sent");
    made.submit();
  });
  const text = async (...asked) => (await fetch(...asked)).text();
  const tries = {
    "read by fetch": () => text(pins),
    "read by fetch with cookies": () => text(pins, {credentials: "include"}),
    "read by fetch without CORS": () => text(pins, {mode: "no-cors", credentials: "include"}),
    "read by socket": () => socket(),
    "read by frame": () => element("iframe", pins),
    "read by picture": () => element("img", pins),
    "read by script": () => element("script", pins),
    "switch by PUT": () => text(lamp, {method: "PUT", body: '{"value": 1}',
                                       credentials: "include"}),
    "switch by POST": () => text(lamp + "/toggle", {method: "POST", mode: "no-cors",
                                                    credentials: "include"}),
    "switch by POST as text": () => text(lamp + "/pulse", {
      method: "POST", mode: "no-cors", credentials: "include", body: '{"seconds": 60}',
      headers: {"Content-Type": "text/plain"}}),
    "switch by beacon": async () => navigator.sendBeacon(lamp + "/toggle", "{}"),
    "switch by form": () => form(lamp + "/toggle"),
    "switch by socket": () => socket({type: "toggle", pin: "lamp", ref: 1}),
    "switch by picture": () => element("img", lamp + "/toggle"),
    "frame the page": () => element("iframe", target + "/"),
  };
  const found = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try { found[name] = String(await attempt()); }
    catch (error) { found[name] = "failed: " + error; }
  }
  return found;
}
"""
WAYS_TO_READ = {"read by fetch", "read by fetch with cookies", "read by socket"}
WAYS_TO_SWITCH = {"switch by PUT", "switch by POST as text", "switch by socket"}
SWITCHES = ("PUT /api/pins/lamp:", "POST /api/pins/lamp/toggle:", "POST /api/pins/lamp/pulse:")


@pytest.fixture(scope="module")
def arguments(arguments: list[str]) -> list[str]:
    """Arguments of a browser that resolves the evil site's name to this machine."""
    return [*arguments, f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]


class _EvilPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>A harmless game</title>")

    def log_message(self, *_: Any) -> None:
        pass


class EvilSite:
    """A site that answers on `port` under any name, until it is closed."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), _EvilPage)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def evil_site() -> Iterator[EvilSite]:
    site = EvilSite()
    yield site
    site.close()


@pytest.fixture
def victim(browser: Browser) -> Iterator[BrowserContext]:
    """The browser of a person in the same network as the server."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def start_own(
    start_server: Callable[..., Server], victim: BrowserContext, tmp_path: Path
) -> Callable[[bool], Server]:
    """Start a server with a page `own.html`, on which everyone may switch; or one that needs a code
    for all, to which the victim's browser has signed in."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "own.html").write_text("<title>My own</title>")

    def start(is_coded: bool) -> Server:
        if not is_coded:
            return start_server(EVERYONE)
        Codes(tmp_path).renew("control")
        server = start_server("access: {view: code, control: code}" + PINS, env=folders(tmp_path))
        page = victim.new_page()
        page.goto(f"{server.url}{new_link(tmp_path)}")
        expect(page.locator("#session")).to_contain_text("Signed in to switch")
        page.close()
        return server

    return start


def attack(victim: BrowserContext, page: str, target: str) -> dict[str, str]:
    """Try everything from a page; return what came of each try."""
    opened = victim.new_page()
    opened.goto(page)
    found: dict[str, str] = opened.evaluate(ATTACK, target)
    opened.close()
    return found


def complete_log(server: Server) -> str:
    """Return the log once it has all that has happened so far."""
    before = server.log.count("GET /api/the-end: 404")
    ask(server, "GET", "/api/the-end")
    server.wait_for_log("GET /api/the-end: 404", again=before)
    return server.log


def check_none_succeeded(found: dict[str, str], server: Server) -> None:
    told = {way: result for way, result in found.items() if "lamp" in result or '"pins"' in result}
    assert told == {}
    assert "lamp (GPIO27): on" not in complete_log(server)


def check_all_succeeded(found: dict[str, str], server: Server) -> None:
    log = complete_log(server)
    for way in WAYS_TO_READ | WAYS_TO_SWITCH:
        assert "lamp" in found[way], (way, found[way])
    for way in SWITCHES:
        assert f"DEBUG {way} 200" in log
    assert "lamp (GPIO27): on" in log
    assert "DEBUG GET /api/pins/lamp/toggle: 405" in log


@pytest.mark.parametrize("is_coded", [False, True], ids=["everyone", "signed-in"])
def test_page_of_another_site(
    start_own: Callable[[bool], Server],
    victim: BrowserContext,
    evil_site: EvilSite,
    is_coded: bool,
) -> None:
    """A page of another site, or of another port of the same host, can neither read nor switch nor
    frame, also with a browser that is signed in. A page in `www` can read and switch with the same
    requests."""
    server = start_own(is_coded)
    for name in ("127.0.0.1", "localhost", EVIL):
        before = len(complete_log(server))
        found = attack(victim, f"http://{name}:{evil_site.port}/", server.url)
        check_none_succeeded(found, server)
        assert "Failed to fetch" in found["read by fetch without CORS"]
        rejected = {way for way in SWITCHES if f"DEBUG {way} 403" in server.log[before:]}
        assert rejected == set(SWITCHES[1:])  # a PUT is not even sent without being asked for
    check_all_succeeded(attack(victim, f"{server.url}/own.html", server.url), server)


def test_frame(
    start_server: Callable[..., Server], victim: BrowserContext, evil_site: EvilSite
) -> None:
    """A page of another site that puts ours into a frame gets an empty frame."""
    server = start_server(EVERYONE)
    page = victim.new_page()
    page.goto(f"http://{EVIL}:{evil_site.port}/")
    page.evaluate(
        """(source) => new Promise((loaded) => {
            const frame = document.createElement('iframe');
            frame.onload = loaded;
            frame.src = source;
            document.body.append(frame);
        })""",
        server.url,
    )
    _, frame = page.frames
    server.wait_for_log("GET /: 200")
    assert not frame.url.startswith(server.url)
    assert frame.locator("#pins").count() == 0


@pytest.mark.parametrize("is_named", [False, True], ids=["foreign", "in-access.hosts"])
def test_dns_rebinding(
    start_server: Callable[..., Server],
    victim: BrowserContext,
    evil_site: EvilSite,
    is_named: bool,
) -> None:
    """A page whose name is turned to this server's address once it is open can neither read nor
    switch, though the browser takes both for one site. Under a name of `access.hosts` it can."""
    page = victim.new_page()
    origin = f"http://{EVIL}:{evil_site.port}"
    page.goto(origin)
    evil_site.close()
    config = EVERYONE.replace("}", f", hosts: [{EVIL}]}}", 1) if is_named else EVERYONE
    server = start_server(config, port=evil_site.port)
    found = page.evaluate(ATTACK, origin)
    if is_named:
        check_all_succeeded(found, server)
        return
    check_none_succeeded(found, server)
    for way in ("read by fetch", "switch by PUT"):
        assert "this server does not go by the name evil.example" in found[way]
