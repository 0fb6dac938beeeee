"""The certificate authority of a Pi and its certificates: scripts/make-cert.sh."""

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raspi_server.config.schema import CertificateFiles
from raspi_server.security import tls

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "make-cert.sh"
ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever
2: eth0    inet 192.168.1.7/24 brd 192.168.1.255 scope global eth0\\       valid_lft forever
2: eth0    inet6 2001:db8::7/64 scope global dynamic mngtmpaddr \\       valid_lft 6977sec
2: eth0    inet6 fd00:db8::7/64 scope global dynamic mngtmpaddr \\       valid_lft 6977sec
2: eth0    inet6 2001:db8::99/64 scope global temporary dynamic \\       valid_lft 6977sec
2: eth0    inet6 fe80::7/64 scope link \\       valid_lft forever preferred_lft forever
"""


class Pi:
    """A folder of certificates, and a machine whose name and addresses a test can choose."""

    def __init__(self, folder: Path) -> None:
        self.tls = folder / "my pi" / "tls"
        certificate, key = self.tls / "server.crt", self.tls / "server.key"
        self.pair = CertificateFiles(certificate=certificate, key=key)
        self._stubs = folder / "stubs"
        self._stubs.mkdir()
        self.answer("uname", "RaspberryPi")
        self.answer("hostname", "raspberrypi.home.arpa")
        self.answer("systemctl", "", status=3)
        self.answer("ip", ADDRESSES)

    def answer(self, command: str, text: str, status: int = 0) -> None:
        """Set the output of a command of the machine."""
        stub = self._stubs / command
        stub.write_text(f"#!/bin/sh\ncat <<'END'\n{text.rstrip()}\nEND\nexit {status}\n")
        stub.chmod(0o755)

    def make(self, *options: str, check: bool = True) -> str:
        """Run make-cert.sh and return its output."""
        done = subprocess.run(
            [SCRIPT, "--folder", self.tls, *options],
            env={**os.environ, "PATH": f"{self._stubs}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert (done.returncode == 0) == check, done.stdout
        return done.stdout

    def openssl(self, command: str) -> str:
        return subprocess.run(
            ["openssl", *command.split()], cwd=self.tls, check=True, capture_output=True, text=True
        ).stdout

    def text(self, name: str) -> str:
        """Return a certificate as openssl prints it."""
        return self.openssl(f"x509 -in {name}.crt -noout -text")

    def life(self, name: str) -> tuple[datetime, datetime]:
        """Return the first and the last moment of a certificate."""
        said = self.openssl(f"x509 -in {name}.crt -noout -dates")
        form = "%b %d %H:%M:%S %Y %Z"
        dates = [line.partition("=")[2] for line in said.splitlines()]
        begin, end = (datetime.strptime(date, form).replace(tzinfo=UTC) for date in dates)
        return begin, end

    def left_out(self) -> list[str]:
        file = self.tls / "left-out"
        return file.read_text().splitlines() if file.exists() else []

    def is_vouched_for(self, name: str) -> bool:
        """Return True if OpenSSL accepts a certificate of the authority for "DNS:pi.local"."""
        (self.tls / "other.ext").write_text(f"subjectAltName={name}\n")
        self.openssl("req -new -key server.key -subj /CN=other -out other.csr")
        sign = "x509 -req -in other.csr -CA ca.crt -CAkey ca.key -extfile other.ext -out other.crt"
        self.openssl(sign)
        command = ["openssl", "verify", "-CAfile", "ca.crt", "other.crt"]
        done = subprocess.run(command, cwd=self.tls, capture_output=True, text=True)
        is_bound = re.search("(permitted|excluded) subtree", done.stderr)
        assert done.returncode == 0 or is_bound, done.stderr
        for file in self.tls.glob("other.*"):
            file.unlink()
        return done.returncode == 0

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Return the content of every file, with its inode, which a replaced file does not keep."""
        return {file.name: (file.stat().st_ino, file.read_bytes()) for file in self.tls.iterdir()}

    def names(self) -> list[str]:
        said = re.search(r"Subject Alternative Name: \n *(.*)", self.text("server"))
        assert said
        return said[1].replace("IP Address:", "IP:").split(", ")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Pi:
    """A Pi after the first run, for tests that change nothing."""
    made = Pi(tmp_path_factory.mktemp("fresh"))
    made.make()
    return made


