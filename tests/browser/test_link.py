"""The connection of a page under hard conditions: no network, sleep, slow networks, browsers that
block WebSockets."""

import json
import re
import signal

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.looking import CONFIG, api, card, expect_live, value, word

NO_SOCKETS = """
    const Real = window.WebSocket;
    let failures = 0;
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
"""As iOS does with a certificate that was only "visited anyway": no word, and fetch works."""


def open_deaf(open_page, url: str, **options) -> Page:
    page = open_page("about:blank", **options)
    page.add_init_script(NO_SOCKETS)
    page.goto(url)
    return page


def test_no_network_and_again(start_server, open_page):
    """When the network goes the page admits it; when it is back the page is live by itself."""
    page = open_page(start_server(CONFIG).url)
    expect_live(page)
    page.evaluate("window.sameDocument = true")
    page.context.set_offline(True)
    expect(page.locator("#link")).to_contain_text(re.compile("Stale|Reconnecting"))
    page.context.set_offline(False)
    expect_live(page)
    assert page.evaluate("window.sameDocument") is True


def test_a_socket_that_died_in_its_sleep(start_server, open_page):
    """A phone that wakes with a socket that only looks open does not wait for it."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    sockets: list[WebSocketRoute] = []

    def connect(route: WebSocketRoute) -> None:
        sockets.append(route)
        line = route.connect_to_server()
        first = len(sockets) == 1
        line.on_message(lambda text: None if first and asleep else route.send(text))

    asleep: list[bool] = []
    page.route_web_socket("**/ws", connect)
    page.clock.install()
    page.goto(server.url)
    expect_live(page)
    asleep.append(True)
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, value: true })")
    page.clock.fast_forward(3_000)
    api(server, "/api/pins/lamp", "PUT", {"value": 1})
    assert len(sockets) == 1
    at_once = page.evaluate("""() => {
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
        return document.body.dataset.link;
    }""")
    assert at_once == "lost"
    expect(word(page, "lamp")).to_have_text("on")
    expect_live(page)
    assert len(sockets) == 2


def test_a_hidden_page_lets_go(start_server, open_page):
    """A page may let the server go when nobody has looked at it for a while, and is live again when
    somebody does; one that did not ask for that keeps its link."""
    server = start_server(CONFIG)
    page, watch = open_page(server.url), open_page(server.url)
    page.evaluate("""import("/raspi.js").then(({ connect }) => {
        window.resting = connect({ rest: 1 });
        window.staying = connect();
    })""")
    viewers = watch.locator('[data-fact="viewers"]')
    expect(viewers).to_contain_text("4 pages")
    page.evaluate("""
        Object.defineProperty(document, "hidden", { configurable: true, value: true });
        document.dispatchEvent(new Event("visibilitychange"));
    """)
    expect(viewers).to_contain_text("3 pages")
    assert page.evaluate("staying.link") == "live"
    page.evaluate("""
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
    """)
    expect(viewers).to_contain_text("4 pages")
    assert page.evaluate("resting.link") == "live"


def test_a_slow_network(start_server, open_page):
    """On a slow line the page still loads, and switches."""
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


def test_without_websockets(start_server, open_page, shoot):
    """Without WebSockets the page says why and how to mend it, and goes on by polling:
    it shows what changes, switches, presses and dims."""
    server = start_server(CONFIG)
    page = open_deaf(open_page, server.url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    notice = page.locator('[data-code="polling"]')
    expect(notice).to_contain_text("until they trust the certificate")
    trust = notice.get_by_role("link", name="How to trust it")
    expect(trust).to_have_attribute("href", f"{server.url}/trust/")
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp")).to_have_text("on")
    assert value(server, "lamp") == 1
    api(server, "/api/pins/lamp", "PUT", {"value": 0})
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


def test_asking_admits_silence(start_server, open_page):
    """Also a page that asks says when nothing is heard, and comes back by itself."""
    server = start_server(CONFIG)
    page = open_deaf(open_page, server.url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    server.stop()
    expect(page.locator("#link")).to_contain_text(re.compile("Stale|Reconnecting"))
    page.get_by_role("switch", name="Desk lamp").click()
    expect(card(page, "lamp").get_by_role("alert")).to_contain_text("nothing was sent")
    server.restart()
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    assert value(server, "lamp") == 0


def test_asking_sends_no_command_twice(start_server, open_page):
    """A command that got no answer is reported as unconfirmed, and never sent again; one that is
    refused says why."""
    server = start_server(CONFIG)
    page = open_deaf(open_page, server.url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    sent = []

    def lose(route) -> None:
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
    assert sent == ['{"value":1}']
    assert value(server, "lamp") == 0


def test_asking_tells_what_is_new(start_server, open_page, tmp_path):
    """Also a page that asks learns of a reload, and of what the server has to say of itself."""
    server = start_server(CONFIG)
    page = open_deaf(open_page, server.url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    file = tmp_path / "config-0.yaml"
    file.write_text(CONFIG + "  shed: {gpio: 6, mode: input, label: Garden shed}\n")
    server.process.send_signal(signal.SIGHUP)
    expect(card(page, "shed")).to_contain_text("Garden shed")
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    file.write_text(CONFIG + "  shed: {gpio: 99, mode: input}\n")
    server.process.send_signal(signal.SIGHUP)
    expect(page.locator('[data-code="configuration"]')).to_contain_text("GPIO0 to GPIO27")
    expect(card(page, "shed")).to_contain_text("Garden shed")


def test_refusals_in_indonesian(start_server, open_page):
    """Also why something was not done is told in the page's language."""
    page = open_deaf(open_page, start_server(CONFIG).url, locale="id-ID")
    expect(page.locator("#link")).to_contain_text("Langsung, bertanya")
    wrong = json.dumps({"value": 7})
    page.route("**/api/pins/lamp", lambda route: route.continue_(post_data=wrong))
    page.get_by_role("switch", name="Desk lamp").click()
    words = "Tidak dilakukan: nilai ini tidak dapat diterima pin ini"
    expect(card(page, "lamp").get_by_role("alert")).to_have_text(words)


def test_asking_ends_once_a_socket_gets_through(start_server, open_page):
    """When the certificate is trusted at last, the page is live without a reload."""
    page = open_deaf(open_page, start_server(CONFIG).url)
    expect(page.locator("#link")).to_contain_text("Live, by asking")
    page.evaluate("window.trusted = true")
    expect(page.locator("#link strong")).to_have_text("Live")
    expect(page.locator('[data-code="polling"]')).to_have_count(0)


def test_a_server_that_is_away_is_no_reason_to_ask(start_server, open_page):
    """A restart of the service, however long, brings the socket back, not the asking."""
    server = start_server(CONFIG)
    page = open_page("about:blank")
    page.add_init_script("""
        new MutationObserver(() => (window.links ??= []).push(document.body?.dataset.link))
          .observe(document, { subtree: true, attributeFilter: ["data-link"] })
    """)
    page.goto(server.url)
    expect_live(page)
    server.process.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("#link")).to_contain_text("Reconnecting")
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect(page.locator("#link strong")).to_have_text("Live")
    server.stop()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    expect(page.locator("#link span")).to_have_text(re.compile("[4-9] sec"))
    server.restart()
    expect(page.locator("#link strong")).to_have_text("Live")
    assert set(page.evaluate("window.links")) == {"live", "stale", "lost"}
