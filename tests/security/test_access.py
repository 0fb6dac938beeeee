"""Rights to view and to switch, and the names under which the server answers."""

import functools
import itertools
import re
import socket
import ssl as tls
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raspi_server.config.schema import AccessConfig
from raspi_server.errors import RequestError
from raspi_server.net.connections import ConnectionLimiter
from raspi_server.security.access import AccessPolicy, Caller
from raspi_server.security.codes import Codes
from raspi_server.security.sessions import Sessions
from raspi_server.security.sign_in_links import Links
from raspi_server.web.context import BUILT_IN_WWW
from tests.support.board import parse
from tests.support.http import HttpClient, ask
from tests.support.server import Server
from tests.support.websocket import WebSocketClient

PINS = """
pins:
  door:   {gpio: 17, mode: input}
  lamp:   {gpio: 27, mode: output}
  radio:  {gpio: 22, mode: output, control: everyone}
  gate:   {gpio: 5, mode: output, control: code}
  boiler: {gpio: 6, mode: pwm, control: nobody}
"""
EVERYONE = "{control: everyone, hosts: [Pi.Example.org, garden-pi, '*.tail-net.ts.net']}"
NO_CODE = "needs the control code, and none exists yet (sudo raspi-server code --new control)"
NOBODY = "nobody may switch {} ({}.control: nobody)"
HOST = socket.gethostname()
NAME = HOST.partition(".")[0]


@pytest.fixture(scope="module")
def serve(tmp_path_factory, start_module_server) -> Callable[[str], Server]:
    """Return `serve(access)`: the server of this module with this `access`."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "www").mkdir()
    (folder / "www" / "own.html").write_text("<script>document.title = 'mine'</script>")
    start = functools.partial(start_module_server, at=folder)
    return functools.cache(lambda access: start(f"access: {access}\n{PINS}"))


def handshake_status(server: Server, **headers: str) -> int:
    """Return the status of the answer to a WebSocket handshake."""
    try:
        with WebSocketClient(server.port, headers=headers):
            return 101
    except AssertionError as error:
        return int(error.args[0].split()[1])


@pytest.mark.parametrize(
    ("access", "right", "rejection"),
    [
        (EVERYONE, "control", None),
        ("{}", "view", (401, "sign-in", f"switching lamp {NO_CODE}")),
        ("{control: nobody}", "view", (403, "not-allowed", NOBODY.format("lamp", "access"))),
    ],
)
def test_switching(serve, access: str, right: str, rejection: Any) -> None:
    """The API and the WebSocket switch or drive a pin exactly if `access.control`, or the pin's own
    `control`, permits it, else give the same reason. `writable` and the log say it beforehand."""
    pi = serve(access)
    rejections = {
        "door": rejection and (*rejection[:2], rejection[2].replace("lamp", "door")),
        "lamp": rejection,
        "radio": None,
        "gate": (401, "sign-in", f"switching gate {NO_CODE}"),
        "boiler": (403, "not-allowed", NOBODY.format("boiler", "pins.boiler")),
    }
    warning = "WARNING Everyone on this network may switch the pins (access.control: everyone)"
    assert (warning in pi.log) == (access == EVERYONE)
    with WebSocketClient(pi.port) as viewer:
        hello = viewer.receive("hello")
        assert hello["access"] == right
        for pins in (hello["pins"], ask(pi, "GET", "/api/pins").json["pins"]):
            for pin in pins:
                may = pin["name"] != "door" and not rejections[pin["name"]]
                assert pin["writable"] == may
        for pin, expected in rejections.items():
            for kind in ("set", "toggle", "set") if pin != "door" else ("drive",):
                value = {} if kind == "toggle" else {"value": 1}
                if pin != "door":
                    method, action = ("POST", "/toggle") if kind == "toggle" else ("PUT", "")
                    answer = ask(pi, method, f"/api/pins/{pin}{action}", value or None)
                    assert (answer.error if expected else answer.status) == (expected or 200)
                found = viewer.command(type=kind, pin=pin, **value)
                if expected:
                    assert (found["code"], found["message"]) == expected[1:]
                else:
                    assert (found["type"], found["pin"]) == ("result", pin)
            assert ask(pi, "GET", f"/api/pins/{pin}").json["value"] == (0 if expected else 1)


def test_names_of_this_server(serve):
    """The server answers under any address, this machine's names, and those in `access.hosts`."""
    names = ["localhost", "LOCALHOST", "127.0.0.1", "203.0.113.9", "[::1]", "[fe80::1]", HOST, NAME,
             "PI.example.org.", "garden-pi", f"{NAME}.local", f"{NAME}.local.".upper(),
             f"{NAME}-2.local", "pi.Tail-Net.ts.net", f"{NAME}.fritz.box", f"{NAME}.home.arpa",
             *(f"{NAME}.{at}" for at in ("lan", "internal", "localdomain", "home"))]  # fmt: skip
    with HttpClient(serve(EVERYONE)) as client:
        for number, name in enumerate(names):
            port = ("", ":80", ":8080")[number % 3]
            for path in ("/api/pins", "/"):
                assert client.ask("GET", path, Host=name + port).status == 200, name
    headers = {"Host": "garden-pi:8080", "Origin": "http://garden-pi:8080"}
    for access, status, handshake in ((EVERYONE, 200, 101), ("{}", 421, 421)):
        server = serve(access)
        assert ask(server, "PUT", "/api/pins/radio", {"value": 1}, **headers).status == status
        assert handshake_status(server, **headers) == handshake


