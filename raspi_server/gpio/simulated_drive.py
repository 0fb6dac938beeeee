"""A simulated drive: it moves the contacts of a cover on simulated pins as a real one would."""

import asyncio

from ..config.cover_rules import is_reached
from ..config.schema import CoverConfig, InputConfig
from ..messages import Drive
from .board import Board
from .cover import DOWN, UP
from .pin import PinChange

_LEAVING_S = 0.1
"""Time from the start of the motor until a contact opens."""
_AJAR = 1.0
"""The position, in percent, of a cover that was moved off an end by hand."""


class SimulatedDrive:
    """The drive of one cover. It begins at the closed end.

    With one button a press does what `presses` says, else: stop while it opens, reverse while it
    closes, then the other direction. A person may move its contacts with `drive` all the same.
    """

    def __init__(self, config: CoverConfig, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._board = board
        self._loop = loop
        self._position = 0.0
        self._direction = 0
        self._last = DOWN
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._show()

    def changed(self, change: PinChange) -> None:
        """Follow a change of a pin of the cover."""
        config = self._config
        if change.pin == config.button:
            if change.value:
                self._press()
        elif change.pin in config.outputs:
            self._run((UP if change.pin == config.up else DOWN) if change.value else 0)
        elif not self._direction:
            self._follow_hand(change)

    def close(self) -> None:
        """Move nothing any more."""
        if self._timer:
            self._timer.cancel()

    def _press(self) -> None:
        presses, moving = self._config.presses, self._direction
        effect = "stop" if moving == UP else "reverse"
        if presses and moving:
            effect = presses.opening if moving == UP else presses.closing
        if moving:
            self._run(-moving if effect == "reverse" else 0)
        elif self._position <= 0 or self._position >= 100:
            self._run(UP if self._position <= 0 else DOWN)
        elif presses and presses.stopped != "opposite":
            self._run(UP if presses.stopped == "open" else DOWN)
        else:
            self._run(-self._last)

    def _run(self, direction: int) -> None:
        """Run in a direction from now on, or stop."""
        now = self._loop.time()
        self.close()
        if self._direction:
            way = 100 * self._direction * (now - self._began) / self._travel(self._direction)
            self._position = min(100.0, max(0.0, self._position + way))
            self._last = self._direction
        self._direction, self._began = direction, now
        if direction:
            self._timer = self._loop.call_later(_LEAVING_S, self._leave)

    def _leave(self) -> None:
        direction = self._direction
        left = (100 - self._position if direction == UP else self._position) / 100
        self._timer = self._loop.call_at(
            max(self._loop.time(), self._began + left * self._travel(direction)), self._arrive
        )
        if left > 0:
            self._contact(self._config.closed if direction == UP else self._config.opened, False)

    def _arrive(self) -> None:
        direction = self._direction
        self._run(0)
        self._position = 100.0 if direction == UP else 0.0
        self._show()

    def _follow_hand(self, change: PinChange) -> None:
        """Take the position from a contact that a person has changed."""
        contact = self._board[change.pin].config
        assert isinstance(contact, InputConfig)
        is_closed = change.pin == self._config.closed
        if is_reached(self._config, contact, int(change.value or 0)):
            self._position = 0.0 if is_closed else 100.0
        elif self._position == (0.0 if is_closed else 100.0):
            self._position, self._last = (_AJAR, UP) if is_closed else (100 - _AJAR, DOWN)

    def _show(self) -> None:
        """Give the contacts the values of the position."""
        self._contact(self._config.closed, self._position <= 0)
        self._contact(self._config.opened, self._position >= 100)

    def _contact(self, name: str | None, is_reached_now: bool) -> None:
        if name is None or self._board[name].device is None:
            return
        contact = self._board[name].config
        assert isinstance(contact, InputConfig)
        value = int(is_reached(self._config, contact, 1) == is_reached_now)
        self._board.carry_out(Drive(pin=name, value=value), str(self._config))

    def _travel(self, direction: int) -> float:
        return self._config.travel.up if direction == UP else self._config.travel.down
