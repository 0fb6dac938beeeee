"""The HTTP API: every route, every error with its reason, and the OpenAPI description of all."""

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raspi_server import __version__
from raspi_server.web import routes
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import WebSocketClient

CONFIG = """
access: {control: everyone}
pins:
  door:    {gpio: 17, mode: input, label: Front door, pull: up, debounce: 0.02}
  lamp:    {gpio: 27, mode: output, label: Desk lamp, active: low, confirm: true, max_on: 3600}
  bell:    {gpio: 22, mode: output, pulse: 0.05}
  gate:    {gpio: 5, mode: output, pulse: 60}
  fan:     {gpio: 18, mode: pwm, initial: 0.35}
  boiler:  {gpio: 6, mode: output, control: nobody}
  up:      {gpio: 12, mode: output, group: shutter, group_pause: 0}
  down:    {gpio: 13, mode: output, group: shutter, group_pause: 60}
"""
NAMES = re.findall(r"^  ([\w-]+):", CONFIG, re.MULTILINE)
MAX_BODY = 32 * 1024
GETS = (
    "/api",
    "/api/hello",
    "/api/pins",
    "/api/pins/lamp",
    "/api/pins/lamp/history",
    "/api/history",
    "/api/health",
    "/api/header",
    "/api/openapi.json",
)
COMMANDS = (
    ("PUT", "/api/pins/{}", {"value": 1}),
    ("POST", "/api/pins/{}/toggle", None),
    ("POST", "/api/pins/{}/pulse", {"seconds": 1}),
)
"""Every command that a client can send to a pin."""


def put(server: Server, pin: str, value: Any, **headers: str) -> Response:
    return ask(server, "PUT", f"/api/pins/{pin}", {"value": value}, **headers)


def value_of(server: Server, pin: str) -> Any:
    return ask(server, "GET", f"/api/pins/{pin}").json["value"]


def same(pin: Any) -> Any:
    """Return an object equal to this pin. Two readings of two clocks may differ a little."""
    since = pin["since"]
    return {**pin, "since": since and pytest.approx(since, rel=0, abs=1e-3)}


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    return start_module_server(CONFIG)


