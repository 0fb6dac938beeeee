"""The page at `/`, in a real browser against the real server."""

import json
import re
import signal
from pathlib import Path

from playwright.sync_api import Locator, WebSocketRoute, expect

from tests.browser.looking import CONFIG, api, card, expect_live, switch, value, word

LOOK = (
    "(card) => getComputedStyle(card.querySelector('.face')).filter + getComputedStyle(card).border"
)


def box_of(slider: Locator) -> dict[str, float]:
    """Scroll to an element and return its place."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    return dict(box)


def test_cards(start_server, open_page, shoot):
    """Every pin has a card, in the order of the configuration. On a phone nothing is cut off, every
    control is at least 44 pixels, and what is typed into has 16, below which iPhones zoom."""
    page = open_page(start_server(CONFIG).url)
    names = ["Front door", "Desk lamp", "Doorbell", "Tomatoes", "Fan", "Heater"]
    expect(page.locator(".pin h2")).to_have_text(names)
    expect(page.locator(".pin .word")).to_have_text(["off"] * 6)
    expect(page.locator("#link")).to_contain_text("just now")
    expect(page.locator("#health")).to_contain_text("Watching1 page")
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#no-pins")).to_be_hidden()
    page.locator("#board summary").click()
    expect(page.locator(".header button")).to_have_count(40)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    controls = page.locator("main :is(button, input, summary, .history)")
    boxes = [(control, control.bounding_box()) for control in controls.all()]
    seen = [(control, box) for control, box in boxes if box]
    assert len(seen) == 7 + 6 + 1 + 40  # cards, strips, summary, header
    for control, box in seen:
        assert min(box["width"], box["height"]) >= 44, control.evaluate("it => it.outerHTML")
    sizes = page.evaluate("""
        [...document.querySelectorAll("input, .word, .pin h2")]
          .map((element) => parseFloat(getComputedStyle(element).fontSize))
    """)
    assert min(sizes) >= 16
    page.locator("#board summary").click()
    shoot(page, "live")


def test_commands_and_changes(start_server, open_page):
    """Each control switches its pin, and a change by another client shows at once, with its age and
    the client's address."""
    server = start_server(CONFIG)
    page, other = open_page(server.url), open_page(server.url)
    lamp = page.get_by_role("switch", name="Desk lamp")
    expect(lamp).not_to_be_checked()
    switch(server, "lamp", 1)
    expect(word(page, "lamp")).to_have_text("on")
    expect(card(page, "lamp").locator(".since")).to_have_text(
        re.compile(r"^for \d+ sec, by 127\.0\.0\.1$")
    )
    expect(lamp).to_be_checked()
    lamp.click()
    expect(lamp).not_to_be_checked()
    assert value(server, "lamp") == 0
    lamp.press("Enter")
    expect(lamp).to_be_checked()
    assert value(server, "lamp") == 1
    switch(server, "fan", 0.35)
    expect(word(page, "fan")).to_have_text("35%")
    expect(page.get_by_role("slider")).to_have_value("35")
    page.get_by_role("button", name="Press Doorbell").click()
    expect(word(page, "bell")).to_have_text("on")
    expect(word(page, "bell")).to_have_text("off")
    expect(card(page, "bell").locator(".since")).to_contain_text("pulse over")
    page.get_by_role("button", name="Press Tomatoes").click()
    expect(word(page, "water")).to_have_text("on")
    assert value(server, "water") == 1
    expect(card(page, "water").locator(".since")).to_contain_text("at most 10 min left")
    page.get_by_role("button", name="Stop Tomatoes").click()
    expect(word(page, "water")).to_have_text("off")
    assert value(server, "water") == 0
    expect(card(page, "door")).to_contain_text("simulated, tap it")
    expect(word(other, "door")).to_have_text("off")
    page.get_by_role("button", name="Front door").click()
    expect(word(other, "door")).to_have_text("on")
    other.get_by_role("button", name="Front door").click()
    expect(word(page, "door")).to_have_text("off")
    assert value(server, "door") == 0


