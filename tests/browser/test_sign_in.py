"""Signing in on the page: by a scanned link, by typing, and out again."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, WebSocketRoute, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import NO_WEBSOCKETS, Hand, api, open_row, string, value
from tests.support.coded_server import folders, new_link
from tests.support.server import Server

CONFIG = """
gpio: simulated
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
  fan: {gpio: 18, mode: pwm, label: Fan, confirm: true}
  gate: {gpio: 21, mode: output, label: Gate, kind: gate, pulse: 0.5, confirm: true}
  radio: {gpio: 22, mode: output, label: Radio, control: everyone}
  alarm: {gpio: 23, mode: output, label: Alarm, control: nobody}
"""


@pytest.fixture
def coded(start_server: Callable[..., Server], tmp_path: Path) -> tuple[Server, str]:
    """Start a server with a control code; return both."""
    code = Codes(tmp_path).renew("control")
    return start_server(CONFIG, env=folders(tmp_path)), code


def expect_signed_in(page: Page) -> None:
    expect(page.locator("#session")).to_contain_text(string("signedInControl"))


def expect_control(page: Page) -> None:
    expect_signed_in(page)
    expect(page.locator("#pins [data-locked]")).to_have_count(0)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()


def expect_locked(page: Page) -> None:
    """Expect that the pins that need the code keep their controls, and that those look locked."""
    expect(page.locator("#pins [data-locked]")).to_have_count(3)
    expect(page.locator("#pins [data-locked] .control > .icon")).to_have_count(3)
    lamp = page.get_by_role("switch", name="Desk lamp")
    expect(lamp).to_have_accessible_description("Locked: a tap asks for the control code.")
    expect(page.get_by_role("switch", name="Radio")).to_have_accessible_description("")
    expect(page.get_by_role("switch", name="Alarm")).to_have_count(0)


def type_code(page: Page, code: str) -> None:
    page.get_by_role("textbox", name="Access code").fill(code)
    page.locator("#sign-in .do").click()


def without_cookie(route: Route) -> None:
    """Sign in as a browser that keeps no cookies."""
    answer = route.fetch()
    route.request.frame.page.context.clear_cookies()  # `fetch` has kept it
    headers = {name: text for name, text in answer.headers.items() if name != "set-cookie"}
    route.fulfill(response=answer, headers=headers)


def test_link(coded, start_server, open_page, shoot, tmp_path):
    """A link signs the phone in for good, and leaves nothing in its address bar. The phone may open
    it again; on another one it says why not. Servers on one host do not sign each other out."""
    server, code = coded
    Codes(tmp_path).renew("view")
    server.process.send_signal(signal.SIGHUP)
    link, view_link = new_link(tmp_path), new_link(tmp_path, "view")
    page = open_page(f"{server.url}{link}")
    expect_control(page)
    assert page.url == f"{server.url}/"
    assert page.evaluate("document.cookie") == ""  # which no script can read
    shoot(page)
    for again in (link, view_link):
        with page.expect_response("**/api/hello"):
            page.evaluate("hash => location.hash = hash", again.lstrip("/"))
        expect_signed_in(page)
        expect(page.locator("#sign-in")).to_be_hidden()
        assert page.url == f"{server.url}/"
    neighbour = start_server(CONFIG, env=folders(tmp_path))
    page.goto(f"{neighbour.url}{new_link(tmp_path)}")
    expect_signed_in(page)
    page.goto(server.url)
    expect_signed_in(page)

    other = open_page(f"{server.url}{link}")
    error = other.locator("#sign-in .error")
    expect(error).to_have_text(string("error:used-link", command="sudo raspi-server code --qr"))
    hint = other.locator("#sign-in .hint")
    expect(hint).to_contain_text("You find it at the end of the installation.")
    expect(hint).to_contain_text("sudo raspi-server code --qr")
    expect(hint).to_contain_text("code --new control makes a new code and signs everyone out")
    shoot(other)
    type_code(other, code)
    expect_signed_in(other)


def test_typed_code(coded, open_page, shoot):
    """A browser that may only view takes the code, says if it is wrong or was not kept, and how
    long to wait. Signing out counts for all tabs. With `view: code` nothing else is shown."""
    server, code = coded
    page = open_page(server.url)
    expect(page.locator('[data-code="view"]')).to_contain_text("needs the control code")
    expect(open_row(page, "alarm")).to_contain_text("view only")
    expect_locked(page)
    page.locator("#notices").get_by_role("button", name="Sign in").click()
    error = page.locator("#sign-in .error")
    type_code(page, "xxxxx-xxxxx-xxxxx")
    expect(error).to_have_text(string("error:wrong-code"))
    shoot(page)
    page.route("**/api/login", without_cookie)
    type_code(page, code)
    expect(error).to_contain_text("this browser did not keep the sign-in")
    page.unroute("**/api/login")
    page.get_by_role("textbox", name="Access code").fill(code.upper())
    page.get_by_role("textbox", name="Access code").press("Enter")
    expect_control(page)
    expect(page.locator('[data-code="view"]')).to_have_count(0)
    other = page.context.new_page()
    other.goto(server.url)
    expect_signed_in(other)
    other.get_by_role("button", name="Sign out").click()
    for each in (page, other):
        expect_locked(each)
        expect(each.locator("#session .sign-out")).to_be_hidden()
        expect(each.locator("body")).to_have_attribute("data-link", "live")
    server.reload("access: {view: code}" + CONFIG)
    expect(other.locator("#link")).to_contain_text(string("sign-in"))
    other.reload()
    expect(other.locator("#waiting")).to_have_text(string("needsCode"))
    shoot(other)
    other.locator("#way-in button").click()
    for _ in range(8):
        with other.expect_response("**/api/login"):
            type_code(other, "wrong")
    words = re.compile(r"^too many wrong codes: try again in \d+ s$")
    expect(other.locator("#sign-in .error")).to_have_text(words)


@pytest.mark.parametrize("has_sockets", [True, False], ids=["live", "polling"])
def test_tap_on_a_locked_control(coded, open_page, shoot, has_sockets, tmp_path):
    """A tap on a locked control asks for the code, and then does what was tapped; a pin with
    `confirm` asks as always. After a cancel, or with the code for viewing, nothing is sent."""
    server, code = coded
    view_code = Codes(tmp_path).renew("view")
    server.process.send_signal(signal.SIGHUP)
    page = open_page("about:blank")
    if not has_sockets:
        page.add_init_script(NO_WEBSOCKETS)
    page.goto(server.url)
    dialog, question = page.locator("#sign-in"), page.locator("#confirm")
    gate = page.get_by_role("button", name="Move Gate")
    gate.click()
    shoot(page)
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    page.locator("#session").get_by_role("button", name="Sign in").click()
    dialog.get_by_role("button", name="Cancel").click()
    gate.click()
    type_code(page, view_code)
    expect(dialog.locator(".error")).to_contain_text(string("notThisCode"))
    type_code(page, code)
    expect(question).to_contain_text("Move Gate?")
    expect(dialog).to_be_hidden()
    assert api(server, "/api/pins/gate")["since"] is None
    question.get_by_role("button", name="Move").click()
    expect(page.locator('#pins [data-pin="gate"] .since')).to_contain_text("ago")
    changes = api(server, "/api/pins/gate/history")["changes"]
    assert [change["value"] for change in changes] == [1, 0]
    expect(page.locator("#pins [data-locked]")).to_have_count(0)

    page.get_by_role("button", name="Sign out").click()
    expect_locked(page)
    slider = open_row(page, "fan").get_by_role("slider")
    slider.press("End")
    type_code(page, code)
    expect(question).to_contain_text("Set Fan to 100%?")
    question.get_by_role("button", name="Cancel").click()
    expect(slider).to_have_value("0")
    page.get_by_role("button", name="Sign out").click()
    expect_locked(page)
    page.get_by_role("switch", name="Desk lamp").press("Space")
    type_code(page, code)
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    assert (value(server, "lamp"), value(server, "fan")) == (1, 0)


def test_tap_before_the_rights_are_known(coded, open_page):
    """After signing in, a tap is not lost before the server has said what this browser may do: not
    on a locked control, and not under a finger that is down meanwhile. What was tapped before is
    done, too. A tap on an unlocked control is done, or refused in words."""
    server, code = coded
    page = open_page("about:blank")
    held: list[tuple[WebSocketRoute, str | bytes]] = []
    is_held = False

    def hold(socket: WebSocketRoute) -> None:
        def receive(message: str | bytes) -> None:
            if is_held:
                held.append((socket, message))
            else:
                socket.send(message)

        socket.connect_to_server().on_message(receive)

    page.route_web_socket(re.compile("/ws$"), hold)
    page.goto(server.url)
    hand, dialog = Hand(page), page.locator("#sign-in")
    lamp, fan = (page.get_by_role("switch", name=name) for name in ("Desk lamp", "Fan"))
    gate, question = page.get_by_role("button", name="Move Gate"), page.locator("#confirm")

    def middle(control: Locator) -> tuple[float, float]:
        control.scroll_into_view_if_needed()
        box = control.bounding_box()
        assert box
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    places = {name: middle(control) for name, control in (("lamp", lamp), ("gate", gate))}
    expect_locked(page)
    fan.tap()
    is_held = True
    type_code(page, code)
    expect(dialog).to_be_hidden()
    hand.touch(places["gate"])
    hand.lift()
    expect(dialog).to_be_hidden()
    hand.touch(places["lamp"])
    while not any('"hello"' in str(message) for _, message in held):
        page.wait_for_timeout(20)
    is_held = False
    for socket, message in held:
        socket.send(message)
    page.evaluate("new Promise((done) => setTimeout(() => setTimeout(done)))")
    hand.lift()
    for name in ("Fan", "Gate"):
        expect(question).to_contain_text(name)
        question.locator(".do").click()
    expect(lamp).to_be_checked()
    assert value(server, "fan") == 1
    assert len(api(server, "/api/pins/gate/history")["changes"]) >= 1
    expect(dialog).to_be_hidden()