@pytest.fixture(scope="module")
def broken(
    start_module_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server that wants real pins where lgpio is not installed, so that all of them fail."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "lgpio.py").write_text("raise ModuleNotFoundError(\"No module named 'lgpio'\")\n")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    config = "gpio: real\n" + CONFIG.lstrip()
    return start_module_server(config, simulate=False, env={**os.environ, "PYTHONPATH": path})


# Reading


def test_index_links_to_everything(pi: Server) -> None:
    """`/api` has name and version, and links that work."""
    before = time.time()
    found = ask(pi, "GET", "/api").json
    assert before - 1 < found.pop("time") < time.time() + 1
    links = found.pop("links")
    assert found == {
        "name": "raspi-server",
        "version": __version__,
        "host": socket.gethostname(),
        "simulated": True,
    }
    assert set(links) == {"hello", "pins", "history", "header", "health", "openapi", "websocket"}
    websocket = links.pop("websocket")
    assert {ask(pi, "GET", path).status for path in links.values()} == {200}
    assert b"WebSocket" in ask(pi, "GET", websocket).body


def test_pins_are_in_the_order_of_the_configuration(pi: Server) -> None:
    """All pins are listed in the order of config.yaml, with all that a page needs to show them. One
    pin alone reads the same."""
    found = ask(pi, "GET", "/api/pins").json
    assert abs(found["time"] - time.time()) < LIMIT
    pins = {pin["name"]: pin for pin in found["pins"]}
    assert list(pins) == NAMES
    usual = {"writable": True, "pulse": None, "max_on": None, "group": None, "confirm": False,
             "control": None, "error": None}  # fmt: skip
    assert pins["door"] == usual | {
        "name": "door", "label": "Front door", "gpio": 17, "header": 11, "mode": "input",
        "value": 0, "since": None, "writable": False,
    }  # fmt: skip
    lamp = {key: value for key, value in pins["lamp"].items() if key not in ("value", "since")}
    assert lamp == usual | {
        "name": "lamp", "label": "Desk lamp", "gpio": 27, "header": 13, "mode": "output",
        "control": "everyone", "confirm": True, "max_on": 3600,
    }  # fmt: skip
    assert (pins["fan"]["mode"], pins["fan"]["label"]) == ("pwm", "fan")
    assert pins["gate"]["pulse"] == 60
    assert pins["up"]["group"] == pins["down"]["group"] == "shutter"
    assert (pins["boiler"]["writable"], pins["boiler"]["control"]) == (False, "nobody")
    for name, pin in pins.items():
        assert ask(pi, "GET", f"/api/pins/{name}").json == same(pin)


def test_health_and_hello_are_those_of_the_websocket(pi: Server) -> None:
    """Clients that poll get the same hello and health as viewers of `/ws`, and a status."""
    with WebSocketClient(pi.port) as viewer:
        sent_hello, sent_health = viewer.receive("hello"), viewer.receive("health")
        hello, health = ask(pi, "GET", "/api/hello").json, ask(pi, "GET", "/api/health")
    assert hello["id"] != sent_hello["id"]
    assert {**hello, "id": "", "time": 0} == {**sent_hello, "id": "", "time": 0}
    assert set(health.json) == {*sent_health, "status", "reasons"}
    assert health.json["addresses"] == sent_health["addresses"]
    assert (health.status, health.json["viewers"]) == (200, 1)
    assert (health.json["status"], health.json["reasons"]) == ("ok", [])


def test_header_shows_forty_positions(pi: Server) -> None:
    """The header lists all forty positions, and our pins with their name and value."""
    put(pi, "lamp", 1)
    found = ask(pi, "GET", "/api/header").json
    pins = {pin["position"]: pin for pin in found["pins"]}
    assert "Raspberry Pi" in found["model"]
    assert list(pins) == list(range(1, 41))
    assert pins[13] == {"position": 13, "function": "GPIO27", "gpio": 27, "pin": "lamp",
                        "holder": "raspi-server", "value": 1}  # fmt: skip
    free = {"gpio": None, "holder": None, "pin": None, "value": None}
    assert pins[1] == free | {"position": 1, "function": "3V3"}
    assert pins[6] == free | {"position": 6, "function": "GND"}
    assert pins[37] == free | {"position": 37, "function": "GPIO26", "gpio": 26}
    assert sorted(pin["pin"] for pin in found["pins"] if pin["holder"]) == sorted(NAMES)


def test_head_is_get_without_the_body(pi: Server) -> None:
    """Each path that can be read answers HEAD with the headers of GET, and no body."""
    for path in GETS:
        get, head = ask(pi, "GET", path), ask(pi, "HEAD", path)
        assert (get.status, head.status, head.body, bool(get.body)) == (200, 200, b"", True), path
        # The time has more digits at one moment than at another.
        assert abs(int(head.headers["Content-Length"]) - len(get.body)) < 10
        unequal = {"Date", "Content-Length"}
        assert {k: v for k, v in head.headers.items() if k not in unequal} == {
            k: v for k, v in get.headers.items() if k not in unequal
        }


# Switching


def test_put_sets_a_value(pi: Server) -> None:
    """PUT sets an output to 0 or 1 and a pwm pin to any value between. The answer is the pin."""
    put(pi, "lamp", 0)
    before = time.time()
    on = put(pi, "lamp", 1)
    assert (on.status, on.json["name"], on.json["value"]) == (200, "lamp", 1)
    assert before - 1 < on.json["since"] < time.time() + 1
    assert ask(pi, "GET", "/api/pins/lamp").json == same(on.json)
    assert put(pi, "lamp", 1.0).json == same(on.json)  # no change, so `since` stays
    off = put(pi, "lamp", 0)
    assert (off.json["value"], off.json["since"] > on.json["since"]) == (0, True)
    assert value_of(pi, "lamp") == 0
    assert [put(pi, "fan", value).json["value"] for value in (0.42, 0, 1)] == [0.42, 0, 1]


def test_toggle(pi: Server) -> None:
    """Toggle switches an output to its other value, a pwm pin between 0 and its last value."""
    for pin, values in (("lamp", [1, 0, 1]), ("fan", [0.6, 0, 0.6])):
        put(pi, pin, values[0])
        answers = [ask(pi, "POST", f"/api/pins/{pin}/toggle") for _ in range(2)]
        assert [(each.status, each.json["value"]) for each in answers] == [
            (200, values[1]),
            (200, values[2]),
        ]


@pytest.mark.parametrize(
    ("pin", "gpio", "body"),
    [
        ("bell", 22, None),
        ("gate", 5, {"seconds": 0.02}),
        ("lamp", 27, {"seconds": 0.02}),
    ],
)
def test_pulse_ends_by_itself(pi: Server, pin: str, gpio: int, body: Any) -> None:
    """A pulse without `seconds` is as long as the pin's own. With them it may be shorter, or on a
    pin that has no pulse of its own."""
    put(pi, pin, 0)
    ended = pi.log.count(f"{pin} (GPIO{gpio}): off, by pulse")
    answer = ask(pi, "POST", f"/api/pins/{pin}/pulse", body)
    assert (answer.status, answer.json["value"]) == (200, 1)
    pi.wait_for_log(rf"{pin} \(GPIO{gpio}\): off, by pulse", again=ended)
    assert value_of(pi, pin) == 0


def test_longest_pulse(pi: Server) -> None:
    """A pulse may be as long as the pin's own `pulse` or `max_on`."""
    for pin, seconds in (("gate", 60), ("lamp", 3600)):
        assert ask(pi, "POST", f"/api/pins/{pin}/pulse", {"seconds": seconds}).json["value"] == 1
        put(pi, pin, 0)


@pytest.mark.parametrize(
    "pin, body, reason",
    [
        ("gate", {"seconds": 61}, r"gate: expected 0\.01 to 60 seconds, got 61"),
        ("lamp", {"seconds": 3601}, r"lamp: expected 0\.01 to 3600 seconds, got 3601"),
        ("lamp", {"seconds": 0.009}, r">= 0\.01 - at `\$\.seconds`"),
        ("lamp", {"seconds": 86401}, r"<= 86400.* - at `\$\.seconds`"),
        ("lamp", {"seconds": "1"}, r"Expected `float \| null`, got `str`"),
        ("lamp", {"second": 1}, r"unknown field `second`"),
        ("lamp", {}, r"lamp: expected seconds, since the pin has no pulse in config.yaml"),
        ("fan", {"seconds": 1}, r"fan: expected an output; a pwm pin has no pulse"),
    ],
)
def test_invalid_pulse(pi: Server, pin: str, body: Any, reason: str) -> None:
    """An invalid pulse is a 422 that says what was expected, and switches nothing."""
    put(pi, pin, 0)
    status, code, message = ask(pi, "POST", f"/api/pins/{pin}/pulse", body).error
    assert (status, code) == (422, "bad-value")
    assert re.search(reason, message), message
    assert value_of(pi, pin) == 0


# Errors


def test_unknown_path(pi: Server) -> None:
    """A path that does not exist is a 404 that names it, whatever the method."""
    for path in ("/api/", "/api/nothing", "/api/pins/", "/api/pins/lamp/burn"):
        for method in ("GET", "PUT", "OPTIONS"):
            assert ask(pi, method, path).error == (404, "not-found", f"there is nothing at {path}")


def test_unknown_pin(pi: Server) -> None:
    """A pin that does not exist is a 404 that names it."""
    for name in ("garage", "LAMP", "lamp%20", "%2e%2e", "l%C3%A4mp", "lamp%0A"):
        for method, path, body in (("GET", "/api/pins/{}", None), *COMMANDS):
            status, code, message = ask(pi, method, path.format(name), body).error
            assert (status, code) == (404, "unknown-pin")
            assert message.startswith("there is no pin '")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "BREW"])
