"""Requests of a visit: each file once at the first one, only the page itself at the next."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.looking import CONFIG, INSTALL_WORKER, complete_log, expect_live
from tests.support.server import Server

REQUEST = re.compile(r"DEBUG (?:GET|HEAD|POST) (\S+): (\d+)")
LIVE_DATA = ("/api", "/ws")
VERSION = re.compile(r"^/v/([0-9a-f]{16})/")


def visit(server: Server, page: Page, path: str = "/") -> dict[str, int]:
    """Open a page until it is live; return the status of each file that it asked for. They are
    counted where they arrive: in the server's log."""
    page.goto("about:blank")
    before = len(complete_log(server))
    page.goto(f"{server.url}{path}")
    expect_live(page)
    expect(page.locator("#health")).to_be_visible()
    page.wait_for_load_state("networkidle")
    found = [REQUEST.search(line) for line in complete_log(server)[before:]]
    asked = [(match[1], int(match[2])) for match in found if match]
    files = [(file, status) for file, status in asked if not file.startswith(LIVE_DATA)]
    assert len(dict(files)) == len(files), "a file was asked for twice"
    return dict(files)


def version_of(files: dict[str, int]) -> str:
    """Return the version in the addresses of all files that have one."""
    (version,) = {match[1] for file in files if (match := VERSION.match(file))}
    return version


def test_visits(start_server, open_page, tmp_path: Path) -> None:
    """A first visit asks for each file once, all in the folder of one version; the next asks only
    whether the page is still the same. With the service worker it asks for no more. An edit shows
    with the next visit, in both cases."""
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
