"""What schedules claim of the outputs, and changes of it without a value in between."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

from ..gpio.claims import Level
from .outputs import Outputs

_TINY_S = 1e-6
"""Time between two claims of which one must count as newer."""

log = logging.getLogger(__name__)


class Claim(NamedTuple):
    """Claim of a schedule.

    `since` is when its window began, as Unix time, `began` the same in monotonic time. `of` is the
    schedule with the day of the window, or the pulse. `place` is its place in config.yaml.
    """

    pin: str
    value: float
    since: float
    place: int
    began: float
    seconds: float | None
    of: object

    def is_live(self, monotonic: float) -> bool:
        """Tell if it is no pulse that has ended."""
        return self.seconds is None or self.began + self.seconds > monotonic

    def is_like(self, other: "Claim | None") -> bool:
        """Tell if another claim is for the same window or pulse."""
        return other is not None and (self.pin, self.value, self.of) == (
            other.pin,
            other.value,
            other.of,
        )


class ScheduleClaims:
    """The claims of schedules, by their names, on `outputs`."""

    def __init__(self) -> None:
        self.outputs: Outputs
        self._claims: dict[str, Claim] = {}

    @property
    def claims(self) -> Mapping[str, Claim]:
        """The claims as they are now. A change makes another mapping."""
        return self._claims

    def get(self, name: str) -> Claim | None:
        """Return the claim of a schedule, or None."""
        return self._claims.get(name)

    def again(self) -> None:
        """Claim what is claimed already, for outputs that may have been replaced."""
        for name in self._claims:
            self._tell(name)

    @property
    def names(self) -> set[str]:
        """The names of the schedules that claim something."""
        return set(self._claims)

    def change(self, wanted: Mapping[str, Claim | None], monotonic: float) -> list[str]:
        """Claim what the schedules in `wanted` want now, None for nothing; the others stay.

        Return the names of the claims that are new.
        """
        before = self._claims
        kept = {
            name
            for name, claim in wanted.items()
            if claim and claim.is_like(before.get(name)) and not self._has_moved(name, wanted)
        }
        stale = {name: before[name] for name in wanted.keys() & before.keys() - kept}
        asked = {name: claim for name, claim in wanted.items() if claim and name not in kept}
        places = {name: claim.place for name, claim in wanted.items() if claim}
        self._claims = {
            name: claim._replace(place=places.get(name, claim.place))
            for name, claim in before.items()
            if name not in stale
        }
        if not stale and not asked:
            return []
        new = sorted(asked, key=lambda name: (asked[name].since, asked[name].place), reverse=True)
        for name in new:
            self._claims[name] = self._in_order(asked[name])
        pins = {claim.pin for claim in (*stale.values(), *asked.values())}
        live = {name: claim for name, claim in before.items() if claim.is_live(monotonic)}
        self._change(_winners(live, pins), _winners(self._claims, pins), stale, new)
        for name, old in stale.items():
            if name not in self._claims or self._claims[name].pin != old.pin:
                log.info("schedule %s: its claim on %s has ended", name, old.pin)
        return new

    def _has_moved(self, name: str, wanted: Mapping[str, Claim | None]) -> bool:
        """Tell if one that began at the same time is now on the other side of it in the file."""
        old, new = self._claims[name], wanted[name]
        return new is not None and any(
            (self._claims[other].place < old.place) != (claim.place < new.place)
            for other, claim in wanted.items()
            if claim and other in self._claims and (claim.pin, claim.since) == (new.pin, new.since)
        )

    def _change(
        self,
        deciding: dict[str, str],
        winners: dict[str, str],
        stale: dict[str, Claim],
        new: list[str],
    ) -> None:
        """Tell the outputs of claims that are `stale`, and of `new` ones in their place.

        `deciding` has the claim that decides each output, and `winners` the one that is to decide.
        In this order the value of an output goes from the old one to the new one with no other in
        between, although after a clock step the monotonic times of old claims and new ones tell
        nothing about their order.
        """
        for name, claim in stale.items():
            if deciding.get(claim.pin) != name:
                self.outputs.release(claim.pin, name, Level.SCHEDULE)
        for name in winners.values():
            if name in new:
                self._tell(name)
        for pin, name in deciding.items():
            if name in stale and winners.get(pin) != name:
                self.outputs.release(pin, name, Level.SCHEDULE)
        for name in new:
            if name not in winners.values():
                self._tell(name)

    def _tell(self, name: str) -> None:
        claim = self._claims[name]
        value, began, seconds = claim.value, claim.began, claim.seconds
        window = claim.since if seconds is None else None
        self.outputs.claim(claim.pin, name, Level.SCHEDULE, value, began, seconds, window=window)

    def _in_order(self, claim: Claim) -> Claim:
        """Return the claim of a window, to count as newer than those that began before it.

        After the clock was set, windows that began before and after that have monotonic times that
        tell nothing about the order in which they began.
        """
        if claim.seconds is not None:
            return claim
        others = [
            each for each in self._claims.values() if each.pin == claim.pin and each.seconds is None
        ]
        rank = claim.since, claim.place
        after = max(
            (each.began for each in others if (each.since, each.place) < rank), default=None
        )
        before = min(
            (each.began for each in others if (each.since, each.place) > rank), default=None
        )
        began = claim.began
        if after is not None and began <= after:
            began = after + _TINY_S
        if before is not None and began >= before:
            began = before - _TINY_S if after is None else (after + before) / 2
        return claim._replace(began=began)


def _winners(claims: Mapping[str, Claim], pins: set[str]) -> dict[str, str]:
    """Return the name of the claim that decides each of these outputs."""
    found = [(name, claim) for name, claim in claims.items() if claim.pin in pins]
    found.sort(key=lambda item: item[1].began)
    return {claim.pin: name for name, claim in found}
