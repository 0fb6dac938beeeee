"""The WebSocket as a browser uses it: hello, state, change, health, commands, rejections,
limits."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.server import LIMIT, Server

CONFIG = """
access: {control: everyone}
pins:
  door: {gpio: 4, mode: input, label: Front door}
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 0.2, confirm: true}
  fan:  {gpio: 18, mode: pwm}
  safe: {gpio: 23, mode: output, control: nobody}
"""


class Browser:
    """A WebSocket client that reads messages one by one, and can wait for one of a kind."""

    def __init__(self, server: Server, **options: Any) -> None:
        self._connecting = connect(server.ws_url, open_timeout=LIMIT, max_queue=None, **options)

    def __enter__(self) -> "Browser":
        self.socket: ClientConnection = self._connecting.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._connecting.__exit__(*exc_info)

    def read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=LIMIT))
        return message

    def read_until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of a type with these fields."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            message = self.read()
            if message["type"] == kind and fields.items() <= message.items():
                return message
        raise AssertionError(f"no {kind} with {fields}, the last message was {message}")

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def ask(self, **message: Any) -> dict[str, Any]:
        """Sends a command and waits for its result or error."""
        self.send(**message, ref="ask")
        for _ in range(10000):
            answer = self.read()
            if answer["type"] in ("result", "error") and answer["ref"] == "ask":
                return answer
        raise AssertionError(f"10000 messages and no answer to {message}")

    def close_code(self) -> int:
        """Reads on until the server closes; with which code."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.socket.recv(timeout=LIMIT)
        code = self.socket.close_code
        assert code is not None
        return code


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    """One server for all tests that leave it as it was."""
    return start_module_server(CONFIG)


@pytest.fixture
def browser(pi: Server) -> Iterator[Browser]:
    with Browser(pi) as browser:
        browser.hello = browser.read()  # type: ignore[attr-defined]
        yield browser


def test_hello_says_everything_a_page_needs(start_server):
    """A page that connects is told at once who it talks to, which pins there are and how."""
    with Browser(start_server(CONFIG)) as browser:
        hello = browser.read()
    assert hello["type"] == "hello"
    assert len(hello["id"]) == 32 and int(hello["id"], 16)
    assert abs(hello["time"] - time.time()) < LIMIT
    assert hello["interval"] == 0.1
    assert hello["access"] == "control"
    assert hello["server"]["name"] == "raspi-server"
    assert hello["server"]["host"] == socket.gethostname()
    assert hello["server"]["simulated"] is True
    assert [notice["code"] for notice in hello["server"]["notices"]] == ["simulated", "open"]
    assert [pin["name"] for pin in hello["pins"]] == ["door", "lamp", "gate", "fan", "safe"]
    assert hello["pins"][0] == {
        "name": "door", "label": "Front door", "gpio": 4, "header": 7, "mode": "input",
        "value": 0, "since": None, "writable": False, "pulse": None, "max_on": None,
        "group": None, "confirm": False, "control": None, "error": None,
    }  # fmt: skip
    assert [pin["writable"] for pin in hello["pins"]] == [False, True, True, True, False]
    assert hello["state"] == {"door": 0, "lamp": 0, "gate": 0, "fan": 0, "safe": 0}


def test_every_hello_has_its_own_id(pi):
    """Two browsers are two visitors."""
    with Browser(pi) as one, Browser(pi) as two:
        assert one.read()["id"] != two.read()["id"]


def test_state_comes_again_and_again(browser):
    """All states come every interval, in growing order, with the time."""
    states = [browser.read_until("state") for _ in range(5)]
    assert all(state["pins"] == browser.hello["state"] for state in states)
    seqs = [state["seq"] for state in states]
    assert seqs == sorted(set(seqs))
    times = [state["time"] for state in states]
    assert times == sorted(times) and abs(times[-1] - time.time()) < LIMIT


def test_interval_is_the_owners(start_server):
    """An owner who sets a long interval gets no flood; health comes at once and every 5 s."""
    with Browser(start_server(CONFIG + "interval: 3600\n")) as browser:
        assert [browser.read()["type"] for _ in range(2)] == ["hello", "health"]
        assert browser.read()["viewers"] == 1


def test_health(browser):
    """A page need not wait for the first health."""
    health = browser.read_until("health")
    assert set(health) == {
        "type", "time", "temperature", "throttled", "load", "memory", "disk", "uptime", "addresses",
        "viewers",
    }  # fmt: skip
    assert 0 < health["memory"] < 1 and 0 < health["disk"] < 1
    assert 0 < health["uptime"] <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_where_others_reach_it(pi, browser, start_server):
    """Health says under which addresses and which name others reach the server, as the log does;
    one that listens on a single address is reached there, and one on none of these by nobody."""
    announced = pi.wait_for_log("serving (.*)")[1].split()
    addresses = browser.read_until("health")["addresses"]
    assert [f"http://{host}:{pi.port}/" for host in ["127.0.0.1", *addresses]] == announced
    assert addresses[-1] == f"{socket.gethostname().partition('.')[0]}.local"
    for address, told in (("127.0.0.2", ["127.0.0.2"]), ("127.0.0.1", [])):
        with Browser(start_server(f"address: {address}\n{CONFIG}")) as other:
            assert other.read_until("health")["addresses"] == told