def test_other_method(pi: Server, method: str) -> None:
    """A method that a path does not have is a 405 that lists those it has."""
    for path, handler in routes.API:
        known = {name.upper() for name in handler.operations}
        known |= {"HEAD"} if "GET" in known else set()
        if method in known:
            continue
        answer = ask(pi, method, path.replace("{name}", "lamp"))
        assert answer.status == 405
        assert set((answer.headers["Allow"] or "").split(", ")) == known
        assert method == "HEAD" or answer.error[1] == "method"


def test_body_that_is_not_json(pi: Server) -> None:
    """A body that is not JSON, or nested too deep, is a 400 that says so, and switches nothing."""
    put(pi, "lamp", 0)
    bodies = (b"on", b"{", b" ", b"\xff\xfe", b'\xef\xbb\xbf{"value":1}', b"[" * 30_000)
    valued = (b'{"value":1}}', b'{"value":NaN}', b'{"value":1}\x00', b'{"value":' + b"[" * 30_000)
    asked = [("PUT", "/api/pins/lamp", body) for body in (*bodies, *valued)]
    asked += [("POST", "/api/pins/lamp/pulse", body) for body in bodies]
    for method, path, body in asked:
        status, code, message = ask(pi, method, path, body).error
        assert (status, code) in {(400, "bad-message"), (422, "bad-value")}, body[:20]
        assert message.startswith("expected JSON: ") or b"[" in body, body[:20]
    assert value_of(pi, "lamp") == 0


