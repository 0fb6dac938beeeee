"""The automation of a running server: its schedules and rules, driven by the event loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config.schema import Config, Goal, InputConfig
from ..gpio.board import Board
from ..gpio.pin import PinChange
from ..limits import DEFAULT, Limits
from ..messages import RuleInfo, ScheduleInfo, Source
from ..system import clock as system_clock
from ..system import storage
from . import report
from .clock import Evidence, StepWatch
from .covers import AutomationCovers
from .memory import Memory, Snapshot
from .rule_windows import RuleWindows
from .schedule_engine import ScheduleEngine
from .zone import SystemZone

if TYPE_CHECKING:
    from ..gpio.cover import Cover
    from ..gpio.covers import Covers
    from .rule_engine import RuleEngine

log = logging.getLogger(__name__)


class Automation:
    """The schedules and rules of a configuration, at the times of the system's clock.

    `when_told` is called when people should be told of another state: a schedule has begun or has
    ended, the time became known after the start, a rule was parked, or a person has paused
    something. All methods run on the loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        when_told: Callable[[], None],
        limits: Limits = DEFAULT,
        evidence: Evidence | None = None,
    ) -> None:
        self._loop = loop
        self._when_told = when_told
        self._limits = limits
        self._evidence = evidence or Evidence()
        self._boot = system_clock.boot_id()
        self._memory = Memory(storage.state_folder(), self._boot)
        self.schedules = ScheduleEngine(
            self._memory, time, SystemZone(), self._store, self._tell_soon
        )
        self.rules: RuleEngine | None = None
        """The rules; None before there were any."""
        self._windows = RuleWindows(self.schedules)
        self._config = Config()
        self._open_covers: Callable[[], Covers | None] = lambda: None
        self._covers = AutomationCovers((), {}, self._open_covers)
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Handle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._step_watch: StepWatch | None = None
        self._waiting: list[Callable[[], None]] = []
        self._is_saving = self._is_closed = False

    # The server

    def use_covers(self, covers: "Callable[[], Covers | None]") -> None:
        """Move the covers that `covers` returns, None before there are any."""
        self._open_covers = covers

    def apply(self, config: Config, board: Board) -> None:
        """Claim what the schedules and rules of a configuration want now, and go on from there.

        It is for `claim_first` of the board, at the start and at each reload: so the first level of
        an output is right. `synchronize` is to follow.
        """
        self._config = config
        inputs = {pin.name: pin for pin in config.pins if isinstance(pin, InputConfig)}
        self._covers = AutomationCovers(config.covers, inputs, self._open_covers)
        self.schedules.use_outputs(board, self._move_soon)
        self.schedules.configure(config.schedules, config.location)
        if self.needs_time and self._step_watch is None:
            self._watch_clock()
        self.schedules.step()
        self.schedules.claim_again()
        if self._memory.paused_rules - config.rules.keys():
            self._memory.paused_rules.intersection_update(config.rules)
            self._store(lambda: None)
        if config.rules or self.rules:
            self._apply_rules(board)
        self._wake()

    def _apply_rules(self, board: Board) -> None:
        if self.rules is None:
            from .rule_engine import RuleEngine
            from .rule_memory import RuleMemory

            memory, paused = RuleMemory(storage.run_folder(), self._boot), self._memory.paused_rules
            window = self._windows.window
            self.rules = RuleEngine(
                self._loop, memory, window, paused, time.time, when_parked=self._tell
            )
        rules = self._config.rules
        self._windows.keep_only({rule.only for rule in rules.values() if rule.only})
        self.rules.configure(board, rules, self._covers)
        self._windows.have_changed(time.time())

    def synchronize(self) -> None:
        """Let the rules read all pins: outputs were opened, or pins became (un)available."""
        if self.rules:
            self.rules.synchronize()

    def changed(self, change: PinChange) -> None:
        """Tell the rules of a change of a pin. What that of an input switches is switched then."""
        if self.rules:
            self.rules.changed(change)

    def cover_changed(self, cover: "Cover") -> None:
        """Tell the rules of a change of a cover."""
        if self.rules:
            moment = self._loop.time() if cover.since is None else cover.since
            self.rules.cover_changed(cover.config.name, cover.value, moment)

    def _move_soon(self, cover: str, goal: Goal, by: str) -> None:
        """Give a cover a goal once this turn of the loop is over: at a start it is not open yet."""
        self._loop.call_soon(self._move, cover, goal, by)

    def _move(self, cover: str, goal: Goal, by: str) -> None:
        if not self._is_closed:
            self._covers.move(cover, goal, by)

    def close(self) -> None:
        """Stop. Outputs keep the claims that they have."""
        if self._timer:
            self._timer.cancel()
        if self._telling:
            self._telling.cancel()
        if self._asking:
            self._asking.cancel()
        if self._step_watch:
            self._step_watch.close()
        if self.rules:
            self.rules.close()
        self._is_closed = True
        if self.schedules.is_known or self._waiting:
            self._memory.write(self._snapshot())

    # The clock

    @property
    def needs_time(self) -> bool:
        """True if there are schedules, or rules with `only`."""
        config = self._config
        return bool(config.schedules) or any(rule.only for rule in config.rules.values())

    @property
    def is_resting(self) -> bool:
        """True while schedules, and rules with `only`, wait for the time."""
        return self.needs_time and not self.schedules.is_known

    def _watch_clock(self) -> None:
        self._step_watch = StepWatch(self._loop, self._wake)
        if self._memory.clock_was_known or self._evidence.is_there(self._memory.saved):
            self._clock_is_known()
        else:
            self._asking = self._loop.create_task(self._ask())

    def trust_clock(self, by: str = "the system") -> None:
        """Take the clock as right until the next boot: the system or a person says so."""
        if self.schedules.is_known:
            return
        log.info("the time is known, says %s", by)
        self._clock_is_known()
        if self._asking:
            self._asking.cancel()
            self._asking = None
        self._wake()
        self._tell()

    def _clock_is_known(self) -> None:
        self.schedules.is_known = True
        if not self._memory.clock_was_known:
            self._memory.clock_is_known()
            self._store(lambda: None)

    async def _ask(self) -> None:
        """Ask the system until its clock is right."""
        while not self._evidence.is_there(self._memory.saved) and not await self._evidence.ask():
            await asyncio.sleep(self._limits.clock_question_interval_s)
        self._asking = None
        self.trust_clock()

    def _wake(self) -> None:
        """Do what is due, and set the timer for what comes next."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self.needs_time:
            self.schedules.step()  # schedules that are gone end
            return
        at, now = self.schedules.step(), time.time()
        if self._windows.have_changed(now) and self.rules:
            self.rules.reconsider()
        seconds = max(min(at, self._windows.next_change(now)) - time.time(), 0)
        seconds = min(seconds, self._limits.automation_check_interval_s)
        self._timer = self._loop.call_later(seconds, self._wake)

    # Commands of people

    def pause_rule(self, name: str, by: str) -> None:
        """End what a rule claims, and let it rest until `resume_rule`, also over a power cut.

        Raise KeyError."""
        self._rule_engine.pause(name)
        self._say(f"rule {name}: paused", by)

    def resume_rule(self, name: str, by: str) -> None:
        """Let a rule act again that was paused or parked. Raise KeyError."""
        self._rule_engine.resume(name)
        self._say(f"rule {name}: acts again", by)

    def pause_schedule(self, name: str, by: str) -> None:
        """End what a schedule claims, and let it rest until `resume_schedule`. Raise KeyError."""
        self.schedules.pause(name)
        self._say(f"schedule {name}: paused", by)

    def resume_schedule(self, name: str, by: str) -> None:
        """Let a schedule act again. Raise KeyError."""
        self.schedules.resume(name)
        self._say(f"schedule {name}: acts again", by)

    def skip(self, name: str, by: str) -> None:
        """Leave out the next window or moment of a schedule. Raise KeyError."""
        found = self.schedules.skip(name)
        self._say(f"schedule {name}: leaves out {found.day if found else 'nothing'}", by)

    def undo_skip(self, name: str, by: str) -> None:
        """Leave out nothing of a schedule. Raise KeyError."""
        self.schedules.undo_skip(name)
        self._say(f"schedule {name}: leaves out nothing", by)

    @property
    def _rule_engine(self) -> "RuleEngine":
        if self.rules is None:
            raise KeyError("there are no rules")
        return self.rules

    def _say(self, what: str, by: str) -> None:
        log.info("%s, by %s", what, by)
        self._wake()
        self._store(lambda: None)
        self._tell()

    # For people

    def _tell_soon(self) -> None:
        """Tell people once this turn of the loop is over, of all that it has changed."""
        if self._telling is None:
            self._telling = self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        if self._telling:
            self._telling.cancel()
            self._telling = None
        self._when_told()

    def end_of(self, source: Source) -> float | None:
        """Return the Unix time at which a schedule or rule will end what it claims, or None."""
        if source.level == "schedule" and source.name:
            return self.schedules.until(source.name)
        if source.level == "rule" and source.name and self.rules:
            return self.rules.until(source.name)
        return None

    def schedule_infos(self, may_pause: Callable[[tuple[str, ...]], bool]) -> list[ScheduleInfo]:
        """Return all schedules. `may_pause` tells if the caller may, by all that they switch."""
        configs = self._config.schedules
        return [
            report.schedule(configs[each.name], each, may_pause(configs[each.name].targets))
            for each in self.schedules.states()
        ]

    def rule_infos(self, may_pause: Callable[[tuple[str, ...]], bool]) -> list[RuleInfo]:
        """Return all rules. `may_pause` tells if the caller may, by all that they switch."""
        configs = self._config.rules
        return [
            report.rule(configs[each.name], each, may_pause(configs[each.name].targets))
            for each in (self.rules.states() if self.rules else ())
        ]

    # The memory

    def _store(self, done: Callable[[], None]) -> None:
        """Write the memory in a thread, then call `done`. One write serves all that wait."""
        if not self._memory.is_kept:
            done()
            return
        self._waiting.append(done)
        if not self._is_saving:
            self._save()

    def _save(self) -> None:
        self._is_saving = True
        waiting, self._waiting = self._waiting, []
        writing = self._loop.run_in_executor(None, self._memory.write, self._snapshot())
        writing.add_done_callback(lambda _: self._saved(waiting))

    def _snapshot(self) -> Snapshot:
        return self._memory.snapshot(time.time() if self.schedules.is_known else None)

    def _saved(self, waiting: list[Callable[[], None]]) -> None:
        self._is_saving = False
        if self._is_closed:
            return
        if self._waiting:
            self._save()
        for done in waiting:
            done()
