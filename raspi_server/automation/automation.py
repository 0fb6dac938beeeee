"""The automation of a running server: its engine, driven by the event loop."""

import asyncio
import time
from collections.abc import Callable

from ..config.schema import Config
from ..limits import DEFAULT, Limits
from ..system import clock as system_clock
from ..system import storage
from .clock import Evidence, StepWatch
from .memory import Memory
from .outputs import Outputs
from .schedule_engine import ScheduleEngine
from .zone import SystemZone


class Automation:
    """The schedules of a configuration, at the times of the system's clock.

    `when_clock_known` is called when the time becomes known after the start. All methods run on the
    loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        when_clock_known: Callable[[], None],
        limits: Limits = DEFAULT,
        evidence: Evidence | None = None,
    ) -> None:
        self._loop = loop
        self._when_clock_known = when_clock_known
        self._limits = limits
        self._evidence = evidence or Evidence()
        self._memory = Memory(storage.state_folder(), system_clock.boot_id())
        self.engine = ScheduleEngine(self._memory, time, SystemZone(), self._store)
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._step_watch: StepWatch | None = None
        self._waiting: list[Callable[[], None]] = []
        self._is_saving = self._is_closed = False

    def apply(self, config: Config, outputs: Outputs) -> None:
        """Claim what the schedules of a configuration want now, and go on from there.

        It is for `claim_first` of the board, at the start and at each reload: so the first level of
        an output is right.
        """
        self.engine.use_outputs(outputs)
        self.engine.configure(config.schedules, config.location)
        if self._step_watch is None:
            self._start()
        else:
            self._wake()
            self.engine.claim_again()

    def _start(self) -> None:
        self._step_watch = StepWatch(self._loop, self._wake)
        if self._memory.clock_was_known or self._evidence.is_there(self._memory.saved):
            self._clock_is_known()
        else:
            self._asking = self._loop.create_task(self._ask())
        self._wake()

    def trust_clock(self) -> None:
        """Take the clock as right until the next boot: the system or a person says so."""
        if self.engine.is_known:
            return
        self._clock_is_known()
        if self._asking:
            self._asking.cancel()
            self._asking = None
        self._wake()
        self._when_clock_known()

    def _clock_is_known(self) -> None:
        self.engine.is_known = True
        if not self._memory.clock_was_known:
            self._memory.clock_is_known()
            self._store(lambda: None)

    def close(self) -> None:
        """Stop. Outputs keep the claims that they have."""
        if self._timer:
            self._timer.cancel()
        if self._asking:
            self._asking.cancel()
        if self._step_watch:
            self._step_watch.close()
        self._is_closed = True
        if self.engine.is_known:
            self._memory.write(self._memory.snapshot(time.time()))

    def _wake(self) -> None:
        if self._timer:
            self._timer.cancel()
        seconds = max(self.engine.step() - time.time(), 0)
        seconds = min(seconds, self._limits.automation_check_interval_s)
        self._timer = self._loop.call_later(seconds, self._wake)

    async def _ask(self) -> None:
        """Ask the system until its clock is right."""
        while not self._evidence.is_there(self._memory.saved) and not await self._evidence.ask():
            await asyncio.sleep(self._limits.clock_question_interval_s)
        self._asking = None
        self.trust_clock()

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
        snapshot = self._memory.snapshot(time.time() if self.engine.is_known else None)
        writing = self._loop.run_in_executor(None, self._memory.write, snapshot)
        writing.add_done_callback(lambda _: self._saved(waiting))

    def _saved(self, waiting: list[Callable[[], None]]) -> None:
        self._is_saving = False
        if self._is_closed:
            return
        if self._waiting:
            self._save()
        for done in waiting:
            done()
