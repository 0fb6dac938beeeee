"""Presses of a button: short, long and double."""

from collections.abc import Collection
from enum import Enum, auto

from ..config.schema import Press

LONG_S = 0.8
"""Time for which a button is held until a press is long."""
DOUBLE_S = 0.35
"""Time after a release within which the second press of a double one begins."""


class _State(Enum):
    RELEASED = auto()
    HELD = auto()
    WAITING = auto()
    """Released after a first press that a second one may follow."""
    DONE = auto()
    """Held, with nothing more to come from this press."""


class Button:
    """A button whose presses of some `kinds` matter. All moments are in seconds.

    A short press acts as soon as it can be no other press that matters. `deadline` is the moment at
    which `expire` has to be called, or None.
    """

    def __init__(self, kinds: Collection[Press]) -> None:
        self._kinds = frozenset(kinds)
        self._state = _State.RELEASED
        self.deadline: float | None = None

    def reset(self, is_held: bool) -> None:
        """Forget a press that has not acted. While the button is held, it does nothing."""
        self._state, self.deadline = (_State.DONE if is_held else _State.RELEASED), None

    def change(self, is_held: bool, moment: float) -> list[Press]:
        """Take the press or the release at `moment`, and return the presses that act."""
        acts = self.expire(moment)
        return acts + (self._press(moment) if is_held else self._release(moment))

    def expire(self, now: float) -> list[Press]:
        """Return the press that acts because the deadline has come, if it has."""
        if self.deadline is None or now < self.deadline:
            return []
        is_long = self._state is _State.HELD
        self._state, self.deadline = (_State.DONE if is_long else _State.RELEASED), None
        return self._if_wanted("long" if is_long else "short")

    def _press(self, moment: float) -> list[Press]:
        self.deadline = None
        if self._state is _State.WAITING:
            self._state = _State.DONE
            return self._if_wanted("double")
        if self._kinds == {"short"}:
            self._state = _State.DONE
            return ["short"]
        self._state = _State.HELD
        if "long" in self._kinds:
            self.deadline = moment + LONG_S
        return []

    def _release(self, moment: float) -> list[Press]:
        was_held, self.deadline = self._state is _State.HELD, None
        self._state = _State.RELEASED
        if was_held and "double" in self._kinds:
            self._state, self.deadline = _State.WAITING, moment + DOUBLE_S
            return []
        return self._if_wanted("short") if was_held else []

    def _if_wanted(self, kind: Press) -> list[Press]:
        return [kind] if kind in self._kinds else []