@pytest.mark.parametrize(
    "pin, body, reason",
    [
        ("lamp", b"", r"missing required field `value`"),
        ("lamp", b"null", r"Expected `object`, got `null`"),
        ("lamp", b'{"value":2}', r"<= 1.* - at `\$\.value`"),
        ("lamp", b'{"value":1e999}', r"out of range - at `\$\.value`"),
        ("lamp", b'{"value":0.5}', r"lamp: expected 0 or 1, got 0\.5"),
        ("lamp", b'{"value":true}', r"Expected `float`, got `bool` - at `\$\.value`"),
        ("lamp", b'{"value":"1"}', r"Expected `float`, got `str` - at `\$\.value`"),
        ("lamp", b'{"value":1,"for":9}', r"unknown field `for`"),
        ("fan", b'{"value":1.01}', r"<= 1.* - at `\$\.value`"),
        ("fan", b'{"value":-0.01}', r">= 0.* - at `\$\.value`"),
    ],
)
def test_invalid_value(pi: Server, pin: str, body: bytes, reason: str) -> None:
    """A value that the pin cannot have is a 422 that says what was expected. Nothing changes."""
    put(pi, pin, 0)
    status, code, message = ask(pi, "PUT", f"/api/pins/{pin}", body).error
    assert (status, code) == (422, "bad-value")
    assert re.search(reason, message), message
    assert value_of(pi, pin) == 0


def test_pin_that_may_not_be_switched(pi: Server) -> None:
    """No command switches an input, or a pin with `control: nobody`. The answer says why."""
    for method, path, body in COMMANDS:
        error = ask(pi, method, path.format("door"), body).error
        assert error == (403, "not-writable", "door (GPIO17) is an input")
        status, code, message = ask(pi, method, path.format("boiler"), body).error
        assert (status, code) == (403, "not-allowed")
        assert "nobody may switch" in message
    assert value_of(pi, "door") == value_of(pi, "boiler") == 0


def test_later_command_of_a_group_wins(pi: Server) -> None:
    """A command that waits for its group's pause is replaced by the next, and gets a 409."""
    assert put(pi, "up", 1).status == 200
    answers: list[Response] = []
    waiting = threading.Thread(target=lambda: answers.append(put(pi, "down", 1)))
    waiting.start()
    pi.wait_for_log(r"up \(GPIO12\): off")  # so `down` waits for the pause
    assert put(pi, "down", 0).json["value"] == 0
    waiting.join(LIMIT)
    status, code, message = answers[0].error
    assert (status, code) == (409, "superseded")
    assert "switched off" in message


# Bodies of any length

PUT_HEAD = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\n"
ON = b'{"value":1}'
CHUNKED = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%b\r\n%x\r\n%b\r\n"


def raw(server: Server, request: bytes) -> bytes:
    """Return all that is received until the server closes, maybe with a part of ours unread."""
    received = b""
    with open_socket(server.port) as connection, contextlib.suppress(*GONE):
        connection.sendall(request)
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1])
def test_longest_body(pi: Server, size: int) -> None:
    """A body may have 32 KiB, in chunks or not. A longer one switches nothing."""
    is_read = size == MAX_BODY
    put(pi, "lamp", 0)
    if is_read:
        assert ask(pi, "PUT", "/api/pins/lamp", ON.ljust(size)).json["value"] == 1
        put(pi, "lamp", 0)
    rest = b" " * (size - len(ON))
    chunks = CHUNKED % (len(ON), ON, len(rest), rest)
    answer = raw(pi, PUT_HEAD + chunks + b"0\r\n\r\n" * is_read)
    assert answer.startswith(b"HTTP/1.1 200 " if is_read else b"HTTP/1.1 400 ")
    assert value_of(pi, "lamp") == is_read


