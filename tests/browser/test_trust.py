"""Trust in the certificate authority of the Pi: a browser with a profile of its own, in which the
authority is installed by the documented steps."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Error, Page, expect

from raspi_server.security.codes import Codes
from tests.support.coded_server import folders, new_link
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
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("house")
    make_authority(folder)
    (folder / "config.yaml").write_text(CONFIG)
    server = Server(["run", "--simulate", "--config", str(folder / "config.yaml")])
    yield server
    check_end(server)


def plain(server: Server) -> str:
    return f"http://localhost:{server.port}"


def authority(server: Server) -> Path:
    return Path(server._arguments[-1]).parent / "tls" / "ca.crt"


def test_a_trusting_browser_has_a_padlock_and_live_pins(
    pi: Server, start_browser: Callable[..., BrowserContext]
) -> None:
    """With the authority installed, page and WebSocket are secure without a warning."""
    page = start_browser(authority(pi)).new_page()
    states = []
    session = page.context.new_cdp_session(page)
    session.on("Security.visibleSecurityStateChanged", lambda event: states.append(event))
    session.send("Security.enable")
    page.goto(f"https://localhost:{pi.port}/")
    expect(page.locator("body")).to_have_attribute("data-link", "live")
    assert page.evaluate("isSecureContext")
    state = states[-1]["visibleSecurityState"]
    assert state["securityState"] == "secure"
    assert not state["certificateSecurityState"].get("certificateNetworkError")
    assert page.evaluate(SWITCH) == {"type": "result", "ref": 1, "pin": "lamp", "value": 1}


@pytest.fixture
def impostor(pi: Server, tmp_path: Path) -> Iterator[Server]:
    """A server with a certificate for example.com that the Pi's authority has signed."""
    tls = authority(pi).parent
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


def test_a_trusting_browser_takes_no_other_site_from_the_authority(
    pi: Server, impostor: Server, start_browser: Callable[..., BrowserContext]
) -> None:
    """A browser that trusts the authority refuses what that has signed for a site of the internet,
    and goes on trusting it for the Pi."""
    names = "--host-resolver-rules=MAP example.com 127.0.0.1"
    browser = start_browser(authority(pi), (names,))
    with pytest.raises(Error, match=r"ERR_CERT_\w*INVALID"):
        browser.new_page().goto(f"https://example.com:{impostor.port}/")
    page = browser.new_page()  # the other tab still loads the error page
    page.goto(f"https://localhost:{pi.port}/")
    expect(page.locator("body")).to_have_attribute("data-link", "live")


def test_a_trusting_browser_is_led_on(
    pi: Server, start_browser: Callable[..., BrowserContext]
) -> None:
    """A browser that trusts already and opens an address without https gets to that page."""
    page = start_browser(authority(pi)).new_page()
    page.goto(f"{plain(pi)}/index.html?to=nowhere")
    expect(page.locator("#state")).to_have_attribute("data-state", "trusted")
    page.wait_for_url(f"https://localhost:{pi.port}/index.html?to=nowhere")
    expect(page.locator("body")).to_have_attribute("data-link", "live")


def test_a_link_signs_in_behind_the_way_to_https(
    start_browser: Callable[..., BrowserContext], tmp_path: Path
) -> None:
    """The token of a link that was opened by plain http comes along to the page over https, and is
    used there alone."""
    authority = make_authority(tmp_path)
    Codes(tmp_path).renew("control")
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.replace("everyone", "code"))
    server = Server(["run", "--simulate", "--config", str(file)], env=folders(tmp_path))
    page = start_browser(authority).new_page()
    page.goto(f"{plain(server)}{new_link(tmp_path)}")
    page.wait_for_url(f"https://localhost:{server.port}/")
    expect(page.locator("#session")).to_contain_text("Signed in to switch")
    check_end(server)


def test_no_redirect_to_another_site(
    pi: Server, start_browser: Callable[..., BrowserContext]
) -> None:
    """The address to go on to is always one of this server."""
    page = start_browser(authority(pi)).new_page()
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


@pytest.mark.parametrize(
    ("agent", "shown", "file"),
    [
        (IPHONE, "ios", "raspi-server.mobileconfig"),
        (ANDROID, "android", "raspi-server.crt"),
        (None, "desktop", "raspi-server.crt"),
    ],
)
def test_each_device_sees_its_own_steps_first(
    pi: Server,
    start_browser: Callable[..., BrowserContext],
    shoot: Callable[[Page, str], None],
    agent: str | None,
    shown: str,
    file: str,
) -> None:
    """The device at hand has its steps before it, with the file it takes and the fingerprint; the
    others' are folded away."""
    page = start_browser(user_agent=agent).new_page()
    page.goto(plain(pi))
    expect(page.locator("#state")).to_have_attribute("data-state", "untrusted")
    steps = page.locator(f"#{shown}")
    expect(steps).to_be_visible()
    assert steps.locator("a.button").get_attribute("href") == file
    for other in {"ios", "android", "desktop"} - {shown}:
        expect(page.locator(f"#{other}")).to_be_hidden()
    expect(page.locator("#fingerprint")).to_have_text(
        page.evaluate("fetch('authority.json').then(a => a.json())")["fingerprint"].replace(
            ":", " "
        )
    )
    shoot(page, f"trust-{shown}")
    page.locator("#others summary").click()
    expect(page.locator("#ios")).to_be_visible()


def test_in_indonesian(
    pi: Server,
    start_browser: Callable[..., BrowserContext],
    shoot: Callable[[Page, str], None],
) -> None:
    """A browser that prefers Indonesian gets the whole page so."""
    page = start_browser(locale="id-ID", user_agent=ANDROID).new_page()
    page.goto(plain(pi))
    expect(page.locator("html")).to_have_attribute("lang", "id")
    expect(page.locator("#state-words")).to_have_text("Perangkat ini belum memercayai Raspberry Pi")
    empty = "all => all.filter(each => !each.textContent).length"
    assert page.locator("[data-text]").evaluate_all(empty) == 0
    shoot(page, "trust-indonesian")


def test_it_goes_on_by_itself_once_trusted(
    pi: Server,
    start_browser: Callable[..., BrowserContext],
    shoot: Callable[[Page, str], None],
) -> None:
    """The page that waits notices that the certificate is trusted, and leads on; before it does
    not."""
    context = start_browser(ignore_https_errors=False)
    page = context.new_page()
    page.goto(plain(pi))
    expect(page.locator("#state")).to_have_attribute("data-state", "untrusted")

    # What Chromium calls trusting from now on; its own store is read only at its start.
    session = context.new_cdp_session(page)
    session.send("Security.setIgnoreCertificateErrors", {"ignore": True})
    page.wait_for_url(f"https://localhost:{pi.port}/")
