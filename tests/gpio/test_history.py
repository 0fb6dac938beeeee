"""The history of the pins: what it keeps, and what it returns over HTTP."""

import csv
import re
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raspi_server.gpio import history
from raspi_server.gpio.history import History
from raspi_server.limits import DEFAULT, Limits
from raspi_server.system import clock
from tests.support.coded_server import CodedServer
from tests.support.http import HttpClient, Response, ask
from tests.support.server import LIMIT, Server, changing
from tests.support.websocket import WebSocketClient

CONFIG = """
access: {control: everyone}
interval: 3600
pins:
  door: {gpio: 4, mode: input}
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 0.05}
  fan:  {gpio: 18, mode: pwm}
  bulb: {gpio: 27, mode: output}
  light: {gpio: 19, mode: pwm}
"""
FAILING = """
import os, sys
from gpiozero import PinError
from raspi_server.gpio import backend
from raspi_server.cli.main import main
get = backend.SimulatedPin._get_state
def fail(pin):
    if pin.info.name == "GPIO4" and os.path.exists({file!r}):
        raise PinError("GPIO4: I/O error")
    return get(pin)
backend.SimulatedPin._get_state = fail
sys.exit(main())
"""


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    """A server on which a drag lasts as long as a test. Each test has pins of its own."""
    return start_module_server(CONFIG, program=changing(drag_gap_s=LIMIT, drag_length_s=LIMIT))


def get(server: Server, pin: str, query: str = "", **headers: str) -> Response:
    response = ask(server, "GET", f"/api/pins/{pin}/history{query}", **headers)
    assert response.status == 200, response.body
    return response


def as_csv(server: Server, pin: str) -> list[dict[str, str]]:
    text = get(server, pin, "?format=csv").body.decode()
    return list(csv.DictReader(text.splitlines(keepends=True), strict=True))


def switch(server: Server, pin: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{pin}", {"value": value}).status == 200


def wait_for(fact: Callable[[], Any]) -> Any:
    """Wait for a value that is true, and return it."""
    limit = time.monotonic() + LIMIT
    while not (found := fact()):
        assert time.monotonic() < limit, "it never came true"
    return found


def values(changes: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(change["value"], change["by"]) for change in changes]


# What it keeps

LIMITS = Limits(history_changes_per_pin=4, drag_gap_s=1, drag_length_s=2)


class Reference:
    """The same history of one pin, as a plain list of [moment, value, by, start of the drag]."""

    def __init__(self) -> None:
        self.entries: list[list[Any]] = []

    def add(self, moment: float, value: float | None, by: str | None) -> None:
        last = self.entries[-1] if self.entries else [moment, None, None, None]
        moment = max(moment, last[0])
        if by == "unreported":
            if self.entries and value == last[1]:
                return
            by = None
        is_level = bool(value and last[1] and by and by == last[2] and len(self.entries) > 1)
        if is_level and moment - last[0] <= 1 and moment - last[3] <= 2:
            last[:2] = moment, value
        else:
            self.entries.append([moment, value, by, moment])
            del self.entries[:-5]

    def between(self, start: float, end: float) -> Any:
        first = max(0, sum(entry[0] <= start for entry in self.entries) - 1)
        moment, value, *_ = self.entries[first]
        changes = [tuple(entry[:3]) for entry in self.entries[first + 1 :] if entry[0] <= end]
        return max(start, moment), value, changes


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([-0.5, 0.5, 1, 1.5]),
            st.sampled_from([None, 0, 0.25, 0.5, 1]),
            st.sampled_from(["me", "me", "you", None, "unreported"]),
        ),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([None, 1, 2.5, 60]),
)
@example([(1, 0, None), (1, 0.25, "me"), (1, 0.5, "me"), (1, 0.25, "me")], None)
def test_it_equals_a_list_of_changes(
    events: list[tuple[float, float | None, str | None]], seconds: float | None
) -> None:
    """For any changes and any query it returns what a plain list does: the last changes, a drag of
    a slider by one caller as one change, and the value before the first of them."""
    kept, reference, now = History(LIMITS), Reference(), 1000.0
    with patch.object(history, "wall_times", list):
        for gap, value, by in events:
            now += gap
            reference.add(now, value, by)
            if by == "unreported":
                kept.synchronize({"fan": value}, now)
            else:
                kept.record("fan", value, now, by)
            found = kept.of("fan", now, seconds)
            changes = [(change.time, change.value, change.by) for change in found.changes]
            start = -1e9 if seconds is None else now - seconds
            assert (found.since, found.value, changes) == reference.between(start, now)
            if seconds is not None:
                assert list(kept.of_all(now, seconds)) == [("fan", found)]


