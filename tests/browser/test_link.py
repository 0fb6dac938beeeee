"""The connection of a page on slow networks, and in browsers that block WebSockets. Its timing is
tested in node/connection.test.js."""

import signal
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.looking import CONFIG, card, expect_live, switch, value, word

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
    what changes, switches, presses, dims and follows a reload. Once a WebSocket opens it is live.
    """
    server = start_server(CONFIG)
    page = open_page("about:blank")
    page.add_init_script(UNTRUSTED)
    page.goto(server.url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
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
    page.reload()
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    page.evaluate("window.trusted = true")
    expect(page.locator("#link strong")).to_have_text("Live")
    expect(page.locator('[data-code="polling"]')).to_have_count(0)
