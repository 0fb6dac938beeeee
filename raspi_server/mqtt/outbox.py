"""Messages of the bridge that wait for the broker."""

import logging
from collections import deque
from typing import NamedTuple

from ..gpio.pin import PinChange
from ..messages import PinState, encode
from ..system.clock import wall_time
from .message import Message

log = logging.getLogger(__name__)


class _NumberedChange(NamedTuple):
    number: int
    change: PinChange


class Outbox:
    """Queue of the messages below the topic `base`, in three parts.

    The present state goes first, then what happens now, then the changes kept while the broker was
    unreachable. Of the changes at most `max_changes` are kept; the oldest are dropped."""

    def __init__(self, base: str, max_changes: int) -> None:
        self._base = base
        self._max_changes = max_changes
        self._present: deque[Message] = deque()
        self._live: deque[Message] = deque()
        self._late: deque[_NumberedChange] = deque()
        self._last_number = 0
        self.lost_changes = 0
        """Changes that were dropped since the server started."""

    def __len__(self) -> int:
        """Return how many changes and answers wait."""
        return len(self._live) + len(self._late)

    @property
    def late_changes(self) -> int:
        """Changes that wait and happened while the broker was unreachable."""
        return len(self._late)

    def add_present(self, message: Message) -> None:
        """Add a message about the present state."""
        self._present.append(message)

    def clear_present(self) -> None:
        """Drop the messages about a state that is no longer the present one."""
        self._present.clear()

    def add_answer(self, message: Message) -> None:
        """Add the answer to a command, behind the changes that the command made."""
        self._live.append(message)

    def add_change(self, change: PinChange, is_connected: bool) -> None:
        """Add a change of a pin, and drop the oldest if there are too many."""
        self._last_number += 1
        numbered = _NumberedChange(self._last_number, change)
        if is_connected:
            self._live.append(self._message(numbered, ""))
        else:
            self._late.append(numbered)
        while len(self) > self._max_changes:
            (self._late or self._live).popleft()
            if not self.lost_changes:
                words = "mqtt: more than %d changes wait for the broker: dropping the oldest"
                log.error(words, self._max_changes)
            self.lost_changes += 1

    def disconnected(self, unacknowledged: list[Message]) -> None:
        """Keep all changes without acknowledgement as late ones, in the order of their edges."""
        unsent = [each.extra for each in (*unacknowledged, *self._live) if each.extra]
        self._late = deque(sorted((*self._late, *unsent)))
        self._live.clear()

    def next(self) -> Message | None:
        """Remove the next message and return it, None if there is none."""
        if self._present:
            return self._present.popleft()
        if self._live:
            return self._live.popleft()
        if self._late:
            return self._message(self._late.popleft(), "/late")
        return None

    def _message(self, numbered: _NumberedChange, suffix: str) -> Message:
        """Return the message of a change.

        Its time follows the clock as it is set now: a Pi that had no network may have received the
        right time since."""
        change = numbered.change
        state = PinState(change.value, wall_time(change.moment))
        topic = f"{self._base}/pins/{change.pin}{suffix}"
        return Message(topic, encode(state), not suffix, numbered)
