"""The HTTP API: every route, every error with its reason, and the OpenAPI description of all."""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import jsonschema_rs
import pytest

from raspi_server import __version__
from raspi_server.web import routes
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server, changing, clock_is
from tests.support.sockets import GONE, open_socket
from tests.support.websocket import WebSocketClient

CONFIG = """
access: {control: everyone}
pins:
  door:    {gpio: 17, mode: input, label: Front door, pull: up, active: low, debounce: 0.02,
            kind: door, room: Hall, icon: house, words: {on: Open, off: Shut}, hidden: true}
  lamp:    {gpio: 27, mode: output, label: Desk lamp, active: low, confirm: true, max_on: 3600}
  bell:    {gpio: 22, mode: output, pulse: 0.05}
  gate:    {gpio: 5, mode: output, pulse: 60}
  fan:     {gpio: 18, mode: pwm, initial: 0.35}
  boiler:  {gpio: 6, mode: output, control: nobody}
  up:      {gpio: 12, mode: output, group: shutter}
  down:    {gpio: 13, mode: output, group: shutter}
  porch:   {gpio: 16, mode: pwm}
  awn_up:  {gpio: 20, mode: output, group: awning, group_pause: 0.5}
  awn_dn:  {gpio: 21, mode: output, group: awning, group_pause: 0.5}
"""
NAMES = re.findall(r"^  ([\w-]+):", CONFIG, re.MULTILINE)
CONFIG += """
schedules:
  night:   {pin: porch, from: 00:00, to: 24:00, value: 0.35, days: [mon, wed]}
  water:   {pin: gate, at: 06:30, pulse: 30}
  all_off: {at: 23:00, turn_off: [bell, gate]}
rules:
  chime:   {when: door, only: {from: 00:00, to: 24:00}, pulse: bell}
  hall:    {while: door, for: 60, hold: 30, set: {porch: 0.35}}
covers:
  awning:  {up: awn_up, down: awn_dn, travel: 60, kind: awning}
"""
MAX_BODY = 32 * 1024
GETS = [
    path.replace("covers/{name}", "covers/awning").replace("{name}", "lamp")
    for path, handler in routes.API
    if "get" in handler.operations and path not in ("/api/fleet", "/api/events")
]
COMMANDS = (
    ("PUT", "/api/pins/{}", {"value": 1}),
    ("POST", "/api/pins/{}", {"value": "ON"}),
    ("POST", "/api/pins/{}/toggle", None),
    ("POST", "/api/pins/{}/pulse", {"seconds": 1}),
    ("POST", "/api/pins/{}/auto", None),
)


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    """A server with CONFIG that knows the time; each test leaves it as it found it."""
    return start_module_server(CONFIG, program=changing(clock_is(True)))


def put(server: Server, pin: str, value: Any) -> Response:
    return ask(server, "PUT", f"/api/pins/{pin}", {"value": value})


def value_of(server: Server, pin: str) -> Any:
    return ask(server, "GET", f"/api/pins/{pin}").json["value"]


def same(pin: Any) -> Any:
    """Return an object equal to this pin. Two readings of two clocks may differ a little."""
    since = pin["since"]
    return {**pin, "since": since and pytest.approx(since, rel=0, abs=1e-3)}


def test_index_links_to_everything(pi: Server) -> None:
    """`/api` has name and version, and links that work."""
    found = ask(pi, "GET", "/api").json
    assert abs(found["time"] - time.time()) < LIMIT
    assert (found["name"], found["version"]) == ("raspi-server", __version__)
    assert (found["host"], found["simulated"]) == (socket.gethostname(), True)
    links = found["links"]
    assert set(links) == {"hello", "pins", "covers", "schedules", "rules", "plan", "history",
                          "header", "events", "health", "openapi", "websocket"}  # fmt: skip
    # Relative, since a proxy may serve the API below a path.
    paths = {urljoin("/pi/api", link) for link in links.values()}
    assert all(path.startswith(("/pi/api/", "/pi/ws")) for path in paths)
    assert links.pop("events") == "api/events"  # which has no end: see test_events.py
    assert b"WebSocket" in ask(pi, "GET", urljoin("/api", links.pop("websocket"))).body
    assert {ask(pi, "GET", urljoin("/api", link)).status for link in links.values()} == {200}


