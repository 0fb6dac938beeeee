"""Cost of the page: what it loads and draws, and its speed while many pins change."""

import json
import threading

from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.browser.looking import (
    CONFIG,
    api,
    card,
    check_scripts,
    expect_live,
    first_visit,
    switch,
    value,
    word,
)

MAX_FIRST_VISIT_BYTES = 60_000  # compressed


def test_first_load(start_server, open_page):
    """A first visit loads at most 60 kB, all from the server itself, all scripts at once, and after
    them the strings of one language."""
    server = start_server(CONFIG)
    page = open_page("about:blank", locale="id")
    sizes = first_visit(page, server.url)
    expect(page.locator("#link")).to_contain_text("Langsung")
    expect(page.locator("#health")).to_be_visible()
    assert all(url.startswith(server.url) for url in sizes)
    check_scripts(page, list(sizes), "id")
    assert sum(sizes.values()) <= MAX_FIRST_VISIT_BYTES, sizes


def test_four_hundred_changes_a_second(start_server, open_page):
    """The page keeps up with 400 changes a second: it stays live, switches, and shows the last
    values."""
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
    """While values, ages and health change, nothing on the page moves from its place."""
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
            switch(server, pin, level)
        api(server, "/api/pins/bell/pulse", "POST", {})
        expect(word(page, "bell")).to_have_text("on")
        expect(word(page, "bell")).to_have_text("off")
    page.wait_for_function("window.beats >= 2")
    assert page.evaluate("window.shifts") == []


def test_pin_out_of_sight_waits_for_the_tick(start_server, open_page):
    """A change of a pin that is not on the screen asks for no frame of its own, and is drawn within
    a second. Cards that are scrolled to show the present values."""
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
    switch(server, "pin27", 1)
    expect(word(page, "pin27")).to_have_text("on")
    assert page.evaluate("window.frames") == 0
    switch(server, "pin0", 1)
    expect(word(page, "pin0")).to_have_text("on")
    assert page.evaluate("window.frames") == 1
    card(page, "pin27").scroll_into_view_if_needed()
    switch(server, "pin27", 0)
    expect(word(page, "pin27")).to_have_text("off")


def test_a_hidden_page_draws_nothing(start_server, open_page):
    """A hidden tab draws nothing. When it is visible again, it shows the present values."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    page.evaluate("""
        const frames = []; // browsers have none for hidden tabs
        const { requestAnimationFrame } = window;
        window.requestAnimationFrame = (frame) => frames.push(frame);
        window.show = () => {
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
    page.evaluate("window.show()")
    expect(word(page, "lamp")).to_have_text("on")
