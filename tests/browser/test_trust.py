"""Trust in the authority of the Pi: a browser in which it is installed by the documented steps."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect, sync_playwright

from raspi_server.security.codes import Codes
from tests.browser.conftest import ARGUMENTS, PHONE, find
from tests.browser.looking import expect_live, resize, string, wait_for
from tests.support.coded_server import folders, new_link
from tests.support.http import ask
from tests.support.server import LIMIT, Server
from tests.web.test_trust import CONFIG, make_authority

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder)
    return folder


@pytest.fixture(scope="module")
def pi(folder: Path, start_module_server) -> Server:
    """A server that needs a code to switch."""
    Codes(folder).renew("control")
    text = CONFIG.replace("everyone", "code")
    return start_module_server(text, at=folder, env=folders(folder))


@pytest.fixture
def trusting_page(folder: Path, tmp_path: Path) -> Iterator[Page]:
    """A page of a Chromium with a profile of its own, in which the authority is installed."""
    store = tmp_path / ".pki" / "nssdb"  # where people's own authorities are, on Linux
    store.mkdir(parents=True)
    authority = folder / "tls" / "ca.crt"
    for arguments in (["-N", "--empty-password"], ["-A", "-n", "pi", "-t", "C,,", "-i", authority]):
        command = [find("certutil", "libnss3-tools"), "-d", f"sql:{store}", *arguments]
        subprocess.run(command, check=True)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=find("chromium", "chromium"),
            args=ARGUMENTS,
            env={"HOME": str(tmp_path)},
            viewport=PHONE,
        )
        context.set_default_timeout(LIMIT * 1000)
        yield context.new_page()
        context.close()


def plain(server: Server) -> str:
    return f"http://localhost:{server.port}"


def test_browser_that_trusts_the_authority(pi: Server, folder: Path, trusting_page: Page) -> None:
    """With the authority installed everything is secure without a warning. Plain HTTP leads to the
    same address over HTTPS, never to another site, and passes on the token of a link."""
    page = trusting_page
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
    page.goto(f"{plain(pi)}/index.html?to=nowhere")
    page.wait_for_url(f"https://localhost:{pi.port}/index.html?to=nowhere")
    expect_live(page)
    assert page.evaluate("isSecureContext")
    page.goto(f"{plain(pi)}{new_link(folder)}")
    page.wait_for_url(f"https://localhost:{pi.port}/")
    expect(page.locator("#session")).to_contain_text(string("signedInControl"))
    page.get_by_role("switch").click()
    expect(page.get_by_role("switch")).to_be_checked()
    wait_for(page, "() => Boolean(navigator.serviceWorker.controller)")


@pytest.mark.parametrize("language", ["en", "de"])
def test_first_visit_is_kept(folder, start_server, trusting_page, language: str) -> None:
    """After a first visit by https the page opens without the Pi, with what was last known and its
    details, in the language of the browser."""
    page = trusting_page
    page.add_init_script(
        f"Object.defineProperty(navigator, 'languages', {{value: ['{language}']}})"
    )
    server = start_server(CONFIG, at=folder)
    page.goto(f"https://localhost:{server.port}/")
    expect_live(page)
    kept = """async (name) => {
        const found = (await Promise.all((await caches.keys()).map(async (each) =>
            (await (await caches.open(each)).keys()).map(({ url }) => url)))).flat();
        return found.some((url) => url.endsWith(name));
    }"""
    for name in ("/dashboard.js", "/list.css", "/timeline.js", "/details.css", f"/{language}.json"):
        wait_for(page, kept, name)
    wait_for(page, "() => Object.keys(localStorage).some((key) => key.includes('last-known'))")
    server.stop()
    page.reload()
    expect(page.locator("#last-known")).to_be_visible()
    expect(page.locator(".pin .word").first).to_have_text(string("off", language))
    page.locator(".opener").first.click()
    page.locator(".timeline-link").first.click()
    expect(page.locator("#pin-page h2").first).to_be_visible()
    expect(page.locator("#pin-page .timeline h2")).to_have_text(string("timeline", language))
    expect(page.locator("#pin-page .page-error")).to_be_visible()


def test_name_outside_the_limits(folder, start_server, trusting_page) -> None:
    """Chromium rejects a certificate of the authority that also has a name outside its limits."""
    for name, is_trusted in (("pi.local", True), ("example.com", False)):
        (folder / "names").write_text(f"subjectAltName=DNS:localhost,DNS:{name}\n")
        request = "openssl req -new -key tls/server.key -subj /CN=x"
        sign = f"openssl x509 -req -CA tls/ca.crt -CAkey tls/ca.key -extfile names -out {name}.crt"
        subprocess.run(f"{request} | {sign}", shell=True, check=True, cwd=folder)
        files = f"{{certificate: {folder}/{name}.crt, key: {folder}/tls/server.key}}"
        url = f"https://localhost:{start_server(f'ssl: {files}').port}/"
        with contextlib.nullcontext() if is_trusted else pytest.raises(Error, match="ERR_CERT_"):
            trusting_page.goto(url)


def test_browser_that_cannot_run_the_page(pi, open_page) -> None:
    """Where the script does not run, a text leads to the plain page, and to the certificate."""
    page = open_page("about:blank")
    page.route("**/trust.js", lambda route: route.abort())
    page.goto(plain(pi))
    expect(page.locator("#too-old")).to_be_visible(timeout=30_000)
    assert page.locator("#too-old a").first.evaluate("link => link.href") == f"{plain(pi)}/plain"


def test_steps_of_each_device(pi, open_page, shoot) -> None:
    """Each device shows its own steps, file and fingerprint, in the language of the browser, also
    long words on a narrow phone. The page notices when the certificate is trusted, and then leads
    on."""
    authority = ask(plain(pi), "GET", "/trust/authority.json").json
    fingerprint = authority["fingerprint"].replace(":", " ")
    for shown, file, agent, locale, words in (
        ("ios", "raspi-server.mobileconfig", IPHONE, "en", "This device does not trust"),
        ("ios", "raspi-server.mobileconfig", IPHONE, "de-DE", "Dieses Gerät vertraut"),
        ("android", "raspi-server.crt", ANDROID, "id-ID", "Perangkat ini belum memercayai"),
    ):
        page = open_page(plain(pi), user_agent=agent, locale=locale)
        expect(page.locator("#state")).to_have_attribute("data-state", "untrusted")
        expect(page.locator("#state-words")).to_contain_text(words)
        expect(page.locator("#too-old")).to_have_count(0)
        expect(page.locator("html")).to_have_attribute("lang", locale[:2])
        expect(page.locator(f"#{shown}")).to_be_visible()
        assert page.locator(f"#{shown} a.button").get_attribute("href") == file
        others = {"ios", "android", "desktop"} - {shown}
        for other in others:
            expect(page.locator(f"#{other}")).to_be_hidden()
        expect(page.locator("#fingerprint")).to_have_text(fingerprint)
        empty = "all => all.filter(each => !each.textContent).length"
        assert page.locator("[data-text]").evaluate_all(empty) == 0
        shoot(page)
        resize(page, {"width": 320, "height": 640})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.locator("#others summary").click()
        for other in others:
            expect(page.locator(f"#{other}")).to_be_visible()
    # What Chromium calls trusting from now on; its own store is read only at its start.
    session = page.context.new_cdp_session(page)
    session.send("Security.setIgnoreCertificateErrors", {"ignore": True})
    page.wait_for_url(f"https://localhost:{pi.port}/")