def test_pins_are_in_the_order_of_the_configuration(pi: Server) -> None:
    """All pins are listed in the order of config.yaml, with all that a page needs to show them. One
    pin alone reads the same."""
    pins = {pin["name"]: pin for pin in ask(pi, "GET", "/api/pins").json["pins"]}
    assert list(pins) == NAMES
    assert pins["door"] == {
        "name": "door", "label": "Front door", "gpio": 17, "header": 11, "mode": "input",
        "value": 0, "since": None, "writable": False, "pulse": None, "max_on": None, "group": None,
        "confirm": False, "control": None, "error": None, "error_reason": None, "error_values": {},
        "kind": "door", "room": "Hall", "icon": "house", "words": {"on": "Open", "off": "Shut"},
        "hidden": True,
        "source": None, "until": None, "auto": False, "next": None, "cover": None,
    }  # fmt: skip
    assert pins["lamp"].items() >= {
        "header": 13, "writable": True, "control": "everyone", "confirm": True, "max_on": 3600,
    }.items()  # fmt: skip
    assert (pins["fan"]["mode"], pins["fan"]["label"]) == ("pwm", "fan")
    assert pins["gate"]["pulse"] == 60
    assert pins["up"]["group"] == pins["down"]["group"] == "shutter"
    assert (pins["boiler"]["writable"], pins["boiler"]["control"]) == (False, "nobody")
    for name, pin in pins.items():
        assert ask(pi, "GET", f"/api/pins/{name}").json == same(pin)


def test_health_and_hello_are_those_of_the_websocket(pi: Server) -> None:
    """Clients that poll get the same hello and health as viewers of `/ws`, and a status."""
    with WebSocketClient(pi.port) as viewer:
        sent_hello, sent_health = viewer.receive(), viewer.receive()
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
    assert (pins[37]["function"], pins[37]["pin"], pins[37]["holder"]) == ("GPIO26", None, None)
    assert sorted(pin["pin"] for pin in found["pins"] if pin["holder"]) == sorted(NAMES)


def test_head_is_get_without_the_body(pi: Server) -> None:
    """Each path that can be read answers HEAD with the headers of GET, and no body."""
    for path in GETS:
        get, head = ask(pi, "GET", path), ask(pi, "HEAD", path)
        assert (get.status, head.status, head.body, bool(get.body)) == (200, 200, b"", True), path
        for answer in (get, head):
            assert int(answer.headers["Content-Length"]) > 2
            del answer.headers["Content-Length"], answer.headers["Date"]  # of another moment
        assert head.headers.items() == get.headers.items()


def test_put_and_toggle(pi: Server) -> None:
    """PUT sets an output to 0 or 1 and a pwm pin to any value between. Toggle switches to the other
    value, a pwm pin between 0 and its last value. The answer is the pin. POST does what PUT does. A
    value may be a boolean or a word."""
    put(pi, "lamp", 0)
    on = put(pi, "lamp", 1)
    assert (on.status, on.json["name"], on.json["value"]) == (200, "lamp", 1)
    assert abs(on.json["since"] - time.time()) < LIMIT
    assert ask(pi, "GET", "/api/pins/lamp").json == same(on.json)
    assert put(pi, "lamp", 1.0).json == same(on.json)  # no change, so `since` stays
    for value in (True, "on", "ON", "1", "true", False, "off", "Off", "0", "0.0"):
        for method in ("PUT", "POST"):
            answer = ask(pi, method, "/api/pins/lamp", {"value": value})
            assert answer.json["value"] == (str(value).lower() in ("true", "on", "1"))
    on = put(pi, "lamp", 1)
    off = put(pi, "lamp", 0)
    assert (off.json["value"], off.json["since"] > on.json["since"]) == (0, True)
    assert [put(pi, "fan", value).json["value"] for value in (1, 0, 0.42)] == [1, 0, 0.42]
    for pin, values in (("lamp", (1, 0)), ("fan", (0, 0.42))):
        for value in values:
            assert ask(pi, "POST", f"/api/pins/{pin}/toggle").json["value"] == value


