"""Static files: the user's own before the built-in ones, and nothing outside the folders."""

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raspi_server.limits import Limits
from raspi_server.web.compression import ContentCache, accepts_gzip, open_regular
from raspi_server.web.content_types import content_type
from raspi_server.web.context import BUILT_IN_WWW
from tests.support.http import HttpClient, Response, ask
from tests.support.server import Server
from tests.support.sockets import open_socket
from tests.web.test_api import raw

SECRET = b"nobody outside may read this"
POEM = "".join(f"{number} green bottles hanging on the wall\n" for number in range(100)).encode()


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's pages. Each test adds the files that it needs."""
    www = tmp_path_factory.mktemp("static") / "www"
    for name, content in {
        "index.html": b"my own page",
        "garden/index.html": b"the garden",
        "ten.txt": b"0123456789",
        "poem.txt": POEM,
        ".well-known/open": b"public",
        ".env": SECRET,
        ".git/config": SECRET,
        ".git/index.html": SECRET,
        "garden/.htpasswd": SECRET,
        "garden/.well-known/a": SECRET,
        ".well-known/.secret": SECRET,
        "../secret.txt": SECRET,
        "../www-private/secret.txt": SECRET,
    }.items():
        (www / name).parent.mkdir(parents=True, exist_ok=True)
        (www / name).write_bytes(content)
    for folder in ("linked", "pond"):
        (www / folder).mkdir()
    for name, target in {
        "to-secret.txt": "../secret.txt",
        "to-parent": "..",
        "to-root": "/",
        "linked/index.html": "../../secret.txt",
        ".linked.txt": "ten.txt",
        "to-hidden.txt": ".env",
        "to-git": ".git",
        "to-ten.txt": "ten.txt",
        "to-garden": "garden",
    }.items():
        (www / name).symlink_to(target)
    return www


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server], www: Path) -> Server:
    return start_module_server(f"www: {www}\n")


def get(server: Server, path: str, **headers: str) -> Response:
    return ask(server, "GET", path, **headers)


def get_gzip(server: Server, path: str, **headers: str) -> Response:
    return get(server, path, Accept_Encoding="gzip", **headers)


def without_date(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != "Date"}


def built_in(name: str) -> bytes:
    return (BUILT_IN_WWW / name).read_bytes()


def test_own_file_hides_built_in_one(pi: Server, www: Path) -> None:
    """A file in the user's folder hides the built-in one of the same name, but not the API."""
    assert get(pi, "/").body == get(pi, "/index.html").body == b"my own page"
    with HttpClient(pi) as client:
        assert client.ask("GET", "/raspi.js").body == built_in("raspi.js")
        (www / "raspi.js").write_text("mine")
        assert client.ask("GET", "/raspi.js").body == b"mine"
        (www / "raspi.js").unlink()
        assert client.ask("GET", "/raspi.js").body == built_in("raspi.js")
    (www / "api" / "pins").mkdir(parents=True)
    for name in ("api/pins/index.html", "api/extra.html", "ws"):
        (www / name).write_text("false")
    assert b'"pins":[]' in get(pi, "/api/pins").body
    for path in ("/api/pins/", "/api/extra.html", "/ws", "/api"):
        assert b"false" not in get(pi, path).body


def test_folder_of_own_pages_may_come_later(start_server, tmp_path) -> None:
    """Without an index.html of the user's `/` is the dashboard. Later files need no restart."""
    server = start_server("www: pages\n")
    assert "pages: no such folder; only the built-in pages are served" in server.log
    assert b"dashboard/" in get(server, "/").body
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.html").write_text("mine")
    assert get(server, "/mine.html").body == b"mine"
    assert b"dashboard/" in get(server, "/").body
    (tmp_path / "pages" / "index.html").write_text("now")
    assert get(server, "/").body == b"now"


def test_folder_serves_its_index(pi: Server, www: Path) -> None:
    """A folder's address serves its index.html. Without the last slash it redirects there, and
    never to another machine. A link in the user's folder is served like its target."""
    moved = get(pi, "/garden")
    assert (moved.status, moved.headers["Location"]) == (301, "./garden/")
    assert get(pi, "/garden/").body == get(pi, "/to-garden/").body == b"the garden"
    assert get(pi, "/to-ten.txt").body == b"0123456789"
    assert get(pi, "/pond/").status == get(pi, "/ten.txt/").status == 404
    (www / "\\a").write_text("a")
    for path in ("//garden", "///garden", "/%2fgarden", "//a.example/..", "/\\a"):
        answer = get(pi, path)
        assert (answer.status, answer.headers["Location"]) == (404, None), path


