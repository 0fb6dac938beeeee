"""`raspi-server code`: makes access codes, and shows each once; and makes the links, and the QR
codes for a phone's camera, that sign one phone in."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..config.errors import ConfigError
from ..config.source import ConfigSource
from ..messages import Right
from ..net.addresses import in_url, local_name, own_address
from ..security.codes import Codes
from ..security.sign_in_links import Links
from ..system import storage

_FOR: dict[Right, str] = {"view": "looking", "control": "looking and switching"}


def show(source: ConfigSource, new: Sequence[Right], qr: Right | None) -> bool:
    """Make the codes of `new`, and a link for each, and for the code `qr`; or say which there are.
    Return whether that worked."""
    folder = storage.state_folder_of_service()
    if folder is None:
        print(
            "There is no service here that could keep codes: sudo scripts/install.sh",
            file=sys.stderr,
        )
        return False
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        print(f"{folder}: {os.strerror(errno.EACCES)}: try it with sudo", file=sys.stderr)
        return False
    try:
        with storage.as_owner(folder):
            codes = Codes(folder)
    except OSError as error:
        print(_refusal(folder, error), file=sys.stderr)
        return False
    if not new and not qr:
        _say_which(codes)
        return True
    for right in dict.fromkeys(new):
        is_another = codes.exists(right)
        try:
            with storage.as_owner(folder):
                text = codes.renew(right)
        except OSError as error:
            print(_refusal(folder, error), file=sys.stderr)
            return False
        was_told = _was_told()
        print(f"The new code for {_FOR[right]}, shown only now:\n\n    {text}\n")
        _show_link(source, codes, right, is_reloading=was_told)
        if was_told and is_another:
            print("The service has been told; who used the old code is signed out.")
    return _show_link(source, codes, qr) if qr and qr not in new else True


def _say_which(codes: Codes) -> None:
    for right, purpose in _FOR.items():
        there = "there is one" if codes.exists(right) else "none yet"
        print(f"{right + ':':<9} for {purpose}: {there}")
    print("A code is shown only when it is made: sudo raspi-server code --new control")
    print("A link and a QR code that sign one more phone in: sudo raspi-server code --qr")


def _show_link(
    source: ConfigSource, codes: Codes, right: Right, is_reloading: bool = False
) -> bool:
    """Show a link for the code of `right`; return whether there is one. While the service reloads,
    the file tells where the page will be."""
    id = codes.id(right)
    if id is None:
        how = f"sudo raspi-server code --new {right}"
        print(f"There is no code for {_FOR[right]} yet: {how}", file=sys.stderr)
        return False
    folder = storage.run_folder_of_service()
    if folder is None:
        how = "sudo systemctl start raspi-server, then: sudo raspi-server code --qr " + right
        print(f"No link: the service does not run. {how}", file=sys.stderr)
        return False
    try:
        token = _token(folder, id)
    except OSError as error:
        print(_refusal(folder, error), file=sys.stderr)
        return False
    # In the fragment, which no browser sends to anybody; it stays in the browser's history, where
    # it is worth nothing: the code itself is in no address.
    links = [f"{address}#token={token}" for address in _addresses(source, is_reloading)]
    if not links:
        print("No link: the configuration does not say where the page is.", file=sys.stderr)
        return False
    import segno  # slow to import, and needed only here

    print(f"This signs one phone in, for {_FOR[right]}, within 15 minutes:\n")
    for link in links:
        print(f"    {link}")
    print("\nOr point the phone's camera at this:\n")
    segno.make(links[0], error="m").terminal(compact=True)
    print(f"\nFor the next phone: sudo raspi-server code --qr {right}\n")
    return True


def _refusal(folder: Path, error: OSError) -> str:
    """Why no code could be written, with the command that mends it."""
    if isinstance(error, IsADirectoryError):
        return f"{error.filename2}: {error.strerror}: sudo rm -r {error.filename2}"
    return f"{folder}: {error.strerror}" + ("" if os.geteuid() == 0 else ": try it with sudo")


def _token(folder: Path, code: str) -> str:
    with storage.as_owner(folder):
        return Links(folder).make(code)


def _addresses(source: ConfigSource, is_reloading: bool) -> list[str]:
    """Where the page is, the name first: the phone keeps it when the address changes."""
    try:
        config = source.load()
    except ConfigError:
        config = None
    if config is None or (not is_reloading and source.is_in_force() is False):
        config = source.last_good() or config
    if config is None:
        return []
    scheme = "https" if config.certificate else "http"
    hosts = [config.address] if config.address else [local_name(), own_address()]
    return [f"{scheme}://{in_url(host)}:{config.port}/" for host in hosts if host]


def _was_told() -> bool:
    """The running service takes the new codes at once; whether there is one."""
    command = ["systemctl", "kill", "--kill-whom=main", "--signal=HUP", "raspi-server"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False  # no systemd here: SIGHUP by hand, or the next start
    return done.returncode == 0