@pytest.fixture
def pi(tmp_path: Path, fresh: Pi) -> Pi:
    """A Pi after the first run."""
    made = Pi(tmp_path)
    shutil.copytree(fresh.tls, made.tls)
    return made


def test_authority_and_certificate_meet_the_rules_of_phones(fresh: Pi) -> None:
    """The authority can sign certificates and nothing else, for ten years. The certificate is for
    TLS servers, for 397 days from yesterday on. It has the Pi's names and lasting addresses."""
    text = fresh.text("ca")
    assert "Subject: CN = raspi-server raspberrypi\n" in text.replace("CN=", "CN = ")
    assert "Basic Constraints: critical\n                CA:TRUE, pathlen:0\n" in text
    assert "Key Usage: critical\n                Certificate Sign, CRL Sign\n" in text
    assert "Name Constraints: \n" in text, "and not critical: Mbed TLS could not load it"
    assert "NIST CURVE: P-256" in text
    begin, end = fresh.life("ca")
    assert end - begin == timedelta(days=3650)
    assert fresh.openssl("verify -x509_strict -CAfile ca.crt ca.crt") == "ca.crt: OK\n"
    text = fresh.text("server")
    assert "Basic Constraints: critical\n                CA:FALSE\n" in text
    assert "Extended Key Usage: \n                TLS Web Server Authentication\n" in text
    assert "Signature Algorithm: ecdsa-with-SHA256" in text
    assert "NIST CURVE: P-256" in text
    begin, end = fresh.life("server")
    assert end - begin == timedelta(days=397)
    assert timedelta(days=1) <= datetime.now(UTC) - begin < timedelta(days=1, hours=1)
    strict = "verify -x509_strict -purpose sslserver -verify_hostname raspberrypi.local"
    assert fresh.openssl(f"{strict} -CAfile ca.crt server.crt") == "server.crt: OK\n"
    assert " ".join(fresh.names()) == (
        "DNS:localhost DNS:raspberrypi DNS:raspberrypi.local DNS:raspberrypi.home.arpa"
        " IP:127.0.0.1 IP:0:0:0:0:0:0:0:1 IP:192.168.1.7 IP:FD00:DB8:0:0:0:0:0:7"
    )
    assert fresh.left_out() == ["never 2001:db8::7"]


def test_second_run_writes_nothing(pi: Pi) -> None:
    """A second run prints and writes nothing, also after an address or name disappeared."""
    before, folder = pi.files(), pi.tls.stat().st_mtime_ns
    assert pi.make() == ""
    pi.answer("ip", ADDRESSES.splitlines()[0])
    pi.answer("hostname", "", status=1)
    assert pi.make() == ""
    assert pi.files() == before
    assert pi.tls.stat().st_mtime_ns == folder


def test_new_name_or_address_gets_a_new_certificate_of_the_same_authority(pi: Pi) -> None:
    """Authority and key stay, so that phones still trust the Pi. A name that Avahi gave is used."""
    for command, said, missing, name in (
        ("ip", ADDRESSES.replace("8::7/", "8:5::7/"), "fd00:db8:5::7", "IP:FD00:DB8:5:0:0:0:0:7"),
        ("hostname", "pi.lan", "pi.lan", "DNS:pi.lan"),
        ("busctl", 's "raspberrypi-2.local"', "raspberrypi-2.local", "DNS:raspberrypi-2.local"),
    ):
        before = pi.files()
        if command == "busctl":
            pi.answer("systemctl", "")
        pi.answer(command, said)
        assert f"Made a new certificate: it lacks {missing}\n" in pi.make()
        assert name in pi.names()
        after = pi.files()
        changed = {file for file in before if before[file] != after[file]}
        assert changed - {"left-out"} == {"server.crt"} and set(after) == set(before)
        assert pi.make() == ""


