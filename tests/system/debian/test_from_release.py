"""An upgrade from the first release that people had, and back: what they have stays theirs."""

import json
import re
import subprocess
from typing import Any

from tests.system.debian.conftest import Service, _unavailable
from tests.system.debian.guest import CHECKOUT, FIRST_RELEASE, SOURCES
from tests.system.debian.test_upgrade import make_newer

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


def ask(service: Service, method: str, path: str, body: Any, **headers: str) -> Any:
    """Return the service's answer to a program on the Pi."""
    service.guest.write("/tmp/ask.py", ASK)
    request = [method, f"https://127.0.0.1:{service.port}{path}", headers, body]
    return json.loads(service.guest.output(f"python3 /tmp/ask.py '{json.dumps(request)}'"))


def put_first_release(service: Service) -> None:
    """Replace the checkout by that of the first release."""
    git = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "archive", FIRST_RELEASE]
    archive = subprocess.run([*git, *SOURCES.split()], capture_output=True)
    if archive.returncode:
        _unavailable(f"no history here: {archive.stderr.decode()}")
    folder = f"'{service.guest.checkout}'"
    unpack = f"rm -rf {folder} && mkdir -p {folder} && tar --extract -C {folder}"
    subprocess.run(service.guest.enter(unpack), input=archive.stdout, check=True)


def test_an_upgrade_and_the_way_back_keep_what_people_have(bare: Service) -> None:
    """From the first release to this one, and back, the authority that phones trust, the codes, the
    output states and config.yaml stay as they are. Anything else is announced before it changes."""
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
    authority = guest.output("cat /etc/raspi-server/tls/ca.crt /etc/raspi-server/tls/ca.key")

    def check_that_all_is_there() -> None:
        kept = "cat /etc/raspi-server/tls/ca.crt /etc/raspi-server/tls/ca.key"
        assert guest.output(kept) == authority
        assert guest.output("cat /etc/raspi-server/config.yaml") == mine.rstrip()
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
