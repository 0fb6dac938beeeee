"""The certificate authority of a Pi and what it signs: scripts/make-cert.sh, in any folder."""

import os
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raspi_server.config.schema import CertificateFiles
from raspi_server.security import tls
from tests.system.debian.guest import CHECKOUT

pytestmark = pytest.mark.skipif(
    not shutil.which("ip"), reason="ip is missing: apt install iproute2"
)

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
    """A folder of certificates, and a machine with a name and addresses that a test may choose."""

    def __init__(self, folder: Path) -> None:
        self.tls = folder / "my pi" / "tls"
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
            [CHECKOUT / "scripts/make-cert.sh", "--folder", self.tls, *options],
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
        """A certificate in words."""
        return self.openssl(f"x509 -in {name}.crt -noout -text")

    def life(self, name: str) -> tuple[datetime, datetime]:
        said = self.openssl(f"x509 -in {name}.crt -noout -dates")
        begin, end = (line.partition("=")[2] for line in said.splitlines())
        form = "%b %d %H:%M:%S %Y %Z"
        return (
            datetime.strptime(begin, form).replace(tzinfo=UTC),
            datetime.strptime(end, form).replace(tzinfo=UTC),
        )

    def fingerprint(self) -> str:
        return self.openssl("x509 -in ca.crt -noout -fingerprint -sha256")

    def left_out(self) -> list[str]:
        file = self.tls / "left-out"
        return file.read_text().splitlines() if file.exists() else []

    def is_vouched_for(self, name: str) -> bool:
        """Return True if OpenSSL accepts a certificate for `name`, such as "DNS:pi.local", that the
        authority has signed."""
        (self.tls / "other.ext").write_text(f"subjectAltName={name}\n")
        self.openssl("req -new -key server.key -subj /CN=other -out other.csr")
        self.openssl(
            "x509 -req -in other.csr -CA ca.crt -CAkey ca.key -extfile other.ext -out other.crt"
        )
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca.crt", "other.crt"],
            cwd=self.tls,
            capture_output=True,
            text=True,
        )
        assert (
            done.returncode == 0
            or "permitted subtree" in done.stderr
            or ("excluded subtree" in done.stderr)
        ), done.stderr
        for file in self.tls.glob("other.*"):
            file.unlink()
        return done.returncode == 0

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every file, with its number on the disk, which a replaced one does not keep."""
        return {
            file.name: (file.stat().st_ino, file.read_bytes())
            for file in sorted(self.tls.iterdir())
        }

    def names(self) -> list[str]:
        said = re.search(r"Subject Alternative Name: \n *(.*)", self.text("server"))
        assert said
        return said[1].split(", ")


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    made = Pi(tmp_path)
    made.make()
    return made


@pytest.fixture
def old_pi(pi: Pi) -> Pi:
    """A Pi whose authority comes from a release without name constraints."""
    settings = "[a]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
    (pi.tls / "old.cnf").write_text(f"[req]\ndistinguished_name=n\n[n]\n{settings}")
    pi.openssl(
        "req -new -x509 -config old.cnf -extensions a -key ca.key -days 3650"
        " -subj /CN=raspi-server -out ca.crt"
    )
    for file in ("old.cnf", "server.crt", "left-out"):
        (pi.tls / file).unlink()
    pi.make()
    return pi


def test_the_authority_is_what_phones_take(pi: Pi) -> None:
    """An authority with a name, for ten years, that may sign certificates and nothing else."""
    text = pi.text("ca")
    assert "Subject: CN = raspi-server raspberrypi\n" in text.replace("CN=", "CN = ")
    assert "Basic Constraints: critical\n                CA:TRUE, pathlen:0\n" in text
    assert "Key Usage: critical\n                Certificate Sign, CRL Sign\n" in text
    assert "Subject Key Identifier" in text
    assert "Name Constraints: \n" in text, "and not critical: Mbed TLS could not load it"
    assert "NIST CURVE: P-256" in text
    begin, end = pi.life("ca")
    assert end - begin == timedelta(days=3650)
    assert pi.openssl("verify -x509_strict -CAfile ca.crt ca.crt") == "ca.crt: OK\n"


def test_the_certificate_keeps_every_rule_of_phones(pi: Pi) -> None:
    """397 days, for TLS servers, with an EC key, a SHA-2 signature, and begun a day back for clocks
    that disagree."""
    text = pi.text("server")
    assert "Basic Constraints: critical\n                CA:FALSE\n" in text
    assert "Extended Key Usage: \n                TLS Web Server Authentication\n" in text
    assert "Authority Key Identifier" in text
    assert "Signature Algorithm: ecdsa-with-SHA256" in text
    assert "NIST CURVE: P-256" in text
    begin, end = pi.life("server")
    assert end - begin == timedelta(days=397)
    day_back = datetime.now(UTC) - timedelta(days=1)
    assert timedelta(0) <= day_back - begin < timedelta(minutes=5)
    strict = "verify -x509_strict -purpose sslserver -verify_hostname raspberrypi.local"
    assert pi.openssl(f"{strict} -CAfile ca.crt server.crt") == "server.crt: OK\n"


def test_it_holds_every_name_and_address_people_type(pi: Pi) -> None:
    """Names in small letters, addresses of both kinds; none that changes each day by itself, and no
    link-local one, which browsers do not take."""
    assert pi.names() == [
        "DNS:localhost",
        "DNS:raspberrypi",
        "DNS:raspberrypi.local",
        "DNS:raspberrypi.home.arpa",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
        "IP Address:192.168.1.7",
        "IP Address:FD00:DB8:0:0:0:0:0:7",
    ]


def test_keys_are_private(pi: Pi) -> None:
    """Only the owner can read a key, with any umask; all users can read the certificates."""
    modes = {file.name: oct(file.stat().st_mode)[-3:] for file in pi.tls.iterdir()}
    keys = {".lock": "600", "ca.key": "600", "server.key": "600"}
    assert modes == keys | {"ca.crt": "644", "server.crt": "644", "left-out": "644"}


def test_the_server_takes_it(pi: Pi) -> None:
    """A strict client that trusts the authority and nothing else has nothing to complain of."""
    pair = CertificateFiles(certificate=pi.tls / "server.crt", key=pi.tls / "server.key")
    serving = tls.server_context(pair)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(pi.tls / "ca.crt")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname="192.168.1.7")
    other = serving.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert one.version() == "TLSv1.3"


def test_while_it_is_good_nothing_is_touched(pi: Pi) -> None:
    """A second run prints nothing and writes nothing."""
    before, folder = pi.files(), pi.tls.stat().st_mtime_ns
    assert pi.make() == ""
    assert pi.files() == before
    assert pi.tls.stat().st_mtime_ns == folder


@pytest.mark.parametrize(
    ("command", "said", "missing", "name"),
    [
        (
            "ip",
            ADDRESSES.replace("192.168.1.7/", "192.168.1.8/"),
            "192.168.1.8",
            "IP Address:192.168.1.8",
        ),
        (
            "ip",
            ADDRESSES.replace("fd00:db8::7/", "fd00:db8:5::7/"),
            "fd00:db8:5::7",
            "IP Address:FD00:DB8:5:0:0:0:0:7",
        ),
        ("hostname", "pi.lan", "pi.lan", "DNS:pi.lan"),
    ],
    ids=["ipv4", "ipv6", "domain"],
)
def test_a_new_name_or_address_gets_a_new_certificate_of_the_same_authority(
    pi: Pi, command: str, said: str, missing: str, name: str
) -> None:
    """Phones go on trusting: the authority stays, and so does the key, so that there is never a
    certificate that does not fit."""
    before = pi.files()
    pi.answer(command, said)
    assert pi.make() == f"Made a new certificate: it lacks {missing}\n"
    assert name in pi.names()
    after = pi.files()
    assert {file for file in before if before[file] != after[file]} == {"server.crt"}
    assert set(after) == set(before)
    assert pi.make() == ""


def test_an_address_that_went_is_no_reason(pi: Pi) -> None:
    """A Wi-Fi that comes and goes does not wear the card."""
    before = pi.files()
    pi.answer("ip", ADDRESSES.splitlines()[0])
    pi.answer("hostname", "", status=1)
    assert pi.make() == ""
    assert pi.files() == before


def test_the_name_avahi_gave_is_the_one_that_counts(pi: Pi) -> None:
    """The certificate of the second of two Pis with one name is for raspberrypi-2.local."""
    pi.answer("systemctl", "")
    pi.answer("busctl", 's "raspberrypi-2.local"')
    assert "it lacks raspberrypi-2.local" in pi.make()
    assert "DNS:raspberrypi-2.local" in pi.names()


@pytest.mark.parametrize(("days", "renewed"), [(29, True), (31, False)])
def test_it_is_renewed_when_thirty_days_are_left(pi: Pi, days: int, renewed: bool) -> None:
    """Long before it ends there is a new one, and not all the time."""
    resign(pi, days)
    assert ("it ends within 30 days" in pi.make()) == renewed
    begin, end = pi.life("server")
    assert (end - begin == timedelta(days=397)) == renewed


def resign(pi: Pi, days: int) -> None:
    """The same certificate for another life."""
    pi.openssl(
        "x509 -x509toreq -in server.crt -signkey server.key -out server.csr -copy_extensions copy"
    )
    again = (
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -copy_extensions copy -out server.crt"
    )
    pi.openssl(f"{again} -days {days}")
    (pi.tls / "server.csr").unlink()


@pytest.mark.parametrize("file", ["server.crt", "server.key"])
@pytest.mark.parametrize("harm", ["gone", "torn"])
def test_what_was_lost_or_torn_is_made_again(pi: Pi, file: str, harm: str) -> None:
    """A card that lost a file does not cost the service its page."""
    if harm == "gone":
        (pi.tls / file).unlink()
    else:
        (pi.tls / file).write_text("-----BEGIN")
    assert "Made a new certificate" in pi.make()
    tls.server_context(
        CertificateFiles(certificate=pi.tls / "server.crt", key=pi.tls / "server.key")
    )
    assert pi.make() == ""


def test_without_its_key_the_authority_is_not_quietly_replaced(pi: Pi) -> None:
    """Phones would no longer trust; so the owner is asked."""
    (pi.tls / "ca.key").unlink()
    before = pi.files()
    said = pi.make(check=False)
    assert "ca.key is missing" in said
    assert "--new-authority, which each phone has to trust again" in said
    assert pi.files() == before


def test_a_first_run_that_was_cut_off_is_made_good(pi: Pi) -> None:
    """Power lost between two files leaves nothing that does not fit."""
    for name in ("ca.crt", "server.crt", "server.key"):
        (pi.tls / name).unlink()
    assert "Made the certificate authority" in pi.make()
    assert pi.openssl("verify -CAfile ca.crt server.crt") == "server.crt: OK\n"


def test_a_name_that_is_none_is_left_out(pi: Pi) -> None:
    """A certificate can be made for a machine of any name, and no name adds settings to it."""
    pi.answer("uname", "evil,IP:6.6.6.6")
    pi.answer("hostname", "x y")
    pi.make()
    assert not [name for name in pi.names() if "6.6.6.6" in name or " y" in name]


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "raspberrypi", "raspberrypi.local", "other.local", "pi.lan"),
        *("pi.home.arpa", "pi.internal"),
        *("10.9.8.7", "172.31.0.1", "192.168.9.9", "127.0.0.1", "169.254.1.1", "100.127.0.1"),
        *("::1", "fd12::1", "fe80::1"),
    ],
)
def test_the_authority_vouches_for_what_a_pi_at_home_can_be(pi: Pi, name: str) -> None:
    """Names and addresses of homes are taken by clients that trust the authority."""
    assert pi.is_vouched_for(("IP:" if name[-1].isdigit() else "DNS:") + name)


@pytest.mark.parametrize(
    "name",
    [
        *("example.com", "raspberrypi.com", "mylocal", "local.example.com", "www.raspberrypi"),
        *("8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.2.1", "2001:db8::1", "::2"),
    ],
)
def test_the_authority_cannot_vouch_for_a_site_of_the_internet(pi: Pi, name: str) -> None:
    """A stolen key cannot sign for a bank: OpenSSL rejects the certificate."""
    assert not pi.is_vouched_for(("IP:" if name[-1].isdigit() else "DNS:") + name)


def test_no_authority_below_it(pi: Pi) -> None:
    """Certificates that it signs can sign no others."""
    (pi.tls / "sub.ext").write_text("basicConstraints=critical,CA:TRUE\n")
    pi.openssl("req -new -key server.key -subj /CN=sub -out sub.csr")
    pi.openssl("x509 -req -in sub.csr -CA ca.crt -CAkey ca.key -extfile sub.ext -out sub.crt")
    pi.openssl("req -new -key server.key -subj /CN=leaf -out leaf.csr")
    pi.openssl("x509 -req -in leaf.csr -CA sub.crt -CAkey server.key -out leaf.crt")
    command = ["openssl", "verify", "-CAfile", "ca.crt", "-untrusted", "sub.crt", "leaf.crt"]
    done = subprocess.run(command, cwd=pi.tls, capture_output=True, text=True)
    assert "path length constraint exceeded" in done.stderr


def test_a_pi_called_like_a_domain_of_the_internet(tmp_path: Path) -> None:
    """ "kitchen", "dev" and "app" are domains of the internet: the authority of such a Pi vouches
    for its name and for nothing below that."""
    pi = Pi(tmp_path)
    pi.answer("uname", "dev")
    pi.make()
    assert {"DNS:dev", "DNS:dev.local"} <= set(pi.names())
    assert not pi.is_vouched_for("DNS:www.dev")


@pytest.mark.parametrize("name", ["raspberrypi.fritz.box", "raspberrypi.localdomain"])
def test_the_domain_of_a_router(tmp_path: Path, name: str) -> None:
    """In the router's domain for the home this Pi's name is valid, and no other."""
    pi = Pi(tmp_path)
    pi.answer("hostname", name)
    pi.make()
    assert f"DNS:{name}" in pi.names()
    assert not pi.is_vouched_for(f"DNS:other.{name.partition('.')[2]}")


@pytest.mark.parametrize("name", ["fritz.box", "home", "nas.fritz.box", "a.raspberrypi.fritz.box"])
def test_a_network_that_calls_the_pi_like_another(tmp_path: Path, name: str) -> None:
    """The authority vouches for no domain that a router chooses."""
    pi = Pi(tmp_path)
    pi.answer("hostname", name)
    pi.make()
    assert f"never {name}" in pi.left_out()
    assert not pi.is_vouched_for(f"DNS:{name}")
    assert not pi.is_vouched_for(f"DNS:www.{name}")


def test_what_is_outside_is_left_out_and_said_once(pi: Pi) -> None:
    """A public address, or a name of the internet that the network gave, is no reason to make the
    certificate again and again; doctor finds it in a list."""
    assert pi.left_out() == ["never 2001:db8::7"]
    pi.answer("hostname", "www.example.com")
    before = pi.files()
    said = "Not in the certificate, since the authority may not vouch for it:"
    assert pi.make() == f"{said} www.example.com 2001:db8::7\n"
    assert pi.left_out() == ["never www.example.com", "never 2001:db8::7"]
    assert pi.make() == ""
    assert pi.files()["server.crt"] == before["server.crt"]


def test_a_new_name_and_a_new_authority(pi: Pi) -> None:
    """A Pi that is called otherwise has NAME.local in its certificate at once; the bare name needs
    a new authority, made only when that is asked for, with a word of what it costs."""
    authority = pi.fingerprint()
    pi.answer("uname", "kitchen")
    assert "Made a new certificate: it lacks kitchen.local\n" in pi.make()
    assert pi.left_out() == ["new kitchen", "never 2001:db8::7"]
    assert "DNS:kitchen.local" in pi.names() and "DNS:kitchen" not in pi.names()
    assert pi.make() == ""
    assert pi.fingerprint() == authority
    assert "each phone has to trust this Pi again" in pi.make("--new-authority")
    assert pi.fingerprint() != authority
    assert "DNS:kitchen" in pi.names()
    assert pi.left_out() == ["never 2001:db8::7"]
    assert pi.openssl("verify -x509_strict -CAfile ca.crt server.crt") == "server.crt: OK\n"
    assert pi.make() == ""


def test_a_new_authority_that_was_cut_off_is_made_good(pi: Pi) -> None:
    """Power lost while the authority is replaced leaves none, and the next run makes it."""
    (pi.tls / "ca.crt").unlink()
    assert "Made the certificate authority" in pi.make()
    assert pi.openssl("verify -CAfile ca.crt server.crt") == "server.crt: OK\n"


def test_an_authority_that_is_there_stays_as_it_is(old_pi: Pi) -> None:
    """One that was made without bounds, and that phones trust, is not touched; it goes on vouching
    for every address, but no more for a name of the internet that the network gave."""
    authority = old_pi.files()["ca.crt"], old_pi.files()["ca.key"]
    assert "Name Constraints" not in old_pi.text("ca")
    assert "IP Address:2001:DB8:0:0:0:0:0:7" in old_pi.names()
    assert old_pi.left_out() == []
    old_pi.answer("uname", "kitchen")
    old_pi.answer("hostname", "www.example.com")
    assert "it lacks kitchen\n" in old_pi.make()
    assert old_pi.left_out() == ["never www.example.com"]
    assert "DNS:kitchen" in old_pi.names()
    assert (old_pi.files()["ca.crt"], old_pi.files()["ca.key"]) == authority
    assert old_pi.make() == ""
