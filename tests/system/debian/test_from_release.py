"""An upgrade from the first release that people had, and back."""

import re
import subprocess
from typing import Any

from tests.system.debian.conftest import Service, skip_unavailable
from tests.system.debian.guest import CHECKOUT, FIRST_RELEASE, SOURCES

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


def install_first_release(service: Service, arguments: str = "") -> str:
    """Install the first release and return the output; use the one that was built the first time.
    Its checkout stays."""
    git = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "archive", FIRST_RELEASE]
    archive = subprocess.run([*git, *SOURCES.split()], capture_output=True)
    if archive.returncode:
        skip_unavailable(f"no history here: {archive.stderr.decode()}")
    guest = service.guest
    folder = f"'{guest.checkout}'"
    unpack = f"rm -rf {folder} && mkdir -p {folder} && tar --extract -C {folder}"
    subprocess.run(guest.enter(unpack), input=archive.stdout, check=True)
    guest.run("! cd /opt/first || (mkdir -p /opt/raspi-server/releases; cp -a . $_)")
    said = guest.install(arguments).stdout
    keep = "cd /opt/raspi-server/releases; mkdir /opt/first; cp -a 0.1.0-* /opt/first"
    guest.run(f"test -d /opt/first || ({keep})")
    return said


def test_upgrade_and_rollback_keep_what_people_have(bare: Service) -> None:
    """From the first release to this one and back, the authority that phones trust, the codes, the
    output states and config.yaml stay. That people have to sign in again is printed first."""
    guest = bare.guest
    said = install_first_release(bare, f"--port {bare.port}")
    view, control = re.findall(r"^ {4}((?:[0-9a-z]{5}-){2}[0-9a-z]{5})$", said, re.MULTILINE)
    mine = MINE.format(port=bare.port)
    bare.configure(mine)
    guest.run("systemctl restart raspi-server")

    def send(method: str, path: str, body: Any, **headers: str) -> Any:
        response = bare.ask(method, path, body, Content_Type="application/json", **headers)
        assert response.status == 200, response
        return response.json

    for pin in ("lamp", "fan", "pump"):
        send("PUT", f"/api/pins/{pin}", {"value": 1}, Authorization=f"Bearer {control}")
    first = bare.release()
    kept = "cat /etc/raspi-server/tls/ca.crt /etc/raspi-server/tls/ca.key"
    authority = guest.output(kept)

    def check_that_all_is_kept() -> None:
        assert guest.output(kept) == authority
        assert bare.config() == mine
        assert bare.is_serving()
        assert send("POST", "/api/login", {"code": control})["access"] == "control"
        assert send("POST", "/api/login", {"code": view})["access"] == "view"
        pins = bare.get("/api/pins")["pins"]
        values = [(pin["name"], pin["value"]) for pin in pins]
        assert values == [("lamp", 1), ("fan", 1), ("pump", 0)]
        assert pins[0]["label"] == "My lamp"
        # The unit names a script of its own release.
        guest.run("systemctl start raspi-server-cert")

    guest.put_checkout()
    said = guest.install().stdout
    assert said.index(SIGN_IN_AGAIN) < said.index("Building release")
    assert bare.release() != first
    check_that_all_is_kept()
    said = guest.install("--rollback").stdout
    assert said.index(SIGN_IN_AGAIN) < said.index("Going back")
    assert bare.release() == first
    check_that_all_is_kept()
    assert SIGN_IN_AGAIN in guest.install().stdout
    check_that_all_is_kept()
