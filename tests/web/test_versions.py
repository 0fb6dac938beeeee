"""Versions in the addresses of static files: a browser keeps a file for a year, and every edit
gives new addresses."""

import asyncio
import gzip
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.web.context import BUILT_IN_WWW
from raspi_server.web.versions import Versions, read_version
from tests.support.http import Response, ask
from tests.support.server import Server, changing
from tests.web.test_static import EDITS, change, get, get_gzip, without_date

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


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The user's pages for the server of one test."""
    return make_pages(tmp_path)


@pytest.fixture
def server(start_server: Callable[..., Server], mine: Path) -> Server:
    return start_server("pins: {}\n")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's pages for the tests that put back what they change."""
    return make_pages(tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server], shared: Path) -> Server:
    return start_module_server(f"www: {shared}\n")


def make_pages(folder: Path) -> Path:
    (folder / "www" / "below").mkdir(parents=True)
    (folder / "www" / "mine.html").write_bytes(PAGE)
    (folder / "www" / "mine.js").write_bytes(SCRIPT)
    (folder / "www" / "below" / "photo.png").write_bytes(b"photo")
    return folder / "www"


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


def without_caching(response: Response) -> dict[str, str]:
    return {k: v for k, v in without_date(response).items() if k != "Cache-Control"}


def test_page_names_the_present_version(pi: Server) -> None:
    """In a page the server replaces `v/current/` at the start of addresses by the version, and
    nothing else. Length, tag and gzip are those of what it sends."""
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


def test_other_files_name_no_version(pi: Server, shared: Path) -> None:
    """In a file that is not HTML, and in a page too large for the memory, `v/current/` stays."""
    for name, content in {"other.js": LINKS, "other.txt": LINKS,
                          "huge.html": LINKS + b"x" * 256 * 1024}.items():  # fmt: skip
        (shared / name).write_bytes(content)
        answer = get(pi, f"/{name}")
        assert (answer.status, answer.body) == (200, content)
        assert get(pi, f"/{name}", If_None_Match=answer.headers["Etag"]).status == 304


def test_page_is_revalidated_by_its_tag(pi: Server) -> None:
    """The tag of a page proves that a browser has it. Its date does not, since the page names the
    version of other files; the date of another file does."""
    page, script = get(pi, "/mine.html"), get(pi, "/mine.js")
    again = get(pi, "/mine.html", If_None_Match=page.headers["Etag"])
    assert (again.status, again.body) == (304, b"")
    since = {"If_Modified_Since": page.headers["Last-Modified"]}
    assert get(pi, "/mine.html", **since).status == 200
    assert get(pi, "/mine.html", **since, If_None_Match="").status == 200
    assert get(pi, "/mine.js", If_Modified_Since=script.headers["Last-Modified"]).status == 304


def test_range_of_a_page(pi: Server) -> None:
    """A part of a page is one of what the server sends, not of the file."""
    whole = get(pi, "/mine.html")
    size = len(whole.body)
    for asked, begin, end in (("5-40", 5, 41), ("10-", 10, size), ("-7", size - 7, size)):
        part = get(pi, "/mine.html", Range=f"bytes={asked}", If_Range=whole.headers["Etag"])
        assert (part.status, part.body) == (206, whole.body[begin:end])
        assert part.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    assert get(pi, "/mine.html", Range=f"bytes={size}-").status == 416


@pytest.mark.parametrize("name", ["mine.js", "below/photo.png", "raspi.js"])
@pytest.mark.parametrize("form", ["gzip", "identity"])
def test_file_below_its_version_is_kept(pi: Server, name: str, form: str) -> None:
    """Below the present version a file is the same as at its own address, but a browser keeps it
    without asking again."""
    path = f"/v/{present(pi)}/{name}"
    usual, kept = (get(pi, each, Accept_Encoding=form) for each in (f"/{name}", path))
    assert (kept.status, kept.body) == (usual.status, usual.body) == (200, usual.body)
    assert without_caching(kept) == without_caching(usual)
    assert (is_kept(usual), is_kept(kept)) == (False, True)
    again = get(pi, path, Accept_Encoding=form, If_None_Match=kept.headers["Etag"])
    assert again.status == 304
    head = ask(pi, "HEAD", path, Accept_Encoding=form)
    assert (head.body, is_kept(head)) == (b"", True)