@pytest.mark.parametrize("size", [MAX_BODY + 1, 10**30])
def test_body_declared_too_large(pi: Server, size: int) -> None:
    """A body that is declared longer gets 413 before it is read, and the connection closes. So does
    a client that waits for `100 Continue`. The answer to HEAD has no body."""
    length = b"Content-Length: %d\r\n\r\n" % size
    head, _, body = raw(pi, PUT_HEAD + length).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nContent-Type: application/json\r\n" in head
    expected = {"code": "too-large", "message": f"expected a body of at most {MAX_BODY} bytes"}
    assert json.loads(body) == {"error": expected}
    waiting = raw(pi, PUT_HEAD + b"Expect: 100-continue\r\n" + length)
    assert waiting.startswith(b"HTTP/1.1 413 ")
    answer = raw(pi, PUT_HEAD.replace(b"PUT", b"HEAD") + length)
    assert answer.startswith(b"HTTP/1.1 413 ") and answer.endswith(b"\r\n\r\n")


def test_body_after_continue(pi: Server) -> None:
    """A client that waits for `100 Continue` before it sends a short body gets it."""
    expecting = PUT_HEAD + b"Expect: 100-continue\r\nConnection: close\r\n"
    answer = raw(pi, expecting + b'Content-Length: 11\r\n\r\n{"value":0}')
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 OK" in answer


@pytest.mark.parametrize("is_chunked", [False, True])
def test_endless_body(pi: Server, is_chunked: bool) -> None:
    """A client that sends a body without end is disconnected."""
    length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 999999999999"
    piece = b"10000\r\n%b\r\n" % bytes(65536) if is_chunked else bytes(65536)
    with open_socket(pi.port) as endless, pytest.raises(GONE):
        endless.sendall(PUT_HEAD + length + b"\r\n\r\n")
        while True:
            endless.sendall(piece)
    assert ask(pi, "GET", "/api/health").status == 200


# Pages of other sites


def test_only_own_pages_switch(pi: Server) -> None:
    """A page of another site cannot switch, not even by a request that needs no preflight. A page
    of this server can, and so can a script, which has no origin."""
    named = f"localhost:{pi.port}"
    own = (
        {"Origin": f"http://127.0.0.1:{pi.port}"},
        {"Host": named, "Origin": f"http://{named}"},
        {},
    )
    for method, path, body in (*COMMANDS, ("OPTIONS", "/api/pins/{}", None)):
        put(pi, "lamp", 0)
        for origin in ("http://evil.example", "https://127.0.0.1", "null", ""):
            error = ask(pi, method, path.format("lamp"), body, Origin=origin).error
            assert error == (403, "foreign", "pages of other sites may not do this")
        assert value_of(pi, "lamp") == 0
        for headers in own:
            answer = ask(pi, method, path.format("lamp"), body, **headers)
            assert answer.status == (405 if method == "OPTIONS" else 200)
    put(pi, "lamp", 0)


def test_get_changes_nothing(pi: Server) -> None:
    """No GET changes anything, whatever its query and headers are."""
    before = ask(pi, "GET", "/api/pins").json["pins"]
    override = {"X-HTTP-Method-Override": "POST"}
    for path in (*GETS, "/api/pins/lamp/toggle", "/api/pins/lamp/pulse"):
        for end in ("", "?value=1&_method=PUT"):
            assert ask(pi, "GET", path + end, {"value": 1}, **override).status in {200, 405}
    after = ask(pi, "GET", "/api/pins").json["pins"]
    assert after == [same(pin) for pin in before]


def test_no_other_site_may_read(pi: Server) -> None:
    """No answer, errors and preflights included, lets a page of another site read it."""
    requests = [("GET", path) for path in (*GETS, "/api/nothing", "/", "/ws")]
    requests += [("OPTIONS", "/api/pins/lamp"), ("OPTIONS", "/"), ("PUT", "/api/pins/lamp")]
    preflight = {"Access-Control-Request-Method": "PUT"}
    for method, path in requests:
        answer = ask(pi, method, path, Origin="http://evil.example", **preflight)
        allowing = [name for name in answer.headers if name.lower().startswith("access-")]
        assert not allowing, (method, path)


