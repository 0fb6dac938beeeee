"""Interlock: at most one of several outputs is on, with a pause between one and the next.

An example are the two directions of a motor. The config keys are `group` and `group_pause`.
"""

import asyncio
from collections.abc import Callable

from ..errors import RequestError, refusal
from ..messages import Value
from .output import Output


class Interlock:
    """The open outputs of one group, and the command that waits for the pause, if there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outputs: list[Output] = []
        self._left_at = 0.0  # last moment at which a removed output may have been on
        self._waiting: Output | None = None
        self._future: asyncio.Future[Value] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, output: Output) -> None:
        """Add an output. It may have been on until now, so a waiting command is cancelled."""
        self.cancel("other-joined")
        self._outputs.append(output)

    def remove(self, output: Output) -> None:
        """Remove an output, and cancel its command if that waits."""
        if self._waiting is output:
            self.cancel("pin-lost")
        self._outputs.remove(output)
        self._left_at = self._loop.time() if output.is_on else max(self._left_at, output.went_off)

    @property
    def is_any_on(self) -> bool:
        """True if an output of the group is on."""
        return any(output.is_on for output in self._outputs)

    def is_waiting(self, output: Output) -> bool:
        """Return True if a command to switch this output on waits for the pause."""
        return self._waiting is output

    def switch_on(
        self, output: Output, pause: float, switch: Callable[[], None]
    ) -> asyncio.Future[Value]:
        """Switch the other outputs off, and call `switch` when all were off for `pause` seconds.

        Return a future of the output's value. It raises RequestError if `switch` does, and if the
        command is cancelled: a newer command for another output of the group does that.
        """
        if self._waiting is not output:
            self.cancel("other-switched-on")
            self._future = self._loop.create_future()
        if self._timer:
            self._timer.cancel()
        others = [other for other in self._outputs if other is not output]
        for other in others:
            if other.is_on:
                other.switch(0, "group")
        ready_at = max((other.went_off for other in others), default=0.0)
        ready_at = max(ready_at, self._left_at) + pause
        self._waiting, future = output, self._future
        if output.is_on or ready_at <= self._loop.time():
            self._go(switch)
        else:
            self._timer = self._loop.call_at(ready_at, self._go, switch)
        return future

    def cancel(self, reason: str) -> None:
        """Cancel the command that waits, if there is one.

        Its future raises RequestError (`superseded`) with the reason, a name of REASONS.
        """
        if self._waiting is None:
            return
        if self._timer:
            self._timer.cancel()
        self._waiting = self._timer = None
        self._future.set_exception(refusal(reason))

    def _go(self, switch: Callable[[], None]) -> None:
        output, self._waiting, self._timer = self._waiting, None, None
        assert output is not None
        try:
            switch()
        except RequestError as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(output.value)