@pytest.mark.parametrize("version", ["current", "0123456789abcdef"])
def test_file_below_another_version_is_not_kept(pi: Server, version: str) -> None:
    """Below `current`, and below a version from before an edit, a file is served as it is now."""
    for _ in range(2):  # before and after a page was sent
        answer = get(pi, f"/v/{version}/mine.js")
        assert (answer.status, answer.body, is_kept(answer)) == (200, SCRIPT, False)
        present(pi)


def test_only_parts_of_pages_are_kept(pi: Server, shared: Path) -> None:
    """A page, a redirect and an error are never kept, nor is a file at its own address."""
    (shared / "below" / "index.html").write_text("below")
    version = present(pi)
    moved = get(pi, f"/v/{version}/below")
    assert (moved.status, moved.headers["Location"], is_kept(moved)) == (301, "./below/", False)
    for path in ("mine.html", "below/", "", "nothing.js", "mine.js?v=1"):
        assert not is_kept(get(pi, f"/{path}"))
        assert is_kept(get(pi, f"/v/{version}/{path}")) == path.startswith("mine.js")


def write_another(mine: Path) -> None:
    (mine / "below" / "another.txt").write_text("new")


def remove(mine: Path) -> None:
    (mine / "below" / "photo.png").unlink()


def rename(mine: Path) -> None:
    (mine / "mine.js").rename(mine / "yours.js")


def link(mine: Path) -> None:
    (mine / "below" / "linked.js").symlink_to(mine / "mine.js")


def hide_built_in(mine: Path) -> None:
    (mine / "icon.svg").write_text("<svg/>")


def add_well_known(mine: Path) -> None:
    (mine / ".well-known").mkdir()
    (mine / ".well-known" / "a.js").write_text("1")


@pytest.mark.parametrize(
    "edit", [write_another, remove, rename, link, hide_built_in, add_well_known]
)
def test_change_of_files_gives_a_new_version(mine: Path, edit: Callable[[Path], None]) -> None:
    """Any change of the parts of pages gives a new version, and none gives the same again."""

    def version() -> str:
        return read_version([str(mine), str(BUILT_IN_WWW)], 1000).name

    before = version()
    assert re.fullmatch("[0-9a-f]{16}", before)
    assert version() == before
    edit(mine)
    assert version() not in (before, "current")


def test_hidden_files_and_data_give_no_version(pi: Server, shared: Path) -> None:
    """An edit of a hidden file, such as an editor's, or of data, such as a camera's photo, gives no
    new version. The photo is never kept. A script that is a link changes with its target."""
    (shared / ".git").mkdir()
    edited = [shared / name for name in (".mine.html.swp", ".git/HEAD", "camera.jpg", "code.txt")]
    for file in edited:
        file.write_text("draft")
    before = present(pi)
    for file in edited:
        file.write_text("another draft")
    (shared / ".git" / "new").write_text("new")
    assert present(pi) == before
    photo = get(pi, f"/v/{before}/camera.jpg")
    assert (photo.body, is_kept(photo)) == (b"another draft", False)
    (shared / "link.js").symlink_to("code.txt")
    linked = present(pi)
    (shared / "code.txt").write_text("1 + 1")
    assert present(pi) not in (before, linked)


@pytest.mark.parametrize("edit", EDITS)
def test_edit_shows_at_the_next_page_load(
    pi: Server, shared: Path, edit: Callable[[Path, bytes], None]
) -> None:
    """An edited script is served at its old address, no longer kept there, while its page is open.
    It has a new address when the page is loaded again, also if it has the same length and date."""
    script = shared / "mine.js"
    page = get(pi, "/mine.html")
    before = version_in(page.body)
    assert is_kept(get(pi, f"/v/{before}/mine.js"))
    change(edit, script, SCRIPT.replace(b"42", b"43"))
    old = get(pi, f"/v/{before}/mine.js")
    assert (old.body, is_kept(old)) == (script.read_bytes(), False)
    assert is_kept(get(pi, f"/v/{before}/raspi.js"))
    again = get(pi, "/mine.html", If_None_Match=page.headers["Etag"])
    after = version_in(again.body)
    assert (again.status, after != before) == (200, True)
    kept = {version: is_kept(get(pi, f"/v/{version}/mine.js")) for version in (before, after)}
    assert kept == {before: False, after: True}
    assert gzip.decompress(get_gzip(pi, "/mine.html").body) == again.body
    script.write_bytes(SCRIPT)


