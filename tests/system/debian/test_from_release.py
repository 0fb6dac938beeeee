"""Upgrades from the first release that people had, and from the last one, and back."""

import re
import subprocess

import pytest

from tests.system.debian.conftest import Service, skip_unavailable
from tests.system.debian.guest import FIRST_RELEASE, LAST_RELEASE

RELEASES = {"bookworm": FIRST_RELEASE, "trixie": LAST_RELEASE}
"""The release that each Debian begins with."""
MINE = """\
# My own words.
port: {port}
ssl: true
pins:
  lamp: {{gpio: 17, mode: output, initial: restore, label: My lamp}}
  fan: {{gpio: 27, mode: output, initial: keep}}
  pump: {{gpio: 22, mode: output}}
"""
SIGN_IN_AGAIN = "every browser has to sign in again, once, with its access code"


def install_release(service: Service, commit: str) -> str:
    """Install a release and return the output; use the one that was built the first time. Its
    checkout stays."""
    guest = service.guest
    try:
        guest.put_checkout(commit)
    except subprocess.CalledProcessError as error:
        skip_unavailable(f"no history here: {error.stderr}")
    guest.run("! cd /opt/first || (mkdir -p /opt/raspi-server/releases; cp -a . $_)")
    said = guest.install(f"--port {service.port}").stdout
    keep = "cd /opt/raspi-server/releases; mkdir /opt/first; cp -a 0.* /opt/first"
    guest.run(f"test -d /opt/first || ({keep})")
    return said


def test_upgrade_and_rollback_keep_what_people_have(bare: Service) -> None:
    """From an older release to this one and back, the authority that phones trust, the codes, the
    output states and config.yaml stay. If people have to sign in again, that is printed first."""
    guest = bare.guest
    commit = RELEASES[guest.suite]
    said = install_release(bare, commit)
    if commit != FIRST_RELEASE:  # it makes no code to view where everyone may
        said = guest.output("raspi-server code --new view") + said
    view, control = re.findall(r"^ +((?:[0-9a-z]{5}-){2}[0-9a-z]{5})$", said, re.MULTILINE)
    mine = MINE.format(port=bare.port)
    bare.configure(mine)
    guest.run("systemctl restart raspi-server")

    def access(code: str) -> str:
        response = bare.ask("POST", "/api/login", {"code": code}, Content_Type="application/json")
        return str(response.json["access"])

    for pin in ("lamp", "fan", "pump"):
        bearer = {"Authorization": f"Bearer {control}", "Content-Type": "application/json"}
        assert bare.ask("PUT", f"/api/pins/{pin}", {"value": 1}, **bearer).status == 200
    first = bare.release()
    kept = "cat /etc/raspi-server/tls/ca.crt /etc/raspi-server/tls/ca.key"
    authority = guest.output(kept)

    def check(said: str, step: str) -> None:
        """Check what a change of release has said, and that all is kept."""
        assert (SIGN_IN_AGAIN in said.partition(step)[0]) == (commit == FIRST_RELEASE)
        assert guest.output(kept) == authority
        assert bare.config() == mine
        assert bare.is_serving()
        assert (access(control), access(view)) == ("control", "view")
        pins = [(pin["label"], pin["value"]) for pin in bare.get("/api/pins")["pins"]]
        assert pins == [("My lamp", 1), ("fan", 1), ("pump", 0)]
        # The unit names a script of its own release.
        guest.run("systemctl start raspi-server-cert")

    guest.put_checkout()
    check(guest.install().stdout, "Building release")
    assert bare.release() != first
    check(guest.install("--rollback").stdout, "Going back")
    assert bare.release() == first
    done = guest.install("--rollback", check=False)
    assert done.returncode == 1
    assert "There is no release to go back to." in done.stdout
    check(guest.install().stdout, "Checking")


CERTIFICATE = "/etc/raspi-server/tls/server.crt"
STATE = "/var/lib/raspi-server/last-good.json"
PINS = """
access: {control: everyone}
pins:
  heater: {gpio: 17, mode: output, max_on: 4, on_stop: keep}
  tap: {gpio: 22, mode: output, pulse: 500}
"""
REFUSED = "pins.heater.on_stop: expected off or input, got keep"