def test_other_names_are_rejected(serve):
    """Any other name (DNS rebinding) shows and switches nothing. The answer says why."""
    everyone = serve(EVERYONE)
    for name in ("evil.example", "x.pi.example.org", "pi.example.org.evil.example", "local",
                 "tail-net.ts.net", "x.pi.tail-net.ts.net", "pi.other.ts.net", "*.ts.net",
                 f"{NAME}x.fritz.box", f"x.{NAME}.lan", f"{NAME}-2.lan", f"{NAME}.com",
                 "127.0.0.1.evil.example", "evil-2.local", f"{NAME}-2.example",
                 f"{NAME}-200.local", "2130706433"):  # fmt: skip
        origin = {"Host": f"{name}:8080", "Origin": f"http://{name}:8080"}
        for path in ("/api/pins", "/", "/nothing", "/api/nothing"):
            answer = ask(everyone, "GET", path, **origin)
            assert answer.status == 421
            assert f"hosts: [{name}]" in answer.body.decode()
        answer = ask(everyone, "PUT", "/api/pins/radio", {"value": 1}, **origin)
        assert answer.error[:2] == (421, "unknown-host")
        assert handshake_status(everyone, **origin) == 421
    for malformed in ("user@127.0.0.1", "evil.example/127.0.0.1", "evil.example,", "%"):
        assert ask(everyone, "GET", "/api/pins", Host=malformed).status in {400, 421}


@pytest.mark.parametrize(
    ("host", "path", "answer"),
    [
        ("captive.apple.com", "/hotspot-detect.html", "Success"),
        ("connectivitycheck.gstatic.com", "/generate_204", ""),
        ("www.msftconnecttest.com", "/connecttest.txt", "Microsoft Connect Test"),
        ("detectportal.firefox.com", "/success.txt", "success\n"),
        ("play.googleapis.com", "/generate_204", ""),
        ("nmcheck.gnome.org", "/check_network_status.txt", "NetworkManager is online\n"),
    ],
)
def test_captive_portal_probes(serve, start_server, certificate, host, path, answer):
    """A phone in a network of the Pi's own gets the answer that it expects, and nothing else."""
    ssl = f"{{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}"
    for pi in (serve(EVERYONE), start_server(f"ssl: {ssl}\n{PINS}")):
        found = ask(pi, "GET", path, Host=host)
        assert found.status == (200 if answer else 204)
        assert answer in found.body.decode() and "raspi" not in found.body.decode()
        assert ask(pi, "GET", path).status in (404, 307)
        for other in ("/", "/api/pins", f"{path}/x") if host != "captive.apple.com" else ("/api",):
            assert ask(pi, "GET", other, Host=host).status == 421
        for method, body in (("POST", {}), ("GET", {"value": 1})):
            assert ask(pi, method, path, body, Host=host).status == 421


