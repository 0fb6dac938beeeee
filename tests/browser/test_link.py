"""The connection of a page on slow networks, and in browsers that block WebSockets. Its timing is
tested in node/connection.test.js."""

import json
import re
import signal
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from tests.browser.looking import CONFIG, api, card, expect_live, switch, value, word

UNTRUSTED = """
    const Real = window.WebSocket;
    window.WebSocket = class Silent {
        static CONNECTING = 0; static OPEN = 1; static CLOSING = 2; static CLOSED = 3;
        constructor(...all) {
            if (window.trusted) return new Real(...all);
            this.readyState = 0;
            setTimeout(() => this.onclose?.({ code: 1006 }), 20);
        }
        close() {}
    };
"""
"""As iOS does with a certificate that was only "visited anyway": sockets end, requests work."""


def open_untrusted(open_page, url: str, **options) -> Page:
    page = open_page("about:blank", **options)
    page.add_init_script(UNTRUSTED)
    page.goto(url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    return page


def test_slow_network(start_server, open_page):
    """On a slow network the page still loads, and switches."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": 50e3, "uploadThroughput": 20e3}
    session.send("Network.emulateNetworkConditions", slow)
    page.goto(server.url)
    expect_live(page)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp")).to_have_text("on")
    assert value(server, "lamp") == 1


def test_polling(start_server, open_page, shoot, tmp_path: Path):
    """Without WebSockets the page says why and how to mend it, and goes on by polling: it shows
    what changes, switches, presses, dims and follows a reload."""
    server = start_server(CONFIG)
    page = open_untrusted(open_page, server.url)
    notice = page.locator('[data-code="polling"]')
    expect(notice).to_contain_text("until they trust the certificate")
    trust = notice.get_by_role("link", name="How to trust it")
    expect(trust).to_have_attribute("href", f"{server.url}/trust/")
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp")).to_have_text("on")
    assert value(server, "lamp") == 1
    switch(server, "lamp", 0)
    expect(word(page, "lamp")).to_have_text("off")
    page.get_by_role("button", name="Press Doorbell").click()
    expect(word(page, "bell")).to_have_text("on")
    expect(word(page, "bell")).to_have_text("off")
    page.get_by_role("slider", name="Fan level").fill("35")
    expect(word(page, "fan")).to_have_text("35%")
    expect(page.get_by_role("switch", name="Fan")).to_be_checked()
    page.get_by_role("switch", name="Fan").click()
    expect(word(page, "fan")).to_have_text("off")
    expect(card(page, "door").get_by_role("button")).to_have_count(0)  # only a socket moves it
    expect(page.locator('[data-code="open"]')).to_be_visible()
    expect(page.locator('[data-fact="memory"]')).to_be_visible()
    shoot(page, "polling")
    file = tmp_path / "config-0.yaml"
    file.write_text(CONFIG + "  shed: {gpio: 6, mode: input, label: Garden shed}\n")
    server.process.send_signal(signal.SIGHUP)
    expect(card(page, "shed")).to_contain_text("Garden shed")
    file.write_text(CONFIG + "  shed: {gpio: 99, mode: input}\n")
    server.process.send_signal(signal.SIGHUP)
    expect(page.locator('[data-code="configuration"]')).to_contain_text("GPIO0 to GPIO27")
    expect(card(page, "shed")).to_contain_text("Garden shed")


def test_polling_errors(start_server, open_page):
    """A page that polls reports a command without an answer as unconfirmed and never sends it
    again, gives the reason for a rejected one, and says when nothing is received. Once a WebSocket
    opens it is live."""
    server = start_server(CONFIG)
    page = open_untrusted(open_page, server.url)
    sent = []

    def lose(route: Route) -> None:
        if route.request.method == "PUT":
            sent.append(route.request.post_data)
            route.abort()
        else:
            route.continue_()

    page.route("**/api/pins/lamp", lose)
    page.get_by_role("switch", name="Desk lamp").click()
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("Not confirmed")
    page.unroute("**/api/pins/lamp")
    wrong = json.dumps({"value": 7})
    page.route("**/api/pins/heater", lambda route: route.continue_(post_data=wrong))
    page.get_by_role("switch", name="Heater").click()
    page.locator("#confirm .do").click()
    expect(card(page, "heater").get_by_role("alert")).to_contain_text("Not done")
    server.stop()
    expect(page.locator("#link")).to_contain_text(re.compile("Stale|Reconnecting"))
    page.get_by_role("switch", name="Fan").click()
    expect(card(page, "fan").get_by_role("alert")).to_contain_text("nothing was sent")
    server.restart()
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    assert sent == ['{"value":1}']
    assert [api(server, f"/api/pins/{pin}")["value"] for pin in ("lamp", "fan")] == [0, 0]
    page.evaluate("window.trusted = true")
    expect(page.locator("#link strong")).to_have_text("Live")
    expect(page.locator('[data-code="polling"]')).to_have_count(0)
