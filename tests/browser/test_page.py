"""The page at `/`, in a real browser against the real server."""

import json
import re
import signal
from collections.abc import Callable

from playwright.sync_api import WebSocketRoute, expect

from tests.browser.looking import CONFIG, api, card, expect_live, value, word

LOOK = (
    "(card) => getComputedStyle(card.querySelector('.face')).filter + getComputedStyle(card).border"
)


def test_cards_in_order(start_server, open_page, shoot):
    """Every pin has a card, in the order of the configuration, with its name and what it is now."""
    page = open_page(start_server(CONFIG).url)
    names = ["Front door", "Desk lamp", "Doorbell", "Tomatoes", "Fan", "Heater"]
    expect(page.locator(".pin h2")).to_have_text(names)
    expect(page.locator(".pin .word")).to_have_text(["off"] * 6)
    expect(page.locator("#link")).to_contain_text("just now")
    expect(page.locator("#health")).to_contain_text("Watching1 page")
    expect(page.locator("#waiting")).to_be_hidden()
    expect(page.locator("#no-pins")).to_be_hidden()
    shoot(page, "live")


def test_every_change_is_seen(start_server, open_page):
    """A change by another client shows at once, with its age and the client's address."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect(word(page, "lamp")).to_have_text("off")
    api(server, "/api/pins/lamp", "PUT", {"value": 1})
    expect(word(page, "lamp")).to_have_text("on")
    expect(card(page, "lamp").locator(".since")).to_have_text(
        re.compile(r"^for \d sec, by 127\.0\.0\.1$")
    )
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    api(server, "/api/pins/fan", "PUT", {"value": 0.35})
    expect(word(page, "fan")).to_have_text("35%")
    expect(page.get_by_role("slider")).to_have_value("35")


def test_switch(start_server, open_page):
    """A switch that is pressed switches the lamp itself, on and off again."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    switch = page.get_by_role("switch", name="Desk lamp")
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()
    assert value(server, "lamp") == 1
    switch.press("Enter")
    expect(switch).not_to_be_checked()
    assert value(server, "lamp") == 0


def test_pending_until_confirmed(start_server, open_page, shoot):
    """A switch looks pending until the server has confirmed the command."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    switch = page.get_by_role("switch", name="Desk lamp")
    server.process.send_signal(signal.SIGSTOP)
    try:
        switch.click()
        expect(card(page, "lamp").locator(".since")).to_have_text("switching on…")
        expect(word(page, "lamp")).to_have_text("off")
        expect(switch).not_to_be_checked()
        shoot(page, "pending")
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect(switch).to_be_checked()
    expect(card(page, "lamp").locator(".since")).not_to_contain_text("switching")


def test_press(start_server, open_page):
    """A pin with a pulse is a button: pressed, it is on for its time and off again by itself."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    page.get_by_role("button", name="Press Doorbell").click()
    expect(word(page, "bell")).to_have_text("on")
    expect(word(page, "bell")).to_have_text("off")
    expect(card(page, "bell").locator(".since")).to_contain_text("pulse over")


def test_long_press_can_be_stopped(start_server, open_page):
    """A pulse of ten minutes can be stopped by the button that began it."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    page.get_by_role("button", name="Press Tomatoes").click()
    expect(word(page, "water")).to_have_text("on")
    assert value(server, "water") == 1
    page.get_by_role("button", name="Stop Tomatoes").click()
    expect(word(page, "water")).to_have_text("off")
    assert value(server, "water") == 0


def test_slider(start_server, open_page):
    """A dimmer follows the thumb with at most ten commands a second, and the last one counts."""
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
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
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
    page.mouse.up()
    expect(word(page, "fan")).to_have_text("80%")
    expect(card(page, "fan")).not_to_have_attribute("data-pending", "")
    took = (page.evaluate("performance.now()") - began) / 1000
    assert value(server, "fan") == 0.8 == commands[-1]
    assert 1 < len(commands) <= took / 0.1 + 1
    switch = page.get_by_role("switch", name="Fan")
    switch.click()
    expect(word(page, "fan")).to_have_text("off")
    switch.click()
    expect(word(page, "fan")).to_have_text("80%")


def test_slider_does_not_fight_the_thumb(start_server, open_page):
    """While a thumb holds the slider it stays there, though the word tells what really is."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    slider = page.get_by_role("slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    expect(word(page, "fan")).to_have_text(re.compile("(49|50|51)%"))
    held = slider.input_value()
    expect(card(page, "fan")).not_to_have_attribute("data-pending", "")
    api(server, "/api/pins/fan", "PUT", {"value": 0.1})
    expect(word(page, "fan")).to_have_text("10%")
    assert slider.input_value() == held
    page.mouse.up()
    expect(slider).to_have_value("10")


