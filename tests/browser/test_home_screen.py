"""The page on the home screen: name and icon, and the service worker that opens it while the
Raspberry Pi is unreachable."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from playwright.sync_api import Page, expect

from tests.browser.looking import INSTALL_WORKER, wait_for

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
SIZE = """(address) => new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done([image.naturalWidth, image.naturalHeight]);
    image.onerror = failed;
    image.src = address;
})"""


def kept(page: Page) -> dict[str, list[str]]:
    """Return the paths that the service worker keeps, by cache."""
    found: dict[str, list[str]] = page.evaluate(KEPT)
    return found


def wait_for_kept(page: Page, path: str) -> None:
    """Wait until the service worker keeps a file, of whatever version."""
    look = f"async (path) => Object.values(await ({KEPT})()).flat().includes(path)"
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


def test_the_app_has_a_name_and_icons(start_server, open_page, tmp_path):
    """The app has a name, a start page, and icons of the promised sizes; for iPhones without
    transparent corners, which would be black there."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    session = page.context.new_cdp_session(page)
    found = session.send("Page.getAppManifest")
    assert found["errors"] == []
    manifest = json.loads(found["data"])
    assert found["manifest"]["startUrl"] == found["manifest"]["scope"] == f"{server.url}/"
    assert manifest["name"] and manifest["display"] == "standalone"
    icons = {
        (icon["purpose"], icon["sizes"]): urljoin(found["url"], icon["src"])
        for icon in manifest["icons"]
    }
    assert {("any", "192x192"), ("any", "512x512"), ("maskable", "512x512")} <= icons.keys()
    for (_, sizes), path in [*icons.items(), (("apple", "180x180"), "/apple-touch-icon.png")]:
        answer = page.request.get(urljoin(server.url, path))
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        assert "x".join(map(str, page.evaluate(SIZE, path))) == sizes
    for path in ("/apple-touch-icon.png", icons["maskable", "512x512"]):
        assert page.evaluate(CORNER, path) == 255
    assert page.evaluate(CORNER, icons["any", "512x512"]) == 0


CORNER = """async (address) => {
    const image = await createImageBitmap(await (await fetch(address)).blob());
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, 1, 1).data[3];
}"""
"""Opacity of the top left pixel, 0 to 255."""


def test_page_opens_without_the_pi(start_server, open_page):
    """While the server is away, or the network neither answers nor fails, the page opens and says
    that there is no answer. It is live again by itself when the server is back."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    install(page)
    wait_for_kept(page, "/ui/strings.en.js")
    wait_for_kept(page, "/style.css")
    server.process.send_signal(signal.SIGSTOP)
    try:
        page.reload(wait_until="commit")
        expect(page.locator("#link")).to_contain_text("Connecting")
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect(page.locator("#link")).to_contain_text("Live")
    server.stop()
    page.reload()
    expect(page.locator("#link")).to_contain_text("Reconnecting")
    expect(page.locator(".pin")).to_have_count(0)
    server.restart()
    expect(page.locator("#link")).to_contain_text("Live")
    expect(page.get_by_role("switch", name="Desk lamp")).to_be_visible()


def test_only_the_page_is_kept(start_server, open_page, tmp_path):
    """The page with its scripts and styles is kept; never the values of pins, another page, a
    picture, or a file that another page loads."""
    write_www(
        tmp_path,
        other_html='<!DOCTYPE html><script src="/other.js"></script>',
        other_js="document.title = 'other';",
        camera_json="{}",
    )
    server = start_server(CONFIG)
    page = open_page(server.url)
    install(page)
    wait_for_kept(page, "/raspi.js")
    for path in ("/api/pins", "/api/history", "/camera.json", "/icon-192.png", "/nothing.js"):
        page.evaluate("(path) => fetch(path).then((answer) => answer.text())", path)
    page.goto(server.url + "/other.html")
    expect(page).to_have_title("other")
    page.goto(server.url)
    expect(page.locator("#link")).to_contain_text("Live")
    ((name, paths),) = kept(page).items()
    assert name.startswith("raspi-server ")
    assert {"/", "/style.css", "/dashboard/dashboard.js", "/raspi.js"} <= set(paths)
    assert all(path == "/" or path.endswith((".js", ".css", ".svg", "manifest")) for path in paths)
    assert "/other.js" not in paths


def test_an_edit_of_the_page_alone(start_server, open_page, tmp_path: Path) -> None:
    """After an edit of the page alone, the new page opens without the Raspberry Pi, with the kept
    scripts."""
    page_text = '<!DOCTYPE html><p>{}</p><script src="v/current/mine.js"></script>'
    write_www(tmp_path, index_html=page_text.format("old"), mine_js="document.title = 'mine';")
    server = start_server(CONFIG)
    page = open_page(server.url)
    install(page)
    wait_for_kept(page, "/mine.js")
    (before,) = kept(page)
    (tmp_path / "www" / "index.html").write_text(page_text.format("new"))
    page.reload()
    expect(page.locator("p")).to_have_text("new")
    wait_for(page, "async (name) => !(await caches.has(name))", before)
    wait_for_kept(page, "/mine.js")
    server.stop()
    page.reload()
    expect(page.locator("p")).to_have_text("new")
    expect(page).to_have_title("mine")


LOAD = """(path) => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.onload = () => done(document.title);
    script.onerror = failed;
    script.src = path;
    document.head.append(script);
})"""


def test_a_script_that_was_edited_since_the_page(start_server, open_page, tmp_path: Path) -> None:
    """A script that an open page loads late, and that was edited since the page was loaded, is
    requested each time, though its address has a version."""
    page_text = '<!DOCTYPE html><script src="v/current/mine.js"></script>'
    write_www(tmp_path, index_html=page_text, mine_js="", late_js="document.title = '0';")
    server = start_server(CONFIG)
    page = open_page(server.url)
    install(page)
    wait_for_kept(page, "/mine.js")
    path = page.locator("script").evaluate("script => script.src").replace("mine", "late")
    for edit in ("1", "2"):
        write_www(tmp_path, late_js=f"document.title = '{edit}';")
        assert page.evaluate(LOAD, path) == edit
        wait_for_kept(page, "/late.js")


def test_an_upgrade_shows_at_once(
    start_server: Callable[..., Any], open_page: Callable[[str], Page], tmp_path: Path
) -> None:
    """After an upgrade the new page shows on the first visit, and the old one is deleted. Caches of
    pages in `www` stay."""
    page_text = (
        '<!DOCTYPE html><p>{}</p><script src="/mine.js"></script><script src="/{}.js"></script>'
    )
    write_www(
        tmp_path,
        index_html=page_text.format("old", "once"),
        mine_js="document.title = 'old';",
        once_js="",
    )
    server = start_server(CONFIG)
    page = open_page(server.url)
    page.evaluate("() => caches.open('mine').then((mine) => mine.put('/x', new Response('x')))")
    install(page)
    for path in ("/", "/mine.js", "/once.js"):
        wait_for_kept(page, path)
    (before,) = kept(page).keys() - {"mine"}
    write_www(
        tmp_path, index_html=page_text.format("new", "now"), mine_js="document.title = 'new';"
    )
    write_www(tmp_path, now_js="")
    page.reload()
    expect(page.locator("p")).to_have_text("new")
    expect(page).to_have_title("new")
    wait_for_kept(page, "/now.js")
    wait_for(page, "async (name) => !(await caches.has(name))", before)
    found = kept(page)
    assert found.pop("mine") == ["/x"]
    ((_, paths),) = found.items()
    assert paths == ["/", "/mine.js", "/now.js"]
    server.stop()
    page.reload()
    expect(page).to_have_title("new")
