"""The command `raspi-server hook`: the secret addresses of the hooks in config.yaml.

An address is shown only when it is made.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..config.errors import nearest
from ..config.schema import Config
from ..config.source import ConfigSource
from ..security.hooks import PATH, Hooks
from ..system import storage
from .access_code import addresses, message, reload_service


def show(source: ConfigSource, new: Sequence[str]) -> bool:
    """Make new addresses for the hooks `new`, or list all hooks if it is empty.

    Return False after printing an error. Raise ConfigError for an invalid config.yaml.
    """
    config = source.load()
    folder = storage.state_folder_of_service()
    if folder is None:
        words = "There is no installed service to keep hooks: sudo scripts/install.sh"
        return _fail(words)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return _fail(f"{folder}: {os.strerror(errno.EACCES)}: try it with sudo")
    for name in new:
        if name not in config.hooks:
            return _fail(_unknown(source, config, name))
    try:
        with storage.as_owner(folder):
            hooks = Hooks(folder)
    except OSError as error:
        return _fail(message(folder, error))
    if not new:
        _list(config, hooks)
    return all(_make(source, config, hooks, folder, name) for name in dict.fromkeys(new))


def _make(source: ConfigSource, config: Config, hooks: Hooks, folder: Path, name: str) -> bool:
    hook = config.hooks[name]
    replaces_old = hooks.has(name)
    try:
        with storage.as_owner(folder):
            secret = hooks.make(name)
    except OSError as error:
        return _fail(message(folder, error))
    except msgspec.DecodeError as error:
        return _fail(f"{folder}/hooks.json: {error}: sudo rm {folder}/hooks.json")
    is_reloading = reload_service()
    print(f"The address of the hook {name} ({hook.do} {hook.target}), shown only now:\n")
    for address in addresses(source, is_reloading):
        print(f"    {address}{PATH.lstrip('/')}{secret}")
    print("\nEach device that opens it does that, without a code: keep it like a key.")
    if is_reloading and replaces_old:
        print("The service uses it now. The old address is invalid.")
    elif not is_reloading:
        print("The service uses it from its next start or reload on.")
    return True


def _list(config: Config, hooks: Hooks) -> None:
    """Print the hooks, and the commands that make their addresses."""
    for name, hook in config.hooks.items():
        how = f"no address yet: sudo raspi-server hook --new {name}"
        print(f"{name}: {hook.do} {hook.target}: {'it has an address' if hooks.has(name) else how}")
    if config.hooks:
        print(
            "An address is shown only when it is made. --new NAME makes another, and ends the old."
        )
    else:
        print("config.yaml has no hooks. Its comments show an example.")


def _unknown(source: ConfigSource, config: Config, name: str) -> str:
    near = nearest(name, config.hooks)
    hint = f" (did you mean {near}?)" if near else ""
    example = "hooks: {gate: {pin: gate, do: pulse}}"
    return f"{source.file} has no hook {name!a}{hint}. An example: {example}"


def _fail(words: str) -> bool:
    print(words, file=sys.stderr)
    return False
