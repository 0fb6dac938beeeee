"""Requests for files that come again on one connection: answered as the first time, and never as it
is no more."""

import asyncio
import contextlib
import gzip
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from raspi_server.net.connections import PlainConnection
from raspi_server.web import repeats
from raspi_server.web.context import BUILT_IN_WWW
from raspi_server.web.repeats import Repeats

from .conftest import LIMIT, Server
from .test_files import lengthen, replace, rewrite, rewrite_with_old_date

TEXT = b"".join(b"%d green bottles\n" % number for number in range(100))


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    www = tmp_path_factory.mktemp("house") / "www"
    www.mkdir()
    (www / "bottles.txt").write_bytes(TEXT)
    (www / "noise.bin").write_bytes(os.urandom(60_000))
    return www


@pytest.fixture(scope="module")
def pair(www: Path) -> str:
    """A line of the configuration for https."""
    subprocess.run(
        ["openssl", "req", "-x509", "-noenc", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-days", "30", "-subj", "/CN=test",
         "-keyout", www.parent / "key.pem", "-out", www.parent / "cert.pem",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return "ssl: {certificate: cert.pem, key: key.pem}\n"


@pytest.fixture(scope="module", params=["http", "https"])
def house(www: Path, pair: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    file = www.parent / f"{request.param}.yaml"
    file.write_text("pins: {}\n" + (pair if request.param == "https" else ""))
    server = Server(["run", "--simulate", "--config", str(file)])
    yield server
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


def connect(
    server: Server, receive_buffer: int | None = None, scheme: str | None = None
) -> socket.socket:
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(LIMIT)
    connection.connect(("127.0.0.1", server.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if (scheme or server.url.partition(":")[0]) == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(connection)
    return connection


class Phone:
    """One connection, kept open; `get` asks in always the same words."""

    def __init__(
        self, server: Server, receive_buffer: int | None = None, scheme: str | None = None
    ) -> None:
        self.socket = connect(server, receive_buffer, scheme)
        self._came = b""

    def __enter__(self) -> "Phone":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def ask(self, path: str, **headers: str) -> None:
        self.socket.sendall(request(path, **headers))

    def get(self, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        self.ask(path, **headers)
        return self.answer()

    def answer(self) -> tuple[int, http.client.HTTPMessage, bytes]:
        """The next one, to its last byte and no further."""
        while b"\r\n\r\n" not in self._came:
            self._read()
        head, _, self._came = self._came.partition(b"\r\n\r\n")
        status, _, lines = head.partition(b"\r\n")
        found = re.fullmatch(rb"HTTP/1\.1 (\d+) .*", status)
        assert found, head
        headers = http.client.HTTPMessage()
        for line in lines.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            headers[name] = value
        size = 0 if found[1] == b"304" else int(headers.get("Content-Length", "0"))
        while len(self._came) < size:
            self._read()
        body, self._came = self._came[:size], self._came[size:]
        return int(found[1]), headers, body

    def _read(self) -> None:
        more = self.socket.recv(65536)
        assert more, f"the server hung up after {self._came!r}"
        self._came += more

    def is_hung_up(self) -> bool:
        return self._came == b"" and self.socket.recv(1) == b""


def request(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    host = "" if "Host" in headers else "Host: 127.0.0.1\r\n"
    return f"{method} {path} HTTP/1.1\r\n{host}{named}\r\n".encode() + body


@pytest.fixture
def phone(house: Server) -> Iterator[Phone]:
    with Phone(house) as phone:
        yield phone


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("edit", [rewrite, rewrite_with_old_date, replace, lengthen])
def test_an_edit_shows_at_once(
    phone: Phone, www: Path, edit: Callable[[Path, bytes], None], packed: bool
) -> None:
    """Whoever asks again, on the same connection and in the same words, sees an edit at once, and
    is not told that what they have is still the one."""
    page = www / "news.html"
    page.write_bytes(b"old." * 300)
    headers = {"Accept_Encoding": "gzip"} if packed else {}
    etag = phone.get("/news.html", **headers)[1]["Etag"]
    for _ in range(3):
        assert phone.get("/news.html", **headers)[1]["Etag"] == etag
        assert phone.get("/news.html", If_None_Match=etag, **headers)[0] == 304
    written = page.stat().st_ctime_ns
    while page.stat().st_ctime_ns == written:  # the file system's clock ticks every few ms
        edit(page, b"new!" * 300)
    for _ in range(2):
        status, _, body = phone.get("/news.html", **headers)
        assert (status, gzip.decompress(body) if packed else body) == (200, page.read_bytes())
        assert phone.get("/news.html", If_None_Match=etag, **headers)[0] == 200


def test_my_own_page_wins_at_once(phone: Phone, www: Path) -> None:
    """A page of the user's own takes the place of the built-in one at the next request, and when it
    goes the built-in one is back."""
    built_in = (BUILT_IN_WWW / "dom.js").read_bytes()
    mine = www / "dom.js"
    for _ in range(2):
        assert [phone.get("/dom.js")[2] for _ in range(3)] == [built_in] * 3
        mine.write_text("mine")
        assert [phone.get("/dom.js")[2] for _ in range(3)] == [b"mine"] * 3
        mine.unlink()


def test_my_own_start_page_wins_at_once(phone: Phone, www: Path) -> None:
    """The same for `/`, which means a file of another name."""
    built_in = (BUILT_IN_WWW / "index.html").read_bytes()
    assert [phone.get("/")[2] for _ in range(3)] == [built_in] * 3
    (www / "index.html").write_text("mine")
    assert phone.get("/")[2] == b"mine"
    (www / "index.html").unlink()
    assert phone.get("/")[2] == built_in


def test_a_page_that_turns_into_a_way_out(phone: Phone, www: Path, tmp_path: Path) -> None:
    """A page that was served, and becomes a link to what is outside, is served no more."""
    page, secret = www / "window.txt", tmp_path / "secret.txt"
    page.write_text("a view")
    secret.write_text("secret")
    assert [phone.get("/window.txt")[2] for _ in range(3)] == [b"a view"] * 3
    page.unlink()
    page.symlink_to(secret)
    assert [phone.get("/window.txt")[0] for _ in range(3)] == [404] * 3
    page.unlink()


def test_every_answer_has_the_present_date(phone: Phone) -> None:
    """What is repeated says when it was said."""
    first = phone.get("/bottles.txt")[1]["Date"]
    while (date := phone.get("/bottles.txt")[1]["Date"]) == first:
        pass
    late = datetime.now(UTC) - parsedate_to_datetime(date)
    assert timedelta(0) <= late < timedelta(seconds=2)


def test_only_files_are_repeated(phone: Phone) -> None:
    """What comes after a file is asked for anew each time: the pins are as they are now."""
    answers = set()
    for _ in range(3):
        assert phone.get("/bottles.txt")[2] == TEXT
        answers |= {phone.get("/api/pins")[2] for _ in range(3)}
    assert len(answers) == 9  # each has the time


GET = request("/bottles.txt")


@pytest.mark.parametrize(
    ("pieces", "statuses"),
    [
        ([GET], [200]),
        ([GET[:1], GET[1:]], [200]),
        ([GET[:30], GET[30:-2], GET[-2:]], [200]),
        ([GET + GET], [200, 200]),
        ([GET + GET[:10], GET[10:] + GET, GET], [200] * 4),
        ([GET.replace(b"\r\n", b"\n")], [200]),
        ([GET.replace(b"\r\n", b"\n") + GET], [200, 200]),
        ([request("/bottles.txt", Content_Length="0")] * 3, [200] * 3),
        ([request("/bottles.txt", Content_Length=str(len(GET))) + GET] * 2, [200] * 2),
        ([request("/bottles.txt", Content_Length=str(len(GET))), GET] * 3, [200] * 3),
        ([request("/bottles.txt", Transfer_Encoding="chunked"), b"0\r\n\r\n"] * 3, [200] * 3),
        ([request("/api/login", "POST", b"{}", Content_Length="2"), GET, GET], [422, 200, 200]),
        ([GET, request("/nothing"), GET, request("/nothing"), GET], [200, 404, 200, 404, 200]),
        ([request("/bottles.txt", Range="bytes=0-4")] * 3, [206] * 3),
    ],
    ids=str,
)
def test_however_the_bytes_come(house: Server, pieces: list[bytes], statuses: list[int]) -> None:
    """Requests in pieces, several at once, with bodies, with bare line feeds: each has its answer,
    in order, and nothing is taken for what it is not. One piece is sent as soon as the server has
    looked at the one before."""
    with Phone(house) as phone, Phone(house) as other:
        for _ in range(3):
            assert phone.get("/bottles.txt")[2] == TEXT
        for piece in pieces:
            phone.socket.sendall(piece)
            assert other.get("/bottles.txt")[0] == 200  # asked later, and so answered later
        assert [phone.answer()[0] for _ in statuses] == statuses
        assert phone.get("/bottles.txt")[2] == TEXT


def test_head_is_no_get(phone: Phone) -> None:
    """HEAD has no body, however often it is asked, and takes no other's."""
    for _ in range(3):
        phone.socket.sendall(request("/bottles.txt", "HEAD") + GET)
        head, _, rest = b"", b"", b""
        while not rest.endswith(TEXT):
            rest += phone.socket.recv(65536)
        head, _, rest = rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert rest.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_that_is_to_end_ends(house: Server, version: str) -> None:
    """Whoever asks for it is hung up on after the answer, also when others did so before."""
    last = request("/bottles.txt", Connection="close").replace(
        b"HTTP/1.1", f"HTTP/{version}".encode()
    )
    for _ in range(3):
        with Phone(house) as phone:
            assert phone.get("/bottles.txt")[2] == TEXT
            phone.socket.sendall(last)
            assert phone.answer()[2] == TEXT
            assert phone.is_hung_up()


def test_a_slow_phone_gets_all_of_it(house: Server, www: Path) -> None:
    """Who asks and asks and does not read finds every answer whole in the end: what the kernel did
    not take is not lost, and nothing comes between."""
    noise = (www / "noise.bin").read_bytes()
    with Phone(house, 4096) as slow, Phone(house) as other:
        assert slow.get("/noise.bin")[2] == noise
        assert slow.get("/noise.bin")[2] == noise
        for _ in range(80):
            slow.ask("/noise.bin")
            assert other.get("/bottles.txt")[0] == 200
        for _ in range(80):  # while a rest of the one before may still wait
            slow._read()
            slow.ask("/noise.bin")
        for _ in range(160):
            assert slow.answer()[2] == noise


def ends() -> tuple[socket.socket, PlainConnection]:
    """A phone's end of a connection, and ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname(), LIMIT)
        stream = PlainConnection(server.accept()[0])
    theirs.setblocking(False)
    return theirs, stream


def test_nothing_comes_between() -> None:
    """While the rest of an answer waits to go out, the next request is left to Tornado, and its
    answer comes behind."""
    kept = Repeats(lambda: None)
    kept.keep(GET, b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\nbottles", ())
    large = os.urandom(8_000_000)

    async def live() -> None:
        theirs, stream = ends()
        stream.may_repeat(kept, ())
        next_head = stream.read_until_regex(rb"\r\n\r\n", 65536)
        theirs.sendall(GET)
        came = b""
        while not came.endswith(b"bottles"):  # not left to Tornado
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                came += theirs.recv(1000)
        stream.write(large)
        assert stream.writing()
        came = theirs.recv(100_000)  # now the kernel has room again
        theirs.sendall(GET)
        while len(came) < len(large):
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                came += theirs.recv(1_000_000)
        assert came == large
        assert await next_head == GET
        stream.close()
        theirs.close()

    asyncio.run(live())


def test_tornado_hears_of_a_busy_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is repeated, Tornado hears of a connection often enough not to take it for a
    silent one."""
    kept = Repeats(lambda: None)
    kept.keep(GET, b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\nbottles", ())

    async def live() -> None:
        theirs, stream = ends()
        stream.may_repeat(kept, ())
        next_head = stream.read_until_regex(rb"\r\n\r\n", 65536)
        came = b""
        theirs.sendall(GET)
        while not came.endswith(b"bottles"):
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                came += theirs.recv(1000)
        assert not next_head.done()
        monkeypatch.setattr(repeats, "RENEW", 0.0)
        theirs.sendall(GET)
        assert await asyncio.wait_for(next_head, LIMIT) == GET
        stream.close()
        theirs.close()

    asyncio.run(live())


def test_a_name_that_is_no_longer_ours(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A name that a reload took away is refused at once, and one that it brought is answered."""
    server = start_server("access: {hosts: [old.example]}\n")
    file = tmp_path / "config-0.yaml"
    with Phone(server) as phone:
        names = {name: [phone.get("/dom.js", Host=name)[0] for _ in range(3)]
                 for name in ("old.example", "new.example")}  # fmt: skip
        assert names == {"old.example": [200] * 3, "new.example": [421] * 3}
        file.write_text("access: {hosts: [new.example]}\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log(r"serving", again=1)
        names = {name: [phone.get("/dom.js", Host=name)[0] for _ in range(3)]
                 for name in ("old.example", "new.example")}  # fmt: skip
        assert names == {"old.example": [421] * 3, "new.example": [200] * 3}


def test_other_folders_after_a_reload(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Pages come from the folder that a reload named, also to who asks in the words of before."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.html").write_text(folder)
    server = start_server("www: one\n")
    with Phone(server) as phone:
        assert [phone.get("/page.html")[2] for _ in range(3)] == [b"one"] * 3
        (tmp_path / "config-0.yaml").write_text("www: two\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log(r"serving", again=1)
        assert [phone.get("/page.html")[2] for _ in range(3)] == [b"two"] * 3


def test_what_was_answered_to_https_is_not_for_plain_http(
    start_server: Callable[..., Server], tmp_path: Path, pair: str, www: Path
) -> None:
    """On a port for https, who comes by plain http is led to the explanation, whatever others were
    answered to the same words, and whatever was asked for before on that connection."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((www.parent / name).read_bytes())
    server = start_server(f"pins: {{}}\n{pair}")
    with Phone(server) as secure, Phone(server, scheme="http") as plain:
        assert [secure.get("/")[0], secure.get("/")[0]] == [200, 200]
        assert plain.get("/icon.svg")[0] == 200
        assert plain.get("/")[0] == 307


def test_the_log_tells_of_each(start_server: Callable[..., Server]) -> None:
    """At `log_level: debug` the log tells of every request, the repeated ones included."""
    server = start_server("log_level: debug\n")
    with Phone(server) as phone:
        for _ in range(3):
            assert phone.get("/dom.js")[0] == 200
    server.wait_for_log(r"GET /dom\.js: 200", again=2)


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many different requests there are, only the latest are kept; nor are any that would
    fill all alone, or say what is for one alone."""
    monkeypatch.setattr(repeats, "MOST", 10_000)
    kept = Repeats(lambda: None)
    answer = b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n" + b"x" * 900
    for number in range(100):
        kept.keep(b"%d" % number, answer, ())
        assert kept.answer(b"0")  # asked for all the time, and so among the latest
    found = [number for number in range(100) if kept.answer(b"%d" % number)]
    assert found == [0, *range(91, 100)]
    for refused in (
        answer.replace(b"200 OK", b"404 Not Found"),
        answer.replace(b"Date: now", b"Date: now\r\nSet-Cookie: a=b"),
        answer.replace(b"Date: now", b"Age: 0"),
        answer + bytes(repeats.LARGEST),
    ):
        kept.keep(b"refused", refused, ())
        assert kept.answer(b"refused") is None
    kept.keep(b"x" * 3000, answer, ())
    assert kept.answer(b"x" * 3000) is None