def test_a_switched_lamp_is_seen_by_all(pi, browser):
    """Who switches gets a result; everyone sees the change, with who made it."""
    with Browser(pi) as other:
        other.read_until("hello")
        browser.ask(type="set", pin="lamp", value=0)
        assert browser.ask(type="set", pin="lamp", value=1) == {
            "type": "result", "ref": "ask", "pin": "lamp", "value": 1,
        }  # fmt: skip
        change = other.read_until("change", pin="lamp", value=1)
        assert change["by"] == "127.0.0.1"
        assert other.read_until("state")["pins"]["lamp"] == 1


def test_the_change_comes_before_the_result(browser):
    """Who switched has seen the change when the result arrives."""
    browser.send(type="toggle", pin="lamp", ref=7)
    kinds = []
    while "result" not in kinds:
        kinds.append(browser.read()["type"])
    assert "change" in kinds


def test_an_edge_is_told_at_once(pi, browser):
    """A driven input is told as a change without `by`, with the time of the edge."""
    before = time.time()
    assert browser.ask(type="drive", pin="door", value=1)["value"] == 1
    with Browser(pi) as other:
        assert other.read()["state"]["door"] == 1
    browser.send(type="drive", pin="door", value=0)
    change = browser.read_until("change", pin="door", value=0)
    assert "by" not in change
    assert before - 0.01 <= change["time"] <= time.time() + 0.01


def test_pulse_ends_though_the_phone_vanishes(pi, browser):
    """A phone that vanishes in the middle of a press leaves nothing on."""
    with Browser(pi) as phone:
        phone.send(type="set", pin="gate", value=1)
        assert browser.read_until("change", pin="gate")["value"] == 1
        phone.socket.socket.shutdown(socket.SHUT_RDWR)
    off = browser.read_until("change", pin="gate")
    assert (off["value"], off["by"]) == (0, "pulse")


def test_commands(browser):
    """Toggle, pulse and dimming do what they say."""
    browser.ask(type="set", pin="lamp", value=0)
    assert browser.ask(type="toggle", pin="lamp")["value"] == 1
    assert browser.ask(type="toggle", pin="lamp")["value"] == 0
    assert browser.ask(type="set", pin="fan", value=0.35)["value"] == 0.35
    assert browser.ask(type="toggle", pin="fan")["value"] == 0
    assert browser.ask(type="toggle", pin="fan")["value"] == 0.35
    assert browser.ask(type="pulse", pin="lamp", seconds=0.05)["value"] == 1
    assert browser.read_until("change", pin="lamp", value=0)["by"] == "pulse"


@pytest.mark.parametrize("ref", [7, 0, -1, 2**53 - 1, "", "x" * 64, "ü"])
def test_ref_comes_back(browser, ref):
    """An answer carries the reference of its question."""
    browser.send(type="set", pin="lamp", value=1, ref=ref)
    assert browser.read_until("result")["ref"] == ref


def test_no_ref_is_fine(browser):
    """A command without a reference is carried out and answered."""
    browser.send(type="set", pin="lamp", value=1)
    assert browser.read_until("result")["ref"] is None


REFUSED = [
    ("hello", "bad-message", "expected a command", None),
    ("", "bad-message", "expected a command", None),
    ("{", "bad-message", "expected a command", None),
    ("[1]", "bad-message", "expected a command", None),
    ("null", "bad-message", "expected a command", None),
    (b"\x00\x01", "bad-message", "expected a text frame", None),
    ('{"type":"set","pin":"lamp","value":1,"ref":1.5}', "bad-message", "ref", None),
    ('{"type":"set","pin":"lamp","value":1,"ref":"%s"}' % ("x" * 65), "bad-message", "ref", None),
    ('{"type":"set","pin":"lamp","ref":1}', "bad-message", "value", 1),
    ('{"type":"set","pin":"lamp","value":true,"ref":1}', "bad-message", "value", 1),
    ('{"type":"set","pin":"lamp","value":"1","ref":1}', "bad-message", "value", 1),
    ('{"type":"set","pin":"lamp","value":null,"ref":1}', "bad-message", "value", 1),
    ('{"type":"set","pin":"lamp","value":NaN,"ref":1}', "bad-message", "JSON", None),
    ('{"type":"set","pin":"lamp","value":1e999,"ref":1}', "bad-message", "out of range", 1),
    ('{"type":"set","pin":["lamp"],"value":1,"ref":1}', "bad-message", "pin", 1),
    ('{"type":"set","pin":"lamp","vlaue":1,"value":1,"ref":1}', "bad-message", "vlaue", 1),
    ('{"type":"open","pin":"lamp","ref":1}', "bad-message", "open", 1),
    ('{"type":"set","pin":"nope","value":1,"ref":1}', "unknown-pin", "nope", 1),
    ('{"type":"set","pin":"door","value":1,"ref":1}', "not-writable", "is an input", 1),
    ('{"type":"set","pin":"lamp","value":2,"ref":1}', "bad-value", "expected 0 or 1", 1),
    ('{"type":"set","pin":"fan","value":-0.1,"ref":1}', "bad-value", "from 0 to 1", 1),
    ('{"type":"pulse","pin":"gate","seconds":9,"ref":1}', "bad-value", "0.2 seconds", 1),
    ('{"type":"pulse","pin":"fan","seconds":1,"ref":1}', "bad-value", "no pulse", 1),
    ('{"type":"set","pin":"safe","value":1,"ref":1}', "not-allowed", "nobody may switch", 1),
    ('{"type":"drive","pin":"lamp","value":1,"ref":1}', "bad-value", "is not an input", 1),
    ("[" * 5000, "bad-message", "expected a command", None),
]