def test_synchronize_adds_and_drops_pins() -> None:
    """New pins begin with their value. The changes of a pin that is gone are dropped."""
    kept = History()
    kept.synchronize({"lamp": 0, "fan": 0.5}, 0)
    kept.record("lamp", 1, 1, "me")
    kept.synchronize({"bell": 1, "lamp": 1}, 2)
    found = {pin: (each.value, len(each.changes)) for pin, each in kept.of_all(3, 60)}
    assert found == {"bell": (1, 0), "lamp": (0, 1)}
    assert [type(kept.of(pin, 3).value) for pin in found] == [int, int]


def test_times_follow_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the clock is set, all times change with it: a minute stays a minute."""
    kept = History()
    kept.synchronize({"lamp": 0}, 0)
    kept.record("lamp", 1, 60, "me")
    offset, years = 1e9, 20 * 365.25 * 86400
    for _ in range(2):
        monkeypatch.setattr(clock, "_read_offset", lambda: offset)  # noqa: B023
        found = kept.of("lamp", 100)
        assert (found.since, found.changes[0].time) == (offset, offset + 60)
        offset += years


def test_it_takes_little_memory() -> None:
    """The history of 28 pins, however much they change, takes less than a megabyte."""
    tracemalloc.start()
    kept = History()
    for number in range(DEFAULT.history_changes_per_pin + 200):
        for pin in range(7):
            by = f"192.168.1.{number % 200}"
            kept.record(f"pin{pin}", number % 100 / 100, float(number), by)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1_000_000 * 7 / 28
    assert len(kept.of("pin6", 2000.0).changes) == DEFAULT.history_changes_per_pin


# Over HTTP


def test_it_has_what_viewers_received(pi: Server) -> None:
    """It has each change that a viewer received, with the same time and caller, short pulses
    included. Only a drag is one change: its last value."""
    with WebSocketClient(pi.port) as viewer:
        began = viewer.receive("hello")["time"]
        viewer.send(type="drive", pin="door", value=1)
        viewer.send(type="drive", pin="door", value=0)
        for pin, value in (("lamp", 1), ("lamp", 0), ("gate", 1)):
            switch(pi, pin, value)
        for value in (0.9, 0.35, 0, 0.3, 0.6, 0):
            switch(pi, "fan", value)
        received: dict[str, list[dict[str, Any]]] = {p: [] for p in ("door", "lamp", "gate", "fan")}
        while [len(each) for each in received.values()] != [2, 2, 2, 6]:
            change = viewer.receive("change")
            by = change.get("by")
            entry = {"time": change["time"], "value": change["value"], "by": by}
            received[change["pin"]].append(entry)
    assert values(received["door"]) == [(1, None), (0, None)]
    assert values(received["gate"]) == [(1, "127.0.0.1"), (0, "pulse")]
    assert [change["value"] for change in received["fan"]] == [0.9, 0.35, 0, 0.3, 0.6, 0]
    received["fan"] = [received["fan"][each] for each in (1, 2, 4, 5)]
    found = ask(pi, "GET", "/api/history").json
    assert list(found["pins"]) == ["door", "lamp", "gate", "fan", "bulb", "light"]
    assert 0 <= found["time"] - received["gate"][-1]["time"] < LIMIT
    for pin, expected in received.items():
        of_all = found["pins"][pin]
        assert of_all["changes"] == expected
        assert (of_all["value"], of_all["since"] <= began) == (0, True)
        of_one = get(pi, pin).json
        assert of_one.pop("time") >= found["time"]
        assert of_one == {"pin": pin, **of_all}


def test_the_last_seconds(pi: Server) -> None:
    """`seconds` limits the history: the value when that time began, and all changes since."""
    switch(pi, "bulb", 1)
    whole = get(pi, "bulb").json
    assert get(pi, "bulb", "?seconds=300").json == whole | {"time": pytest.approx(whole["time"])}

    def last_second() -> Any:
        found = get(pi, "bulb", "?seconds=1").json
        return found if not found["changes"] else None

    found = wait_for(last_second)
    assert found["value"] == 1
    assert found["time"] - found["since"] == pytest.approx(1, abs=1e-5)
    every = ask(pi, "GET", "/api/history?seconds=1").json
    assert (every["pins"]["bulb"]["value"], every["pins"]["bulb"]["changes"]) == (1, [])
    assert every["time"] - every["pins"]["bulb"]["since"] == pytest.approx(1, abs=1e-5)
    assert ask(pi, "GET", "/api/history").json["pins"]["bulb"]["since"] == whole["since"]


@pytest.mark.slow
def test_an_unavailable_pin(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """While a pin cannot be read its value is None, from the start or from then on, until it is
    available again. No viewer is needed for that."""
    broken = tmp_path / "broken"
    broken.touch()
    server = start_server(CONFIG, program=("-c", FAILING.format(file=str(broken))))
    found = get(server, "door", "?seconds=300").json
    assert (found["value"], found["changes"]) == (None, [])
    broken.unlink()
    wait_for(lambda: get(server, "door").json["changes"])
    broken.touch()
    wait_for(lambda: get(server, "door").json["changes"][1:])
    assert as_csv(server, "door")[-1]["value"] == ""
    broken.unlink()
    wait_for(lambda: get(server, "door").json["changes"][2:])
    changes = get(server, "door").json["changes"]
    assert values(changes) == [(0, None), (None, None), (0, None)]
    assert changes[0]["time"] < changes[1]["time"] < changes[2]["time"]
    assert get(server, "lamp").json["changes"] == []


def test_a_reload(start_server: Callable[..., Server]) -> None:
    """Over a reload the history of a pin stays, and a change of its value by the reload is in it.
    That of a pin that is removed or renamed is dropped, and is empty when it is back."""
    lamp = "access: {control: everyone}\npins:\n  lamp: {gpio: 17, mode: output}\n"
    server = start_server(lamp)

    def names() -> list[str]:
        return list(ask(server, "GET", "/api/history").json["pins"])

    switch(server, "lamp", 1)
    server.reload(lamp + "  fan: {gpio: 18, mode: pwm, initial: 0.5}\n")
    wait_for(lambda: names() == ["lamp", "fan"])
    old, new = get(server, "lamp").json, get(server, "fan").json
    assert values(old["changes"]) == [(1, "127.0.0.1")]
    assert (new["value"], new["changes"]) == (0.5, [])
    assert new["since"] > old["changes"][0]["time"]
    server.reload(lamp.replace("mode: output", "mode: output, active: low"))
    wait_for(lambda: names() == ["lamp"])
    assert values(get(server, "lamp").json["changes"]) == [(1, "127.0.0.1"), (0, None)]
    server.reload(lamp.replace("lamp: {", "light: {"))
    wait_for(lambda: names() == ["light"])
    assert ask(server, "GET", "/api/pins/lamp/history").status == 404
    server.reload(lamp)
    wait_for(lambda: names() == ["lamp"])
    back = get(server, "lamp").json
    assert (back["changes"], back["since"] > new["since"]) == ([], True)


def test_queries(pi: Server) -> None:
    """A wrong length or format is rejected with what was expected; so is an unknown pin."""
    with HttpClient(pi) as client:
        for path in ("/api/history", "/api/pins/lamp/history"):
            for seconds in ("0.9", "-1", "86401", "nan", "", "1,5", "%ff"):
                status, code, message = client.ask("GET", f"{path}?seconds={seconds}").error
                assert (status, code) == (422, "bad-value"), seconds
                assert message.startswith("expected seconds from 1 to 86400")
            for seconds in ("1", "86400", "0.3e3"):
                assert client.ask("GET", f"{path}?seconds={seconds}").status == 200
        status, code, message = client.ask("GET", "/api/pins/lamp/history?format=xml").error
        assert (status, code) == (422, "bad-value")
        assert "format json or csv" in message and "xml" in message
        for query in ("", "?format=csv"):
            error = client.ask("GET", f"/api/pins/garage/history{query}").error
            assert error[:2] == (404, "unknown-pin")


def test_it_needs_the_right_to_view(start_with_codes: Callable[..., CodedServer]) -> None:
    """With `view: code` the history needs a code, too."""
    server = start_with_codes("{view: code}")
    code = server.new("view")
    for path in ("/api/history", "/api/pins/lamp/history", "/api/pins/lamp/history?format=csv"):
        assert server.ask("GET", path).error == (401, "sign-in", "viewing needs an access code")
        assert server.ask("GET", path, Authorization=f"Bearer {code}").status == 200


def test_csv(pi: Server) -> None:
    """CSV has the same content, in lines that every spreadsheet reads. No cell is a formula."""
    for value in (0.125, 0, 1 / 3, 0):
        switch(pi, "light", value)
    found = get(pi, "light").json
    answer = get(pi, "light", "?format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    name = r'attachment; filename="light-\d{4}-\d\d-\d\dT\d{6}\.csv"'
    assert re.fullmatch(name, answer.headers["Content-Disposition"])
    assert answer.headers["Cache-Control"] == "no-store"
    text = answer.body.decode("ascii")
    assert text.startswith("time,unix,pin,value,by\r\n")
    assert text.count("\r\n") == text.count("\n") == 2 + len(found["changes"])
    assert not re.search(r"(^|,)[^\w,\r\n]", text, re.MULTILINE)
    first, *lines = as_csv(pi, "light")
    assert (first["value"], first["by"]) == ("0", "")
    assert float(first["unix"]) == found["since"]
    for line, change in zip(lines, found["changes"], strict=True):
        assert float(line["unix"]) == change["time"]
        assert float(line["value"]) == pytest.approx(change["value"], abs=1e-6)
        assert (line["pin"], line["by"]) == ("light", "127.0.0.1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        moment = datetime.fromisoformat(line["time"]).timestamp()
        assert 0 <= change["time"] - moment < 0.001001
    assert get(pi, "light", "?seconds=300&format=csv").body == answer.body


def test_csv_or_json(pi: Server) -> None:
    """The query chooses the format, else the `Accept` header. JSON is the default."""
    for accept, query, expected in (
        ("Text/CSV; charset=utf-8, */*;q=0.1", "", "text/csv"),
        ("application/json;q=0.5, text/csv", "", "text/csv"),
        ("application/json, text/csv;q=0.9", "", "application/json"),
        ("text/csv;q=0", "", "application/json"),
        ("text/csv;q=x", "", "application/json"),
        ("*/*", "", "application/json"),
        (";,;", "", "application/json"),
        ("text/csv", "?format=json", "application/json"),
        ("application/json", "?format=csv", "text/csv"),
    ):
        answer = get(pi, "lamp", query, Accept=accept)
        assert answer.headers["Content-Type"].partition(";")[0] == expected, accept
