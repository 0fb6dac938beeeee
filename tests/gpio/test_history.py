"""The history of the pins over HTTP."""

import csv
import re
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from raspi_server.gpio.history import History
from raspi_server.limits import DEFAULT
from tests.support.http import Response, ask
from tests.support.server import LIMIT, Server, changing
from tests.system.test_clock import DRIVER, YEAR, Clock, Witness
from tests.test_reload import run  # noqa: F401

CONFIG = """
access: {control: everyone}
interval: 3600
pins:
  door: {gpio: 4, mode: input}
  lamp: {gpio: 17, mode: output}
  gate: {gpio: 22, mode: output, pulse: 0.05}
  fan:  {gpio: 18, mode: pwm}
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
    return start_module_server(CONFIG)


def past(server: Server, pin: str, query: str = "") -> Any:
    answer = ask(server, "GET", f"/api/pins/{pin}/history{query}")
    assert answer.status == 200, answer.body
    return answer.json


def switch(server: Server, pin: str, value: float) -> None:
    assert ask(server, "PUT", f"/api/pins/{pin}", {"value": value}).status == 200


def wait_for(fact: Callable[[], Any]) -> Any:
    """Wait for a value and return it."""
    limit = time.monotonic() + LIMIT
    while not (found := fact()):
        assert time.monotonic() < limit, "it never came true"
    return found


def told(changes: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(change["value"], change["by"]) for change in changes]


def remembered(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Changes as they came over the wire, in the words of the past."""
    return [{"time": c["time"], "value": c["value"], "by": c.get("by")} for c in changes]


# Content


def test_what_was_seen_live_is_remembered(start_server: Callable[..., Server]) -> None:
    """A page that is opened later shows what an open page has received: each change of each pin,
    with the same time and the same words for who did it, short pulses included."""
    server = start_server(CONFIG)
    with Witness(server) as witness:
        began = witness.read()["time"]
        witness.send(type="drive", pin="door", value=1)
        witness.send(type="drive", pin="door", value=0)
        for pin, value in (("lamp", 1), ("fan", 0.35), ("fan", 0), ("lamp", 0), ("gate", 1)):
            witness.ask(type="set", pin=pin, value=value)
        if len(witness.changes("gate")) < 2:
            witness.read_until("change", pin="gate", value=0)
        seen = {pin: remembered(witness.changes(pin)) for pin in ("door", "lamp", "gate", "fan")}
    found = ask(server, "GET", "/api/history").json
    assert {pin: found["pins"][pin]["changes"] for pin in found["pins"]} == seen
    assert list(found["pins"]) == ["door", "lamp", "gate", "fan"]
    assert told(seen["door"]) == [(1, None), (0, None)]
    assert told(seen["gate"]) == [(1, "127.0.0.1"), (0, "pulse")]
    assert told(seen["fan"]) == [(0.35, "127.0.0.1"), (0, "127.0.0.1")]
    assert 0 <= found["time"] - seen["gate"][-1]["time"] < LIMIT
    for pin, at in found["pins"].items():
        assert (at["value"], at["since"] <= began) == (0, True)
        one = past(server, pin)
        assert one.pop("time") >= found["time"]
        assert one == {"pin": pin, **at}


def test_a_drag_is_one_change(start_server: Callable[..., Server]) -> None:
    """Levels that one caller sets in quick succession, as a slider does, stand in the past as the
    last of them, at its time; live each of them is told. Going on or off stays a change."""
    server = start_server(CONFIG)

    def drag(*levels: float) -> None:
        for level in levels:
            switch(server, "fan", level)

    with Witness(server) as witness:
        drag(0.9, 0.7, 0.5, 0.22)
        witness.read_until("change", pin="fan", value=0.22)
        live = remembered(witness.changes("fan"))
        assert [change["value"] for change in live] == [0.9, 0.7, 0.5, 0.22]
        assert past(server, "fan")["changes"] == [live[-1]]
        drag(0, 0.3, 0.6)
        assert [change["value"] for change in past(server, "fan")["changes"]] == [0.22, 0, 0.6]
        witness.ask(type="toggle", pin="fan")
        witness.ask(type="toggle", pin="fan")
        switch(server, "fan", 0)
    values = [change["value"] for change in past(server, "fan")["changes"]]
    assert values == [0.22, 0, 0.6, 0, 0.6, 0]
    assert [float(line["value"]) for line in past_csv(server, "fan")] == [0, *values]


