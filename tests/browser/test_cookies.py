"""The session cookie: browsers that keep no cookies, and a cookie for each scheme."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders
from tests.support.server import Server, check_end, free_port
from tests.web.test_trust import make_authority

CONFIG = """
gpio: simulated
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""


def test_browser_that_keeps_no_cookies(
    start_server: Callable[..., Server],
    start_browser: Callable[..., BrowserContext],
    tmp_path: Path,
) -> None:
    """After the right code the dialog says that the browser did not keep the sign-in."""
    settings = tmp_path / "profile" / "Default" / "Preferences"
    settings.parent.mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    settings.write_text(json.dumps(blocked))
    code = Codes(tmp_path).renew("control")
    server = start_server(CONFIG, env=folders(tmp_path))
    page = start_browser().new_page()
    page.goto(server.url)
    page.locator('[data-code="view"] button').click()
    page.locator("#code").fill(code)
    page.locator("#sign-in .do").click()
    words = "this browser did not keep the sign-in"
    expect(page.locator("#sign-in .error")).to_contain_text(words)


def test_from_https_back_to_http(
    start_browser: Callable[..., BrowserContext], tmp_path: Path
) -> None:
    """A browser that signed in over HTTPS signs in over plain HTTP after a change of `ssl`, and the
    other way round: no old cookie hides the new one."""
    authority = make_authority(tmp_path)
    code = Codes(tmp_path).renew("control")
    file = tmp_path / "config.yaml"
    port = free_port()
    text = f"port: {port}\nssl: true\n{CONFIG}"
    file.write_text(text)
    server = Server(["run", "--config", str(file)], port=None, env=folders(tmp_path))
    page = start_browser(authority).new_page()
    for scheme, is_https in (("https", "true"), ("http", "false"), ("https", "true")):
        file.write_text(text.replace("true", is_https))
        before = server.log.count(f"serving {scheme}:")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log(f"serving {scheme}:", again=before)
        page.goto(f"{scheme}://localhost:{port}/")
        expect(page.locator('[data-code="view"]')).to_contain_text("needs the control code")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("textbox", name="Access code").fill(code)
        page.locator("#sign-in .do").click()
        lamp = page.get_by_role("switch", name="Desk lamp")
        lamp.click()
        expect(lamp).to_be_checked()
        lamp.click()
        page.reload()
        expect(page.locator("#session")).to_contain_text("Signed in to switch")
    check_end(server)
