"""Rights to view and to switch, over the WebSocket and the API, and the names under which the
server answers."""

import functools
import itertools
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from raspi_server.config.schema import AccessConfig
from raspi_server.errors import RequestError
from raspi_server.net.connections import ConnectionLimiter
from raspi_server.security.access import AccessPolicy, Caller
from raspi_server.security.codes import Codes
from raspi_server.security.sessions import Sessions
from raspi_server.security.sign_in_links import Links
from raspi_server.web.context import BUILT_IN_WWW
from tests.support.http import HttpClient, ask
from tests.support.server import Server, check_end
from tests.support.websocket import WebSocketClient

PINS = """
pins:
  door:   {gpio: 17, mode: input}
  lamp:   {gpio: 27, mode: output}
  radio:  {gpio: 22, mode: output, control: everyone}
  gate:   {gpio: 5, mode: output, control: code}
  boiler: {gpio: 6, mode: pwm, control: nobody}
"""
NO_CODE = "needs the control code, and none exists yet (sudo raspi-server code --new control)"
OUTPUTS = ("lamp", "radio", "gate", "boiler")


class Case(NamedTuple):
    """The result of one `access` for each pin: None if it can be switched, else the error."""

    access: str
    right: str
    lamp: tuple[int, str, str] | None

    def rejection(self, pin: str) -> tuple[int, str, str] | None:
        """Return status, code and message for one pin; some have a `control` of their own."""
        if pin == "gate":
            return 401, "sign-in", f"switching gate {NO_CODE}"
        if pin == "boiler":
            message = "nobody may switch boiler (pins.boiler.control: nobody)"
            return 403, "not-allowed", message
        if pin == "radio":
            return None
        return self.lamp and (self.lamp[0], self.lamp[1], self.lamp[2].replace("lamp", pin))


EVERYONE = Case("{control: everyone, hosts: [Pi.Example.org, garden-pi]}", "control", None)
CODE = Case("{}", "view", (401, "sign-in", f"switching lamp {NO_CODE}"))
NOBODY = Case(
    "{control: nobody}",
    "view",
    (403, "not-allowed", "nobody may switch lamp (access.control: nobody)"),
)
PRIVATE = "{view: code, control: everyone}"
VIEWING_NEEDS_A_CODE = (
    "viewing needs an access code, and none exists yet (sudo raspi-server code --new view)"
)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Return `serve(access)`: the server of this module with this `access`."""
    servers = []

    @functools.cache
    def serve(access: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        (folder / "config.yaml").write_text(f"access: {access}\n{PINS}")
        (folder / "www").mkdir()
        (folder / "www" / "own.html").write_text("<script>document.title = 'mine'</script>")
        servers.append(Server(["run", "--simulate", "--config", str(folder / "config.yaml")]))
        return servers[-1]

    yield serve
    for server in servers:
        check_end(server)


@pytest.fixture
def everyone(serve):
    """A server whose pins everyone may switch."""
    return serve(EVERYONE.access)


@pytest.fixture
def default(serve):
    """A server as shipped: everyone may view, switching needs a code."""
    return serve(CODE.access)


@pytest.fixture
def private(serve):
    """A server where viewing needs a code, and switching does not."""
    return serve(PRIVATE)


@pytest.fixture(params=[EVERYONE, CODE, NOBODY], ids=["everyone", "code", "nobody"])
def case(request):
    return request.param


@pytest.fixture
def pi(serve, case):
    return serve(case.access)


def handshake_status(server: Server, **headers: str) -> int:
    """Return the status of the answer to a WebSocket handshake."""
    try:
        with WebSocketClient(server.port, headers=headers):
            return 101
    except AssertionError as error:
        return int(error.args[0].split()[1])


def test_switching_by_the_api(pi, case):
    """The API switches a pin exactly if `access.control`, or the pin's own `control`, permits it.
    Else it answers that a code is needed (401), or that nobody may (403)."""
    for pin in OUTPUTS:
        rejection = case.rejection(pin)
        for method, path, body in (
            ("PUT", f"/api/pins/{pin}", {"value": 1}),
            ("POST", f"/api/pins/{pin}/toggle", None),
            ("PUT", f"/api/pins/{pin}", {"value": 1}),
        ):
            answer = ask(pi, method, path, body)
            if rejection:
                assert answer.error == rejection
            else:
                assert answer.status == 200
        assert ask(pi, "GET", f"/api/pins/{pin}").json["value"] == (0 if rejection else 1)


def test_switching_by_the_socket(pi, case):
    """The WebSocket switches and drives exactly what the API switches, and rejects in the same
    words. `access` and each pin's `writable` say it beforehand."""
    with WebSocketClient(pi.port) as viewer:
        hello = viewer.receive("hello")
        assert hello["access"] == case.right
        writable = {pin["name"]: pin["writable"] for pin in hello["pins"]}
        assert writable == {"door": False} | {pin: not case.rejection(pin) for pin in OUTPUTS}
        listed = ask(pi, "GET", "/api/pins").json["pins"]
        assert {pin["name"]: pin["writable"] for pin in listed} == writable
        commands: list[dict[str, Any]] = [
            {"type": kind, "pin": pin} | ({"value": 1} if kind == "set" else {})
            for pin in OUTPUTS
            for kind in ("set", "toggle", "set")
        ]
        for command in [*commands, {"type": "drive", "pin": "door", "value": 1}]:
            answer = viewer.command(**command)
            rejection = case.rejection(command["pin"])
            if rejection:
                assert (answer["code"], answer["message"]) == rejection[1:]
            else:
                assert (answer["type"], answer["pin"]) == ("result", command["pin"])
    for pin in ("door", *OUTPUTS):
        value = ask(pi, "GET", f"/api/pins/{pin}").json["value"]
        assert value == (0 if case.rejection(pin) else 1)


