"""Requests of a visit: each file once at the first one, only the page itself at the next."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.looking import CONFIG, expect_live, wait_for
from tests.support.server import Server, changing, check_end
from tests.web.test_trust import make_authority

REQUEST = re.compile(r"DEBUG (GET|HEAD|POST) (\S+): (\d+)")
LIVE_DATA = ("/api", "/ws")
VERSION = re.compile(r"^/v/([0-9a-f]{16})/")
LOGGED = f"log_level: debug\n{CONFIG}"
COLOUR = "getComputedStyle(document.body).color"


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


def test_visits(start_browser: Callable[..., BrowserContext], tmp_path: Path) -> None:
    """A first visit asks for each file once, all in the folder of one version; the next asks only
    whether the page is still the same. A file of one's own shows with the next visit, in place of
    a built-in one, and so does its removal. After an upgrade all is asked for again, once."""
    command = ["run", "--config", str(tmp_path / "config.yaml")]
    (tmp_path / "config.yaml").write_text(LOGGED)
    server = Server(command)
    visits = Visits(server, start_browser().new_page(), server.url)
    files = visits.visit()
    assert set(files.values()) == {200}
    assert {file for file in files if not VERSION.match(file)} == {"/"}
    seen = versions(files)
    assert len(seen) == 1
    assert 20 < len(files) < 35
    assert visits.visit() == {"/": 304}
    assert visits.visit("/index.html") == {"/index.html": 200}
    assert visits.visit("/index.html") == {"/index.html": 304}

    (tmp_path / "www").mkdir()
    style = tmp_path / "www" / "style.css"
    colours = []
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
        colours.append(visits.page.evaluate(COLOUR))
    assert colours[:2] == ["rgb(1, 2, 3)", "rgb(1, 2, 4)"]
    assert colours[2] not in colours[:2]

    check_end(server)
    run, program = changing()
    version = "import raspi_server\nraspi_server.__version__ = '99.0.0'\n"
    newer = Server(command, port=server.port, program=(run, version + program))
    visits.server = newer
    files = visits.visit()
    expect(visits.page.locator("#version")).to_have_text("raspi-server 99.0.0")
    assert files["/"] == 200
    assert len(versions(files)) == 1 and not versions(files) & seen
    assert {VERSION.sub("", file) for file in files} >= {"dashboard/dashboard.js", "raspi.js"}
    assert visits.visit() == {"/": 304}
    check_end(newer)


def test_visits_over_https(start_browser: Callable[..., BrowserContext], tmp_path: Path) -> None:
    """Over HTTPS, with the service worker, a visit asks for no more than the page and the worker,
    and an edit shows immediately."""
    authority = make_authority(tmp_path)
    (tmp_path / "www").mkdir()
    (tmp_path / "config.yaml").write_text(f"ssl: true\n{LOGGED}")
    server = Server(["run", "--config", str(tmp_path / "config.yaml")])
    page = start_browser(authority).new_page()
    visits = Visits(server, page, f"https://localhost:{server.port}")
    assert {"/", "/service-worker.js"} <= visits.visit().keys()
    page.wait_for_function("navigator.serviceWorker.controller")
    for _ in range(2):
        files = visits.visit()
        assert files.keys() <= {"/", "/service-worker.js"}
        assert files["/"] == 304
    (tmp_path / "www" / "style.css").write_text("body { color: rgb(1, 2, 3) }")
    files = visits.visit()
    assert files["/"] == 200 and len(versions(files)) == 1
    assert page.evaluate(COLOUR) == "rgb(1, 2, 3)"
    wait_for(page, "async () => (await caches.keys()).length === 1")
    assert visits.visit().keys() <= {"/", "/service-worker.js"}
    kept = page.evaluate("""async () => {
        const [name] = await caches.keys();
        return (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
    }""")
    assert versions(dict.fromkeys(kept, 200)) == versions(files)
    check_end(server)
