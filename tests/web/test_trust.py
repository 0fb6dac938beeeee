"""HTTP and HTTPS on one port: the responses to plain HTTP, the forms of the certificate authority,
and the check of a page that it is trusted."""

import asyncio
import hashlib
import plistlib
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.limits import DEFAULT, Limits
from raspi_server.net.connections import Connection, ConnectionLimiter
from raspi_server.net.listener import Listener
from tests.support.http import ask
from tests.support.server import LIMIT, Server, check_end
from tests.support.websocket import WebSocketClient

MAKE_CERT = Path(__file__).parents[2] / "scripts" / "make-cert.sh"
CONFIG = """
ssl: true
access: {control: everyone}
pins: {lamp: {gpio: 17, mode: output}}
"""


def make_authority(folder: Path) -> Path:
    """As install.sh does it, in a folder `tls`; the authority's certificate."""
    command = [MAKE_CERT, "--folder", folder / "tls"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "tls" / "ca.crt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    make_authority(folder)
    (folder / "www").mkdir()
    (folder / "www" / "private.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def pi(folder: Path) -> Iterator[Server]:
    file = folder / "config.yaml"
    file.write_text(CONFIG)
    server = Server(["run", "--simulate", "--config", str(file)])
    yield server
    check_end(server)


@pytest.fixture
def trusting(folder: Path) -> ssl.SSLContext:
    """A phone on which the authority was installed."""
    return ssl.create_default_context(cafile=folder / "tls" / "ca.crt")


def der(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "tls" / "ca.crt").read_text())


# Plain http where https is spoken


@pytest.mark.parametrize("path", ["/", "/index.html", "/private.txt", "/a/b?c=d", "/apis"])
def test_a_browser_is_led_to_the_explanation(pi: Server, path: str) -> None:
    """Whoever types the address without https finds a page that explains, not a broken line, and
    keeps the way they wanted to go."""
    answer = ask(pi, "GET", path)
    assert answer.status == 307
    assert (
        answer.headers["Location"] == f"/trust/?to={path.replace('?', '%3F').replace('=', '%3D')}"
    )
    assert ask(pi, "GET", "/trust").headers["Location"] == "./trust/"
    page = ask(pi, "GET", "/trust/")
    assert page.status == 200 and b"Raspberry Pi" in page.body
    for part in ("trust.js", "strings.js", "trust.css"):
        assert ask(pi, "GET", f"/trust/{part}").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/api", "/api/pins", "/api/pins/lamp", "/api/health", "/api/login", "/ws"]
)
def test_no_pin_is_shown_or_switched_by_plain_http(
    pi: Server, trusting: ssl.SSLContext, method: str, path: str
) -> None:
    """Programs are told the https address, and nothing is shown or switched before they use it."""
    answer = ask(pi, method, path, {"value": 1})
    assert answer.status == 403
    if method != "HEAD":
        message = f"expected https: https://127.0.0.1:{pi.port}{path}"
        assert answer.error == (403, "https-only", message)
    with WebSocketClient(pi.port, context=trusting) as viewer:
        assert next(viewer.messages())["state"] == {"lamp": 0}


def test_no_cookie_by_plain_http(pi: Server) -> None:
    """Nothing that signs in is ever asked for or given where everybody can read it."""
    for path in ("/", "/trust/", "/api/login"):
        assert "Set-Cookie" not in ask(pi, "GET", path).headers


@pytest.mark.parametrize(
    "path", ["/trust/../index.html", "/trust/..%2findex.html", "/trust/.%2e", "/trust//etc/passwd"]
)
def test_only_the_explanation_is_served_plainly(pi: Server, path: str) -> None:
    """Nothing but the page itself comes by plain http: no dashboard, none of the user's files."""
    answer = ask(pi, "GET", path)
    assert answer.status in (307, 404)


def test_a_foreign_name_is_refused_plainly_too(pi: Server) -> None:
    """A page that gave its name our address is not told the authority, or sent anywhere."""
    for path in ("/", "/trust/", "/trust/authority.json", "/trust/raspi-server.crt"):
        answer = ask(pi, "GET", path, Host="evil.example")
        assert answer.status == 421
        assert "Location" not in answer.headers


def test_both_on_one_port_at_once(pi: Server, trusting: ssl.SSLContext) -> None:
    """Plain and secure connections come and go beside each other."""
    with WebSocketClient(pi.port, context=trusting) as viewer:
        heard = viewer.messages()
        assert next(heard)["type"] == "hello"
        for _ in range(20):
            assert ask(pi, "GET", "/trust/").status == 200
        assert next(heard)["type"] in ("state", "health")


# The authority


