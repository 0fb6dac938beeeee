"""Small files that outlive us: replaced as a whole, so that a reader, or a power cut, finds the old
one or the new one and never half of one."""

import os
from pathlib import Path


def state_folder() -> Path | None:
    """What outlives a power cut: the folder systemd names, or None off systemd."""
    return _named("STATE_DIRECTORY")


def run_folder() -> Path | None:
    """What outlives a restart: the folder systemd names, or None off systemd."""
    return _named("RUNTIME_DIRECTORY")


def replace(file: Path, data: bytes, lasting: bool) -> None:
    """Writes `data` in the place of `file`; waits for the disk where it is to outlast a power cut.
    Raises OSError, and the old file stays."""
    new = file.with_suffix(".new")
    with new.open("wb") as stream:
        stream.write(data)
        if lasting:
            stream.flush()
            os.fsync(stream.fileno())
    new.replace(file)


def _named(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    return Path(folder) if folder else None
