"""The engine of the schedules: it claims outputs for open windows, and runs moments once.

It has no timer of its own: `step` does what is to be done now and says when to call it again. So
the server, `raspi-server simulate` and the tests run the same code, each with a clock of its own.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import date, tzinfo
from typing import NamedTuple, Protocol

from ..config.schema import Goal, Location, ScheduleConfig
from .memory import Memory, Pulse
from .outputs import Outputs
from .plan import Segment, next_change, plan
from .schedule_claims import Claim, ScheduleClaims
from .schedules import Schedule
from .sun import Sky
from .times import Calendar, Occurrence

Move = Callable[[str, Goal, str], object]
"""Function that gives a cover a goal; the last argument says which schedule does. It may wait until
the pins are open."""
_NEXT_CHANGES_S = 86400
_SKIPPED_S = 3 * 86400
"""Age of days that are left out no longer: what is written for them is over, `late`, too."""
_TINY_S = 1e-6
"""Time between two claims of which one must count as newer."""

log = logging.getLogger(__name__)


class Clock(Protocol):
    """Time, as the module `time` has it."""

    def time(self) -> float:
        """Return Unix time."""

    def monotonic(self) -> float:
        """Return monotonic time in seconds."""


class Zone(Protocol):
    """The time zone of the system."""

    zone: tzinfo

    def has_changed(self) -> bool:
        """Return True if it has changed since this was last asked."""


class ScheduleState(NamedTuple):
    """State of a schedule for people. Times are Unix time.

    `until` is the end of its window or pulse, or None while it claims nothing. `next` is the next
    window or moment, which is not the one of the day `skipped`.
    """

    name: str
    is_paused: bool
    until: float | None
    next: Occurrence | None
    skipped: str | None
    runs: int


class ScheduleEngine:
    """The schedules of a configuration. `use_outputs` is called before the first step.

    `store(done)` brings the memory to the disk and then calls `done`. `when_changed` is called when
    the states for people have changed: a schedule has begun or ended, or another one is next. It
    may be called in the middle of a step. `is_known` tells if the clock is right; while it is not,
    all schedules rest.
    """

    def __init__(
        self,
        memory: Memory,
        clock: Clock,
        zone: Zone,
        store: Callable[[Callable[[], None]], None],
        when_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_known = False
        self._when_changed = when_changed
        self._memory = memory
        self._clock = clock
        self._zone = zone
        self._store = store
        self._location: Location | None = None
        self.calendar = Calendar(zone.zone)
        """The calendar of the present zone and place."""
        self._schedules: dict[str, Schedule] = {}
        self._claims = ScheduleClaims()
        self._move: Move = lambda cover, goal, by: None
        self._pulses: dict[str, Pulse] = {}
        self._runs: dict[str, int] = {}
        self._told: set[tuple[str, date]] = set()
        self._last = 0.0
        self._next: dict[str, float] = {}
        """When each schedule may want something else: until then a step leaves it alone."""
        self._stepped = 0.0, False
        """The time of the last step, and if the clock was known."""
        self._told_next: dict[str, float] = {}
        """What `_next` was when a change of it was told last."""
        self._is_new = True
        self._next_changes: dict[str, float] | None = None
        """What `next_changes` returns, None until it is worked out again."""

    def use_outputs(self, outputs: Outputs, move: Move | None = None) -> None:
        """Claim these outputs from the next step on, and move covers with `move`."""
        self._claims.outputs = outputs
        if move:
            self._move = move

    def claim_again(self) -> None:
        """Claim what is claimed already, for outputs that may have been replaced."""
        self._claims.again()

    # The configuration

    def configure(self, schedules: Mapping[str, ScheduleConfig], location: Location | None) -> None:
        """Use these schedules, at the start or at a reload. The next `step` acts on them.

        Those that stayed the same go on. A moment that a reload moved into the past is not run.
        """
        before, has_moved = self._schedules, location != self._location
        self._next.clear()
        self._location = location
        self._follow_zone(has_moved or self._is_new)
        self._schedules = {}
        now = self._clock.time()
        for place, (name, config) in enumerate(schedules.items()):
            old = before.get(name)
            stays = old is not None and old.config == config
            if old is not None and stays and not (has_moved and _follows_sun(config)):
                old.place = place
                self._schedules[name] = old
                continue
            schedule = self._schedules[name] = Schedule(name, place, config, self.calendar)
            if self._is_new:
                self._continue_pulse(schedule)
                continue
            self._end_pulse(name)
            for moment in schedule.due(now, ()):
                self._memory.add_moment(name, schedule.written(moment), moment.begin)
        for name in before.keys() - self._schedules.keys():
            self._end_pulse(name)
        self._memory.keep_only(set(schedules))
        if not self._is_new:
            self._store(lambda: None)
        self._is_new = False

    def _follow_zone(self, has_moved: bool = False) -> None:
        """Go by the time zone and the place as they are now."""
        if not self._zone.has_changed() and not has_moved:
            return
        self.calendar = Calendar(self._zone.zone, Sky(self._location) if self._location else None)
        self._next.clear()
        for schedule in self._schedules.values():
            schedule.use(self.calendar)

    def _continue_pulse(self, schedule: Schedule) -> None:
        """Go on with a pulse that began before a restart in the same boot, to its original end."""
        pulse, config = self._memory.pulses.get(schedule.name), schedule.config
        if pulse is None:
            return
        same = (pulse.pin, pulse.seconds, pulse.boot) == (
            config.pin,
            config.pulse,
            self._memory.boot,
        )
        if same and pulse.end > self._clock.monotonic():
            self._pulses[schedule.name] = pulse

    def _end_pulse(self, name: str) -> None:
        self._pulses.pop(name, None)
        self._memory.pulses.pop(name, None)

    # The time

    def step(self) -> float:
        """Do what is to be done now. Return the Unix time of the next step.

        A step is also due after the clock was set, and now and then for changes of the time zone.
        """
        now = self._clock.time()
        self._next_changes = None
        self._follow_zone()
        stale = self._stale(now)
        self._claim_outputs(stale)
        if self.is_known and (due := self._due(stale, now)):
            self._store(lambda: self._run(due))
        self._tell_missing(stale, now)
        self._next |= {schedule.name: schedule.next_change(now) for schedule in stale}
        if self._next != self._told_next:
            self._told_next = dict(self._next)
            if self.is_known:
                self._when_changed()
        left = [pulse.end - self._clock.monotonic() for pulse in self._pulses.values()]
        return min([*self._next.values(), *(now + each for each in left)], default=now + 86400)

    def _stale(self, now: float) -> list[Schedule]:
        """Return the schedules that may want something else than at the last step."""
        was, was_known = self._stepped
        if now < was or self.is_known != was_known:
            self._next.clear()
        self._stepped = now, self.is_known
        return [each for each in self._schedules.values() if self._next.get(each.name, 0) <= now]

    def _due(self, stale: list[Schedule], now: float) -> list[tuple[Schedule, Occurrence]]:
        """Return the moments to run now, and remember them as run."""
        if (now < self._last or not self._last) and self._memory.forget(now):
            self._store(lambda: None)  # a restart must not find them again
        self._last = now
        found: list[tuple[Schedule, Occurrence]] = []
        for schedule in stale:
            name, config = schedule.name, schedule.config
            if not config.at or name in self._memory.paused:
                continue
            for moment in schedule.due(now, self._memory.skipped.get(name, ())):
                written = schedule.written(moment)
                if self._memory.has_run(name, written):
                    continue
                self._memory.add_moment(name, written, moment.begin)
                if config.pin and config.pulse:
                    began = self._clock.monotonic() + len(found) * _TINY_S
                    pulse = Pulse(config.pin, config.pulse, began, self._memory.boot)
                    self._memory.pulses[name] = pulse
                found.append((schedule, moment))
        if found:
            self._memory.forget(now)
        return found

    def _run(self, due: list[tuple[Schedule, Occurrence]]) -> None:
        """Run moments, now that the disk has them, unless they were paused or changed meanwhile."""
        for schedule, _ in due:
            name, config = schedule.name, schedule.config
            if self._schedules.get(name) is not schedule or name in self._memory.paused:
                continue
            pulse = self._memory.pulses.get(name)
            if pulse:
                log.info("schedule %s: %s is on for %g s", name, pulse.pin, pulse.seconds)
                self._pulses[name] = pulse
            for pin in config.turn_off:
                log.info("schedule %s: ends what people and rules switched at %s", name, pin)
                self._claims.outputs.relinquish(pin, f"schedule {name}", rules_too=True)
            if config.cover and config.goal is not None:
                self._move(config.cover, config.goal, f"schedule {name}")
            self._runs[name] = self._runs.get(name, 0) + 1
        self._claim_outputs([schedule for schedule, _ in due])

    # Claims

    def _claim_outputs(self, stale: list[Schedule]) -> None:
        """Claim what open windows and running pulses want, and release what none wants any more.

        Schedules that are not `stale` want the same as before, unless their pulse has ended.
        """
        now, monotonic = self._clock.time(), self._clock.monotonic()
        ended = {name for name, pulse in self._pulses.items() if pulse.end <= monotonic}
        for name in ended:
            del self._pulses[name]
        names = {each.name for each in stale} | ended | self._claims.names - self._schedules.keys()
        found = {name: self._schedules.get(name) for name in names}
        wanted = {
            name: self._wanted(schedule, now, monotonic) if schedule else None
            for name, schedule in found.items()
        }
        before = self._claims.claims
        new = self._claims.change(wanted, monotonic)
        if self._claims.claims != before:
            self._when_changed()
        for name in new:
            claim = wanted[name]
            if claim and claim.seconds is None:
                log.info("schedule %s: %s is %g", name, claim.pin, claim.value)
                self._runs[name] = self._runs.get(name, 0) + 1

    def _wanted(self, schedule: Schedule, now: float, monotonic: float) -> Claim | None:
        name, config = schedule.name, schedule.config
        if not self.is_known or name in self._memory.paused or config.pin is None:
            return None
        pulse = self._pulses.get(name)
        if pulse:
            since = now - (monotonic - pulse.began)
            return Claim(config.pin, 1, since, schedule.place, pulse.began, pulse.seconds, pulse)
        window = schedule.open_window(now, self._memory.skipped.get(name, ()))
        if window is None:
            return None
        began = monotonic - (now - window.begin)
        of = schedule, window.day
        return Claim(config.pin, config.value, window.begin, schedule.place, began, None, of)

    # Commands of people

    def pause(self, name: str) -> None:
        """End what a schedule claims, and let it rest until `resume`. Raise KeyError."""
        _ = self._schedules[name]
        self._memory.paused.add(name)
        self._end_pulse(name)
        self._changed()

    def resume(self, name: str) -> None:
        """Let a paused schedule go on: a window that is open now begins at once. Raise KeyError."""
        _ = self._schedules[name]
        self._memory.paused.discard(name)
        self._changed()

    def skip(self, name: str) -> Occurrence | None:
        """Leave out the next window or moment that has not begun, and return it. Raise KeyError.

        If that one is left out already, nothing changes. Nor does it while the clock is not known.
        """
        now = self._clock.time()
        found = next(self._schedules[name].coming(now), None) if self.is_known else None
        if found:
            oldest = self.calendar.local_date(now - _SKIPPED_S).isoformat()
            kept = {day for day in self._memory.skipped.get(name, ()) if day >= oldest}
            self._memory.skipped[name] = kept | {found.day.isoformat()}
            self._changed()
        return found

    def undo_skip(self, name: str) -> None:
        """Leave out nothing that has not begun; if that is so already, nothing. Raise KeyError."""
        schedule, now = self._schedules[name], self._clock.time()
        days = self._memory.skipped.pop(name, set())
        begun = {day for day in days if schedule.has_begun(day, now)}
        if begun and begun != days:
            self._memory.skipped[name] = begun
        self._changed()

    def _changed(self) -> None:
        self._next_changes = None
        self._next.clear()
        self._claim_outputs(list(self._schedules.values()))
        self._store(lambda: None)

    # For people

    def states(self) -> list[ScheduleState]:
        """Return the state of each schedule, in the order of config.yaml."""
        return [self.state(name) for name in self._schedules]

    def state(self, name: str) -> ScheduleState:
        """Return the state of a schedule. Raise KeyError."""
        schedule, now = self._schedules[name], self._clock.time()
        days = self._memory.skipped.get(name, ())
        skipped = min((day for day in days if not schedule.has_begun(day, now)), default=None)
        coming = schedule.coming_next(now, days) if self.is_known else None
        is_paused = name in self._memory.paused
        return ScheduleState(
            name, is_paused, self._until(schedule, now), coming, skipped, self._runs.get(name, 0)
        )

    @property
    def runs(self) -> dict[str, int]:
        """How often each schedule has acted since the start."""
        return {name: self._runs.get(name, 0) for name in self._schedules}

    def until(self, name: str) -> float | None:
        """Return the Unix time at which a schedule will end what it claims, or None.

        Windows that follow each other without a gap count as one. If there is no gap in a week,
        its end is None.
        """
        schedule = self._schedules.get(name)
        end = self._until(schedule, self._clock.time()) if schedule else None
        if schedule is None or end is None or schedule.config.at:
            return end
        skipped = self._memory.skipped.get(name, ())
        for _ in range(7):
            following = next(schedule.between(end, end + 1, skipped), None)
            if following is None:
                return end
            end = following.end or end
        return None

    def _until(self, schedule: Schedule, now: float) -> float | None:
        claim = self._claims.get(schedule.name)
        if claim is None:
            return None
        if claim.seconds is not None:
            return now + claim.began + claim.seconds - self._clock.monotonic()
        window = schedule.open_window(now, ())
        return window.end if window else None

    def plan(self, now: float, until: float) -> dict[str, list[Segment]]:
        """Return what schedules want between two Unix times, by the names of outputs."""
        if not self.is_known:
            return {}
        return plan(self._awake(), self._memory.skipped, now, until)

    def next_changes(self) -> dict[str, float]:
        """Return when schedules want another value next for an output, by the output's name.

        Outputs without such a time within a day are left out. A `turn_off` counts as well.
        """
        if self._next_changes is None:
            now = self._clock.time()
            until = now + _NEXT_CHANGES_S
            found = {
                pin: at
                for pin, segments in self.plan(now, until).items()
                if (at := next_change(segments, now, until)) is not None
            }
            for schedule in self._awake() if self.is_known else ():
                skipped = self._memory.skipped.get(schedule.name, ())
                for pin in schedule.config.turn_off:
                    for moment in schedule.between(now, until, skipped):
                        found[pin] = min(found.get(pin, until), moment.begin)
            self._next_changes = found
        return self._next_changes

    def _awake(self) -> list[Schedule]:
        """Return the schedules that are not paused."""
        paused = self._memory.paused
        return [each for each in self._schedules.values() if each.name not in paused]

    def _tell_missing(self, stale: list[Schedule], now: float) -> None:
        """Log once on which days a schedule has no window or moment."""
        today = self.calendar.local_date(now)
        for schedule in stale:
            for day in schedule.missing:
                if day >= today and (schedule.name, day) not in self._told:
                    self._told = {told for told in self._told if told[1] >= today}
                    self._told.add((schedule.name, day))
                    what = "moment" if schedule.config.at else "window"
                    words = "schedule %s has no %s on %s (%s)"
                    log.info(words, schedule.name, what, day, describe(schedule.config))


def describe(config: ScheduleConfig) -> str:
    """Return the times of a schedule as config.yaml has them."""
    return str(config.at) if config.at else f"{config.begin} to {config.end}"


def _follows_sun(config: ScheduleConfig) -> bool:
    return any(time.sun for time in config.times)
