"""Fixtures of the browser tests: Chromium as a phone. Any error in the console fails a test."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.server import LIMIT

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def find(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is missing: sudo apt install {package}", pytrace=False)
    return found


@pytest.fixture(scope="module")
def arguments() -> list[str]:
    """Return the arguments that the browser of a module is started with."""
    return ARGUMENTS


@pytest.fixture(scope="module")
def browser(arguments: list[str]) -> Iterator[Browser]:
    # Not for the whole session: as long as it runs, no test can run an event loop of its own.
    with sync_playwright() as playwright:
        chromium = find("chromium", "chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address as a phone of its own. No script may fail and no content policy be broken."""
    contexts = []
    faults: list[str] = []

    def open_page(url: str, **options: Any) -> Page:
        phone = {"viewport": PHONE, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
        context = browser.new_context(**{**phone, **options})
        contexts.append(context)
        context.set_default_timeout(LIMIT * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Content Security" in said.text else None,
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def shoot() -> Callable[..., None]:
    """Check that nothing is cut off and axe finds no barrier, on a light phone and a dark desk.
    With `is_covered` a part that can be put away lies over some controls."""

    def shoot(page: Page, is_covered: bool = False) -> None:
        options = {
            "runOnly": RULES,
            "resultTypes": ["violations"],
            "rules": {"target-size": {"enabled": not is_covered}},
        }
        for viewport, scheme in ((PHONE, "light"), (DESK, "dark")):
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            found = Axe().run(page, options=options)
            assert found.violations_count == 0, f"{scheme}: " + str(
                [
                    (each["id"], each["help"], [node["html"] for node in each["nodes"]])
                    for each in found.response["violations"]
                ]
            )
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= viewport["width"], f"{scheme}: {wide} pixels wide"
        page.set_viewport_size(PHONE)

    return shoot
