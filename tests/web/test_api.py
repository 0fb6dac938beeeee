"""The HTTP API of the running server: every route, every rejection with its reason, and the OpenAPI
description of all of them."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from raspi_server import __version__
from raspi_server.web import routes
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server

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
  alarm:   {gpio: 4, mode: input}
  any-out: {gpio: 19, mode: output}
  any-bell: {gpio: 20, mode: output, pulse: 0.05}
  any-pwm: {gpio: 21, mode: pwm}
"""
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


def put(server: Server, pin: str, value: Any, **headers: str) -> Response:
    return ask(server, "PUT", f"/api/pins/{pin}", {"value": value}, **headers)


def value_of(server: Server, pin: str) -> Any:
    return ask(server, "GET", f"/api/pins/{pin}").json["value"]


def same(pin: Any) -> Any:
    """Equal to this pin. Two looks at two clocks may tell a moment a little apart."""
    since = pin["since"]
    return {**pin, "since": since and pytest.approx(since, rel=0, abs=1e-3)}


def stop(server: Server) -> None:
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("house") / "config.yaml"
    file.write_text(CONFIG)
    server = Server(["run", "--simulate", "--config", str(file)])
    yield server
    stop(server)


@pytest.fixture(scope="module")
def ruin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A house that wants real pins where lgpio is not installed, so that all of them fail."""
    folder = tmp_path_factory.mktemp("ruin")
    (folder / "lgpio.py").write_text("raise ModuleNotFoundError(\"No module named 'lgpio'\")\n")
    file = folder / "config.yaml"
    file.write_text("gpio: real\n" + CONFIG.lstrip())
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    server = Server(["run", "--config", str(file)], env={**os.environ, "PYTHONPATH": path})
    yield server
    stop(server)


# Reading


def test_the_index_leads_everywhere(pi: Server) -> None:
    """`/api` says what this is and where things are, and there they are."""
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


def test_pins_stand_in_the_order_of_the_file(pi: Server) -> None:
    """All pins are listed in the order of config.yaml, with all that a page needs to show them."""
    found = ask(pi, "GET", "/api/pins").json
    assert abs(found["time"] - time.time()) < LIMIT
    pins = {pin["name"]: pin for pin in found["pins"]}
    assert list(pins) == re.findall(r"^  ([\w-]+):", CONFIG, re.MULTILINE)
    usual = {
        "writable": True,
        "pulse": None,
        "max_on": None,
        "group": None,
        "confirm": False,
        "control": None,
        "error": None,
    }
    assert pins["door"] == usual | {
        "name": "door",
        "label": "Front door",
        "gpio": 17,
        "header": 11,
        "mode": "input",
        "value": 0,
        "since": None,
        "writable": False,
    }
    changing = {"value", "since"}
    lamp = {key: value for key, value in pins["lamp"].items() if key not in changing}
    assert lamp == usual | {
        "name": "lamp",
        "label": "Desk lamp",
        "gpio": 27,
        "header": 13,
        "mode": "output",
        "control": "everyone",
        "confirm": True,
        "max_on": 3600,
    }
    assert (pins["fan"]["mode"], pins["fan"]["label"]) == ("pwm", "fan")
    assert pins["gate"]["pulse"] == 60
    assert pins["up"]["group"] == pins["down"]["group"] == "shutter"
    assert pins["boiler"]["writable"] is False


def test_one_pin_is_as_in_the_list(pi: Server) -> None:
    """One pin alone reads the same as in the list of all."""
    listed = ask(pi, "GET", "/api/pins").json["pins"]
    for pin in listed:
        assert ask(pi, "GET", f"/api/pins/{pin['name']}").json == same(pin)


def test_a_sound_house_is_ok(pi: Server) -> None:
    """While nothing is wrong the health is `ok`, without reasons."""
    answer = ask(pi, "GET", "/api/health")
    assert (answer.status, answer.json["status"], answer.json["reasons"]) == (200, "ok", [])


def test_the_pulse_of_the_machine(pi: Server) -> None:
    """The health tells what `/ws` tells of the machine, too, for those who can only ask."""
    with connect(pi.ws_url) as socket:
        told = next(each for each in map(json.loads, socket) if each["type"] == "health")
        asked = ask(pi, "GET", "/api/health").json
    assert set(asked) == {*told, "status", "reasons"}
    assert asked["addresses"] == told["addresses"]
    assert asked["viewers"] == 1


def test_hello_by_asking(pi: Server) -> None:
    """Who can only ask begins with the same hello as over `/ws`."""
    with connect(pi.ws_url) as socket:
        told = json.loads(socket.recv())
    asked = ask(pi, "GET", "/api/hello").json
    assert asked["id"] != told["id"]
    assert {**asked, "id": "", "time": 0} == {**told, "id": "", "time": 0}


def test_the_header_shows_forty_pins(pi: Server) -> None:
    """The header lists all forty positions, and ours with their name and state."""
    put(pi, "lamp", 1)
    found = ask(pi, "GET", "/api/header").json
    pins = {pin["position"]: pin for pin in found["pins"]}
    assert "Raspberry Pi" in found["model"]
    assert list(pins) == list(range(1, 41))
    assert pins[13] == {
        "position": 13,
        "function": "GPIO27",
        "gpio": 27,
        "holder": "raspi-server",
        "pin": "lamp",
        "value": 1,
    }
    free = {"gpio": None, "holder": None, "pin": None, "value": None}
    assert pins[1] == free | {"position": 1, "function": "3V3"}
    assert pins[6] == free | {"position": 6, "function": "GND"}
    assert pins[37] == free | {"position": 37, "function": "GPIO26", "gpio": 26}
    ours = [pin["pin"] for pin in found["pins"] if pin["holder"]]
    assert sorted(ours) == sorted(re.findall(r"^  ([\w-]+):", CONFIG, re.MULTILINE))


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(pi: Server, path: str) -> None:
    """Whatever can be read can also be asked for with HEAD, which has no body."""
    get, head = ask(pi, "GET", path), ask(pi, "HEAD", path)
    assert (get.status, head.status, head.body) == (200, 200, b"")
    assert get.body
    # The time of day has more digits now than then.
    assert abs(int(head.headers["Content-Length"]) - len(get.body)) < 10
    unequal = {"Date", "Content-Length"}
    assert {k: v for k, v in head.headers.items() if k not in unequal} == {
        k: v for k, v in get.headers.items() if k not in unequal
    }


# Switching


def test_put_switches(pi: Server) -> None:
    """PUT switches an output on and off and answers with the pin as it is then."""
    put(pi, "lamp", 0)
    before = time.time()
    on = put(pi, "lamp", 1)
    assert (on.status, on.json["name"], on.json["value"]) == (200, "lamp", 1)
    assert before - 1 < on.json["since"] < time.time() + 1
    assert ask(pi, "GET", "/api/pins/lamp").json == same(on.json)
    again = put(pi, "lamp", 1.0)
    assert again.json == same(on.json)  # nothing changed, so it is on since then
    off = put(pi, "lamp", 0)
    assert (off.json["value"], off.json["since"] > on.json["since"]) == (0, True)
    assert value_of(pi, "lamp") == 0


def test_put_dims(pi: Server) -> None:
    """PUT dims a pwm pin to anything from 0 to 1."""
    assert [put(pi, "fan", value).json["value"] for value in (0.42, 0, 1)] == [0.42, 0, 1]


def test_toggle_goes_there_and_back(pi: Server) -> None:
    """Toggle switches what is off on and what is on off."""
    put(pi, "lamp", 0)
    answers = [ask(pi, "POST", "/api/pins/lamp/toggle") for _ in range(3)]
    assert [(answer.status, answer.json["value"]) for answer in answers] == [
        (200, 1),
        (200, 0),
        (200, 1),
    ]


def test_toggle_of_pwm_remembers(pi: Server) -> None:
    """Toggle of a pwm pin goes between off and its last brightness."""
    put(pi, "fan", 0.6)
    values = [ask(pi, "POST", "/api/pins/fan/toggle").json["value"] for _ in range(2)]
    assert values == [0, 0.6]


def test_a_pulse_ends_by_itself(pi: Server) -> None:
    """A pulse without a length is as long as the pin's own, and then the server switches off."""
    answer = ask(pi, "POST", "/api/pins/bell/pulse")
    assert (answer.status, answer.json["value"]) == (200, 1)
    pi.wait_for_log(r"bell \(GPIO22\): off, by pulse")
    assert value_of(pi, "bell") == 0


