"""HTTP and HTTPS on one port: answers to plain HTTP, the authority, and the proof of trust."""

import plistlib
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.http import ask
from tests.support.server import Server
from tests.support.sockets import open_socket
from tests.support.websocket import WebSocketClient

CONFIG = """
ssl: true
access: {control: everyone}
pins: {lamp: {gpio: 17, mode: output}}
"""


def make_authority(folder: Path) -> Path:
    """Make an authority and a certificate in `tls`, as install.sh does; return the authority's."""
    script = Path(__file__).parents[2] / "scripts" / "make-cert.sh"
    subprocess.run([script, "--folder", folder / "tls"], check=True, capture_output=True)
    return folder / "tls" / "ca.crt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    make_authority(folder)
    (folder / "www" / "trust").mkdir(parents=True)
    (folder / "www" / "trust" / "mine.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def pi(folder: Path, start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG, at=folder)


@pytest.fixture
def trusting(folder: Path) -> ssl.SSLContext:
    """TLS of a phone that trusts the authority."""
    return ssl.create_default_context(cafile=folder / "tls" / "ca.crt")


def test_page_redirects_to_the_explanation(pi: Server) -> None:
    """A page asked for without https leads to the explanation, which has all its files."""
    for path, to in (("/", "/"), ("/private.txt", "/private.txt"), ("/apis", "/apis"),
                     ("/a/b?c=d", "/a/b%3Fc%3Dd")):  # fmt: skip
        answer = ask(pi, "GET", path)
        found = urljoin(f"http://x/pi{path}", answer.headers["Location"])  # relative, for proxies
        assert (answer.status, found) == (307, f"http://x/pi/trust/?to={to}")
    assert ask(pi, "GET", "/trust").headers["Location"] == "./trust/"
    page = ask(pi, "GET", "/trust/")
    assert page.status == 200 and b"Raspberry Pi" in page.body
    # A browser that cannot run the explanation has a way past it.
    assert b'href="../plain"' in page.body
    answer = ask(pi, "GET", "/plain?refresh=10")
    to = f"https://127.0.0.1:{pi.port}/plain?refresh=10"
    assert (answer.status, answer.headers["Location"]) == (307, to)
    for part in ("/trust/trust.js", "/trust/trust.css", "/languages/id.json", "/icon.svg"):
        assert ask(pi, "GET", part).status == 200


def test_nothing_but_the_explanation(pi: Server, trusting: ssl.SSLContext) -> None:
    """By plain HTTP a program gets the https address in an error; no pin, other file or cookie."""
    with WebSocketClient(pi.port, context=trusting) as viewer:
        assert viewer.receive("hello")["state"] == {"lamp": 0}
        for method in ("GET", "HEAD", "PUT", "POST", "OPTIONS"):
            for path in ("/api", "/api/pins/lamp", "/api/health", "/api/login", "/ws"):
                answer = ask(pi, method, path, {"value": 1})
                message = f"expected https: https://127.0.0.1:{pi.port}{path}"
                assert method == "HEAD" or answer.error == (403, "https-only", message)
                assert answer.status == 403 and "Set-Cookie" not in answer.headers
        assert ask(pi, "POST", "/private.txt").status == 403
        for path in ("..%2findex.html", "../index.html", ".%2e", "/etc/passwd", "mine.txt"):
            for folder in ("trust", "languages"):
                assert ask(pi, "GET", f"/{folder}/{path}").status in (307, 404), path
        assert viewer.receive("state")["pins"] == {"lamp": 0}


def test_forms_of_the_certificate(pi: Server, folder: Path) -> None:
    """The authority comes as a file, as a profile for Apple's devices, and as a fingerprint."""
    authority = folder / "tls" / "ca.crt"
    der = ssl.PEM_cert_to_DER_cert(authority.read_text())
    plain = ask(pi, "GET", "/trust/raspi-server.crt")
    assert plain.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert plain.body == der
    wrapped = ask(pi, "GET", "/trust/raspi-server.mobileconfig")
    assert wrapped.headers["Content-Type"] == "application/x-apple-aspen-config"
    profile = plistlib.loads(wrapped.body)
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    (payload,) = profile["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.security.root"
    assert payload["PayloadContent"] == der
    for key in ("PayloadUUID", "PayloadIdentifier"):
        assert profile[key] != payload[key]
    assert plistlib.loads(ask(pi, "GET", "/trust/raspi-server.mobileconfig").body) == profile
    facts = ask(pi, "GET", "/trust/authority.json").json
    command = ["openssl", "x509", "-in", authority, "-noout", "-fingerprint", "-sha256"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.strip().endswith(f"={facts['fingerprint']}")
    assert facts["name"].startswith("raspi-server ")


def test_certificate_of_another_authority(start_server, tmp_path) -> None:
    """An authority that did not sign the certificate is not offered; plain HTTP leads to https."""
    make_authority(tmp_path / "other").replace(make_authority(tmp_path))
    server = start_server(CONFIG)
    answer = ask(server, "GET", "/door?x=1")
    to = f"https://127.0.0.1:{server.port}/door?x=1"
    assert (answer.status, answer.headers["Location"]) == (307, to)
    for name in ("raspi-server.crt", "authority.json"):
        assert ask(server, "GET", f"/trust/{name}").status == 404


def test_without_https(start_server: Callable[..., Server]) -> None:
    """With `ssl: false` all is served by plain HTTP. Requests by https are rejected."""
    server = start_server("ssl: false\n")
    for path, status in (("/", 200), ("/api/pins", 200), ("/trust/authority.json", 404)):
        assert ask(server, "GET", path).status == status
    with open_socket(server.port) as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


def test_page_on_plain_http_may_open_the_proof(pi: Server, trusting: ssl.SSLContext) -> None:
    """A page on plain HTTP may open the proof, which sends nothing, but not the pins' WebSocket."""
    plain, ours = {"Origin": "http://127.0.0.1"}, {"Origin": "https://127.0.0.1"}
    with WebSocketClient(pi.port, headers=plain, context=trusting, path="/trust/proof") as opened:
        assert opened.close_code() == 1000
    with pytest.raises(AssertionError, match="403"):
        WebSocketClient(pi.port, headers=plain, context=trusting)
    with WebSocketClient(pi.port, headers=ours, context=trusting) as viewer:
        assert viewer.receive()["type"] == "hello"