def test_the_authority_in_every_form(pi: Server, folder: Path) -> None:
    """The certificate comes bare for Android and computers and as a profile for Apple's devices,
    each the very one that signed the server's."""
    bare = ask(pi, "GET", "/trust/raspi-server.crt")
    assert bare.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert bare.body == der(folder)
    wrapped = ask(pi, "GET", "/trust/raspi-server.mobileconfig")
    assert wrapped.headers["Content-Type"] == "application/x-apple-aspen-config"
    profile = plistlib.loads(wrapped.body)
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    (payload,) = profile["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == der(folder)
    identifiers = [each[key] for each in (profile, payload) for key in ("PayloadUUID",)]
    assert len(set(identifiers)) == 2
    again = plistlib.loads(ask(pi, "GET", "/trust/raspi-server.mobileconfig").body)
    assert again == profile, "installed twice, it replaces itself"


def test_the_fingerprint_is_the_one_that_openssl_shows(pi: Server, folder: Path) -> None:
    """The page, doctor and openssl show one fingerprint, so that people can compare it."""
    facts = ask(pi, "GET", "/trust/authority.json").json
    assert facts["fingerprint"].replace(":", "") == hashlib.sha256(der(folder)).hexdigest().upper()
    command = ["openssl", "x509", "-in", folder / "tls" / "ca.crt", "-noout", "-fingerprint"]
    shown = subprocess.run([*command, "-sha256"], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith(facts["fingerprint"])
    assert facts["name"].startswith("raspi-server ")


def test_a_certificate_of_another_authority(tmp_path: Path) -> None:
    """Where the authority beside the certificate did not sign it, nobody is told to trust it, and
    plain http leads to https at once."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    make_authority(ours)
    make_authority(other).replace(ours / "tls" / "ca.crt")
    (ours / "config.yaml").write_text(CONFIG)
    server = Server(["run", "--simulate", "--config", str(ours / "config.yaml")])
    try:
        answer = ask(server, "GET", "/door?x=1")
        location = answer.headers["Location"]
        assert (answer.status, location) == (307, f"https://127.0.0.1:{server.port}/door?x=1")
        assert ask(server, "GET", "/trust/raspi-server.crt").status == 404
        assert ask(server, "GET", "/trust/authority.json").status == 404
    finally:
        check_end(server)


def test_without_ssl_there_is_nothing_to_trust(start_server: Callable[..., Server]) -> None:
    """With `ssl: false` http is served as ever, and the authority is not to be had."""
    server = start_server("ssl: false\n")
    assert ask(server, "GET", "/").status == 200
    assert ask(server, "GET", "/api/pins").status == 200
    assert ask(server, "GET", "/trust/authority.json").status == 404


# Finding out


def test_a_page_on_plain_http_may_ask_whether_it_is_trusted(
    pi: Server, trusting: ssl.SSLContext
) -> None:
    """The proof opens for any page and says nothing; the pins' own WebSocket does not, not even for
    this server's page by plain http, which anybody on the network can alter."""
    plain, ours = {"Origin": "http://127.0.0.1"}, {"Origin": "https://127.0.0.1"}
    with WebSocketClient(pi.port, headers=plain, context=trusting, path="/trust/proof") as opened:
        assert opened.close_code() == 1000
    with pytest.raises(AssertionError, match="403"):
        WebSocketClient(pi.port, headers=plain, context=trusting)
    with WebSocketClient(pi.port, headers=ours, context=trusting) as viewer:
        assert next(viewer.messages())["type"] == "hello"


# The first byte


def test_https_to_a_plain_port_ends_at_once(start_server: Callable[..., Server]) -> None:
    """A browser that insists on https where http is spoken hears no, and does not hang."""
    server = start_server("ssl: false\n")
    with (
        socket.create_connection(("127.0.0.1", server.port), LIMIT) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("scheme", ["ssl: false\n", "ssl: true\n"])
def test_who_says_nothing_waits_for_nobody(folder: Path, scheme: str) -> None:
    """A thousand connections that say nothing keep nobody out, with and without TLS, and a stop
    does not wait for them."""
    file = folder / "silent.yaml"
    file.write_text(scheme)
    server = Server(["run", "--simulate", "--config", str(file)])
    try:
        silent = [socket.create_connection(("127.0.0.1", server.port), LIMIT) for _ in range(1000)]
        assert ask(server, "GET", "/trust/").status == 200
        assert server.stop() == 0
        for each in silent:
            assert each.recv(1) == b""
            each.close()
    finally:
        check_end(server)


def test_of_too_many_who_say_nothing_the_first_goes(start_server: Callable[..., Server]) -> None:
    """Whoever fills the house with silent connections pushes out their own, and nobody else."""
    server = start_server("ssl: false\n")
    silent = [
        socket.create_connection(("127.0.0.1", server.port), LIMIT)
        for _ in range(DEFAULT.max_silent_connections + 1)
    ]
    assert silent[0].recv(1) == b""
    silent[1].sendall(b"GET /api HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert silent[1].recv(15) == b"HTTP/1.1 200 OK"
    assert ask(server, "GET", "/api").status == 200
    for each in silent:
        each.close()


def test_silent_connection_is_closed() -> None:
    """The wait for the first byte has an end, and an early byte is not waited for."""
    limits = Limits(first_byte_timeout_s=0.05)

    async def call() -> tuple[bytes, bytes]:
        def accept(stream: Connection, address: tuple[str, int]) -> None:
            asyncio.ensure_future(echo(stream))

        async def echo(stream: Connection) -> None:
            await stream.write(await stream.read_bytes(1))
            stream.close()

        limiter = ConnectionLimiter(limits)
        listener = Listener(("127.0.0.1", 0), None, limiter, accept, accept, limits)
        listener.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        silent = await reader.read()
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"G")
        answer = await reader.readexactly(1)
        writer.close()
        listener.close()
        return silent, answer

    assert asyncio.run(asyncio.wait_for(call(), LIMIT)) == (b"", b"G")
