"""The helpers of the browser tests: a configuration, the API, and the parts of the page."""

import gzip
import json
import time
import urllib.request
from typing import Any

from playwright.sync_api import Page, Response, expect

from tests.support.server import LIMIT

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


def api(server: Any, path: str, method: str = "GET", body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def value(server: Any, pin: str) -> float | None:
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


def card(page: Page, pin: str):
    return page.locator(f'[data-pin="{pin}"]')


def word(page: Page, pin: str):
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
