"""HTTPS and WSS with certificates of every kind, and what the server agrees to."""

import os
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from raspi_server.config.schema import CertificateFiles
from raspi_server.security.tls import CertificateError, identity, server_context
from tests.support.http import ask
from tests.support.server import LIMIT, Server, changing
from tests.support.websocket import WebSocketClient

NOW = datetime.now(UTC)
CONFIG = """
access: {control: everyone}
pins: {lamp: {gpio: 17, mode: output}}
"""
CA_CONFIG = """
[ca]
default_ca = authority
[authority]
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
NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


class Pair(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path

    def config(self) -> str:
        """Return the line for config.yaml."""
        return f"ssl: {{certificate: {self.certificate}, key: {self.key}}}\n"

    def files(self) -> CertificateFiles:
        """Return the same as the typed value of that line."""
        return CertificateFiles(certificate=self.certificate, key=self.key)


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.cnf").write_text(CA_CONFIG)
        (folder / "index.txt").touch()
        self.openssl(
            f"req -x509 {NEW_KEY} -subj /CN=Home-CA -keyout ca.key -out ca.crt -days 9"
            " -addext basicConstraints=critical,CA:TRUE"
            " -addext keyUsage=critical,keyCertSign,cRLSign"
        )

    def openssl(self, command: str) -> str:
        """Run a command of openssl's in the folder; return its output."""
        done = subprocess.run(
            ["openssl", *shlex.split(command)], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def issue(self, name: str, start: timedelta, end: timedelta) -> Pair:
        """Return a server certificate that is valid from `start` to `end`, counted from now."""
        self.openssl(f"req -new {NEW_KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr")
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


@pytest.fixture(scope="module")
def pi(good: Pair, start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(good.config() + CONFIG)


@pytest.mark.parametrize(
    ("start", "end", "reasons"),
    [
        (-1, 7, []),
        (-9, -2, ["the certificate has expired"]),
        (2, 9, ["the certificate is not yet valid, or the clock is wrong"]),
    ],
)
def test_https_and_wss_on_one_port(authority, start_server, start, end, reasons):
    """HTTPS and WSS are on one port. A certificate that is not valid now is served and reported."""
    pair = authority.issue(f"from-{start}", timedelta(days=start), timedelta(days=end))
    server = start_server(pair.config() + CONFIG)
    assert server.url.startswith("https://")
    context = authority.trusting()
    if reasons:  # as a browser that was told to ignore the error
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        server.wait_for_log(f"WARNING {reasons[0]}")
    health = ask(server, "GET", "/api/health", context=context).json
    assert (health["status"], health["reasons"]) == ("degraded" if reasons else "ok", reasons)
    answer = ask(server, "PUT", "/api/pins/lamp", {"value": 1}, context=context)
    assert answer.json["value"] == 1
    with WebSocketClient(server.port, context=context) as viewer:
        hello = viewer.receive("hello")
    assert hello["state"] == {"lamp": 1}
    notices = hello["server"]["notices"]
    assert [each["message"] for each in notices if each["code"] == "certificate"] == reasons
    assert ("certificate" in server.log) == bool(reasons)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        ask(server, "GET", "/api", context=ssl.create_default_context())


def test_authority_beside_the_certificate(authority, good, tmp_path):
    """The authority is found beside a certificate only if it signed it, also an expired one."""
    old = authority.issue("old", timedelta(days=-9), timedelta(days=-2))
    for pair in (good, old):
        found = identity(pair.files()).authority
        assert found and found.name == "Home-CA"
        shown = authority.openssl("x509 -in ca.crt -noout -fingerprint -sha256")
        assert shown.strip().rpartition("=")[2] == found.fingerprint
    other = Authority(tmp_path).folder / "ca.crt"
    alone = Pair(tmp_path / "server.crt", good.key)
    alone.certificate.write_bytes(good.certificate.read_bytes())
    for content in (other.read_bytes(), b"text", b"\xff", None):
        other.unlink(missing_ok=True)
        if content is not None:
            other.write_bytes(content)
        found = identity(alone.files())
        assert found.authority is None
        assert found.validity_error() is None


def test_unusable_certificate(authority, good, tmp_path):
    """A certificate or key that cannot be used is rejected with file and reason. `run` and `check`
    end with one line, also at a terminal. `check` only warns of an expired one."""
    crt, key = good
    names = ("missing", "empty", "binary.crt", "locked.key", "locked8.key", "config.yaml")
    missing, empty, binary, locked, locked8, file = (tmp_path / name for name in names)
    empty.touch()
    authority.openssl(f"x509 -in {crt} -outform DER -out {binary}")
    authority.openssl(f"ec -in {key} -aes256 -passout pass:secret -out {locked}")
    authority.openssl(f"pkcs8 -topk8 -in {key} -passout pass:secret -out {locked8}")
    other = Pair(crt, authority.folder / "ca.key")
    errors = {
        Pair(missing, key): f"{missing}: the certificate cannot be read: No such file",
        Pair(crt, missing): f"{missing}: the key cannot be read: No such file",
        other: f"{other.key}: expected the key of {crt}, got another",
        Pair(empty, empty): f"{empty}, {empty}: expected PEM files: ",
        Pair(binary, key): f"{binary}, {key}: expected PEM files: ",
        Pair(crt, locked): f"{locked}: expected a key without a passphrase",
        Pair(crt, locked8): f"{locked8}: expected a key without a passphrase",
    }
    for pair, message in errors.items():
        with pytest.raises(CertificateError) as caught:
            server_context(pair.files())
        assert str(caught.value).startswith(message)

    def call(command: list[str], pair: Pair) -> "subprocess.CompletedProcess[str]":
        file.write_text(pair.config())
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT
        )

    check, run = (
        [sys.executable, "-W", "error", "-m", "raspi_server", *words, str(file)]
        for words in (["check"], ["run", "--simulate", "--port", "0", "--config"])
    )
    at_terminal = ["script", "--quiet", "--return", "--command", shlex.join(check), os.devnull]
    for command, pair in ((run, other), (check, other), (at_terminal, Pair(crt, locked))):
        done = call(command, pair)
        (line,) = (done.stdout if command is at_terminal else done.stderr).splitlines()
        assert done.returncode == 78 and errors[pair] in line and "Enter" not in line
    old = authority.issue("older", timedelta(days=-9), timedelta(days=-2))
    warning = f"warning: {old.certificate}: the certificate has expired\n"
    for pair, stderr in ((old, warning), (good, "")):
        done = call(check, pair)
        assert (done.returncode, done.stderr) == (0, stderr)
        assert "https on port 8080" in done.stdout


GROUPS = ("X25519", "P-256", "P-384")
OTHER_GROUPS = ("ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192", "P-521", "X448")
OLD_GROUPS = ("secp256k1", "brainpoolP256r1", "P-224")


def connect(port: int, *options: str, typed: str = "") -> str:
    """Return what `openssl s_client` says of its connection."""
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    ).stdout


