"""The dashboard at `/`, in a real browser against the real server."""

import itertools
import json
import re
import signal
from typing import Any

from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from raspi_server.config import parser, schema, source
from tests.browser.looking import (
    CONFIG,
    Hand,
    api,
    card,
    check_scripts,
    expect_live,
    first_visit,
    open_row,
    string,
    switch,
    value,
    word,
)

BLINDS = f"""{CONFIG}
  up: {{gpio: 20, mode: output, label: Blind up, group: blind}}
  down: {{gpio: 21, mode: output, label: Blind down, group: blind}}
"""
HEADER = """
gpio: simulated
access: {control: everyone}
pins:
  front: {gpio: 17, mode: input, pull: up, kind: door, label: Front door}
  pump: {gpio: 27, mode: output, kind: pump, label: Pump for the tomatoes behind the house}
  post: {gpio: 22, mode: input, label: Briefkastenklappe}
  lamp: {gpio: 4, mode: output, kind: light, label: مصباح الحديقة}
  fan: {gpio: 18, mode: pwm, kind: fan, label: Fan}
"""
PICTURE = """() => {
    const buttons = [...document.querySelectorAll(".header > button")];
    const edges = (element) => {
        const { left, right, top, bottom } = element.getBoundingClientRect();
        return { left, right, top, bottom };
    };
    return buttons.map((button) => {
        const [socket, name] = [".socket", ".name"].map((part) => button.querySelector(part));
        return {
            socket: edges(socket), name: edges(name), button: edges(button),
            isCut: name.scrollWidth > name.clientWidth || name.scrollHeight > name.clientHeight,
            words: name.textContent,
        };
    });
}"""
"""The places of the sockets and names of the header."""
WATCH_SHIFTS = """
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const { sources } of list.getEntries())
            // An age moves beside its word when that gets longer, and what is on beside what is
            // more urgent; nothing else may.
            for (const { node, previousRect: was, currentRect: is } of sources) {
                if (node?.className === "chip" && is.y === was.y) continue;
                // A text that was written anew meanwhile is no node any more.
                const isText = !node || node.nodeType === Node.TEXT_NODE;
                if (isText && (is.y === was.y || node?.textContent.trim() === "")) continue;
                shifts.push([node?.className ?? String(node), was, is]);
            }
    }).observe({ type: "layout-shift" });
"""
TARGETS = """
    [...document.querySelectorAll("main :is(button, input, summary, .timeline-link)")]
      .filter((element) => element.getClientRects().length)
      .map((element) => {
        // What is pressed may be larger than what is drawn.
        const own = element.getBoundingClientRect();
        const after = getComputedStyle(element, "::after");
        const isWider = after.position === "absolute" && after.content !== "none";
        const size = (side) => Math.max(own[side], isWider ? parseFloat(after[side]) : 0);
        return [element.outerHTML, size("width"), size("height")];
      })
"""
FONT_SIZE = "(element) => parseFloat(getComputedStyle(element).fontSize)"
TAKEN = """
import sys
from raspi_server.cli.main import main
from raspi_server.gpio.backend import SimulatedFactory
SimulatedFactory.holder = lambda self, gpio: "spi0 CS0" if gpio == 8 else None
sys.exit(main())
"""


def parsed(lines: str) -> list[tuple[str, int, type]]:
    """Return name, GPIO and kind of the pins in lines of config.yaml."""
    found = parser.parse(f"{lines}\n".encode(), "config.yaml", source.LOCAL_FILE.parent)
    return [(pin.name, pin.gpio, type(pin)) for pin in found.pins]


