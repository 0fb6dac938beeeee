"""The daemon heartbeat thread, and our side of the talk with systemd: READY when ready, WATCHDOG
only while the loop answers that all is well, STOPPING first thing on a stop. Off systemd it is
silent; a loop that is stuck it reports to the log everywhere."""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

import sdnotify

_ASK_EVERY = 1.0
_FRESH = 1.5
"""Times so many seconds, for an answer that came unasked."""
_STUCK_AFTER = 5.0
"""Seconds without an answer after which the log says where the loop is."""
_MORE_TIME = 10.0
_MOST_TIME = 120.0
"""Seconds asked for again and again while a start or stop goes on, and in all."""
_PATIENCE = 0.2
"""Seconds a full notify queue may hold us up; the next beat says it again."""
_STEP = 0.2
"""Seconds of one wait for an answer."""
_PACKAGE = __name__.partition(".")[0] + "."

log = logging.getLogger(__name__)


class Heartbeat:
    """`post` hands a callback to the loop from another thread; `check`, called on the loop, returns
    the status in words and whether all is well. The thread begins with the start of the service,
    so it is to be made first. Belongs to the main thread, which runs the loop."""

    def __init__(
        self,
        post: Callable[[Callable[[], None]], object],
        check: Callable[[], tuple[str, bool]],
    ) -> None:
        self._post = post
        self._check = check
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._loop_thread = threading.get_ident()
        self._status = ""
        self._notifier = None
        self._watchdog = None
        self._speaking = threading.Lock()
        if os.environ.get("NOTIFY_SOCKET"):
            self._notifier = sdnotify.SystemdNotifier(debug=True)
            self._notifier.socket.settimeout(_PATIENCE)
            self._watchdog = watchdog_interval()
        self._ask_every = _ASK_EVERY
        self._stuck_after = _STUCK_AFTER
        if self._watchdog is not None:
            # When we ask a loop that is stuck, the last beat may be 9/16 of the time old after
            # which systemd strikes: a quarter more still leaves some to write the stacks.
            self._ask_every = min(_ASK_EVERY, self._watchdog / 8)
            self._stuck_after = min(_STUCK_AFTER, self._watchdog / 4)
        self._ran = 0.0
        self._told: tuple[float, tuple[str, bool]] | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def ready(self) -> None:
        """To be called when the sockets are bound and the pins are read, and after a reload."""
        self._say("READY=1")
        self._ready.set()

    def reloading(self) -> None:
        """To be called before a reload; `ready` ends it."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tell(self) -> None:
        """To be called on the loop about once a second: what the thread would ask it for, and then
        need not wake it for."""
        self._told = time.monotonic(), self._check()

    def stop(self) -> None:
        """First thing on a stop. The thread then only asks for time, if it takes long."""
        self._say("STOPPING=1")
        self._stopping.set()
        self._ready.set()

    def _run(self) -> None:
        self._ask_for_time_until(self._ready)
        if not self._stopping.is_set():
            self._beat()
        self._ask_for_time_until(threading.Event())

    def _ask_for_time_until(self, done: threading.Event) -> None:
        """Asks systemd for more time while a start or stop goes on, but not for ever."""
        for _ in range(int(_MOST_TIME / _MORE_TIME * 2)):
            if done.wait(_MORE_TIME / 2):
                return
            self._say(f"EXTEND_TIMEOUT_USEC={int(_MORE_TIME * 1e6)}")
        done.wait()

    def _beat(self) -> None:
        beat_at = self._ran = time.monotonic()
        while not self._stopping.is_set():
            # A beat vouches for the loop as it is now, not as it was a second ago.
            is_due = self._watchdog is not None and time.monotonic() >= beat_at
            status, is_well = (None if is_due else self._hear()) or self._ask()
            if status != self._status and not self._stopping.is_set():
                self._status = status
                self._say(f"STATUS={' '.join(status.split())}")
            if self._watchdog is not None and is_due and is_well:
                self._say("WATCHDOG=1")
                beat_at = time.monotonic() + self._watchdog / 2 - self._ask_every / 2
            self._waits(self._stopping, self._ask_every)

    def _hear(self) -> tuple[str, bool] | None:
        """What the loop told by itself since about the last time."""
        if self._told is None:
            return None
        moment, answer = self._told
        return answer if time.monotonic() - moment < _FRESH * self._ask_every else None

    def _ask(self) -> tuple[str, bool]:
        """What the loop answers, as late as it may. A loop that is stuck for longer than the
        watchdog allows is systemd's to end."""
        answered = threading.Event()
        answer: list[tuple[str, bool]] = []

        def on_loop() -> None:
            try:
                answer.append(self._check())
            finally:
                answered.set()

        def next_round() -> None:
            # What fell due while everything stood still, a tick perhaps, is done before it.
            self._post(on_loop)

        self._post(next_round)
        if not self._is_answered(answered, self._stuck_after):
            self._tell_where_it_is_stuck()
            while not self._is_answered(answered, _ASK_EVERY):
                pass
            log.warning("the loop answers again")
        return answer[0] if answer else (self._status, False)

    def _is_answered(self, answered: threading.Event, patience: float) -> bool:
        """Whether an answer came within `patience` seconds, or is no longer needed. Only the time
        counts in which this thread could run, else a process that was stopped would seem stuck."""
        while patience > 0 and not self._stopping.is_set():
            step = min(patience, _STEP)
            if self._waits(answered, step):
                return True
            patience -= step
        return self._stopping.is_set()

    def _waits(self, event: threading.Event, seconds: float) -> bool:
        """Waits for an event, and tells if that took far longer since the last time than it may:
        either the process was stopped, or C code held the interpreter and this thread stood still
        with it. When such code returns, this thread is the next to run, so that the loop is still
        at the call. Stacks are not written earlier, by faulthandler without the interpreter, since
        that ends a process that runs on after all (a segmentation fault, seen in CI). Where systemd
        strikes, faulthandler writes them on its SIGABRT."""
        is_set = event.wait(seconds)
        now = time.monotonic()
        late = now - self._ran - seconds
        self._ran = now
        if late > self._stuck_after:
            frames = sys._current_frames()
            log.warning(
                "nothing here ran for %.1f s: C code held the interpreter, or the process was"
                " stopped; the loop is in %s",
                late,
                _suspect(frames.get(self._loop_thread)),
            )
            _log_stacks(frames)
        return is_set

    def _tell_where_it_is_stuck(self) -> None:
        frames = sys._current_frames()
        suspect = _suspect(frames.get(self._loop_thread))
        seconds = self._stuck_after
        log.error("the loop has not answered for %.1f s; it is in %s", seconds, suspect)
        _log_stacks(frames)

    def _say(self, message: str) -> None:
        """One message on its own, ASCII only (sdnotify drops what is not Latin-1)."""
        if self._notifier is None:
            return
        with self._speaking:
            try:
                self._notifier.notify(message.encode("ascii", "replace").decode("ascii"))
            except OSError as error:
                log.warning("systemd did not take %s: %s", message.partition("\n")[0], error)


def _log_stacks(frames: dict[int, FrameType]) -> None:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in frames.items():
        stack = "".join(traceback.format_stack(frame)).rstrip()
        log.error("stack of thread %s:", names.get(ident, ident))
        for line in stack.splitlines():
            log.error("%s", line)


def _suspect(frame: FrameType | None) -> str:
    """The innermost function of this package that the loop is in, and the pin, request or socket
    it is in there for: the innermost thing with a name of its own."""
    place = name = ""
    while frame is not None and frame.f_code is not asyncio.BaseEventLoop.run_forever.__code__:
        module = str(frame.f_globals.get("__name__"))
        if not place and module.startswith(_PACKAGE):
            place = f"{module} {frame.f_code.co_qualname}, line {frame.f_lineno}"
        named = [value for value in frame.f_locals.values() if _has_a_name(value)]
        if not name and named:
            name = f", for {named[0]}"
        frame = frame.f_back
    return (place or "code that is not ours") + name


def _has_a_name(value: object) -> bool:
    return str(getattr(type(value).__str__, "__module__", "")).startswith(_PACKAGE)


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
