"""`/ws` as a browser uses it: hello, state, change, health, commands, errors, limits."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from raspi_server.limits import DEFAULT
from tests.support.http import ask
from tests.support.server import LIMIT, Server, changing
from tests.support.sockets import GONE
from tests.support.websocket import BINARY, TEXT, WebSocketClient, masked

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 4, mode: input, label: Front door}
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 0.2, confirm: true}
  fan:  {gpio: 18, mode: pwm}
  safe: {gpio: 23, mode: output, control: nobody}
"""


@pytest.fixture
def client(pi: Server) -> Iterator[WebSocketClient]:
    with WebSocketClient(pi.port) as client:
        yield client


def test_hello_has_everything_that_a_page_needs(start_server: Callable[..., Server]) -> None:
    """The first message has the server, the rights and all pins, and an id of its own."""
    server = start_server(CONFIG)
    with WebSocketClient(server.port) as client, WebSocketClient(server.port) as other:
        hello = client.receive()
        assert other.receive()["id"] != hello["id"]
    assert hello["type"] == "hello"
    assert len(hello["id"]) == 32 and int(hello["id"], 16)
    assert abs(hello["time"] - time.time()) < LIMIT
    assert (hello["interval"], hello["access"], hello["fleet"]) == (0.1, "control", False)
    assert (hello["signed_in"], hello["code_would_help"]) == (None, False)
    assert hello["server"]["name"] == "raspi-server"
    assert hello["server"]["host"] == socket.gethostname()
    assert hello["server"]["simulated"] is True
    assert [notice["code"] for notice in hello["server"]["notices"]] == ["simulated", "open"]
    assert [pin["writable"] for pin in hello["pins"]] == [False, True, True, True, False]
    assert hello["pins"] == ask(server, "GET", "/api/pins").json["pins"]
    assert hello["state"] == {"door": 0, "lamp": 0, "gate": 0, "fan": 0, "safe": 0}


def test_state_is_sent_every_interval(start_server: Callable[..., Server]) -> None:
    """All values are sent every interval while a viewer is connected. A stop closes with 1001."""
    server = start_server(f"interval: 0.01\n{CONFIG}")
    with WebSocketClient(server.port) as client:
        values = client.receive("hello")["state"]
        states = [client.receive("state") for _ in range(4)]
    assert all(state["pins"] == values for state in states)
    assert len({state["seq"] for state in states}) == 4
    for key in ("seq", "time"):
        assert [state[key] for state in states] == sorted(state[key] for state in states)
    assert abs(states[-1]["time"] - time.time()) < LIMIT
    began = time.monotonic()
    while time.monotonic() < began + 0.6:  # a server that still ticked would make 60 states
        assert ask(server, "GET", "/api").status == 200
    with WebSocketClient(server.port) as client:
        assert client.receive("state")["seq"] - states[-1]["seq"] < 30
        server.process.terminate()
        assert client.close_code() == 1001


def test_health_is_sent_immediately_and_again(start_server: Callable[..., Server]) -> None:
    """Health follows hello and comes again at its own interval, with the addresses of the log."""
    assert DEFAULT.health_interval_s == 5
    program = changing(health_interval_s=0.1)
    server = start_server(f"interval: 3600\n{CONFIG}", program=program)
    with WebSocketClient(server.port) as client:
        assert [client.receive()["type"] for _ in range(3)] == ["hello", "health", "health"]
        health = client.receive()
    assert set(health) == {
        "type", "time", "temperature", "throttled", "load", "memory", "disk", "uptime", "addresses",
        "viewers",
    }  # fmt: skip
    assert 0 < health["memory"] < 1 and 0 < health["disk"] < 1
    assert 0 < health["uptime"] <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert health["viewers"] == 1
    logged = server.wait_for_log("serving (.*)")[1].split()
    hosts = ["127.0.0.1", *health["addresses"]]
    assert [f"http://{host}:{server.port}/" for host in hosts] == logged
    assert hosts[-1] == f"{socket.gethostname().partition('.')[0]}.local"
    one = start_server(f"address: 127.0.0.2\n{CONFIG}")
    assert ask(one.url, "GET", "/api/health").json["addresses"] == ["127.0.0.2"]