def test_a_time_and_auto(pi: Server) -> None:
    """PUT and toggle hold for `seconds`, if they have them. `auto` ends what was set by hand."""
    put(pi, "fan", 0)
    until = [
        ask(pi, method, f"/api/pins/fan{path}", {"seconds": seconds, **body}).json["until"]
        for method, path, seconds, body in (
            ("PUT", "", 900, {"value": 0.5}),
            ("POST", "", 1800, {"value": 0.5}),
            ("POST", "/toggle", 3600, {}),
        )
    ]
    now = time.time()
    assert [round((each - now) / 900, 1) for each in until] == [1, 2, 4]
    put(pi, "fan", 1)
    answer = ask(pi, "POST", "/api/pins/fan/auto").json
    assert (answer["value"], answer["source"], answer["until"], answer["auto"]) == (
        *(0.35, {"level": "default"}),
        *(None, False),
    )


def test_pulse_ends_by_itself(pi: Server) -> None:
    """A pulse without `seconds` is as long as the pin's own. With them it may be shorter, or on a
    pin that has no pulse of its own. It may be as long as the pin's own `pulse` or `max_on`."""
    for pin, body in (("bell", None), ("gate", {"seconds": 0.02}), ("lamp", {"seconds": 0.02})):
        put(pi, pin, 0)
        answer = ask(pi, "POST", f"/api/pins/{pin}/pulse", body)
        assert (answer.status, answer.json["value"]) == (200, 1)
        pi.wait_for_log(rf"{pin} \(GPIO\d+\): off, by pulse")
        assert value_of(pi, pin) == 0
    for pin, seconds in (("gate", 60), ("lamp", 3600)):
        assert ask(pi, "POST", f"/api/pins/{pin}/pulse", {"seconds": seconds}).json["value"] == 1
        put(pi, pin, 0)


@pytest.mark.parametrize(
    "path, body, reason",
    [
        ("gate/pulse", b'{"seconds":61}', r"gate: expected 0\.01 to 60 seconds, got 61"),
        ("lamp/pulse", b'{"seconds":3601}', r"lamp: expected 0\.01 to 3600 seconds, got 3601"),
        ("lamp/pulse", b'{"seconds":0.009}', r"seconds: .* number from 0\.01 to 86400, got 0\.009"),
        ("lamp/pulse", b"{}", r"lamp: expected seconds, since the pin has no pulse in config"),
        ("lamp/pulse", b"{", r'expected JSON such as {"seconds":0\.5}, got {'),
        ("lamp", b"value=1", r'expected JSON such as {"value":1}, got value=1'),
        ("lamp", b"\xff\xfe", "expected JSON such as"),
        ("lamp", b'{"value":NaN}', 'expected JSON such as {"value":1}, got {"value":NaN}'),
        ("lamp", b'{"value":"\\ud800"}', "expected JSON such as"),
        ("lamp", b'{"value":' + b"[" * 30_000, "expected JSON such as"),
        ("lamp", b"[1]", r'expected an object such as {"value":1}, got \[1\]'),
        ("lamp", b"", r'a number from 0 to 1, true, false, "on" or "off", got nothing'),
        ("lamp", b'{"value":1e999}', r"a number from 0 to 1, got a number that is too large"),
        ("lamp", b'{"value":0.5}', r"lamp: expected 0 or 1, got 0\.5"),
        ("lamp", b'{"value":"burn"}', r'expected a number from .*"off", got "burn"'),
        (
            "lamp",
            b'{"value":1,"for":9}',
            r'expected only the fields "value" or "seconds", got "for"',
        ),
        ("lamp", b'{"value":1,"seconds":0}', r"seconds: .* number from 0\.01 to 86400, got 0"),
        ("lamp/toggle", b'{"seconds":86401}', r"seconds: .* from 0\.01 to 86400, got 86401"),
        ("fan", b'{"value":35}', r"expected a number from 0 to 1, got 35$"),
        ("fan", b'{"value":"35"}', r'expected a number from 0 to 1, .*, got "35"$'),
    ],
)
def test_invalid_value(pi: Server, path: str, body: bytes, reason: str) -> None:
    """A value or pulse that the pin cannot have is a 422 that says what was expected. A body that
    is not JSON is a 400 that says so. Nothing changes."""
    pin, pulse = path.partition("/")[::2]
    put(pi, pin, 0)
    answer = ask(pi, "POST" if pulse else "PUT", f"/api/pins/{path}", body)
    assert answer.error[:2] == ((400, "bad-message") if "JSON" in reason else (422, "bad-value"))
    assert re.search(reason, answer.error[2]), answer.error
    assert value_of(pi, pin) == 0


