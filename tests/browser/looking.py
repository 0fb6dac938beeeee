"""Helpers of the browser tests: a configuration, the API, and the parts of the page."""

import gzip
import json
import time
from typing import Any

from playwright.sync_api import CDPSession, Locator, Page, Response, ViewportSize, expect
from websockets.sync.client import connect

from raspi_server.web.context import BUILT_IN_WWW
from tests.support.http import ask
from tests.support.server import LIMIT, Server

expect.set_options(timeout=LIMIT * 1000)

CONFIG = """
gpio: simulated
access:
  control: everyone
pins:
  door: {gpio: 17, mode: input, pull: up, label: Front door}
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  bell: {gpio: 23, mode: output, label: Doorbell, pulse: 2}
  water: {gpio: 24, mode: output, label: Tomatoes, pulse: 600}
  fan: {gpio: 18, mode: pwm, label: Fan}
  heater: {gpio: 5, mode: output, label: Heater, confirm: true}
"""
NO_WEBSOCKETS = "window.WebSocket = class { constructor() { throw new Error(); } };"
"""A script of a browser that allows none."""
INSTALL_WORKER = """async () => {
    const workers = navigator.serviceWorker;
    const controlled = new Promise((done) => workers.addEventListener("controllerchange", done));
    await workers.register("service-worker.js");
    if (!workers.controller) await controlled;
}"""


def string(key: str, language: str = "en", section: str = "page", **values: object) -> str:
    """Return a string of the pages, with its braces filled in."""
    file = BUILT_IN_WWW / "languages" / f"{language}.json"
    strings = json.loads(file.read_text())
    sections = ("details", "automation", "covers", "page")
    merged = {key: text for name in sections for key, text in strings[name].items()}
    found = merged if section == "page" else strings[section]
    text: str = found[key]
    return text.format(**values) if values else text


def api(server: Server, path: str, method: str = "GET", body: object = None) -> Any:
    response = ask(server, method, path, body)
    assert response.status == 200, response
    return response.json


def switch(server: Server, pin: str, value: float) -> None:
    """Switch a pin as another client."""
    api(server, f"/api/pins/{pin}", "PUT", {"value": value})


def drive(server: Server, **values: int) -> None:
    """Set simulated inputs."""
    with connect(f"ws://127.0.0.1:{server.port}/ws") as socket:
        for pin, level in values.items():
            socket.send(json.dumps({"type": "drive", "pin": pin, "value": level, "ref": pin}))
            while (answer := json.loads(socket.recv(LIMIT))).get("ref") != pin:
                pass
            assert answer["type"] == "result", answer


def value(server: Server, pin: str) -> float | None:
    level: float | None = api(server, f"/api/pins/{pin}")["value"]
    return level


def complete_log(server: Server) -> list[str]:
    """Return the lines of a debug log once it has all that has happened so far."""
    before = server.log.count("GET /api/the-end: 404")
    ask(server, "GET", "/api/the-end")
    server.wait_for_log("GET /api/the-end: 404", again=before)
    return server.lines


def first_visit(page: Page, url: str) -> dict[str, int]:
    """Open a page; return the compressed size in bytes of each address that it loads."""
    answers: dict[str, Response] = {}
    page.on("response", lambda answer: answers.setdefault(answer.url, answer))
    page.goto(url)
    expect_live(page)
    page.wait_for_load_state("networkidle")
    # Reading a body lets more answers arrive.
    return {at: len(gzip.compress(answer.body(), 9)) for at, answer in list(answers.items())}


def check_scripts(page: Page, urls: list[str], file: str) -> None:
    """Check that a page names all its scripts but the first, and loads one file of strings."""
    scripts = {url for url in urls if url.endswith(".js")}
    strings = [url.rpartition("/")[2] for url in urls if "/languages/" in url]
    assert strings == [file]
    links = page.locator('link[rel="modulepreload"]').all()
    named = {link.evaluate("link => link.href") for link in links}
    in_head = {script.evaluate("each => each.src") for script in page.locator("head script").all()}
    assert named == scripts - in_head


def card(page: Page, pin: str) -> Locator:
    return page.locator(f'[data-pin="{pin}"]')


def word(page: Page, pin: str) -> Locator:
    return card(page, pin).locator(".word")


def open_row(page: Page, pin: str) -> Locator:
    """Open the row of a pin, and return it."""
    row = page.locator(f'#pins [data-pin="{pin}"]')
    row.locator(".opener").click()
    expect(row.locator(".more")).to_be_visible()
    return row


def expect_live(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-link", "live")


def resize(page: Page, size: ViewportSize) -> None:
    """Give the window a size, and wait until the page has drawn itself anew: two frames later."""
    page.set_viewport_size(size)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def wait_for(page: Page, test: str, arg: object = None) -> None:
    """Wait until an asynchronous function of the page returns true. `wait_for_function` does not
    wait: it takes the promise itself for a true value."""
    limit = time.monotonic() + LIMIT
    while not page.evaluate(test, arg):
        assert time.monotonic() < limit, f"never true: {test}"
        page.wait_for_timeout(20)


class Hand:
    """Fingers on the glass of a phone, as Chromium gets them from the screen itself."""

    def __init__(self, page: Page) -> None:
        self._cdp: CDPSession = page.context.new_cdp_session(page)

    def touch(self, *points: tuple[float, float]) -> None:
        """Put fingers down."""
        self._send("touchStart", points)

    def move(self, *points: tuple[float, float]) -> None:
        """Move the fingers that are down."""
        self._send("touchMove", points)

    def lift(self, *points: tuple[float, float]) -> None:
        """Lift all fingers but those that stay at these points."""
        self._send("touchEnd", points)

    def swipe(self, *points: tuple[float, float], steps: int = 8) -> None:
        """Go with one finger from point to point, and lift it."""
        self.touch(points[0])
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            for step in range(1, steps + 1):
                self.move((x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps))
        self.lift()

    def _send(self, kind: str, points: tuple[tuple[float, float], ...]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        self._cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
