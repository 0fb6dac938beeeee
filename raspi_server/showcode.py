"""`raspi-server code`: makes access codes, and shows each once: to type, as a link, and as a QR
code for the phone's camera."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import storage
from .codes import Codes
from .config import ConfigError
from .doors import in_url, own_address
from .mdns import local_name
from .messages import Right
from .source import Source

_FOR: dict[Right, str] = {"view": "looking", "control": "looking and switching"}


def show(source: Source, new: Sequence[Right]) -> bool:
    """Makes the codes of `new`, or says which there are; whether that worked."""
    folder = storage.state_folder_of_service()
    if folder is None:
        print(
            "There is no service here that could keep codes: sudo scripts/install.sh",
            file=sys.stderr,
        )
        return False
    try:
        with storage.as_owner(folder):
            codes = Codes(folder)
    except OSError as error:
        print(f"{folder}: {error.strerror}: try it with sudo", file=sys.stderr)
        return False
    if not new:
        for right, purpose in _FOR.items():
            there = "there is one" if codes.exists(right) else "none yet"
            print(f"{right + ':':<9} for {purpose}: {there}")
        print("A code is shown only when it is made: sudo raspi-server code --new control")
        return True
    addresses = _addresses(source)
    for right in dict.fromkeys(new):
        is_another = codes.exists(right)
        try:
            with storage.as_owner(folder):
                text = codes.renew(right)
        except OSError as error:
            print(_refusal(folder, error), file=sys.stderr)
            return False
        _tell(right, text, addresses)
        if _was_told() and is_another:
            print("The service has been told; who used the old code is signed out.")
    return True


def _refusal(folder: Path, error: OSError) -> str:
    """Why no code could be written, with the command that mends it."""
    if isinstance(error, IsADirectoryError):
        return f"{error.filename2}: {error.strerror}: sudo rm -r {error.filename2}"
    return f"{folder}: {error.strerror}" + ("" if os.geteuid() == 0 else ": try it with sudo")


def _addresses(source: Source) -> list[str]:
    """Where the page is, the name first: the phone keeps it when the address changes."""
    try:
        config = source.load()
    except ConfigError:
        config = None
    config = config or source.last_good()
    if config is None:
        return []
    scheme = "https" if config.certificate else "http"
    hosts = [config.address] if config.address else [local_name(), own_address()]
    return [f"{scheme}://{in_url(host)}:{config.port}/" for host in hosts if host]


def _tell(right: Right, text: str, addresses: Sequence[str]) -> None:
    print(f"The new code for {_FOR[right]}, shown only now:\n\n    {text}\n")
    # In the fragment, which no browser sends to anybody.
    links = [f"{address}#code={text}" for address in addresses]
    for link in links:
        print(f"    {link}")
    if links:
        import segno  # slow to import, and needed only here

        print("\nOr point the phone's camera at this:\n")
        segno.make(links[0], error="m").terminal(compact=True)
    print()


def _was_told() -> bool:
    """The running service takes the new codes at once; whether there is one."""
    command = ["systemctl", "kill", "--kill-whom=main", "--signal=HUP", "raspi-server"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False  # no systemd here: SIGHUP by hand, or the next start
    return done.returncode == 0