@pytest.mark.parametrize(
    "pin, expected, reason",
    [
        ("garage", (404, "unknown-pin"), "there is no pin 'garage'"),
        ("l%C3%A4mp%0A", (404, "unknown-pin"), "there is no pin '"),
        ("door", (403, "not-writable"), "Front door is an input"),
        ("boiler", (403, "not-allowed"), "nobody may switch"),
    ],
)
def test_rejected_command(pi: Server, pin: str, expected: tuple[int, str], reason: str) -> None:
    """No command switches a pin that does not exist, an input, or a pin with `control: nobody`. The
    answer says why."""
    for method, path, body in COMMANDS:
        status, code, message = ask(pi, method, path.format(pin), body).error
        assert (status, code) == expected
        assert reason in message
    answer = ask(pi, "GET", f"/api/pins/{pin}")
    assert answer.json["value"] == 0 if expected[0] == 403 else answer.error[:2] == expected


def test_other_path_or_method(pi: Server) -> None:
    """A method that a path does not have is a 405 that lists those it has. A path that does not
    exist is a 404 that names it, whatever the method."""
    for method in ("GET", "PUT", "POST", "OPTIONS"):
        for path, handler in routes.API:
            known = {name.upper() for name in handler.operations}
            if method not in known:
                answer = ask(pi, method, path.replace("{name}", "lamp"))
                assert answer.error[:2] == (405, "method")
                allowed = set((answer.headers["Allow"] or "").split(", "))
                assert allowed == known | ({"HEAD"} if "GET" in known else set())
        for path in ("/api/", "/api/pins/", "/api/pins/lamp/burn"):
            assert ask(pi, method, path).error == (404, "not-found", f"there is nothing at {path}")


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


def test_longest_body(pi: Server) -> None:
    """A body may have 32 KiB, in chunks or not. A longer one switches nothing. A client that waits
    for `100 Continue` before it sends a short body gets it."""
    for size, status in ((MAX_BODY, b"200"), (MAX_BODY + 1, b"400")):
        put(pi, "lamp", 0)
        rest = b" " * (size - len(ON))
        chunks = CHUNKED % (len(ON), ON, len(rest), rest)
        answer = raw(pi, PUT_HEAD + chunks + b"0\r\n\r\n" * (size == MAX_BODY))
        assert answer.startswith(b"HTTP/1.1 %b " % status)
        assert value_of(pi, "lamp") == (size == MAX_BODY)
    put(pi, "lamp", 0)
    assert ask(pi, "PUT", "/api/pins/lamp", ON.ljust(MAX_BODY)).json["value"] == 1
    expecting = PUT_HEAD + b"Expect: 100-continue\r\nConnection: close\r\n"
    answer = raw(pi, expecting + b'Content-Length: 11\r\n\r\n{"value":0}')
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 OK" in answer