def test_change_is_sent_to_all_before_the_result(pi: Server, client: WebSocketClient) -> None:
    """The caller of a command gets a result. Every viewer has got the change before, with the
    address of the caller. The change of an input has no `by`, but the time of its edge."""
    for ref in (0, 2**53 - 1, "", "x" * 64, "ü", None):
        client.send(type="set", pin="lamp", value=0, **({} if ref is None else {"ref": ref}))
        assert client.receive("result")["ref"] == ref
    with WebSocketClient(pi.port) as other:
        other.receive("hello")
        client.send(type="toggle", pin="lamp", ref=7)
        assert client.receive("change", pin="lamp")["value"] == 1
        assert client.receive("result") == {"type": "result", "ref": 7, "pin": "lamp", "value": 1}
        assert other.receive("change", pin="lamp", value=1)["by"] == "127.0.0.1"
        assert other.receive("state")["pins"]["lamp"] == 1
        for value in (1, 0):
            before = time.time()
            assert client.command(type="drive", pin="door", value=value)["value"] == value
            change = other.receive("change", pin="door", value=value)
            assert "by" not in change
            assert before - 1 < change["time"] < time.time() + 1


def test_pulse_ends_without_its_client(pi: Server, client: WebSocketClient) -> None:
    """A phone that is gone in the middle of a pulse leaves nothing on."""
    with WebSocketClient(pi.port) as phone:
        phone.send(type="set", pin="gate", value=1)
        assert client.receive("change", pin="gate")["value"] == 1
        phone.reset()
    off = client.receive("change", pin="gate")
    assert (off["value"], off["by"]) == (0, "pulse")


def test_a_command_with_a_time(pi: Server, client: WebSocketClient) -> None:
    """A change says who decides, and until when. If only that changes, a `source` says it. `auto`
    needs the same right as switching, and ends what was switched by hand."""
    assert client.command(type="set", pin="lamp", value=0)["value"] == 0
    client.send(type="set", pin="lamp", value=1, seconds=900)
    change = client.receive("change", pin="lamp", value=1)
    assert (change["source"], change["auto"]) == ({"level": "manual"}, True)
    assert 800 < change["until"] - time.time() <= 901
    assert client.receive("result")["value"] == 1
    client.send(type="set", pin="lamp", value=1)
    source = client.receive("source")
    assert source.pop("seq") > change["seq"] and source.pop("time") < time.time() + 1
    manual = {"source": {"level": "manual"}, "until": None, "auto": True}
    assert source == {"type": "source", "pin": "lamp"} | manual
    assert client.command(type="auto", pin="lamp")["value"] == 0
    info = ask(pi, "GET", "/api/pins/lamp").json
    assert (info["source"], info["until"], info["auto"]) == ({"level": "default"}, None, False)
    assert client.command(type="auto", pin="door")["code"] == "not-writable"
    assert client.command(type="toggle", pin="lamp", seconds=0.02)["value"] == 1
    off = client.receive("change", pin="lamp", value=0)
    assert (off["by"], off["source"]) == ("timer", {"level": "default"})
    assert "until" not in off and "auto" not in off
    client.send(type="drive", pin="door", value=1)
    assert "source" not in client.receive("change", pin="door")


SET_LAMP = '{"type":"set","pin":"lamp",%s}'