def test_what_is_no_drag() -> None:
    """A second between two levels, or ten since it began, or another caller, makes an entry of its
    own; so does each change of what has no levels."""
    history = History()
    history.synchronize({"fan": 0, "lamp": 0}, 0)
    for moment, value, by in (
        (1.0, 0.1, "me"),
        (1.9, 0.2, "me"),
        (3.0, 0.3, "me"),
        (3.1, 0.4, "you"),
        (3.2, 0.5, "max_on"),
    ):
        history.record("fan", value, moment, by)
    changes = history.of("fan", 4).changes
    assert [change.value for change in changes] == [0.2, 0.3, 0.4, 0.5]
    for step in range(40):
        history.record("fan", 0.5 + step / 100, 5 + step / 2, "me")
    assert len(history.of("fan", 30).changes) == 4 + 2
    for step in range(1, 6):
        history.record("lamp", step % 2, step / 100, "me")
    assert [change.value for change in history.of("lamp", 1).changes] == [1, 0, 1, 0, 1]


def test_the_last_seconds(start_server: Callable[..., Server]) -> None:
    """Asked for the last seconds, it says what a pin was when they began, and what came after."""
    server = start_server(CONFIG)
    switch(server, "lamp", 1)
    whole = past(server, "lamp")
    assert past(server, "lamp", "?seconds=300") == whole | {"time": pytest.approx(whole["time"])}

    def shorter() -> Any:
        found = past(server, "lamp", "?seconds=1")
        return found if not found["changes"] else None

    found = wait_for(shorter)
    assert found["value"] == 1
    assert found["time"] - found["since"] == pytest.approx(1, abs=1e-5)
    both = ask(server, "GET", "/api/history?seconds=1").json
    assert (both["pins"]["lamp"]["value"], both["pins"]["lamp"]["changes"]) == (1, [])
    assert both["time"] - both["pins"]["lamp"]["since"] == pytest.approx(1, abs=1e-5)
    assert ask(server, "GET", "/api/history").json["pins"]["lamp"]["since"] == whole["since"]


def test_it_is_bounded(start_server: Callable[..., Server]) -> None:
    """Of a pin that changes without end the last changes are kept, and begin where the older
    ones ended."""
    server = start_server(CONFIG, program=changing(history_changes_per_pin=4))
    for value in (0.1, 0, 0.2, 0, 0.3, 0, 0.4):
        switch(server, "fan", value)
    switch(server, "lamp", 1)
    found = past(server, "fan")
    assert [change["value"] for change in found["changes"]] == [0, 0.3, 0, 0.4]
    assert found["value"] == 0.2
    assert past(server, "lamp")["value"] == 0
    assert past(server, "lamp")["since"] < found["since"] < found["changes"][0]["time"]


def test_it_is_small() -> None:
    """The past of 28 pins, however much they change, takes less than a megabyte."""
    tracemalloc.start()
    history = History()
    for number in range(DEFAULT.history_changes_per_pin + 200):
        for pin in range(28):
            history.record(
                f"pin{pin}", number % 100 / 100, float(number), f"192.168.1.{number % 200}"
            )
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1_000_000
    assert len(history.of("pin27", 2000.0).changes) == DEFAULT.history_changes_per_pin


# Hard times


