"""The broadcast: the values of all pins at each tick, and each change at once, to all viewers."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from .gpio.board import Board
from .gpio.pin import Decision, PinChange
from .limits import Limits
from .messages import (
    AutomationChange,
    Change,
    CoverChange,
    Source,
    SourceChange,
    State,
    encode,
)
from .net.backpressure import Viewer
from .net.events import event
from .net.hub import Hub
from .system.clock import wall_time
from .system.ticker import Ticker

if TYPE_CHECKING:
    from .gpio.cover import Cover


class Broadcaster:
    """The viewers of `/ws` and `/api/events`, and the messages to all of them.

    It ticks only while a viewer is connected. Call its methods in the loop's thread."""

    board: Board
    """The pins. The server sets it before the first viewer connects, and in a reload."""

    def __init__(self, interval_s: float, limits: Limits) -> None:
        self.hub = Hub(self._viewers_came_or_went, limits)
        self.events = Hub(self._viewers_came_or_went, limits, event)
        self._limits = limits
        self._seq = 0
        self._values: Raw | None = None
        """The values of all pins, encoded, until one changes: a tick without a change costs half as
        much then, when the processor's caches are cold."""
        self._interval_s = interval_s
        self._ticker = Ticker(self._tick, interval_s)
        self._ticked_at = time.monotonic()
        self.end_of: Callable[[Source], float | None] = lambda source: None
        """Returns the Unix time at which a schedule or rule will end what it claims, or None."""

    @property
    def interval_s(self) -> float:
        """Seconds between two ticks."""
        return self._interval_s

    @property
    def hubs(self) -> tuple[Hub, Hub]:
        """The viewers of each kind."""
        return self.hub, self.events

    @property
    def viewers(self) -> list[Viewer]:
        """All viewers."""
        return [*self.hub, *self.events]

    @property
    def is_watched(self) -> bool:
        """True while a viewer is connected."""
        return bool(self.hub or self.events)

    @property
    def reads_inputs(self) -> bool:
        """True while ticks read the inputs: for viewers, at intervals that are long enough."""
        return self.is_watched and self._interval_s >= self._limits.poll_interval_s

    @property
    def is_late(self) -> bool:
        """True if a viewer is connected and the ticks have stopped."""
        if not self.is_watched:
            return False
        limits = self._limits
        late_s = max(limits.late_after_intervals * self._interval_s, limits.late_after_s)
        return time.monotonic() - self._ticked_at > late_s

    def set_interval(self, interval_s: float) -> None:
        """Tick every `interval_s` seconds from now on."""
        if interval_s != self._interval_s:
            self._interval_s = interval_s
            self._ticker.stop()
            self._ticker = Ticker(self._tick, interval_s)
            self._viewers_came_or_went(self.is_watched)

    def stop(self) -> None:
        """Stop the ticks."""
        self._ticker.stop()

    def forget_values(self) -> None:
        """Read all values again at the next tick."""
        self._values = None

    def send_change(self, changed: PinChange, by: str | None) -> None:
        """Send a change to all viewers; `by` is the client or the limit that caused it."""
        self._values = None
        moment = wall_time(changed.moment)
        seq, pin, value = self._next_seq(), changed.pin, changed.value
        change = Change(seq, moment, pin, value, by, *self.decided(changed.decision))
        for hub in self.hubs:
            hub.send(change)

    def send_decision(self, pin: str, decision: Decision) -> None:
        """Send to all viewers that another source decides about a value that stays."""
        now = round(time.time(), 6)
        message = SourceChange(self._next_seq(), now, pin, *self.decided(decision))
        for hub in self.hubs:
            hub.send(message)

    def send_cover(self, cover: "Cover", by: str | None) -> None:
        """Send a change of a cover to all viewers; `by` is what moves it, or None."""
        message = CoverChange(
            seq=self._next_seq(),
            time=round(time.time(), 6),
            cover=cover.name,
            **state_of(cover),
            by=by,
        )
        for hub in self.hubs:
            hub.send(message)

    def send_automation_change(self) -> None:
        """Tell all viewers of the page that schedules or rules have changed."""
        self.hub.send(AutomationChange(self._next_seq(), round(time.time(), 6)))

    def send_or_skip(self, message: Any) -> None:
        """Send a message to all viewers that can take it now, and skip the others."""
        for hub in self.hubs:
            if hub:
                hub.send_or_skip(message)

    def _tick(self) -> None:
        if self.reads_inputs:
            self.board.refresh()
        if self._values is None:
            self._values = Raw(encode(self.board.values()))
        self.send_or_skip(State(self._next_seq(), round(time.time(), 6), self._values))
        self._ticked_at = time.monotonic()

    def present(self) -> State:
        """Return the values of all pins, for a viewer that has just connected."""
        return State(self._next_seq(), round(time.time(), 6), Raw(encode(self.board.values())))

    def _viewers_came_or_went(self, is_any: bool) -> None:
        if not self.is_watched:
            self._ticker.stop()
        elif is_any:
            self._ticked_at = time.monotonic()
            self._ticker.start()

    def decided(self, decision: Decision | None) -> tuple[Source | None, float | None, bool]:
        """Return the source that decides an output, its end as Unix time, and if `auto` ends it."""
        if decision is None:
            return None, None, False
        source, until = decision.source, decision.until
        ends = [self.end_of(source), None if until is None else wall_time(until)]
        end = min((each for each in ends if each is not None), default=None)
        return source, end, decision.auto

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq


def state_of(cover: "Cover") -> dict[str, Any]:
    """Return what messages say of the state of a cover, by the names of their fields."""
    problem, since = cover.problem, cover.since
    return {
        "state": cover.state,
        "position": cover.position,
        "goal": cover.goal,
        "problem": problem and problem.message,
        "problem_reason": problem and problem.name,
        "problem_values": problem.values if problem else {},
        "since": None if since is None else wall_time(since),
    }
