"""An upgrade from the first release that people had, and back: what they have stays theirs."""

import json
import re
import subprocess
from typing import Any

from .conftest import House, _unavailable
from .guest import CHECKOUT, FIRST_RELEASE, SOURCES
from .test_upgrade import make_newer

MINE = """\
# My own words.
port: {port}
ssl: true
pins:
  lamp: {{gpio: 17, mode: output, initial: restore, label: My lamp}}
  fan: {{gpio: 27, mode: output, initial: keep}}
  pump: {{gpio: 22, mode: output}}
"""
ASK = """
import json, ssl, sys, urllib.request
method, url, headers, body = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile="/etc/raspi-server/tls/ca.crt")
headers = {"Content-Type": "application/json", **headers}
request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
print(urllib.request.urlopen(request, timeout=30, context=context).read().decode())
"""
SIGN_IN_AGAIN = "every browser has to sign in again, once, with its access code"


def ask(house: House, method: str, path: str, body: Any, **headers: str) -> Any:
    """What the service answers to a program on the Pi."""
    house.guest.write("/tmp/ask.py", ASK)
    request = [method, f"https://127.0.0.1:{house.port}{path}", headers, body]
    return json.loads(house.guest.tell(f"python3 /tmp/ask.py '{json.dumps(request)}'"))


def put_first_release(house: House) -> None:
    """Puts the checkout of that release in the place of this one."""
    git = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "archive", FIRST_RELEASE]
    archive = subprocess.run([*git, *SOURCES.split()], capture_output=True)
    if archive.returncode:
        _unavailable(f"no history here: {archive.stderr.decode()}")
    folder = f"'{house.guest.checkout}'"
    unpack = f"rm -rf {folder} && mkdir -p {folder} && tar --extract -C {folder}"
    subprocess.run(house.guest.enter(unpack), input=archive.stdout, check=True)


def test_an_upgrade_and_the_way_back_keep_what_people_have(bare: House) -> None:
    """From the first release to this one, and back, the authority that phones trust, the codes, the
    levels of outputs and config.yaml stay as they are; what does not is said before anything is
    changed."""
    guest = bare.guest
    put_first_release(bare)
    said = guest.install(f"--port {bare.port}").stdout
    view, control = re.findall(r"^ {4}((?:[0-9a-z]{5}-){2}[0-9a-z]{5})$", said, re.MULTILINE)
    mine = MINE.format(port=bare.port)
    bare.configure(mine)
    guest.run("systemctl restart raspi-server")
    for pin in ("lamp", "fan", "pump"):
        body, bearer = {"value": 1}, f"Bearer {control}"
        ask(bare, "PUT", f"/api/pins/{pin}", body, Authorization=bearer)
    first = bare.release()
    authority = guest.tell("cat /etc/raspi-server/tls/ca.crt /etc/raspi-server/tls/ca.key")

    def check_that_all_is_there() -> None:
        kept = "cat /etc/raspi-server/tls/ca.crt /etc/raspi-server/tls/ca.key"
        assert guest.tell(kept) == authority
        assert guest.tell("cat /etc/raspi-server/config.yaml") == mine.rstrip()
        assert bare.is_serving()
        assert ask(bare, "POST", "/api/login", {"code": control})["access"] == "control"
        assert ask(bare, "POST", "/api/login", {"code": view})["access"] == "view"
        pins = bare.get("/api/pins")["pins"]
        assert [(pin["name"], pin["value"]) for pin in pins] == [
            ("lamp", 1),
            ("fan", 1),
            ("pump", 0),
        ]
        assert pins[0]["label"] == "My lamp"
        # The unit names a script of its own release.
        guest.run("systemctl start raspi-server-cert")

    guest.put_checkout()
    said = guest.install().stdout
    assert said.index(SIGN_IN_AGAIN) < said.index("Building release")
    assert bare.release() != first
    check_that_all_is_there()
    said = guest.install("--rollback").stdout
    assert said.index(SIGN_IN_AGAIN) < said.index("Going back")
    assert bare.release() == first
    check_that_all_is_there()
    assert SIGN_IN_AGAIN in guest.install().stdout
    check_that_all_is_there()
    make_newer(bare)
    assert SIGN_IN_AGAIN not in guest.install().stdout
