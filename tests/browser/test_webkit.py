"""The page in WebKit, the engine of every iPhone, of about the age of iOS 16."""

from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.conftest import find
from tests.browser.looking import CONFIG, switch, value
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
    """One browser. It notes scripts that fail after the page has loaded; one that failed before is
    noticed by its missing effects."""

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
        """Return the element, once it is displayed."""

        def seen(driver: webdriver.WPEWebKit) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, css)
            return next((each for each in found if each.is_displayed()), None)

        return WebDriverWait(self.driver, LIMIT).until(seen, f"{css} is not displayed")

    def expect(self, css: str, words: str) -> None:
        def told(driver: webdriver.WPEWebKit) -> bool:
            return words in driver.execute_script(
                "return document.querySelector(arguments[0])?.textContent ?? ''", css
            )

        WebDriverWait(self.driver, LIMIT).until(told, f"{css} never said {words!r}")

    def press(self, css: str) -> None:
        self.element(css).click()

    def check(self) -> None:
        """Check that no script of the page has failed."""
        assert self.driver.execute_script("return failures") == []


@pytest.fixture(scope="module")
def engine() -> Iterator[WebKit]:
    browser = WebKit()
    yield browser
    browser.driver.quit()


@pytest.fixture
def webkit(engine: WebKit) -> Iterator[Callable[[str], WebKit]]:
    """Open an address; no script of the last page that is open may fail."""

    def open_url(url: str) -> WebKit:
        engine.open(url)
        return engine

    yield open_url
    engine.check()


def test_dashboard(start_server, webkit):
    """The dashboard is live, also after a restart, switches, presses, dims, asks where it has to,
    and shows what changes, the header and the history of a pin."""
    server = start_server(CONFIG)
    page = webkit(server.url)
    page.expect("#link", "Live")
    server.stop()
    page.expect("#link", "Reconnecting")
    server.restart()
    page.expect("#link", "Live")
    page.press('[data-pin="lamp"] [role="switch"]')
    page.expect('[data-pin="lamp"] .word', "on")
    assert value(server, "lamp") == 1
    switch(server, "lamp", 0)
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
    page.press("#board summary")
    page.press('.header [data-kind="ours"]')
    page.expect(".chosen", "in config.yaml as")
    page.press('[data-pin="lamp"] .more')
    page.expect("#pin-page .changes tbody", "127.0.0.1")
    page.press("#pin-page .back")
    page.element('[data-pin="lamp"]')


def test_examples(start_server, webkit):
    """The example pages work, too."""
    server = start_server(CONFIG)
    page = webkit(f"{server.url}/examples/table.html")
    page.expect("table", "Desk lamp")
    page.check()
    page = webkit(f"{server.url}/examples/switch.html")
    page.expect("button", "Desk lamp")
    page.check()
    page = webkit(f"{server.url}/examples/tutorial.html")
    page.press("button")
    page.expect("#messages", '"lamp":0')
