"""Versions in the addresses of static files: browsers keep them, and edits give new ones."""

import asyncio
import gzip
import html
import json
import os
import re
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from raspi_server.web import versions
from raspi_server.web.context import BUILT_IN_WWW
from raspi_server.web.versions import Versions, read_version
from tests.support.http import Response, ask
from tests.support.server import Server, changing
from tests.web.test_static import built_in, get, get_gzip, without_date

KEPT = "public, max-age=31536000, immutable"
"""The Cache-Control of a file that a browser keeps for a year without asking again."""
LINKS = b"""<link href="/v/current/mine.css"><script src='v/current/mine.js'></script>
<img src=../v/current/icon.svg><style>p { background: url(./v/current/below/photo.png) }</style>
"""
OTHERS = b"""<a href="/dev/current/">v/currents</a>, <a href="/x/v/current/">v/current</a>,
<a href="http://other.example/v/current/">x/v/current/</a>
"""
PAGE = LINKS + OTHERS * 8
SCRIPT = b"export const answer = 42; // a script of mine, which pages load\n" * 20


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's pages. Each test puts back what it changes of them."""
    www = tmp_path_factory.mktemp("versions") / "www"
    (www / "below").mkdir(parents=True)
    (www / "mine.html").write_bytes(PAGE)
    (www / "mine.js").write_bytes(SCRIPT)
    (www / "below" / "photo.png").write_bytes(b"photo")
    return www


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server], www: Path) -> Server:
    return start_module_server(f"www: {www}\n")


def version_in(page: bytes) -> str:
    """Return the one version that a page names."""
    (version,) = set(re.findall(rb'(?:"/|[("\'])v/(\w+)/', page))
    return bytes(version).decode()


def present(server: Server) -> str:
    """Return the version that a page names now."""
    version = version_in(get(server, "/mine.html").body)
    assert re.fullmatch("[0-9a-f]{16}", version)
    return version


def is_kept(response: Response) -> bool:
    """Return whether a browser keeps it without asking again."""
    found = response.headers["Cache-Control"]
    assert found in (KEPT, "no-cache")
    assert response.headers["Expires"] is None
    return found == KEPT


def test_page_names_the_present_version(pi: Server, www: Path) -> None:
    """In a page the server replaces `v/current/` at the start of addresses by the version. Length,
    tag, gzip and ranges are those of what it sends. It has no date: it names other files."""
    plain, packed = get(pi, "/mine.html"), get_gzip(pi, "/mine.html")
    version = version_in(plain.body).encode()
    assert plain.body == LINKS.replace(b"current", version) + OTHERS * 8
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["Etag"] != packed.headers["Etag"]
    for answer in (plain, packed):
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert not is_kept(answer)
    head = ask(pi, "HEAD", "/mine.html")
    assert (head.body, without_date(head)) == (b"", without_date(plain))
    size = len(plain.body)
    for asked, begin, end in (("5-40", 5, 41), ("-7", size - 7, size)):
        part = get(pi, "/mine.html", Range=f"bytes={asked}", If_Range=plain.headers["Etag"])
        assert (part.status, part.body) == (206, plain.body[begin:end])
        assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"

    assert get(pi, "/mine.html", If_None_Match=plain.headers["Etag"]).status == 304
    since = {"If_Modified_Since": plain.headers["Last-Modified"]}
    assert get(pi, "/mine.html", **since).status == 200
    assert get(pi, "/mine.html", **since, If_None_Match="").status == 200
    for name, content in (("other.js", LINKS), ("huge.html", LINKS + b"x" * 256 * 1024)):
        (www / name).write_bytes(content)
        answer = get(pi, f"/{name}")
        assert (answer.status, answer.body) == (200, content)
        assert get(pi, f"/{name}", If_Modified_Since=answer.headers["Last-Modified"]).status == 304


