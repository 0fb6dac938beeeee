"""The log: on standard error, under the journal with a priority and no time, elsewhere with one."""

import logging
import os
import sys

_PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""sd-daemon(3): the levels of syslog."""


class JournalFormatter(logging.Formatter):
    """Every line carries its priority, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


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
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # Every broken handshake and malformed request of a stranger is a line here.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    """The least level that is logged: `debug`, `info`, `warning` or `error`."""
    logging.getLogger().setLevel(level.upper())
