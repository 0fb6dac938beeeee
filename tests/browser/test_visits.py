"""Requests of a visit: each file once at the first one, only the page itself at the next."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.looking import CONFIG, expect_live, wait_for
from tests.support.server import Server, changing, check_end
from tests.web.test_trust import make_authority

REQUEST = re.compile(r"DEBUG (GET|HEAD|POST) (\S+): (\d+)")
LIVE_DATA = ("/api", "/ws")
VERSION = re.compile(r"^/v/([0-9a-f]{16})/")
START = ("run", "--config")
LOGGED = f"log_level: debug\n{CONFIG}"


class Visits:
    """A browser at a server, and the requests that each visit makes. They are counted where they
    arrive: in the server's log."""

    def __init__(self, server: Server, page: Page, url: str) -> None:
        self.server, self.page, self.url = server, page, url

    def visit(self, path: str = "/") -> dict[str, int]:
        """Open a page until it is live; return the status of each file that it asked for."""
        before = len(self.server.lines)
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}{path}")
        expect_live(self.page)
        expect(self.page.locator("#health")).to_be_visible()
        self.page.wait_for_load_state("networkidle")
        found = [REQUEST.search(line) for line in self.server.lines[before:]]
        asked = [(match[2], int(match[3])) for match in found if match]
        files = [(file, status) for file, status in asked if not file.startswith(LIVE_DATA)]
        assert len(dict(files)) == len(files), "a file was asked for twice"
        return dict(files)


def versions(files: dict[str, int]) -> set[str]:
    return {match[1] for file in files if (match := VERSION.match(file))}


@pytest.fixture
def visits(tmp_path: Path, start_browser: Callable[..., BrowserContext]) -> Iterator[Visits]:
    (tmp_path / "config.yaml").write_text(LOGGED)
    server = Server([*START, str(tmp_path / "config.yaml")])
    yield Visits(server, start_browser().new_page(), server.url)
    check_end(server)


def test_first_visit(visits: Visits) -> None:
    """A first visit asks for each file once, all in the folder of one version."""
    files = visits.visit()
    assert set(files.values()) == {200}
    assert {file for file in files if not VERSION.match(file)} == {"/"}
    assert len(versions(files)) == 1
    assert 20 < len(files) < 35


def test_second_visit(visits: Visits) -> None:
    """A second visit asks only whether the page is still the same, and it is."""
    visits.visit()
    assert visits.visit() == {"/": 304}
    assert visits.visit("/index.html") == {"/index.html": 200}
    assert visits.visit("/index.html") == {"/index.html": 304}


def test_after_an_edit(visits: Visits, tmp_path: Path) -> None:
    """A file of one's own shows with the next visit, in place of a built-in one; when it is edited,
    and when it is removed, too."""
    before = visits.visit()
    (tmp_path / "www").mkdir()
    style = tmp_path / "www" / "style.css"
    colours = []
    seen = versions(before)
    for change in (
        lambda: style.write_text("body { color: rgb(1, 2, 3) }"),
        lambda: style.write_text("body { color: rgb(1, 2, 4) }"),
        style.unlink,
    ):
        change()
        files = visits.visit()
        assert files["/"] == 200
        assert not versions(files) & seen, "a version comes back"
        seen |= versions(files)
        assert f"/v/{versions(files).pop()}/style.css" in files
        assert visits.visit() == {"/": 304}
        colours.append(visits.page.evaluate("getComputedStyle(document.body).color"))
    assert colours[:2] == ["rgb(1, 2, 3)", "rgb(1, 2, 4)"]
    assert colours[2] not in colours[:2]


def test_after_an_upgrade(visits: Visits, tmp_path: Path) -> None:
    """After an upgrade everything is asked for again, once."""
    before = visits.visit()
    visits.server.stop()
    run, program = changing()
    version = "import raspi_server\nraspi_server.__version__ = '99.0.0'\n"
    arguments = [*START, str(tmp_path / "config.yaml")]
    newer = Server(arguments, port=visits.server.port, program=(run, version + program))
    try:
        after = Visits(newer, visits.page, visits.url)
        files = after.visit()
        expect(visits.page.locator("#version")).to_have_text("raspi-server 99.0.0")
        assert files["/"] == 200
        assert len(versions(files)) == 1 and versions(files) != versions(before)
        assert {VERSION.sub("", file) for file in files} >= {"dashboard/dashboard.js", "raspi.js"}
        assert after.visit() == {"/": 304}
    finally:
        check_end(newer)


def test_over_https(start_browser: Callable[..., BrowserContext], tmp_path: Path) -> None:
    """Over https, with the service worker, a visit asks for no more than the page and the worker,
    and an edit shows at once."""
    authority = make_authority(tmp_path)
    (tmp_path / "www").mkdir()
    (tmp_path / "config.yaml").write_text(f"ssl: true\n{LOGGED}")
    server = Server([*START, str(tmp_path / "config.yaml")])
    page: Any = start_browser(authority).new_page()
    visits = Visits(server, page, f"https://localhost:{server.port}")
    first = visits.visit()
    assert {"/", "/service-worker.js"} <= first.keys()
    page.wait_for_function("navigator.serviceWorker.controller")
    for _ in range(2):
        files = visits.visit()
        assert files.keys() <= {"/", "/service-worker.js"}
        assert files["/"] == 304
    (tmp_path / "www" / "style.css").write_text("body { color: rgb(1, 2, 3) }")
    files = visits.visit()
    assert files["/"] == 200 and len(versions(files)) == 1
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(1, 2, 3)"
    wait_for(page, "async () => (await caches.keys()).length === 1")
    assert visits.visit().keys() <= {"/", "/service-worker.js"}
    kept = page.evaluate("""async () => {
        const [name] = await caches.keys();
        return (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
    }""")
    assert versions(dict.fromkeys(kept, 200)) == versions(files)
    check_end(server)
