"""HTTP and HTTPS on one port: answers to plain HTTP, the certificate authority in its forms, and
the proof that a device trusts it."""

import asyncio
import hashlib
import plistlib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raspi_server.limits import Limits
from raspi_server.net.connections import Connection, ConnectionLimiter
from raspi_server.net.listener import Listener
from tests.support.http import ask
from tests.support.server import LIMIT, Server, check_end
from tests.support.sockets import open_socket
from tests.support.websocket import WebSocketClient

MAKE_CERT = Path(__file__).parents[2] / "scripts" / "make-cert.sh"
CONFIG = """
ssl: true
access: {control: everyone}
pins: {lamp: {gpio: 17, mode: output}}
"""


def make_authority(folder: Path) -> Path:
    """Make an authority and a certificate in `tls`, as install.sh does; return the authority's."""
    command = [MAKE_CERT, "--folder", folder / "tls"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "tls" / "ca.crt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
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
    """TLS of a phone that trusts the authority."""
    return ssl.create_default_context(cafile=folder / "tls" / "ca.crt")


def der(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "tls" / "ca.crt").read_text())


# Plain HTTP where HTTPS is on


def test_page_redirects_to_the_explanation(pi: Server) -> None:
    """A page asked for without https redirects to the page that explains it, with the path that was
    asked for. That page has all its files."""
    for path, to in (("/", "/"), ("/private.txt", "/private.txt"), ("/apis", "/apis"),
                     ("/a/b?c=d", "/a/b%3Fc%3Dd")):  # fmt: skip
        answer = ask(pi, "GET", path)
        assert (answer.status, answer.headers["Location"]) == (307, f"/trust/?to={to}")
    assert ask(pi, "GET", "/trust").headers["Location"] == "./trust/"
    page = ask(pi, "GET", "/trust/")
    assert page.status == 200 and b"Raspberry Pi" in page.body
    for part in ("/trust/trust.js", "/trust/strings.js", "/trust/trust.css", "/icon.svg"):
        assert ask(pi, "GET", part).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "OPTIONS"])
def test_no_pin_is_shown_or_switched(pi: Server, trusting: ssl.SSLContext, method: str) -> None:
    """A program gets the https address in an error. Nothing is shown or switched."""
    for path in ("/api", "/api/pins/lamp", "/api/health", "/api/login", "/ws"):
        answer = ask(pi, method, path, {"value": 1})
        assert answer.status == 403
        if method != "HEAD":
            message = f"expected https: https://127.0.0.1:{pi.port}{path}"
            assert answer.error == (403, "https-only", message)
    assert ask(pi, "POST", "/private.txt").status == 403
    with WebSocketClient(pi.port, context=trusting) as viewer:
        assert viewer.receive("hello")["state"] == {"lamp": 0}


def test_only_the_explanation_is_served(pi: Server) -> None:
    """No other file is served: not the dashboard, and none of the user's. No cookie is set."""
    for path in ("..%2findex.html", "../index.html", ".%2e", "/etc/passwd", "..%2fprivate.txt"):
        assert ask(pi, "GET", f"/trust/{path}").status in (307, 404), path
    for path in ("/", "/trust/", "/api/login"):
        assert "Set-Cookie" not in ask(pi, "GET", path).headers


def test_foreign_host(pi: Server) -> None:
    """A page with a foreign name for our address gets neither the certificate nor a redirect."""
    for path in ("/", "/trust/", "/trust/authority.json", "/trust/raspi-server.crt"):
        answer = ask(pi, "GET", path, Host="evil.example")
        assert (answer.status, answer.headers["Location"]) == (421, None)


def test_both_schemes_at_the_same_time(pi: Server, trusting: ssl.SSLContext) -> None:
    """Plain and secure connections are served beside each other."""
    with WebSocketClient(pi.port, context=trusting) as viewer:
        viewer.receive("hello")
        for _ in range(5):
            assert ask(pi, "GET", "/trust/").status == 200
            assert viewer.receive("state")


# The authority


def test_forms_of_the_certificate(pi: Server, folder: Path) -> None:
    """The authority's certificate comes as a plain file for Android and computers, and as a profile
    for Apple's devices. A second installation of the profile replaces the first."""
    plain = ask(pi, "GET", "/trust/raspi-server.crt")
    assert plain.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert plain.body == der(folder)
    wrapped = ask(pi, "GET", "/trust/raspi-server.mobileconfig")
    assert wrapped.headers["Content-Type"] == "application/x-apple-aspen-config"
    profile = plistlib.loads(wrapped.body)
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    (payload,) = profile["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == der(folder)
    for key in ("PayloadUUID", "PayloadIdentifier"):
        assert profile[key] != payload[key]
    assert plistlib.loads(ask(pi, "GET", "/trust/raspi-server.mobileconfig").body) == profile


def test_fingerprint_is_that_of_openssl(pi: Server, folder: Path) -> None:
    """The page shows the fingerprint that openssl shows, so that people can compare them."""
    facts = ask(pi, "GET", "/trust/authority.json").json
    assert facts["fingerprint"].replace(":", "") == hashlib.sha256(der(folder)).hexdigest().upper()
    command = ["openssl", "x509", "-in", folder / "tls" / "ca.crt", "-noout", "-fingerprint"]
    shown = subprocess.run([*command, "-sha256"], capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith(facts["fingerprint"])
    assert facts["name"].startswith("raspi-server ")


def test_certificate_of_another_authority(tmp_path: Path) -> None:
    """If the authority beside the certificate did not sign it, it is not offered, and plain HTTP
    redirects to https immediately."""
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


def test_without_https(start_server: Callable[..., Server]) -> None:
    """With `ssl: false` everything is served by plain HTTP, and no authority is offered. A browser
    that insists on https is rejected immediately."""
    server = start_server("ssl: false\n")
    assert ask(server, "GET", "/").status == 200
    assert ask(server, "GET", "/api/pins").status == 200
    assert ask(server, "GET", "/trust/authority.json").status == 404
    with (
        open_socket(server.port) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


# Proof of trust, and the first byte


def test_page_on_plain_http_may_open_the_proof(pi: Server, trusting: ssl.SSLContext) -> None:
    """The proof opens for any page and sends nothing. The pins' own WebSocket does not open even
    for this server's page on plain HTTP, which anyone on the network can alter."""
    plain, ours = {"Origin": "http://127.0.0.1"}, {"Origin": "https://127.0.0.1"}
    with WebSocketClient(pi.port, headers=plain, context=trusting, path="/trust/proof") as opened:
        assert opened.close_code() == 1000
    with pytest.raises(AssertionError, match="403"):
        WebSocketClient(pi.port, headers=plain, context=trusting)
    with WebSocketClient(pi.port, headers=ours, context=trusting) as viewer:
        assert viewer.receive()["type"] == "hello"


def test_silent_connection_is_closed() -> None:
    """A connection that sends nothing is closed after a time. A first byte is passed on."""
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
