"""The page in WebKit, the engine of every iPhone, of about the age of iOS 16."""

from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.conftest import find
from tests.browser.looking import CONFIG, api, value
from tests.support.server import LIMIT

pytestmark = pytest.mark.filterwarnings(  # selenium's, of itself
    "ignore:setting remote_server_addr:DeprecationWarning"
)

NOTE_FAILURES = """
window.failures = [];
addEventListener("error", ({ message }) => failures.push(message));
addEventListener("unhandledrejection", ({ reason }) => failures.push(String(reason)));
"""


class WebKit:
    """One browser. It notes which scripts fail once the page has loaded; what a script that failed
    before should have done, the tests miss."""

    def __init__(self) -> None:
        options = webdriver.WPEWebKitOptions()
        options.binary_location = find("cog", "cog")
        options.set_capability("browserName", "cog")
        for argument in ("--automation", "--platform=headless"):
            options.add_argument(argument)
        service = webdriver.WPEWebKitService(find("WPEWebDriver", "wpewebkit-driver"))
        self.driver = webdriver.WPEWebKit(options, service)

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.driver.execute_script(NOTE_FAILURES)

    def element(self, css: str) -> WebElement:
        """The element, once there is one that can be seen."""

        def seen(driver: webdriver.WPEWebKit) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, css)
            return next((each for each in found if each.is_displayed()), None)

        return WebDriverWait(self.driver, LIMIT).until(seen, f"nobody sees {css}")

    def expect(self, css: str, words: str) -> None:
        def told(driver: webdriver.WPEWebKit) -> bool:
            return words in driver.execute_script(
                "return document.querySelector(arguments[0])?.textContent ?? ''", css
            )

        WebDriverWait(self.driver, LIMIT).until(told, f"{css} never said {words!r}")

    def press(self, css: str) -> None:
        self.element(css).click()

    def close(self) -> None:
        try:
            assert self.driver.execute_script("return failures") == []
        finally:
            self.driver.quit()


@pytest.fixture
def webkit() -> Iterator[Callable[[str], WebKit]]:
    """Opens an address in a browser of its own, in which no script may fail."""
    browsers: list[WebKit] = []

    def open_url(url: str) -> WebKit:
        browsers.append(WebKit())
        browsers[-1].open(url)
        return browsers[-1]

    yield open_url
    for browser in browsers:
        browser.close()


def test_live_and_switching(start_server, webkit):
    """The page is live, shows what changes, switches, presses, dims and asks where it has to."""
    server = start_server(CONFIG)
    page = webkit(server.url)
    page.expect("#link", "Live")
    page.press('[data-pin="lamp"] [role="switch"]')
    page.expect('[data-pin="lamp"] .word', "on")
    assert value(server, "lamp") == 1
    api(server, "/api/pins/lamp", "PUT", {"value": 0})
    page.expect('[data-pin="lamp"] .word', "off")
    page.press('[data-pin="bell"] .press')
    page.expect('[data-pin="bell"] .word', "on")
    page.expect('[data-pin="bell"] .word', "off")
    page.element('[data-pin="fan"] input').send_keys(Keys.END)
    page.expect('[data-pin="fan"] .word', "100%")
    page.press('[data-pin="heater"] [role="switch"]')
    page.press("#confirm .do")
    page.expect('[data-pin="heater"] .word', "on")
    page.expect('[data-fact="viewers"]', "1 page")


def test_the_page_of_a_pin_and_the_header(start_server, webkit):
    """The past of a pin and the board's header are there as well."""
    server = start_server(CONFIG)
    api(server, "/api/pins/lamp", "PUT", {"value": 1})
    page = webkit(server.url)
    page.press("#board summary")
    page.press('.header [data-kind="ours"]')
    page.expect(".chosen", "in config.yaml as")
    page.press('[data-pin="lamp"] .more')
    page.expect("#pin-page .changes tbody", "127.0.0.1")
    page.press("#pin-page .back")
    page.element('[data-pin="lamp"]')


def test_a_restart(start_server, webkit):
    """After a restart of the server the page is live again by itself."""
    server = start_server(CONFIG)
    page = webkit(server.url)
    page.expect("#link", "Live")
    server.stop()
    page.expect("#link", "Reconnecting")
    server.restart()
    page.expect("#link", "Live")
    page.press('[data-pin="lamp"] [role="switch"]')
    page.expect('[data-pin="lamp"] .word', "on")


@pytest.mark.parametrize(
    "path, css, words",
    [
        ("/examples/table.html", "table", "Desk lamp"),
        ("/examples/switch.html", "button", "Desk lamp"),
    ],
)
def test_examples(start_server, webkit, path, css, words):
    """The pages to copy work there, too."""
    page = webkit(start_server(CONFIG).url + path)
    page.expect(css, words)


def test_the_page_of_the_tutorial(start_server, webkit):
    """So does the page of the tutorial."""
    page = webkit(start_server(CONFIG).url + "/examples/tutorial.html")
    page.press("button")
    page.expect("#messages", '"lamp":0')