@pytest.mark.parametrize("name", ["mine.js", "below/photo.png", "raspi.js"])
def test_file_below_its_version_is_kept(pi: Server, name: str) -> None:
    """Below the present version a browser keeps a file. Below another it is the same, not kept."""
    version = present(pi)
    for form in ("gzip", "identity"):
        usual, kept, current, old = (
            get(pi, f"{below}/{name}", Accept_Encoding=form)
            for below in ("", f"/v/{version}", "/v/current", "/v/0123456789abcdef")
        )
        policy = usual.headers["Content-Security-Policy"]
        assert ("default-src 'self'" in policy) == (name == "raspi.js")
        for each in (usual, kept, current, old):
            assert (each.status, each.body) == (200, usual.body)
            assert is_kept(each) == (each is kept)
            del each.headers["Cache-Control"]
            assert without_date(each) == without_date(usual)
        path, tag = f"/v/{version}/{name}", kept.headers["Etag"]
        assert get(pi, path, Accept_Encoding=form, If_None_Match=tag).status == 304
        head = ask(pi, "HEAD", path, Accept_Encoding=form)
        assert (head.body, is_kept(head)) == (b"", True)


def test_only_parts_of_pages_are_kept(pi: Server, www: Path) -> None:
    """A page, a redirect and an error are never kept, nor is a file at its own address."""
    (www / "below" / "index.html").write_text("below")
    version = present(pi)
    moved = get(pi, f"/v/{version}/below")
    assert (moved.status, moved.headers["Location"], is_kept(moved)) == (301, "./below/", False)
    for path in ("mine.html", "below/", "", "nothing.js", "mine.js?v=1"):
        assert not is_kept(get(pi, f"/{path}"))
        assert is_kept(get(pi, f"/v/{version}/{path}")) == path.startswith("mine.js")


def test_change_of_files_gives_a_new_version(tmp_path, monkeypatch) -> None:
    """Any change of the parts of pages gives a new version, as does another version of the program;
    none gives the same again. No version returns. More files than may be looked up have none."""
    script, other = tmp_path / "mine.js", tmp_path / "below" / "another.txt"
    other.parent.mkdir()
    script.write_text("1")

    def version(max_files: int = 1000) -> str:
        return read_version([str(tmp_path), str(BUILT_IN_WWW)], max_files).name

    def come_and_go() -> None:
        """Add a file and remove it, until that shows. The clock ticks every few ms."""
        while version() in seen:
            (tmp_path / "mine.css").write_text("1")
            (tmp_path / "mine.css").unlink()

    seen = [version()]
    for edit in (
        lambda: other.write_text("new"),
        come_and_go,
        lambda: script.rename(tmp_path / "yours.js"),
        lambda: (tmp_path / "below" / "linked.js").symlink_to(tmp_path / "yours.js"),
        lambda: (tmp_path / "icon.svg").write_text("<svg/>"),
        lambda: (tmp_path / ".well-known").mkdir(),
        lambda: monkeypatch.setattr(versions, "__version__", "9.9.9"),
    ):
        edit()
        assert re.fullmatch("[0-9a-f]{16}", version())
        assert version() == version() not in seen
        seen.append(version())
    (tmp_path / "loop").symlink_to(tmp_path)  # not followed
    files = len([*tmp_path.rglob("*")])
    assert read_version([str(tmp_path)], files).name != "current"
    assert read_version([str(tmp_path)], files - 1).name == "current"


def test_hidden_files_and_data_give_no_version(pi: Server, www: Path) -> None:
    """An edit of a hidden file, such as an editor's, or of data, such as a camera's photo, gives no
    new version. The photo is never kept. A script that is a link changes with its target."""
    (www / ".git").mkdir()
    seen = []
    for text in ("draft", "another draft"):
        for name in (".mine.html.swp", ".git/HEAD", "camera.jpg", "code.txt"):
            (www / name).write_text(text)
        seen.append(present(pi))
    assert seen[0] == seen[1]
    photo = get(pi, f"/v/{seen[0]}/camera.jpg")
    assert (photo.body, is_kept(photo)) == (b"another draft", False)
    (www / "link.js").symlink_to("code.txt")
    seen.append(present(pi))
    (www / "code.txt").write_text("1 + 1")
    assert present(pi) not in seen


