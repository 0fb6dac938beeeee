"""Rights to view and to switch, over the WebSocket and the API, and the names under which the
server answers."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from raspi_server.web.context import BUILT_IN_WWW
from tests.support.http import ask
from tests.support.server import LIMIT, Server

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

    def refusal(self, pin: str) -> tuple[int, str, str] | None:
        """Status, code and words for one pin; those with a `control` of their own go their way."""
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
LOOKING_NEEDS_A_CODE = (
    "viewing needs an access code, and none exists yet (sudo raspi-server code --new view)"
)


def serve(folder: Path, access: str) -> Iterator[Server]:
    file = folder / "config.yaml"
    file.write_text(f"access: {access}\n{PINS}")
    (folder / "www").mkdir()
    (folder / "www" / "own.html").write_text("<script>document.title = 'mine'</script>")
    server = Server(["run", "--simulate", "--config", str(file)])
    yield server
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Everyone may switch."""
    yield from serve(tmp_path_factory.mktemp("open"), EVERYONE.access)


@pytest.fixture(scope="module")
def usual_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As shipped: everyone may look, switching needs a code."""
    yield from serve(tmp_path_factory.mktemp("usual"), CODE.access)


@pytest.fixture(scope="module")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Nobody may switch."""
    yield from serve(tmp_path_factory.mktemp("museum"), NOBODY.access)


@pytest.fixture(scope="module")
def closed_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Looking needs a code, though switching would not."""
    yield from serve(tmp_path_factory.mktemp("closed"), "{view: code, control: everyone}")


@pytest.fixture(params=["open_house", "usual_house", "museum"])
def pi(request: pytest.FixtureRequest) -> tuple[Server, Case]:
    cases = {"open_house": EVERYONE, "usual_house": CODE, "museum": NOBODY}
    return request.getfixturevalue(request.param), cases[request.param]


class Talk(NamedTuple):
    """The messages of a WebSocket: `hello` or None, an answer to each message, and how it closed
    if the server closed it first."""

    hello: Any
    answers: list[Any]
    close_code: int | None
    close_reason: str | None


def talk(server: Server, *messages: dict[str, Any], **headers: str) -> Talk:
    """Opens a WebSocket and sends messages. Raises HTTPClientError where it is not let in."""

    async def converse() -> Talk:
        request = HTTPRequest(server.ws_url, headers=headers)
        connection = await websocket_connect(request)
        hello, answers = None, []
        text: str | bytes | None = ""
        try:
            while len(answers) < len(messages) or hello is None:
                text = await connection.read_message()
                if text is None:
                    break
                message = json.loads(text)
                if message["type"] == "hello":
                    hello = message
                    for ref, order in enumerate(messages):
                        await connection.write_message(json.dumps({**order, "ref": ref}))
                elif message["type"] in ("result", "error"):
                    answers.append(message)
            answers.sort(key=lambda answer: answer["ref"])
            return Talk(hello, answers, connection.close_code, connection.close_reason)
        finally:
            connection.close()
            while text is not None:
                text = await connection.read_message()

    return asyncio.run(asyncio.wait_for(converse(), LIMIT))


def turned_away(server: Server, **headers: str) -> int:
    """The status with which a WebSocket is not let in."""
    with pytest.raises(HTTPClientError) as caught:
        talk(server, **headers)
    return caught.value.code


# Switching


def test_who_may_switch_by_the_api(pi: tuple[Server, Case]) -> None:
    """The API switches a pin exactly when `access.control`, or the pin's own `control`, lets
    everyone; else it says what is missing (401) or that nobody may (403), and switches nothing."""
    server, case = pi
    for pin in OUTPUTS:
        refusal = case.refusal(pin)
        for method, path, body in (
            ("PUT", f"/api/pins/{pin}", {"value": 1}),
            ("POST", f"/api/pins/{pin}/toggle", None),
            ("PUT", f"/api/pins/{pin}", {"value": 1}),
        ):
            answer = ask(server, method, path, body)
            if refusal:
                assert answer.error == refusal
            else:
                assert answer.status == 200
        assert ask(server, "GET", f"/api/pins/{pin}").json["value"] == (0 if refusal else 1)


def test_who_may_switch_by_the_socket(pi: tuple[Server, Case]) -> None:
    """The WebSocket switches exactly what the API switches, and refuses in the same words."""
    server, case = pi
    orders = [
        {"type": kind, "pin": pin} | ({"value": 1} if kind == "set" else {})
        for pin in OUTPUTS
        for kind in ("set", "toggle", "set")
    ]
    heard = talk(server, *orders)
    for order, answer in zip(orders, heard.answers, strict=True):
        refusal = case.refusal(order["pin"])
        if refusal:
            assert (answer["type"], answer["code"], answer["message"]) == ("error", *refusal[1:])
        else:
            assert (answer["type"], answer["pin"]) == ("result", order["pin"])
    values = {pin: ask(server, "GET", f"/api/pins/{pin}").json["value"] for pin in OUTPUTS}
    assert values == {pin: 0 if case.refusal(pin) else 1 for pin in OUTPUTS}


def test_pages_are_told_what_they_may(pi: tuple[Server, Case]) -> None:
    """`access` and each pin's `writable` say beforehand what a command will meet."""
    server, case = pi
    hello = talk(server).hello
    assert hello["access"] == case.right
    writable = {pin["name"]: pin["writable"] for pin in hello["pins"]}
    assert writable == {"door": False} | {pin: case.refusal(pin) is None for pin in OUTPUTS}
    listed = ask(server, "GET", "/api/pins").json["pins"]
    assert {pin["name"]: pin["writable"] for pin in listed} == writable


