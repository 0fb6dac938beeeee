"""The time zone of the system, and changes to it or to its rules while the server runs."""

import logging
import os
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOCAL_TIME = Path("/etc/localtime")

log = logging.getLogger(__name__)


class SystemZone:
    """The zone that TZ names, else that of /etc/localtime, else UTC."""

    def __init__(self, file: Path = LOCAL_TIME) -> None:
        self._file = file
        self._seen: object = None
        self.zone: tzinfo = UTC
        self.name = "UTC"
        self.has_changed()

    def has_changed(self) -> bool:
        """Read the zone again if its file is another one by now, and return True then.

        It costs one look at the file: timedatectl replaces the link, an upgrade of tzdata its file.
        """
        key = os.environ.get("TZ", "").removeprefix(":")
        try:
            found = self._file.stat()
            seen: object = key, found.st_dev, found.st_ino, found.st_mtime_ns
        except OSError:
            seen = (key,)
        if seen == self._seen:
            return False
        self._seen = seen
        self._read(key)
        return True

    def _read(self, key: str) -> None:
        try:
            if key and not key.startswith("/"):
                self.zone, self.name = ZoneInfo.no_cache(key), key
                return
            file = Path(key) if key else self._file
            with file.open("rb") as data:
                name = str(file.resolve()).partition("zoneinfo/")[2] or str(file)
                self.zone, self.name = ZoneInfo.from_file(data, name), name
        except FileNotFoundError:
            self.zone, self.name = UTC, "UTC"
        except (OSError, ValueError, ZoneInfoNotFoundError) as error:
            log.warning("the time zone of this system cannot be read: %s; UTC is used", error)
            self.zone, self.name = UTC, "UTC"
