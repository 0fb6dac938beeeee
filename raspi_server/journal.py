"""The log: on standard error, under the journal with a priority and no time, elsewhere with one.
Strangers' words may stand in it: whatever they are, a message is one line, legible and not long."""

import logging
import os
import sys
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


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _legible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(_legible(line) for line in super().formatException(ei).split("\n"))


class _JournalFormatter(_Formatter):
    """Every line carries its priority, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


def _legible(text: str) -> str:
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
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Every broken handshake and malformed request of a stranger is a line here.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    """The least level that is logged: `debug`, `info`, `warning` or `error`."""
    logging.getLogger().setLevel(level.upper())
