"""Static files of the running server: the user's own before the built-in ones, always as they are
now, and nothing outside the folders."""

import asyncio
import ctypes
import gzip
import http.client
import os
import re
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urljoin

import pytest

from raspi_server.web.context import BUILT_IN_WWW
from raspi_server.web.versions import Versions, read_version
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import open_socket
from tests.test_hostile import GET, MIB

SECRET = "what is not for the house"
KEPT = "public, max-age=31536000, immutable"
"""The Cache-Control of a file that a browser keeps for a year without asking again."""


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Browser:
    """One connection, kept open. A path goes out just as it is."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, headers=named)
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> Answer:
    """Send one request on a connection of its own, and return the answer."""
    with Browser(server) as browser:
        return browser.ask(path, method, **headers)


def as_written(page: bytes) -> bytes:
    """Return a page as it is in its file, without the version that the server has put in."""
    return re.sub(rb"\bv/[0-9a-f]{16}/", b"v/current/", page)


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's pages. Each test adds the files that it needs."""
    www = tmp_path_factory.mktemp("house") / "www"
    (www / "garden" / "pond").mkdir(parents=True)
    (www / "index.html").write_text("my own page")
    (www / "garden" / "index.html").write_text("the garden")
    (www / "ten.txt").write_text("0123456789")
    for place in (www.parent, www.parent / "www-private"):
        place.mkdir(exist_ok=True)
        (place / "secret.txt").write_text(SECRET)
    return www


@pytest.fixture(scope="module")
def pi(www: Path) -> Iterator[Server]:
    file = www.parent / "config.yaml"
    file.write_text("pins: {}\n")
    server = Server(["run", "--simulate", "--config", str(file)])
    yield server
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


# Which file


def test_my_own_page_wins(pi: Server) -> None:
    """A file in the user's folder wins over the built-in one of the same name."""
    assert (BUILT_IN_WWW / "index.html").exists()
    assert ask(pi, "/").body == b"my own page"
    assert ask(pi, "/index.html").body == b"my own page"


def test_the_built_in_pages_stay(pi: Server, www: Path) -> None:
    """What the user's folder does not have comes from the built-in one."""
    for name in ("icon.svg", "raspi.js", "manifest.webmanifest"):
        assert not (www / name).exists()
        assert ask(pi, f"/{name}").body == (BUILT_IN_WWW / name).read_bytes()