def test_a_pulse_can_be_shorter(pi: Server) -> None:
    """A pulse may be shorter than the pin's own or as long, and needs no pulse in config.yaml."""
    assert ask(pi, "POST", "/api/pins/gate/pulse", {"seconds": 60}).status == 200
    assert ask(pi, "POST", "/api/pins/gate/pulse", {"seconds": 0.02}).status == 200
    pi.wait_for_log(r"gate \(GPIO5\): off, by pulse")
    put(pi, "lamp", 0)
    assert ask(pi, "POST", "/api/pins/lamp/pulse", {"seconds": 0.02}).json["value"] == 1
    pi.wait_for_log(r"lamp \(GPIO27\): off, by pulse")


@pytest.mark.parametrize(
    "pin, body, reason",
    [
        ("gate", {"seconds": 61}, r"gate: expected 0\.01 to 60 seconds, got 61"),
        ("lamp", {"seconds": 3601}, r"lamp: expected 0\.01 to 3600 seconds, got 3601"),
        ("lamp", {"seconds": 0}, r">= 0\.01 - at `\$\.seconds`"),
        ("lamp", {"seconds": -1}, r">= 0\.01 - at `\$\.seconds`"),
        ("lamp", {"seconds": 86401}, r"<= 86400.* - at `\$\.seconds`"),
        ("lamp", {"seconds": "1"}, r"Expected `float \| null`, got `str`"),
        ("lamp", {"seconds": True}, r"Expected `float \| null`, got `bool`"),
        ("lamp", {"second": 1}, r"unknown field `second`"),
        ("lamp", {}, r"lamp: expected seconds, since the pin has no pulse in config.yaml"),
        ("fan", {"seconds": 1}, r"fan: expected an output; a pwm pin has no pulse"),
    ],
)
def test_a_wrong_pulse_is_refused(pi: Server, pin: str, body: Any, reason: str) -> None:
    """A pulse that is longer than allowed, or no length at all, switches nothing and says why."""
    put(pi, pin, 0)
    status, code, message = ask(pi, "POST", f"/api/pins/{pin}/pulse", body).error
    assert (status, code) == (422, "bad-value")
    assert re.search(reason, message), message
    assert value_of(pi, pin) == 0


