"""Small files that outlive us: replaced as a whole, so that a reader, or a power cut, finds the old
one or the new one and never half of one."""

import os
from pathlib import Path

_OF_SERVICE = Path("/var/lib/raspi-server")


def state_folder() -> Path | None:
    """What outlives a power cut: the folder systemd names, or None off systemd."""
    return _named("STATE_DIRECTORY")


def state_folder_of_service() -> Path | None:
    """The same for commands of somebody at the machine."""
    return state_folder() or (_OF_SERVICE if _OF_SERVICE.is_dir() else None)


def run_folder() -> Path | None:
    """What outlives a restart: the folder systemd names, or None off systemd."""
    return _named("RUNTIME_DIRECTORY")


def replace(file: Path, data: bytes, lasting: bool, secret: bool = False) -> None:
    """Writes `data` in the place of `file`; waits for the disk where it is to outlast a power cut.
    A secret is for the folder's owner alone. Raises OSError, and the old file stays."""
    new = file.with_suffix(".new")
    if secret:
        new.unlink(missing_ok=True)
        new.touch(0o600)
        if os.geteuid() == 0:  # root makes it, and the service is to read it
            owner = file.parent.stat()
            os.chown(new, owner.st_uid, owner.st_gid)
    with new.open("wb") as stream:
        stream.write(data)
        if lasting:
            stream.flush()
            os.fsync(stream.fileno())
    new.replace(file)


def _named(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    return Path(folder) if folder else None
