"""Helpers of the browser tests: a configuration, the API, and the parts of the page."""

import gzip
import time
from typing import Any

from playwright.sync_api import Locator, Page, Response, expect

from tests.support.http import ask
from tests.support.server import LIMIT, Server

expect.set_options(timeout=15_000)

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


def api(server: Server, path: str, method: str = "GET", body: object = None) -> Any:
    response = ask(server, method, path, body)
    assert response.status == 200, response
    return response.json


def switch(server: Server, pin: str, value: float) -> None:
    """Switch a pin as another client."""
    api(server, f"/api/pins/{pin}", "PUT", {"value": value})


def value(server: Server, pin: str) -> float | None:
    level: float | None = api(server, f"/api/pins/{pin}")["value"]
    return level


def first_visit(page: Page, url: str) -> dict[str, int]:
    """Open a page; return the compressed size in bytes of each address that it loads."""
    answers: dict[str, Response] = {}
    page.on("response", lambda answer: answers.setdefault(answer.url, answer))
    page.goto(url)
    page.wait_for_load_state("networkidle")
    # Reading a body lets more answers arrive.
    return {at: len(gzip.compress(answer.body(), 9)) for at, answer in list(answers.items())}


def check_scripts(page: Page, urls: list[str], language: str) -> None:
    """Check that a page names all its scripts but the first, and loads the strings of one language
    only."""
    scripts = {url for url in urls if url.endswith(".js")}
    strings = {url for url in scripts if "strings." in url}
    assert {url.rpartition("/")[2] for url in strings} == {f"strings.{language}.js"}
    links = page.locator('link[rel="modulepreload"]').all()
    named = {link.evaluate("link => link.href") for link in links}
    assert named == {url for url in scripts - strings if not url.endswith("/start.js")}


def card(page: Page, pin: str) -> Locator:
    return page.locator(f'[data-pin="{pin}"]')


def word(page: Page, pin: str) -> Locator:
    return card(page, pin).locator(".word")


def expect_live(page: Page) -> None:
    expect(page.locator("#link")).to_contain_text("Live")


def wait_for(page: Page, test: str, arg: object = None) -> None:
    """Wait until an asynchronous function of the page returns true. `wait_for_function` does not
    wait: it takes the promise itself for a true value."""
    limit = time.monotonic() + LIMIT
    while not page.evaluate(test, arg):
        assert time.monotonic() < limit, f"never true: {test}"
        page.wait_for_timeout(20)