def test_edit_shows_at_the_next_page_load(pi: Server, www: Path) -> None:
    """An edited script is served, no longer kept, and gets a new address with the next page."""
    script = www / "mine.js"
    page = get(pi, "/mine.html")
    tags = {form: form(pi, "/mine.js").headers["Etag"] for form in (get, get_gzip)}
    before = version_in(page.body)
    assert is_kept(get(pi, f"/v/{before}/mine.js"))
    edited, old = SCRIPT.replace(b"42", b"43"), script.stat()
    while script.stat().st_ctime_ns == old.st_ctime_ns:  # the clock ticks every few ms
        script.write_bytes(edited)
        os.utime(script, ns=(old.st_atime_ns, old.st_mtime_ns))
    answer = get(pi, f"/v/{before}/mine.js")
    assert (answer.body, is_kept(answer)) == (edited, False)
    assert is_kept(get(pi, f"/v/{before}/raspi.js"))
    again = get(pi, "/mine.html", If_None_Match=page.headers["Etag"])
    after = version_in(again.body)
    assert (again.status, after != before) == (200, True)
    kept = {version: is_kept(get(pi, f"/v/{version}/mine.js")) for version in (before, after)}
    assert kept == {before: False, after: True}
    assert gzip.decompress(get_gzip(pi, "/mine.html").body) == again.body
    plain, packed = (form(pi, "/mine.js", If_None_Match=tag) for form, tag in tags.items())
    assert plain.body == gzip.decompress(packed.body) == edited
    script.write_bytes(SCRIPT)


def test_another_folder_for_a_while(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Files of another folder are not kept below the version of the first, which may return."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.js").write_text(f"// {name}")
        (tmp_path / name / "mine.html").write_bytes(PAGE)
    (tmp_path / "one" / "raspi.js").write_text("// mine")

    def use(folder: str) -> None:
        (tmp_path / "link").symlink_to(folder)
        (tmp_path / "link").replace(tmp_path / "www")

    use("one")
    server = start_server("pins: {}\n")
    before = present(server)
    use("other")
    for name, content in (("mine.js", b"// other"), ("raspi.js", built_in("raspi.js"))):
        answer = get(server, f"/v/{before}/{name}")
        assert (answer.body, is_kept(answer)) == (content, False)
    use("one")
    assert present(server) == before
    for name in ("mine.js", "raspi.js", "icon.svg"):
        assert is_kept(get(server, f"/v/{before}/{name}"))