def test_certificate_is_renewed_when_thirty_days_are_left(pi: Pi) -> None:
    """With less than thirty days left there is a new certificate, with more the old one stays."""
    for days, is_renewed in ((31, False), (29, True)):
        request = "x509 -x509toreq -in server.crt -signkey server.key -out server.csr"
        pi.openssl(f"{request} -copy_extensions copy")
        sign = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -out server.crt"
        pi.openssl(f"{sign} -copy_extensions copy -days {days}")
        assert ("it ends within 30 days" in pi.make()) == is_renewed
        begin, end = pi.life("server")
        assert (end - begin == timedelta(days=397)) == is_renewed


def test_lost_files_are_made_again(pi: Pi) -> None:
    """Lost or torn files, also of a power cut, are made again. If only the authority's key is
    missing, it is replaced on request only: phones would no longer trust the Pi."""
    for lost in ("server.crt", "server.key", "ca.crt", "ca.crt server.crt server.key"):
        for name in lost.split():
            (pi.tls / name).unlink()
        said = pi.make()
        assert "Made a new certificate" in said
        assert ("Made the certificate authority" in said) == ("ca.crt" in lost)
        for name in lost.replace("ca.crt", "server.crt").split():
            tls.server_context(pi.pair)
            (pi.tls / name).write_text("-----BEGIN")
            assert "Made a new certificate" in pi.make()
        assert pi.openssl("verify -CAfile ca.crt server.crt") == "server.crt: OK\n"
    (pi.tls / "ca.key").unlink()
    before, said = pi.files(), pi.make(check=False)
    assert "ca.key is missing" in said
    assert "--new-authority, which each phone has to trust again" in said
    assert pi.files() == before


HOME_NAMES = (
    "DNS:localhost DNS:raspberrypi DNS:other.local DNS:pi.lan DNS:pi.home.arpa DNS:pi.internal"
    " IP:10.9.8.7 IP:172.31.0.1 IP:192.168.9.9 IP:127.0.0.1 IP:169.254.1.1 IP:100.127.0.1 IP:::1"
    " IP:fd12::1 IP:fe80::1"
)
INTERNET_NAMES = (
    "DNS:example.com DNS:mylocal DNS:local.example.com DNS:www.raspberrypi IP:8.8.8.8"
    " IP:172.32.0.1 IP:100.128.0.1 IP:192.0.2.1 IP:2001:db8::1 IP:::2"
)


def test_authority_vouches_for_home_networks_only(fresh: Pi) -> None:
    """Clients accept the authority's certificates for names and addresses of homes only."""
    home, internet = HOME_NAMES.split(), INTERNET_NAMES.split()
    assert [name for name in home + internet if fresh.is_vouched_for(name)] == home


def test_domain_of_a_router(pi: Pi) -> None:
    """In the domain of a router the authority vouches for this Pi's name and no other."""
    ours = "raspberrypi.fritz.box"
    for name in (ours, "fritz.box", "nas.fritz.box", f"a.{ours}"):
        pi.answer("hostname", name)
        pi.make("--new-authority")
        assert (f"DNS:{name}" in pi.names()) == (name == ours)
        assert (f"never {name}" in pi.left_out()) == (name != ours)
        assert pi.is_vouched_for(f"DNS:{name}") == (name == ours)
        assert not pi.is_vouched_for("DNS:other.fritz.box")


def test_names_that_are_left_out_are_printed_once(pi: Pi) -> None:
    """A public name is left out and listed once. No name adds settings to a certificate."""
    pi.answer("hostname", "www.example.com")
    before = pi.files()
    said = "Not in the certificate, since the authority may not vouch for it:"
    assert pi.make() == f"{said} www.example.com 2001:db8::7\n"
    assert pi.left_out() == ["never www.example.com", "never 2001:db8::7"]
    assert pi.make() == ""
    assert pi.files()["server.crt"] == before["server.crt"]
    pi.answer("uname", "evil,IP:6.6.6.6")
    pi.answer("hostname", "x y")
    pi.make("--new-authority")
    assert not [name for name in pi.names() if "6.6.6.6" in name or " y" in name]