# Refusals


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/pins/", "/api/pins/lamp/burn"])
def test_what_is_not_there(pi: Server, method: str, path: str) -> None:
    """A path that does not exist is a 404 in JSON, whatever the method."""
    status, code, message = ask(pi, method, path).error
    assert (status, code) == (404, "not-found")
    assert path in message


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/api/pins/{}"),
        ("PUT", "/api/pins/{}"),
        ("POST", "/api/pins/{}/toggle"),
        ("POST", "/api/pins/{}/pulse"),
    ],
)
@pytest.mark.parametrize("name", ["garage", "LAMP", "lamp%20", "%2e%2e", "l%C3%A4mp", "lamp%0A"])
def test_a_pin_that_is_not_there(pi: Server, method: str, path: str, name: str) -> None:
    """A pin that does not exist is a 404 that names it."""
    body = {"value": 1} if method == "PUT" else None
    status, code, message = ask(pi, method, path.format(name), body).error
    assert (status, code) == (404, "unknown-pin")
    assert message.startswith("there is no pin '")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "BREW"])
def test_other_methods(pi: Server, method: str) -> None:
    """A method that a path does not know is a 405 that says which ones it knows."""
    for path, handler in routes.API:
        knows = {name.upper() for name in handler.operations}
        knows |= {"HEAD"} if "GET" in knows else set()
        if method in knows:
            continue
        answer = ask(pi, method, path.replace("{name}", "lamp"))
        assert answer.status == 405
        assert set((answer.headers["Allow"] or "").split(", ")) == knows
        assert method == "HEAD" or answer.error[1] == "method"


@pytest.mark.parametrize(
    "body",
    [
        b"on",
        b"{",
        b'{"value":1',
        b'{"value":1}}',
        b'{"value":NaN}',
        b'{"value":Infinity}',
        b"{'value':1}",
        b"value=1",
        b'{"value":1}\x00',
        b"\xff\xfe",
        b'\xef\xbb\xbf{"value":1}',
        b" ",
    ],
)
def test_what_is_no_json(pi: Server, body: bytes) -> None:
    """A body that is not JSON is a 400 that says so, and switches nothing."""
    put(pi, "lamp", 0)
    status, code, message = ask(pi, "PUT", "/api/pins/lamp", body).error
    assert (status, code) == (400, "bad-message")
    assert message.startswith("expected JSON: ")
    assert value_of(pi, "lamp") == 0