def cipher(port: int, *options: str) -> str | None:
    """Return the cipher on which `openssl s_client` and the server agree, or None."""
    found = re.search(r"^New, \S+, Cipher is (\w\S+)", connect(port, *options), re.MULTILINE)
    return found and found[1]


def agrees(port: int, group: str, *more: str) -> bool:
    """Return True if a client with this one group can connect."""
    return cipher(port, "-groups", group, *more) is not None


def test_openssl_settings_of_the_machine(good, tmp_path):
    """The machine's own openssl.cnf holds, except for its groups. It may be missing."""
    strict = tmp_path / "openssl.cnf"
    strict.write_text(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = defaults\n"
        "[defaults]\nOptions = -SessionTicket\nCurves = P-521\n"
    )
    program = (
        "import pathlib, ssl, sys; from raspi_server.config.schema import CertificateFiles\n"
        "from raspi_server.security import key_exchange, tls\n"
        "certificate, key = map(pathlib.Path, sys.argv[1:])\n"
        "context = tls.server_context(CertificateFiles(certificate=certificate, key=key))\n"
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


def test_openssl_that_takes_no_list(good, start_server):
    """If OpenSSL takes no list of groups, only P-256 is allowed, and the log says so."""
    program = changing("key_exchange.prepare = lambda: None")
    server = start_server(good.config() + CONFIG, program=program)
    server.wait_for_log("WARNING TLS agrees to P-256 alone: expected X25519:P-256:P-384")
    groups = (*GROUPS, "ffdhe2048", "ffdhe8192", "P-521")
    assert [group for group in groups if agrees(server.port, group)] == ["P-256"]


EVERYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
NAMES = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
TLS_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
CCM = {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}


@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
def test_only_strong_ciphers(kind, pi, start_server, tmp_path):
    """Exactly the ciphers of Mozilla's intermediate profile are accepted, for each kind of key."""
    if kind == "RSA":
        subprocess.run(
            shlex.split("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k -out c"),
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        pi = start_server(CONFIG + Pair(tmp_path / "c", tmp_path / "k").config())
    found: set[str] = set()
    others = EVERYTHING
    while agreed := cipher(pi.port, "-tls1_2", "-cipher", others):
        assert agreed not in found
        found.add(agreed)
        others += f":!{agreed}"
    assert found == {f"ECDHE-{kind}-{name}" for name in NAMES}
    for each in TLS_1_3 | CCM:
        agreed = cipher(pi.port, "-tls1_3", "-ciphersuites", each)
        assert (agreed == each) == (each in TLS_1_3)


def test_key_exchange_and_protocol(pi):
    """Only three groups, TLS 1.2 and 1.3 are accepted, without compression or renegotiation."""
    assert [group for group in (*GROUPS, *OTHER_GROUPS) if agrees(pi.port, group)] == [*GROUPS]
    assert all(agrees(pi.port, ":".join({group, "P-256"}), "-tls1_2") for group in GROUPS)
    assert not any(agrees(pi.port, group, "-tls1_2") for group in OLD_GROUPS)
    for version, agreed in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True)):
        assert bool(cipher(pi.port, version, "-cipher", EVERYTHING)) == agreed
    pair = [f"ECDHE-ECDSA-{name}" for name in NAMES[:2]]
    for order in (pair, reversed(pair)):
        assert cipher(pi.port, "-tls1_2", "-cipher", ":".join(order)) == pair[0]
    said = connect(pi.port, "-tls1_2", typed="R\n")
    for words in ("Compression: NONE", "RENEGOTIATING", "no renegotiation"):
        assert words in said