def test_first_visit(start_server, open_page, shoot):
    """A first visit loads at most 75 kB in each language, from this server only, with those strings
    of the browser's language that the list needs. Every pin has a row, in order. All controls have
    the size that phones need."""
    server = start_server(BLINDS)
    for language in ("en", "de", "id"):
        page = open_page("about:blank", locale=f"{language}-ID")
        sizes = first_visit(page, server.url)
        assert all(url.startswith(server.url) for url in sizes)
        check_scripts(page, list(sizes), f"{language}.first.json")
        assert sum(sizes.values()) <= 75_000, sizes  # compressed
        if language != "id":
            page.close()
    expect(page.locator("html")).to_have_attribute("lang", "id-ID")
    expect(page.locator("#link")).to_contain_text("Langsung")
    expect(page.locator("#health")).to_contain_text("1 halaman")
    expect(page.locator('[data-code="simulated"]')).to_contain_text("Pin simulasi")
    for part in ("#waiting", "#no-pins", "#fleet-link"):
        expect(page.locator(part)).to_be_hidden()
    names = ["Front door", "Desk lamp", "Doorbell", "Tomatoes", "Fan", "Heater"]
    expect(page.locator(".pin h3")).to_have_text([*names, "Blind up", "Blind down"])
    expect(page.locator(".pin .word")).to_have_text([string("off", "id")] * 8)
    blind = page.get_by_role("list", name=string("groupOf", "id", group="blind"))
    expect(blind.locator(".pin h3")).to_have_text(["Blind up", "Blind down"])
    open_row(page, "fan")
    page.locator("#board summary").click()
    expect(page.locator(".header > button")).to_have_count(40)
    controls = page.locator("main :is(button, input, summary, .timeline-link)")
    targets = page.evaluate(TARGETS)
    assert len(targets) == controls.filter(visible=True).count() >= 8 + 8 + 2 + 1 + 40
    assert [each for each in targets if min(each[1:]) < 44] == []
    inputs = [each.evaluate(FONT_SIZE) for each in page.locator("input, .pin h3").all()]
    assert min(inputs) >= 16
    page.locator("#board summary").click()
    shoot(page)
    page.get_by_role("switch", name="Heater").click()
    expect(page.get_by_role("dialog", name="Nyalakan Heater?")).to_be_visible()
    shoot(page)


