"""The page in WebKit, the engine of every iPhone, of about the age of iOS 16."""

from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.conftest import find
from tests.browser.looking import CONFIG, switch, value
from tests.support.server import LIMIT, Server

pytestmark = pytest.mark.filterwarnings(  # selenium's, of itself
    "ignore:setting remote_server_addr:DeprecationWarning"
)

NOTE_FAILURES = """
window.failures = [];
addEventListener("error", ({ message }) => failures.push(message));
addEventListener("unhandledrejection", ({ reason }) => failures.push(String(reason)));
"""


class WebKit:
    """One browser. It notes scripts that fail after the page has loaded."""

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
        """Return the element, once it is displayed and enabled."""

        def seen(driver: webdriver.WPEWebKit) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, css)
            return next((each for each in found if each.is_displayed() and each.is_enabled()), None)

        return WebDriverWait(self.driver, LIMIT).until(
            seen, f"{css} is not displayed, or not enabled"
        )

    def expect(self, css: str, words: str) -> None:
        said = ""

        def told(driver: webdriver.WPEWebKit) -> bool:
            nonlocal said
            said = driver.execute_script(
                "return document.querySelector(arguments[0])?.textContent ?? ''", css
            )
            return words in said

        try:
            WebDriverWait(self.driver, LIMIT).until(told)
        except TimeoutException:
            raise AssertionError(f"{css} never said {words!r}, but {said!r}") from None

    def press(self, css: str) -> None:
        element = self.element(css)
        center = "arguments[0].scrollIntoView({block: 'center'})"  # this driver does not scroll
        self.driver.execute_script(center, element)
        element.click()

    def check(self) -> None:
        """Check that no script of the page has failed."""
        assert self.driver.execute_script("return failures") == []


@pytest.fixture
def webkit() -> Iterator[WebKit]:
    browser = WebKit()
    yield browser
    browser.driver.quit()


def test_dashboard_and_examples(start_server: Callable[..., Server], webkit: WebKit) -> None:
    """The dashboard is live, also after a restart. Its controls and the examples work."""
    server = start_server(CONFIG)
    webkit.open(server.url)
    webkit.expect("#link", "Live")
    server.stop()
    webkit.expect("#link", "Reconnecting")
    server.restart()
    webkit.expect("#link", "Live")
    webkit.press('[data-pin="lamp"] [role="switch"]')
    webkit.expect('[data-pin="lamp"] .word', "on")
    assert value(server, "lamp") == 1
    switch(server, "lamp", 0)
    webkit.expect('[data-pin="lamp"] .word', "off")
    webkit.press('[data-pin="bell"] .press')
    for name in ("bell", "fan", "heater"):
        webkit.press(f'[data-pin="{name}"] .opener')
    webkit.expect('[data-pin="bell"] .by', "pulse ended")
    webkit.element('[data-pin="fan"] input').send_keys(Keys.END)
    webkit.expect('[data-pin="fan"] .word', "100%")
    webkit.press('[data-pin="heater"] [role="switch"]')
    webkit.press("#confirm .do")
    webkit.expect('[data-pin="heater"] .word', "on")
    webkit.press('[data-pin="heater"] .timeline-link')
    webkit.expect("#pin-page .changes", "127.0.0.1")
    webkit.press("#pin-page .back")
    webkit.check()
    for name, words in (("table", "Desk lamp"), ("switch", "Desk lamp"), ("tutorial", "Run")):
        webkit.open(f"{server.url}/examples/{name}.html")
        webkit.expect("body", words)
        webkit.check()
    webkit.press("button")
    webkit.expect("#messages", '"lamp":0')
    switch(server, "lamp", 1)
    webkit.expect("#messages", '"lamp":1')
