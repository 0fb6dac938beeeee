"""Parser of the section `covers`, and the rules for covers and their pins."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from . import strict_yaml
from .converters import expected
from .errors import nearest
from .kinds import OPENINGS
from .rules import Violation
from .schema import (
    CoverConfig,
    InputConfig,
    Name,
    OutputConfig,
    PinConfig,
    Presses,
    Travel,
    TravelSeconds,
)
from .strict_yaml import Node, line_of, quote, show

MIN_PAUSE_S = 0.5
"""The least `group_pause` of a drive's outputs: the time that a motor takes to stand still."""
_EXAMPLES: dict[Any, str] = {
    Travel: "15, or {up: 24, down: 22}",
    Presses | None: "{opening: stop, closing: reverse, stopped: opposite}",
}
_OUTPUTS = ("button", "up", "down")
_CONTACTS = ("closed", "opened")
_LAST_PULLED_UP = 8
_ON_COVER = ("confirm", "control")
"""Keys that stand on a cover, not on its outputs."""


class Reader(Protocol):
    """The parser of the whole file."""

    lines: dict[str, int]

    @property
    def errors(self) -> list[Any]:
        """The errors found so far."""

    def error(self, line: int, key: str, message: str) -> None:
        """Add an error."""

    def entries(self, node: Node, path: str, hint: str = "") -> Iterator[tuple[str, int, Any]]:
        """Yield key, line and value node of each entry of a mapping; add errors for all else."""

    def mapping(
        self,
        node: Node,
        path: str,
        struct: Any,
        not_yet: Mapping[str, str] = {},
        given: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return the values of those keys of `struct` that are in `node` and valid."""

    def value(self, node: Node, path: str, kind: Any) -> Any:
        """Return the value in `node`, of the type `kind`, or a placeholder after an error."""

    def report(self, path: str, violation: Violation) -> None:
        """Add an error in the line of a key below `path`, else in the line of `path`."""

    def check_text(self, node: Node, path: str, what: str) -> None:
        """Warn of a text whose end YAML reads as a comment, or which has quotes of its own."""


class CoverReader:
    """Parser of the covers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.sections: dict[Any, Callable[[Node, str], Any]] = {
            Travel: self._travel,
            Presses | None: partial(self._part, Presses, Presses | None),
        }
        """The functions that read the types of a cover's keys."""

    def read(self, node: Node, path: str) -> tuple[CoverConfig, ...]:
        """Return the covers without errors, in the order of the file."""
        reader = self._reader
        covers: list[CoverConfig] = []
        for name, line, body in reader.entries(node, path):
            shown = name if name.isprintable() and len(name) <= 40 else quote(name)
            before, own_path = len(reader.errors), f"{path}.{shown}"
            try:
                msgspec.convert(name, Name)
            except msgspec.ValidationError:
                reader.error(line, own_path, f"expected {expected(Name)}, got {quote(name)}")
            reader.lines[own_path] = line
            nodes = body.value if strict_yaml.is_mapping(body) else ()
            scalars = [(key, value) for key, value in nodes if strict_yaml.is_scalar(key)]
            present = {key.value: line_of(key) for key, _ in scalars}
            reader.lines |= {f"{own_path}.{key}": at for key, at in present.items()}
            values = reader.mapping(body, own_path, CoverConfig, given=["name"])
            for key, value in scalars:
                if key.value in ("label", "room"):
                    reader.check_text(value, f"{own_path}.{key.value}", key.value)
            if strict_yaml.is_mapping(body) or strict_yaml.is_empty(body):
                for violation in _keys(present):
                    reader.report(own_path, violation)
            if len(reader.errors) == before:
                kind = "garage_door" if "button" in values else "shutter"
                covers.append(CoverConfig(**{"name": name, "label": name, "kind": kind, **values}))
        return tuple(covers)

    def _travel(self, node: Node, path: str) -> Any:
        if strict_yaml.is_mapping(node):
            return self._part(Travel, Travel, node, path)
        seconds = self._reader.value(node, path, TravelSeconds)
        return Travel(up=seconds, down=seconds) if isinstance(seconds, float) else seconds

    def _part(self, struct: type[Struct], kind: Any, node: Node, path: str) -> Any:
        """Return a struct whose keys are all needed."""
        reader = self._reader
        if strict_yaml.is_empty(node) or not strict_yaml.is_mapping(node):
            message = f"expected {_EXAMPLES[kind]}, got {show(node)}"
            reader.error(line_of(node), path, message)
            return None
        before = len(reader.errors)
        values = reader.mapping(node, path, struct)
        present = {key.value for key, _ in node.value if strict_yaml.is_scalar(key)}
        for field in msgspec.structs.fields(struct):
            if field.name not in present:
                message = f"expected {expected(field.type)}, got nothing"
                reader.error(line_of(node), f"{path}.{field.name}", message)
        return struct(**values) if len(reader.errors) == before else None


def _keys(present: Container[str]) -> Iterator[Violation]:
    """Check which keys of a cover are `present` together."""
    if "travel" not in present:
        message = "expected the seconds from one end to the other, got nothing"
        yield Violation("travel", f"{message}; write travel: 15, for example")
    if "button" in present:
        for key in ("up", "down"):
            if key in present:
                yield Violation(key, "expected button, or up and down, got it beside button")
        if "closed" not in present:
            message = "expected the contact at the closed end, got nothing: a drive with one button"
            yield Violation("closed", f"{message} moves blindly without; write closed: NAME")
        return
    if "up" not in present and "down" not in present:
        yield Violation("button", "expected button, or up and down, got none of them")
    for key, other in (("up", "down"), ("down", "up")):
        if key in present and other not in present:
            yield Violation(other, f"expected an output together with {key}, got nothing", key)
    if "presses" in present:
        yield Violation("presses", "expected only with button, got it with up and down")


def check(covers: tuple[CoverConfig, ...], pins: Mapping[str, PinConfig], reader: Reader) -> None:
    """Check covers against the pins, once all are read and have no errors."""
    users: dict[str, str] = {}
    for cover in covers:
        path = f"covers.{cover.name}"
        for violation in _cover(cover, pins, users):
            reader.report(path, violation)


def _cover(
    cover: CoverConfig, pins: Mapping[str, PinConfig], users: dict[str, str]
) -> Iterator[Violation]:
    if cover.name in pins:
        message = "expected another name than that of a pin, since rules name both"
        yield Violation("", f"{message}, got {cover.name}")
    wrong = False
    for key in (*_OUTPUTS, *_CONTACTS):
        name = getattr(cover, key)
        if name is None:
            continue
        wanted: type[PinConfig] = InputConfig if key in _CONTACTS else OutputConfig
        pin = pins.get(name)
        if not isinstance(pin, wanted):
            wrong = True
            what = _what(name, pin, pins)
            needed = "an input" if wanted is InputConfig else "an output"
            yield Violation(key, f"expected {needed}, got {name}, which is {what}")
        elif name in users:
            wrong = True
            other = "this cover already" if users[name] == cover.name else f"cover {users[name]}"
            yield Violation(key, f"expected a pin of its own, got {name}, which {other} has")
        users.setdefault(name, cover.name)
    if wrong:
        return
    outputs = [(key, pins[name]) for key in _OUTPUTS if (name := getattr(cover, key))]
    for key, pin in outputs:
        assert isinstance(pin, OutputConfig)
        yield from _output(key, pin, cover)
    if len(outputs) == 2:
        yield from _pair(*(pin for _, pin in outputs))


def _output(key: str, pin: OutputConfig, cover: CoverConfig) -> Iterator[Violation]:
    """Check an output of a cover."""
    fault = ""
    if pin.initial != "off":
        fault = f"initial: {pin.initial}, which could move it at a start; write initial: off"
    for other, how in (("on_stop", pin.on_stop), ("on_failure", pin.on_failure)):
        if how not in ("off", "input"):
            fault = f"{other}: {how}, which could move it without a server; write {other}: off"
    if pin.manual_hold:
        fault = "manual_hold, which would end its motion; remove it"
    for other in _ON_COVER:
        if getattr(pin, other):
            fault = f"{other}; write {other} below the cover, where it counts"
    if key == "button":
        if not pin.pulse:
            fault = "no pulse, although a button is pressed for a moment; write pulse: 0.5 below it"
        elif pin.group:
            fault = "group, for which a press could wait; remove it"
    else:
        seconds = cover.travel.up if key == "up" else cover.travel.down
        if pin.pulse:
            fault = "pulse, which would end its motion; remove it"
        elif pin.max_on and pin.max_on < seconds:
            fault = f"max_on: {pin.max_on:g}, which is less than its travel of {seconds:g} seconds"
    if fault:
        yield Violation(key, f"expected an output for a cover, got {pin.name} with {fault}")


def _pair(up: PinConfig, down: PinConfig) -> Iterator[Violation]:
    """Check the two outputs of a cover against each other."""
    assert isinstance(up, OutputConfig) and isinstance(down, OutputConfig)
    if up.group is None or up.group != down.group:
        message = f"expected two outputs of one group, got {up.name} and {down.name}"
        yield Violation("down", f"{message}; write group: NAME and group_pause: 0.5 below both")
        return
    for key, pin in (("up", up), ("down", down)):
        if pin.group_pause < MIN_PAUSE_S:
            message = f"expected a group_pause of at least {MIN_PAUSE_S:g} seconds, since a motor"
            yield Violation(key, f"{message} runs on, got {pin.group_pause:g} for {pin.name}")


def doubts(cover: CoverConfig, pins: Mapping[str, PinConfig]) -> Iterator[Violation]:
    """Check a cover for values that are allowed but may be mistakes."""
    for key in _OUTPUTS:
        output = pins.get(getattr(cover, key) or "")
        if isinstance(output, OutputConfig) and _is_on_in_boot(output):
            words = f"expected an output that is off while the Pi starts, got {output.name} with"
            others = "GPIO9 to GPIO27" if output.active == "high" else "GPIO4 to GPIO8"
            found = f"active: {output.active} on GPIO{output.gpio}, which may move the cover then"
            yield Violation(key, f"{words} {found}; connect it to one of {others}")
    pin = pins.get(cover.opened or "")
    if not isinstance(pin, InputConfig) or pin.kind not in OPENINGS or pin.pull == "none":
        return
    if (pin.active == "high") == (pin.pull == "up"):
        message = f"{pin.name} is 1 while its contact is open; a contact that closes at the open"
        yield Violation("opened", f"{message} end has no kind: {pin.kind}")


def _is_on_in_boot(pin: OutputConfig) -> bool:
    """Return True if an output is on until the server has it.

    Until then lines are inputs, with a pull-up for GPIO0 to GPIO8 and a pull-down for all others
    (BCM2835 ARM Peripherals, table 6-31; the same on later Pis).
    """
    return (pin.gpio <= _LAST_PULLED_UP) == (pin.active == "high")


def _what(name: str, pin: PinConfig | None, pins: Mapping[str, PinConfig]) -> str:
    if pin is None:
        near = nearest(name, pins)
        return f"no pin (did you mean {near}?)" if near else "no pin"
    mode = pin.__struct_config__.tag
    return "an input" if mode == "input" else f"an {mode}" if mode == "output" else f"a {mode} pin"


def is_reached(cover: CoverConfig, contact: InputConfig, value: int) -> bool:
    """Return True if a value of a contact says that its end is reached.

    An input of the kind door and the like is 1 while it is open.
    """
    is_inverse = contact.name == cover.closed and contact.kind in OPENINGS
    return value == (0 if is_inverse else 1)
