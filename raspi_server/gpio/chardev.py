"""The kernel's GPIO character device (linux/gpio.h, version 2).

It is used for calls that lgpio does not have, and by `safe-state`, which must start quickly and so
does not import lgpio. Each function releases its line before it returns.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

_MODEL = Path("/proc/device-tree/model")
_DEVICES = Path("/dev")
_LABELS = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1")
"""Labels of the chip of the 40-pin header: on a Pi Zero to 3, a Pi 4, and a Pi 5, where
it is gpiochip0 or, on earlier kernels, gpiochip4."""
CONSUMER = "raspi-server"
"""Name under which the kernel lists the lines that we hold."""

# An ioctl's number contains the size of its argument: struct gpiochip_info has 68 bytes,
# gpio_v2_line_info 256, gpio_v2_line_request 592, gpio_v2_line_values 16.
_GET_CHIP_INFO = 0x8044B401
_GET_LINE_INFO = 0xC100B405
_GET_LINE = 0xC250B407
_GET_VALUES = 0xC010B40E

_USED = 1 << 0
_INPUT = 1 << 2
_OUTPUT = 1 << 3
_OUTPUT_VALUES = 2
"""Kind of the attribute with the initial levels of a request's lines."""


def on_raspberry_pi() -> bool:
    """Return True on a Raspberry Pi, by the model in the device tree."""
    try:
        return _MODEL.read_text().startswith("Raspberry Pi")
    except OSError:
        return False


def are_real(kind: Literal["auto", "real", "simulated"]) -> bool:
    """Return True if the config's `gpio` key means real lines: `auto` does on a Raspberry Pi."""
    return kind == "real" or (kind == "auto" and on_raspberry_pi())


def find() -> Path:
    """Return the device of the 40-pin header, found by its label.

    Raises OSError with the chips found instead, or with the device that could not be opened.
    """
    found = []
    open_error: OSError | None = None
    for device in sorted(_DEVICES.glob("gpiochip*")):
        try:
            label = _label(device)
        except OSError as error:
            open_error = error
            continue
        if label in _LABELS:
            return device
        found.append(f"{device.name} is {label}")
    if open_error:
        raise open_error
    there = ", ".join(found) or "there is no gpiochip"
    raise FileNotFoundError(f"expected a gpiochip labelled {' or '.join(_LABELS)}, but {there}")


def holder(device: Path, gpio: int) -> str | None:
    """Return the consumer name of the program that holds a line, or None.

    The line is not changed. Raises OSError.
    """
    info = bytearray(256)
    struct.pack_into("=I", info, 64, gpio)
    with _opened(device) as chip:
        fcntl.ioctl(chip, _GET_LINE_INFO, info)
    name, consumer, _, _, flags = struct.unpack_from("=32s32sIIQ", info)
    if not flags & _USED:
        return None
    return _text(consumer) or _text(name) or "another program"


def read(device: Path, gpio: int) -> int:
    """Return the level of a line, 0 or 1, without changing its direction.

    Raises OSError; EBUSY if another program holds the line.
    """
    with _requested(device, gpio, 0) as line:
        values = bytearray(struct.pack("=QQ", 0, 1))
        fcntl.ioctl(line, _GET_VALUES, values)
    return values[0] & 1


def leave(device: Path, gpio: int, level: int | None) -> None:
    """Drive a line to a level, 0 or 1, or with None make it an input; then release it.

    One request sets direction and level together. Raises OSError; EBUSY if another program holds
    the line.
    """
    flags = _INPUT if level is None else _OUTPUT
    with _requested(device, gpio, flags, level or 0):
        pass


@contextmanager
def _opened(device: Path) -> Iterator[int]:
    chip = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield chip
    finally:
        os.close(chip)


@contextmanager
def _requested(device: Path, gpio: int, flags: int, level: int = 0) -> Iterator[int]:
    """Hold a line. Without a direction in `flags` the line keeps its direction and level."""
    request = bytearray(592)
    struct.pack_into("=I", request, 0, gpio)
    struct.pack_into("=32s", request, 256, CONSUMER.encode())
    struct.pack_into("=Q", request, 288, flags)
    if flags & _OUTPUT:
        struct.pack_into("=I", request, 296, 1)  # attributes: one, of one line
        struct.pack_into("=IIQQ", request, 320, _OUTPUT_VALUES, 0, level, 1)
    struct.pack_into("=I", request, 560, 1)  # lines: one
    with _opened(device) as chip:
        fcntl.ioctl(chip, _GET_LINE, request)
    (line,) = struct.unpack_from("=i", request, 588)
    try:
        yield line
    finally:
        os.close(line)


def _label(device: Path) -> str:
    info = bytearray(68)
    with _opened(device) as chip:
        fcntl.ioctl(chip, _GET_CHIP_INFO, info)
    return _text(bytes(info[32:64]))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