def test_new_name_of_the_pi_and_a_new_authority(pi: Pi) -> None:
    """A renamed Pi gets NAME.local into its certificate. The bare name needs a new authority."""
    authority = pi.files()["ca.crt"]
    pi.answer("uname", "dev")
    assert "Made a new certificate: it lacks dev.local\n" in pi.make()
    assert pi.left_out() == ["new dev", "never 2001:db8::7"]
    assert "DNS:dev.local" in pi.names() and "DNS:dev" not in pi.names()
    assert pi.make() == ""
    assert pi.files()["ca.crt"] == authority
    assert "each phone has to trust this Pi again" in pi.make("--new-authority")
    assert pi.files()["ca.crt"] != authority
    assert "DNS:dev" in pi.names() and not pi.is_vouched_for("DNS:www.dev")
    assert pi.left_out() == ["never 2001:db8::7"]
    assert pi.openssl("verify -x509_strict -CAfile ca.crt server.crt") == "server.crt: OK\n"
    assert pi.make() == ""


def test_names_in_access_hosts(pi: Pi) -> None:
    """Names in `access.hosts` go into the certificate, wildcards never. An authority that was made
    before vouches only for names of homes; a new one for exactly the others that are listed."""
    config = pi.tls.parent / "config.yaml"
    names = "[garden.lan, Pi.Example.org, '*.tail.ts.net', example.net, x.example.net, 10.0.0.5]"
    config.write_text(f"access:\n  hosts: {names}\n")
    assert "it lacks garden.lan\n" in pi.make()
    assert "DNS:garden.lan" in pi.names()
    listed = ["pi.example.org", "example.net", "x.example.net"]
    assert pi.left_out() == [*(f"new {name}" for name in listed), "never 2001:db8::7"]
    assert pi.make() == ""
    pi.make("--new-authority")
    assert {f"DNS:{name}" for name in ("garden.lan", *listed)} < set(pi.names())
    assert pi.left_out() == ["never 2001:db8::7"]
    assert not [name for name in pi.names() if "*" in name or "10.0.0.5" in name]
    for name in ("www.pi.example.org", "example.org", "tail.ts.net", "a.tail.ts.net", "ample.net"):
        assert not pi.is_vouched_for(f"DNS:{name}")
    assert pi.openssl("verify -x509_strict -CAfile ca.crt server.crt") == "server.crt: OK\n"
    # A file with errors changes nothing, and a name that is gone does no harm.
    for text in ("access:\n  hosts: [a b]\n", "access: {hosts: []}\n"):
        config.write_text(text)
        assert pi.make() == ""


def test_older_authority_without_name_constraints_stays(pi: Pi) -> None:
    """An authority without name constraints stays, and vouches for all but public names."""
    settings = "[a]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
    (pi.tls / "old.cnf").write_text(f"[req]\ndistinguished_name=n\n[n]\n{settings}")
    command = "req -new -x509 -config old.cnf -extensions a -key ca.key -days 3650"
    pi.openssl(f"{command} -subj /CN=raspi-server -out ca.crt")
    authority = pi.files()["ca.crt"], pi.files()["ca.key"]
    assert "this authority did not sign it" in pi.make()
    assert "IP:2001:DB8:0:0:0:0:0:7" in pi.names()
    assert pi.left_out() == []
    pi.answer("uname", "kitchen")
    pi.answer("hostname", "www.example.com")
    assert "it lacks kitchen\n" in pi.make()
    assert pi.left_out() == ["never www.example.com"]
    assert "DNS:kitchen" in pi.names()
    assert (pi.files()["ca.crt"], pi.files()["ca.key"]) == authority
    assert pi.make() == ""