def test_confirm(start_server, open_page, shoot):
    """A pin with `confirm` asks first: Cancel and Escape change nothing, the answer switches it."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    switch = page.get_by_role("switch", name="Heater")
    question = page.get_by_role("dialog", name="Switch Heater on?")
    switch.click()
    expect(question).to_be_visible()
    shoot(page, "confirm")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_be_hidden()
    switch.click()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(switch).not_to_be_checked()
    assert api(server, "/api/pins/heater")["since"] is None
    switch.click()
    question.get_by_role("button", name="Switch on").click()
    expect(switch).to_be_checked()
    assert value(server, "heater") == 1


def test_confirm_a_level(start_server, open_page):
    """A dimmer with `confirm` asks about the level it is left at, and sends nothing before."""
    server = start_server(CONFIG.replace("label: Fan", "label: Fan, confirm: true"))
    page = open_page(server.url)
    slider = page.get_by_role("slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = {"x": box["width"] / 2, "y": box["height"] / 2}
    question = page.get_by_role("dialog", name=re.compile(r"Set Fan to (49|50|51)%\?"))
    slider.click(position=middle)
    question.get_by_role("button", name="Cancel").click()
    expect(slider).to_have_value("0")
    assert value(server, "fan") == 0
    slider.click(position=middle)
    question.get_by_role("button", name="Set").click()
    expect(word(page, "fan")).to_have_text(re.compile("(49|50|51)%"))
    assert value(server, "fan") == int(slider.input_value()) / 100


def test_simulated_input(start_server, open_page):
    """A simulated input can be tapped, and everyone sees it move."""
    server = start_server(CONFIG)
    page, other = open_page(server.url), open_page(server.url)
    expect(card(page, "door")).to_contain_text("simulated, tap it")
    expect(word(other, "door")).to_have_text("off")
    page.get_by_role("button", name="Front door").click()
    expect(word(other, "door")).to_have_text("on")
    other.get_by_role("button", name="Front door").click()
    expect(word(page, "door")).to_have_text("off")
    assert value(server, "door") == 0


def test_refused(start_server, open_page, shoot):
    """A command that the server refuses is taken back, with the server's own words."""
    server = start_server(CONFIG)
    page = open_page("about:blank")

    def misspell(route: WebSocketRoute) -> None:
        line = route.connect_to_server()
        route.on_message(lambda text: line.send(text.replace('"lamp"', '"lump"')))

    page.route_web_socket("**/ws", misspell)
    page.goto(server.url)
    expect_live(page)
    switch = page.get_by_role("switch", name="Desk lamp")
    switch.click()
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("Not done: ")
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("lump")
    expect(switch).not_to_be_checked()
    expect(card(page, "lamp")).to_have_attribute("data-wanted", "")
    shoot(page, "refused")


