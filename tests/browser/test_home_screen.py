"""The page on the home screen: name and icon, and the service worker that opens it while the
Raspberry Pi is unreachable."""

import re
import signal
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.looking import INSTALL_WORKER, expect_live, wait_for
from tests.support.http import ask

CONFIG = """
access: {control: everyone}
pins:
  lamp: {gpio: 27, mode: output, label: Desk lamp}
"""
KEPT = """async () => {
    const kept = {};
    for (const name of await caches.keys()) {
        const requests = await (await caches.open(name)).keys();
        const paths = requests.map(({ url }) => new URL(url).pathname);
        kept[name] = paths.map((path) => path.replace(/^\\/v\\/[0-9a-f]{16}/, "")).sort();
    }
    return kept;
}"""
LOAD = """(path) => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.onload = () => done(document.title);
    script.onerror = failed;
    script.src = path;
    document.head.append(script);
})"""
PAGE = """<!DOCTYPE html><p>{}</p>
<script src="v/current/mine.js"></script><script src="/{}.js"></script>"""


def kept(page: Page) -> dict[str, list[str]]:
    """Return the paths that the service worker keeps, by cache."""
    found: dict[str, list[str]] = page.evaluate(KEPT)
    return found


def wait_for_kept(page: Page, *paths: str) -> None:
    """Wait until the service worker keeps files, of whatever version."""
    look = f"async (path) => Object.values(await ({KEPT})()).flat().includes(path)"
    for path in paths:
        wait_for(page, look, path)


def install(page: Page) -> None:
    """Register the service worker and visit again, as on the second visit over HTTPS."""
    page.evaluate(INSTALL_WORKER)
    page.reload()


def write_www(folder: Path, **files: str) -> None:
    """Write files of `www`, each in one step; an underscore in a name means a dot."""
    (folder / "www").mkdir(exist_ok=True)
    for name, text in files.items():
        new = folder / "www" / "new"
        new.write_text(text)
        new.replace(folder / "www" / name.replace("_", "."))


def test_page_opens_without_the_pi(start_server, open_page):
    """The app has icons of the promised sizes; for iPhones without transparent corners, which would
    be black there. While the server is away, or the network neither answers nor fails, the page
    opens and says that there is no answer. It is live again by itself when the server is back."""
    server = start_server(CONFIG)
    manifest = ask(server, "GET", "/manifest.webmanifest").json
    assert manifest["name"] and manifest["display"] == "standalone"
    icons = {(icon["purpose"], icon["sizes"]): f"/{icon['src']}" for icon in manifest["icons"]}
    assert {("any", "192x192"), ("any", "512x512"), ("maskable", "512x512")} <= icons.keys()
    for (kind, sizes), path in [*icons.items(), (("apple", "180x180"), "/apple-touch-icon.png")]:
        answer = ask(server, "GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
        width, height = answer.body[16:20], answer.body[20:24]
        assert f"{int.from_bytes(width)}x{int.from_bytes(height)}" == sizes
        assert (b"tRNS" in answer.body) == (kind == "any")  # transparent colours
    page = open_page(server.url)
    install(page)
    wait_for_kept(page, "/ui/strings.en.js", "/style.css", "/dashboard/dashboard.js", "/raspi.js")
    server.process.send_signal(signal.SIGSTOP)
    try:
        page.reload(wait_until="commit")
        expect(page.locator("#link")).to_have_text(re.compile("Connecting|Reconnecting"))
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect_live(page)
    server.stop()
    page.reload()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    expect(page.locator(".pin")).to_have_count(0)
    server.restart()
    expect_live(page)
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_visible()


def test_what_is_kept(start_server, open_page, tmp_path: Path) -> None:
    """The page with its scripts and styles is kept; never the values of pins, another page, a
    picture, or a file that another page loads. After an edit of the page alone, the new page opens
    without the Raspberry Pi, with the kept scripts. A script that an open page loads late, and that
    was edited since, is requested each time. After an upgrade the new page shows on the first
    visit, and the old one is deleted. Caches of pages in `www` stay."""
    write_www(
        tmp_path,
        index_html=PAGE.format("old", "once"),
        mine_js="document.title = 'mine';",
        once_js="",
        other_html='<!DOCTYPE html><script src="/other.js"></script>',
        other_js="document.title = 'other';",
        camera_json="{}",
    )
    server = start_server(CONFIG)
    page = open_page(server.url)
    page.evaluate("() => caches.open('own').then((own) => own.put('/x', new Response('x')))")
    install(page)
    wait_for_kept(page, "/", "/mine.js", "/once.js")
    for path in ("/api/pins", "/api/history", "/camera.json", "/icon-192.png", "/nothing.js"):
        page.evaluate("(path) => fetch(path).then((answer) => answer.text())", path)
    page.goto(server.url + "/other.html")
    expect(page).to_have_title("other")
    page.goto(server.url)
    (before,) = kept(page).keys() - {"own"}
    assert before.startswith("raspi-server ")
    assert kept(page) == {"own": ["/x"], before: ["/", "/mine.js", "/once.js"]}

    write_www(tmp_path, index_html=PAGE.format("edited", "once"))
    page.reload()
    expect(page.locator("p")).to_have_text("edited")
    wait_for(page, "async (name) => !(await caches.has(name))", before)
    wait_for_kept(page, "/mine.js")
    server.stop()
    page.reload()
    expect(page.locator("p")).to_have_text("edited")
    expect(page).to_have_title("mine")

    server.restart()
    write_www(tmp_path, late_js="document.title = '0';")
    page.reload()
    path = page.locator("script").first.evaluate("script => script.src").replace("mine", "late")
    for edit in ("1", "2"):
        write_www(tmp_path, late_js=f"document.title = '{edit}';")
        assert page.evaluate(LOAD, path) == edit
        wait_for_kept(page, "/late.js")

    (before,) = kept(page).keys() - {"own"}
    write_www(tmp_path, now_js="", mine_js="document.title = 'new';")
    write_www(tmp_path, index_html=PAGE.format("new", "now"))
    page.reload()
    expect(page.locator("p")).to_have_text("new")
    expect(page).to_have_title("new")
    wait_for_kept(page, "/now.js")
    wait_for(page, "async (name) => !(await caches.has(name))", before)
    found = kept(page)
    assert found.pop("own") == ["/x"]
    assert list(found.values()) == [["/", "/mine.js", "/now.js"]]
    server.stop()
    page.reload()
    expect(page).to_have_title("new")