def test_who_may_drive(pi: tuple[Server, Case]) -> None:
    """Moving a simulated input needs the same right as switching."""
    server, case = pi
    heard = talk(server, {"type": "drive", "pin": "door", "value": 1})
    refusal = case.refusal("door")
    if refusal:
        assert (heard.answers[0]["code"], heard.answers[0]["message"]) == refusal[1:]
    else:
        assert (heard.answers[0]["type"], heard.answers[0]["value"]) == ("result", 1)
    assert ask(server, "GET", "/api/pins/door").json["value"] == (0 if refusal else 1)


# Viewing


@pytest.mark.parametrize("path", ["/api", "/api/pins", "/api/pins/lamp", "/api/header"])
def test_looking_may_need_a_code(closed_house: Server, usual_house: Server, path: str) -> None:
    """With `view: code` the API shows nothing without one and says so; with `everyone`, all."""
    refusal = ask(closed_house, "GET", path).error
    assert refusal == (401, "sign-in", LOOKING_NEEDS_A_CODE)
    assert ask(usual_house, "GET", path).status == 200


def test_a_monitor_needs_no_code(closed_house: Server, usual_house: Server) -> None:
    """The health is one word for those who may not look, with the status that monitors go by, and
    all of it for those who may. A foreign name stays refused."""
    answer = ask(closed_house, "GET", "/api/health")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert ask(closed_house, "HEAD", "/api/health").status == 200
    assert ask(closed_house, "GET", "/api/health", Host="evil.example").status == 421
    assert {"status", "reasons", "addresses"} <= ask(usual_house, "GET", "/api/health").json.keys()


def test_touching_needs_the_right_to_look(closed_house: Server) -> None:
    """Who may not look cannot switch either, and learns nothing of which pins there are."""
    for pin in ("lamp", "radio", "gate", "no-such-pin"):
        for method, path, body in (
            ("PUT", f"/api/pins/{pin}", {"value": 1}),
            ("POST", f"/api/pins/{pin}/toggle", None),
            ("POST", f"/api/pins/{pin}/pulse", {"seconds": 1}),
        ):
            refusal = ask(closed_house, method, path, body).error
            assert refusal == (401, "sign-in", LOOKING_NEEDS_A_CODE)
    assert ": on, by" not in closed_house.log


