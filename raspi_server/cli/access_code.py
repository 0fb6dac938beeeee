"""The command `raspi-server code`: access codes, and links and QR codes that sign one phone in.

An access code is shown only when it is made.
"""

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

_RELOAD_TIMEOUT_S = 5
_PURPOSES: dict[Right, str] = {"view": "viewing", "control": "viewing and switching"}


def show(source: ConfigSource, new: Sequence[Right], qr: Right | None) -> bool:
    """Make codes and links, or list the codes if `new` and `qr` are empty.

    Each right in `new` gets a new code and a link; the existing code of `qr` gets a link. Return
    False after printing an error, or if the answer is no to signing others out.
    """
    folder = storage.state_folder_of_service()
    if folder is None:
        print(
            "There is no installed service to keep codes: sudo scripts/install.sh",
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
        print(message(folder, error), file=sys.stderr)
        return False
    if not new and not qr:
        _list(source, codes)
        return True
    for right in dict.fromkeys(new):
        replaces_old = codes.exists(right)
        if replaces_old and not _may_sign_out(right):
            print("The code stays as it is.", file=sys.stderr)
            return False
        try:
            with storage.as_owner(folder):
                text = codes.renew(right)
        except OSError as error:
            print(message(folder, error), file=sys.stderr)
            return False
        is_reloading = reload_service()
        print(f"The new code for {_PURPOSES[right]}, shown only now:\n\n    {text}\n")
        _show_link(source, codes, right, is_reloading)
        if is_reloading and replaces_old:
            print("The service uses it now. Phones that used the old code are signed out.")
    return _show_link(source, codes, qr) if qr and qr not in new else True


def _may_sign_out(right: Right) -> bool:
    """Say what a new code ends, and ask first if someone is there to answer."""
    print(f"A new code for {_PURPOSES[right]} signs out everyone who used the old one.")
    if not sys.stdin.isatty():
        return True
    return input("Make a new code? [y/N] ").strip().lower() in ("y", "yes")


def _list(source: ConfigSource, codes: Codes) -> None:
    """Print the codes that exist, and the commands that make others."""
    for right, purpose in _PURPOSES.items():
        existing = "there is one" if codes.exists(right) else "none yet"
        if right == "view" and not codes.exists(right) and _may_all_view(source):
            existing = "none needed, since access.view is everyone"
        print(f"{right + ':':<9} for {purpose}: {existing}")
    print("A code is shown only when it is made: sudo raspi-server code --new control")
    print("A link and a QR code that sign one more phone in: sudo raspi-server code --qr")


def _may_all_view(source: ConfigSource) -> bool:
    try:
        return source.load().access.view == "everyone"
    except ConfigError:
        return False


def _show_link(
    source: ConfigSource, codes: Codes, right: Right, is_reloading: bool = False
) -> bool:
    """Print a link and a QR code that sign one phone in with the code for `right`.

    If `is_reloading`, the link has the address in the file, which the service is about to use.
    Return False after printing an error.
    """
    code_id = codes.id(right)
    if code_id is None:
        how = f"sudo raspi-server code --new {right}"
        print(f"There is no code for {_PURPOSES[right]} yet: {how}", file=sys.stderr)
        return False
    folder = storage.run_folder_of_service()
    if folder is None:
        how = "sudo systemctl start raspi-server, then: sudo raspi-server code --qr " + right
        print(f"No link: the service does not run. {how}", file=sys.stderr)
        return False
    try:
        token = _token(folder, code_id)
    except OSError as error:
        print(message(folder, error), file=sys.stderr)
        return False
    # Browsers do not send the fragment. It stays in their history, but a token works only once. The
    # code itself is in no address.
    links = [f"{address}#token={token}" for address in addresses(source, is_reloading)]
    if not links:
        print("No link: config.yaml has errors. See: sudo raspi-server check", file=sys.stderr)
        return False
    import segno  # slow to import, and needed only here

    print(f"This signs one phone in, for {_PURPOSES[right]}, within 15 minutes:\n")
    for link in links:
        print(f"    {link}")
    print("\nOr point the phone's camera at this:\n")
    segno.make(links[0], error="m").terminal(compact=True)
    print(f"\nFor the next phone: sudo raspi-server code --qr {right}\n")
    return True


def message(folder: Path, error: OSError) -> str:
    """Return why no code or link could be written, with the command that solves it."""
    if isinstance(error, IsADirectoryError):
        return f"{error.filename2}: {error.strerror}: sudo rm -r {error.filename2}"
    return f"{folder}: {error.strerror}" + ("" if os.geteuid() == 0 else ": try it with sudo")


def _token(folder: Path, code: str) -> str:
    """Return a new token for the code with this id. Raise OSError if it cannot be written."""
    with storage.as_owner(folder):
        return Links(folder).make(code)


def addresses(source: ConfigSource, is_reloading: bool) -> list[str]:
    """Return the addresses of the page.

    The one with the name is first, because it stays valid when the IP address changes.
    """
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


def reload_service() -> bool:
    """Tell the running service to read its files again; return False if none runs."""
    command = ["systemctl", "kill", "--kill-whom=main", "--signal=HUP", "raspi-server"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_RELOAD_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False  # no systemd: the codes are read at the next SIGHUP or start
    return done.returncode == 0