def test_viewing_needs_a_code(private, default):
    """With `view: code` the API and the WebSocket show and switch nothing without a code, and do
    not tell which pins exist. The pages are served, so that they can ask for the code."""
    expected = (401, "sign-in", VIEWING_NEEDS_A_CODE)
    for path in ("/api", "/api/pins", "/api/pins/lamp", "/api/header"):
        assert ask(private, "GET", path).error == expected
        assert ask(default, "GET", path).status == 200
    for pin in ("lamp", "radio", "no-such-pin"):
        for method, action, body in (
            ("PUT", "", {"value": 1}),
            ("POST", "/toggle", None),
            ("POST", "/pulse", {"seconds": 1}),
        ):
            assert ask(private, method, f"/api/pins/{pin}{action}", body).error == expected
    with WebSocketClient(private.port) as viewer:
        viewer.send(type="set", pin="lamp", value=1)
        ((_, payload),) = viewer.frames()
        assert (int.from_bytes(payload[:2]), payload[2:].decode()) == (4401, VIEWING_NEEDS_A_CODE)
    assert ": on, by" not in private.log
    assert ask(private, "GET", "/").status == ask(private, "GET", "/style.css").status == 200


def test_health_needs_no_code(private, default):
    """Without the right to view, the health has only the status, for monitors. Other host names are
    rejected there, too."""
    answer = ask(private, "GET", "/api/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert ask(private, "HEAD", "/api/health").status == 200
    assert ask(private, "GET", "/api/health", Host="evil.example").status == 421
    assert {"status", "reasons", "addresses"} <= ask(default, "GET", "/api/health").json.keys()


def own_names() -> list[str]:
    full = socket.gethostname()
    short = full.partition(".")[0]
    local = [f"{short}.local", f"{short}.local".upper(), f"{short}.local.", f"{short}-2.local"]
    return [full, short, *local]


def test_names_of_this_server(everyone):
    """The server answers under any address, this machine's own names, and those in
    `access.hosts`, with any port and in any case."""
    names = ["localhost", "LOCALHOST", "127.0.0.1", "203.0.113.9", "[::1]", "[fe80::1]",
             "pi.example.org", "PI.example.org.", "garden-pi", *own_names()]  # fmt: skip
    with HttpClient(everyone) as client:
        for number, name in enumerate(names):
            port = ("", ":80", ":8080")[number % 3]
            for path in ("/api/pins", "/"):
                assert client.ask("GET", path, Host=name + port).status == 200, name


OTHER_NAMES = [
    "evil.example",
    "x.pi.example.org",
    "pi.example.org.evil.example",
    "127.0.0.1.evil.example",
    "local",
    "evil-2.local",
    f"{socket.gethostname().partition('.')[0]}-2.example",
    f"{socket.gethostname().partition('.')[0]}-200.local",
    "2130706433",
]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_are_rejected(everyone, name):
    """Under any other name (DNS rebinding) nothing is shown or switched, by API, file or WebSocket,
    although `Origin` fits. The answer says how to permit the name."""
    origin = {"Host": f"{name}:8080", "Origin": f"http://{name}:8080"}
    for path in ("/api/pins", "/", "/nothing", "/api/nothing"):
        answer = ask(everyone, "GET", path, **origin)
        assert answer.status == 421
        assert f"hosts: [{name}]" in answer.body.decode()
    answer = ask(everyone, "PUT", "/api/pins/radio", {"value": 1}, **origin)
    assert answer.error[:2] == (421, "unknown-host")
    assert handshake_status(everyone, **origin) == 421


@pytest.mark.parametrize("host", ["user@127.0.0.1", "evil.example/127.0.0.1", "evil.example,", "%"])
def test_malformed_name_is_rejected(everyone, host):
    """A `Host` that is no name at all is rejected."""
    assert ask(everyone, "GET", "/api/pins", Host=host).status in {400, 421}


def test_hosts_in_config_permit_a_name(everyone, default):
    """`access.hosts` permits another name, and nothing else does."""
    headers = {"Host": "garden-pi:8080", "Origin": "http://garden-pi:8080"}
    for server, status, handshake in ((everyone, 200, 101), (default, 421, 421)):
        answer = ask(server, "PUT", "/api/pins/radio", {"value": 1}, **headers)
        assert answer.status == status
        assert handshake_status(server, **headers) == handshake


def test_pages_of_this_server_may_switch(everyone):
    """A page of this server, opened by any of its names, may open the WebSocket and switch. So may
    a program, which sends no `Origin`."""
    port = everyone.port
    names = (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "pi.example.org")
    # https: behind the owner's proxy
    pages = [{"Host": n, "Origin": f"{s}://{n}"} for n in names for s in ("http", "https")]
    for headers in ({}, *pages):
        with WebSocketClient(port, headers=headers) as viewer:
            assert viewer.receive("hello")["access"] == "control"
            assert viewer.command(type="toggle", pin="radio")["type"] == "result"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "http://evil.example#127.0.0.1:{port}",
        "http://127.0.0.1:{port}/",
        "null",
        "",
    ],
)
def test_pages_of_other_sites_may_not(everyone, origin):
    """A page of another site, or of another port of this machine, can neither open the WebSocket
    nor switch by the API."""
    host = f"127.0.0.1:{everyone.port}"
    headers = {"Host": host, "Origin": origin.replace("{port}", str(everyone.port))}
    assert handshake_status(everyone, **headers) == 403
    answer = ask(everyone, "POST", "/api/pins/radio/toggle", **headers)
    assert answer.error == (403, "foreign", "pages of other sites may not do this")


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 200),
        ("GET", "/no-such-page", 404),
        ("POST", "/", 405),
        ("GET", "/own.html", 200),
        ("GET", "/api", 200),
        ("GET", "/api/pins/nope", 404),
        ("GET", "/api/nope", 404),
        ("DELETE", "/api/pins", 403),
        ("PUT", "/api/pins/radio", 413),
        ("GET", "/ws", 403),
    ],
)
def test_security_headers_of_every_answer(default, method, path, status):
    """Other sites can frame no answer, guess no type, learn no address from a link, and read
    nothing (no CORS)."""
    body = bytes(70_000) if status == 413 else None
    answer = ask(default, method, path, body, Origin="http://evil.example")
    assert answer.status == status
    headers = answer.headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.startswith("Access-Control")]


