"""The certificate authority of a Pi and what it signs: scripts/make-cert.sh, in any folder."""

import os
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raspi_server import tls
from raspi_server.config import Certificate

from .guest import CHECKOUT

pytestmark = pytest.mark.skipif(
    not shutil.which("ip"), reason="ip is missing: apt install iproute2"
)

ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever
2: eth0    inet 192.168.1.7/24 brd 192.168.1.255 scope global eth0\\       valid_lft forever
2: eth0    inet6 2001:db8::7/64 scope global dynamic mngtmpaddr \\       valid_lft 6977sec
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
        self.answer("hostname", "raspberrypi.example.org")
        self.answer("systemctl", "", status=3)
        self.answer("ip", ADDRESSES)

    def answer(self, command: str, text: str, status: int = 0) -> None:
        """What a command of the machine says."""
        stub = self._stubs / command
        stub.write_text(f"#!/bin/sh\ncat <<'END'\n{text.rstrip()}\nEND\nexit {status}\n")
        stub.chmod(0o755)

    def make(self, check: bool = True) -> str:
        """What make-cert.sh says."""
        done = subprocess.run(
            [CHECKOUT / "scripts/make-cert.sh", "--folder", self.tls],
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


def test_the_authority_is_what_phones_take(pi: Pi) -> None:
    """An authority with a name, for ten years, that may sign certificates and nothing else."""
    text = pi.text("ca")
    assert "Subject: CN = raspi-server raspberrypi\n" in text.replace("CN=", "CN = ")
    assert "Basic Constraints: critical\n                CA:TRUE\n" in text
    assert "Key Usage: critical\n                Certificate Sign, CRL Sign\n" in text
    assert "Subject Key Identifier" in text
    assert "Name Constraints" not in text
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
        "DNS:raspberrypi.example.org",
        "IP Address:127.0.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
        "IP Address:192.168.1.7",
        "IP Address:2001:DB8:0:0:0:0:0:7",
    ]


def test_keys_are_private(pi: Pi) -> None:
    """Nobody but the owner reads a key, whatever the umask; the certificates are for everybody."""
    modes = {file.name: oct(file.stat().st_mode)[-3:] for file in pi.tls.iterdir()}
    assert modes == {"ca.crt": "644", "ca.key": "600", "server.crt": "644", "server.key": "600"}


def test_the_server_takes_it(pi: Pi) -> None:
    """A strict client that trusts the authority and nothing else has nothing to complain of."""
    pair = Certificate(certificate=pi.tls / "server.crt", key=pi.tls / "server.key")
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
    """Run again, it says nothing and writes nothing."""
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
            ADDRESSES.replace("2001:db8::7/", "2001:db8:5::7/"),
            "2001:db8:5::7",
            "IP Address:2001:DB8:5:0:0:0:0:7",
        ),
        ("uname", "kitchen", "kitchen", "DNS:kitchen.local"),
        ("hostname", "pi.example.net", "pi.example.net", "DNS:pi.example.net"),
    ],
    ids=["ipv4", "ipv6", "name", "domain"],
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
    """Of two Pis with one name, the second is raspberrypi-2.local, and its certificate says so."""
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
    tls.server_context(Certificate(certificate=pi.tls / "server.crt", key=pi.tls / "server.key"))
    assert pi.make() == ""


def test_without_its_key_the_authority_is_not_quietly_replaced(pi: Pi) -> None:
    """Phones would no longer trust; so the owner is asked."""
    (pi.tls / "ca.key").unlink()
    before = pi.files()
    said = pi.make(check=False)
    assert "ca.key is missing" in said
    assert "which each phone has to trust anew" in said
    assert pi.files() == before


def test_a_first_run_that_was_cut_off_is_made_good(pi: Pi) -> None:
    """Power lost between two files leaves nothing that does not fit."""
    for name in ("ca.crt", "server.crt", "server.key"):
        (pi.tls / name).unlink()
    assert "Made the certificate authority" in pi.make()
    assert pi.openssl("verify -CAfile ca.crt server.crt") == "server.crt: OK\n"


def test_a_name_that_is_none_is_left_out(pi: Pi) -> None:
    """Whatever a machine is called, the certificate can be made, and nothing slips into it."""
    pi.answer("uname", "evil,IP:6.6.6.6")
    pi.answer("hostname", "x y")
    pi.make()
    assert not [name for name in pi.names() if "6.6.6.6" in name or " y" in name]
