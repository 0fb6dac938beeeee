"""The covers as schedules and rules see them."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from ..config.cover_rules import is_reached
from ..config.schema import CoverConfig, Goal, InputConfig
from ..errors import RequestError
from ..messages import Close, CoverCommand, Open, Position, Value

if TYPE_CHECKING:
    from ..gpio.cover import Cover
    from ..gpio.covers import Covers

log = logging.getLogger(__name__)


class MovableCovers(Protocol):
    """The covers of a configuration."""

    def values(self, pins: Mapping[str, Value]) -> dict[str, Value]:
        """Return by name 1 for each cover that is not closed, 0 if it is, None if unknown.

        `pins` has the values of the pins.
        """

    def is_made_later(self, cover: str, pins: Mapping[str, Value]) -> bool:
        """Return True at a start if what a cover is is not known before it is made."""

    def move(self, cover: str, goal: Goal, by: str) -> bool:
        """Give a cover a goal, and return True if that changed what it does.

        A refusal is told in words; it is not tried again.
        """


class AutomationCovers:
    """The covers of a server. `found` returns the open ones, None while there are none yet.

    `tell` is called with the words about each refusal.
    """

    def __init__(
        self,
        configs: Iterable[CoverConfig],
        contacts: Mapping[str, InputConfig],
        found: "Callable[[], Covers | None]",
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self._configs = tuple(configs)
        self._contacts = contacts
        self._found = found
        self._tell = tell

    def values(self, pins: Mapping[str, Value]) -> dict[str, Value]:
        """Return by name 1 for each cover that is not closed, 0 if it is, None if unknown.

        At a start its contacts are open before it is.
        """
        known = {cover.name: cover.value for cover in self._found() or ()}
        return {
            config.name: known[config.name] if config.name in known else self._early(config, pins)
            for config in self._configs
        }

    def is_made_later(self, cover: str, pins: Mapping[str, Value]) -> bool:
        """Return True at a start if what a cover is is not known before it is made.

        It is known if a contact of it is unavailable.
        """
        is_made = any(each.name == cover for each in self._found() or ())
        config = next(each for each in self._configs if each.name == cover)
        return not is_made and all(pins.get(name) is not None for name in config.contacts)

    def _early(self, config: CoverConfig, pins: Mapping[str, Value]) -> Value:
        if any(pins.get(name) is None for name in config.contacts) or config.closed is None:
            return None
        reached = {
            name: is_reached(config, self._contacts[name], int(pins[name] or 0))
            for name in config.contacts
        }
        is_contradictory = len(reached) == 2 and all(reached.values())
        return None if is_contradictory else int(not reached[config.closed])

    def move(self, cover: str, goal: Goal, by: str) -> bool:
        """Give a cover a goal, and return True if that changed what it does."""
        covers = self._found()
        if covers is None:
            return False
        try:
            found = covers[cover]
            before = _doing(found)
            found.carry_out(command(cover, goal), by)
        except RequestError as error:
            self._tell(f"{by}: {cover} is not moved ({in_words(goal)}): {error.message}")
            return False
        return _doing(found) != before


def command(cover: str, goal: Goal) -> CoverCommand:
    """Return the command that gives a cover a goal."""
    if goal == "open":
        return Open(cover=cover)
    if goal == "close":
        return Close(cover=cover)
    return Position(cover=cover, position=float(goal))


def in_words(goal: Goal) -> str:
    """Return a goal as config.yaml has it."""
    return goal if isinstance(goal, str) else f"{goal:g}"


def _doing(cover: "Cover") -> tuple[object, ...]:
    return cover.state, cover.goal
