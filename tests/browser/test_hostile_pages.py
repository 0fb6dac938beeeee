"""Pages of other sites in a real browser that try to read the pins and to switch them. The same
attempts succeed from a page of our own."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link
from tests.support.server import free_port

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
    """This browser believes that the evil site is where it says, which is this machine."""
    return [*arguments, f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]


class _EvilPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>A harmless game</title>")

    def log_message(self, *_: Any) -> None:
        pass


class EvilSite:
    """Serves a page to everybody who comes to `port`, under whatever name, until it vanishes."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), _EvilPage)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def vanish(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def evil_site() -> Iterator[EvilSite]:
    site = EvilSite()
    yield site
    site.vanish()


@pytest.fixture
def victim(browser: Browser) -> Iterator[BrowserContext]:
    """The browser of somebody in the house."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context
    context.close()


def attack(victim: BrowserContext, page: str, target: str) -> dict[str, str]:
    """Opens a page and tries everything from there; what came of each try."""
    opened = victim.new_page()
    opened.goto(page)
    found: dict[str, str] = opened.evaluate(ATTACK, target)
    opened.close()
    return found


def read_the_log(server: Any) -> None:
    """Until it says all that has happened so far."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(f"{server.url}/api/the-end", timeout=15)
    server.wait_for_log("GET /api/the-end: 404")


def check_nothing_came_of_it(found: dict[str, str], server: Any) -> None:
    read_the_log(server)
    told = {way: what for way, what in found.items() if "lamp" in what or '"pins"' in what}
    assert told == {}
    assert "lamp (GPIO27): on" not in server.log


def refused(server: Any) -> set[str]:
    """Return the ways of switching that have reached the server."""
    return {way for way in SWITCHES if f"DEBUG {way} 403" in server.log}


@pytest.fixture
def sign_in(start_server: Callable[..., Any], tmp_path: Path, victim: BrowserContext) -> Any:
    """A server that wants a code for all, and a browser that has shown it."""
    Codes(tmp_path).renew("control")
    server = start_server("access: {view: code, control: code}" + PINS, env=folders(tmp_path))
    page = victim.new_page()
    page.goto(f"{server.url}{new_link(tmp_path)}")
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    page.close()
    return server


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", EVIL])
def test_a_page_of_another_site(
    start_server: Callable[..., Any], victim: BrowserContext, evil_site: EvilSite, name: str
) -> None:
    """Where everybody may switch, a page of another site, or of another port of the same address,
    still can neither read nor switch nor frame, from any browser in the house."""
    server = start_server(EVERYONE)
    found = attack(victim, f"http://{name}:{evil_site.port}/", server.url)
    check_nothing_came_of_it(found, server)
    assert "Failed to fetch" in found["read by fetch without CORS"]
    assert refused(server) == set(SWITCHES[1:])  # a PUT is not even sent without being asked for


@pytest.mark.parametrize("name", ["127.0.0.1", EVIL])
def test_a_page_of_another_site_and_a_browser_that_is_signed_in(
    sign_in: Any, victim: BrowserContext, evil_site: EvilSite, name: str
) -> None:
    """Nor can it with the help of a browser that is signed in."""
    found = attack(victim, f"http://{name}:{evil_site.port}/", sign_in.url)
    check_nothing_came_of_it(found, sign_in)
    assert refused(sign_in) == set(SWITCHES[1:])


def test_our_page_cannot_be_framed(
    start_server: Callable[..., Any], victim: BrowserContext, evil_site: EvilSite
) -> None:
    """A page of another site that lays ours under a harmless one gets an empty frame."""
    server = start_server(EVERYONE)
    page = victim.new_page()
    page.goto(f"http://{EVIL}:{evil_site.port}/")
    page.evaluate("(source) => new Promise((loaded) => {"
                  "  const frame = document.createElement('iframe');"
                  "  frame.onload = loaded; frame.src = source; document.body.append(frame); })",
                  server.url)  # fmt: skip
    _, frame = page.frames
    server.wait_for_log("GET /: 200")
    assert not frame.url.startswith(server.url)
    assert frame.locator("#pins").count() == 0


def test_a_rebound_name(
    start_server: Callable[..., Any], victim: BrowserContext, evil_site: EvilSite
) -> None:
    """A page whose name is turned to this server's address once it is open (DNS rebinding), so that
    the browser takes all that is here for its own, can neither read nor switch."""
    found, server = rebind(victim, evil_site, start_server, EVERYONE)
    check_nothing_came_of_it(found, server)
    for way in ("read by fetch", "switch by PUT"):
        assert "this server does not go by the name evil.example" in found[way]


def test_a_name_of_our_own_that_looks_the_same(
    start_server: Callable[..., Any], victim: BrowserContext, evil_site: EvilSite
) -> None:
    """The very same tries under a name that stands in `access.hosts` read and switch."""
    config = EVERYONE.replace("}", f", hosts: [{EVIL}]}}", 1)
    found, server = rebind(victim, evil_site, start_server, config)
    check_all_came_of_it(found, server)


def rebind(
    victim: BrowserContext, evil_site: EvilSite, start_server: Callable[..., Any], config: str
) -> tuple[dict[str, str], Any]:
    """What a page finds when its own site has vanished and our server stands in its place, and
    that server."""
    page = victim.new_page()
    origin = f"http://{EVIL}:{evil_site.port}"
    page.goto(origin)
    evil_site.vanish()
    server = start_server(config, port=evil_site.port)
    return page.evaluate(ATTACK, origin), server


def check_all_came_of_it(found: dict[str, str], server: Any) -> None:
    read_the_log(server)
    for way in WAYS_TO_READ | WAYS_TO_SWITCH:
        assert "lamp" in found[way], (way, found[way])
    for way in SWITCHES:
        assert f"DEBUG {way} 200" in server.log
    assert "lamp (GPIO27): on" in server.log
    assert "DEBUG GET /api/pins/lamp/toggle: 405" in server.log


def test_a_page_of_our_own(
    start_server: Callable[..., Any], victim: BrowserContext, tmp_path: Path
) -> None:
    """A page of one's own in `www` does with the same words what those of other sites cannot."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "own.html").write_text("<title>My own</title>")
    server = start_server(EVERYONE)
    check_all_came_of_it(attack(victim, f"{server.url}/own.html", server.url), server)


def test_a_page_of_our_own_that_is_signed_in(
    sign_in: Any, victim: BrowserContext, tmp_path: Path
) -> None:
    """And so it does where a code is needed, once the browser has shown it."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "own.html").write_text("<title>My own</title>")
    check_all_came_of_it(attack(victim, f"{sign_in.url}/own.html", sign_in.url), sign_in)
