"""Claims: the values that sources want for an output, and which of them decides.

A source is a person (`manual`), a rule, a schedule, or the output's default. Each has at most one
claim on an output. The highest level decides, and within a level the claim that began last. When a
claim ends, the next one decides.

Limits are no claims: the ends of `pulse` and `max_on` call `cut`. A claim that was cut is spent: it
counts again when its source begins anew.

Nothing here knows lines, timers or files. Moments are seconds of the monotonic clock.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Literal

from msgspec import Struct


class Level(IntEnum):
    """The strength of a claim. A higher one wins."""

    DEFAULT = 0
    SCHEDULE = 1
    RULE = 2
    MANUAL = 3


_Word = Literal["default", "schedule", "rule", "manual"]
WORDS: tuple[_Word, ...] = ("default", "schedule", "rule", "manual")
"""The levels in words."""


class Claim(Struct, frozen=True, omit_defaults=True):
    """The value that one source wants.

    It ends by itself at `until`, unless that is None. If it is `passing`, it also ends at the next
    event below it (see `Claims`). Passing are a person's command without a time, a rule's reaction
    to an edge, and a level that was restored at a start. `window` tells the windows of a schedule
    apart: the Unix time at which this one began.
    """

    level: Level
    source: str
    value: float
    began: float
    until: float | None = None
    passing: bool = False
    window: float | None = None

    @property
    def name(self) -> str:
        """The source in words: `manual`, `default`, `rule hall`, `schedule evening`."""
        word = WORDS[self.level]
        return f"{word} {self.source}" if self.source else word

    @property
    def is_automatic(self) -> bool:
        """True for a schedule, and for a rule as long as its condition holds."""
        return self.level in (Level.SCHEDULE, Level.RULE) and not self.passing

    @property
    def is_by_hand(self) -> bool:
        """True if `auto` ends it."""
        return self.passing or self.level is Level.MANUAL


class KeptClaims(Struct, frozen=True, omit_defaults=True):
    """What is kept of the claims on an output over a restart.

    `value` is what all claims gave, `scheduled` what the schedules gave, None without any. Windows
    and conditions are not kept, since their sources claim again. `spent` has the moments of `cut`,
    and `windows` the windows that were cut, for which the clock may have been set meanwhile.
    """

    value: float
    claims: tuple[Claim, ...] = ()
    spent: dict[str, float] = {}
    scheduled: float | None = None
    windows: dict[str, float] = {}


class Claims:
    """The claims on one output.

    A passing claim ends at these events: a rule begins a claim; a schedule begins a claim with an
    end, which is a moment; a window begins or ends, and that changes what the automatic claims
    give.

    Until `start_ends` the sources claim what held before the start. That is no event.
    """

    def __init__(self, default: float = 0) -> None:
        """Begin with the default alone, whose value is `default`."""
        self._default = Claim(Level.DEFAULT, "", default, 0)
        self._is_on_by_default = default > 0
        """True also after the default was forgotten."""
        self._claims: dict[str, Claim] = {}
        self._spent: dict[str, float] = {}
        self._spent_windows: dict[str, float] = {}
        self._before_start: KeptClaims | None = None
        self._kept_schedules: set[str] = set()
        """Claims of schedules from before the start, as long as these have not claimed again."""
        self._is_starting = True
        self._winner: Claim | None = self._default
        """The claim that decides, None until it is worked out again."""
        self._kept: KeptClaims | None = None

    def __iter__(self) -> Iterator[Claim]:
        """Iterate over the claims that count, except the default."""
        return iter(tuple(self._claims.values()))

    @property
    def winner(self) -> Claim:
        """The claim that decides."""
        if self._winner is None:
            self._winner = self._strongest(list(self._claims.values()))
        return self._winner

    @property
    def is_by_hand(self) -> bool:
        """True if `relinquish` would end a claim."""
        return any([claim.is_by_hand for claim in self._claims.values()])

    @property
    def next_end(self) -> float | None:
        """The moment at which the next claim ends by itself, or None."""
        ends = [claim.until for claim in self._claims.values() if claim.until is not None]
        return min(ends) if ends else None

    @property
    def chosen(self) -> float:
        """The value that a person chose for good, else the default."""
        found = [claim for claim in self if claim.passing and claim.until is None]
        return self._strongest(found).value

    # Sources

    def begin(self, claim: Claim) -> bool:
        """Add a claim, or renew that of its source. Return True if it decides now.

        A claim that was spent, and began no later than that, is ignored. So is one for the same
        window, and not for another: their moments tell nothing after the clock was set.
        """
        name = claim.name
        if self._is_starting and claim.level is Level.RULE and name in self._spent:
            self._spent[name] = max(self._spent[name], claim.began)  # a start is no new edge
            self._kept = None
        if self._is_over(claim):
            return False
        if claim.level is Level.MANUAL:
            self._remove(self._default.name)
            self._add(claim)
            return True
        self._kept_schedules.discard(name)
        automatic, before = self._automatic, self._remove(name)
        self._spent.pop(name, None)
        self._spent_windows.pop(name, None)
        self._add(claim)
        is_new = before is None or claim.began > before.began
        is_moment = claim.level is Level.RULE or claim.until is not None
        if not self._is_starting and (is_new and is_moment or self._automatic != automatic):
            self._end_passing(but=name)
        return self.winner is claim

    def end(self, name: str) -> None:
        """End the claim of a source."""
        automatic, claim = self._automatic, self._remove(name)
        if name.startswith("rule "):
            self._spent.pop(name, None)  # its condition has ended, and may begin anew
        is_window = claim and claim.level is Level.SCHEDULE and claim.until is None
        if is_window and not self._is_starting and self._automatic != automatic:
            self._end_passing()

    def end_due(self, now: float) -> list[Claim]:
        """End the claims whose `until` has come, and return them."""
        due = [claim for claim in self if claim.until is not None and claim.until <= now]
        for claim in due:
            self._remove(claim.name)
        return due

    def relinquish(self, rules_too_at: float | None = None) -> None:
        """End all claims by hand. With a moment, also spend the claims of rules."""
        for claim in self:
            if claim.is_by_hand:
                self._remove(claim.name)
            elif claim.level is Level.RULE and rules_too_at is not None:
                self._spend(claim, rules_too_at)

    def orphan(self) -> None:
        """End all claims of schedules and rules: the output has another name now."""
        for claim in self:
            if claim.level in (Level.SCHEDULE, Level.RULE):
                self._remove(claim.name)

    def is_spent(self, name: str) -> bool:
        """Return True if the claim of a source was cut, and has not begun anew."""
        return name in self._spent

    # Limits and failures

    def cut(self, at: float) -> None:
        """Spend all claims for a value above 0 that began until `at`: a limit has ended."""
        for claim in self:
            if claim.value and claim.began <= at:
                self._spend(claim, at)
        if self._is_on_by_default:
            self._spent[self._default.name] = at
            self._kept = None
        self._forget_default()

    def give_way(self, level: Level = Level.MANUAL) -> None:
        """End the claims by hand up to `level` that are on, and a default that is on.

        Another output of the group was switched on by hand. Automatic claims stay, and wait.
        """
        for claim in self:
            if claim.value and claim.is_by_hand and claim.level <= level:
                self._remove(claim.name)
        self._forget_default()

    def change_default(self, value: float) -> None:
        """Take another default. An output that has the old one keeps it until the next event."""
        if self.winner is self._default and self._default.value != value:
            self._add(Claim(Level.DEFAULT, "", self._default.value, 0, passing=True))
        self._default, self._is_on_by_default = Claim(Level.DEFAULT, "", value, 0), value > 0
        self._spent.pop(self._default.name, None)
        self._winner = self._kept = None

    def fail(self) -> None:
        """Leave the automatic claims alone: after a failure of its line an output is off."""
        self.relinquish()
        self._forget_default()

    # Starts

    def restore(self, value: float) -> None:
        """Begin a passing claim for the level that was restored, weaker than all others."""
        if value:
            self._add(Claim(Level.DEFAULT, "", value, 0, passing=True))

    def resume(self, kept: KeptClaims, with_passing: bool, now: float) -> None:
        """Go on with the claims before a restart, with the passing ones only if so asked."""
        for claim in kept.claims:
            is_over = claim.until is not None and claim.until <= now
            if not is_over and (with_passing or not claim.passing):
                self._add(claim)
                if claim.level is Level.SCHEDULE:
                    self._kept_schedules.add(claim.name)
        self._spent, self._spent_windows = dict(kept.spent), dict(kept.windows)
        if self._default.name in self._spent:
            self._forget_default()
        self._before_start = kept

    def start_ends(self) -> None:
        """Take what comes from now on as events.

        A pulse of a schedule that is gone, or is another one now, ends. If a schedule changed the
        output while the server was away, passing claims end.
        """
        if not self._is_starting:
            return
        self._is_starting = False
        self._kept = None
        for name in self._kept_schedules:
            self._remove(name)
        has_rule = any(claim.level is Level.RULE and claim.is_automatic for claim in self)
        before = self._before_start
        if before and before.scheduled != self._scheduled and not has_rule:
            self._end_passing()

    def kept(self) -> KeptClaims:
        """Return what to keep over a restart."""
        if self._kept is None:
            kept = [claim for claim in self if claim.passing or claim.until is not None]
            if self._default.value and self._default.name not in self._claims:
                kept.append(Claim(Level.DEFAULT, "", self._default.value, 0, passing=True))
            value, spent, windows = self.winner.value, dict(self._spent), dict(self._spent_windows)
            self._kept = KeptClaims(value, tuple(kept), spent, self._scheduled, windows)
        return self._kept

    # Parts

    def _add(self, claim: Claim) -> None:
        self._claims.pop(claim.name, None)  # the one added last is the last in order
        self._claims[claim.name] = claim
        self._winner = self._kept = None

    def _remove(self, name: str) -> Claim | None:
        claim = self._claims.pop(name, None)
        if claim:
            self._winner = self._kept = None
        return claim

    @property
    def _automatic(self) -> float:
        return self._strongest([claim for claim in self if claim.is_automatic]).value

    @property
    def _scheduled(self) -> float | None:
        found = [claim for claim in self if claim.level is Level.SCHEDULE]
        return self._strongest(found).value if found else None

    def _strongest(self, claims: list[Claim]) -> Claim:
        """Return the claim that decides among some, the one renewed last if two began together."""
        if len(claims) < 2:
            return claims[0] if claims else self._default
        ordered = reversed(claims)
        return max(ordered, key=lambda claim: (claim.level, claim.began), default=self._default)

    def _end_passing(self, but: str = "") -> None:
        for claim in self:
            if claim.passing and claim.name != but:
                self._remove(claim.name)

    def _is_over(self, claim: Claim) -> bool:
        """Return True if a claim was spent, and has not begun anew."""
        at, window = self._spent.get(claim.name), self._spent_windows.get(claim.name)
        if at is not None and None not in (window, claim.window):
            return claim.window == window
        return at is not None and claim.began <= at

    def _spend(self, claim: Claim, at: float) -> None:
        self._remove(claim.name)
        if claim.is_automatic:
            self._spent[claim.name] = at
            if claim.window is not None:
                self._spent_windows[claim.name] = claim.window

    def _forget_default(self) -> None:
        if self._default.value:
            self._default = Claim(Level.DEFAULT, "", 0, 0)
            self._winner = self._kept = None
