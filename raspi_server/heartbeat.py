"""The daemon heartbeat thread, and our side of the talk with systemd: READY when ready, WATCHDOG
only while the loop answers, STOPPING first thing on a stop. Off systemd it is silent."""

import logging
import os
import threading
from collections.abc import Callable

import sdnotify

_ASK_EVERY = 1.0
_PATIENCE = 0.2
"""Seconds a full notify queue may hold us up; the next beat says it again."""

log = logging.getLogger(__name__)


class Heartbeat:
    """`post` hands a callback to the loop from another thread. Start it once the loop runs."""

    def __init__(self, post: Callable[[Callable[[], object]], object]) -> None:
        self._post = post
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._notifier = None
        if os.environ.get("NOTIFY_SOCKET"):
            self._notifier = sdnotify.SystemdNotifier(debug=True)
            self._notifier.socket.settimeout(_PATIENCE)
        self._watchdog = watchdog_interval()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ready(self) -> None:
        """To be called when the sockets are bound and the pins are read."""
        self._ready.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Says STOPPING and ends the thread."""
        self._say("STOPPING=1")
        self._stopping.set()
        self._ready.set()

    def _run(self) -> None:
        self._ready.wait()
        if not self._stopping.is_set():
            self._say("READY=1")
            self._beat()
        if self._notifier:
            self._notifier.socket.close()

    def _beat(self) -> None:
        every = _ASK_EVERY if self._watchdog is None else min(_ASK_EVERY, self._watchdog / 2)
        while not self._stopping.wait(every):
            if self._loop_answers() and self._watchdog is not None:
                self._say("WATCHDOG=1")

    def _loop_answers(self) -> bool:
        """Whether the loop comes round to a callback of ours. Waits for it as long as it takes: a
        loop that is stuck for longer than the watchdog allows is systemd's to end."""
        answer = threading.Event()
        self._post(answer.set)
        while not answer.wait(_ASK_EVERY):
            if self._stopping.is_set():
                return False
        return True

    def _say(self, message: str) -> None:
        """One message, ASCII only; in the service manager's absence nothing."""
        if self._notifier is None:
            return
        try:
            self._notifier.notify(message)
        except OSError as error:
            log.warning("systemd did not take %s: %s", message, error)


def watchdog_interval() -> float | None:
    """Seconds within which systemd wants to hear of us, or None where it does not listen."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        log.warning("WATCHDOG_USEC: expected microseconds; the watchdog is not served")
        return None
    return microseconds / 1e6 if microseconds > 0 else None
