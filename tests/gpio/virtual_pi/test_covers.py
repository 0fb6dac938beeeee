"""Covers on real lines: by the kernel's own record no press and no motion without a command, at a
start, a restart, a crash and a reload, and never both outputs of a shutter."""

import time

import pytest

from tests.gpio.virtual_pi.pi import EVERYONE, Pi, Record
from tests.support.http import ask

OPENER, SHUT, UP, DOWN = 17, 27, 22, 18
LINES = f"""
  opener: {{gpio: {OPENER}, mode: output, pulse: 0.3}}
  shut: {{gpio: {SHUT}, mode: input, kind: garage_door}}
  up: {{gpio: {UP}, mode: output, group: shutter, group_pause: 0.5}}
  down: {{gpio: {DOWN}, mode: output, group: shutter, group_pause: 0.5}}
"""
COVERS = """
covers:
  garage: {button: opener, closed: shut, travel: 3}
  shutter: {up: up, down: down, travel: 8}
"""
OUTPUTS = (OPENER, UP, DOWN)


@pytest.fixture
def home(pi: Pi) -> Pi:
    """The Pi, whose garage is closed."""
    pi.drive([(SHUT, 0)])
    return pi


def post(pi: Pi, path: str) -> dict[str, str]:
    answer = ask(f"http://127.0.0.1:{pi.port}", "POST", f"/api/covers/{path}")
    assert answer.status == 200, answer.body
    found: dict[str, str] = answer.json
    return found


def state(pi: Pi, name: str) -> str:
    found: str = pi.get(f"/api/covers/{name}")[1]["state"]
    return found


def never_on(record: Record, *outputs: int) -> bool:
    """Return True if none of these outputs, by default of all, was on."""
    return all("set 1" not in record.of(gpio) for gpio in outputs or OUTPUTS)


def test_nothing_moves_without_a_command(home: Pi) -> None:
    """Not at a start, a restart, a reload, and not after a crash in the middle of a motion."""
    with home.record() as record:
        home.start(LINES, EVERYONE + COVERS)
        assert state(home, "garage") == "closed"
        home.systemctl("restart")
        home.systemctl("reload")
        home.kill()
        home.systemctl("restart")
    assert never_on(record)
    post(home, "shutter/open")
    home.wait_for(lambda: home.level(UP) == 1, "it opens")
    with home.record() as record:
        home.kill()
        record.mark("ended")
        home.systemctl("restart")
        time.sleep(1)
    assert record.of(UP)[0] == "set 0"  # by safe-state
    assert never_on(record)
    found = home.get("/api/covers/shutter")[1]
    assert (found["state"], found["position"], found["goal"]) == ("stopped", None, None)


def test_a_press_and_what_follows(home: Pi) -> None:
    """A door is opened by one press of the length that config.yaml says. A restart in the middle
    presses nothing, nor does a goal that waits."""
    home.start(LINES, EVERYONE + COVERS)
    with home.record() as record:
        assert post(home, "garage/open")["state"] == "opening"
        home.drive([(SHUT, 1)])
        assert post(home, "garage/close")["goal"] == "close"
        home.wait_for(lambda: home.level(OPENER) == 0, "the press is over")
        home.systemctl("restart")
        time.sleep(4)
    assert [what for what in record.of(OPENER) if what == "set 1"] == ["set 1"]
    assert state(home, "garage") == "open"


def test_crash_in_a_press(home: Pi) -> None:
    """A crash while the button is pressed ends the press, and nothing presses it again."""
    home.start(LINES.replace("pulse: 0.3", "pulse: 3"), EVERYONE + COVERS)
    with home.record() as record:
        post(home, "garage/open")
        home.kill()
        assert home.level(OPENER) == 0
        home.systemctl("restart")
        time.sleep(1)
    assert record.of(OPENER).count("set 1") == 1
    assert never_on(record, UP, DOWN)


def test_another_configuration(home: Pi) -> None:
    """Another drive, a contact that is read the other way, and a cover that is removed: a motion
    ends, and nothing is pressed and nothing moves."""
    home.start(LINES, EVERYONE + COVERS)
    post(home, "shutter/open")
    home.wait_for(lambda: home.level(UP) == 1, "it opens")
    turned = LINES.replace("kind: garage_door", "kind: garage_door, active: low")
    only_garage = COVERS[: COVERS.index("  shutter")]
    with home.record() as record:
        for lines, covers in (
            (LINES, COVERS.replace("travel: 8", "travel: 9").replace("travel: 3", "travel: 4")),
            (turned, COVERS),
            (LINES, only_garage),
            (LINES, ""),
            (LINES, COVERS),
        ):
            home.reload(lines, EVERYONE + covers)
            assert [home.level(gpio) for gpio in OUTPUTS] == [0, 0, 0]
        home.systemctl("restart")
        time.sleep(1)
    assert never_on(record)
    assert state(home, "garage") == "closed"


def test_never_both_outputs(home: Pi) -> None:
    """Between one direction and the other both lines are low for the pause, whatever is asked for,
    and a reload does not touch a motion."""
    home.start(LINES, EVERYONE + COVERS)
    with home.record() as record:
        for goal in ("open", "close", "open", "stop", "close", "open", "close"):
            post(home, f"shutter/{goal}")
            time.sleep(0.7)
        home.systemctl("reload")
        time.sleep(0.5)
        post(home, "shutter/stop")
    on: set[int] = set()
    off_at = {UP: 0.0, DOWN: 0.0}
    for event in record.events:
        if event.gpio not in (UP, DOWN):
            continue
        if event.what == "set 1":
            on.add(event.gpio)
            other = UP if event.gpio == DOWN else DOWN
            assert event.moment - off_at[other] >= 0.499
        elif event.what == "set 0":
            on.discard(event.gpio)
            off_at[event.gpio] = event.moment
        assert len(on) < 2
    assert on == set()
    assert record.of(UP).count("set 1") == 3