def test_the_clock_is_set(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """When a Pi's clock jumps by years, what was before is told by the new clock: a minute stays
    a minute."""
    clock = Clock(tmp_path / "offset")
    program = ("-c", DRIVER.format(file=str(tmp_path / "offset")))
    server = start_server(CONFIG, program=program)
    switch(server, "lamp", 1)
    before = past(server, "lamp")
    clock.step(20 * YEAR)
    switch(server, "lamp", 0)
    after = past(server, "lamp", "?seconds=300")
    assert told(after["changes"]) == [(1, "127.0.0.1"), (0, "127.0.0.1")]
    assert clock.is_now(after["time"]) and clock.is_now(after["changes"][1]["time"])
    assert after["since"] - before["since"] == pytest.approx(20 * YEAR, abs=0.01)
    on = before["changes"][0]["time"] - before["since"]
    assert after["changes"][0]["time"] - after["since"] == pytest.approx(on, abs=1e-5)


def test_a_pin_that_is_lost_and_found(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """While a pin could not be read its value is unknown, from then until it was back; also when
    nobody watches."""
    broken = tmp_path / "broken"
    server = start_server(CONFIG, program=("-c", FAILING.format(file=str(broken))))
    broken.touch()
    lost = wait_for(lambda: past(server, "door")["changes"])
    assert told(lost) == [(None, None)]
    assert ask(server, "GET", "/api/history").json["pins"]["door"]["changes"] == lost
    assert past_csv(server, "door")[-1]["value"] == ""
    broken.unlink()
    found = wait_for(lambda: past(server, "door")["changes"][1:])
    assert told(found) == [(0, None)]
    assert found[0]["time"] > lost[0]["time"]
    assert past(server, "lamp")["changes"] == []


def test_a_pin_that_was_never_there(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """A pin that could not be opened at the start has a past all the same: unknown."""
    (tmp_path / "broken").touch()
    server = start_server(CONFIG, program=("-c", FAILING.format(file=str(tmp_path / "broken"))))
    found = past(server, "door", "?seconds=300")
    assert (found["value"], found["changes"]) == (None, [])


def test_another_configuration(run: Callable[..., Any]) -> None:  # noqa: F811
    """Over a reload the past of a pin that stays stays; one that is taken out is forgotten, and
    begins anew when it is back."""
    pi = run("access: {control: everyone}\npins:\n  lamp: {gpio: 17, mode: output}\n")
    with_lamp = pi.file.read_text()
    switch(pi.server, "lamp", 1)
    pi.reload(with_lamp + "  fan: {gpio: 18, mode: pwm, initial: 0.5}\n")
    wait_for(lambda: len(pi.get("/api/pins")["pins"]) == 2)
    assert told(past(pi.server, "lamp")["changes"]) == [(1, "127.0.0.1")]
    new = past(pi.server, "fan")
    assert (new["value"], new["changes"]) == (0.5, [])
    assert new["since"] > past(pi.server, "lamp")["changes"][0]["time"]
    pi.reload(with_lamp.replace("lamp: {", "light: {"))
    wait_for(lambda: pi.get("/api/pins")["pins"][0]["name"] == "light")
    assert list(pi.get("/api/history")["pins"]) == ["light"]
    assert (past(pi.server, "light")["value"], past(pi.server, "light")["changes"]) == (1, [])
    assert ask(pi.server, "GET", "/api/pins/lamp/history").status == 404
    pi.reload(with_lamp.replace("mode: output", "mode: output, max_on: 9"))
    wait_for(lambda: pi.get("/api/pins")["pins"][0]["name"] == "lamp")
    assert past(pi.server, "lamp")["changes"] == []
    assert past(pi.server, "lamp")["since"] > new["since"]


def test_a_pin_that_is_opened_anew(run: Callable[..., Any]) -> None:  # noqa: F811
    """A change of a lamp by a reload is in its history like any other."""
    pi = run("access: {control: everyone}\npins:\n  lamp: {gpio: 17, mode: output}\n")
    switch(pi.server, "lamp", 1)
    pi.reload(pi.file.read_text().replace("mode: output", "mode: output, active: low"))
    changes = wait_for(lambda: past(pi.server, "lamp")["changes"][1:])
    assert told(changes) == [(0, None)]


# Queries


@pytest.mark.parametrize("path", ["/api/history", "/api/pins/lamp/history"])
@pytest.mark.parametrize("seconds", ["0", "-1", "86401", "nan", "inf", "", "soon", "1,5", "%ff"])
def test_a_wrong_length(pi: Server, path: str, seconds: str) -> None:
    """A length of time that none is, is refused with what was expected."""
    status, code, words = ask(pi, "GET", f"{path}?seconds={seconds}").error
    assert (status, code) == (422, "bad-value")
    assert words.startswith("expected seconds from 1 to 86400")
    for right in ("1", "86400", "0.3e3"):
        assert ask(pi, "GET", f"{path}?seconds={right}").status == 200


def test_a_wrong_form(pi: Server) -> None:
    """A form that does not exist is refused with those that do."""
    status, code, words = ask(pi, "GET", "/api/pins/lamp/history?format=xml").error
    assert (status, code) == (422, "bad-value")
    assert "format json or csv" in words and "xml" in words


def test_a_pin_that_is_none(pi: Server) -> None:
    """A pin that is not in the file has no past."""
    for query in ("", "?format=csv"):
        refusal = ask(pi, "GET", f"/api/pins/garage/history{query}").error
        assert refusal[:2] == (404, "unknown-pin")


def test_who_may_not_look(start_with_codes: Callable[..., Any]) -> None:  # noqa: F811
    """The past is for those who may look, as the present is."""
    home = start_with_codes("{view: code}")
    code = home.new("view")
    for path in ("/api/history", "/api/pins/lamp/history", "/api/pins/lamp/history?format=csv"):
        assert home.ask("GET", path).error == (401, "sign-in", "viewing needs an access code")
        assert home.ask("GET", path, Authorization=f"Bearer {code}").status == 200


# For spreadsheets


def get_csv(server: Server, pin: str, query: str = "?format=csv", **headers: str) -> Response:
    return ask(server, "GET", f"/api/pins/{pin}/history{query}", **headers)


def past_csv(server: Server, pin: str) -> list[dict[str, str]]:
    text = get_csv(server, pin).body.decode()
    return list(csv.DictReader(text.splitlines(keepends=True), strict=True))


def test_csv(pi: Server) -> None:
    """As CSV it says the same, in lines that every spreadsheet reads and none takes for
    formulas."""
    for value in (0.125, 0, 1 / 3, 0):
        switch(pi, "fan", value)
    found = past(pi, "fan")
    answer = get_csv(pi, "fan")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    name = r'attachment; filename="fan-\d{4}-\d\d-\d\dT\d{6}\.csv"'
    assert re.fullmatch(name, answer.headers["Content-Disposition"])
    assert answer.headers["Cache-Control"] == "no-store"
    text = answer.body.decode("ascii")
    assert text.startswith("time,unix,pin,value,by\r\n")
    assert text.count("\r\n") == text.count("\n") == 2 + len(found["changes"])
    assert not re.search(r"(^|,)[^\w,\r\n]", text, re.MULTILINE)
    first, *lines = past_csv(pi, "fan")
    assert (first["value"], first["by"]) == ("0", "")
    assert float(first["unix"]) == found["since"]
    for line, change in zip(lines, found["changes"], strict=True):
        assert float(line["unix"]) == change["time"]
        assert float(line["value"]) == pytest.approx(change["value"], abs=1e-6)
        assert (line["pin"], line["by"]) == ("fan", "127.0.0.1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        moment = datetime.fromisoformat(line["time"]).timestamp()
        assert 0 <= change["time"] - moment < 0.001001
    assert get_csv(pi, "fan", "?seconds=300&format=csv").body == answer.body


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("text/csv", "", "text/csv"),
        ("Text/CSV; charset=utf-8, */*;q=0.1", "", "text/csv"),
        ("application/json;q=0.5, text/csv", "", "text/csv"),
        ("application/json, text/csv;q=0.9", "", "application/json"),
        ("text/csv;q=0", "", "application/json"),
        ("text/csv;q=x", "", "application/json"),
        ("*/*", "", "application/json"),
        ("text/html", "", "application/json"),
        (";,;", "", "application/json"),
        ("text/csv", "?format=json", "application/json"),
        ("application/json", "?format=csv", "text/csv"),
    ],
)
def test_which_form(pi: Server, accept: str, query: str, kind: str) -> None:
    """CSV comes to those who ask for it, by header or by address; JSON to all others."""
    answer = get_csv(pi, "lamp", query, Accept=accept)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, kind)