def test_body_declared_too_large(pi: Server) -> None:
    """A body that is declared longer gets 413 before it is read, and the connection closes. So does
    a client that waits for `100 Continue`."""
    expected = {"code": "too-large", "message": f"expected a body of at most {MAX_BODY} bytes"}
    for size in (MAX_BODY + 1, 10**30):
        for more in (b"", b"Expect: 100-continue\r\n"):
            length = b"Content-Length: %d\r\n\r\n" % size
            head, _, body = raw(pi, PUT_HEAD + more + length).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413 ")
            assert json.loads(body)["error"].items() >= expected.items()


def test_no_other_site_may_read_or_switch(pi: Server) -> None:
    """Every answer of the API is JSON that browsers do not cache and do not take for a page. None,
    errors and preflights included, lets a page of another site read it. Such a page cannot switch,
    and no GET switches; a page of this server can."""
    put(pi, "lamp", 0)
    commands = [(method, path.format("lamp"), body) for method, path, body in COMMANDS]
    requests = [*commands, ("OPTIONS", "/api/pins/lamp", None), ("OPTIONS", "/", None)]
    for path in (*GETS, "/api/no", "/api/pins/%ff", "/", "/ws", *(each[1] for each in commands)):
        requests.append(("GET", f"{path}?_method=PUT&value=1", {"value": 1}))
    foreign = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    for method, path, body in requests:
        answer = ask(pi, method, path, body, **foreign, X_HTTP_Method_Override="PUT")
        assert not [name for name in answer.headers if name.lower().startswith("access-")], path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if path.startswith("/api"):
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Cache-Control"] == "no-store"
            assert method == "GET" or answer.error[:2] == (403, "foreign")
    assert value_of(pi, "lamp") == 0
    for method, path, body in commands:
        own = {"Host": f"localhost:{pi.port}", "Origin": f"http://localhost:{pi.port}"}
        assert ask(pi, method, path, body, **own).status == 200


@pytest.fixture(scope="module")
def description(pi: Server) -> Any:
    return ask(pi, "GET", "/api/openapi.json").json


def form(response: Any) -> Any:
    return response["content"]["application/json"]["schema"]


