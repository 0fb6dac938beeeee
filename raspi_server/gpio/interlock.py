"""Outputs of which at most one is on, with a pause between one and the next (motors)."""

import asyncio
from collections.abc import Callable

from ..errors import RequestError
from ..messages import Value
from .output import Output


class Group:
    """The open outputs of one group, and the one that waits for the pause before it goes on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outputs: list[Output] = []
        self._left_at = 0.0  # the last moment at which an output that has left may have been on
        self._waiting: Output | None = None
        self._future: asyncio.Future[Value] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, output: Output) -> None:
        self.give_up("another output, which may have been on till now, joined its group")
        self._outputs.append(output)

    def remove(self, output: Output) -> None:
        if self._waiting is output:
            self.give_up("its pin was lost or taken out")
        self._outputs.remove(output)
        self._left_at = self._loop.time() if output.is_on else max(self._left_at, output.went_off)

    @property
    def somebody_is_on(self) -> bool:
        return any(output.is_on for output in self._outputs)

    def is_waiting(self, output: Output) -> bool:
        return self._waiting is output

    def switch_on(
        self, output: Output, pause: float, switch: Callable[[], None]
    ) -> asyncio.Future[Value]:
        """Switches the others off, and calls `switch` once all of them have been off for `pause`
        seconds. The future then holds the value. A newer command for the group takes the place of
        the one that waits, whose future fails with RequestError; so it does where a line
        refuses."""
        if self._waiting is not output:
            self.give_up("another output of its group was switched on")
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

    def give_up(self, reason: str) -> None:
        """Whoever waits goes on waiting no longer, and is told why."""
        if self._waiting is None:
            return
        if self._timer:
            self._timer.cancel()
        self._waiting = self._timer = None
        self._future.set_exception(RequestError("superseded", f"not switched on: {reason}"))

    def _go(self, switch: Callable[[], None]) -> None:
        output, self._waiting, self._timer = self._waiting, None, None
        assert output is not None
        try:
            switch()
        except RequestError as refused:
            self._future.set_exception(refused)
        else:
            self._future.set_result(output.value)
