"""The history of the pins: what it keeps, and what it returns over HTTP."""

import csv
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raspi_server.gpio import history
from raspi_server.gpio.history import History
from raspi_server.limits import Limits
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server, changing
from tests.support.websocket import WebSocketClient

CONFIG = """
access: {control: everyone}
interval: 3600
pins:
  door: {gpio: 4, mode: input}
  gate: {gpio: 22, mode: output, pulse: 0.05}
  fan:  {gpio: 18, mode: pwm}
  light: {gpio: 19, mode: pwm}
"""


@pytest.fixture(scope="module")
def pi(start_module_server: Callable[..., Server]) -> Server:
    """A server on which a drag lasts as long as a test. Each test has pins of its own."""
    return start_module_server(CONFIG, program=changing(drag_gap_s=LIMIT, drag_length_s=LIMIT))


def get(server: Server, pin: str, query: str = "", **headers: str) -> Response:
    response = ask(server, "GET", f"/api/pins/{pin}/history{query}", **headers)
    assert response.status == 200, response.body
    return response


def switch(server: Server, pin: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{pin}", {"value": value}).status == 200


def wait_for(fact: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT
    while not fact():
        assert time.monotonic() < until, "it never came true"


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


# Over HTTP


def test_it_has_what_viewers_received(pi: Server) -> None:
    """It has each change that a viewer received, with the same time and caller, short pulses
    included. Only a drag is one change: its last value. `seconds` limits it: the value when that
    time began, and all changes since."""
    with WebSocketClient(pi.port) as viewer:
        began = viewer.receive("hello")["time"]
        viewer.send(type="drive", pin="door", value=1)
        viewer.send(type="drive", pin="door", value=0)
        switch(pi, "gate", 1)
        for value in (0.9, 0.35, 0, 0.3, 0.6, 0):
            switch(pi, "fan", value)
        received: dict[str, list[dict[str, Any]]] = {pin: [] for pin in ("door", "gate", "fan")}
        while [len(each) for each in received.values()] != [2, 2, 6]:
            change = viewer.receive("change")
            entry = {"time": change["time"], "value": change["value"], "by": change.get("by")}
            received[change["pin"]].append(entry)
    assert [change["by"] for change in received["gate"]] == ["127.0.0.1", "pulse"]
    received["fan"] = [received["fan"][each] for each in (1, 2, 4, 5)]
    every = ask(pi, "GET", "/api/history").json
    for pin, expected in received.items():
        of_all = every["pins"][pin]
        assert of_all["changes"] == expected
        assert (of_all["value"], of_all["since"] <= began) == (0, True)
        of_one = get(pi, pin).json
        assert of_one.pop("time") >= every["time"] >= expected[-1]["time"]
        assert of_one == {"pin": pin, **of_all}
    for path in ("/api/pins/fan/history", "/api/history"):
        wait_for(lambda path=path: b'"by"' not in ask(pi, "GET", f"{path}?seconds=1").body)
    found = get(pi, "fan", "?seconds=1").json
    assert (found["value"], found["time"] - found["since"]) == (0, pytest.approx(1, abs=1e-5))


def test_a_reload(start_server: Callable[..., Server]) -> None:
    """Over a reload the history of a pin stays, and a change of its value by the reload is in it.
    That of a pin that is removed or renamed is dropped. With `view: code` it needs a code."""
    lamp = "access: {control: everyone}\npins:\n  lamp: {gpio: 17, mode: output}\n"
    server = start_server(lamp)

    def names() -> list[str]:
        return list(ask(server, "GET", "/api/history").json["pins"])

    switch(server, "lamp", 1)
    fan = "  fan: {gpio: 18, mode: pwm, initial: 0.5}\n"
    server.reload(lamp.replace("output", "output, active: low") + fan)
    wait_for(lambda: names() == ["lamp", "fan"])
    old, new = get(server, "lamp").json["changes"], get(server, "fan").json
    assert [(change["value"], change["by"]) for change in old] == [(1, "127.0.0.1"), (0, None)]
    assert (new["value"], new["changes"], new["since"] > old[0]["time"]) == (0.5, [], True)
    server.reload(lamp.replace("lamp: {", "light: {"))
    wait_for(lambda: names() == ["light"])
    assert get(server, "light").json["changes"] == []
    server.reload("access: {view: code}\n")
    for path in ("/api/history", "/api/pins/light/history"):
        wait_for(lambda path=path: ask(server, "GET", path).status == 401)


def test_csv(pi: Server) -> None:
    """CSV has the same content, in lines that every spreadsheet reads. No cell is a formula. The
    query chooses the format, else the `Accept` header. JSON is the default."""
    for value in (0.125, 0, 1 / 3, 0):
        switch(pi, "light", value)
    found = get(pi, "light").json
    answer = get(pi, "light", "?format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    name = r'attachment; filename="light-\d{4}-\d\d-\d\dT\d{6}\.csv"'
    assert re.fullmatch(name, answer.headers["Content-Disposition"])
    text = answer.body.decode("ascii")
    assert text.startswith("time,unix,pin,value,by\r\n")
    assert text.count("\r\n") == text.count("\n") == text.count(",light,") + 1
    assert not re.search(r"(^|,)[^\w,\r\n]", text, re.MULTILINE)
    lines = list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    first = {"time": found["since"], "value": 0, "by": ""}
    for line, change in zip(lines, [first, *found["changes"]], strict=True):
        assert (float(line["unix"]), line["by"]) == (change["time"], change["by"])
        assert float(line["value"]) == pytest.approx(change["value"], abs=1e-6)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        moment = datetime.fromisoformat(line["time"]).timestamp()
        assert 0 <= change["time"] - moment < 0.001001
    assert get(pi, "light", "?seconds=300&format=csv").body == answer.body
    for accept, query, expected in (
        ("Text/CSV; charset=utf-8, */*;q=0.1", "", "text/csv"),
        ("application/json;q=0.5, text/csv", "", "text/csv"),
        ("text/csv;q=0", "", "application/json"),
        ("text/csv", "?format=json", "application/json"),
        ("application/json", "?format=csv", "text/csv"),
    ):
        answer = get(pi, "light", query, Accept=accept)
        assert answer.headers["Content-Type"].partition(";")[0] == expected, accept
    assert ask(pi, "GET", "/api/pins/light/history?format=xml").error[:2] == (422, "bad-value")