def test_every_answer_is_json(pi: Server) -> None:
    """Every answer is JSON that browsers do not cache and do not take for a page."""
    for method, path, expected in (
        ("GET", "/api/pins", 200),
        ("GET", "/api/nothing", 404),
        ("DELETE", "/api/pins", 405),
        ("PUT", "/api/pins/lamp", 422),
        ("GET", "/api/pins/%ff", 400),
    ):
        answer = ask(pi, method, path)
        assert answer.status == expected
        assert answer.json
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# Pins that cannot be opened


def test_broken_pins_are_shown_with_the_reason(broken: Server) -> None:
    """With pins that cannot be opened the server goes on, `degraded`, and says which and why. Such
    a pin has no value. None is simulated."""
    health = ask(broken, "GET", "/api/health")
    assert (health.status, health.json["status"]) == (200, "degraded")
    reasons = health.json["reasons"]
    assert len(reasons) == len(NAMES)
    assert reasons[0].startswith("door (GPIO17): GPIO cannot be opened: No module named 'lgpio'")
    assert "sudo apt install python3-lgpio" in reasons[0]
    assert ask(broken, "GET", "/api").json["simulated"] is False
    for pin in ask(broken, "GET", "/api/pins").json["pins"]:
        assert (pin["value"], pin["since"]) == (None, None)
        assert pin["error"].startswith("GPIO cannot be opened: ")
    shown = {pin["position"]: pin for pin in ask(broken, "GET", "/api/header").json["pins"]}
    assert len(shown) == 40
    assert (shown[11]["pin"], shown[11]["holder"], shown[11]["value"]) == ("door", None, None)


def test_broken_pins_are_not_switched(broken: Server) -> None:
    """A command to a pin that cannot be opened is a 409 that says why."""
    for method, path, body in COMMANDS:
        status, code, message = ask(broken, method, path.format("lamp"), body).error
        assert (status, code) == (409, "unavailable")
        assert message.startswith("lamp (GPIO27): GPIO cannot be opened: ")


# The description


@pytest.fixture(scope="module")
def description(pi: Server) -> Any:
    return ask(pi, "GET", "/api/openapi.json").json


def form(response: Any) -> Any:
    return response["content"]["application/json"]["schema"]