def test_description(description: Any) -> None:
    """The OpenAPI 3.1 document describes health with its 503, and the history with its query and
    CSV. Its server is the folder above it, so a proxy's path counts."""
    assert re.fullmatch(r"3\.1\.\d+", description["openapi"])
    assert description["info"]["version"] == __version__
    (server,) = description["servers"]
    document = "https://pi.example.org/pi/api/openapi.json"
    assert urljoin(document, server["url"]).rstrip("/") == "https://pi.example.org/pi"
    paths = description["paths"]
    health = paths["/api/health"]["get"]["responses"]
    assert form(health["503"]) == form(health["200"])
    assert "HealthStatus" in str(form(health["200"])["anyOf"])  # for callers that may not view
    one = paths["/api/pins/{name}/history"]["get"]
    assert [each["name"] for each in one["parameters"]] == ["seconds", "format"]
    assert set(one["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    (seconds,) = paths["/api/history"]["get"]["parameters"]
    assert seconds["schema"] == {"type": "number", "minimum": 1, "maximum": 86400, "default": 300}


def test_answers_are_as_described(pi: Server, description: Any) -> None:
    """Every answer has a status and a form of the description. Each operation has succeeded, but
    those that need a code or a broker (tests/security/test_codes.py, tests/mqtt/test_fleet.py), or
    have no end (test_events.py)."""
    exchanges: list[tuple[int, str, str, Any, dict[str, str]]] = [
        *[(200, "GET", path, None, {}) for path in GETS],
        (200, "PUT", "/api/pins/lamp", {"value": 1}, {}),
        (200, "POST", "/api/pins/lamp", {"value": 1}, {}),
        (200, "POST", "/api/pins/lamp/toggle", None, {}),
        (200, "POST", "/api/pins/bell/pulse", None, {}),
        (200, "POST", "/api/pins/lamp/auto", None, {}),
        *[
            (200, "POST", f"/api/schedules/night/{command}", None, {})
            for command in ("skip", "undo-skip", "pause", "resume")
        ],
        *[(200, "POST", f"/api/rules/hall/{command}", None, {}) for command in ("pause", "resume")],
        (200, "POST", "/api/clock/trust", None, {}),
        (200, "PUT", "/api/covers/awning", {"position": 40}, {}),
        (200, "POST", "/api/covers/awning", {"position": "40"}, {}),
        *[
            (200, "POST", f"/api/covers/awning/{command}", None, {})
            for command in ("open", "close", "stop")
        ],
        (422, "PUT", "/api/covers/awning", {"position": 101}, {}),
        (404, "POST", "/api/covers/garage/open", None, {}),
        (409, "POST", "/api/pins/awn_up/toggle", None, {}),
        *[(200, "GET", f"/api/{path}", None, {}) for path in ("schedules", "rules", "plan")],
        (200, "POST", "/api/logout", None, {}),
        (404, "POST", "/api/schedules/garage/pause", None, {}),
        (404, "POST", "/api/rules/garage/resume", None, {}),
        (404, "GET", "/api/pins/garage/history", None, {}),
        (422, "GET", "/api/pins/lamp/history?seconds=0", None, {}),
        (421, "GET", "/api/pins", None, {"Host": "evil.example"}),
        (400, "PUT", "/api/pins/lamp", b"{", {}),
        (401, "POST", "/api/login", {"code": "no such code"}, {}),
        (422, "POST", "/api/login", {"code": 7}, {}),
    ]
    tried = {("/api/login", "post"), ("/api/fleet", "get"), ("/api/events", "get")}
    for status, method, path, body, headers in exchanges:
        answer = ask(pi, method, path, body, **headers)
        assert answer.status == status, (method, path)
        assert complaints(description, method, path, answer) == []
        if status == 200:
            tried.add((template(description, path), method.lower()))
    assert tried == {(path, name) for path, handler in routes.API for name in handler.operations}


def test_pins_that_cannot_be_opened(
    start_server: Callable[..., Server], tmp_path: Path, description: Any
) -> None:
    """With pins that cannot be opened, as without gpiod, the server goes on, `degraded`, and says
    which and why. Such a pin has no value. A command to it is a 409 that says why."""
    (tmp_path / "gpiod.py").write_text("raise ModuleNotFoundError(\"No module named 'gpiod'\")\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    broken = start_server(
        "gpio: real\n" + CONFIG.lstrip(),
        simulate=False,
        env=environment,
        program=changing(clock_is(True)),
    )
    health = ask(broken, "GET", "/api/health").json
    assert (health["status"], len(health["reasons"])) == ("degraded", len(NAMES))
    reason = "door (GPIO17): GPIO cannot be opened: No module named 'gpiod'"
    assert health["reasons"][0].startswith(reason)
    assert "sudo scripts/install.sh" in health["reasons"][0]
    for pin in ask(broken, "GET", "/api/pins").json["pins"]:
        assert (pin["value"], pin["since"]) == (None, None)
        assert pin["error"].startswith("GPIO cannot be opened: ")
    for method, path, body in (*COMMANDS, ("GET", "/api/pins", None), ("GET", "/api/health", None)):
        answer = ask(broken, method, path.format("lamp"), body)
        assert complaints(description, method, path.format("lamp"), answer) == []
        assert method == "GET" or answer.error[:2] == (409, "unavailable")


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
    closed = json.dumps({**description, **form(response)}).replace(
        '"properties":', '"additionalProperties": false, "properties":'
    )
    return [str(error) for error in jsonschema_rs.validator_for(closed).iter_errors(answer.json)]
