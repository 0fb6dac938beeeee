"""Logging to standard error, with priorities for the journal, with the time elsewhere.

Messages may contain text from clients. Whatever that is, a message is one printable line of limited
length.
"""

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from ..limits import DEFAULT, Limits

_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""sd-daemon(3): the levels of syslog."""

_MAX_LINE_LENGTH = 1000
"""In characters."""

LIMITED = {"is_limited": True}
"""`extra=LIMITED` marks a line that clients can cause: from one place in the code, only a few such
lines are written in each period. The lines of other libraries are limited in the same way. Of each
traceback, one is written in each period."""
_OURS = __name__.partition(".")[0] + "."


@dataclass
class _Count:
    """Count of the lines of one place in the code since `began`.

    `words` is the text of the first line that was suppressed. It is not the record, which would
    keep the frames of its traceback alive.
    """

    began: float
    written: int = 0
    suppressed: int = 0
    level: int = 0
    words: str = ""


class _Limiter(logging.Filter):
    """Filter that suppresses and counts the lines that one place in the code logs too often."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        super().__init__()
        self._period_s = limits.log_limit_period_s
        self._max_lines = limits.max_log_lines_per_period
        self._counts: dict[object, _Count] = {}
        """One for each place in the code, so their number is limited."""
        self._lock = threading.RLock()  # the garbage collector may log while it is held

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the line should be written; else count it."""
        is_ours = record.name.startswith(_OURS)
        if is_ours and not record.exc_info and not getattr(record, "is_limited", False):
            return True
        with self._lock:
            now = time.monotonic()
            count = self._counts.setdefault(_place(record), _Count(now))
            if now - count.began >= self._period_s:
                record.msg, record.args = record.getMessage() + _more(count.suppressed), ()
                count.began, count.written, count.suppressed = now, 0, 0
            if count.written < (1 if record.exc_info else self._max_lines):
                count.written += 1
                return True
            if not count.suppressed:
                count.level, count.words = record.levelno, record.getMessage()
            count.suppressed += 1
            return False

    def report(self) -> None:
        """Log the number of suppressed lines of each place whose period is over."""
        now = time.monotonic()
        with self._lock:
            due = [each for each in self._counts.values() if each.suppressed]
            due = [each for each in due if now - each.began >= self._period_s]
            reports = [(each.level, each.words + _more(each.suppressed)) for each in due]
            for each in due:
                each.suppressed = 0
        for level, words in reports:
            logging.getLogger(__name__).log(level, "%s", words)


def _place(record: logging.LogRecord) -> object:
    """Return the place in the code that logs a line.

    With an exception, the place that raised it is part of the result.
    """
    place = (record.name, record.pathname, record.lineno)
    if not record.exc_info:
        return place
    kind, _, trace = record.exc_info
    while trace and trace.tb_next:
        trace = trace.tb_next
    return (*place, kind, trace and (trace.tb_frame.f_code.co_filename, trace.tb_lineno))


def _more(suppressed: int) -> str:
    return f" ({suppressed} more like this were not logged)" if suppressed else ""


_limiter = _Limiter()


class _Formatter(logging.Formatter):
    """Formatter that makes every line legible."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = legible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(legible(line) for line in super().formatException(ei).split("\n"))


class _JournalFormatter(_Formatter):
    """Formatter that gives every line its priority, also the lines of tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def legible(text: str) -> str:
    """Return a text as one line of limited length, with control characters escaped.

    A terminal that shows the log would obey control characters.
    """
    is_short = len(text) <= _MAX_LINE_LENGTH
    shown = text if is_short else f"{text[:_MAX_LINE_LENGTH]}… ({len(text)} characters)"
    if shown.isprintable():
        return shown
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown
    )


def under_journal() -> bool:
    """Return True if standard error is the journal's stream (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def print_error(text: str) -> None:
    """Print lines to standard error, for errors before logging is set up.

    Under the journal each line gets the priority of an error.
    """
    prefix = f"<{_PRIORITIES[logging.ERROR]}>" if under_journal() else ""
    for line in text.splitlines():
        print(prefix + line, file=sys.stderr)


def start(level: str, limits: Limits = DEFAULT) -> None:
    """Send the log of the whole process to standard error; `level` is as in `set_level`."""
    global _limiter
    _limiter = _Limiter(limits)
    handler = logging.StreamHandler()
    if under_journal():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    handler.addFilter(_limiter)
    logging.getLogger().handlers[:] = [handler]
    _load_all(handler)
    set_level(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Tornado logs a line for every broken handshake and malformed request of a client.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)


def _load_all(handler: logging.Handler) -> None:
    """Format a traceback and an unprintable text once.

    Python loads a codec and some modules for them at their first use. At a later first use, the
    process may have no file descriptor left.
    """
    try:
        raise ValueError("\0\N{LINE SEPARATOR}")
    except ValueError as error:
        record = logging.makeLogRecord({"msg": str(error), "exc_info": sys.exc_info()})
        handler.format(record)


def report_suppressed() -> None:
    """Log how many lines were suppressed. Call this about once a minute."""
    _limiter.report()


def set_level(level: str) -> None:
    """Set the lowest level that is logged: `debug`, `info`, `warning` or `error`."""
    logging.getLogger().setLevel(level.upper())