def test_description_lists_every_route(description: Any) -> None:
    """The OpenAPI 3.1 document describes every route and method with its parameters, every error
    with its form, health with its 503, and the history with its query and CSV."""
    assert re.fullmatch(r"3\.1\.\d+", description["openapi"])
    assert description["info"]["version"] == __version__
    paths = description["paths"]
    described = {
        (path, method) for path, item in paths.items() for method in item if method != "parameters"
    }
    assert described == {
        (path, method) for path, handler in routes.API for method in handler.operations
    }
    for path, item in paths.items():
        named = {parameter["name"] for parameter in item.get("parameters", [])}
        assert named == set(re.findall(r"{(\w+)}", path))
    for path, method in described:
        for status, response in paths[path][method]["responses"].items():
            if status not in ("200", "503"):
                assert form(response) == {"$ref": "#/components/schemas/ErrorAnswer"}
    health = paths["/api/health"]["get"]["responses"]
    assert form(health["503"]) == form(health["200"])
    one = paths["/api/pins/{name}/history"]["get"]
    assert [(each["name"], each["in"]) for each in one["parameters"]] == [
        ("seconds", "query"),
        ("format", "query"),
    ]
    assert set(one["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    (seconds,) = paths["/api/history"]["get"]["parameters"]
    assert seconds["schema"] == {"type": "number", "minimum": 1, "maximum": 86400, "default": 300}


EXCHANGES: list[tuple[str, str, Any, dict[str, str], int]] = [
    *[("GET", path, None, {}, 200) for path in GETS],
    ("PUT", "/api/pins/lamp", {"value": 1}, {}, 200),
    ("POST", "/api/pins/lamp/toggle", None, {}, 200),
    ("POST", "/api/pins/bell/pulse", None, {}, 200),
    ("GET", "/api/pins/garage/history", None, {}, 404),
    ("GET", "/api/pins/lamp/history?seconds=0", None, {}, 422),
    ("GET", "/api/history?seconds=soon", None, {}, 422),
    ("GET", "/api/pins", None, {"Host": "evil.example"}, 421),
    ("PUT", "/api/pins/lamp", b"{", {}, 400),
    ("PUT", "/api/pins/lamp", {"value": 1}, {"Origin": "null"}, 403),
    ("PUT", "/api/pins/boiler", {"value": 1}, {}, 403),
    ("PUT", "/api/pins/garage", {"value": 1}, {}, 404),
    ("PUT", "/api/pins/lamp", {"value": 7}, {}, 422),
    ("POST", "/api/pins/door/toggle", None, {}, 403),
    ("POST", "/api/pins/lamp/pulse", None, {}, 422),
    ("POST", "/api/login", {"code": "no such code"}, {}, 401),
    ("POST", "/api/login", {"code": 7}, {}, 422),
    ("POST", "/api/login", b"code", {}, 400),
    ("POST", "/api/login", {"code": "x"}, {"Origin": "http://evil.example"}, 403),
    ("POST", "/api/logout", None, {}, 200),
]


@pytest.mark.parametrize("method, path, body, headers, status", EXCHANGES)
def test_answer_is_as_described(
    pi: Server,
    description: Any,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    """Every answer has a status and a form of the description."""
    answer = ask(pi, method, path, body, **headers)
    assert answer.status == status
    assert complaints(description, method, path, answer) == []


def test_every_operation_was_tried(description: Any) -> None:
    """The test above has seen each described operation succeed."""
    tried = {
        (template(description, path), method.lower())
        for method, path, _, _, status in EXCHANGES
        if status == 200
    }
    tried |= {("/api/login", "post")}  # which needs a code: tests/security/test_codes.py
    tried |= {("/api/fleet", "get")}  # which needs a broker: tests/mqtt/test_fleet.py
    assert tried == {(path, name) for path, handler in routes.API for name in handler.operations}


def test_answer_of_broken_pins_is_as_described(broken: Server, description: Any) -> None:
    """The description is true where no pin can be opened, too."""
    for method, path, body in (
        ("GET", "/api/health", None),
        ("GET", "/api/pins", None),
        ("GET", "/api/header", None),
        ("PUT", "/api/pins/lamp", {"value": 1}),
    ):
        assert complaints(description, method, path, ask(broken, method, path, body)) == []


def test_status_alone_is_as_described(
    start_server: Callable[..., Server], description: Any
) -> None:
    """The description has the answer for callers that may not view."""
    answer = ask(start_server("access: {view: code}\n"), "GET", "/api/health")
    assert answer.json == {"status": "ok"}
    assert complaints(description, "GET", "/api/health", answer) == []


def template(description: Any, path: str) -> str:
    """Return the described path that `path` is one of. A fixed one precedes one with a name."""
    return next(
        described
        for described in sorted(description["paths"], key=lambda found: found.count("{"))
        if re.fullmatch(re.sub(r"{\w+}", "[^/]*", described), path.partition("?")[0])
    )


def complaints(description: Any, method: str, path: str, answer: Response) -> list[str]:
    """Return how an answer differs from the description. A field that it does not have differs."""
    operation = description["paths"][template(description, path)][method.lower()]
    response = operation["responses"].get(str(answer.status))
    if response is None:
        return [f"{method} {path}: {answer.status} is not described"]
    validator = jsonschema_rs.validator_for(closed({**description, **form(response)}))
    return [
        f"{error.instance_path}: {error.message}" for error in validator.iter_errors(answer.json)
    ]


def closed(schema: Any) -> Any:
    """Return a schema whose objects have no other fields than the described ones."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        found["additionalProperties"] = False
    return found


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([b"GET", b"PUT", b"HEAD", b"OPTIONS", b"TRACE", b"get", b"B\xe9\xe9"]),
    st.sampled_from([b"/", b"/api/", b"/api/pins/", b"/api/pins/lamp/", b"/ws", b""]),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_no_request_makes_the_server_fail(
    pi: Server, method: bytes, start: bytes, path: bytes, header: bytes
) -> None:
    """For any bytes sent as a request the server never answers with an error of its own."""
    request = b"%b %b%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Any: %b\r\n\r\n"
    with open_socket(pi.port) as connection:
        connection.sendall(request % (method, start, path, header))
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(65536)
        except GONE:
            answer = b""
    assert not answer or re.match(rb"HTTP/1\.1 [234]\d\d ", answer), answer
