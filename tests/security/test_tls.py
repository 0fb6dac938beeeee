"""HTTPS and WSS with a certificate authority made with openssl as scripts/make-cert.sh makes one,
and the errors of invalid certificates."""

import asyncio
import http.client
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.support.server import LIMIT, Server, changing

NOW = datetime.now(UTC)
CONFIG = """
access: {control: everyone}
pins: {lamp: {gpio: 17, mode: output}}
"""
CA_CONFIG = """
[ca]
default_ca = house
[house]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
default_md = sha256
policy = any
x509_extensions = server
[any]
commonName = supplied
[server]
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
"""


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path

    def config(self) -> str:
        return f"ssl: {{certificate: {self.certificate}, key: {self.key}}}\n"


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.cnf").write_text(CA_CONFIG)
        (folder / "index.txt").touch()
        self.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=House")
        (folder / "privkey.pem").rename(folder / "ca.key")

    def openssl(self, command: str) -> None:
        if command.startswith("req -x509"):
            command += " -out ca.crt -days 9 -addext basicConstraints=critical,CA:TRUE"
            command += " -addext keyUsage=critical,keyCertSign,cRLSign"
        done = subprocess.run(
            ["openssl", *shlex.split(command)], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def issue(self, name: str, start: timedelta, end: timedelta) -> Pair:
        """A server certificate that is valid from `start` to `end`, counted from now."""
        self.openssl(
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}"
            f" -keyout {name}.key -out {name}.csr"
        )
        dates = [f"{NOW + moment:%Y%m%d%H%M%SZ}" for moment in (start, end)]
        self.openssl(
            f"ca -batch -config ca.cnf -rand_serial -notext -in {name}.csr -out {name}.crt"
            f" -startdate {dates[0]} -enddate {dates[1]}"
        )
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def trusting(self) -> ssl.SSLContext:
        """Return the TLS context of a phone on which this authority was installed."""
        return ssl.create_default_context(cafile=self.folder / "ca.crt")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Pair:
    return authority.issue("good", timedelta(days=-1), timedelta(days=7))


