"""What the service worker keeps of a page, to open it while the Raspberry Pi is unreachable. That
of the dashboard is tested in test_prefix.py."""

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.looking import INSTALL_WORKER, wait_for

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


def write_www(folder: Path, **files: str) -> None:
    """Write files of `www`, each in one step; an underscore in a name means a dot."""
    (folder / "www").mkdir(exist_ok=True)
    for name, text in files.items():
        new = folder / "www" / "new"
        new.write_text(text)
        new.replace(folder / "www" / name.replace("_", "."))


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
    server = start_server("pins: {}\n")
    page = open_page(server.url)
    page.evaluate("() => caches.open('own').then((own) => own.put('/x', new Response('x')))")
    page.evaluate(INSTALL_WORKER)
    page.reload()
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
