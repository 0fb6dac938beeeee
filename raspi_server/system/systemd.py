"""Communication with systemd, on a thread of its own.

systemd gets READY when the server is ready, WATCHDOG only while the event loop answers that all is
well, and STOPPING at the begin of a stop. Without systemd nothing is sent. A loop that is stuck is
logged with or without systemd.
"""

import asyncio
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from ..limits import DEFAULT, Limits
from . import busy

_MAX_REPORT_AGE_INTERVALS = 1.5
"""Age, in heartbeat intervals, up to which the loop's last report is used instead of asking it."""
_WAIT_STEP_S = 0.2
"""Length of one wait for an answer."""
_PACKAGE = __name__.partition(".")[0] + "."

log = logging.getLogger(__name__)


class Heartbeat:
    """The heartbeat thread, which sends messages to systemd.

    `post` passes a callback to the loop from another thread. `check` is called on the loop and
    returns the status in words, and True if all is well. Create the heartbeat first: the thread
    asks systemd for more time while the start goes on. Create it and call its methods on the main
    thread, which runs the loop.
    """

    def __init__(
        self,
        post: Callable[[Callable[[], None]], object],
        check: Callable[[], tuple[str, bool]],
        limits: Limits = DEFAULT,
    ) -> None:
        self._post = post
        self._check = check
        self._limits = limits
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._loop_thread = threading.get_ident()
        self._status = ""
        self._socket = None
        self._watchdog_s = None
        self._sending = threading.Lock()
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket
            self._address = "\0" + self._address[1:]
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(limits.notify_timeout_s)
            self._watchdog_s = watchdog_interval()
        self._interval_s = limits.heartbeat_interval_s
        self._stuck_after_s = limits.stuck_after_s
        if self._watchdog_s is not None:
            # When the thread asks a loop that is stuck, the last beat may be as old as 9/16 of the
            # watchdog time. After another quarter there is still time to log the stacks.
            self._interval_s = min(self._interval_s, self._watchdog_s / 8)
            self._stuck_after_s = min(self._stuck_after_s, self._watchdog_s / 4)
        self._ran_at = 0.0
        self._report: tuple[float, tuple[str, bool]] | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def ready(self) -> None:
        """Send READY.

        Call this when the sockets are bound and the pins are read, and after a reload.
        """
        self._send("READY=1")
        self._ready.set()

    def reloading(self) -> None:
        """Send RELOADING. Call this before a reload, and `ready` after it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def report(self) -> None:
        """Check now, so that the thread need not wake the loop to ask.

        Call this on the loop about once a second.
        """
        self._report = time.monotonic(), self._check()

    def stop(self) -> None:
        """Send STOPPING.

        Call this at the begin of a stop. From then on, the thread only asks for more time if the
        stop takes long.
        """
        self._send("STOPPING=1")
        self._stopping.set()
        self._ready.set()

    def _run(self) -> None:
        self._ask_for_time_until(self._ready)
        if not self._stopping.is_set():
            self._beat()
        self._ask_for_time_until(threading.Event())

    def _ask_for_time_until(self, done: threading.Event) -> None:
        """Ask systemd for more time until `done` is set, up to a limit; then wait for `done`."""
        extension_s = self._limits.timeout_extension_s
        for _ in range(int(self._limits.max_timeout_extension_s / extension_s * 2)):
            if done.wait(extension_s / 2):
                return
            self._send(f"EXTEND_TIMEOUT_USEC={int(extension_s * 1e6)}")
        done.wait()

    def _beat(self) -> None:
        beat_at = self._ran_at = time.monotonic()
        while not self._stopping.is_set():
            # A beat needs a fresh answer of the loop, not a report that is a second old.
            is_due = self._watchdog_s is not None and time.monotonic() >= beat_at
            status, is_well = (None if is_due else self._last_report()) or self._ask()
            if status != self._status and not self._stopping.is_set():
                self._status = status
                self._send(f"STATUS={' '.join(status.split())}")
            if self._watchdog_s is not None and is_due and is_well:
                self._send("WATCHDOG=1")
                beat_at = time.monotonic() + self._watchdog_s / 2 - self._interval_s / 2
            self._wait(self._stopping, self._interval_s)

    def _last_report(self) -> tuple[str, bool] | None:
        """Return the loop's last report, or None if it is too old."""
        if self._report is None:
            return None
        reported_at, answer = self._report
        age = time.monotonic() - reported_at
        return answer if age < _MAX_REPORT_AGE_INTERVALS * self._interval_s else None

    def _ask(self) -> tuple[str, bool]:
        """Ask the loop and return its answer, however late it comes.

        If the loop is stuck for longer than the watchdog allows, systemd ends the process.
        """
        answered = threading.Event()
        answer: list[tuple[str, bool]] = []

        def on_loop() -> None:
            try:
                answer.append(self._check())
            finally:
                answered.set()

        def next_round() -> None:
            # First the work that became due while the process was stopped, such as a tick.
            self._post(on_loop)

        self._post(next_round)
        if not self._is_answered(answered, self._stuck_after_s):
            self._report_stuck()
            while not self._is_answered(answered, self._limits.heartbeat_interval_s):
                pass
            log.warning("the loop answers again")
        return answer[0] if answer else (self._status, False)

    def _is_answered(self, answered: threading.Event, timeout_s: float) -> bool:
        """Return True if an answer arrives within `timeout_s` seconds, or is no longer needed.

        Only the time counts in which this thread could run. Else a process that was stopped and
        continued would look stuck.
        """
        while timeout_s > 0 and not self._stopping.is_set():
            step = min(timeout_s, _WAIT_STEP_S)
            if self._wait(answered, step):
                return True
            timeout_s -= step
        return self._stopping.is_set()

    def _wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for an event; return True if it is set.

        Log if far more time than `timeout_s` has passed since the last wait. Then the process was
        stopped, or C code held the interpreter, and this thread could not run. When such code
        returns, this thread runs next, so the loop's stack still shows the call, unless a busy
        machine interrupts this thread for longer than Python's switch interval. faulthandler
        could write the stacks earlier, without the interpreter, but it has crashed a process that
        would have continued (a segmentation fault in CI). When systemd's watchdog ends the
        process, faulthandler writes the stacks on SIGABRT.
        """
        is_set = event.wait(timeout_s)
        now = time.monotonic()
        late = now - self._ran_at - timeout_s
        self._ran_at = now
        if late > self._stuck_after_s:
            frames = sys._current_frames()
            log.warning(
                "nothing here ran for %.1f s: C code held the interpreter, or the process was"
                " stopped; the loop is in %s",
                late,
                _place(frames.get(self._loop_thread)) + _subject(),
            )
            _log_stacks(frames)
        return is_set

    def _report_stuck(self) -> None:
        frames = sys._current_frames()
        place = _place(frames.get(self._loop_thread)) + _subject()
        seconds = self._stuck_after_s
        log.error("the loop has not answered for %.1f s; it is in %s", seconds, place)
        _log_stacks(frames)

    def _send(self, message: str) -> None:
        """Send one message, ASCII only (sd_notify(3))."""
        if self._socket is None:
            return
        with self._sending:
            try:
                self._socket.sendto(message.encode("ascii", "replace"), self._address)
            except OSError as error:
                log.warning("systemd did not take %s: %s", message.partition("\n")[0], error)


def _log_stacks(frames: dict[int, FrameType]) -> None:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in frames.items():
        stack = "".join(traceback.format_stack(frame)).rstrip()
        log.error("stack of thread %s:", names.get(ident, ident))
        for line in stack.splitlines():
            log.error("%s", line)


def _place(frame: FrameType | None) -> str:
    """Return the innermost function of this package on the loop's stack, with its line."""
    while frame is not None and frame.f_code is not asyncio.BaseEventLoop.run_forever.__code__:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(_PACKAGE) and module != busy.__name__:
            return f"{module} {frame.f_code.co_qualname}, line {frame.f_lineno}"
        frame = frame.f_back
    return "code that is not ours"


def _subject() -> str:
    """Return the subject that the loop is busy with, as an addition to `_place`."""
    subject = busy.describe()
    return f", for {subject}" if subject else ""


def watchdog_interval() -> float | None:
    """Return the seconds within which systemd expects a WATCHDOG message.

    Return None if it expects none of this process (sd_watchdog_enabled(3)).
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        log.warning("WATCHDOG_USEC: expected microseconds; no WATCHDOG messages are sent")
        return None
    return microseconds / 1e6 if microseconds > 0 else None
