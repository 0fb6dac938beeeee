"""The log: on standard error, under the journal with a priority and no time, elsewhere with one.
Strangers' words may stand in it: whatever they are, a message is one line, legible and not long."""

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""sd-daemon(3): the levels of syslog."""


_LONGEST = 1000
"""Characters of a line."""

LIMITED = {"is_limited": True}
"""`extra=LIMITED` marks a line that clients can provoke: of its place in the code few are written.
So are few of what other libraries say, and one of each traceback."""
LIMIT_PERIOD_S = 60.0
MAX_LINES_PER_PERIOD = 5
_OURS = __name__.partition(".")[0] + "."


@dataclass
class _Count:
    """How often one place in the code has logged since `began`, and the first that was suppressed:
    its words alone, since a record keeps the frames of its traceback alive."""

    began: float
    written: int = 0
    suppressed: int = 0
    level: int = 0
    words: str = ""


class _Limiter(logging.Filter):
    """Suppresses what one place in the code logs too often, and counts it."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[object, _Count] = {}
        """As many as there are places in the code."""
        self._lock = threading.RLock()  # a garbage collector may log while it is held

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = record.name.startswith(_OURS)
        if is_ours and not record.exc_info and not getattr(record, "is_limited", False):
            return True
        with self._lock:
            now = time.monotonic()
            count = self._counts.setdefault(_place(record), _Count(now))
            if now - count.began >= LIMIT_PERIOD_S:
                record.msg, record.args = record.getMessage() + _more(count.suppressed), ()
                count.began, count.written, count.suppressed = now, 0, 0
            if count.written < (1 if record.exc_info else MAX_LINES_PER_PERIOD):
                count.written += 1
                return True
            if not count.suppressed:
                count.level, count.words = record.levelno, record.getMessage()
            count.suppressed += 1
            return False

    def tell(self) -> None:
        """Log how often was suppressed what has not been logged since."""
        now = time.monotonic()
        with self._lock:
            due = [each for each in self._counts.values() if each.suppressed]
            due = [each for each in due if now - each.began >= LIMIT_PERIOD_S]
            told = [(each.level, each.words + _more(each.suppressed)) for each in due]
            for each in due:
                each.suppressed = 0
        for level, words in told:
            logging.getLogger(__name__).log(level, "%s", words)


def _place(record: logging.LogRecord) -> object:
    """Where in the code a line is logged; with an exception, also where that was raised."""
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
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = legible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(legible(line) for line in super().formatException(ei).split("\n"))


class _JournalFormatter(_Formatter):
    """Every line carries its priority, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def legible(text: str) -> str:
    """A line that does no more to a terminal, or to the next line, than to be read."""
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    if shown.isprintable():
        return shown
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown
    )


def under_journal() -> bool:
    """Whether standard error is the journal's stream, as JOURNAL_STREAM says (systemd.exec(5))."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def complain(text: str) -> None:
    """Lines for whoever started us, before there is a log: as they are, or as errors of the
    journal."""
    prefix = f"<{_PRIORITIES[logging.ERROR]}>" if under_journal() else ""
    for line in text.splitlines():
        print(prefix + line, file=sys.stderr)


def start(level: str) -> None:
    """Sends the log of the whole process to standard error, from `level` (`info`, …) upwards."""
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
    # Every broken handshake and malformed request of a stranger is a line here.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)


def _load_all(handler: logging.Handler) -> None:
    """Format a traceback and an unprintable text once: Python loads the codec and some modules for
    them when they are first needed, and may have no file descriptor left then."""
    try:
        raise ValueError("\0\N{LINE SEPARATOR}")
    except ValueError as error:
        record = logging.makeLogRecord({"msg": str(error), "exc_info": sys.exc_info()})
        handler.format(record)


def tell_suppressed() -> None:
    """Log how many lines were suppressed; to be called about once a minute."""
    _limiter.tell()


def set_level(level: str) -> None:
    """The least level that is logged: `debug`, `info`, `warning` or `error`."""
    logging.getLogger().setLevel(level.upper())