def test_the_socket_asks_to_sign_in(closed_house: Server) -> None:
    """Where viewing needs a code, the WebSocket is opened, since a page cannot read a refusal of
    it, and closed with 4401 and the reason; nothing is shown before."""
    heard = talk(closed_house, {"type": "set", "pin": "lamp", "value": 1})
    assert heard == Talk(None, [], 4401, LOOKING_NEEDS_A_CODE)


def test_the_page_itself_needs_no_code(closed_house: Server) -> None:
    """The dashboard's own files can be had without a code, to ask for one."""
    assert ask(closed_house, "GET", "/").status == 200
    assert ask(closed_house, "GET", "/style.css").status == 200


# Under which names


def own_names() -> list[str]:
    full = socket.gethostname()
    short = full.partition(".")[0]
    local = [f"{short}.local", f"{short}.local".upper(), f"{short}.local.", f"{short}-2.local"]
    return [full, short, *local]


GOOD_NAMES = [
    "localhost",
    "LOCALHOST",
    "127.0.0.1",
    "192.168.1.77",
    "203.0.113.9",
    "[::1]",
    "[fe80::1]",
    "[2001:db8::7]",
    "pi.example.org",
    "PI.example.org.",
    "garden-pi",
    *own_names(),
]
BAD_NAMES = [
    "evil.example",
    "example.org",
    "x.pi.example.org",
    "pi.example.org.evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127-0-0-1.evil.example",
    "local",
    "evil.local",
    "evil-2.local",
    f"{socket.gethostname().partition('.')[0]}-2.example",
    "2130706433",
]


@pytest.mark.parametrize("port", ["", ":80", ":8080"])
@pytest.mark.parametrize("name", GOOD_NAMES)
def test_names_of_this_server(open_house: Server, name: str, port: str) -> None:
    """The server is reached by any address, by this machine's own names, and by those in
    `access.hosts`, whatever the port and the case."""
    for path in ("/api/pins", "/"):
        assert ask(open_house, "GET", path, Host=name + port).status == 200


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_of_others(open_house: Server, usual_house: Server, name: str) -> None:
    """Under any other name nothing is shown or switched, by API, file or WebSocket, and the answer
    says how to let the name in."""
    for path in ("/api/pins", "/", "/nothing", "/api/nothing"):
        answer = ask(open_house, "GET", path, Host=f"{name}:8080")
        assert answer.status == 421
        assert f"hosts: [{name}]" in answer.body.decode()
    order = {"value": 1}
    assert ask(open_house, "PUT", "/api/pins/radio", order, Host=name).status == 421
    assert turned_away(open_house, Host=name) == 421
    assert ask(usual_house, "GET", "/api/pins", Host=name).status == 421


def test_a_name_is_let_in_by_the_file_alone(open_house: Server, usual_house: Server) -> None:
    """A further name is let in by `access.hosts` and by nothing else."""
    name = {"Host": "garden-pi:8080", "Origin": "http://garden-pi:8080"}
    order = {"type": "set", "pin": "radio", "value": 1}
    assert ask(open_house, "PUT", "/api/pins/radio", {"value": 1}, **name).status == 200
    assert talk(open_house, order, **name).answers[0]["type"] == "result"
    assert ask(usual_house, "PUT", "/api/pins/radio", {"value": 1}, **name).status == 421
    assert turned_away(usual_house, **name) == 421


@pytest.mark.parametrize("host", ["user@127.0.0.1", "evil.example/127.0.0.1", "evil.example,", "%"])
def test_a_name_that_is_none(open_house: Server, host: str) -> None:
    """What is no name at all does not pass for one."""
    assert ask(open_house, "GET", "/api/pins", Host=host).status in {400, 421}


# Pages of other sites


