"""Files that the browser's cache and the service worker keep, and those that they request again."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.looking import CONFIG, INSTALL_WORKER, complete_log, expect_live, wait_for
from tests.support.server import Server

REQUEST = re.compile(r"DEBUG (?:GET|HEAD|POST) (\S+): (\d+)")
VERSION = re.compile(r"^/v/([0-9a-f]{16})/")
KEPT = """async () => {
    const kept = {};
    for (const name of await caches.keys()) {
        const requests = await (await caches.open(name)).keys();
        const paths = requests.map(({ url }) => new URL(url).pathname);
        kept[name] = paths.map((path) => path.replace(/\\/v\\/[0-9a-f]{16}/, "")).sort();
    }
    return kept;
}"""
"""Returns the paths that the service worker keeps, by cache."""
LOAD = """(path) => new Promise((onload, onerror) => {
    const script = Object.assign(document.createElement("script"), { onload, onerror, src: path });
    document.head.append(script);
}).then(() => document.title)"""
PAGE = """<!DOCTYPE html><p>{}</p>
<script src="v/current/mine.js"></script><script src="/{}.js"></script>"""


def wait_for_kept(page: Page, *paths: str) -> None:
    """Wait until the service worker keeps files, of whatever version."""
    look = f"async (path) => Object.values(await ({KEPT})()).flat().includes(path)"
    for path in paths:
        wait_for(page, look, path)


def write_www(folder: Path, **files: str) -> None:
    """Write files of `www`; an underscore in a name means a dot."""
    (folder / "www").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "www" / name.replace("_", ".")).write_text(text)


def test_what_is_kept(start_server, open_page, tmp_path: Path) -> None:
    """The service worker keeps the page with its scripts and styles, and nothing else. An edit or
    an upgrade shows on the next visit, and deletes what was kept. Caches of pages in `www` stay."""
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
    (before,) = page.evaluate(KEPT).keys() - {"own"}
    assert before.startswith("raspi-server ")
    assert page.evaluate(KEPT) == {"own": ["/x"], before: ["/", "/mine.js", "/once.js"]}

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

    (before,) = page.evaluate(KEPT).keys() - {"own"}
    write_www(tmp_path, now_js="", mine_js="document.title = 'new';")
    write_www(tmp_path, index_html=PAGE.format("new", "now"))
    page.reload()
    expect(page.locator("p")).to_have_text("new")
    expect(page).to_have_title("new")
    wait_for_kept(page, "/now.js")
    wait_for(page, "async (name) => !(await caches.has(name))", before)
    found = page.evaluate(KEPT)
    assert found.pop("own") == ["/x"]
    assert list(found.values()) == [["/", "/mine.js", "/now.js"]]
    server.stop()
    page.reload()
    expect(page).to_have_title("new")


def visit(server: Server, page: Page, path: str = "/") -> dict[str, int]:
    """Open a page until it is live; return the status of each file in the server's log."""
    page.goto("about:blank")
    before = len(complete_log(server))
    page.goto(f"{server.url}{path}")
    expect_live(page)
    expect(page.locator("#health")).to_be_visible()
    page.wait_for_load_state("networkidle")
    found = [REQUEST.search(line) for line in complete_log(server)[before:]]
    asked = [(match[1], int(match[2])) for match in found if match]
    files = [(file, status) for file, status in asked if not file.startswith(("/api", "/ws"))]
    assert len(dict(files)) == len(files), "a file was asked for twice"
    return dict(files)


def version_of(files: dict[str, int]) -> str:
    """Return the version in the addresses of all files that have one."""
    (version,) = {match[1] for file in files if (match := VERSION.match(file))}
    return version


def test_visits(start_server, open_page, tmp_path: Path) -> None:
    """A visit asks for each file once, the next for the page alone. An edit shows at once."""
    (tmp_path / "www").mkdir()
    server = start_server(f"log_level: debug\n{CONFIG}")
    page = open_page("about:blank")
    files = visit(server, page)
    assert set(files.values()) == {200}
    assert {file for file in files if not VERSION.match(file)} == {"/"}
    assert 20 < len(files) < 35
    versions = {version_of(files)}
    for colour in ("rgb(1, 2, 3)", "rgb(1, 2, 4)"):
        files = visit(server, page)
        assert files.pop("/") == 304 and files.keys() <= {"/service-worker.js"}
        (tmp_path / "www" / "style.css").write_text(f"body {{ color: {colour} }}")
        files = visit(server, page)
        assert files["/"] == 200
        versions.add(version_of(files))
        assert page.evaluate("getComputedStyle(document.body).color") == colour
        page.evaluate(INSTALL_WORKER)
        page.reload()
    assert len(versions) == 3