@pytest.mark.parametrize(
    "pin, body, reason",
    [
        ("lamp", b"", r"missing required field `value`"),
        ("lamp", b"{}", r"missing required field `value`"),
        ("lamp", b"1", r"Expected `object`, got `int`"),
        ("lamp", b"null", r"Expected `object`, got `null`"),
        ("lamp", b"[1]", r"Expected `object`, got `array`"),
        ("lamp", b'{"value":2}', r"<= 1.* - at `\$\.value`"),
        ("lamp", b'{"value":-1}', r">= 0.* - at `\$\.value`"),
        ("lamp", b'{"value":1e999}', r"out of range - at `\$\.value`"),
        ("lamp", b'{"value":0.5}', r"lamp: expected 0 or 1, got 0\.5"),
        ("lamp", b'{"value":true}', r"Expected `float`, got `bool` - at `\$\.value`"),
        ("lamp", b'{"value":"1"}', r"Expected `float`, got `str` - at `\$\.value`"),
        ("lamp", b'{"value":"on"}', r"Expected `float`, got `str` - at `\$\.value`"),
        ("lamp", b'{"value":null}', r"Expected `float`, got `null` - at `\$\.value`"),
        ("lamp", b'{"value":[1]}', r"Expected `float`, got `array` - at `\$\.value`"),
        ("lamp", b'{"value":1,"for":9}', r"unknown field `for`"),
        ("fan", b'{"value":1.01}', r"<= 1.* - at `\$\.value`"),
        ("fan", b'{"value":-0.01}', r">= 0.* - at `\$\.value`"),
    ],
)
def test_a_value_no_pin_takes(pi: Server, pin: str, body: bytes, reason: str) -> None:
    """A value that the pin cannot take is a 422 that says what was expected; nothing changes."""
    put(pi, pin, 0)
    status, code, message = ask(pi, "PUT", f"/api/pins/{pin}", body).error
    assert (status, code) == (422, "bad-value")
    assert re.search(reason, message), message
    assert value_of(pi, pin) == 0


@pytest.mark.parametrize(
    "body",
    [b"[" * 30_000, b'{"value":' + b"[" * 30_000, b'{"value":1,"x":' * 2_000, b'{"x":' + b"[" * 9],
    ids=["lists", "in-value", "objects", "shallow"],
)
def test_json_as_deep_as_the_sea(pi: Server, body: bytes) -> None:
    """JSON nested thousands of levels deep is refused like any other nonsense."""
    for method, path in (("PUT", "/api/pins/lamp"), ("POST", "/api/pins/lamp/pulse")):
        status, code, _ = ask(pi, method, path, body).error
        assert (status, code) in {(400, "bad-message"), (422, "bad-value")}


def test_an_input_is_only_read(pi: Server) -> None:
    """An input cannot be written to by any method, and the answer says that it is one."""
    for method, path, body in (
        ("PUT", "/api/pins/door", {"value": 1}),
        ("POST", "/api/pins/door/toggle", None),
        ("POST", "/api/pins/door/pulse", {"seconds": 1}),
    ):
        refusal = ask(pi, method, path, body).error
        assert refusal == (403, "not-writable", "door (GPIO17) is an input")
    assert value_of(pi, "door") == 0


def test_the_later_command_wins(pi: Server) -> None:
    """A command that still waits for its group's pause gives way to the next, and is told so."""
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


def test_a_body_of_32_kib_is_read(pi: Server) -> None:
    """A body may be 32 KiB long."""
    put(pi, "lamp", 0)
    answer = ask(pi, "PUT", "/api/pins/lamp", b'{"value":1}'.ljust(MAX_BODY))
    assert (answer.status, answer.json["value"]) == (200, 1)


PUT_HEAD = b"PUT /api/pins/lamp HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("excess", [1, 20_000_000, 10**30])
def test_a_body_declared_too_large(pi: Server, excess: int) -> None:
    """A body that is declared longer than 32 KiB is refused with 413 before it is read, and the
    connection closes."""
    put(pi, "lamp", 0)
    answer = raw(pi, PUT_HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + excess))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nContent-Type: application/json\r\n" in head
    expected = {"code": "too-large", "message": f"expected a body of at most {MAX_BODY} bytes"}
    assert json.loads(body) == {"error": expected}
    assert value_of(pi, "lamp") == 0


