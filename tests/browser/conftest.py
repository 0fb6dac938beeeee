"""Fixtures of the browser tests: a headless Chromium with the size of a phone, and the real server.
Any error in the console fails a test."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

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
    """Open an address as a phone of its own; `options` are the browser context's. No script may
    fail, and no content policy be broken."""
    contexts = []
    faults: list[str] = []

    def open_page(url: str, **options: Any) -> Page:
        phone = {"viewport": PHONE, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
        context = browser.new_context(**{**phone, **options})
        contexts.append(context)
        context.set_default_timeout(15_000)
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
def start_browser(tmp_path: Path) -> Iterator[Callable[..., BrowserContext]]:
    """A Chromium with a profile of its own, in which an authority may have been installed."""
    with contextlib.ExitStack() as ends:

        def start(
            authority: Path | None = None, more: tuple[str, ...] = (), **options: object
        ) -> BrowserContext:
            store = tmp_path / ".pki" / "nssdb"  # where people's own authorities are, on Linux
            store.mkdir(parents=True)
            certutil = [find("certutil", "libnss3-tools"), "-d", f"sql:{store}"]
            subprocess.run([*certutil, "-N", "--empty-password"], check=True)
            if authority:
                trusted = ["-A", "-n", "house", "-t", "C,,", "-i", str(authority)]
                subprocess.run([*certutil, *trusted], check=True)
            playwright = ends.enter_context(sync_playwright())
            context = playwright.chromium.launch_persistent_context(
                tmp_path / "profile",
                executable_path=find("chromium", "chromium"),
                args=[*ARGUMENTS, *more],
                env={"HOME": str(tmp_path)},
                viewport=PHONE,
                **options,  # type: ignore[arg-type]
            )
            ends.callback(context.close)
            context.set_default_timeout(15_000)
            return context

        yield start


@pytest.fixture
def shoot() -> Callable[[Page, str], None]:
    """Check a state of the page on a phone and a desk, in light and dark colours: nothing is cut
    off, and axe finds no barrier. With $SCREENSHOTS, a folder, also take pictures."""
    folder = os.environ.get("SCREENSHOTS")
    states = [("phone", PHONE, "light"), ("desk", DESK, "dark")]
    if folder:
        states += [("phone", PHONE, "dark"), ("desk", DESK, "light")]

    def shoot(page: Page, name: str) -> None:
        for size, viewport, scheme in states:
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            # Sparklines and timelines are drawn again within a quarter of a second.
            page.evaluate("new Promise((done) => setTimeout(done, 400))")
            if folder:
                Path(folder).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=Path(folder) / f"{name}-{size}-{scheme}.png")
            found = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
            assert found.violations_count == 0, f"{name}, {size}, {scheme}: " + str(
                [
                    (each["id"], each["help"], [node["html"] for node in each["nodes"]])
                    for each in found.response["violations"]
                ]
            )
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= viewport["width"], f"{name}, {size}: {wide} pixels wide"
        page.set_viewport_size(PHONE)

    return shoot
