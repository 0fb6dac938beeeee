"""The plain page in a real browser, and the way to it from the dashboard."""

import re

from playwright.sync_api import expect

from tests.browser.looking import CONFIG, expect_live, value


def test_browser_without_scripts(start_server, open_page, shoot):
    """Without JavaScript the dashboard leads to the plain page, whose buttons work: a browser sends
    its own origin with them."""
    server = start_server(CONFIG)
    page = open_page(server.url, java_script_enabled=False)
    page.get_by_role("link", name="plain page").first.click()
    page.wait_for_url("**/plain")
    row = page.get_by_role("row", name="Desk lamp")
    row.get_by_role("button", name="On").click()
    expect(row).to_contain_text(re.compile("on since"))
    assert value(server, "lamp") == 1
    page.get_by_role("link", name="every 10 seconds").click()
    expect(page.get_by_role("link", name="Stop")).to_be_visible()


def test_page_can_be_read_by_all(start_server, open_page, shoot):
    """The plain page fits on a phone, also with the longest labels, and axe finds no barrier. What
    is touched has 44 pixels."""
    long = CONFIG.replace("Desk lamp", f"'{'W' * 64}'").replace("Fan}", f"'{'<b> & ' * 10}'}}")
    page = open_page(f"{start_server(long).url}/plain", locale="id-ID")
    shoot(page)
    sizes = page.locator("a, input:not([type=hidden])").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect()).map((r) => [r.width, r.height])"
    )
    assert len(sizes) > 10 and min(min(each) for each in sizes) >= 44


def test_browser_that_is_too_old(start_server, open_page):
    """Where the scripts of the dashboard or of the fleet page do not run, a text leads to the plain
    page. Elsewhere it is removed."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    expect(page.locator("#too-old")).to_have_count(0)
    page.goto(f"{server.url}/fleet/")
    expect(page.locator("#off")).to_be_visible()
    expect(page.locator("#too-old")).to_have_count(0)
    old = open_page("about:blank")
    hanging = {"body": "await new Promise(() => {});", "content_type": "text/javascript"}
    for script, path in (("dashboard", "/"), ("fleet", "/fleet/")):
        old.route(f"**/{script}.js", lambda route: route.fulfill(**hanging))
        old.goto(f"{server.url}{path}")
        expect(old.locator("#too-old")).to_be_visible(timeout=30_000)
        old.locator("#too-old a").click()
        old.wait_for_url(f"{server.url}/plain")