def test_folder_v_of_the_user(pi: Server, www: Path) -> None:
    """A folder `v` among the user's pages is served, except what looks like a version in it."""
    for name, is_hidden in {"index.html": False, "currently/film.mp4": False,
                            "0123456789ABCDEF/a": False, "current/film.mp4": True,
                            "0123456789abcdef/film.mp4": True}.items():  # fmt: skip
        (www / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        (www / "v" / name).write_text("mine")
        answer = get(pi, f"/v/{name}")
        assert (answer.status, is_kept(answer)) == (404 if is_hidden else 200, False)
        assert (answer.body == b"mine") != is_hidden
        assert get(pi, f"/v/{present(pi)}/v/{name}").body == b"mine"


def test_pages_have_the_name_of_the_host(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """The title, the name on a phone's home screen and the manifest have the host name. After a new
    name the page, its tag and the address of the manifest are others. A page of the user is filled
    only where it asks for that, and a manifest too."""
    name, own = tmp_path / "hostname", tmp_path / "www"
    own.mkdir()
    (own / "mine.html").write_bytes(b'<p data-host="">?</p><p>{host}</p><link href="v/current/a">')
    (own / "mine.webmanifest").write_bytes(b'{"name": "{host} {host}"}')

    def rename(host: str) -> None:
        (tmp_path / "new").write_text(host)
        (tmp_path / "new").replace(name)

    rename("kitchen")
    reading = f"socket.gethostname = lambda: Path({str(name)!r}).read_text()"
    program = changing("import socket", "from pathlib import Path", reading)
    server = start_server(f"www: {own}\n", program=program)
    seen = set()
    for host in ("kitchen", "<b>&\"'", "kitchen"):
        rename(host)
        page, shown = get(server, "/"), html.escape(host)
        assert f'<title data-host="">{shown}</title>' in page.body.decode()
        assert f'-title" content="{shown}">' in page.body.decode()
        assert (
            f'<p data-host="">{shown}</p><p>{{host}}</p>' in get(server, "/mine.html").body.decode()
        )
        path = f"/v/{version_in(page.body)}/manifest.webmanifest"
        for answer in (get(server, path), get(server, "/manifest.webmanifest")):
            found = json.loads(answer.body)
            assert (found["name"], found["short_name"], found["start_url"]) == (
                host,
                host,
                "../../",
            )
        assert is_kept(get(server, path))
        assert not is_kept(get(server, "/manifest.webmanifest"))
        assert get(server, "/mine.webmanifest").body == b'{"name": "{host} {host}"}'
        tags = [get(server, each).headers["Etag"] for each in ("/", "/manifest.webmanifest")]
        assert get(server, "/", If_None_Match=tags[0]).status == 304
        seen.add((path, *tags))
    assert len(seen) == 2 and len({part for parts in seen for part in parts}) == 6


def test_files_are_read_once_for_many_requests(tmp_path: Path) -> None:
    """Requests during a reading share the next one, which has every edit from before them."""
    readings: list[int] = []

    def folders() -> list[str]:
        readings.append(1)
        return [str(tmp_path)]

    async def load() -> None:
        versions = Versions(folders)
        first = asyncio.ensure_future(versions.refresh())
        while not readings:
            await asyncio.sleep(0)
        (tmp_path / "new.txt").write_text("new")
        rest = await asyncio.gather(*(versions.refresh() for _ in range(20)))
        assert len(readings) == 2
        assert set(rest) == {read_version([str(tmp_path)], 10).name}
        await first

    asyncio.run(load())


def test_languages_are_named_in_pages(pi: Server, www: Path) -> None:
    """A page names the languages there are. Those whose file is the user's end with a plus, and it
    is served in place of the built-in one."""
    (www / "page.html").write_text('<html data-languages="">' + " " * 600)
    assert b'data-languages="de en id"' in get(pi, "/page.html").body
    folder = www / "languages"
    folder.mkdir()
    for name in ("fr.json", "de.json", "pt-br.json", "FR.json", "notes.txt", "../fr.json"):
        (folder / name).write_text(f'"{name}"')
    assert b'data-languages="de+ en fr+ id pt-br+"' in get(pi, "/page.html").body
    assert get(pi, f"/v/{present(pi)}/languages/de.json").json == "de.json"
    shutil.rmtree(folder)
    (www / "fr.json").unlink()
    (www / "page.html").unlink()


def test_parts_of_a_language(pi: Server, www: Path) -> None:
    """`TAG.first.json` is the part of a language's file that the list of pins needs, and
    `TAG.covers.json` what it needs for covers. A part is as fresh as the file, and kept as the file
    is. A file that is no JSON object is whole, and the page says what is wrong with it."""
    whole = json.loads((BUILT_IN_WWW / "languages/de.json").read_bytes())
    parts = {"first": ("name", "direction", "page", "kinds"), "covers": ("covers",)}
    tags = set()
    for base, (part, names) in product(("", f"/v/{present(pi)}"), parts.items()):
        path = f"{base}/languages/de.{part}.json"
        plain, packed = get(pi, path), get_gzip(pi, path)
        assert plain.json == {name: whole[name] for name in names}
        assert gzip.decompress(packed.body) == plain.body
        tags |= {plain.headers["ETag"], packed.headers["ETag"]}
        assert is_kept(plain) == path.startswith("/v/")
        assert get(pi, path.replace(f".{part}", "")).json == whole
    assert len(tags) == 4
    folder = www / "languages"
    folder.mkdir()
    for content in ('"de"', "{", "[" * 100_000, "{}", '{"page": {"on": "ein"}, "trust": {}}'):
        (folder / "de.json").write_text(content)
        expected = content.replace(', "trust": {}', "").replace(": ", ":").encode()
        found = get(pi, f"/v/{present(pi)}/languages/de.first.json")
        assert found.body == expected
        assert is_kept(found)
    for path in ("/languages/fr.first.json", "/languages/de.first.first.json", "/de.first.json"):
        assert get(pi, path).status == 404
    shutil.rmtree(folder)