def test_file_may_have_any_name(pi: Server, www: Path) -> None:
    """A file may have any name. A path that is too long, broken, or not text does not exist."""
    for name in ("größe/übersicht.txt", "a+b & c=d;e,f:g.txt", "100%.txt", "what?#1.txt",
                 "Screenshot 9.41\u202fAM.png", "pi \U0001f468\u200d\U0001f469.jpg"):  # fmt: skip
        (www / name).parent.mkdir(exist_ok=True)
        (www / name).write_text("here")
        assert get(pi, quote(f"/{name}"))[::2] == (200, b"here"), name
    for path in ("x" * 300, "x/" * 3000, "%C3%BC" * 200, "." * 5000, "//[", "/[/../ten.txt",
                 "x://[", "a://b]/", "v/current///[", "http:a.html", "%ff", "garden/%fe/",
                 "%ed%a0%80", "%00", "a%0Ab"):  # fmt: skip
        assert get(pi, f"/{path}").status in ({400, 404} if "%" in path else {404}), path


def test_content_type_comes_from_the_name() -> None:
    """The content type depends on the last suffix only, and texts are UTF-8."""
    for name, expected in {
        "a.html": "text/html; charset=utf-8",
        "a.js": "text/javascript; charset=utf-8",
        "a.JPG": "image/jpeg",
        "a.svg.gz": "application/gzip",
        "html": "application/octet-stream",
        "data:a.txt": "text/plain; charset=utf-8",
    }.items():
        assert content_type(f"/folder.png/{name}") == content_type(name) == expected, name