def test_only_pages_of_this_server_switch(serve):
    """Only programs, and pages of this server by any name, may open the WebSocket and switch.
    Origins are compared as in the standard: default ports, ws for http, a slash, and case."""
    everyone = serve(EVERYONE)
    port = everyone.port
    here = f"127.0.0.1:{port}"
    names = (here, f"localhost:{port}", f"[::1]:{port}", "pi.example.org")
    # https: behind the owner's proxy
    pages = [{"Host": n, "Origin": f"{s}://{n}"} for n in names for s in ("http", "https")]
    pages += [
        {"Host": host, "Origin": origin}
        for host, origin in (
            ("pi.example.org:443", "https://pi.example.org"),  # Host $host:$server_port
            ("pi.example.org:80", "http://pi.example.org"),
            ("pi.example.org", "http://pi.example.org:80"),
            ("PI.example.org", "HTTP://Pi.Example.ORG/"),
            (here, f"ws://{here}"),
            (here, f"wss://{here}"),
        )
    ]
    for headers in ({}, *pages):
        with WebSocketClient(port, headers=headers) as viewer:
            assert viewer.command(type="toggle", pin="radio")["type"] == "result"
    for origin in ("http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1",
                   f"http://localhost:{port}", f"http://{here}.evil.example",
                   f"http://evil.example#{here}", f"http://{here}//", f"http://me@{here}",
                   f"ftp://{here}", "null", ""):  # fmt: skip
        headers = {"Host": here, "Origin": origin}
        assert handshake_status(everyone, **headers) == 403
        answer = ask(everyone, "POST", "/api/pins/radio/toggle", **headers)
        assert answer.error[:2] == (403, "foreign")
        assert answer.error[2].startswith("pages of other sites may not do this: the page is from ")


def test_refusal_names_both_sides(start_server, certificate):
    """A refused press names the page and the address that was asked for, and the line of the proxy
    or of config.yaml that mends it. The log has it, too."""
    pi = start_server(f"access: {EVERYONE}\n{PINS}")
    pass_host = "proxy_set_header Host $http_host;"
    for origin, host, mends in (
        ("http://pi.example.org:81", "pi.example.org", [pass_host]),  # Host $host
        ("https://pi.example.org", "127.0.0.1:8080",
         [pass_host, "origins: [https://pi.example.org]"]),  # bare proxy_pass
        ("http://127.0.0.1:8080", "127.0.0.1:8081", [pass_host]),
        ("null", "127.0.0.1", []),
    ):  # fmt: skip
        answer = ask(pi, "POST", "/api/pins/radio/toggle", Origin=origin, Host=host)
        words = answer.error[2]
        assert f"the page is from {origin}, and the request is for http://{host}" in words
        assert [mend for mend in mends if mend not in words] == []
        assert bool(mends) == ("If a proxy is in between, " in words)
        pi.wait_for_log(re.escape(f"INFO 127.0.0.1: refused: {words}"))
    ssl = f"{{certificate: {certificate}/cert.pem, key: {certificate}/key.pem}}"
    pi = start_server(f"ssl: {ssl}\naccess: {EVERYONE}\n{PINS}")
    context = tls.create_default_context(cafile=certificate / "cert.pem")
    here = f"127.0.0.1:{pi.port}"
    path, headers = "/api/pins/radio/toggle", {"Origin": f"http://{here}"}
    words = ask(f"https://{here}", "POST", path, context=context, **headers).error[2]
    assert f"the page is from http://{here}, and the request is for https://{here}" in words
    assert (
        "if 127.0.0.1 is its address, write below access: in config.yaml proxies: [127.0.0.1]"
        in words
    )
    assert "X-Forwarded-Proto: http" in words


@pytest.mark.parametrize("listed", ["", "https://dash.example.org http://pi.local:8123"])
def test_headers_against_other_sites(serve, listed):
    """Other sites can frame or include no answer, except that those in `access.origins` can frame
    the pages. Built-in pages run only scripts in our files; the user's can frame each other."""
    server = serve(f"{{origins: [{', '.join(map(repr, listed.split()))}]}}")

    def policy(path: str, ancestors: str, framed: str | None, referrer: str) -> dict[str, str]:
        """Return the Content-Security-Policy of a path, by directive."""
        headers = ask(server, "GET", path).headers
        assert headers["X-Frame-Options"] == framed
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == referrer
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        directives = headers["Content-Security-Policy"].split("; ")
        found = {words.split()[0]: words.partition(" ")[2] for words in directives}
        assert found["frame-ancestors"] == ancestors
        return found

    pages = [f"/{page.relative_to(BUILT_IN_WWW)}" for page in BUILT_IN_WWW.rglob("*.html")]
    assert "/index.html" in pages
    for page in ["/", "/no-such-page", *pages]:
        found = policy(page, listed or "'none'", None if listed else "DENY", "no-referrer")
        assert found["default-src"] == "'self'"
        assert found["object-src"] == found["base-uri"] == found["form-action"] == "'none'"
        assert not {"script-src", "script-src-elem", "script-src-attr"} & set(found)
        assert "unsafe" not in str(found)
    ancestors = f"'self' {listed}".strip()
    own = policy("/own.html", ancestors, None if listed else "SAMEORIGIN", "same-origin")
    assert own == {"frame-ancestors": ancestors}
    for path in ("/api", "/api/pins", "/api/openapi.json"):
        assert policy(path, "'none'", "DENY", "no-referrer")["default-src"] == "'none'"