def test_pin_in_error(start_server, open_page, shoot):
    """A pin that could not be opened says why, and has nothing to press."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    reason = "GPIO27 is in use by <b>w1</b>"

    def break_lamp(route: WebSocketRoute) -> None:
        def spoil(text: str) -> None:
            message = json.loads(text)
            if message["type"] == "hello":
                lamp = next(pin for pin in message["pins"] if pin["name"] == "lamp")
                lamp.update(error=reason, value=None)
                message["state"]["lamp"] = None
            if message["type"] == "state":
                message["pins"]["lamp"] = None
            route.send(json.dumps(message))

        route.connect_to_server().on_message(spoil)

    page.route_web_socket("**/ws", break_lamp)
    page.goto(server.url)
    expect(card(page, "lamp").get_by_role("alert")).to_have_text(reason)
    expect(word(page, "lamp")).to_have_text("unavailable")
    expect(card(page, "lamp").get_by_role("switch")).to_have_count(0)
    shoot(page, "error")


def test_view_only(start_server, open_page, shoot):
    """A browser that may only view gets every pin, no switches, and the reason."""
    server = start_server(CONFIG.replace("everyone", "nobody"))
    page = open_page(server.url)
    expect(word(page, "lamp")).to_have_text("off")
    expect(card(page, "lamp")).to_contain_text("view only")
    expect(page.locator("#notices")).to_contain_text("Only looking: nobody may switch these pins.")
    for role in ("switch", "button", "slider"):
        expect(page.get_by_role(role)).to_have_count(0)
    shoot(page, "view-only")


def test_one_pin_view_only(start_server, open_page):
    """A pin with `control: nobody` has no switch; others beside it have theirs."""
    server = start_server(CONFIG.replace("label: Desk lamp", "label: Desk lamp, control: nobody"))
    page = open_page(server.url)
    expect(page.get_by_role("switch", name="Heater")).to_be_visible()
    expect(card(page, "lamp")).to_contain_text("view only")
    expect(card(page, "lamp").get_by_role("switch")).to_have_count(0)
    expect(page.locator('[data-code="view"]')).to_have_count(0)


def test_no_pins(start_server, open_page, shoot):
    """With no pins the page says what to type and where, and what it says is a true example."""
    page = open_page(start_server("gpio: simulated\n").url)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    guide = page.locator("#no-pins")
    expect(guide).to_contain_text("/etc/raspi-server/config.yaml")
    expect(guide).to_contain_text("sudo systemctl reload raspi-server")
    shoot(page, "no-pins")
    example = guide.locator("pre", has_text="pins:")
    example.get_by_role("button", name="Copy").click()
    expect(example.get_by_role("button")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    page.goto(start_server(f"gpio: simulated\n{copied}\n").url)
    expect(page.locator(".pin h2")).to_have_text(["Button", "LED"])


def test_new_configuration(start_server, open_page):
    """When the server has a new configuration, its pins come onto the page by themselves."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    later: list[Callable[[], None]] = []

    def begin_without_pins(route: WebSocketRoute) -> None:
        def pass_on(text: str) -> None:
            message = json.loads(text)
            if message["type"] == "hello":
                later.append(lambda: route.send(text))
                message.update(pins=[], state={})
            route.send(json.dumps(message))

        route.connect_to_server().on_message(pass_on)

    page.route_web_socket("**/ws", begin_without_pins)
    page.goto(server.url)
    expect(page.locator("#no-pins")).to_be_visible()
    later[0]()
    expect(page.locator(".pin")).to_have_count(6)
    expect(page.locator("#no-pins")).to_be_hidden()
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp")).to_have_text("on")


def test_copy_without_https(start_server, open_page):
    """An example can be copied on plain http too, where browsers have no clipboard for pages."""
    page = open_page("about:blank")
    page.add_init_script("delete Navigator.prototype.clipboard")
    page.goto(start_server("gpio: simulated\n").url)
    page.locator("#no-pins pre").nth(1).get_by_role("button", name="Copy").click()
    expect(page.locator("#no-pins pre").nth(1).get_by_role("button")).to_have_text("Copied")
    assert page.evaluate("getSelection().toString()") == "sudo nano /etc/raspi-server/config.yaml"