@pytest.mark.parametrize(("text", "code", "words", "ref"), REFUSED)
def test_what_is_refused_is_refused_in_words(browser, text, code, words, ref):
    """Anything that is no fitting command is answered with an error, and the socket stays open."""
    browser.socket.send(text)
    error = browser.read_until("error")
    assert (error["code"], error["ref"]) == (code, ref)
    assert words in error["message"]
    assert len(error["message"]) <= 400
    assert browser.ask(type="set", pin="lamp", value=1)["type"] == "result"


def test_too_long_a_message_closes(browser):
    """A message of more than 16 KiB ends the connection with 1009."""
    browser.socket.send("x" * 16 * 1024)
    assert browser.read_until("error")["code"] == "bad-message"
    browser.socket.send("x" * (16 * 1024 + 1))
    assert browser.close_code() == 1009


def test_a_megabyte_harms_nobody_else(pi, browser):
    """A megabyte from one client ends that client; the others never notice."""
    with Browser(pi) as loud:
        loud.read_until("hello")
        with contextlib.suppress(ConnectionClosed):
            loud.socket.send("x" * 1_000_000)
        assert loud.close_code() in (1009, 1006)  # 1006: the reset overtook the close frame
    assert browser.ask(type="toggle", pin="lamp")["type"] == "result"


def test_too_many_messages_close(pi, browser):
    """A client that sends hundreds of messages at once is told so and closed with 1008."""
    with Browser(pi) as loud:
        loud.read_until("hello")
        with contextlib.suppress(ConnectionClosed):
            for _ in range(1000):
                loud.send(type="toggle", pin="nope")
        assert loud.close_code() == 1008
    assert browser.ask(type="toggle", pin="lamp")["type"] == "result"


def test_a_burst_of_a_hundred_is_fine(browser):
    """A slider that sends a hundred values at once has them all answered."""
    for step in range(100):
        browser.send(type="set", pin="fan", value=step / 100, ref=step)
    refs = []
    while len(refs) < 100:
        message = browser.read()
        assert message["type"] != "error", message
        if message["type"] == "result":
            refs.append(message["ref"])
    assert refs == list(range(100))


def test_the_subprotocol_is_tagged_when_asked_for(pi):
    """A client that asks for raspi-server.1 is told that it is spoken here."""
    with Browser(pi, subprotocols=["other", "raspi-server.1"]) as browser:
        assert browser.socket.subprotocol == "raspi-server.1"
    with Browser(pi) as browser:
        assert browser.socket.subprotocol is None


def test_a_stop_says_going_away(start_server):
    """When the server stops, browsers are told with 1001, and come back later."""
    pi = start_server(CONFIG)
    with Browser(pi) as browser:
        browser.read_until("hello")
        pi.process.terminate()
        assert browser.close_code() == 1001
    assert pi.stop() == 0


def test_the_broadcast_stops_with_the_last_client(start_server):
    """With nobody connected no state is made: the numbers stand still for a hundred intervals."""
    pi = start_server(CONFIG.replace("access", "interval: 0.01\naccess"))
    with Browser(pi) as browser:
        last = browser.read_until("state")["seq"]
    began = time.monotonic()
    while time.monotonic() - began < 1:  # a server that still ticked would make 100 states
        with socket.create_connection(("127.0.0.1", pi.port), LIMIT) as plain:
            plain.sendall(b"GET /api HTTP/1.0\r\n\r\n")
            assert b"200 OK" in plain.recv(4096)
    with Browser(pi) as browser:
        seen = browser.read_until("state")["seq"]
    assert seen - last < 50


def test_plain_http_on_ws_is_told(pi):
    """A browser that opens /ws as a page is told what it is."""
    with socket.create_connection(("127.0.0.1", pi.port), LIMIT) as plain:
        plain.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ") and b"WebSocket" in answer


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
        "more": json_values,
    },
).map(json.dumps)


@settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(message=commands | st.text(max_size=200) | st.binary(max_size=200))
def test_whatever_a_client_sends_is_answered(pi, message):
    """Every message, however odd, gets exactly one result or error, and the socket stays open."""
    with Browser(pi) as browser:
        browser.socket.send(message)
        answer = browser.read()
        while answer["type"] not in ("result", "error"):
            answer = browser.read()
        assert browser.ask(type="set", pin="fan", value=0.5)["value"] == 0.5
