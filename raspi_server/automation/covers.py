"""The covers as schedules and rules see them."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from ..config.schema import Goal
from ..errors import RequestError
from ..messages import Value

if TYPE_CHECKING:
    from ..gpio.covers import Covers

log = logging.getLogger(__name__)


class MovableCovers(Protocol):
    """The covers of a configuration."""

    def values(self) -> dict[str, Value]:
        """Return by name 1 for each cover that is not closed, 0 if it is, None if unknown."""

    def move(self, cover: str, goal: Goal, by: str) -> bool:
        """Give a cover a goal, and return True if that changed what it does.

        A refusal goes to the log; it is not tried again.
        """


class HouseCovers:
    """The covers with these names. `found` returns the open ones, None while there are none yet."""

    def __init__(self, names: Iterable[str], found: Callable[[], "Covers | None"]) -> None:
        self._names = tuple(names)
        self._found = found

    def values(self) -> dict[str, Value]:
        """Return by name 1 for each cover that is not closed, 0 if it is, None if unknown."""
        known = {cover.config.name: cover.value for cover in self._found() or ()}
        return {name: known.get(name) for name in self._names}

    def move(self, cover: str, goal: Goal, by: str) -> bool:
        """Give a cover a goal, and return True if that changed what it does."""
        covers = self._found()
        if covers is None:
            return False
        try:
            before = _doing(covers, cover)
            covers.carry_out(command(cover, goal), by)
        except RequestError as error:
            log.warning("%s: %s was not moved to %s: %s", by, cover, words(goal), error.message)
            return False
        return _doing(covers, cover) != before


def words(goal: Goal) -> str:
    """Return a goal as config.yaml has it."""
    return goal if isinstance(goal, str) else f"{goal:g}"


def _doing(covers: "Covers", name: str) -> tuple[object, ...]:
    cover = covers[name]
    return cover.state, cover.goal
