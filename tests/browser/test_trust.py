"""Trust in the certificate authority of the Pi: a browser with a profile of its own, in which the
authority is installed by the documented steps."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Error, Page, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link
from tests.support.http import ask
from tests.support.server import Server, check_end
from tests.web.test_trust import CONFIG, make_authority

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/131.0.0.0 Mobile Safari/537.36"
)
SWITCH = """
new Promise((resolve, reject) => {
  const socket = new WebSocket(`wss://${location.host}/ws`);
  socket.onopen = () => socket.send('{"type":"set","pin":"lamp","value":1,"ref":1}');
  socket.onmessage = ({data}) => data.includes('"result"') && resolve(JSON.parse(data));
  socket.onclose = reject;
})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder)
    return folder


@pytest.fixture(scope="module")
def pi(folder: Path) -> Iterator[Server]:
    (folder / "config.yaml").write_text(CONFIG)
    server = Server(["run", "--simulate", "--config", str(folder / "config.yaml")])
    yield server
    check_end(server)


@pytest.fixture
def impostor(folder: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with a certificate for example.com that the Pi's authority has signed."""
    tls = folder / "tls"
    (tmp_path / "names").write_text("subjectAltName=DNS:example.com\n")
    for command in (
        f"req -new -key {tls}/server.key -subj /CN=example.com -out request",
        f"x509 -req -in request -CA {tls}/ca.crt -CAkey {tls}/ca.key -extfile names -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    text = f"ssl: {{certificate: cert.pem, key: {tls}/server.key}}\n"
    (tmp_path / "config.yaml").write_text(text)
    server = Server(["run", "--simulate", "--config", str(tmp_path / "config.yaml")])
    yield server
    check_end(server)


def plain(server: Server) -> str:
    return f"http://localhost:{server.port}"


def expect_live(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-link", "live")


def test_browser_that_trusts_the_authority(
    pi: Server, impostor: Server, folder: Path, start_browser: Callable[..., BrowserContext]
) -> None:
    """With the authority installed, page and WebSocket are secure without a warning, and plain HTTP
    leads to the address over HTTPS that was asked for, never to another site. A certificate of the
    authority for a site of the internet is rejected."""
    names = "--host-resolver-rules=MAP example.com 127.0.0.1"
    browser = start_browser(folder / "tls" / "ca.crt", (names,))
    page = browser.new_page()
    for elsewhere in (
        "https://evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        "\\\\evil",
    ):
        page.goto(f"{plain(pi)}/trust/?to={elsewhere}")
        page.wait_for_function("document.querySelector('#on').protocol === 'https:'")
        href = page.locator("#on").evaluate("link => link.href")
        assert href.startswith(f"https://localhost:{pi.port}/")
    states = []
    session = page.context.new_cdp_session(page)
    session.on("Security.visibleSecurityStateChanged", lambda event: states.append(event))
    session.send("Security.enable")
    page.goto(f"{plain(pi)}/index.html?to=nowhere")
    expect(page.locator("#state")).to_have_attribute("data-state", "trusted")
    page.wait_for_url(f"https://localhost:{pi.port}/index.html?to=nowhere")
    expect_live(page)
    assert page.evaluate("isSecureContext")
    state = states[-1]["visibleSecurityState"]
    assert state["securityState"] == "secure"
    assert not state["certificateSecurityState"].get("certificateNetworkError")
    assert page.evaluate(SWITCH) == {"type": "result", "ref": 1, "pin": "lamp", "value": 1}
    with pytest.raises(Error, match=r"ERR_CERT_\w*INVALID"):
        browser.new_page().goto(f"https://example.com:{impostor.port}/")
    page.goto(f"https://localhost:{pi.port}/")
    expect_live(page)


def test_link_over_plain_http(
    folder: Path, start_browser: Callable[..., BrowserContext], tmp_path: Path
) -> None:
    """The token of a link that was opened over plain HTTP is passed on to the page over HTTPS, and
    used only there."""
    Codes(tmp_path).renew("control")
    file = folder / "coded.yaml"
    file.write_text(CONFIG.replace("everyone", "code"))
    server = Server(["run", "--simulate", "--config", str(file)], env=folders(tmp_path))
    page = start_browser(folder / "tls" / "ca.crt").new_page()
    page.goto(f"{plain(server)}{new_link(tmp_path)}")
    page.wait_for_url(f"https://localhost:{server.port}/")
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    check_end(server)


def test_steps_of_each_device(
    pi: Server, open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    """Each device shows its own steps, with the file it takes and the fingerprint, and folds away
    the others'. A browser that prefers Indonesian shows the whole page in it."""
    authority = ask(plain(pi), "GET", "/trust/authority.json").json
    for shown, agent, locale in (
        ("ios", IPHONE, "en"),
        ("android", ANDROID, "id-ID"),
        ("desktop", None, "en"),
    ):
        page = open_page(plain(pi), user_agent=agent, locale=locale)
        expect(page.locator("#state")).to_have_attribute("data-state", "untrusted")
        steps = page.locator(f"#{shown}")
        expect(steps).to_be_visible()
        file = "raspi-server.mobileconfig" if shown == "ios" else "raspi-server.crt"
        assert steps.locator("a.button").get_attribute("href") == file
        for other in {"ios", "android", "desktop"} - {shown}:
            expect(page.locator(f"#{other}")).to_be_hidden()
        expect(page.locator("#fingerprint")).to_have_text(
            authority["fingerprint"].replace(":", " ")
        )
        words = {"en": "This device does not trust", "id-ID": "Perangkat ini belum memercayai"}
        expect(page.locator("#state-words")).to_contain_text(words[locale])
        expect(page.locator("html")).to_have_attribute("lang", locale[:2])
        empty = "all => all.filter(each => !each.textContent).length"
        assert page.locator("[data-text]").evaluate_all(empty) == 0
        shoot(page, f"trust-{shown}")
        page.locator("#others summary").click()
        for device in ("ios", "android", "desktop"):
            expect(page.locator(f"#{device}")).to_be_visible()


def test_page_goes_on_once_the_certificate_is_trusted(
    pi: Server, open_page: Callable[..., Page]
) -> None:
    """The page notices that the certificate is trusted, and then leads on; before it does not."""
    page = open_page(plain(pi))
    expect(page.locator("#state")).to_have_attribute("data-state", "untrusted")
    # What Chromium calls trusting from now on; its own store is read only at its start.
    session = page.context.new_cdp_session(page)
    session.send("Security.setIgnoreCertificateErrors", {"ignore": True})
    page.wait_for_url(f"https://localhost:{pi.port}/")
