"""What the device tree says of the pins: those that an enabled UART uses.

A UART takes its pins by a pin group, not as GPIO lines, so the chip does not list it as a holder.
"""

import re
import struct
from pathlib import Path

_ROOT = Path("/proc/device-tree")


def uart_pins(root: Path = _ROOT) -> frozenset[int]:
    """Return the GPIO numbers of all enabled UARTs; none if there is no device tree.

    A UART's `pinctrl-0` names pin groups by their phandles. A group has `brcm,pins`, numbers, on a
    Pi Zero to 4, and `pins`, names, on a Pi 5.
    """
    groups: set[bytes] = set()
    for node in root.rglob("serial@*"):
        if _property(node, "status").rstrip(b"\0") in (b"", b"okay", b"ok"):
            names = _property(node, "pinctrl-0")
            groups |= {names[at : at + 4] for at in range(0, len(names), 4)}
    pins: set[int] = set()
    for file in root.rglob("phandle") if groups else ():
        if file.read_bytes() in groups:
            numbers = _property(file.parent, "brcm,pins")
            pins |= {number for (number,) in struct.iter_unpack(">I", numbers)}
            named = re.findall(rb"gpio(\d+)\0", _property(file.parent, "pins"))
            pins |= {int(number) for number in named}
    return frozenset(pins)


def _property(node: Path, name: str) -> bytes:
    try:
        return (node / name).read_bytes()
    except OSError:
        return b""