def test_pages_of_this_server_are_let_in(open_house: Server) -> None:
    """A page of this server, by whatever name it was opened, may open the WebSocket and switch;
    and so may a program, which says of no page."""
    order = {"type": "toggle", "pin": "radio"}
    port = open_house.port
    assert talk(open_house, order).answers[0]["type"] == "result"
    for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "pi.example.org"):
        for scheme in ("http", "https"):  # https: behind a proxy of the user's own
            heard = talk(open_house, order, Host=name, Origin=f"{scheme}://{name}")
            assert heard.answers[0]["type"] == "result"
            assert heard.hello["access"] == "control"


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
def test_pages_of_other_sites_are_not(open_house: Server, origin: str) -> None:
    """A page of another site, of another port on this machine even, neither opens the WebSocket,
    where it could look and switch, nor switches by the API."""
    origin = origin.replace("{port}", str(open_house.port))
    assert turned_away(open_house, Origin=origin) == 403
    answer = ask(open_house, "POST", "/api/pins/radio/toggle", Origin=origin)
    assert answer.error == (403, "foreign", "pages of other sites may not do this")


def test_a_rebound_name_is_no_way_in(open_house: Server) -> None:
    """A page whose own name was turned to this server's address (DNS rebinding), so that its
    origin fits, is turned away for the name."""
    headers = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}
    assert turned_away(open_house, **headers) == 421
    refusal = ask(open_house, "PUT", "/api/pins/radio", {"value": 1}, **headers).error
    assert refusal[:2] == (421, "unknown-host")
    assert ask(open_house, "GET", "/", **headers).status == 421


# Framing, and other headers of our pages


ANSWERS = [
    ("GET", "/", 200),
    ("GET", "/style.css", 200),
    ("GET", "/no-such-page", 404),
    ("POST", "/", 405),
    ("GET", "/own.html", 200),
    ("GET", "/api", 200),
    ("GET", "/api/pins/nope", 404),
    ("GET", "/api/nope", 404),
    ("DELETE", "/api/pins", 403),
    ("PUT", "/api/pins/radio", 413),
    ("GET", "/ws", 403),
]


@pytest.mark.parametrize("method, path, status", ANSWERS)
def test_nobody_frames_or_guesses(usual_house: Server, method: str, path: str, status: int) -> None:
    """No page of another site may frame anything of this server, take it for another kind of file,
    or learn from a link where it was; and none is let in by CORS."""
    body = bytes(70_000) if status == 413 else None
    answer = ask(usual_house, method, path, body, Origin="http://evil.example")
    assert answer.status == status
    headers = answer.headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.startswith("Access-Control")]


def policy(server: Server, path: str) -> dict[str, str]:
    """The Content-Security-Policy of what is at a path, by directive."""
    text = ask(server, "GET", path).headers["Content-Security-Policy"]
    return {words.split()[0]: words.partition(" ")[2] for words in text.split("; ")}


def test_our_pages_keep_to_a_strict_policy(usual_house: Server) -> None:
    """Our own pages run no script but from files of this server: none inline, none of other sites,
    no plugin, no form that leads elsewhere."""
    pages = [f"/{page.relative_to(BUILT_IN_WWW)}" for page in BUILT_IN_WWW.rglob("*.html")]
    assert "/index.html" in pages
    for page in ["/", "/no-such-page", *pages]:
        found = policy(usual_house, page)
        assert found["default-src"] == "'self'"
        assert found["object-src"] == found["base-uri"] == found["form-action"] == "'none'"
        assert not {"script-src", "script-src-elem", "script-src-attr"} & set(found)
        assert "unsafe" not in str(found)
    for page in BUILT_IN_WWW.glob("*.html"):
        text = page.read_text()
        assert 'http-equiv="Content-Security-Policy"' in text  # in a checkout this alone says so
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son[a-z]+=|<style|\sstyle=", text)


def test_own_pages_do_as_they_like(usual_house: Server) -> None:
    """A page in the user's own folder may have scripts of any kind; only framing is not for it to
    allow."""
    assert policy(usual_house, "/own.html") == {"frame-ancestors": "'none'"}


@pytest.mark.parametrize("path", ["/api", "/api/pins", "/api/openapi.json"])
def test_answers_of_the_api_are_no_pictures(usual_house: Server, path: str) -> None:
    """A page of another site cannot take an answer of the API for a picture or a script."""
    answer = ask(usual_house, "GET", path)
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert policy(usual_house, path)["default-src"] == "'none'"