def policy(server: Server, path: str) -> dict[str, str]:
    """Return the Content-Security-Policy of a path, by directive."""
    text = ask(server, "GET", path).headers["Content-Security-Policy"]
    return {words.split()[0]: words.partition(" ")[2] for words in text.split("; ")}


def test_content_security_policy(default):
    """Built-in pages run only scripts in files of this server: none inline, none of other sites, no
    plugin, no form that leads elsewhere. The owner's pages are free, except for framing. Other
    sites cannot include an answer of the API."""
    pages = [f"/{page.relative_to(BUILT_IN_WWW)}" for page in BUILT_IN_WWW.rglob("*.html")]
    assert "/index.html" in pages
    for page in ["/", "/no-such-page", *pages]:
        found = policy(default, page)
        assert found["default-src"] == "'self'"
        assert found["object-src"] == found["base-uri"] == found["form-action"] == "'none'"
        assert not {"script-src", "script-src-elem", "script-src-attr"} & set(found)
        assert "unsafe" not in str(found)
    for page in BUILT_IN_WWW.glob("*.html"):
        text = page.read_text()
        assert 'http-equiv="Content-Security-Policy"' in text  # in a checkout the only one
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son[a-z]+=|<style|\sstyle=", text)
    assert policy(default, "/own.html") == {"frame-ancestors": "'none'"}
    for path in ("/api", "/api/pins", "/api/openapi.json"):
        headers = ask(default, "GET", path).headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert policy(default, path)["default-src"] == "'none'"


@pytest.mark.parametrize("here", ["everyone", "code", "nobody"])
def test_pins_of_other_pis(tmp_path: Path, here: Any) -> None:
    """A pin of another Pi has the stricter audience of `access.control` here and its own `control`,
    which counts as `code` if that Pi published none."""
    codes = Codes(tmp_path)
    limiter = ConnectionLimiter()
    access = AccessConfig(control=here)
    policy = AccessPolicy(access, codes, Sessions(None), Links(None), limiter)
    codes.renew("control")
    codes.renew("view")
    control, view = (Caller("::1", code=codes.id(right)) for right in ("control", "view"))
    order = ("everyone", "code", "nobody")
    for published, caller in itertools.product((*order, None), (control, view, Caller("::1"))):
        stricter = max(here, published or "code", key=order.index)
        assert policy.fleet_audience(published) == stricter
        if stricter == "everyone" or (stricter == "code" and caller is control):
            policy.check_fleet("lamp", published, caller)
            continue
        code = "not-allowed" if stricter == "nobody" else "sign-in"
        with pytest.raises(RequestError) as caught:
            policy.check_fleet("lamp", published, caller)
        assert caught.value.code == code
