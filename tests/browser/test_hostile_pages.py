"""Pages of other sites that try to read and to switch pins, as a page in `www` can."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import complete_log, string
from tests.support.coded_server import folders, new_link
from tests.support.server import Server, free_port

EVIL = "evil.example"
PINS = """
log_level: debug
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""
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
    frame.name = made.target = String(Math.random());
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
    const late = new Promise((done) => setTimeout(done, 30000, "no answer"));
    try { found[name] = String(await Promise.race([attempt(), late])); }
    catch (error) { found[name] = "failed: " + error; }
  }
  return found;
}
"""
WAYS = ("read by fetch", "read by socket", "switch by PUT", "switch by socket")
SWITCHES = ("PUT /api/pins/lamp:", "POST /api/pins/lamp/toggle:", "POST /api/pins/lamp/pulse:")


@pytest.fixture(scope="module")
def arguments(arguments: list[str]) -> list[str]:
    """Arguments of a browser that resolves the evil site's name to this machine."""
    return [*arguments, f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]


@pytest.fixture
def evil_site(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """A site that answers under any name, until it is closed."""
    page = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    site = ThreadingHTTPServer(("127.0.0.1", free_port()), page)
    thread = threading.Thread(target=site.serve_forever, args=(0.05,))
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in the browser of a person in the same network as the server."""
    with browser.new_context() as context:
        yield context.new_page()


def check_none_succeeded(found: dict[str, str], server: Server) -> None:
    told = {way: result for way, result in found.items() if "lamp" in result or '"pins"' in result}
    assert told == {}
    assert "lamp (GPIO27): on" not in "\n".join(complete_log(server))


def check_all_succeeded(found: dict[str, str], server: Server) -> None:
    log = "\n".join(complete_log(server))
    for way in WAYS:
        assert "lamp" in found[way], (way, found[way])
    for way in SWITCHES:
        assert f"DEBUG {way} 200" in log
    assert "lamp (GPIO27): on" in log
    assert "DEBUG GET /api/pins/lamp/toggle: 405" in log


@pytest.mark.parametrize("is_coded", [False, True], ids=["everyone", "signed-in"])
def test_page_of_another_site(start_server, page, evil_site, tmp_path, is_coded) -> None:
    """A page of another site, port or name can neither read, switch nor frame, also in a browser
    that is signed in. A page in `www` can, with the same requests."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "own.html").write_text("<title>My own</title>")
    Codes(tmp_path).renew("control")
    access = "access: {view: code, control: code}" if is_coded else "access: {control: everyone}"
    server = start_server(access + PINS, env=folders(tmp_path))
    page.goto(f"{server.url}{new_link(tmp_path)}")
    expect(page.locator("#session")).to_contain_text(string("signedInControl"))
    if not is_coded:
        page.context.clear_cookies()
    for name in ("127.0.0.1", "localhost", EVIL):
        before = len(complete_log(server))
        page.goto(f"http://{name}:{evil_site.server_address[1]}/")
        found = page.evaluate(ATTACK, server.url)
        check_none_succeeded(found, server)
        assert "Failed to fetch" in found["read by fetch without CORS"]
        lines = "\n".join(server.lines[before:])
        rejected = {way for way in SWITCHES if f"DEBUG {way} 403" in lines}
        assert rejected == set(SWITCHES[1:])  # a PUT is not even sent without being asked for
        assert "DEBUG GET /: 200" in lines
        assert [frame.url for frame in page.frames if frame.url.startswith(server.url)] == []
    page.goto(f"{server.url}/own.html")
    check_all_succeeded(page.evaluate(ATTACK, server.url), server)


def test_dns_rebinding(start_server, page, evil_site) -> None:
    """A page whose name is turned to this server's address once it is open can neither read nor
    switch, though the browser takes both for one site. Under a name of `access.hosts` it can."""
    port = evil_site.server_address[1]
    origin = f"http://{EVIL}:{port}"
    page.goto(origin)
    evil_site.shutdown()
    evil_site.server_close()
    server = start_server("access: {control: everyone}" + PINS, port=port)
    found = page.evaluate(ATTACK, origin)
    check_none_succeeded(found, server)
    for way in ("read by fetch", "switch by PUT"):
        assert "this server does not go by the name evil.example" in found[way]
    server.stop()
    named = f"access: {{control: everyone, hosts: [{EVIL}]}}{PINS}"
    server = start_server(named, port=port)
    check_all_succeeded(page.evaluate(ATTACK, origin), server)