@pytest.mark.one_debian("bookworm")
def test_upgrade_is_refused_before_anything_changes(bare: Service) -> None:
    """A key that this release rejects is shown with its line and what to write instead, and the
    older release goes on. With the file corrected, the upgrade shows the warnings. With --no-start
    the older release goes on until the next boot. If the file is invalid then, the configuration
    that the older release used runs, without that key. A missing certificate is made."""
    guest = bare.guest
    install_release(bare, FIRST_RELEASE)
    bare.configure(f"port: {bare.port}\nssl: true\n{PINS}")
    guest.run("systemctl restart raspi-server")
    guest.put_checkout()
    guest.run(f"systemctl stop raspi-server-cert.timer; mv {CERTIFICATE} /tmp")
    before = bare.release(), guest.main_pid(), guest.output(f"sha256sum {STATE}")
    done = guest.install(check=False)
    assert done.returncode == 1
    told = f"/etc/raspi-server/config.yaml:6: {REFUSED}"
    for part in (told, "write on_stop: off", f"still in place: {before[0]}"):
        assert part in done.stdout
    assert (bare.release(), guest.main_pid(), guest.output(f"sha256sum {STATE}")) == before
    guest.run(f"test ! -e {CERTIFICATE} && mv /tmp/server.crt {CERTIFICATE}")
    assert bare.is_serving()
    bare.edit("on_stop: keep", "on_stop: off")
    said = guest.install("--no-start").stdout
    assert "warning: /etc/raspi-server/config.yaml:7: pins.tap.pulse: 500 seconds are long" in said
    # The configuration that the older release used, which runs if the file has errors.
    assert f"warning: {STATE}:6: {REFUSED}" in said
    assert (bare.release() != before[0], guest.main_pid()) == (True, before[1])
    bare.edit("ssl: true", "ssl: perhaps")
    cursor = bare.cursor()
    guest.run("systemctl restart raspi-server")
    assert "ssl: expected" in str(bare.get()["reasons"])
    assert f"{STATE}:6: {REFUSED}" in bare.journal(cursor)
    assert [pin["name"] for pin in bare.get("/api/pins")["pins"]] == ["heater", "tap"]
    bare.edit("ssl: perhaps", "ssl: true")
    guest.run(f"rm {CERTIFICATE}")
    guest.install()
    guest.run(f"test -e {CERTIFICATE}")


WITH_COVER = """
covers:
  gate: {button: opener, closed: shut, travel: 10}
pins:
  opener: {gpio: 17, mode: output, pulse: 0.5}
  shut: {gpio: 27, mode: input, kind: gate, pull: up}
"""
CURRENT = "readlink /opt/raspi-server/current /opt/raspi-server/previous"


@pytest.mark.one_debian
def test_rollback_is_refused_before_anything_changes(bare: Service) -> None:
    """The release before does not know covers. While config.yaml has some, a rollback to it shows
    their line, and this release goes on. Without them the rollback works."""
    guest = bare.guest
    install_release(bare, LAST_RELEASE)
    mine = f"port: {bare.port}\nssl: true\n"
    guest.put_checkout()
    guest.install()
    bare.configure(mine + WITH_COVER)
    guest.run("systemctl reload raspi-server")
    read = f"cat /etc/raspi-server/config.yaml {STATE}; systemctl is-active raspi-server-cert.timer"
    before = guest.output(CURRENT), guest.main_pid(), guest.output(read)
    done = guest.install("--rollback", check=False)
    assert done.returncode == 1
    for part in (
        "/etc/raspi-server/config.yaml:4: covers: expected one of the keys",
        "was not activated",
        f"still in place: {bare.release()}",
        "install.sh --rollback\n",
    ):
        assert part in done.stdout
    assert (guest.output(CURRENT), guest.main_pid(), guest.output(read)) == before
    assert [each["name"] for each in bare.get("/api/covers")["covers"]] == ["gate"]
    bare.configure(mine)
    guest.install("--rollback")
    assert bare.release().startswith("0.8.0-")
    assert bare.is_serving()
