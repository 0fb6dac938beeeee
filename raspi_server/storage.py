"""Small files that outlive us: replaced as a whole, so that a reader, or a power cut, finds the old
one or the new one and never half of one."""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_OF_SERVICE = Path("/var/lib/raspi-server")
_RUN_OF_SERVICE = Path("/run/raspi-server")
_LOOK_AGAIN = 0.02
"""Seconds between two tries for a lock."""


def state_folder() -> Path | None:
    """What outlives a power cut: the folder systemd names, or None off systemd."""
    return _named("STATE_DIRECTORY")


def state_folder_of_service() -> Path | None:
    """The same for commands of somebody at the machine."""
    return state_folder() or (_OF_SERVICE if _OF_SERVICE.is_dir() else None)


def run_folder() -> Path | None:
    """What outlives a restart: the folder systemd names, or None off systemd."""
    return _named("RUNTIME_DIRECTORY")


def run_folder_of_service() -> Path | None:
    """Return the same for commands of somebody at the machine."""
    return run_folder() or (_RUN_OF_SERVICE if _RUN_OF_SERVICE.is_dir() else None)


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Act as the owner of `folder` in the block, where we are root: whatever the owner has put
    there, no file is touched that is not theirs already. Raises OSError."""
    if os.geteuid() != 0:
        yield
        return
    owner = folder.stat()
    before = os.getegid(), os.getgroups()
    try:
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(before[0])
        os.setgroups(before[1])


@contextlib.contextmanager
def locked(folder: Path, patience: float) -> Iterator[None]:
    """Keep other processes, and other blocks like this one, out of the files of `folder`. Raises
    OSError, BlockingIOError where the folder is not free within so many seconds."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    words = "in use by another command, or by the service"
                    raise BlockingIOError(errno.EWOULDBLOCK, words) from None
                time.sleep(_LOOK_AGAIN)
        yield
    finally:
        os.close(descriptor)  # which lets go of the lock


def read(file: Path, most: int) -> bytes:
    """Return what is in `file`. Raises OSError, also where it is anything else but a file of at
    most `most` bytes."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise OSError(errno.EINVAL, f"expected a file of at most {most} bytes")
        return stream.read(most) or b""


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