def test_silence_is_admitted(start_server, open_page, shoot):
    """When nothing comes any more the page says since when, looks stale, and switches nothing."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    live_look = card(page, "lamp").evaluate(LOOK)
    server.process.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("#link")).to_contain_text("Stale")
        expect(page.locator("#link")).to_have_text(re.compile(r"silent for \d+ sec"))
        expect(card(page, "lamp").locator(".since")).to_have_text("when last heard")
        look = card(page, "lamp").evaluate(LOOK)
        assert look != live_look
        page.get_by_role("switch", name="Desk lamp").click()
        expect(card(page, "lamp").get_by_role("alert")).to_contain_text("nothing was sent")
        shoot(page, "stale")
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect_live(page)
    assert value(server, "lamp") == 0


def test_comes_back_by_itself(start_server, open_page, shoot):
    """A page whose server stops admits it, and is live again by itself when the server is back."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp")).to_have_text("on")
    page.evaluate("window.sameDocument = true")
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


def test_no_command_is_sent_twice(start_server, open_page):
    """A command that was lost with its link is reported as unconfirmed, and never sent again."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    commands = []

    def swallow(route: WebSocketRoute) -> None:
        route.connect_to_server()

        def drop(text: str | bytes) -> None:
            commands.append(text)
            route.close(code=1001)

        route.on_message(drop)

    page.route_web_socket("**/ws", swallow)
    page.goto(server.url)
    expect_live(page)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("Not confirmed")
    expect_live(page)
    expect(card(page, "lamp").locator(".since")).not_to_have_text("when last heard")
    assert len(commands) == 1
    assert value(server, "lamp") == 0


def test_long_interval_stays_live(start_server, open_page):
    """With an interval of an hour the page is still live, since the Pi's health is its pulse."""
    url = start_server(CONFIG + "interval: 3600\n").url
    page = open_page("about:blank")
    page.add_init_script("""
        new MutationObserver(() => (window.links ??= []).push(document.body?.dataset.link))
          .observe(document, { subtree: true, attributeFilter: ["data-link"] })
    """)
    with page.expect_websocket() as link:
        page.goto(url)
    for _ in range(3):
        link.value.wait_for_event("framereceived", lambda frame: '"health"' in frame)
    expect_live(page)
    assert page.evaluate("window.links") == ["live"]


def test_no_retries_until_signed_in(start_server, open_page, shoot):
    """When the server requires to sign in the page says so and waits; it does not connect again."""
    page = open_page("about:blank")
    tries = []

    def refuse(route: WebSocketRoute) -> None:
        tries.append(route)
        route.close(code=4401)

    page.route_web_socket("**/ws", refuse)
    page.clock.install()
    page.goto(start_server(CONFIG).url)
    expect(page.locator("#link")).to_contain_text("Sign in needed")
    page.clock.run_for(60_000)
    expect(page.locator("#waiting")).to_contain_text("only to those who signed in")
    shoot(page, "sign-in")
    assert len(tries) == 1


def test_hidden_page_rests(start_server, open_page):
    """A hidden page does not try to connect, and is live once it is visible."""
    page = open_page("about:blank")
    tries = []

    def refuse(route: WebSocketRoute) -> None:
        tries.append(route)
        if len(tries) == 1:
            route.close(code=1001)
        else:
            route.connect_to_server()

    page.route_web_socket("**/ws", refuse)
    page.add_init_script("""
        Object.defineProperty(document, "hidden", { get: () => !window.looking });
    """)
    page.clock.install()
    page.goto(start_server(CONFIG).url)
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    page.clock.run_for(60_000)
    assert len(tries) == 1
    page.evaluate("looking = true; document.dispatchEvent(new Event('visibilitychange'))")
    expect_live(page)
    assert len(tries) == 2


def test_not_found(start_server, open_page, shoot):
    """An address that does not exist says so and shows the way back to the pins."""
    page = open_page(start_server(CONFIG).url + "/no/such/page")
    expect(page.get_by_role("heading", level=2)).to_have_text("There is no such page here")
    shoot(page, "404")
    page.get_by_role("link", name="To the pins").click()
    expect_live(page)


def test_everything_is_in_reach_of_a_thumb(start_server, open_page):
    """On a phone nothing is cut off, every control is at least 44 pixels, and what is typed into
    has 16, below which iPhones zoom."""
    page = open_page(start_server(CONFIG).url)
    expect_live(page)
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
