"""Cost of the page for a phone: the CPU time of Chromium's renderer while ten states a second
arrive, and while one of 28 pins changes with each of them; the size of its first load; and the time
from a touch to the frame that shows it."""

from __future__ import annotations

import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright
from websockets.sync.client import connect

from ..contenders import Rig
from ..process import Running
from ..table import Findings, Row, Spread

SECONDS = 10.0
CHANGES_A_SECOND = 10
OUTPUTS = 14
SLOWER = 4
"""Slowdown of a phone's core against a desktop's: what Lighthouse takes for a phone of
the middle class (its throttling's cpuSlowdownMultiplier)."""
CORES = 4
"""Of a phone; those sold in the last ten years have as many at least, most twice as many."""
MOST = 5.0
"""Percent of a phone's processor, all of its cores together."""
MOST_KB = 75
LANGUAGES = ("en", "de", "id")
"""All that the program has."""
TOUCHES = 5
SWITCH = '[data-pin="pin0"] button[role="switch"]'
_LOADED = """() => [
    ...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource"),
].reduce((sum, each) => sum + each.encodedBodySize, 0)"""
_WATCH = """selector => {
    const button = document.querySelector(selector);
    window.shown = new Promise(resolve => {
        let began = 0;
        const observer = new MutationObserver(() => {
            observer.disconnect();
            requestAnimationFrame(() => {  // a task after it runs when the frame is done
                const { port1, port2 } = new MessageChannel();
                port1.onmessage = () => resolve(performance.now() - began);
                port2.postMessage(null);
            });
        });
        button.addEventListener("pointerdown", event => {
            began = event.timeStamp;
            const row = button.closest("[data-pin]");
            observer.observe(row, { attributes: true, subtree: true });
        }, { once: true, capture: true });
    });
}"""
"""Set `window.shown`: milliseconds from the next touch to the end of the frame after what it
changes."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def measure(rig: Rig, rounds: int) -> Findings:
    chromium = shutil.which("chromium")
    if chromium is None:
        return Findings(notes=["The page was not measured: there is no chromium."])
    calm: list[float] = []
    lively: list[float] = []
    touched: list[float] = []
    loaded: dict[str, list[float]] = {language: [] for language in LANGUAGES}
    for _ in range(rounds):
        with rig.running(rig.ours()) as server, _page(chromium, server) as (page, processes):
            for language, sizes in loaded.items():
                sizes.append(_first_load_kb(page, language))
            touched += [_feedback_ms(page) for _ in range(TOUCHES)]
            calm.append(_share(page, processes, rig.seconds or SECONDS))
            with _changes(server):
                lively.append(_share(page, processes, rig.seconds or SECONDS))
    delay = Spread(touched)
    sizes = {language: Spread(found) for language, found in loaded.items()}
    return Findings(
        [
            _row("10 states a second", calm),
            _row("10 changes a second", lively),
            Row(
                "the first load of the page, compressed",
                ", ".join(f"{size.text(1, ' kB')} ({name})" for name, size in sizes.items()),
                f"at most {MOST_KB} kB",
                all(size.median <= MOST_KB for size in sizes.values()),
            ),
            Row(
                "from a touch of a switch to the frame that shows it",
                delay.text(0, " ms"),
                "at most 100 ms",
                delay.median <= 100,
            ),
        ]
    )


def _row(what: str, shares: list[float]) -> Row:
    core = SLOWER * statistics.median(shares)
    phone = core / CORES
    return Row(
        f"the open page, 28 pins, {what}",
        f"{Spread(shares).text(1, ' %')} of a core here, {core:.0f} % of one {SLOWER} × slower, "
        f"{phone:.1f} % of a phone with {CORES} of those",
        f"at most {MOST:.0f} % of a phone's CPU",
        phone <= MOST,
    )


@contextmanager
def _page(chromium: str, server: Running) -> Iterator[tuple[Page, CDPSession]]:
    """Open the page on a phone's screen; yield it with a session that lists processes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        screen = {"width": 390, "height": 844}
        page = browser.new_page(
            viewport=screen, device_scale_factor=3, is_mobile=True, has_touch=True
        )
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.locator('body[data-link="live"]').wait_for()
        page.wait_for_timeout(3000)  # what only an opening costs
        yield page, browser.new_browser_cdp_session()
        browser.close()


def _first_load_kb(page: Page, language: str) -> float:
    """Return the compressed size of what a new browser of a language loads."""
    assert page.context.browser
    other = page.context.browser.new_page(locale=language)
    other.goto(page.url)
    other.locator('body[data-link="live"]').wait_for()
    other.wait_for_load_state("networkidle")
    size: float = other.evaluate(_LOADED) / 1000
    other.close()
    return size


def _feedback_ms(page: Page) -> float:
    """Return the milliseconds from a touch of a switch to the frame that shows it."""
    page.evaluate(_WATCH, SWITCH)
    page.locator(SWITCH).tap()
    found: float = page.evaluate("window.shown")
    return found


def _share(page: Page, processes: CDPSession, seconds: float) -> float:
    """Percent of a core that all renderers took, with all their threads: where scripts run, layout
    and painting are done, and layers rastered. Putting those together is a phone's graphics
    processor's."""
    found = processes.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [each["id"] for each in found if each["type"] == "renderer"]
    before, began = _spent(renderers), time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    return (_spent(renderers) - before) / (time.monotonic() - began) * 100


def _spent(pids: list[int]) -> float:
    files = (file for pid in pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


@contextmanager
def _changes(server: Running) -> Iterator[None]:
    """Switch one output after the other."""
    ended = threading.Event()

    def switch() -> None:
        with connect(f"ws://127.0.0.1:{server.port}/ws", max_queue=None) as socket:
            reader = threading.Thread(target=lambda: [None for _ in socket], daemon=True)
            reader.start()
            turn = 0
            while not ended.wait(1 / CHANGES_A_SECOND):
                order = {"type": "toggle", "pin": f"pin{turn % OUTPUTS}"}
                socket.send(json.dumps(order))
                turn += 1

    thread = threading.Thread(target=switch)
    thread.start()
    yield
    ended.set()
    thread.join()
