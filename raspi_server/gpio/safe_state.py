"""Safe state: bring each output that the server drove to the state of its `on_failure`.

systemd runs `raspi-server safe-state` after the server has ended. It imports little, to be fast,
and depends on little, since it runs after a failure: the server writes what it needs into the run
folder before it drives an output. Only if that file is missing, config.yaml is read.
"""

import errno
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gpiod

FILE_NAME = "safe-state.json"
_STATES_FILE = "levels.json"
"""The file of `output_state`."""
_BOOT = "/proc/sys/kernel/random/boot_id"
_CLEAN_STATUSES = {"0", "75", "78"}
"""Exit statuses after which nothing is to be done: 0 is a clean stop, which applied `on_stop`; with
75 or 78 a start failed before it opened any pin."""
_ERROR, _WARNING, _INFO = 3, 4, 6
"""Priorities of syslog."""

Output = dict[str, Any]
"""A real output: `gpio`, `name` (for the log), `on_failure`, `is_active_low`, and `is_kept` if
`initial` is `keep` or `restore`."""


def run() -> int | None:
    """Bring the outputs in the run folder's file to their safe state; return the exit status.

    Return None if there is no such file.
    """
    folder = os.environ.get("RUNTIME_DIRECTORY")
    try:
        with open(f"{folder}/{FILE_NAME}", encoding="utf-8") as file:
            outputs: list[Output] = json.load(file)
    except (OSError, ValueError):
        return None
    return 0 if apply(outputs) else 1


def is_clean_end() -> bool:
    """Return True if the server ended so that nothing is to be done."""
    status = os.environ.get("EXIT_STATUS")
    return os.environ.get("EXIT_CODE") == "exited" and status in _CLEAN_STATUSES


def apply(outputs: list[Output]) -> bool:
    """Bring outputs to their safe state, unless the server ended cleanly.

    Only those are touched that the server has driven since the Pi was started, or all if that is
    not known. Return False if a line could not be brought there.
    """
    if is_clean_end():
        return True
    folder = os.environ.get("RUNTIME_DIRECTORY")
    kept = _read_states(folder)
    states: dict[str, Any] = kept.get("levels", {})
    outputs = [each for each in outputs if not states or str(each["gpio"]) in states]
    if not outputs:
        return True
    _say(_WARNING, f"the server has ended ({_why()}): its outputs get their on_failure state")
    outputs.sort(key=lambda output: output["on_failure"] == "on")  # those that go off first
    try:
        from . import chardev

        chip = chardev.open_chip()
    except (OSError, ImportError) as error:
        _say(_ERROR, f"GPIO cannot be opened: {error}")
        return False
    before = dict(states)
    with chip:
        done = all([_leave(chip, output, states) for output in outputs])
    if states != before:
        _write_states(folder, {**kept, "levels": states})
    return done


def _leave(chip: "gpiod.Chip", output: Output, states: dict[str, Any]) -> bool:
    """Bring one line to its safe state. If that fails, log the reason and return False."""
    from . import chardev

    gpio, name, on_failure = output["gpio"], output["name"], output["on_failure"]
    last = states.get(str(gpio), {})
    has_deadline = last.get("pulse_at") is not None or last.get("max_at") is not None
    if on_failure == "keep" and not has_deadline:
        _say(_INFO, f"{name}: kept as it is")
        return True
    on = int(on_failure == "on")
    level = None if on_failure == "input" else on ^ output["is_active_low"]
    try:
        chardev.leave(chip, gpio, level)
        shown = chardev.read(chip, gpio)
    except OSError as error:
        holder = chardev.holder(chip, gpio) if error.errno == errno.EBUSY else None
        _say(_ERROR, f"{name}: left as it is: {f'in use by {holder}' if holder else error}")
        return False
    if not output["is_kept"]:
        states[str(gpio)] = {"value": on}
    _say(_WARNING, f"{name}: {'released' if level is None else 'on' if on else 'off'}")
    if level not in (None, shown):
        words = "this kernel releases a line that no program holds; it shows"
        _say(_ERROR, f"{name}: {words} {shown}")
        return False
    return True


def _why() -> str:
    """Return how the server ended, in systemd's terms (systemd.exec(5), $SERVICE_RESULT)."""
    words = [os.environ.get(name) for name in ("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS")]
    return ", ".join(word for word in words if word) or "run by hand"


def _read_states(folder: str | None) -> dict[str, Any]:
    """Return what the file of `output_state` has, nothing if it is damaged or of another boot."""
    try:
        with open(_BOOT, encoding="ascii") as boot, open(f"{folder}/{_STATES_FILE}", "rb") as file:
            found: dict[str, Any] = json.load(file)
            is_ours = found["boot"] == boot.read().strip() and found["levels"] is not None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        _say(_WARNING, f"{folder}/{_STATES_FILE}: {error!r}; it is not known what was driven")
        return {}
    return found if is_ours else {}


def _write_states(folder: str | None, kept: dict[str, Any]) -> None:
    """Replace the file of `output_state`. If that fails, log the reason."""
    new = f"{folder}/{_STATES_FILE}.safe-state.new"
    try:
        with open(_BOOT, encoding="ascii") as boot, open(new, "w", encoding="utf-8") as file:
            json.dump({**kept, "boot": boot.read().strip()}, file)
        os.replace(new, f"{folder}/{_STATES_FILE}")
    except OSError as error:
        _say(_WARNING, f"{folder}/{_STATES_FILE}: {error.strerror}; the output state was not saved")


def _say(priority: int, words: str) -> None:
    """Write a line to standard error, for the journal with its priority (sd-daemon(3))."""
    prefix = f"<{priority}>" if "JOURNAL_STREAM" in os.environ else ""
    print(f"{prefix}{words}", file=sys.stderr, flush=True)