def test_commands_and_changes(start_server, open_page):
    """Each control switches its pin. A change by another client shows at once, with its age, and in
    the open row its address. A pin with `confirm` asks first. Nothing moves from its place."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    expect(page.locator("#health")).to_be_visible()
    opened = open_row(page, "lamp")
    for name in ("bell", "fan"):
        open_row(page, name)
    page.evaluate(WATCH_SHIFTS)
    lamp = page.get_by_role("switch", name="Desk lamp")
    switch(server, "lamp", 1)
    expect(word(page, "lamp")).to_have_text("on")
    expect(opened.locator(".since")).to_have_text(re.compile(r"^for \d+ sec$"))
    expect(opened.locator(".by")).to_have_text(re.compile(r"^for \d+ sec, by 127\.0\.0\.1$"))
    expect(lamp).to_be_checked()
    lamp.click()
    expect(lamp).not_to_be_checked()
    assert value(server, "lamp") == 0
    switch(server, "fan", 0.35)
    expect(word(page, "fan")).to_have_text("35%")
    expect(page.get_by_role("slider")).to_have_value("35")
    fan = page.get_by_role("switch", name="Fan")
    for words in ("off", "35%"):
        fan.click()
        expect(word(page, "fan")).to_have_text(words)
    page.get_by_role("button", name="Press Doorbell").click()
    expect(card(page, "bell").locator(".by")).to_contain_text(string("by:pulse"))
    assert [each["value"] for each in api(server, "/api/pins/bell/history")["changes"]] == [1, 0]
    assert page.evaluate("window.shifts") == []
    page.get_by_role("button", name="Press Tomatoes").click()
    expect(word(page, "water")).to_have_text("on")
    assert value(server, "water") == 1
    expect(card(page, "water").locator(".since")).to_contain_text("10 min left")
    page.get_by_role("button", name="Stop Tomatoes").click()
    expect(word(page, "water")).to_have_text("off")
    assert value(server, "water") == 0
    expect(open_row(page, "door")).to_contain_text(string("drive"))
    card(page, "door").locator(".drive").click()
    expect(word(page, "door")).to_have_text("on")
    assert value(server, "door") == 1
    heater = page.get_by_role("switch", name="Heater")
    question = page.get_by_role("dialog", name="Switch Heater on?")
    for end in (
        question.get_by_role("button", name="Cancel").click,
        lambda: page.keyboard.press("Escape"),
    ):
        heater.click()
        expect(question).to_be_visible()
        end()
        expect(question).to_be_hidden()
    expect(heater).not_to_be_checked()
    assert api(server, "/api/pins/heater")["since"] is None
    heater.click()
    question.get_by_role("button", name="Switch on").click()
    expect(heater).to_be_checked()
    assert value(server, "heater") == 1


def test_what_the_server_tells(start_server, open_page, shoot):
    """A command looks pending until it is answered; a rejected one is taken back, with the server's
    words. An unavailable pin says why. Facts of the machine are told in words."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    reason = "GPIO23 is in use by <b>w1</b>"
    facts: dict[str, object] = {
        "temperature": 61.2,
        "throttled": ["under-voltage now"],
        "load": 0.31,
        "memory": 0.52,
        "disk": 0.93,
        "addresses": ["192.168.1.20", "kitchen.local"],
    }
    routes: list[WebSocketRoute] = []

    def spoil(route: WebSocketRoute) -> None:
        def send(text: str | bytes) -> None:
            if '"fan"' not in str(text):
                line.send(str(text).replace('"lamp"', '"lump"'))

        def pass_on(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "health":
                message.update(facts)
            elif message["type"] == "hello":
                bell = next(pin for pin in message["pins"] if pin["name"] == "bell")
                bell.update(error=reason, value=None)
                message["state"]["bell"] = None
            elif message["type"] == "state":
                message["pins"]["bell"] = None
            route.send(json.dumps(message))

        line = route.connect_to_server()
        route.on_message(send)
        line.on_message(pass_on)
        routes.append(route)

    page.route_web_socket("**/ws", spoil)
    page.goto(server.url)
    expect(card(page, "bell").locator(".error")).to_have_text(reason)
    expect(word(page, "bell")).to_have_text("unavailable")
    expect(card(page, "bell").locator(".control button")).to_have_count(0)
    page.evaluate(WATCH_SHIFTS)
    lamp = page.get_by_role("switch", name="Desk lamp")
    lamp.click()
    expect(page.get_by_role("alert")).to_contain_text("Desk lamp: Not done: ")
    expect(page.get_by_role("alert")).to_contain_text("lump")
    assert page.evaluate("window.shifts") == []
    expect(lamp).not_to_be_checked()
    expect(card(page, "lamp")).to_have_attribute("data-wanted", "")
    page.get_by_role("switch", name="Fan").click()
    expect(card(page, "fan").locator(".since")).to_have_text("switching on…")
    expect(word(page, "fan")).to_have_text("off")
    page.get_by_role("alert").get_by_role("button", name=string("putAway")).click()
    expect(page.get_by_role("alert")).to_have_count(0)
    words = {
        "temperature": "61.2°C",
        "power": "now: under-voltage",
        "disk": "93%",
        "viewers": "1 page",
        "address": "192.168.1.20\nkitchen.local",
    }
    for name, amount in words.items():
        expect(page.locator(f'[data-fact="{name}"] .amount')).to_have_text(amount)
    expect(page.locator('[data-code="power"]')).to_contain_text("too little power")
    expect(page.locator("[data-bad]")).to_have_count(2)  # power and disk
    shoot(page)
    facts |= {"temperature": None, "throttled": [], "addresses": []}
    routes[0].send(json.dumps({"type": "health", "time": 0, **facts}))
    expect(page.locator('[data-fact="power"] .amount')).to_have_text("good")
    expect(page.locator('[data-fact="temperature"]')).to_be_hidden()
    expect(page.locator('[data-fact="address"]')).to_be_hidden()
    expect(page.locator('[data-code="power"]')).to_have_count(0)


def test_no_pins_and_the_header(start_server, open_page, shoot):
    """With no pins the page says what to type, in lines that can be copied on plain HTTP, too, and
    that config.yaml takes. All 40 positions of the header are shown. A reload adds the pins."""
    server = start_server("access: {control: everyone}\n", program=("-c", TAKEN))
    page = open_page(server.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    guide, chosen = page.locator("#no-pins"), page.locator(".chosen")
    expect(guide).to_contain_text("/etc/raspi-server/config.yaml")
    expect(guide).to_contain_text("sudo systemctl reload raspi-server")
    expect(page.locator(".header .number")).to_have_text([str(number) for number in range(1, 41)])
    for name, words in (
        ("Pin 6, GND", "Ground"),
        ("Pin 24, GPIO8, in use by spi0 CS0", "In use by spi0 CS0."),
        ("Pin 3, GPIO2", "Pin 3: GPIO2, also I²C data"),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        expect(chosen).to_contain_text(words)
    one, other = chosen.locator("code").all_inner_texts()
    assert parsed(one) == [("gpio2", 2, schema.InputConfig)]
    assert parsed(other) == [("gpio2", 2, schema.OutputConfig)]
    shoot(page)
    example = guide.locator("pre", has_text="pins:")
    example.get_by_role("button", name="Copy").click()
    expect(example.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    page.evaluate("Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    command = guide.locator("pre").nth(1)
    command.get_by_role("button", name="Copy").click()
    expect(command.get_by_role("button")).to_have_text("Copied")
    assert page.evaluate("getSelection().toString()") == "sudo nano /etc/raspi-server/config.yaml"
    server.reload(f"access: {{control: everyone}}\n{copied}\n")
    expect(page.locator(".pin h3")).to_have_text(["Button", "LED"])
    expect(guide).to_be_hidden()
    for state in ("off", "on"):
        expect(page.get_by_role("button", name=f"Pin 13, GPIO27, LED, {state}")).to_be_visible()
        page.get_by_role("switch", name="LED").click()


def check_picture(page: Page, width: int) -> None:
    """Check that the strip of sockets is whole, and all names are beside it and can be read."""
    found = page.evaluate(PICTURE)
    assert len(found) == 40
    columns: dict[float, list[dict[str, Any]]] = {}
    for each in found:
        columns.setdefault(round(each["socket"]["left"]), []).append(each)
    assert len(columns) in (1, 2)
    for column in columns.values():
        assert len({round(each["socket"]["right"]) for each in column}) == 1
        for one, other in itertools.pairwise(column):
            assert abs(one["socket"]["bottom"] - other["socket"]["top"]) < 0.6, (one, other)
    if len(columns) == 2:
        (left, _), (_, right) = ([each["socket"] for each in found[:2]],) * 2
        assert abs(left["right"] - right["left"]) < 0.6
    for each in found:
        name, socket = each["name"], each["socket"]
        assert not each["isCut"], each
        assert name["right"] <= socket["left"] + 0.6 or name["left"] >= socket["right"] - 0.6, each
        assert name["left"] >= 0 and name["right"] <= width, each
        assert each["button"]["bottom"] - each["button"]["top"] >= 43.9, each


def test_picture_of_the_header(start_server, open_page):
    """The picture of the header is whole at any width and with large letters, also while it tells
    of a pin, which moves nothing in it. No name is cut off. Its legend is in words."""
    server = start_server(HEADER)
    for width, letters in itertools.product((320, 390, 820, 1440), ("100%", "200%")):
        page = open_page(server.url, viewport={"width": width, "height": 800})
        expect_live(page)
        page.evaluate("size => (document.documentElement.style.fontSize = size)", letters)
        page.locator("#board summary").press("Enter")
        expect(page.locator(".header button .name").first).to_have_text("3V3")
        check_picture(page, width)
        before = page.evaluate(PICTURE)
        page.get_by_role("button", name=re.compile("^Pin 3,")).press("Enter")
        expect(page.locator(".chosen")).to_be_visible()
        check_picture(page, width)
        moved = page.evaluate(PICTURE)
        for one, other in zip(before, moved, strict=True):
            height = one["button"]["bottom"] - one["button"]["top"]
            assert abs(height - (other["button"]["bottom"] - other["button"]["top"])) < 0.6
            offset = one["button"]["top"] - before[0]["button"]["top"]
            assert abs(offset - (other["button"]["top"] - moved[0]["button"]["top"])) < 0.6
        expect(page.locator(".legend li")).to_have_count(6)
        for item in page.locator(".legend li").all():
            assert len(item.inner_text()) >= 4


def test_switch_in_the_header(start_server, open_page, shoot):
    """A finger that taps one of our pins in the header gets its switch and a link to its page. What
    is told of a pin does not hide it, and can be put away."""
    server = start_server(HEADER)
    page = open_page(server.url)
    expect_live(page)
    hand, chosen = Hand(page), page.locator(".chosen")
    page.locator("#board summary").tap()
    expect(page.locator(".header button .name").first).to_have_text("3V3")

    def tap(control: Locator) -> None:
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        assert box
        hand.touch((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
        hand.lift()

    pump = page.get_by_role("button", name=re.compile("^Pin 13,"))
    pump.evaluate("button => button.scrollIntoView({block: 'end'})")
    tap(pump)
    expect(chosen.get_by_role("heading", name="Pump for the tomatoes")).to_be_visible()
    switch_ = chosen.get_by_role("switch", name="Pump for the tomatoes")
    expect(switch_).to_be_in_viewport(ratio=1)
    number = pump.locator(".number")
    expect(number).to_be_in_viewport(ratio=1)
    assert number.evaluate("""(number) => {
        const { left, top, width, height } = number.getBoundingClientRect();
        return number.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    }""")
    tap(switch_)
    expect(switch_).to_be_checked()
    assert value(server, "pump") == 1
    expect(pump).to_have_attribute("data-on", "true")
    switch(server, "pump", 0)
    expect(switch_).not_to_be_checked()
    shoot(page, is_covered=True)
    tap(chosen.get_by_role("link"))
    expect(page.locator("#pin-page h2").first).to_have_text(
        "Pump for the tomatoes behind the house"
    )
    page.go_back()
    expect(chosen.get_by_role("link")).to_be_focused()
    page.keyboard.press("Escape")
    expect(chosen).to_be_hidden()
    expect(pump).to_be_focused()
    page.keyboard.press("Enter")
    expect(chosen).to_be_visible()
    page.keyboard.press("Tab")
    expect(chosen.get_by_role("button", name=string("close"))).to_be_focused()
    tap(chosen.get_by_role("button", name=string("close")))
    expect(chosen).to_be_hidden()
    fan = page.get_by_role("button", name=re.compile("^Pin 12,"))
    tap(fan)
    slider = chosen.get_by_role("slider")
    box = slider.bounding_box()
    hand.touch((box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2))
    hand.lift()
    expect(chosen.locator(".word")).to_have_text(re.compile("^(49|50|51)%$"))
    tap(fan)
    expect(chosen).to_be_hidden()


def test_silence_and_reconnection(start_server, open_page, shoot):
    """A page that receives nothing says since when, looks stale, and sends nothing. It is live
    again by itself, with its focus. A command without an answer is reported as unconfirmed."""
    server = start_server(CONFIG)
    page = open_page("about:blank")

    def swallow_lamp(route: WebSocketRoute) -> None:
        line = route.connect_to_server()
        route.on_message(lambda text: None if '"lamp"' in str(text) else line.send(text))

    page.route_web_socket("**/ws", swallow_lamp)
    page.goto(server.url)
    expect_live(page)
    look = "(card) => getComputedStyle(card.querySelector('.face')).filter"
    live_look = card(page, "heater").evaluate(look)
    page.get_by_role("switch", name="Desk lamp").click()
    server.process.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("#link")).to_have_text(re.compile("^Reconnecting.*last update"))
        expect(page.get_by_role("alert")).to_contain_text("Desk lamp: Not confirmed")
        expect(card(page, "heater").locator(".since")).to_have_text(string("lastHeard"))
        assert card(page, "heater").evaluate(look) != live_look
        page.get_by_role("switch", name="Fan").click()
        expect(page.get_by_role("alert").last).to_contain_text("Fan: Not done")
        expect(page.get_by_role("alert").last).to_contain_text("nothing was sent")
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect_live(page)
    assert value(server, "fan") == 0
    switch(server, "fan", 1)
    expect(word(page, "fan")).to_have_text("100%")
    page.evaluate("window.sameDocument = true")
    page.get_by_role("switch", name="Heater").focus()
    server.stop()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    expect(word(page, "fan")).to_have_text("100%")
    shoot(page)
    server.restart()
    expect_live(page)
    expect(word(page, "fan")).to_have_text("off")
    expect(page.get_by_role("switch", name="Heater")).to_be_focused()
    assert page.evaluate("window.sameDocument") is True


def test_keys_few_colours_and_little_motion(start_server, open_page, shoot):
    """Keys do everything. With forced colours and reduced motion, on and off still differ."""
    server = start_server(CONFIG)
    page = open_page(server.url, forced_colors="active", reduced_motion="reduce")
    expect_live(page)
    expect(card(page, "heater")).to_be_visible()
    focused = "document.activeElement.getAttribute('aria-labelledby') ?? ''"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "label-lamp":
            break
    page.keyboard.press("Space")
    expect(word(page, "lamp")).to_have_text("on")
    assert value(server, "lamp") == 1
    fill = "(it) => getComputedStyle(it).backgroundColor"
    lamp = page.get_by_role("switch", name="Desk lamp").evaluate(fill)
    assert lamp != page.get_by_role("switch", name="Heater").evaluate(fill)
    thumb = card(page, "lamp").locator(".thumb")
    assert thumb.evaluate("(it) => getComputedStyle(it).transitionDuration") == "0s"
    opener = page.get_by_role("button", name="Fan", exact=True)
    opener.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    page.get_by_role("slider", name="Fan level").press("End")
    expect(word(page, "fan")).to_have_text("100%")
    page.get_by_role("link", name="Timeline and changes of Fan").press("Enter")
    expect(page.get_by_role("link", name="All pins")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Timeline and changes of Fan")).to_be_focused()
    opener.press("Space")
    expect(page.get_by_role("slider")).to_have_count(0)
    shoot(page)
