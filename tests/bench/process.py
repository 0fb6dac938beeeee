"""One server in a process of its own, for a bounded time, and what it has cost so far."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
START_LIMIT = 30.0  # seconds until the server must have said where it listens


class ServerFailed(Exception):
    """The server did not start, or did not last."""


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads so far, from the scheduler."""
        tasks = Path(f"/proc/{self.pid}/task")
        try:
            spent = [int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()]
        except FileNotFoundError:  # a kernel built without CONFIG_SCHED_INFO
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return sum(spent) / 1e9


@contextmanager
def running(arguments: list[str], folder: Path, core: int, lifetime: float) -> Iterator[Running]:
    """Runs `python ARGUMENTS` on one core until the block is left, at most `lifetime` seconds.

    The server is told to keep its files in `folder`, and what it says is kept there as well.
    Raises ServerFailed, with the last of what it said.
    """

    def settle() -> None:  # in the child, before Python starts; both outlive the exec
        os.sched_setaffinity(0, {core})
        signal.alarm(int(lifetime) + 1)

    heard = folder / "stderr"
    # The names under which systemd tells a service where its files go.
    places = {name: str(folder) for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")}
    with heard.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, **places, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            preexec_fn=settle,
        )
    try:
        yield Running(process.pid, _wait_for_port(process, heard))
    except Exception as error:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.5)  # whatever went wrong: if it is over, that is the reason
            raise ServerFailed(_obituary(process, heard)) from error
        raise
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], heard: Path) -> int:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        address = re.search(r"https?://127\.0\.0\.1:(\d+)", heard.read_text(errors="replace"))
        if address is not None:
            return int(address[1])
        if process.poll() is not None:
            raise ServerFailed(_obituary(process, heard))
        time.sleep(0.05)
    raise ServerFailed(
        f"the server named no address within {START_LIMIT:.0f} s:\n{_last_words(heard)}"
    )


def _obituary(process: subprocess.Popen[bytes], heard: Path) -> str:
    return f"the server ended with status {process.returncode}:\n{_last_words(heard)}"


def _last_words(heard: Path) -> str:
    return "\n".join(heard.read_text(errors="replace").splitlines()[-20:])