def test_no_version_returns(pi: Server, shared: Path) -> None:
    """A file that came and went again leaves another version. Below the one from before, a browser
    may have kept that file."""
    before = present(pi)
    (shared / "icon.svg").write_text("<svg/>")
    assert get(pi, f"/v/{before}/icon.svg").body == b"<svg/>"
    (shared / "icon.svg").unlink()
    assert present(pi) != before


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
    """While another folder is in the place of the user's, none of its files is kept below the
    version from before, which returns with the first folder."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.js").write_text(f"// {name}")
        (tmp_path / name / "mine.html").write_bytes(PAGE)
    (tmp_path / "one" / "raspi.js").write_text("// mine")
    (tmp_path / "www").symlink_to("one")
    server = start_server("pins: {}\n")
    before = present(server)
    swap(server, tmp_path, 1)
    script, built_in = (get(server, f"/v/{before}/{name}") for name in ("mine.js", "raspi.js"))
    assert (script.body, is_kept(script)) == (b"// other", False)
    assert (built_in.body, is_kept(built_in)) == ((BUILT_IN_WWW / "raspi.js").read_bytes(), False)
    swap(server, tmp_path, 2)
    assert present(server) == before
    for name in ("mine.js", "raspi.js", "icon.svg"):
        assert is_kept(get(server, f"/v/{before}/{name}"))


def test_upgrade_gives_a_new_version(start_server: Callable[..., Server], mine: Path) -> None:
    """Another version of the program gives all files new addresses. A restart does not."""
    upgraded = "from raspi_server.web import versions; versions.__version__ = '9.9.9'"
    programs = [("-m", "raspi_server"), ("-m", "raspi_server"), changing(upgraded)]
    first, again, other = (
        present(start_server("pins: {}\n", program=program)) for program in programs
    )
    assert first == again != other


def test_too_many_files_for_a_version(start_server: Callable[..., Server], mine: Path) -> None:
    """If there are more files than may be looked up for a page, it leaves `v/current/` as it is.
    Browsers then ask for each file at each visit, and see every edit."""
    (mine / "below" / "extra.txt").write_text("one more")
    (mine / "loop").symlink_to(mine)  # not followed
    files = len([*mine.rglob("*")])
    assert read_version([str(mine)], files).name != "current"
    assert read_version([str(mine)], files - 1).name == "current"
    many = len([*BUILT_IN_WWW.rglob("*")])
    for n in range(many):
        (mine / "below" / f"{n}.txt").write_text("one of many")
    server = start_server("pins: {}\n", program=changing(max_versioned_files=many))
    for script in (SCRIPT, b"another"):
        (mine / "mine.js").write_bytes(script)
        assert get(server, "/mine.html").body == PAGE
        answer = get(server, "/v/current/mine.js")
        assert (answer.body, is_kept(answer)) == (script, False)


def test_folder_v_of_the_user(server: Server, mine: Path) -> None:
    """A folder `v` among the user's pages is served, except what looks like a version in it."""
    names = ("index.html", "film.mp4", "currently/film.mp4", "0123456789ABCDEF/a")
    hidden = ("current/film.mp4", "0123456789abcdef/film.mp4")
    for name in (*names, *hidden):
        (mine / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / "v" / name).write_text("mine")
    for name in ("", *names):
        answer = get(server, f"/v/{name}")
        assert (answer.body, is_kept(answer)) == (b"mine", False)
    for name in hidden:
        assert get(server, f"/v/{name}").status == 404
    assert get(server, f"/v/{present(server)}/v/film.mp4").body == b"mine"


def test_policy_is_the_same_below_a_version(pi: Server) -> None:
    """The built-in files have the strict policy, below a version, too. The user's do not."""
    version = present(pi)
    for name, is_built_in in {"raspi.js": True, "fleet/": True, "nothing": True,
                              "mine.js": False, "mine.html": False}.items():  # fmt: skip
        for below in ("", "/v/current", f"/v/{version}"):
            policy = get(pi, f"{below}/{name}").headers["Content-Security-Policy"]
            assert ("default-src 'self'" in policy) == is_built_in, (below, name)


def test_files_are_read_once_for_many_requests(tmp_path: Path) -> None:
    """Requests that come while the files are read share the next reading, which has every edit
    from before them."""
    readings = 0

    def folders() -> Iterator[str]:
        nonlocal readings
        readings += 1
        yield str(tmp_path)

    async def load() -> None:
        versions = Versions(lambda: [*folders()])
        first = asyncio.ensure_future(versions.refresh())
        while not readings:
            await asyncio.sleep(0)
        (tmp_path / "new.txt").write_text("new")
        rest = await asyncio.gather(*(versions.refresh() for _ in range(20)))
        assert readings == 2
        assert set(rest) == {read_version([str(tmp_path)], 10).name}
        await first

    asyncio.run(load())
