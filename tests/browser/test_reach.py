"""Accessibility of the page: language, words, keyboard, screen readers, few colours."""

import json

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.looking import CONFIG, api, card, expect_live, switch, value, word

BLINDS = (
    CONFIG
    + """
  up: {gpio: 20, mode: output, label: Blind up, group: blind}
  down: {gpio: 21, mode: output, label: Blind down, group: blind}
  siren: {gpio: 26, mode: output, label: Siren}
"""
)


def with_health(page: Page, facts: dict[str, object]) -> None:
    """Replace facts in the server's health."""

    def spoil(route: WebSocketRoute) -> None:
        def pass_on(text: str) -> None:
            message = json.loads(text)
            route.send(json.dumps({**message, **facts} if message["type"] == "health" else message))

        route.connect_to_server().on_message(pass_on)

    page.route_web_socket("**/ws", spoil)


def test_indonesian(start_server, open_page, shoot):
    """A browser that prefers Indonesian gets the page in it, notices included."""
    server = start_server(CONFIG)
    page = open_page(server.url, locale="id-ID")
    expect(page.locator("#link")).to_contain_text("Langsung")
    assert page.evaluate("document.documentElement.lang") == "id"
    expect(word(page, "lamp")).to_have_text("mati")
    expect(page.locator('[data-code="simulated"]')).to_contain_text("Pin simulasi")
    switch(server, "lamp", 1)
    expect(word(page, "lamp")).to_have_text("nyala")
    expect(card(page, "lamp").locator(".since")).to_contain_text("oleh 127.0.0.1")
    page.get_by_role("switch", name="Heater").click()
    expect(page.get_by_role("dialog", name="Nyalakan Heater?")).to_be_visible()
    page.get_by_role("button", name="Batal").click()
    shoot(page, "indonesian")


def test_health(start_server, open_page, shoot):
    """The facts of the machine are told in words, and too little power stands at the top of the
    page. Facts that are not known are not shown."""
    page = open_page("about:blank")
    facts: dict[str, object] = {
        "temperature": 61.2,
        "throttled": ["under-voltage now", "throttled now", "under-voltage since boot"],
        "load": 0.31,
        "memory": 0.52,
        "disk": 0.93,
        "uptime": 200_000,
        "addresses": ["192.168.1.20", "kitchen.local"],
        "viewers": 3,
    }
    with_health(page, facts)
    page.goto(start_server(CONFIG).url)
    words = {
        "temperature": "61.2°C",
        "power": "now: under-voltage, throttled\nsince boot: under-voltage",
        "load": "31%",
        "memory": "52%",
        "disk": "93%",
        "uptime": "2 days",
        "viewers": "3 pages",
        "address": "192.168.1.20\nkitchen.local",
    }
    for name, amount in words.items():
        expect(page.locator(f'[data-fact="{name}"] .amount')).to_have_text(amount)
    expect(page.locator('[data-code="power"]')).to_contain_text("too little power")
    expect(page.locator("[data-bad]")).to_have_count(2)  # power and disk
    page.locator("#health").scroll_into_view_if_needed()
    shoot(page, "health")
    facts.update(temperature=None, throttled=[], addresses=[])
    expect(page.locator('[data-fact="power"] .amount')).to_have_text("good")
    expect(page.locator('[data-fact="temperature"]')).to_be_hidden()
    expect(page.locator('[data-fact="address"]')).to_be_hidden()
    expect(page.locator('[data-code="power"]')).to_have_count(0)
    page.reload()
    expect(page.locator('[data-fact="power"] .amount')).to_have_text("good")
    expect(page.locator('[data-fact="temperature"]')).to_have_count(0)


def test_groups(start_server, open_page, shoot):
    """Pins of one group are together under its name, in the order of the configuration."""
    page = open_page(start_server(BLINDS).url)
    blind = page.get_by_role("region", name="blind: one at a time")
    expect(blind.locator(".pin h2")).to_have_text(["Blind up", "Blind down"])
    names = ["Front door", "Desk lamp", "Doorbell", "Tomatoes", "Fan", "Heater"]
    expect(page.locator(".pin h2")).to_have_text([*names, "Blind up", "Blind down", "Siren"])
    blind.scroll_into_view_if_needed()
    page.get_by_role("switch", name="Blind up").click()
    expect(word(page, "up")).to_have_text("on")
    page.get_by_role("switch", name="Blind down").click()
    expect(word(page, "up")).to_have_text("off")
    expect(word(page, "down")).to_have_text("on")
    shoot(page, "groups")


def test_changes_are_announced(start_server, open_page):
    """A screen reader announces what other clients changed, in one sentence, but not a change of
    the focused card."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    for pin in ("lamp", "heater"):
        switch(server, pin, 1)
    news = page.locator("#announcements")
    expect(news).to_have_attribute("role", "status")
    expect(news).to_have_text("Desk lamp on, Heater on")
    page.get_by_role("switch", name="Fan").click()
    expect(word(page, "fan")).to_have_text("100%")
    api(server, "/api/pins/bell/pulse", "POST", {})
    expect(news).to_have_text("Doorbell on")


def test_with_keys(start_server, open_page):
    """Everything can be reached and done with the keyboard."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    focused = "document.activeElement.getAttribute('aria-labelledby') ?? ''"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "label-lamp":
            break
    page.keyboard.press("Space")
    expect(word(page, "lamp")).to_have_text("on")
    assert value(server, "lamp") == 1
    page.get_by_role("slider", name="Fan level").press("End")
    expect(word(page, "fan")).to_have_text("100%")
    page.get_by_role("link", name="History of Fan").press("Enter")
    expect(page.get_by_role("link", name="All pins")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="History of Fan")).to_be_focused()


def test_few_colours_and_little_motion(start_server, open_page, shoot):
    """With forced colours and reduced motion, on and off still differ."""
    server = start_server(CONFIG)
    switch(server, "lamp", 1)
    page = open_page(server.url, forced_colors="active", reduced_motion="reduce")
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_checked()
    fill = "(it) => getComputedStyle(it).backgroundColor"
    lamp = page.get_by_role("switch", name="Desk lamp").evaluate(fill)
    assert lamp != page.get_by_role("switch", name="Heater").evaluate(fill)
    thumb = card(page, "lamp").locator(".thumb")
    assert thumb.evaluate("(it) => getComputedStyle(it).transitionDuration") == "0s"
    shoot(page, "few-colours")