def test_slider(start_server, open_page):
    """A dimmer follows the thumb with at most ten commands a second, and the last one counts. While
    a thumb holds the slider it stays there, though the word tells the real value."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    commands: list[float] = []

    def sent(frame: str) -> None:
        command = json.loads(frame)
        if command["type"] == "set":
            commands.append(command["value"])

    page.on("websocket", lambda socket: socket.on("framesent", sent))
    page.goto(server.url)
    expect_live(page)
    slider = page.get_by_role("slider", name="Fan level")
    box = box_of(slider)
    y = box["y"] + box["height"] / 2
    began = page.evaluate("performance.now()")
    page.mouse.move(box["x"] + 18, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, y, steps=60)
    slider.evaluate("""slider => {
        for (const level of [60, 61, 80]) {
            slider.value = level;
            slider.dispatchEvent(new Event("input"));
        }
    }""")
    expect(word(page, "fan")).to_have_text("80%")
    expect(card(page, "fan")).not_to_have_attribute("data-pending", "")
    took = (page.evaluate("performance.now()") - began) / 1000
    assert value(server, "fan") == 0.8 == commands[-1]
    assert 1 < len(commands) <= took / 0.1 + 1
    switch(server, "fan", 0.1)
    expect(word(page, "fan")).to_have_text("10%")
    assert slider.input_value() == "80"
    page.mouse.up()
    expect(slider).to_have_value("10")
    button = page.get_by_role("switch", name="Fan")
    button.click()
    expect(word(page, "fan")).to_have_text("off")
    button.click()
    expect(word(page, "fan")).to_have_text("10%")


def test_confirm(start_server, open_page, shoot):
    """A pin with `confirm` asks first: Cancel and Escape change nothing, the answer switches it. A
    dimmer asks about the level it is left at."""
    server = start_server(CONFIG.replace("label: Fan", "label: Fan, confirm: true"))
    page = open_page(server.url)
    heater = page.get_by_role("switch", name="Heater")
    question = page.get_by_role("dialog", name="Switch Heater on?")
    heater.click()
    expect(question).to_be_visible()
    shoot(page, "confirm")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_be_hidden()
    heater.click()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(heater).not_to_be_checked()
    assert api(server, "/api/pins/heater")["since"] is None
    heater.click()
    question.get_by_role("button", name="Switch on").click()
    expect(heater).to_be_checked()
    assert value(server, "heater") == 1
    slider = page.get_by_role("slider")
    box = box_of(slider)
    middle = {"x": box["width"] / 2, "y": box["height"] / 2}
    question = page.get_by_role("dialog", name=re.compile(r"Set Fan to (49|50|51)%\?"))
    slider.click(position=middle)
    question.get_by_role("button", name="Cancel").click()
    expect(slider).to_have_value("0")
    assert api(server, "/api/pins/fan")["since"] is None
    slider.click(position=middle)
    question.get_by_role("button", name="Set").click()
    expect(word(page, "fan")).to_have_text(re.compile("(49|50|51)%"))
    assert value(server, "fan") == int(slider.input_value()) / 100


def test_pending_rejected_and_broken(start_server, open_page, shoot):
    """A command looks pending until it is answered. One that the server rejects is taken back, with
    the server's own words. A pin that could not be opened says why, and has nothing to press."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    reason = "GPIO23 is in use by <b>w1</b>"

    def spoil(route: WebSocketRoute) -> None:
        def send(text: str | bytes) -> None:
            if '"fan"' not in str(text):
                line.send(str(text).replace('"lamp"', '"lump"'))

        def pass_on(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "hello":
                bell = next(pin for pin in message["pins"] if pin["name"] == "bell")
                bell.update(error=reason, value=None)
                message["state"]["bell"] = None
            if message["type"] == "state":
                message["pins"]["bell"] = None
            route.send(json.dumps(message))

        line = route.connect_to_server()
        route.on_message(send)
        line.on_message(pass_on)

    page.route_web_socket("**/ws", spoil)
    page.goto(server.url)
    expect(card(page, "bell").get_by_role("alert")).to_have_text(reason)
    expect(word(page, "bell")).to_have_text("unavailable")
    expect(card(page, "bell").get_by_role("button")).to_have_count(0)
    lamp = page.get_by_role("switch", name="Desk lamp")
    lamp.click()
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("Not done: ")
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("lump")
    expect(lamp).not_to_be_checked()
    expect(card(page, "lamp")).to_have_attribute("data-wanted", "")
    fan = page.get_by_role("switch", name="Fan")
    fan.click()
    expect(card(page, "fan").locator(".since")).to_have_text("switching on…")
    expect(word(page, "fan")).to_have_text("off")
    expect(fan).not_to_be_checked()
    shoot(page, "errors")


def test_view_only(start_server, open_page, shoot):
    """A browser that may only view gets every pin, no switches, and the reason."""
    page = open_page(start_server(CONFIG.replace("everyone", "nobody")).url)
    expect(word(page, "lamp")).to_have_text("off")
    expect(card(page, "lamp")).to_contain_text("view only")
    expect(page.locator("#notices")).to_contain_text("Only looking: nobody may switch these pins.")
    for role in ("switch", "button", "slider"):
        expect(page.get_by_role(role)).to_have_count(0)
    shoot(page, "view-only")


def test_no_pins(start_server, open_page, shoot, tmp_path: Path):
    """With no pins the page says what to type and where. Its example can be copied, also on plain
    HTTP, where browsers have no clipboard for pages. After a reload its pins appear by themselves.
    """
    server = start_server("gpio: simulated\n")
    page = open_page(server.url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    guide = page.locator("#no-pins")
    expect(guide).to_contain_text("/etc/raspi-server/config.yaml")
    expect(guide).to_contain_text("sudo systemctl reload raspi-server")
    shoot(page, "no-pins")
    example = guide.locator("pre", has_text="pins:")
    example.get_by_role("button", name="Copy").click()
    expect(example.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    page.evaluate("Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    command = guide.locator("pre").nth(1)
    command.get_by_role("button", name="Copy").click()
    expect(command.get_by_role("button")).to_have_text("Copied")
    assert page.evaluate("getSelection().toString()") == "sudo nano /etc/raspi-server/config.yaml"
    (tmp_path / "config-0.yaml").write_text(f"gpio: simulated\n{copied}\n")
    server.process.send_signal(signal.SIGHUP)
    expect(page.locator(".pin h2")).to_have_text(["Button", "LED"])
    expect(guide).to_be_hidden()


def test_silence(start_server, open_page):
    """When nothing is received any more the page says since when, looks stale, and sends nothing. A
    command that was sent before is reported as unconfirmed."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    live_look = card(page, "heater").evaluate(LOOK)
    server.process.send_signal(signal.SIGSTOP)
    try:
        page.get_by_role("switch", name="Desk lamp").click()
        expect(card(page, "lamp").locator(".since")).to_have_text("switching on…")
        expect(page.locator("#link")).to_contain_text("Stale")
        page.get_by_role("switch", name="Fan").click()
        expect(card(page, "fan").get_by_role("alert")).to_contain_text("nothing was sent")
        expect(page.locator("#link")).to_have_text(re.compile(r"silent for \d+ sec"))
        expect(card(page, "heater").locator(".since")).to_have_text("when last heard")
        assert card(page, "heater").evaluate(LOOK) != live_look
        expect(card(page, "lamp").get_by_role("alert")).to_contain_text("Not confirmed")
        expect(page.locator("#link")).to_contain_text("Reconnecting")
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect_live(page)
    assert value(server, "fan") == 0


def test_reconnection(start_server, open_page, shoot):
    """A page without network, or whose server stops, says so, and is live again by itself."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp")).to_have_text("on")
    page.evaluate("window.sameDocument = true")
    page.context.set_offline(True)
    expect(page.locator("#link")).to_contain_text(re.compile("Stale|Reconnecting"))
    page.context.set_offline(False)
    expect_live(page)
    page.get_by_role("switch", name="Heater").focus()
    server.stop()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    expect(page.locator("#link")).to_have_text(re.compile(r"silent for \d+ sec"))
    expect(word(page, "lamp")).to_have_text("on")
    expect(card(page, "lamp").locator(".since")).to_have_text("when last heard")
    shoot(page, "lost")
    server.restart()
    expect_live(page)
    expect(word(page, "lamp")).to_have_text("off")
    expect(page.get_by_role("switch", name="Heater")).to_be_focused()
    assert page.evaluate("window.sameDocument") is True
