"""Files that the browser's cache and the service worker keep, and those that they request again;
and what a device shows of a Pi that does not answer."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from raspi_server.security.codes import Codes
from tests.browser.looking import (
    CONFIG,
    INSTALL_WORKER,
    api,
    card,
    complete_log,
    expect_live,
    string,
    switch,
    wait_for,
    word,
)
from tests.support.coded_server import folders, new_link
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
    assert 20 < len(files) < 60
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
        wait_for_kept(page, "/dashboard/timeline.js")  # for a start without the Pi
    assert len(versions) == 3


STORED = "Object.keys(localStorage).filter((key) => key.startsWith('raspi-server last-known '))"
CODED = CONFIG.replace("control: everyone", "view: code")


def install_worker(page: Page) -> None:
    """Install the service worker, which browsers do over https by themselves, and let it keep the
    page."""
    page.evaluate(INSTALL_WORKER)
    page.reload()
    expect_live(page)
    for path in ("/", "/dashboard/dashboard.js", "/dashboard/timeline.js", "/languages/en.json"):
        wait_for_kept(page, path)


def test_pi_that_does_not_answer(start_server, open_page, shoot) -> None:
    """The page that a service worker opens tells which Pi it is of, and what it last knew of its
    pins, and when. Nothing can be switched there. It is live by itself once the Pi answers."""
    server = start_server(CONFIG)
    host = api(server, "/api")["host"]
    page = open_page(server.url)
    switch(server, "lamp", 1)
    install_worker(page)
    server.stop()
    page.reload()
    told = page.locator("#last-known")
    told_words = re.escape(string("lastKnown", host=host, time="TIME"))
    expect(told).to_have_text(re.compile(told_words.replace("TIME", r"\d\d:\d\d:\d\d")))
    expect(page).to_have_title(host)
    expect(page.locator("#host")).to_have_text(host)
    expect(word(page, "lamp").first).to_have_text("on")
    expect(word(page, "door").first).to_have_text("off")
    expect(card(page, "lamp").first).to_contain_text(string("lastHeard"))
    expect(page.locator("#waiting")).to_be_hidden()
    controls = page.locator("#pins :is([role=switch], input, .press, .drive)")
    expect(controls).to_have_count(0)
    shoot(page)
    page.evaluate("location.hash = '#pin/lamp'")
    expect(page.locator("#pin-page .word")).to_have_text("on")
    expect(page.locator("#pin-page .page-error")).to_be_visible()
    page.go_back()
    page.evaluate("window.sameDocument = true")
    server.restart()
    expect_live(page)
    expect(told).to_be_hidden()
    expect(word(page, "lamp").first).to_have_text("off")
    page.get_by_role("switch", name="Desk lamp").click()
    expect(word(page, "lamp").first).to_have_text("on")
    assert page.evaluate("window.sameDocument") is True


def test_nothing_is_kept_without_a_worker(start_server, open_page) -> None:
    """Over plain http, where no page opens without the Pi, the device keeps nothing of the pins."""
    server = start_server(CONFIG)
    page = open_page(server.url)
    expect_live(page)
    assert page.evaluate(STORED) == []
    install_worker(page)
    assert page.evaluate(STORED) == ["raspi-server last-known /"]


def test_what_is_kept_of_a_session(start_server, open_page, tmp_path: Path) -> None:
    """What a device that signed in has kept is gone once it has signed out. If its session was
    ended meanwhile, it is gone as soon as the Pi answers, from the screen, too."""
    Codes(tmp_path).renew("view")
    server = start_server(CODED, env=folders(tmp_path))
    page = open_page(f"{server.url}{new_link(tmp_path, 'view')}")
    expect_live(page)
    install_worker(page)
    assert len(page.evaluate(STORED)) == 1
    page.locator("#session button").first.click()
    expect(page.locator("#link")).to_contain_text(string("sign-in"))
    assert page.evaluate(STORED) == []
    server.stop()
    page.reload()
    expect(page.locator("#link")).to_contain_text(string("lost"))
    expect(page.locator("#last-known")).to_be_hidden()
    expect(page.locator(".pin")).to_have_count(0)

    server.restart()
    expect(page.locator("#link")).to_contain_text(string("sign-in"))
    page.goto(f"{server.url}{new_link(tmp_path, 'view')}")
    expect_live(page)
    assert len(page.evaluate(STORED)) == 1
    server.stop()
    page.reload()
    expect(page.locator("#last-known")).to_be_visible()
    expect(word(page, "lamp").first).to_have_text("off")
    Codes(tmp_path).renew("view")
    server.restart()
    expect(page.locator("#link")).to_contain_text(string("sign-in"))
    expect(page.locator("#last-known")).to_be_hidden()
    expect(page.locator(".pin")).to_have_count(0)
    assert page.evaluate(STORED) == []