def serve(folder: Path, config: str) -> Iterator[Server]:
    file = folder / "config.yaml"
    file.write_text(config + CONFIG)
    server = Server(["run", "--simulate", "--config", str(file)])
    yield server
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def pi(good: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves with `ssl: true`, so from `tls` beside config.yaml."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "tls").mkdir()
    shutil.copy(good.certificate, folder / "tls" / "server.crt")
    shutil.copy(good.key, folder / "tls" / "server.key")
    yield from serve(folder, "ssl: true\n")


@pytest.fixture(scope="module")
def expired(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pair = authority.issue("expired", timedelta(days=-9), timedelta(days=-2))
    yield from serve(tmp_path_factory.mktemp("expired"), pair.config())


@pytest.fixture(scope="module")
def early(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pair = authority.issue("early", timedelta(days=2), timedelta(days=9))
    yield from serve(tmp_path_factory.mktemp("early"), pair.config())


def ask(
    server: Server, context: ssl.SSLContext, path: str, method: str = "GET", body: str | None = None
) -> Any:
    """One request by https; the answer's JSON."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", server.port, timeout=LIMIT, context=context
    )
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        assert response.status == 200
        return json.loads(response.read())
    finally:
        connection.close()


def wellness(server: Server, context: ssl.SSLContext) -> tuple[str, list[str]]:
    """The status and its reasons, by https."""
    health = ask(server, context, "/api/health")
    return health["status"], health["reasons"]


def hello(server: Server, context: ssl.SSLContext) -> Any:
    """The first message by wss."""

    async def watch() -> Any:
        connection = await websocket_connect(HTTPRequest(server.ws_url, ssl_options=context))
        try:
            return json.loads(str(await connection.read_message()))
        finally:
            connection.close()
            while await connection.read_message() is not None:
                pass

    return asyncio.run(asyncio.wait_for(watch(), LIMIT))


def careless() -> ssl.SSLContext:
    """Return the TLS context of a browser after `visit anyway`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is: that is why we ask
        context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or OpenSSL would not even offer it
    return context


def shake_hands(port: int, context: ssl.SSLContext) -> str | None:
    """The version of TLS that both agreed on."""
    with (
        socket.create_connection(("127.0.0.1", port), LIMIT) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version()


# A certificate in order


def test_https_and_wss_on_one_port(pi: Server, authority: Authority) -> None:
    """With a certificate, page, API and WebSocket are all secure, on one port, for all who trust
    its authority."""
    assert pi.url.startswith("https://")
    context = authority.trusting()
    assert ask(pi, context, "/api")["name"] == "raspi-server"
    assert ask(pi, context, "/api/pins/lamp", "PUT", '{"value": 1}')["value"] == 1
    assert hello(pi, context)["state"] == {"lamp": 1}


def test_strangers_do_not_trust_it(pi: Server) -> None:
    """Who does not know the authority is not served as if they did."""
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        ask(pi, ssl.create_default_context(), "/api")


def test_a_good_certificate_is_not_mentioned(pi: Server, authority: Authority) -> None:
    """Of a certificate that is in order nothing is said, and the health is ok."""
    context = authority.trusting()
    assert wellness(pi, context) == ("ok", [])
    notices = hello(pi, context)["server"]["notices"]
    assert [notice["code"] for notice in notices] == ["simulated", "open"]
    assert "certificate" not in pi.log


def test_without_ssl_it_is_http(start_server: Callable[..., Server]) -> None:
    """With `ssl: false` the server speaks plain http."""
    server = start_server("ssl: false\n")
    assert server.url.startswith("http://")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    connection.request("GET", "/api/health")
    status = connection.getresponse().status
    connection.close()
    assert status == 200


@pytest.mark.parametrize(
    "version, name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_today_s_tls(pi: Server, authority: Authority, version: ssl.TLSVersion, name: str) -> None:
    """TLS 1.2 and TLS 1.3 are spoken."""
    assert shake_hands(pi.port, only(authority.trusting(), version)) == name


def test_yesterday_s_tls(pi: Server) -> None:
    """TLS 1.1, which browsers gave up, is refused."""
    old = only(careless(), ssl.TLSVersion.TLSv1_1)
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
        shake_hands(pi.port, old)


GROUPS = ("X25519", "P-256", "P-384")
OTHER_GROUPS = ("ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192", "P-521", "X448")


def agrees(port: int, group: str, *more: str) -> bool:
    """Return whether a client with this one group can connect."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-groups", group, *more],
        input="",
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    agreed = "BEGIN CERTIFICATE" in done.stdout
    assert agreed == (done.returncode == 0), done
    return agreed


@pytest.mark.parametrize("group", GROUPS)
def test_three_groups_are_agreed_to(pi: Server, group: str) -> None:
    """A client that knows only one of the three groups connects; by TLS 1.2 it has to know that of
    the certificate besides."""
    assert agrees(pi.port, group)
    assert agrees(pi.port, ":".join({group, "P-256"}), "-tls1_2")


@pytest.mark.parametrize("group", OTHER_GROUPS)
def test_no_other_group_is_agreed_to(pi: Server, group: str) -> None:
    """Finite fields, of which one hello holds up everybody for a tenth of a second, and all other
    curves are refused."""
    assert not agrees(pi.port, group)


def test_what_the_machine_says_of_tls_stays(good: Pair, tmp_path: Path) -> None:
    """Where the machine's own openssl.cnf is stricter, that holds, too; what it says of groups does
    not, and a file that is not there says nothing."""
    strict = tmp_path / "openssl.cnf"
    strict.write_text(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = house\n"
        "[house]\nOptions = -SessionTicket\nCurves = P-521\n"
    )
    program = (
        "import pathlib, ssl, sys; from raspi_server.config.schema import CertificateFiles\n"
        "from raspi_server.security import key_exchange, tls\n"
        "files = [pathlib.Path(name) for name in sys.argv[1:3]]\n"
        "pair = CertificateFiles(certificate=files[0], key=files[1])\n"
        "context = tls.server_context(pair)\n"
        "assert key_exchange.is_whole(context)\n"
        "print(bool(context.options & ssl.OP_NO_TICKET))\n"
    )
    for file, has_no_tickets in ((strict, True), (tmp_path / "missing.cnf", False)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, *map(str, good)],
            env={**os.environ, "OPENSSL_CONF": str(file)},
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == (f"{has_no_tickets}\n", "")


def test_an_openssl_out_of_reach(good: Pair, tmp_path: Path) -> None:
    """Where OpenSSL takes no list, P-256 alone is left, and the log says so: never ffdhe."""
    file = tmp_path / "config.yaml"
    file.write_text(good.config() + CONFIG)
    program = changing("key_exchange.prepare = lambda: None")
    server = Server(["run", "--simulate", "--config", str(file)], program=program)
    try:
        server.wait_for_log("WARNING TLS agrees to P-256 alone: expected X25519:P-256:P-384")
        agreed = [group for group in (*GROUPS, *OTHER_GROUPS) if agrees(server.port, group)]
        assert agreed == ["P-256"]
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize(
    "words",
    [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff", os.urandom(600)],
    ids=["silence", "http", "half-a-hello", "noise"],
)
def test_what_is_no_tls_does_no_harm(pi: Server, authority: Authority, words: bytes) -> None:
    """Whoever speaks no TLS to the secure port gets no page, and holds up and harms nobody."""
    with socket.create_connection(("127.0.0.1", pi.port), LIMIT) as stranger:
        stranger.sendall(words)
        assert ask(pi, authority.trusting(), "/api/health")["status"] == "ok"
        if words.startswith(b"GET"):
            try:
                answer = stranger.recv(65536)
            except ConnectionError:
                answer = b""
            assert b" 200 " not in answer


# Certificates that are not valid now


def test_an_expired_certificate_is_served(expired: Server, authority: Authority) -> None:
    """An expired certificate is served all the same, since a Pi may not know the time, and said
    loudly: in the log, on the page, and by the health."""
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        ask(expired, authority.trusting(), "/api")
    expired.wait_for_log("WARNING the certificate has expired")
    assert wellness(expired, careless()) == ("degraded", ["the certificate has expired"])
    assert {"code": "certificate", "message": "the certificate has expired"} in hello(
        expired, careless()
    )["server"]["notices"]
    assert ask(expired, careless(), "/api/pins/lamp", "PUT", '{"value": 1}')["value"] == 1


def test_an_early_certificate_is_served(early: Server, authority: Authority) -> None:
    """A certificate that is not valid yet is served all the same, and said as loudly."""
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate is not yet valid"):
        ask(early, authority.trusting(), "/api")
    words = "the certificate is not yet valid, or the clock is wrong"
    early.wait_for_log(f"WARNING {words}")
    assert wellness(early, careless()) == ("degraded", [words])
    notices = hello(early, careless())["server"]["notices"]
    assert {"code": "certificate", "message": words} in notices


def test_check_warns_of_an_expired_certificate(
    authority: Authority, good: Pair, tmp_path: Path
) -> None:
    """`check` finds no fault in an expired certificate, but warns of it; not of a good one."""
    old = authority.issue("old", timedelta(days=-9), timedelta(days=-2))
    done = run(tmp_path, "check", old.config())
    assert (done.returncode, done.stderr) == (
        0,
        f"warning: {old.certificate}: the certificate has expired\n",
    )
    done = run(tmp_path, "check", good.config())
    assert (done.returncode, done.stderr) == (0, "")
    assert "https on port 8080" in done.stdout


# Certificates that cannot be used


def run(folder: Path, command: str, config: str) -> "subprocess.CompletedProcess[str]":
    """`run` or `check` on a configuration; both must end by themselves."""
    file = folder / "config.yaml"
    file.write_text(config)
    arguments = ["--simulate", "--port", "0", "--config"] if command == "run" else []
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "raspi_server", command, *arguments, str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def no_certificate(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    missing = folder / "none.crt"
    return Pair(missing, good.key), f"{missing}: the certificate cannot be read: No such file"


def no_key(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    missing = folder / "none.key"
    return Pair(good.certificate, missing), f"{missing}: the key cannot be read: No such file"


def a_folder(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    return Pair(folder, good.key), f"{folder}: the certificate cannot be read: Is a directory"


def a_circle(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    circle = folder / "circle.key"
    circle.symlink_to(circle)
    return Pair(good.certificate, circle), f"{circle}: the key cannot be read: Too many levels"


def another_key(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    other = authority.folder / "ca.key"
    return Pair(good.certificate, other), f"{other}: expected the key of {good.certificate}, got"


def garbage_certificate(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    garbage = folder / "garbage.crt"
    garbage.write_bytes(os.urandom(500))
    return Pair(garbage, good.key), f"{garbage}, {good.key}: expected PEM files: "


def garbage_key(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    garbage = folder / "garbage.key"
    garbage.write_text("-----BEGIN PRIVATE KEY-----\nbm9uc2Vuc2U=\n-----END PRIVATE KEY-----\n")
    return Pair(good.certificate, garbage), f"{good.certificate}, {garbage}: expected PEM files: "


def empty_files(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    pair = Pair(folder / "empty.crt", folder / "empty.key")
    pair.certificate.touch()
    pair.key.touch()
    return pair, f"{pair.certificate}, {pair.key}: expected PEM files: "


def changed_over(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    return Pair(good.key, good.certificate), f"{good.key}, {good.certificate}: expected PEM files: "


def binary_certificate(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    binary = folder / "binary.crt"
    authority.openssl(f"x509 -in {good.certificate} -outform DER -out {binary}")
    return Pair(binary, good.key), f"{binary}, {good.key}: expected PEM files: "


def locked_key(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    locked = folder / "locked.key"
    authority.openssl(f"ec -in {good.key} -aes256 -passout pass:secret -out {locked}")
    return Pair(good.certificate, locked), f"{locked}: expected "


def locked_pkcs8_key(good: Pair, folder: Path, authority: Authority) -> tuple[Pair, str]:
    locked = folder / "locked.key"
    authority.openssl(f"pkcs8 -topk8 -in {good.key} -passout pass:secret -out {locked}")
    return Pair(good.certificate, locked), f"{locked}: expected "


UNUSABLE = [
    no_certificate,
    no_key,
    a_folder,
    a_circle,
    another_key,
    garbage_certificate,
    garbage_key,
    empty_files,
    changed_over,
    binary_certificate,
    locked_key,
    locked_pkcs8_key,
]


@pytest.mark.parametrize("make", UNUSABLE)
def test_an_unusable_certificate(
    authority: Authority, good: Pair, tmp_path: Path, make: Any
) -> None:
    """With a certificate or key that is missing, unreadable, of another or no kind, the server
    names the file and the reason and ends with status 78."""
    pair, words = make(good, tmp_path, authority)
    done = run(tmp_path, "run", pair.config())
    assert done.returncode == 78
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_check_finds_an_unusable_certificate(
    authority: Authority, good: Pair, tmp_path: Path
) -> None:
    """`check` finds a certificate that cannot be used before the server does, in the same words."""
    pair, words = another_key(good, tmp_path, authority)
    done = run(tmp_path, "check", pair.config())
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(words)


@pytest.mark.parametrize("make", [locked_key, locked_pkcs8_key])
def test_nobody_is_asked_for_a_passphrase(
    authority: Authority, good: Pair, tmp_path: Path, make: Any
) -> None:
    """A key with a passphrase is refused as such, also at a terminal: a service has nobody to
    ask."""
    pair, words = make(good, tmp_path, authority)
    (tmp_path / "config.yaml").write_text(pair.config())
    command = [sys.executable, "-m", "raspi_server", "check", str(tmp_path / "config.yaml")]
    # `script` gives it a terminal, on which OpenSSL would ask.
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", shlex.join(command), os.devnull],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, "Enter" in done.stdout) == (78, False), done.stdout
    assert words in done.stdout
    assert "passphrase" in done.stdout


# As strict as Mozilla's intermediate profile, and as testssl.sh looks at it


INTERMEDIATE = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    *(
        f"ECDHE-{key}-{cipher}"
        for key in ("ECDSA", "RSA")
        for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    ),
}


def openssl_agrees(port: int, *options: str) -> str | None:
    """The cipher on which `openssl s_client` and the server agree, or None."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    found = re.search(r"^New, \S+, Cipher is (\S+)", done.stdout, re.MULTILINE)
    return None if found is None or found[1] == "(NONE)" else found[1]


def offered(port: int, version: str) -> set[str]:
    """Every cipher the server accepts of all that openssl knows, asked one after the other: what
    it has chosen is taken off the list until it refuses the rest."""
    found: set[str] = set()
    if version == "-tls1_3":
        for cipher in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_CCM_SHA256",
                       "TLS_AES_128_CCM_8_SHA256", "TLS_CHACHA20_POLY1305_SHA256"):  # fmt: skip
            if openssl_agrees(port, version, "-ciphersuites", cipher):
                found.add(cipher)
        return found
    while cipher := openssl_agrees(
        port,
        version,
        "-cipher",
        ":".join(["ALL:COMPLEMENTOFALL:@SECLEVEL=0", *(f"!{each}" for each in found)]),
    ):
        assert cipher not in found
        found.add(cipher)
    return found


@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_only_strong_ciphers(
    kind: str, pi: Server, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Of all ciphers there are, only those of Mozilla's intermediate profile are accepted, whatever
    the kind of key, and each of them is."""
    if kind == "RSA":
        subprocess.run(
            shlex.split("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k -out c"),
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        pi = start_server(CONFIG + Pair(tmp_path / "c", tmp_path / "k").config())
    old, new = offered(pi.port, "-tls1_2"), offered(pi.port, "-tls1_3")
    assert old | new <= INTERMEDIATE
    assert {cipher for cipher in old if ("ECDSA" in cipher) != (kind == "EC")} == set()
    assert (len(old), len(new)) == (3, 3)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_have_no_cipher_at_all(pi: Server, version: str) -> None:
    """TLS 1.0 and 1.1 are refused with every cipher openssl has, and TLS 1.2 is not."""
    everything = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    assert openssl_agrees(pi.port, version, "-cipher", everything) is None
    assert openssl_agrees(pi.port, "-tls1_2", "-cipher", everything)


def test_the_server_chooses(pi: Server) -> None:
    """Of two ciphers the server takes the one it likes better, however the client puts them."""
    pair = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"]
    chosen = {
        openssl_agrees(pi.port, "-tls1_2", "-cipher", ":".join(order))
        for order in (pair, reversed(pair))
    }
    assert chosen == {pair[0]}


def test_no_compression_and_no_second_handshake(pi: Server) -> None:
    """Nothing is compressed under TLS, and a client cannot ask for one handshake after another."""
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{pi.port}", "-tls1_2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = client.communicate("R\n", timeout=LIMIT)
    assert "Compression: NONE" in said
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


@pytest.mark.parametrize("curve", ["X25519", "P-256", "P-384"])
def test_every_phone_finds_a_group(pi: Server, curve: str) -> None:
    """The groups of the intermediate profile are there for the key exchange."""
    assert openssl_agrees(pi.port, "-groups", curve)


@pytest.mark.parametrize("curve", ["secp256k1", "brainpoolP256r1", "P-224"])
def test_no_odd_group(pi: Server, curve: str) -> None:
    """Groups that no browser offers are refused."""
    assert openssl_agrees(pi.port, "-tls1_2", "-groups", curve) is None