def test_a_folder_without_index_does_not_hide_the_dashboard(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """With pages but no index.html of one's own, `/` is the dashboard."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "mine.html").write_text("mine")
    server = start_server("pins: {}\n")
    assert as_written(ask(server, "/").body) == (BUILT_IN_WWW / "index.html").read_bytes()
    assert ask(server, "/mine.html").body == b"mine"


def test_pages_of_ones_own_may_come_later(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Without a folder of the user's the dashboard is served, and a folder made later counts."""
    server = start_server("www: pages\n")
    assert "pages: no such folder; only the built-in pages are served" in server.log
    assert as_written(ask(server, "/").body) == (BUILT_IN_WWW / "index.html").read_bytes()
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("now")
    assert ask(server, "/").body == b"now"


def test_folders_mean_their_index(pi: Server) -> None:
    """A folder is its index.html, and without the slash behind its name leads there."""
    moved = ask(pi, "/garden")
    assert (moved.status, moved.headers["Location"]) == (301, "./garden/")
    there = ask(pi, "/garden/")
    assert (there.status, there.body) == (200, b"the garden")
    assert ask(pi, "/garden/pond/").status == 404


def test_no_redirect_to_another_machine(pi: Server) -> None:
    """No path redirects to another machine, however many slashes it begins with."""
    for path in ("//garden", "///garden", "//garden/pond", "/%2fgarden", "//evil.example/.."):
        answer = ask(pi, path)
        assert answer.status in {400, 403, 404}, path
        assert answer.headers["Location"] is None


def test_my_api_folder_hides_nothing(pi: Server, www: Path) -> None:
    """A folder `api` or a file `ws` among the pages does not stand before the API."""
    (www / "api" / "pins").mkdir(parents=True)
    (www / "api" / "pins" / "index.html").write_text("false pins")
    (www / "api" / "extra.html").write_text("false extra")
    (www / "ws").write_text("false socket")
    assert b'"pins":[]' in ask(pi, "/api/pins").body
    for path in ("/api/pins/", "/api/extra.html", "/ws", "/api"):
        assert b"false" not in ask(pi, path).body


@pytest.mark.parametrize(
    "name",
    [
        "summer house.txt",
        "Wohnzimmer Tür.txt",
        "größe/übersicht.txt",
        "日本.txt",
        "100%.txt",
        "a+b & c=d.txt",
        "what?.txt",
        "#1.txt",
        "a;b,c:d.txt",
        ".well-known/thing",
        "Screenshot 9.41\u202fAM.png",  # as macOS names them
        "family \U0001f468\u200d\U0001f469\u200d\U0001f467.jpg",
    ],
)
def test_any_name_will_do(pi: Server, www: Path, name: str) -> None:
    """A file may have any name people give to files."""
    file = www / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("here")
    answer = ask(pi, quote(f"/{name}"))
    assert (answer.status, answer.body) == (200, b"here")


# Headers


@pytest.mark.parametrize(
    "suffix, kind",
    [
        ("html", "text/html; charset=utf-8"),
        ("css", "text/css; charset=utf-8"),
        ("js", "text/javascript; charset=utf-8"),
        ("mjs", "text/javascript; charset=utf-8"),
        ("json", "application/json; charset=utf-8"),
        ("svg", "image/svg+xml; charset=utf-8"),
        ("txt", "text/plain; charset=utf-8"),
        ("csv", "text/csv; charset=utf-8"),
        ("webmanifest", "application/manifest+json; charset=utf-8"),
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("JPG", "image/jpeg"),
        ("webp", "image/webp"),
        ("ico", "image/vnd.microsoft.icon"),
        ("woff2", "font/woff2"),
        ("wasm", "application/wasm"),
        ("pdf", "application/pdf"),
        ("mp4", "video/mp4"),
        ("gz", "application/gzip"),
        ("unknown", "application/octet-stream"),
    ],
)
def test_every_file_says_what_it_is(pi: Server, www: Path, suffix: str, kind: str) -> None:
    """Every file comes with its type, texts as UTF-8, and is not taken for another."""
    (www / f"file.{suffix}").write_text("content")
    headers = ask(pi, f"/file.{suffix}").headers
    assert headers["Content-Type"] == kind
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Encoding"] is None


def test_head_is_get_without_the_body(pi: Server) -> None:
    """HEAD tells all about a file, its length included, without sending it."""
    get, head = ask(pi, "/ten.txt"), ask(pi, "/ten.txt", "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "10")
    assert {k: v for k, v in head.headers.items() if k != "Date"} == {
        k: v for k, v in get.headers.items() if k != "Date"
    }
    assert ask(pi, "/nothing", "HEAD").status == 404


@pytest.mark.parametrize(
    "asked, part, told",
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=9-9", b"9", "bytes 9-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
    ],
)
def test_a_part_of_a_file(pi: Server, asked: str, part: bytes, told: str) -> None:
    """A browser may ask for a part of a file, as it does to move about in a film."""
    answer = ask(pi, "/ten.txt", Range=asked)
    assert (answer.status, answer.body) == (206, part)
    assert answer.headers["Content-Range"] == told
    assert answer.headers["Content-Length"] == str(len(part))


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=0-9", "bytes=-99", "pages=1-2", "bytes=x"])
def test_all_of_a_file(pi: Server, asked: str) -> None:
    """A part that is the whole, or no part at all, is the whole file."""
    answer = ask(pi, "/ten.txt", Range=asked)
    assert (answer.status, answer.body) == (200, b"0123456789")


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_no_part_of_a_file(pi: Server, asked: str) -> None:
    """A part behind the end of a file is a 416 that says how long the file is."""
    answer = ask(pi, "/ten.txt", Range=asked)
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == "bytes */10"


def test_a_film_arrives_whole(pi: Server, www: Path) -> None:
    """A file of many megabytes arrives whole, to several at once."""
    film = os.urandom(5_000_003)
    (www / "film.mp4").write_bytes(film)
    arrived: list[bytes] = []
    viewers = [
        threading.Thread(target=lambda: arrived.append(ask(pi, "/film.mp4").body)) for _ in range(3)
    ]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join(LIMIT)
    assert [body == film for body in arrived] == [True] * 3


# Always as it is now


def test_browsers_ask_each_time(pi: Server) -> None:
    """A browser may keep a file, asks each time whether it is still the one, and is told."""
    first = ask(pi, "/garden/")
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["Last-Modified"]
    again = ask(pi, "/garden/", If_None_Match=first.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["Etag"] == first.headers["Etag"]
    other = ask(pi, "/garden/", If_None_Match='"another"')
    assert (other.status, other.body) == (200, b"the garden")


def rewrite(file: Path, text: bytes) -> None:
    file.write_bytes(text)


def rewrite_with_old_date(file: Path, text: bytes) -> None:
    before = file.stat()
    file.write_bytes(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(file: Path, text: bytes) -> None:
    file.with_suffix(".tmp").write_bytes(text)
    file.with_suffix(".tmp").replace(file)


def lengthen(file: Path, text: bytes) -> None:
    file.write_bytes(text + b", and longer")


@pytest.mark.parametrize("edit", [rewrite, rewrite_with_old_date, replace, lengthen])
def test_an_edit_shows_at_once(pi: Server, www: Path, edit: Callable[[Path, bytes], None]) -> None:
    """An edited page shows at the next visit, also with the same length and date as before."""
    page = www / "news.html"
    page.write_text("old.")
    before = ask(pi, "/news.html")
    assert before.body == b"old."
    written = page.stat().st_ctime_ns
    while page.stat().st_ctime_ns == written:  # the file system's clock ticks every few ms
        edit(page, b"new!")
    after = ask(pi, "/news.html", If_None_Match=before.headers["Etag"])
    assert (after.status, after.body) == (200, page.read_bytes())
    assert after.headers["Etag"] != before.headers["Etag"]


def test_a_removed_page_is_gone(pi: Server, www: Path) -> None:
    """A file that was removed is not served any more, and the built-in one of its name is back: at
    the next request, also on one connection."""
    with Browser(pi) as browser:
        for _ in range(2):
            (www / "raspi.js").write_text("mine")
            assert browser.ask("/raspi.js").body == b"mine"
            (www / "raspi.js").unlink()
            assert browser.ask("/raspi.js").body == (BUILT_IN_WWW / "raspi.js").read_bytes()


def test_a_page_that_becomes_a_way_out(pi: Server, www: Path) -> None:
    """A page that was served, and becomes a link to the outside, is not served any more."""
    window = www / "window.txt"
    with Browser(pi) as browser:
        window.write_text("a view")
        assert browser.ask("/window.txt").body == b"a view"
        window.unlink()
        window.symlink_to(www.parent / "secret.txt")
        assert browser.ask("/window.txt").status == 404
    window.unlink()


def test_other_folders_after_a_reload(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Files come from the folder that a reload named, also on a connection from before."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.html").write_text(folder)
    server = start_server("www: one\n")
    with Browser(server) as browser:
        assert browser.ask("/page.html").body == b"one"
        (tmp_path / "config-0.yaml").write_text("www: two\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log(r"serving", again=1)
        assert browser.ask("/page.html").body == b"two"


def test_a_name_that_a_reload_took_away(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """A name that a reload took away is refused at once, and one that it brought is answered, also
    on a connection from before."""
    server = start_server("access: {hosts: [old.example]}\n")
    names = ("old.example", "new.example")
    with Browser(server) as browser:
        assert [browser.ask("/icon.svg", Host=name).status for name in names] == [200, 421]
        (tmp_path / "config-0.yaml").write_text("access: {hosts: [new.example]}\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log(r"serving", again=1)
        assert [browser.ask("/icon.svg", Host=name).status for name in names] == [421, 200]


def test_the_debug_log_has_each_request(start_server: Callable[..., Server]) -> None:
    """At `log_level: debug` the log has a line for every request."""
    server = start_server("log_level: debug\n")
    with Browser(server) as browser:
        for _ in range(3):
            assert browser.ask("/icon.svg").status == 200
    server.wait_for_log(r"GET /icon\.svg: 200", again=2)


# As gzip

POEM = "".join(f"{number} green bottles hanging on the wall\n" for number in range(100)).encode()

LOGS_READS = """
def watch(event, args):
    if event == "open" and str(args[0]).endswith((".txt", ".html")):
        print("reads", args[0], file=sys.stderr, flush=True)
sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def poem(www: Path) -> Path:
    (www / "poem.txt").write_bytes(POEM)
    return www / "poem.txt"


def get_packed(server: Server, path: str, method: str = "GET", **headers: str) -> Answer:
    return ask(server, path, method, Accept_Encoding="gzip", **headers)


def test_texts_come_as_gzip(pi: Server, poem: Path) -> None:
    """Who can take gzip gets a text in a fraction of its size, who cannot gets it as it is; what
    stands between them is told that there are two, and each has a name of its own."""
    plain, packed = ask(pi, "/poem.txt"), get_packed(pi, "/poem.txt")
    assert gzip.decompress(packed.body) == plain.body == POEM
    assert len(packed.body) < len(POEM) / 5
    assert (plain.headers["Content-Encoding"], packed.headers["Content-Encoding"]) == (
        None,
        "gzip",
    )
    assert plain.headers["Etag"] != packed.headers["Etag"]
    assert (plain.headers["Accept-Ranges"], packed.headers["Accept-Ranges"]) == ("bytes", None)
    for answer in (plain, packed):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Cache-Control"] == "no-cache"
    head = get_packed(pi, "/poem.txt", "HEAD")
    assert head.body == b""
    assert {k: v for k, v in head.headers.items() if k != "Date"} == {
        k: v for k, v in packed.headers.items() if k != "Date"
    }


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.1", True),
        ("*", True),
        ("br, *;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("br", False),
        ("not-gzip", False),
        ("", False),
        (",;=,", False),
    ],
)
def test_who_takes_gzip(pi: Server, poem: Path, accepted: str, is_packed: bool) -> None:
    """A text comes as gzip exactly where that is said to be welcome."""
    answer = ask(pi, "/poem.txt", Accept_Encoding=accepted)
    assert (answer.headers["Content-Encoding"] == "gzip") == is_packed
    assert (gzip.decompress(answer.body) if is_packed else answer.body) == POEM


@pytest.mark.parametrize(
    ("name", "content", "is_packed"),
    [
        ("page.html", POEM, True),
        ("data.json", b'{"a": 1, "b": 2}' * 100, True),
        ("drawing.svg", b"<svg></svg>" * 100, True),
        ("least.txt", b"a" * 1000, True),
        ("too-small.txt", b"a" * 999, False),
        ("most.txt", b"a" * 256 * 1024, True),
        ("too-large.txt", b"a" * (256 * 1024 + 1), False),
        ("photo.jpg", b"a" * 5000, False),
        ("compression.gz", b"a" * 5000, False),
        ("compression.svg.gz", b"a" * 5000, False),
        ("program.bin", b"a" * 5000, False),
    ],
)
def test_what_is_worth_it(
    pi: Server, www: Path, name: str, content: bytes, is_packed: bool
) -> None:
    """Only texts are compressed, and neither tiny nor huge ones."""
    (www / name).write_bytes(content)
    answer = get_packed(pi, f"/{name}")
    assert (answer.headers["Content-Encoding"] == "gzip") == is_packed
    assert (answer.headers["Vary"] == "Accept-Encoding") == is_packed
    assert (gzip.decompress(answer.body) if is_packed else answer.body) == content


def test_a_part_is_of_the_file_itself(pi: Server, poem: Path) -> None:
    """A part is always one of the uncompressed file, and is never added to a compressed whole."""
    plain, packed = ask(pi, "/poem.txt"), get_packed(pi, "/poem.txt")
    part = get_packed(pi, "/poem.txt", Range="bytes=10-19")
    assert (part.status, part.body) == (206, POEM[10:20])
    assert part.headers["Content-Encoding"] is None
    assert part.headers["Etag"] == plain.headers["Etag"]
    assert part.headers["Vary"] == "Accept-Encoding"
    known = {"Range": "bytes=10-19", "If_Range": plain.headers["Etag"]}
    assert get_packed(pi, "/poem.txt", **known).body == POEM[10:20]
    for other in (packed.headers["Etag"], '"another"', "Sat, 29 Oct 1994 19:43:31 GMT"):
        whole = get_packed(pi, "/poem.txt", Range="bytes=10-19", If_Range=other)
        assert (whole.status, whole.body) == (200, packed.body)


def test_who_has_one_form_is_not_told_to_keep_the_other(pi: Server, poem: Path) -> None:
    """A browser that has the file in one form is told that it is still the one, and only that."""
    tags = {
        "gzip": get_packed(pi, "/poem.txt").headers["Etag"],
        "identity": ask(pi, "/poem.txt").headers["Etag"],
    }
    for accepted in tags:
        for form, tag in tags.items():
            answer = ask(pi, "/poem.txt", Accept_Encoding=accepted, If_None_Match=tag)
            assert answer.status == (304 if form == accepted else 200)
            assert answer.headers["Etag"] == tags[accepted]
            assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("edit", [rewrite, rewrite_with_old_date, replace, lengthen])
def test_an_edit_shows_at_once_also_as_gzip(
    pi: Server, www: Path, edit: Callable[[Path, bytes], None]
) -> None:
    """What was compressed before an edit is never shown after it."""
    page = www / "long-news.html"
    page.write_bytes(b"old." * 1000)
    before = get_packed(pi, "/long-news.html")
    assert gzip.decompress(before.body) == page.read_bytes()
    written = page.stat().st_ctime_ns
    while page.stat().st_ctime_ns == written:
        edit(page, b"new!" * 1000)
    after = get_packed(pi, "/long-news.html", If_None_Match=before.headers["Etag"])
    assert (after.status, gzip.decompress(after.body)) == (200, page.read_bytes())
    assert after.body != before.body


def test_a_file_is_not_read_again(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Who has a file already does not cost a look into it, nor does who gets it as gzip again; and
    no more is kept for that than fits into the bounds."""
    (tmp_path / "www").mkdir()
    for name in "abcd":
        (tmp_path / "www" / f"{name}.txt").write_bytes(os.urandom(1000).hex().encode())
    server = start_server("pins: {}\n", program=changing(LOGS_READS, max_cache_bytes=4000))
    tag = get_packed(server, "/a.txt").headers["Etag"]
    assert get_packed(server, "/a.txt", If_None_Match=tag).status == 304
    for name in "abacdab":  # four are too many: b is the one that nobody asked for lately
        answer = get_packed(server, f"/{name}.txt")
        assert gzip.decompress(answer.body) == (tmp_path / "www" / f"{name}.txt").read_bytes()
    server.wait_for_log("reads .*b.txt", again=1)
    reads = [line[-5] for line in server.lines if line.startswith("reads")]
    assert reads == ["a", "b", "c", "d", "b"]


LOADS = {
    "html": re.compile(rb'<(?:link|script|img)[^>]* (?:src|href)="([\w./-]+\.\w+)"'),
    "js": re.compile(rb'^(?:import|export|})[^"\n]*"([\w./-]+\.js)"', re.MULTILINE),
}


def visit(server: Server, page: str) -> dict[str, Answer]:
    """Return the answers for a page and all that it loads, by path."""
    found, answers = {page}, dict[str, Answer]()
    while new := found - answers.keys():
        for path in new:
            answers[path] = answer = get_packed(server, path)
            assert answer.status == 200, path
            if path == page or path.endswith(".js"):
                is_gzip = answer.headers["Content-Encoding"] == "gzip"
                text = gzip.decompress(answer.body) if is_gzip else answer.body
                links = LOADS["js" if path.endswith(".js") else "html"].findall(text)
                found |= {urljoin(path, link.decode()) for link in links}
    return answers


@pytest.mark.parametrize("page", ["/", "/fleet/"])
def test_a_visit_is_light(start_server: Callable[..., Server], page: str) -> None:
    """All that a page loads on the first visit takes 60 kB at most on its way. On the second visit
    a browser asks for the page alone: all else it may keep."""
    answers = visit(start_server("pins: {}\n"), page)
    names = {path.rpartition("/")[2] for path in answers}
    assert {"style.css", "raspi.js" if page == "/" else "fleet.js", "icon.svg"} <= names
    assert sum(len(answer.body) for answer in answers.values()) < 60_000
    asked_again = {path for path in answers if answers[path].headers["Cache-Control"] != KEPT}
    assert asked_again == {page}


# Versions in addresses

LINKS = b"""<link href="/v/current/mine.css"><script src='v/current/mine.js'></script>
<img src=../v/current/icon.svg><style>p { background: url(./v/current/below/photo.png) }</style>
"""
OTHERS = b"""<a href="/dev/current/">v/currents</a>, <a href="/x/v/current/">v/current</a>,
<a href="http://other.example/v/current/">x/v/current/</a>
"""
PAGE = LINKS + OTHERS * 8
SCRIPT = b"export const answer = 42; // a script of mine, which pages load\n" * 20


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of pages for a server of one test."""
    mine = tmp_path / "www"
    (mine / "below").mkdir(parents=True)
    (mine / "mine.html").write_bytes(PAGE)
    (mine / "mine.js").write_bytes(SCRIPT)
    (mine / "below" / "photo.png").write_bytes(b"photo")
    return mine


@pytest.fixture
def server(start_server: Callable[..., Server], mine: Path) -> Server:
    return start_server("pins: {}\n")


def version_in(page: bytes) -> str:
    """Return the one version that a page names."""
    found = set(re.findall(rb'(?:"/|[("\'])v/(\w+)/', page))
    assert len(found) == 1, found
    return found.pop().decode()


def present(server: Server) -> str:
    """Return the version that a page names now."""
    version = version_in(ask(server, "/mine.html").body)
    assert re.fullmatch("[0-9a-f]{16}", version)
    return version


def but_for_keeping(answer: Answer) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k not in ("Cache-Control", "Date")}


def test_a_page_names_the_present_version(server: Server) -> None:
    """In a page the server puts the version in the place of `v/current/`, and changes nothing else;
    length, tag and gzip are those of what it sends."""
    plain, packed = ask(server, "/mine.html"), get_packed(server, "/mine.html")
    version = version_in(plain.body).encode()
    assert plain.body == LINKS.replace(b"current", version) + OTHERS * 8
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["Etag"] != packed.headers["Etag"]
    for answer in (plain, packed):
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Vary"] == "Accept-Encoding"
    head = ask(server, "/mine.html", "HEAD")
    assert (head.body, but_for_keeping(head)) == (b"", but_for_keeping(plain))


def test_only_pages_name_a_version(server: Server, mine: Path) -> None:
    """In a script or text `v/current/` stays as it is."""
    for name in ("other.js", "other.txt", "other.svg"):
        (mine / name).write_bytes(LINKS)
        assert ask(server, f"/{name}").body == LINKS


def test_a_page_is_revalidated(server: Server, mine: Path) -> None:
    """A browser that has the page and its version is told so by the tag. The date of a page does
    not tell, since it names the version of other files; that of another file does."""
    page, script = ask(server, "/mine.html"), ask(server, "/mine.js")
    again = ask(server, "/mine.html", If_None_Match=page.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    since = page.headers["Last-Modified"]
    assert ask(server, "/mine.html", If_Modified_Since=since).status == 200
    assert ask(server, "/mine.html", If_Modified_Since=since, If_None_Match="").status == 200
    since = script.headers["Last-Modified"]
    assert ask(server, "/mine.js", If_Modified_Since=since).status == 304


def test_a_part_of_a_page(server: Server) -> None:
    """A part of a page is one of what the server sends, not of the file."""
    whole = ask(server, "/mine.html")
    size = len(whole.body)
    for asked, begin, end in (("5-40", 5, 41), ("10-", 10, size), ("-7", size - 7, size)):
        part = ask(server, "/mine.html", Range=f"bytes={asked}", If_Range=whole.headers["Etag"])
        assert (part.status, part.body) == (206, whole.body[begin:end])
        assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    assert ask(server, "/mine.html", Range=f"bytes={size}-").status == 416


@pytest.mark.parametrize("name", ["mine.js", "below/photo.png", "icon.svg", "raspi.js"])
def test_a_file_below_its_version_is_kept(server: Server, name: str) -> None:
    """Below the present version a file is the same as at its own address, but for that a browser
    keeps it without asking again; the user's own file wins there, too."""
    version = present(server)
    for accepted in ("gzip", "identity"):
        usual = ask(server, f"/{name}", Accept_Encoding=accepted)
        kept = ask(server, f"/v/{version}/{name}", Accept_Encoding=accepted)
        assert (kept.status, kept.body) == (usual.status, usual.body) == (200, usual.body)
        assert but_for_keeping(kept) == but_for_keeping(usual)
        assert usual.headers["Cache-Control"] == "no-cache"
        assert kept.headers["Cache-Control"] == KEPT
        tag = {"If_None_Match": kept.headers["Etag"], "Accept_Encoding": accepted}
        assert ask(server, f"/v/{version}/{name}", **tag).status == 304
        head = ask(server, f"/v/{version}/{name}", "HEAD", Accept_Encoding=accepted)
        assert (head.body, head.headers["Cache-Control"]) == (b"", KEPT)


@pytest.mark.parametrize("version", ["current", "0123456789abcdef"])
def test_a_file_below_another_version(server: Server, version: str) -> None:
    """Below another version, such as one of before an edit, and below `current`, a file is served
    as it is now, and asked for each time."""
    for _ in range(2):  # before and after a page was asked for
        answer = ask(server, f"/v/{version}/mine.js")
        assert (answer.status, answer.body) == (200, SCRIPT)
        assert answer.headers["Cache-Control"] == "no-cache"
        present(server)


def test_a_page_is_never_kept(server: Server, mine: Path) -> None:
    """A page is asked for each time, also below a version, as is a path that leads to no file, or
    whose query looks like a version to Tornado."""
    version = present(server)
    (mine / "below" / "index.html").write_text("below")
    below = ask(server, f"/v/{version}/below")
    assert (below.status, below.headers["Location"]) == (301, "./below/")
    for path in ("mine.html", "below/", "", "nothing.js", "nothing.html", "mine.js?v=1"):
        for prefix in ("/", f"/v/{version}/"):
            answer = ask(server, prefix + path)
            kept = KEPT if prefix != "/" and path == "mine.js?v=1" else "no-cache"
            assert answer.headers["Cache-Control"] == (
                kept if version == present(server) else "no-cache"
            )
            assert answer.headers["Expires"] is None


def write_another(mine: Path) -> None:
    (mine / "below" / "another.txt").write_text("new")


def remove(mine: Path) -> None:
    (mine / "below" / "photo.png").unlink()


def rename(mine: Path) -> None:
    (mine / "below" / "photo.png").rename(mine / "below" / "picture.png")


def link(mine: Path) -> None:
    (mine / "below" / "linked.js").symlink_to(mine / "mine.js")


def hide_built_in(mine: Path) -> None:
    (mine / "icon.svg").write_text("<svg/>")


def well_known(mine: Path) -> None:
    (mine / ".well-known").mkdir()
    (mine / ".well-known" / "security.txt").write_text("Contact: me")


EDITS = [write_another, remove, rename, link, hide_built_in, well_known]


@pytest.mark.parametrize("edit", EDITS)
def test_a_change_gives_a_new_version(
    server: Server, mine: Path, edit: Callable[[Path], None]
) -> None:
    """Any change of the files that can be served shows in the version at the next page load."""
    before = present(server)
    assert present(server) == before
    edit(mine)
    after = present(server)
    assert after != before
    assert present(server) == after


def test_a_hidden_file_changes_nothing(server: Server, mine: Path) -> None:
    """An edit of what is not served gives no new version: an editor's file, a git repository."""
    (mine / ".git").mkdir()
    hidden = mine / ".mine.html.swp", mine / ".git" / "HEAD"
    for file in hidden:
        file.write_text("draft")
    before = present(server)
    for file in hidden:
        file.write_text("another draft")
    (mine / ".git" / "new").write_text("new")
    assert present(server) == before


def test_data_changes_nothing(server: Server, mine: Path) -> None:
    """A photo or log that is written all the time gives no new version, and is asked for each time,
    also below a version. A script that is a link changes with what it leads to."""
    photo, target, link = mine / "camera.jpg", mine / "code.txt", mine / "link.js"
    photo.write_bytes(b"one")
    target.write_text("1")
    link.symlink_to("code.txt")
    before = present(server)
    photo.write_bytes(b"another")
    assert present(server) == before
    answer = ask(server, f"/v/{before}/camera.jpg")
    assert (answer.body, answer.headers["Cache-Control"]) == (b"another", "no-cache")
    target.write_text("1 + 1")
    assert present(server) != before


def swap_link(server: Server, folder: Path, times: int) -> None:
    other = folder / "link"
    other.symlink_to(folder / ("one", "other")[times % 2])
    other.replace(folder / "www")


def reload(server: Server, folder: Path, times: int) -> None:
    (folder / "config-0.yaml").write_text(f"pins: {{}}\nwww: {('one', 'other')[times % 2]}\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("serving", again=times)


@pytest.mark.parametrize("swap", [swap_link, reload])
def test_another_folder_for_a_while(
    start_server: Callable[..., Server],
    tmp_path: Path,
    swap: Callable[[Server, Path, int], None],
) -> None:
    """While another folder is in the place of the pages, such as the next release of them, nothing
    of it is kept below the version from before, which returns with its folder."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.js").write_text(f"// {name}")
        (tmp_path / name / "mine.html").write_bytes(PAGE)
    (tmp_path / "one" / "raspi.js").write_text("// mine")
    (tmp_path / "www").symlink_to("one")
    server = start_server("pins: {}\n")
    before = present(server)
    swap(server, tmp_path, 1)
    answers = [ask(server, f"/v/{before}/{name}") for name in ("mine.js", "raspi.js")]
    assert answers[0].body == b"// other"
    assert answers[1].body == (BUILT_IN_WWW / "raspi.js").read_bytes()
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-cache"}
    swap(server, tmp_path, 2)
    assert present(server) == before
    for name in ("mine.js", "raspi.js", "icon.svg"):
        assert ask(server, f"/v/{before}/{name}").headers["Cache-Control"] == KEPT


def test_an_edit_before_the_next_page(server: Server, mine: Path) -> None:
    """A file that was edited since a page was asked for is served as it is, and not kept."""
    before = present(server)
    (mine / "mine.js").write_text("// edited")
    answer = ask(server, f"/v/{before}/mine.js")
    assert (answer.body, answer.headers["Cache-Control"]) == (b"// edited", "no-cache")
    assert ask(server, f"/v/{before}/icon.svg").headers["Cache-Control"] == KEPT


def test_no_version_returns(server: Server, mine: Path) -> None:
    """A file that came and went again leaves another version behind: below the one from before, a
    browser may have kept the file that came."""
    before = present(server)
    (mine / "icon.svg").write_text("<svg/>")
    assert ask(server, f"/v/{before}/icon.svg").body == b"<svg/>"
    (mine / "icon.svg").unlink()
    assert present(server) != before


@pytest.mark.parametrize("edit", [rewrite, rewrite_with_old_date, replace, lengthen])
def test_an_edit_shows_at_the_next_page_load(
    server: Server, mine: Path, edit: Callable[[Path, bytes], None]
) -> None:
    """An edited script has a new address at the next page load, also with the same length and date
    as before, and a page that is still open finds it at the old address."""
    script = mine / "mine.js"
    page = ask(server, "/mine.html")
    before = version_in(page.body)
    assert ask(server, f"/v/{before}/mine.js").headers["Cache-Control"] == KEPT
    written = script.stat().st_ctime_ns
    while script.stat().st_ctime_ns == written:
        edit(script, SCRIPT.replace(b"42", b"43"))
    again = ask(server, "/mine.html", If_None_Match=page.headers["Etag"])
    after = version_in(again.body)
    assert (again.status, after != before) == (200, True)
    answers = {version: ask(server, f"/v/{version}/mine.js") for version in (before, after)}
    assert {answer.body for answer in answers.values()} == {script.read_bytes()}
    assert answers[before].headers["Cache-Control"] == "no-cache"
    assert answers[after].headers["Cache-Control"] == KEPT
    assert gzip.decompress(get_packed(server, "/mine.html").body) == again.body


def test_an_upgrade_gives_a_new_version(start_server: Callable[..., Server], mine: Path) -> None:
    """Another version of the program gives all files new addresses; a restart alone does not."""
    upgraded = "from raspi_server.web import versions; versions.__version__ = '9.9.9'"
    programs = [("-m", "raspi_server"), ("-m", "raspi_server"), changing(upgraded)]
    first, again, other = (
        present(start_server("pins: {}\n", program=program)) for program in programs
    )
    assert first == again != other


def test_too_many_files_for_a_version(start_server: Callable[..., Server], mine: Path) -> None:
    """Where there are more files than a page load may look at, pages leave `v/current/` as it is:
    browsers ask for each file at each visit, and see an edit all the same."""
    many = len([*BUILT_IN_WWW.rglob("*")])
    for n in range(many):
        (mine / "below" / f"{n}.txt").write_text("one of many")
    server = start_server("pins: {}\n", program=changing(max_versioned_files=many))
    for script in (SCRIPT, b"another"):
        (mine / "mine.js").write_bytes(script)
        assert ask(server, "/mine.html").body == PAGE
        answer = ask(server, "/v/current/mine.js")
        assert (answer.body, answer.headers["Cache-Control"]) == (script, "no-cache")
    (mine / "below" / "0.txt").unlink()
    for n in range(1, 9):
        (mine / "below" / f"{n}.txt").unlink()
    assert present(server)


def test_a_huge_page_is_sent_as_it_is(server: Server, mine: Path) -> None:
    """A page too large to be held in memory names `current`, as its file does."""
    page = LINKS + b"x" * 256 * 1024
    (mine / "huge.html").write_bytes(page)
    answer = ask(server, "/huge.html")
    assert (answer.status, answer.body) == (200, page)
    tag = answer.headers["Etag"]
    assert ask(server, "/huge.html", If_None_Match=tag).status == 304


def test_a_folder_v_of_ones_own(server: Server, mine: Path) -> None:
    """A folder `v` among the user's pages is served; only the names of versions in it are not."""
    names = ("index.html", "film.mp4", "1/film.mp4", "currently/film.mp4", "0123456789ABCDEF/a")
    hidden = ("current/film.mp4", "0123456789abcdef/film.mp4")
    for name in (*names, *hidden):
        (mine / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / "v" / name).write_text("mine")
    for name in ("", *names):
        answer = ask(server, f"/v/{name}")
        assert (answer.body, answer.headers["Cache-Control"]) == (b"mine", "no-cache")
    for name in hidden:
        assert ask(server, f"/v/{name}").status == 404
    assert ask(server, f"/v/{present(server)}/v/film.mp4").body == b"mine"


def test_the_policy_is_the_same_below_a_version(server: Server) -> None:
    """Our own files have the strict policy below a version, too, and the user's do not."""
    for name in ("icon.svg", "raspi.js", "mine.js", "mine.html", "fleet/", "nothing"):
        policies = [
            ask(server, f"{below}/{name}").headers["Content-Security-Policy"]
            for below in ("", "/v/current", f"/v/{present(server)}")
        ]
        assert policies == policies[:1] * 3


def test_files_are_looked_up_once_for_many(tmp_path: Path) -> None:
    """Page loads that come while the files are looked up share the next look, which sees every edit
    from before them."""
    looks: list[float] = []

    def folders() -> tuple[str]:
        looks.append(time.monotonic())
        return (str(tmp_path),)

    async def load() -> None:
        versions = Versions(folders)
        first = asyncio.ensure_future(versions.refresh())
        while not looks:
            await asyncio.sleep(0)
        (tmp_path / "new.txt").write_text("new")
        rest = await asyncio.gather(*(versions.refresh() for _ in range(20)))
        assert len(looks) == 2
        assert set(rest) == {read_version([str(tmp_path)], 10).name}
        await first

    asyncio.run(load())


# Missing files


def test_a_page_for_what_is_not_there(pi: Server, www: Path) -> None:
    """What does not exist is a 404 with a page that says so: the user's own if there is one."""
    built_in = ask(pi, "/nothing.html")
    assert (built_in.status, built_in.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert built_in.body == (BUILT_IN_WWW / "404.html").read_bytes()
    (www / "404.html").write_text("lost?")
    own = ask(pi, "/nothing.html")
    (www / "404.html").unlink()
    assert (own.status, own.body) == (404, b"lost?")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_files_are_only_read(pi: Server, www: Path, method: str) -> None:
    """A file can only be read: all else is a 405 that says so and leaves the file as it is."""
    for path in ("/ten.txt", "/", "/new.txt"):
        answer = ask(pi, path, method)
        assert (answer.status, answer.body) == (405, b"405: Method Not Allowed\n")
        assert answer.headers["Allow"] == "GET, HEAD"
    assert (www / "ten.txt").read_text() == "0123456789"
    assert not (www / "new.txt").exists()


def test_a_folder_that_is_called_like_a_page(pi: Server, www: Path) -> None:
    """A folder named index.html is no page: the folder around it has none."""
    (www / "odd" / "index.html").mkdir(parents=True)
    assert ask(pi, "/odd/").status == 404
    assert ask(pi, "/odd/index.html/").status == 404
    assert ask(pi, "/").status == 200


def test_a_pipe_is_no_page(pi: Server, www: Path) -> None:
    """A pipe or socket among the pages is not waited for, and holds up nobody."""
    os.mkfifo(www / "pipe.html")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(www, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket.html")  # for the path itself may be too long
        os.close(here)
        assert ask(pi, "/pipe.html").status == 404
        assert ask(pi, "/socket.html").status == 404
    (www / "pipes").mkdir()
    os.mkfifo(www / "pipes" / "index.html")
    assert ask(pi, "/pipes/").status == 404
    assert ask(pi, "/").status == 200


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a large file"])
def test_a_404_page_that_is_no_page(pi: Server, www: Path, kind: str) -> None:
    """A pipe, socket or device that is called 404.html is not waited for, and no file is that is
    too large for a page; the built-in one is shown."""
    file = www / "404.html"
    if kind == "a socket":
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.open(www, os.O_RDONLY)
            listening.bind(f"/proc/self/fd/{here}/404.html")
            os.close(here)
    elif kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a device":
        try:
            os.mknod(file, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        file.touch()
        os.truncate(file, 10**11)
    try:
        answer = ask(pi, "/nothing.html")
    finally:
        file.unlink()
    assert (answer.status, answer.body) == (404, (BUILT_IN_WWW / "404.html").read_bytes())


def test_a_page_that_becomes_a_pipe(pi: Server, www: Path) -> None:
    """Where a page is replaced by a pipe between the look at it and its opening, nobody waits."""
    from raspi_server.web.compression import open_regular

    os.mkfifo(www / "late.html")
    with pytest.raises(OSError, match="expected a regular file"):
        open_regular(str(www / "late.html"))
    with open_regular(str(www / "ten.txt")) as file:
        assert file.read() == b"0123456789"


def test_a_file_that_is_cut_while_it_is_sent(pi: Server, www: Path) -> None:
    """A photo that a camera overwrites while a slow client reads it ends early, with the connection
    and no traceback; the next request gets the new one."""
    photo = www / "photo.jpg"
    photo.write_bytes(bytes(4 * MIB))
    with open_socket(pi.port, 4096) as slow:
        slow.sendall(GET % b"/photo.jpg")
        heard = slow.recv(4096)
        assert f"Content-Length: {4 * MIB}\r\n".encode() in heard
        photo.write_bytes(b"new")
        size = len(heard)
        while part := slow.recv(65536):
            size += len(part)
    assert size < 4 * MIB
    assert ask(pi, "/photo.jpg").body == b"new"
    assert "Cannot send error response" not in pi.log


HIDDEN = {
    ".env": ".env",
    ".git/config": ".git/config",
    "garden/.htpasswd": "garden/.htpasswd",
    "a quoted dot": "%2eenv",
    "a quoted slash": "garden%2f.htpasswd",
    "after a dot": "./.env",
    "after an empty name": "/.env",
    "after two dots": "garden/../.env",
    "below .well-known": ".well-known/.secret",
    "a .well-known that is not at the top": "garden/.well-known/a",
    "a link with a dot": ".linked.txt",
    "a link to a dot": "to-hidden.txt",
    "a link to a folder": "to-git/config",
    "a folder's page": ".git/",
    "a folder without its slash": ".git",
    "a link to a folder, without a slash": "to-git",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_stay_hidden(pi: Server, www: Path, name: str) -> None:
    """What begins with a dot is not served, however it is spelled; `.well-known` is."""
    for file in (".env", ".git/config", ".git/index.html", "garden/.htpasswd", "well.txt",
                 ".well-known/.secret", ".well-known/open", "garden/.well-known/a"):  # fmt: skip
        (www / file).parent.mkdir(exist_ok=True)
        (www / file).write_text(SECRET)
    links = {".linked.txt": "well.txt", "to-hidden.txt": ".env", "to-git": ".git"}
    for link, goal in links.items():
        if not (www / link).is_symlink():
            (www / link).symlink_to(goal)
    assert ask(pi, "/.well-known/open").body == SECRET.encode()
    for below in ("/", "/v/current/"):
        answer = ask(pi, f"{below}{HIDDEN[name]}")
        assert answer.status == 404
        assert SECRET.encode() not in answer.body


@pytest.mark.parametrize("path", ["x" * 300, "x/" * 3000, "%C3%BC" * 200, "." * 5000, "/" * 3000])
def test_a_very_long_name(pi: Server, path: str) -> None:
    """A name longer than any file can have is just one that is not there."""
    assert ask(pi, f"/{path}").status in {404, 200 if set(path) == {"/"} else 404}


@pytest.mark.parametrize(
    "path",
    ["//[", "/[/../ten.txt", "x://[", "a://b]/", "v/current///[", "data:text/html,", "http:a.html"],
)
def test_a_name_like_an_address(pi: Server, path: str) -> None:
    """A name that looks like an address, or a broken one, is one that is not there."""
    assert ask(pi, f"/{path}").status == 404


@pytest.mark.parametrize("path", ["%ff", "%c3%28", "%ed%a0%80", "garden/%fe/", "%00", "a%0Ab"])
def test_a_name_that_is_no_text(pi: Server, path: str) -> None:
    """A name that is no text is no file, and no reason to fail."""
    assert ask(pi, f"/{path}").status in {400, 404}


def test_a_page_that_may_not_be_read(tmp_path: Path) -> None:
    """A page the server has no right to read is refused or not there, and does not fill the log."""
    (tmp_path / "www").mkdir()
    for name in ("letter.html", "404.html"):
        (tmp_path / "www" / name).write_text(SECRET)
        (tmp_path / "www" / name).chmod(0)
    (tmp_path / "www" / "open.html").write_text("open: v/current/")
    (tmp_path / "www" / "unlisted").mkdir(mode=0o311)
    (tmp_path / "config.yaml").write_text("pins: {}\n")
    started: list[Server] = []

    def start() -> None:
        give_up_power_over_files()
        started.append(Server(["run", "--simulate", "--config", str(tmp_path / "config.yaml")]))

    starter = threading.Thread(target=start)
    starter.start()
    starter.join(LIMIT)
    server = started[0]
    answers = [ask(server, "/letter.html"), ask(server, "/nothing"), ask(server, "/open.html")]
    assert server.stop() == 0
    assert answers[0].status in {403, 404}
    assert answers[1].status == 404
    assert answers[2].body == b"open: v/current/", "edits in the folder would not be noticed"
    assert "Traceback" not in server.log, server.log


def give_up_power_over_files() -> None:
    """Root reads what it has no right to; what this thread starts from now on does not."""
    bounding_set_drop, override, read_search = 24, 1, 2  # linux/prctl.h, linux/capability.h
    libc = ctypes.CDLL(None)
    for capability in (override, read_search):
        libc.prctl(bounding_set_drop, capability, 0, 0, 0)  # fails for all but root, who need not


# No way out


@pytest.mark.parametrize("below", ["", "/v/current", "/v/0123456789abcdef"])
@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/../../../../../../../../etc/passwd",
        "/garden/../../secret.txt",
        "/garden/pond/../../../secret.txt",
        "/../www-private/secret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%2fsecret.txt",
        "/.%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/%252e%252e%252fsecret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/..%c0%afsecret.txt",
        "/%EF%BC%8E%EF%BC%8E/secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/....//secret.txt",
        "/./../secret.txt",
        "//../secret.txt",
        "//etc/passwd",
        "///etc/passwd",
        "/%2fetc/passwd",
        "/%2fetc%2fpasswd",
        "/file:///etc/passwd",
        "/~root/.profile",
        "/%00/etc/passwd",
        "/secret.txt%00.html",
        "/../secret.txt%00.html",
        "/ten.txt/../../secret.txt",
        "/..;/secret.txt",
        "http://127.0.0.1/../secret.txt",
        "file:///etc/passwd",
        "../secret.txt",
        "/{parent}/secret.txt",
        "/{absolute}",
        "/to-secret.txt",
        "/to-parent/secret.txt",
        "/to-parent/../secret.txt",
        "/to-passwd",
        "/to-root/etc/passwd",
        "/linked/",
    ],
)
def test_no_way_out(pi: Server, www: Path, target: str, below: str) -> None:
    """Nothing outside the folders can be reached, by no spelling and through no link."""
    make_links(www)
    parent = str(www.parent)
    target = target.replace("{parent}", parent).replace("{absolute}", quote(parent, safe=""))
    request = f"GET {below}{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", pi.port), LIMIT) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.match(rb"HTTP/1\.1 40[034] ", answer), answer
    assert SECRET.encode() not in answer
    assert b"root:" not in answer


def make_links(www: Path) -> None:
    links = {
        "to-secret.txt": www.parent / "secret.txt",
        "to-parent": www.parent,
        "to-passwd": Path("/etc/passwd"),
        "to-root": Path("/"),
        "linked/index.html": www.parent / "secret.txt",
        "to-ten.txt": www / "ten.txt",
        "to-garden": Path("garden"),
    }
    (www / "linked").mkdir(exist_ok=True)
    for name, goal in links.items():
        if not (www / name).is_symlink():
            (www / name).symlink_to(goal)


def test_links_inside_lead_on(pi: Server, www: Path) -> None:
    """A link to a file or folder among the pages is as good as the thing itself."""
    make_links(www)
    assert ask(pi, "/to-ten.txt").body == b"0123456789"
    assert ask(pi, "/to-garden/").body == b"the garden"


def test_the_404_page_is_no_way_out(pi: Server, www: Path) -> None:
    """A 404.html that is a link to the outside is not shown either."""
    (www / "404.html").symlink_to(www.parent / "secret.txt")
    answer = ask(pi, "/nothing.html")
    (www / "404.html").unlink()
    assert (answer.status, SECRET.encode() in answer.body) == (404, False)


def test_the_folder_itself_may_be_a_link(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """The folder of pages may itself be a link to where the pages really are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "index.html").write_text("really")
    (tmp_path / "pages").symlink_to(tmp_path / "real")
    assert ask(start_server("www: pages\n"), "/").body == b"really"