def test_file_has_its_headers_and_parts(pi: Server, www: Path) -> None:
    """A file comes with its type, HEAD with the same headers, and browsers revalidate it. A part
    may be asked for, and a file of many chunks arrives whole."""
    found, head = get(pi, "/ten.txt"), ask(pi, "HEAD", "/ten.txt")
    assert found.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Content-Length"] == "10"
    assert found.headers["Cache-Control"] == "no-cache"
    assert found.headers["Last-Modified"]
    assert (head.status, head.body, without_date(head)) == (200, b"", without_date(found))
    assert ask(pi, "HEAD", "/nothing").status == 404
    assert ask(pi, "PUT", "/ten.txt").headers["Allow"] == "GET, HEAD"
    again = get(pi, "/ten.txt", If_None_Match=found.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    assert get(pi, "/ten.txt", If_None_Match='"another"')[::2] == (200, b"0123456789")

    for asked, status, part, content_range in (
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=9-99", 206, b"9", "bytes 9-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-", 200, b"0123456789", None),
        ("pages=1-2", 200, b"0123456789", None),
        ("bytes=10-", 416, b"", "bytes */10"),
    ):
        answer = get(pi, "/ten.txt", Range=asked)
        assert (answer.status, answer.body) == (status, part), asked
        assert answer.headers["Content-Range"] == content_range
        assert answer.headers["Content-Length"] == str(len(part))
    film = os.urandom(5_000_003)
    (www / "film.mp4").write_bytes(film)
    assert get(pi, "/film.mp4").body == film
    assert get(pi, "/film.mp4", Range="bytes=70001-3000000").body == film[70001:3000001]


def test_file_that_is_cut_while_it_is_sent(pi: Server, www: Path) -> None:
    """A photo that is overwritten while it is sent ends early, without a traceback."""
    photo = www / "photo.jpg"
    photo.write_bytes(bytes(4_000_000))
    with open_socket(pi.port, 4096) as slow:
        slow.sendall(b"GET /photo.jpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = slow.recv(4096)
        assert b"Content-Length: 4000000\r\n" in received
        photo.write_bytes(b"new")
        size = len(received)
        while part := slow.recv(65536):
            size += len(part)
    assert size < 4_000_000
    assert get(pi, "/photo.jpg").body == b"new"
    assert "Cannot send error response" not in pi.log


def test_text_comes_as_gzip(pi: Server) -> None:
    """A client that accepts gzip gets a text in a fraction of its size. Each form has its own tag.
    A part is always one of the uncompressed file, as `If-Range` demands."""
    plain, packed = get(pi, "/poem.txt"), get_gzip(pi, "/poem.txt")
    assert gzip.decompress(packed.body) == plain.body == POEM
    assert len(packed.body) < len(POEM) / 5
    assert [each.headers["Content-Encoding"] for each in (plain, packed)] == [None, "gzip"]
    assert [each.headers["Accept-Ranges"] for each in (plain, packed)] == ["bytes", None]
    for answer in (plain, packed):
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Content-Length"] == str(len(answer.body))
    head = ask(pi, "HEAD", "/poem.txt", Accept_Encoding="gzip")
    assert (head.body, without_date(head)) == (b"", without_date(packed))
    tag, packed_tag = plain.headers["Etag"], packed.headers["Etag"]
    for ask_for, own, status in ((get, tag, 304), (get, packed_tag, 200),
                                 (get_gzip, packed_tag, 304), (get_gzip, tag, 200)):  # fmt: skip
        answer = ask_for(pi, "/poem.txt", If_None_Match=own)
        assert (answer.status, answer.headers["Vary"]) == (status, "Accept-Encoding")
    part = get_gzip(pi, "/poem.txt", Range="bytes=10-19", If_Range=tag)
    assert (part.status, part.body) == (206, POEM[10:20])
    assert (part.headers["Content-Encoding"], part.headers["Etag"]) == (None, tag)
    for other in (packed_tag, "Sat, 29 Oct 1994 19:43:31 GMT"):
        whole = get_gzip(pi, "/poem.txt", Range="bytes=10-19", If_Range=other)
        assert (whole.status, whole.body) == (200, packed.body)


def test_only_texts_of_some_size_are_compressed(pi: Server, www: Path) -> None:
    """Gzip is accepted by name or as `*`. Only texts of some size are compressed."""
    accepting = ("gzip, deflate, br", "br;q=1.0, GZIP;q=0.1", "br, *;q=0.5", "gzip;q=")
    rejecting = ("gzip; q = 0.000, *", "*;q=0", "br", "not-gzip", "", ",;=")
    assert [each for each in accepting if not accepts_gzip(each)] == []
    assert [each for each in rejecting if accepts_gzip(each)] == []
    for name, content, is_gzip in (
        ("drawing.svg", b"<svg></svg>" * 100, True),
        ("smallest.txt", b"a" * 1000, True),
        ("too-small.txt", b"a" * 999, False),
        ("largest.txt", b"a" * 256 * 1024, True),
        ("too-large.txt", b"a" * (256 * 1024 + 1), False),
        ("photo.png", b"a" * 5000, False),
        ("drawing.svg.gz", b"a" * 5000, False),
    ):
        (www / name).write_bytes(content)
        answer = get_gzip(pi, f"/{name}")
        assert answer.headers["Content-Encoding"] == ("gzip" if is_gzip else None), name
        assert (answer.headers["Vary"] == "Accept-Encoding") == is_gzip
        assert (gzip.decompress(answer.body) if is_gzip else answer.body) == content


def test_compressed_file_is_cached() -> None:
    """A file is not read again for gzip. The cache drops what was not used for longest."""
    made: list[str] = []
    cache = ContentCache(Limits(max_cache_bytes=3500))
    for name in "abacdab":  # three fit: when d comes, b has not been used for longest
        content = cache.get(name, "gzip", (), lambda name=name: made.append(name) or bytes(1000))
        assert content == bytes(1000)
    assert made == ["a", "b", "c", "d", "b"]
    assert cache.get("b", "gzip", ("edited",), lambda: b"new") == b"new"


def test_missing_file_gets_the_404_page(pi: Server, www: Path) -> None:
    """A missing file gets the user's 404.html, if that is a small file, else the built-in one."""
    found = get(pi, "/nothing.html")
    assert (found.status, found.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert found.body == built_in("404.html")
    below = get(pi, "/a/b/nothing.html").body
    assert below == built_in("404.html").replace(b"v/current/", b"../../v/current/")
    own = www / "404.html"
    for make, expected in (
        (lambda: own.write_text("lost?"), b"lost?"),
        (lambda: os.mkfifo(own), built_in("404.html")),
        (lambda: own.write_bytes(bytes(256 * 1024 + 1)), built_in("404.html")),
        (lambda: own.symlink_to("../secret.txt"), built_in("404.html")),
    ):
        make()
        answer = get(pi, "/nothing.html")
        own.unlink()
        assert (answer.status, answer.body) == (404, expected)


def test_only_regular_files_are_read(pi: Server, www: Path) -> None:
    """A folder named index.html is no page. A pipe is not waited for."""
    (www / "odd" / "index.html").mkdir(parents=True)
    (www / "pipes").mkdir()
    for name in ("pipe.html", "pipes/index.html"):
        os.mkfifo(www / name)
    for path in ("/odd/", "/odd/index.html/", "/pipe.html", "/pipes/"):
        assert get(pi, path).status == 404
    with pytest.raises(OSError, match="expected a regular file"):
        open_regular(str(www / "pipe.html"))


WITHOUT_POWER = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root reads all files
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; fails for all but root
os.execv(sys.executable, [sys.executable, "-m", "raspi_server", *sys.argv[1:]])
"""


def test_unreadable_file(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A file that the server has no right to read is not found, and does not fill the log. Where it
    may not list a folder, pages leave `v/current/` as it is: edits there would not be noticed."""
    (tmp_path / "www").mkdir()
    for name in ("letter.html", "404.html"):
        (tmp_path / "www" / name).write_bytes(SECRET)
        (tmp_path / "www" / name).chmod(0)
    (tmp_path / "www" / "open.html").write_text("open: v/current/")
    (tmp_path / "www" / "unlisted").mkdir(mode=0o311)
    server = start_server("pins: {}\n", program=("-c", WITHOUT_POWER))
    assert get(server, "/letter.html").status == get(server, "/nothing").status == 404
    assert get(server, "/open.html").body == b"open: v/current/"


def test_hidden_file_is_not_served(pi: Server) -> None:
    """A name that begins with a dot is not found, however spelled or linked; `.well-known` is."""
    for below in ("/", "/v/current/"):
        for path in (".env", ".git/config", ".git/", ".git", "%2eenv", "garden%2f.htpasswd",
                     "./.env", "garden/../.env", ".well-known/.secret", "garden/.well-known/a",
                     ".linked.txt", "to-hidden.txt", "to-git/config", "to-git"):  # fmt: skip
            answer = get(pi, below + path)
            assert (answer.status, SECRET in answer.body) == (404, False), path
        assert get(pi, f"{below}.well-known/open").body == b"public"


@pytest.mark.parametrize("below", ["", "/v/current"])
def test_nothing_outside_the_folders_is_served(pi: Server, www: Path, below: str) -> None:
    """No spelling of a path, and no link, leads out of the folders."""
    for target in (
        "/../secret.txt",
        "/../www-private/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/%2fetc/passwd",
        "/../secret.txt%00.html",
        "http://127.0.0.1/../secret.txt",
        f"/{www.parent}/secret.txt",
        "/to-secret.txt",
        "/to-parent/secret.txt",
        "/to-root/etc/passwd",
        "/linked/",
    ):
        request = f"GET {below}{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = raw(pi, request.encode())
        assert re.match(rb"HTTP/1\.1 40[034] ", answer), (target, answer)
        assert SECRET not in answer and b"root:" not in answer, target


NAMES = ["..", ".", "%2e%2e", "%2e", "..;", "garden", "pond", "to-parent", "to-root", "to-git",
         "to-hidden.txt", ".git", ".env", "config", ".htpasswd", "www", "www-private",
         "secret.txt", "index.html", "v", "current", "trust", ".well-known"]  # fmt: skip
SLASHES = ["/", "/", "/", "//", "%2f", "\\", "%5c", "/./", "%00"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(SLASHES)).map("".join), max_size=6),
    st.binary(max_size=40),
)
def test_no_path_leads_to_a_secret(pi: Server, parts: list[str], noise: bytes) -> None:
    """No path leads to a hidden file or out of the folders, and no bytes make the server fail."""
    path = b"/" + "".join(parts).encode()
    for line, header in ((b"GET " + path, b""), (b"GET %bsecret.txt" % path, b""),
                         (b"GET " + path + noise, b""), (noise + b" /api", noise)):  # fmt: skip
        head = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Any: %b\r\n\r\n" % header
        answer = raw(pi, line + head)
        assert not answer or re.match(rb"HTTP/1\.1 [234]\d\d ", answer), answer
        assert SECRET not in answer
