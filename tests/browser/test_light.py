"""Cost of the page: what it loads and draws, and its speed while many pins change."""

import json
import threading

import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.browser.looking import CONFIG, api, card, expect_live, first_visit, value, word

MOST = 60_000
"""Bytes of a first visit, compressed."""


@pytest.mark.parametrize("language, live", [("en", "Live"), ("id", "Langsung")])
def test_first_load(start_server, open_page, language, live):
    """A first visit loads at most 60 kB, all from the server itself, all scripts at once, and after
    them the strings of one language."""
    server = start_server(CONFIG)
    page = open_page("about:blank", locale=language)
    sizes = first_visit(page, server.url)
    expect(page.locator("#link")).to_contain_text(live)
    expect(page.locator("#health")).to_be_visible()
    assert all(url.startswith(server.url) for url in sizes)
    scripts = {url for url in sizes if url.endswith(".js")}
    strings = {url for url in scripts if "strings." in url}
    assert {url.rpartition("/")[2] for url in strings} == {f"strings.{language}.js"}
    links = page.locator('link[rel="modulepreload"]').all()
    loaded = {link.evaluate("link => link.href") for link in links}
    assert loaded == {url for url in scripts - strings if not url.endswith("/start.js")}
    assert sum(sizes.values()) <= MOST, sizes


def test_four_hundred_changes_a_second(start_server, open_page):
    """The page keeps up with 400 changes a second: it stays live, switches, and ends at what is."""
    pins = "".join(
        f"  in{gpio}: {{gpio: {gpio}, mode: input, label: In {gpio}}}\n" for gpio in range(6, 16)
    )
    server = start_server(CONFIG + pins)
    page = open_page(server.url)
    expect_live(page)
    ended = threading.Event()

    def shake(first: int) -> None:
        with connect(server.ws_url, max_queue=None) as socket:
            reader = threading.Thread(target=lambda: [None for _ in socket], daemon=True)
            reader.start()
            level = 0
            while not ended.wait(0.021):  # the server takes 50 messages a second from each
                level = 1 - level
                order = {"type": "drive", "pin": f"in{first}", "value": level}
                socket.send(json.dumps(order))
            socket.send(json.dumps({"type": "drive", "pin": f"in{first}", "value": 1}))
            while value(server, f"in{first}") != 1:
                pass

    threads = [threading.Thread(target=shake, args=(gpio,)) for gpio in range(6, 15)]
    for thread in threads:
        thread.start()
    try:
        page.get_by_role("switch", name="Desk lamp").click()
        expect(word(page, "lamp")).to_have_text("on")
        count = "new Promise((done) => setTimeout(() => done(window.changes), 3000))"
        page.evaluate("""import("/raspi.js").then(({ connect }) => {
            window.changes = 0;
            window.raspi = connect();
            window.raspi.on("change", () => window.changes++);
        })""")
        assert page.evaluate(count) > 600
        expect(page.locator("#link strong")).to_have_text("Live")
        page.get_by_role("switch", name="Desk lamp").click()
        expect(word(page, "lamp")).to_have_text("off")
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    for gpio in range(6, 15):
        expect(word(page, f"in{gpio}")).to_have_text("on")


def test_nothing_jumps(start_server, open_page):
    """While values, ages and the machine's numbers change, nothing on the page moves from its
    place."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    expect(page.locator("#health")).to_be_visible()
    page.evaluate("""
        window.shifts = [];
        new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries())
            shifts.push([value, sources.map(({ node }) => node?.className ?? String(node))]);
        }).observe({ type: "layout-shift" });
        window.beats = 0;
        import("/raspi.js").then(({ connect }) => connect().on("health", () => window.beats++));
    """)
    for level in (1, 0, 1):
        for pin in ("lamp", "fan", "heater"):
            api(server, f"/api/pins/{pin}", "PUT", {"value": level})
        api(server, "/api/pins/bell/pulse", "POST", {})
        expect(word(page, "bell")).to_have_text("on")
        expect(word(page, "bell")).to_have_text("off")
    page.wait_for_function("window.beats >= 2")
    assert page.evaluate("window.shifts") == []


def test_what_is_out_of_sight_waits_for_the_tick(start_server, open_page):
    """A change of a pin that is not on the screen asks for no drawing of its own, is there within a
    second all the same, and wherever one scrolls to is the present."""
    pins = "".join(f"  pin{n}: {{gpio: {n}, mode: output}}\n" for n in range(28))
    server = start_server(f"access: {{control: everyone}}\npins:\n{pins}")
    page = open_page(server.url)
    expect_live(page)
    page.evaluate("""() => {
        window.frames = 0;
        const { requestAnimationFrame } = window;
        window.requestAnimationFrame = (frame) => {
          window.frames++;
          return requestAnimationFrame(frame);
        };
    }""")
    api(server, "/api/pins/pin27", "PUT", {"value": 1})
    expect(word(page, "pin27")).to_have_text("on")
    assert page.evaluate("window.frames") == 0
    api(server, "/api/pins/pin0", "PUT", {"value": 1})
    expect(word(page, "pin0")).to_have_text("on")
    assert page.evaluate("window.frames") == 1
    card(page, "pin27").scroll_into_view_if_needed()
    api(server, "/api/pins/pin27", "PUT", {"value": 0})
    expect(word(page, "pin27")).to_have_text("off")


def test_a_hidden_page_draws_nothing(start_server, open_page):
    """While the tab is hidden nothing on it is drawn; looked at again, it shows what is now."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    page.evaluate("""
        const frames = []; // browsers have none for hidden tabs
        const { requestAnimationFrame } = window;
        window.requestAnimationFrame = (frame) => frames.push(frame);
        window.look = () => {
          window.requestAnimationFrame = requestAnimationFrame;
          delete document.hidden;
          document.dispatchEvent(new Event("visibilitychange"));
          frames.forEach((frame) => frame());
        };
        Object.defineProperty(document, "hidden", { configurable: true, value: true });
        document.dispatchEvent(new Event("visibilitychange"));
        window.drawn = 0;
        new MutationObserver(() => window.drawn++).observe(document.body, {
          subtree: true, childList: true, characterData: true, attributes: true,
        });
    """)
    with connect(server.ws_url) as socket:
        hello = json.loads(socket.recv())
        assert hello["type"] == "hello"
        for level in (1, 0, 1, 0, 1):
            socket.send(json.dumps({"type": "set", "pin": "lamp", "value": level}))
        page.evaluate("new Promise((done) => setTimeout(done, 2000))")
    assert page.evaluate("window.drawn") == 0
    assert card(page, "lamp").get_attribute("data-on") == "false"
    page.evaluate("window.look()")
    expect(word(page, "lamp")).to_have_text("on")