def test_a_body_in_chunks_that_is_too_large(pi: Server) -> None:
    """A body whose size is not declared is read up to 32 KiB. For a longer one the connection
    closes, and nothing is switched."""
    put(pi, "lamp", 0)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in (b'{"value":1}', b" " * 32758)
    )
    request = PUT_HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks
    answer = raw(pi, request)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert value_of(pi, "lamp") == 0


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_that_never_ends(pi: Server, chunked: bool) -> None:
    """A client that sends a body without end is refused and disconnected."""
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 999999999999"
    piece = b"10000\r\n%b\r\n" % bytes(65536) if chunked else bytes(65536)
    endless = socket.create_connection(("127.0.0.1", pi.port), LIMIT)
    with endless, pytest.raises(ConnectionError):
        endless.sendall(PUT_HEAD + length + b"\r\n\r\n")
        while True:
            endless.sendall(piece)
    assert ask(pi, "GET", "/api/health").status == 200


def test_a_client_that_asks_before_it_sends_a_body(pi: Server) -> None:
    """A client that waits for `continue` before it sends a body gets 413 instead if the body is
    too long."""
    expecting = PUT_HEAD + b"Expect: 100-continue\r\n"
    answer = raw(pi, expecting + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))
    assert answer.startswith(b"HTTP/1.1 413 ")
    body = b'Connection: close\r\nContent-Length: 11\r\n\r\n{"value":0}'
    answer = raw(pi, expecting + body)
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 OK" in answer


