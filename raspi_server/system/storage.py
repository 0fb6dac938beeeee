"""Storage of small files that are replaced as a whole.

A reader, or the next start after a power cut, finds the old file or the new one, never half of one.

The folders belong to the service. If it was taken over, they may contain anything: a link, a FIFO,
a file without an end. Nothing here follows such a link, waits for the FIFO, or reads a large file.
"""

import contextlib
import errno
import fcntl
import logging
import os
import pwd
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

SERVICE = "raspi-server"
"""Name of the unit and of its user."""
_SERVICE_STATE = Path("/var/lib/raspi-server")
_SERVICE_RUN = Path("/run/raspi-server")
_LOCK_RETRY_INTERVAL_S = 0.02
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Exposure(NamedTuple):
    """Problem with the permissions of a secret file, in words, and the command that mends it."""

    message: str
    remedy: str


class NotAFileError(OSError):
    """Error for anything but a file of the expected size; names the command that removes it."""

    def __str__(self) -> str:
        return str(self.strerror)


def state_folder() -> Path | None:
    """Return the folder for files that outlast a power cut.

    systemd names it in STATE_DIRECTORY. Without systemd return None.
    """
    return _named("STATE_DIRECTORY")


def state_folder_of_service() -> Path | None:
    """Return the state folder, also for commands that a person runs on the machine."""
    return state_folder() or (_SERVICE_STATE if _SERVICE_STATE.is_dir() else None)


def run_folder() -> Path | None:
    """Return the folder for files that outlast a restart of the server, but not a boot.

    systemd names it in RUNTIME_DIRECTORY. Without systemd return None.
    """
    return _named("RUNTIME_DIRECTORY")


def run_folder_of_service() -> Path | None:
    """Return the run folder, also for commands that a person runs on the machine."""
    return run_folder() or (_SERVICE_RUN if _SERVICE_RUN.is_dir() else None)


@contextlib.contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Run the block as the owner of `folder` if this process is root.

    The block can then touch no file that the owner could not touch, whatever links the owner has
    put into the folder. Raise OSError.
    """
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
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
def locked(folder: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock on the files of `folder` during the block.

    It excludes other processes and other blocks like this one. Raise OSError, and BlockingIOError
    if the lock is not free within `timeout_s` seconds.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    words = "in use by another command, or by the service"
                    raise BlockingIOError(errno.EWOULDBLOCK, words) from None
                time.sleep(_LOCK_RETRY_INTERVAL_S)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def read(file: Path, max_bytes: int) -> bytes:
    """Return the content of `file`.

    Raise OSError, and NotAFileError for anything but a regular file of at most `max_bytes`, for
    example a link or a FIFO.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise _not_a_file(file, max_bytes, file.lstat()) from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > max_bytes:
            raise _not_a_file(file, max_bytes, found)
        return os.read(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def remove(name: str) -> None:
    """Remove the file of this name from the state folder and the run folder, if it is there.

    An error goes to the log.
    """
    for folder in (state_folder(), run_folder()):
        if folder:
            try:
                (folder / name).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: not removed: %s", folder / name, error.strerror)


def replace(file: Path, data: bytes, durable: bool, secret: bool = False) -> None:
    """Replace `file` by one with `data`.

    With `durable`, wait until the data is on the disk. With `secret`, only the owner may read the
    file. Of two writers at the same time, one wins, and its file is whole. Raise OSError; then the
    old file stays.
    """
    new = file.with_name(f"{file.name}.{os.urandom(4).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o600 if secret else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    if durable:  # the name, too
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def exposure(file: Path) -> Exposure | None:
    """Return what exposes a secret file to other users: its mode or its owner.

    Return None if nothing does, or if the file is missing. A group may read it: the service reads
    its key through its group.
    """
    try:
        found = file.stat()
    except OSError:
        return None
    reads, changes = found.st_mode & stat.S_IROTH, found.st_mode & stat.S_IWOTH
    if reads or changes:
        verbs = "read and change" if reads and changes else "read" if reads else "change"
        return Exposure(f"everybody on this machine can {verbs} it", f"sudo chmod o= {file}")
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    if found.st_uid in (0, os.geteuid()) or owner == SERVICE:
        return None
    message = f"it belongs to the user {owner}, who can read and change it"
    return Exposure(message, f"sudo chown root {file}")


def _not_a_file(file: Path, max_bytes: int, found: os.stat_result) -> NotAFileError:
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), f"{found.st_size} bytes")
    message = f"expected a file of at most {max_bytes // 1024} KiB, found {kind}: sudo rm -r {file}"
    return NotAFileError(errno.EINVAL, message)


def _named(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    return Path(folder) if folder else None
