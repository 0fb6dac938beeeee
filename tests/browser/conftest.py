"""A headless Chromium that looks at the real server as a phone would and passes over no error."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    chromium = next(filter(None, found), None)
    if chromium is None:
        pytest.fail("Chromium is missing: sudo apt install chromium", pytrace=False)
    # Not for the whole session: as long as it runs, no test can run an event loop of its own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens an address as a phone of its own. No script may fail, no content policy be broken."""
    contexts = []
    faults: list[str] = []

    def open_page(url: str) -> Page:
        context = browser.new_context(viewport=PHONE, device_scale_factor=2)
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
def shoot() -> Callable[[Page, str], None]:
    """Takes pictures, on a phone and a desk, light and dark, into $SCREENSHOTS if that is set."""
    folder = os.environ.get("SCREENSHOTS")

    def shoot(page: Page, name: str) -> None:
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        for size, viewport in {"phone": PHONE, "desk": DESK}.items():
            page.set_viewport_size(viewport)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=Path(folder) / f"{name}-{size}-{scheme}.png")
        page.set_viewport_size(PHONE)

    return shoot
