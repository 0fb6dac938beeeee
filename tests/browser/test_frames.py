"""Frames: sites of `access.origins` around the dashboard, and the user's pages in each other."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import CONFIG, expect_live, string, value
from tests.support.coded_server import folders

READ = """async ([target, code]) => {
  const command = {method: "PUT", body: '{"value": 1}'};
  const put = (more) => fetch(`${target}/api/pins/lamp`, {...command, ...more});
  const socket = new Promise((done) => {
    const ws = new WebSocket(`${target.replace("http", "ws")}/ws`);
    ws.onmessage = ({data}) => done(JSON.parse(data).signed_in);
    ws.onclose = ({code}) => done(`closed with ${code}`);
  });
  const fails = (promise) => promise.then(({status}) => status, () => "failed");
  return [
    await fails(fetch(`${target}/api/pins`)),
    await socket,
    await fails(put({})),
    await fails(put({credentials: "include"})),
    await fails(put({headers: {Authorization: `Bearer ${code}`}})),
  ];
}"""

IMPORT = """async (target) => {
  const { connect } = await import(`${target}/raspi.js`);
  const raspi = connect();
  const hello = await new Promise((done) => raspi.on("hello", done));
  raspi.close();
  return [hello.signed_in, raspi.pins.size];
}"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Return `site(folder)`: another site of this machine, to which browsers send our cookies."""
    with contextlib.ExitStack() as ends:

        def start(folder: Path) -> str:
            page = functools.partial(SimpleHTTPRequestHandler, directory=folder)
            server = ends.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), page))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            ends.callback(thread.join)
            ends.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def sign_in(page: Page, code: str) -> None:
    """Sign in with a code, in a page or in a frame of one."""
    page.get_by_role("button", name="Sign in").first.click()
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()
    expect(page.locator("#session")).to_contain_text(string("signedInControl"))


def test_listed_site(start_server, open_page, browser, site, tmp_path: Path) -> None:
    """A site in `access.origins` reads, connects, and frames the dashboard. Even in a browser that
    has signed in, it is a stranger: the framed page asks for the code, then does what was tapped,
    and forgets the code when it is loaded again. A site that is not listed gets nothing."""
    code = Codes(tmp_path).renew("control")
    around = tmp_path / "around"
    around.mkdir()
    listed, other = site(around), site(around)
    config = CONFIG.replace("everyone", f"code\n  origins: ['{listed}']")
    server = start_server(config, env=folders(tmp_path))
    (around / "index.html").write_text(
        f'<iframe src="{server.url}/" width=390 height=800></iframe>'
    )

    page = open_page(f"{server.url}/")
    sign_in(page, code)
    page.goto(f"{listed}/")
    assert page.evaluate(READ, [server.url, code]) == [200, None, 401, "failed", 200]
    assert page.evaluate(IMPORT, server.url) == [None, 6]
    frame = page.frame_locator("iframe")
    lamp = frame.get_by_role("switch", name="Desk lamp")
    locked = frame.locator("#pins [data-locked]")
    expect(frame.locator("#link")).to_contain_text("Live")
    expect(locked).to_have_count(5)
    frame.get_by_role("switch", name="Heater").click()
    frame.get_by_role("textbox", name="Access code").fill("wrong")
    frame.locator("#sign-in .do").click()
    expect(frame.locator("#sign-in .error")).to_be_visible()
    frame.get_by_role("textbox", name="Access code").fill(code)
    frame.locator("#sign-in .do").click()
    expect(frame.locator("#confirm")).to_contain_text("Switch Heater on?")
    frame.locator("#confirm .do").click()
    expect(frame.get_by_role("switch", name="Heater")).to_be_checked()
    assert value(server, "heater") == 1
    lamp.click()
    expect(lamp).not_to_be_checked()
    assert value(server, "lamp") == 0
    expect(frame.locator('[data-code="polling"]')).to_have_count(0)
    (inner,) = (each for each in page.frames if each.url.startswith(server.url))
    kept = inner.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert code not in kept
    page.reload()
    expect(frame.locator("#link")).to_contain_text("Live")
    expect(locked).to_have_count(5)

    server.reload(config.replace(listed, "https://dash.example.org"))
    server.wait_for_log("serving http", again=1)
    with browser.new_context() as context:
        refused = context.new_page()
        with refused.expect_console_message(lambda said: "frame-ancestors" in said.text):
            refused.goto(f"{other}/")
        asked = refused.evaluate(READ, [server.url, code])
    assert asked == ["failed", "closed with 1006", "failed", "failed", "failed"]


def test_own_pages(start_server, open_page, tmp_path: Path) -> None:
    """A page in `www` may frame another one, which keeps its session, and may use plain forms."""
    www = tmp_path / "www"
    www.mkdir()
    (www / "around.html").write_text('<iframe src="form.html"></iframe>')
    (www / "form.html").write_text(
        '<form method="post" action="api/pins/lamp/toggle"><button>Press</button></form>'
    )
    code = Codes(tmp_path).renew("control")
    server = start_server(CONFIG.replace("everyone", "code"), env=folders(tmp_path))
    page = open_page(f"{server.url}/")
    expect_live(page)
    sign_in(page, code)
    before = value(server, "lamp")
    page.goto(f"{server.url}/around.html")
    expect(page.frame_locator("iframe").get_by_role("button", name="Press")).to_be_visible()
    page.goto(f"{server.url}/form.html")
    page.get_by_role("button", name="Press").click()
    expect(page.locator("body")).to_contain_text('"name":"lamp"')
    assert value(server, "lamp") == 1 - before