def test_a_head_with_a_body_too_large(pi: Server) -> None:
    """The refusal of a HEAD has no body."""
    answer = raw(pi, b"HEAD /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert body == b""


def raw(server: Server, request: bytes) -> bytes:
    """All that comes back until the server closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as connection:
        try:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:
            pass  # closed at once, with our bytes unread
    return answer


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/api/pins", None),
        ("PUT", "/api/pins/lamp", {"value": 1}),
        ("POST", "/api/pins/lamp/toggle", None),
        ("GET", "/api/nothing", None),
    ],
)
def test_another_name_is_refused(pi: Server, method: str, path: str, body: Any) -> None:
    """Under a name that is not this server's nothing is read or switched, and the answer says how
    to let the name in."""
    put(pi, "lamp", 0)
    refusal = ask(pi, method, path, body, Host="evil.example:80").error
    assert refusal[:2] == (421, "unknown-host")
    assert "hosts: [evil.example]" in refusal[2]
    assert value_of(pi, "lamp") == 0
    assert ask(pi, method, path, body, Host="localhost").status in {200, 404}


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1", "null", "", "file://"],
)
def test_a_page_of_another_site_switches_nothing(pi: Server, origin: str) -> None:
    """A page of another site cannot switch, with or without a body, and is told so."""
    put(pi, "lamp", 0)
    for method, path, body in (
        ("PUT", "/api/pins/lamp", {"value": 1}),
        ("POST", "/api/pins/lamp/toggle", None),  # what any page may send without asking first
        ("POST", "/api/pins/lamp/pulse", {"seconds": 60}),
        ("OPTIONS", "/api/pins/lamp", None),
    ):
        refusal = ask(pi, method, path, body, Origin=origin).error
        assert refusal == (403, "foreign", "pages of other sites may not do this")
    assert value_of(pi, "lamp") == 0


def test_a_page_of_ours_switches(pi: Server) -> None:
    """A page of this server itself may switch, and so may a script, which has no origin."""
    own = f"http://127.0.0.1:{pi.port}"
    named = f"localhost:{pi.port}"
    put(pi, "lamp", 0)
    assert put(pi, "lamp", 1, Origin=own).json["value"] == 1
    toggled = ask(pi, "POST", "/api/pins/lamp/toggle", Host=named, Origin=f"http://{named.upper()}")
    assert toggled.json["value"] == 0
    assert ask(pi, "POST", "/api/pins/lamp/toggle").json["value"] == 1


def test_reading_changes_nothing(pi: Server) -> None:
    """No GET changes anything, whatever is written behind the path or into the headers."""
    before = ask(pi, "GET", "/api/pins").json["pins"]
    for path in (*GETS, "/api/pins/lamp/toggle", "/api/pins/lamp/pulse", "/api/nothing"):
        for end in ("", "?value=1&_method=PUT", "?toggle"):
            other = {"X-HTTP-Method-Override": "POST"}
            assert ask(pi, "GET", path + end, {"value": 1}, **other).status in {200, 404, 405}
    after = ask(pi, "GET", "/api/pins").json["pins"]
    assert after == [same(pin) for pin in before]


def test_no_other_site_may_read(pi: Server) -> None:
    """No answer, refusals and preflights included, lets a page of another site read it."""
    requests = [("GET", path) for path in GETS] + [
        ("OPTIONS", "/api/pins/lamp"),
        ("PUT", "/api/pins/lamp"),
        ("POST", "/api/pins/lamp/toggle"),
        ("GET", "/api/nothing"),
        ("GET", "/"),
        ("OPTIONS", "/"),
        ("GET", "/ws"),
    ]
    preflight = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    for method, path in requests:
        for origin in ("http://evil.example", f"http://127.0.0.1:{pi.port}"):
            answer = ask(pi, method, path, Origin=origin, **preflight)
            allowing = [name for name in answer.headers if name.lower().startswith("access-")]
            assert not allowing, (method, path)


def test_answers_are_plain_json(pi: Server) -> None:
    """Every answer is JSON, is not kept by browsers, and is not taken for a page."""
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


def test_broken_pins_degrade_the_health(ruin: Server) -> None:
    """With pins that cannot be opened the server runs on, `degraded`, and says which and why."""
    answer = ask(ruin, "GET", "/api/health")
    assert (answer.status, answer.json["status"]) == (200, "degraded")
    reasons = answer.json["reasons"]
    assert len(reasons) == CONFIG.count("gpio:")
    assert reasons[0].startswith("door (GPIO17): GPIO cannot be opened: No module named 'lgpio'")
    assert "sudo apt install python3-lgpio" in reasons[0]


def test_broken_pins_are_not_simulated(ruin: Server) -> None:
    """A pin that cannot be opened has no value and the reason as its error; none is made up."""
    assert ask(ruin, "GET", "/api").json["simulated"] is False
    for pin in ask(ruin, "GET", "/api/pins").json["pins"]:
        assert (pin["value"], pin["since"]) == (None, None)
        assert pin["error"].startswith("GPIO cannot be opened: ")
    shown = {pin["position"]: pin for pin in ask(ruin, "GET", "/api/header").json["pins"]}
    assert len(shown) == 40
    assert (shown[11]["pin"], shown[11]["holder"], shown[11]["value"]) == ("door", None, None)


def test_broken_pins_are_not_switched(ruin: Server) -> None:
    """Switching a pin that cannot be opened is a 409 that says why."""
    for method, path, body in (
        ("PUT", "/api/pins/lamp", {"value": 1}),
        ("POST", "/api/pins/lamp/toggle", None),
        ("POST", "/api/pins/lamp/pulse", {"seconds": 1}),
    ):
        status, code, message = ask(ruin, method, path, body).error
        assert (status, code) == (409, "unavailable")
        assert message.startswith("lamp (GPIO27): GPIO cannot be opened: ")


# The description


@pytest.fixture(scope="module")
def description(pi: Server) -> Any:
    return ask(pi, "GET", "/api/openapi.json").json


def test_the_description_lists_every_route(description: Any) -> None:
    """The OpenAPI 3.1 document describes every route and method there is, and no other."""
    assert re.fullmatch(r"3\.1\.\d+", description["openapi"])
    assert description["info"]["version"] == __version__
    described = {
        (path, method) for path, item in description["paths"].items() for method in item
    } - {(path, "parameters") for path in description["paths"]}
    assert described == {
        (path, method) for path, handler in routes.API for method in handler.operations
    }
    for path, item in description["paths"].items():
        named = {parameter["name"] for parameter in item.get("parameters", [])}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_failure_is_described(description: Any) -> None:
    """Health is described with its 503, too, and every refusal with the form of its body."""
    health = description["paths"]["/api/health"]["get"]["responses"]
    assert form(health["503"]) == form(health["200"])
    for item in description["paths"].values():
        for method in item.keys() - {"parameters"}:
            for status, response in item[method]["responses"].items():
                if status not in ("200", "503"):
                    assert form(response) == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_the_history_is_described(description: Any) -> None:
    """The description says what may stand behind the question mark, and that CSV may come back."""
    one = description["paths"]["/api/pins/{name}/history"]["get"]
    assert [(each["name"], each["in"]) for each in one["parameters"]] == [
        ("seconds", "query"),
        ("format", "query"),
    ]
    assert set(one["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    (seconds,) = description["paths"]["/api/history"]["get"]["parameters"]
    assert seconds["schema"] == {"type": "number", "minimum": 1, "maximum": 86400, "default": 300}


def form(response: Any) -> Any:
    return response["content"]["application/json"]["schema"]


EXCHANGES: list[tuple[str, str, Any, dict[str, str], int]] = [
    *[("GET", path, None, {}, 200) for path in GETS],
    ("PUT", "/api/pins/lamp", {"value": 1}, {}, 200),
    ("PUT", "/api/pins/fan", {"value": 0.5}, {}, 200),
    ("POST", "/api/pins/lamp/toggle", None, {}, 200),
    ("POST", "/api/pins/bell/pulse", None, {}, 200),
    ("POST", "/api/pins/lamp/pulse", {"seconds": 0.01}, {}, 200),
    ("GET", "/api/pins/garage", None, {}, 404),
    ("GET", "/api/pins/garage/history", None, {}, 404),
    ("GET", "/api/pins/lamp/history?seconds=0", None, {}, 422),
    ("GET", "/api/history?seconds=soon", None, {}, 422),
    ("GET", "/api/pins", None, {"Host": "evil.example"}, 421),
    ("PUT", "/api/pins/lamp", b"{", {}, 400),
    ("PUT", "/api/pins/lamp", {"value": 1}, {"Origin": "null"}, 403),
    ("PUT", "/api/pins/door", {"value": 1}, {}, 403),
    ("PUT", "/api/pins/boiler", {"value": 1}, {}, 403),
    ("PUT", "/api/pins/garage", {"value": 1}, {}, 404),
    ("PUT", "/api/pins/lamp", {"value": 7}, {}, 422),
    ("PUT", "/api/pins/lamp", {"value": 1}, {"Host": "evil.example"}, 421),
    ("POST", "/api/pins/door/toggle", None, {}, 403),
    ("POST", "/api/pins/garage/toggle", None, {}, 404),
    ("POST", "/api/pins/lamp/pulse", None, {}, 422),
    ("POST", "/api/pins/lamp/pulse", b"soon", {}, 400),
    ("POST", "/api/login", {"code": "no such code"}, {}, 401),
    ("POST", "/api/login", {"code": 7}, {}, 422),
    ("POST", "/api/login", b"code", {}, 400),
    ("POST", "/api/login", {"code": "x"}, {"Origin": "http://evil.example"}, 403),
    ("POST", "/api/logout", None, {}, 200),
]


@pytest.mark.parametrize("method, path, body, headers, status", EXCHANGES)
def test_the_description_is_true(
    pi: Server,
    description: Any,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    """Every answer has a status that the description knows and the form it promises."""
    answer = ask(pi, method, path, body, **headers)
    assert answer.status == status
    assert complaints(description, method, path, answer) == []


def test_every_operation_was_tried(description: Any) -> None:
    """No described operation goes untried: each has been seen to succeed."""
    tried = {
        (template(description, path), method.lower())
        for method, path, _, _, status in EXCHANGES
        if status == 200
    }
    tried |= {("/api/login", "post")}  # which needs a code: tests/security/test_codes.py
    tried |= {("/api/fleet", "get")}  # which needs a broker: tests/mqtt/test_fleet.py
    assert tried == {(path, name) for path, handler in routes.API for name in handler.operations}


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/api/health", None),
        ("GET", "/api/pins", None),
        ("GET", "/api/pins/fan", None),
        ("GET", "/api/header", None),
        ("PUT", "/api/pins/lamp", {"value": 1}),
    ],
)
def test_the_description_is_true_of_broken_pins(
    ruin: Server, description: Any, method: str, path: str, body: Any
) -> None:
    """The description holds as well where no pin can be opened."""
    assert complaints(description, method, path, ask(ruin, method, path, body)) == []


def template(description: Any, path: str) -> str:
    """The described path that `path` is one of; a fixed one goes before one with a name in it."""
    return next(
        described
        for described in sorted(description["paths"], key=lambda found: found.count("{"))
        if re.fullmatch(re.sub(r"{\w+}", "[^/]*", described), path.partition("?")[0])
    )


def complaints(description: Any, method: str, path: str, answer: Response) -> list[str]:
    """Return what the description does not say of an answer."""
    operation = description["paths"][template(description, path)][method.lower()]
    response = operation["responses"].get(str(answer.status))
    if response is None:
        return [f"{method} {path}: {answer.status} is not described"]
    return list(misfits(answer.json, form(response), description, "$"))


def misfits(value: Any, schema: Any, description: Any, where: str) -> Iterator[str]:
    """Return where a value breaks a JSON schema, as far as ours go; so does a field nobody
    described."""
    words = {"title", "description", "default", "format"}
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    for keyword, asked in schema.items():
        if keyword == "$ref":
            named = description["components"]["schemas"][asked.rpartition("/")[2]]
            yield from misfits(value, named, description, where)
        elif keyword == "anyOf":
            if all(any(misfits(value, one, description, where)) for one in asked):
                yield f"{where}: {value!r} is none of {asked}"
        elif keyword == "type":
            is_bool = isinstance(value, bool)
            if not isinstance(value, kinds[asked]) or (is_bool and asked != "boolean"):
                yield f"{where}: expected {asked}, got {value!r}"
        elif keyword == "enum":
            if value not in asked:
                yield f"{where}: {value!r} is none of {asked}"
        elif keyword == "required":
            yield from (f"{where}: no {name}" for name in asked if name not in value)
        elif keyword == "properties":
            for name, item in value.items():
                if name in asked:
                    yield from misfits(item, asked[name], description, f"{where}.{name}")
                else:
                    yield f"{where}: {name} is not described"
        elif keyword == "additionalProperties":
            if asked is not False:
                for name, item in value.items():
                    yield from misfits(item, asked, description, f"{where}.{name}")
        elif keyword == "items":
            for number, item in enumerate(value):
                yield from misfits(item, asked, description, f"{where}[{number}]")
        elif keyword not in words:
            raise NotImplementedError(keyword)


def test_the_description_is_true_of_a_bare_status(
    start_server: Callable[..., Server], description: Any
) -> None:
    """The description knows what those get who may not look."""
    answer = ask(start_server("access: {view: code}\n"), "GET", "/api/health")
    assert answer.json == {"status": "ok"}
    assert complaints(description, "GET", "/api/health", answer) == []


# Random requests

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
numbers = st.sampled_from([0, 1, 0.5, 0.01, 2, -1]) | st.floats() | st.integers()
bodies = (
    st.fixed_dictionaries({}, optional={"value": numbers, "seconds": numbers | st.none()})
    | json_values
).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=64)
names = (
    st.sampled_from(["door", "any-out", "any-bell", "any-pwm", "boiler"])
    | st.text(max_size=12)
    | st.text(min_size=12, max_size=60)
)
operations = st.sampled_from(
    [(path, method.upper()) for path, handler in routes.API for method in handler.operations]
)


@settings(deadline=None, max_examples=300, print_blob=True)
@given(operations, names, bodies)
def test_whatever_a_program_sends(
    pi: Server, description: Any, operation: tuple[str, str], name: str, body: bytes
) -> None:
    """Whatever name and body a program sends, the answer is one that the description promises."""
    path, method = operation
    asked = path.replace("{name}", quote(name, safe=""))
    answer = ask(pi, method, asked, body)
    assert answer.status < 500
    if name:  # without one it is another path
        assert complaints(description, method, asked, answer) == []


@settings(deadline=None, max_examples=150, print_blob=True)
@given(
    st.sampled_from([b"GET", b"PUT", b"POST", b"HEAD", b"OPTIONS", b"TRACE", b"get", b"B\xe9\xe9"]),
    st.sampled_from([b"/", b"/api/", b"/api/pins/", b"/api/pins/lamp/", b"/ws", b""]),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_whatever_a_stranger_sends(
    pi: Server, method: bytes, start: bytes, path: bytes, header: bytes
) -> None:
    """Whatever bytes a stranger sends as a request, the server never fails over them."""
    request = b"%b %b%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Any: %b\r\n\r\n"
    with socket.create_connection(("127.0.0.1", pi.port), LIMIT) as connection:
        connection.sendall(request % (method, start, path, header))
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    assert not answer or re.match(rb"HTTP/1\.1 [234]\d\d ", answer), answer
