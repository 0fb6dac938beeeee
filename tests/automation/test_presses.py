"""Presses of a button: what acts, and when, for each set of kinds that rules wait for."""

import pytest

from raspi_server.automation.presses import Button

TAP = [0, 0.1]
"""Moments at which a button is pressed and released, in turn."""
TWO_TAPS = [0, 0.1, 0.3, 0.4]
LONG = [0, 2]

STORIES = [
    ("short", TAP, [(0, "short")]),
    ("short", LONG, [(0, "short")]),
    ("short", TWO_TAPS, [(0, "short"), (0.3, "short")]),
    ("long", TAP, []),
    ("long", LONG, [(0.8, "long")]),
    ("short long", TAP, [(0.1, "short")]),
    ("short long", [0, 0.79], [(0.79, "short")]),
    ("short long", [0, 0.8], [(0.8, "long")]),
    ("short long", LONG, [(0.8, "long")]),
    ("double", TAP, []),
    ("double", TWO_TAPS, [(0.3, "double")]),
    ("short double", TAP, [(0.45, "short")]),
    ("short double", LONG, [(2.35, "short")]),
    ("short double", TWO_TAPS, [(0.3, "double")]),
    ("short double", [0, 0.1, 0.46, 0.5], [(0.45, "short"), (0.85, "short")]),
    ("short double", [*TWO_TAPS, 0.5, 0.6], [(0.3, "double"), (0.95, "short")]),
    ("short double", [*TWO_TAPS, 0.5, 0.6, 0.7], [(0.3, "double"), (0.7, "double")]),
    ("short long double", TAP, [(0.45, "short")]),
    ("short long double", LONG, [(0.8, "long")]),
    ("short long double", [0, 0.1, 0.3, 2], [(0.3, "double")]),
    ("short long double", [0, 1, 1.1, 1.2], [(0.8, "long"), (1.55, "short")]),
]  # fmt: skip


@pytest.mark.parametrize("is_late", [False, True], ids=["in time", "late"])
@pytest.mark.parametrize(("kinds", "moments", "acts"), STORIES)
def test_press_acts_as_soon_as_it_can_be_no_other(kinds, moments, acts, is_late):
    """A press acts at once, at its release, after 0.8 s, or 0.35 s after its release: as soon as no
    other rule can mean it. A third press begins anew. A timer that is late changes nothing."""
    button = Button(kinds.split())
    found = []
    for index, moment in enumerate([*moments, 9]):
        deadline = button.deadline
        if deadline is not None and deadline <= moment and not is_late:
            found += [(pytest.approx(deadline), kind) for kind in button.expire(deadline)]
        if index < len(moments):
            late = pytest.approx(moment if deadline is None else min(deadline, moment))
            acted = button.change(index % 2 == 0, moment)
            found += [(late if is_late else moment, kind) for kind in acted]
        else:
            found += [(pytest.approx(deadline), kind) for kind in button.expire(moment)]
    assert found == acts


def test_held_button_does_nothing_until_it_is_released():
    """A button that is held when the server starts, or returns, does nothing until its release."""
    button = Button(["short", "long"])
    button.change(True, 0)
    button.reset(is_held=True)
    assert (button.deadline, button.expire(5)) == (None, [])
    assert button.change(False, 6) == []
    assert button.change(True, 7) + button.change(False, 7.1) == ["short"]
    button.change(True, 8)
    button.reset(is_held=False)
    assert (button.deadline, button.expire(9)) == (None, [])
