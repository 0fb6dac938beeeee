"""Rules: when each one claims its outputs, and for which values.

Nothing here knows a clock, a pin or a file. Moments are seconds of the monotonic clock.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from ..config.schema import RuleConfig


class Track(Struct, frozen=True, omit_defaults=True):
    """What is known of a pin: if it is active, and since when.

    `active` is None while it is unavailable. `lasted` is how long it was active until `since`, None
    if that is not known.
    """

    active: bool | None = None
    since: float = 0
    lasted: float | None = None

    def turned(self, active: bool, moment: float) -> "Track":
        """Return the track of the pin after a change."""
        return Track(active, moment, moment - self.since if self.active else None)


class RuleState(Struct, omit_defaults=True):
    """What a rule has to remember, also over a restart.

    `began` is the moment at which its claims began, None while it has none. The others are by pin:
    `held` the end of its hold, `latched` if the press that it made still lasts, and `fired` the
    moment since which it was active when `for` had passed. `renewed` has the outputs whose claims
    began later than `began`, after a limit had cut them.
    """

    began: float | None = None
    held: dict[str, float] = field(default_factory=dict)
    latched: set[str] = field(default_factory=set)
    fired: dict[str, float] = field(default_factory=dict)
    renewed: dict[str, float] = field(default_factory=dict)


class Action(NamedTuple):
    """The value that a rule wants for one output."""

    pin: str
    value: float


class Rule:
    """One rule over the tracks of its pins. A rule that is not new has its earlier `state`.

    A *lasting* rule claims its outputs while `is_met`. Others act at events: at an edge, a press,
    or when `for` has passed (`take_due`).
    """

    def __init__(
        self, config: RuleConfig, tracks: Mapping[str, Track], state: RuleState | None = None
    ) -> None:
        self.config = config
        self.state = state or RuleState()
        self.is_lasting = config.is_state or config.hold is not None
        self.is_delayed = not self.is_lasting and config.for_ is not None
        self.is_edge = not self.is_lasting and not config.press and config.for_ is None
        self._tracks = tracks
        self._unseen = set(config.sources) if state is None else set()
        self._for_s = config.for_ or 0
        self._hold_s = config.hold or 0

    def look(self, pin: str, now: float) -> None:
        """Take the track of a pin, after each change and when it is known for the first time.

        For a new rule a time that has passed before is no event.
        """
        track, state = self._tracks[pin], self.state
        if pin in self._unseen and track.active is not None:
            self._unseen.discard(pin)
            if self.is_delayed and track.active and track.since + self._for_s <= now:
                state.fired[pin] = track.since
        if track.active is None:
            state.held.pop(pin, None)
            state.latched.discard(pin)
        elif not track.active and self._has_ended(pin, track):
            state.latched.discard(pin)
            state.held[pin] = track.since + self._hold_s

    def press(self, pin: str, moment: float) -> None:
        """Begin the hold of a press: it counts from the release, or from now if that is over."""
        if self._tracks[pin].active:
            self.state.latched.add(pin)
        else:
            self.state.held[pin] = moment + self._hold_s

    def forget_presses(self) -> None:
        """End the holds of presses for good."""
        if self.config.press:
            self.state.held.clear()
            self.state.latched.clear()

    def is_met(self, now: float) -> bool:
        """Tell if a lasting rule claims its outputs now, as far as its pins decide."""
        state = self.state
        if state.latched or any(now < end for end in state.held.values()):
            return True
        return self.is_on(now)

    def is_on(self, now: float) -> bool:
        """Tell if a pin of a rule without `press` is active now, and not only its hold lasts."""
        return not self.config.press and any(start <= now for _, start in self._starts())

    def end(self, now: float) -> float | None:
        """Return when a lasting rule that is met ends, if time alone ends it: in a hold."""
        is_on = not self.config.press and any(self._tracks[p].active for p in self.config.sources)
        if is_on or self.state.latched:
            return None
        return max((end for end in self.state.held.values() if end > now), default=None)

    def next_change(self, now: float) -> float | None:
        """Return the first moment after `now` at which time alone changes something, or None."""
        moments = [end for end in self.state.held.values() if end > now]
        if self.config.for_ is not None:
            moments += [start for _, start in self._starts() if start > now]
        return min(moments, default=None)

    def take_due(self, now: float) -> float | None:
        """Return the moment at which a pin had been active for `for` seconds, once for each time.

        It is the last one of several, and None without any.
        """
        if not self.is_delayed:
            return None
        due = {
            pin: start
            for pin, start in self._starts()
            if start <= now and self.state.fired.get(pin) != self._tracks[pin].since
        }
        self.state.fired |= {pin: self._tracks[pin].since for pin in due}
        return max(due.values(), default=None)

    def values(self) -> Iterator[Action]:
        """Yield what a lasting rule claims."""
        config = self.config
        yield from (Action(pin, 1) for pin in config.turn_on)
        yield from (Action(pin, 0) for pin in config.turn_off)
        yield from (Action(pin, value) for pin, value in config.set_.items())

    def reaction(
        self, is_on: Callable[[str], bool], on_value: Callable[[str], float]
    ) -> Iterator[Action]:
        """Yield what the rule does at an event, from the present state of its outputs."""
        yield from self.values()
        goes_on = not any(is_on(pin) for pin in self.config.toggle)
        for pin in self.config.toggle:
            yield Action(pin, on_value(pin) if goes_on else 0)
        yield from (Action(pin, 1) for pin in self.config.pulse)

    def _has_ended(self, pin: str, track: Track) -> bool:
        """Tell if what a hold follows has ended when the pin became inactive."""
        if self.config.press:
            return pin in self.state.latched
        return self.is_lasting and track.lasted is not None and track.lasted >= self._for_s

    def _starts(self) -> Iterator[tuple[str, float]]:
        """Yield each active pin, and the moment at which it has been active for `for` seconds."""
        for pin in self.config.sources:
            track = self._tracks[pin]
            if track.active:
                yield pin, track.since + self._for_s