@pytest.mark.parametrize(
    ("text", "code", "words", "ref"),
    [
        ("hello", "bad-message", 'expected JSON such as {"type":"set"', None),
        (b"{}", "bad-message", "expected a text frame", None),
        ("[" * 5000, "bad-message", "expected JSON such as", None),
        ('{"type":"burn"}', "bad-message", '"position" or "sign-in", got "burn"', None),
        (SET_LAMP % f'"value":1,"ref":{2**53}', "bad-message", "ref: expected a whole", None),
        (SET_LAMP % f'"value":1,"ref":"{"x" * 65}"', "bad-message", "at most 64 characters", None),
        (SET_LAMP % '"value":"burn","ref":1', "bad-message", 'or "off", got "burn"', 1),
        (SET_LAMP % '"vlaue":1,"value":1,"ref":1', "bad-message", 'got "vlaue"', 1),
        (SET_LAMP % '"value":2,"ref":1', "bad-value", "expected 0 or 1", 1),
        ('{"type":"set","pin":"nope","value":1,"ref":1}', "unknown-pin", "nope", 1),
        ('{"type":"set","pin":"door","value":1,"ref":1}', "not-writable", "is an input", 1),
        ('{"type":"drive","pin":"lamp","value":1,"ref":1}', "bad-value", "is not an input", 1),
    ],
)  # fmt: skip
def test_invalid_command_is_answered(client, text, code, words, ref) -> None:
    """An invalid command is answered with an error, and the connection stays open."""
    frame = masked(TEXT, text.encode()) if isinstance(text, str) else masked(BINARY, text)
    client.socket.sendall(frame)
    error = client.receive("error")
    assert (error["code"], error["ref"]) == (code, ref)
    assert words in error["message"]
    assert len(error["message"]) <= 400
    for value in ("off", True, "0", 1):
        answer = client.command(type="set", pin="lamp", value=value)
        assert (answer["type"], answer["value"]) == ("result", value in (True, 1))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
commands = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["set", "toggle", "pulse", "drive", "hello"]) | json_values,
        "pin": st.sampled_from(["door", "lamp", "gate", "fan", "safe", "nope"]) | json_values,
        "value": st.sampled_from([0, 1, 0.5, 2, -1]) | json_values,
        "seconds": json_values,
        "ref": json_values,
    },
).map(json.dumps)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=commands | st.text(max_size=200))
def test_any_message_is_answered(pi: Server, text: str) -> None:
    """Every message gets exactly one result or error, and the connection stays open."""
    with WebSocketClient(pi.port) as client:
        client.socket.sendall(masked(TEXT, text.encode()))
        client.send(type="set", pin="fan", value=0.5, ref="the last")
        answers = []
        while not answers or answers[-1]["ref"] != "the last":
            message = client.receive()
            if message["type"] in ("result", "error"):
                answers.append(message)
        assert len(answers) == 2
        assert answers[-1]["value"] == 0.5


def test_bursts(client: WebSocketClient, pi: Server) -> None:
    """A hundred messages at once, as a slider sends them, are all answered in order. A client that
    sends a thousand gets an error and is closed with 1008; the others go on."""
    for step in range(100):
        client.send(type="set", pin="fan", value=step / 100, ref=step)
    answers = (each for each in client.messages() if each["type"] in ("result", "error"))
    for step in range(100):
        assert next(answers).items() >= {"type": "result", "ref": step}.items()
    with WebSocketClient(pi.port) as loud, WebSocketClient(pi.port) as other:
        with contextlib.suppress(*GONE):
            loud.socket.sendall(masked(TEXT, b"{}") * 1000)
        error = loud.receive("error", code="too-fast")
        assert error["message"] == "expected at most 50 messages a second"
        assert loud.close_code() == 1008
        assert other.command(type="toggle", pin="lamp")["type"] == "result"


def test_another_library(pi: Server) -> None:
    """The library `websockets` gets subprotocol, fragments, pings and a close handshake."""
    offered = ["other", "raspi-server.1"]
    url = f"ws://127.0.0.1:{pi.port}/ws"
    with connect(url, subprotocols=offered, max_queue=None) as client:  # type: ignore[arg-type]
        messages = map(json.loads, client)
        assert client.subprotocol == "raspi-server.1"
        assert next(messages)["type"] == "hello"
        assert client.ping().wait(LIMIT)
        command = json.dumps({"type": "set", "pin": "fan", "value": 0.25, "ref": "here"})
        client.send([command[:9], command[9:]])
        assert next(each for each in messages if each.get("ref") == "here")["value"] == 0.25
        client.close()
        assert client.close_code == 1000
    with connect(url) as client:
        assert client.subprotocol is None