def test_listed_origins(start_with_codes):
    """A page of `access.origins` reads and opens the WebSocket as a stranger does, or as its Bearer
    allows. Its cookies count for nothing, and it gets none. Other sites get what they got."""
    listed, other = "https://dash.example.org", "https://other.example.org"
    pi = start_with_codes(f"{{origins: [{listed}, 'http://localhost:8123']}}")
    code = pi.new("control")
    cookie, bearer = {"Cookie": pi.cookie(code)}, {"Authorization": f"Bearer {code}"}
    asks = {"Access_Control_Request_Method": "PUT"}
    for path in ("/api/pins/lamp", "/api/nothing", "/raspi.js"):
        allowed = pi.ask("OPTIONS", path, Origin=listed, **asks)
        assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (204, listed)
        assert "PUT" in allowed.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
        assert allowed.headers["Vary"] == "Origin"
        for origin in ({"Origin": other}, {"Origin": "null"}, {}):
            answer = pi.ask("OPTIONS", path, **origin, **asks)
            assert answer.status in (403, 404, 405)
            assert answer.headers["Vary"] == "Origin"
            assert "Access-Control-Allow-Origin" not in answer.headers
    for path in ("/api/hello", "/api/nothing", "/raspi.js", "/nothing"):
        for origin in (listed, listed.upper(), "http://localhost:8123", other, f"{listed}:1", None):
            found = pi.ask("GET", path, **({"Origin": origin} if origin else {}), **cookie)
            good = origin.lower() if origin not in (other, f"{listed}:1", None) else None
            assert found.headers["Access-Control-Allow-Origin"] == good
            assert "Origin" in found.headers.get_all("Vary")
            assert "Access-Control-Allow-Credentials" not in found.headers
    hello = pi.ask("GET", "/api/hello", Origin=listed, **cookie).json
    assert (hello["signed_in"], hello["access"]) == (None, "view")
    assert pi.switch(1, Origin=listed, **cookie).error[:2] == (401, "sign-in")
    assert pi.switch(1, Origin=listed, **bearer).status == 200
    assert pi.switch(1, Origin=other, **bearer).error[:2] == (403, "foreign")
    for path in ("/api/login", "/api/logout"):
        answer = pi.ask("POST", path, {"code": code}, Origin=listed, **cookie)
        assert answer.error[:2] == (403, "foreign")
        assert "Authorization: Bearer" in answer.error[2]
        assert "Set-Cookie" not in answer.headers
    for headers, right in (({**cookie, "Origin": listed}, None), (bearer, "control")):
        with pi.viewer(headers) as viewer:
            assert viewer.receive("hello")["signed_in"] == right
    assert handshake_status(pi.server, Origin=other) == 403
    # Our own pages decline their cookie while another site frames them.
    host = {"Host": f"127.0.0.1:{pi.server.port}"}
    with WebSocketClient(
        pi.server.port, headers={**cookie, **host}, path="/ws?cookies=no"
    ) as viewer:
        assert viewer.receive("hello")["signed_in"] is None


@pytest.mark.parametrize("here", ["everyone", "code", "nobody"])
def test_pins_of_other_pis(tmp_path: Path, here: Any) -> None:
    """A pin of another Pi has the stricter audience of `access.control` here and its own `control`,
    which counts as `code` if that Pi published none. A broker may switch ours unless nobody may."""
    codes = Codes(tmp_path)
    access = AccessConfig(control=here)
    policy = AccessPolicy(access, codes, Sessions(None), Links(None), ConnectionLimiter())
    (lamp,) = parse("  lamp: {gpio: 27, mode: output}").pins
    assert policy.broker_may_control(lamp) == (here != "nobody")
    codes.renew("control")
    codes.renew("view")
    control, view = (Caller("::1", code=codes.id(right)) for right in ("control", "view"))
    order = ("everyone", "code", "nobody")
    for published, caller in itertools.product((*order, None), (control, view, Caller("::1"))):
        stricter = max(here, published or "code", key=order.index)
        assert policy.fleet_audience(published) == stricter
        if stricter == "everyone" or (stricter == "code" and caller is control):
            policy.check_fleet("attic", "Lamp", published, caller)
            continue
        code = "not-allowed" if stricter == "nobody" else "sign-in"
        with pytest.raises(RequestError) as caught:
            policy.check_fleet("attic", "Lamp", published, caller)
        assert caught.value.code == code
