"""The windows that `only` of rules names, by the calendar and the clock of the schedules."""

from ..config.schema import OnlyConfig, ScheduleConfig
from .schedule_engine import ScheduleEngine
from .schedules import Schedule
from .times import Calendar


class _Window:
    """The windows of one `only`."""

    def __init__(self, only: OnlyConfig, engine: ScheduleEngine) -> None:
        self._engine = engine
        self._calendar: Calendar = engine.calendar
        config = ScheduleConfig(begin=only.begin, end=only.end)
        self._schedule = Schedule("", 0, config, engine.calendar)
        self.was_open = False

    def contains(self, now: float) -> bool:
        """Tell if a Unix time is in one of them. None is open while the clock is not known."""
        return self._engine.is_known and self._current.open_window(now, ()) is not None

    def next_change(self, now: float) -> float:
        """Return the next Unix time at which one may open or close, at most a day ahead."""
        return self._current.next_change(now)

    def stays_open(self, now: float, until: float) -> bool:
        """Tell if none that is open now closes before a later time, or another begins then."""
        at = self.next_change(now)
        while at < until and self.contains(at):
            at = self.next_change(at)
        return at >= until

    @property
    def _current(self) -> Schedule:
        """The schedule of the windows, by the calendar of now."""
        if self._engine.calendar is not self._calendar:
            self._calendar = self._engine.calendar
            self._schedule.use(self._calendar)
        return self._schedule


class RuleWindows:
    """All windows of rules. Rules with the same `only` share theirs."""

    def __init__(self, engine: ScheduleEngine) -> None:
        self._engine = engine
        self._windows: dict[OnlyConfig, _Window] = {}

    def window(self, only: OnlyConfig) -> _Window:
        """Return the window that an `only` means."""
        found = self._windows.get(only)
        if found is None:
            found = self._windows[only] = _Window(only, self._engine)
        return found

    def keep_only(self, wanted: set[OnlyConfig]) -> None:
        """Forget all windows but these."""
        self._windows = {only: window for only, window in self._windows.items() if only in wanted}

    def have_changed(self, now: float) -> bool:
        """Tell if one has opened or closed since the last call."""
        changed = False
        for window in self._windows.values():
            is_open = window.contains(now)
            changed |= is_open != window.was_open
            window.was_open = is_open
        return changed

    def next_change(self, now: float) -> float:
        """Return the next Unix time at which one may open or close; without any a day ahead."""
        times = [window.next_change(now) for window in self._windows.values()]
        return min(times, default=now + 86400)
