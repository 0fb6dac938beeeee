"""Rules for combinations of keys. Each yields its violations; the parser adds the lines."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .converters import expected
from .errors import nearest
from .kinds import PRESSED
from .schema import (
    LONG_PULSE_S,
    AccessConfig,
    BrokerUrl,
    CoverConfig,
    DrivenConfig,
    Goal,
    HookConfig,
    InputConfig,
    OutputConfig,
    PinConfig,
)


class Violation(NamedTuple):
    """A violated rule: the key that is wrong or missing.

    `shown_at` is the key whose line to show, if that is another one.
    """

    key: str
    message: str
    shown_at: str | None = None

    @property
    def line_key(self) -> str:
        """The key whose line to show."""
        return self.shown_at or self.key


def broker(present: Container[str], values: Mapping[str, Any]) -> Iterator[Violation]:
    """Check the keys of `mqtt`: those `present`, and the `values` of those that are valid."""
    if "url" not in present:
        yield Violation("url", f"expected {expected(BrokerUrl)}, got nothing")
    for key, other in (
        ("password_file", "user"),
        ("certificate", "key"),
        ("key", "certificate"),
    ):
        if key in present and other not in present:
            yield Violation(other, f"expected together with {key}, got nothing", key)
    is_secure = str(values.get("url")).startswith("mqtts:")
    for key in ("ca", "certificate", "key"):
        if key in present and "url" in values and not is_secure:
            yield Violation(key, "expected only with a url that begins with mqtts://")
    topic = values.get("topic")
    if values.get("fleet") and topic and "/" not in topic:
        message = f"expected two levels or more with fleet, such as house/{topic}, got {topic}"
        yield Violation("topic", message)


def conflicts(pin: PinConfig, present: Container[str]) -> Iterator[Violation]:
    """Check the `present` keys of a pin against each other.

    An output with a time limit may be on only while a server runs, which switches it off in time.
    """
    if not isinstance(pin, DrivenConfig):
        return
    if isinstance(pin, OutputConfig) and pin.kind in PRESSED and not pin.pulse:
        message = f"expected pulse beside kind: {pin.kind}, which is pressed, not switched on"
        yield Violation("kind", f"{message}; write pulse: 0.5 below it")
    pulse, group = (pin.pulse, pin.group) if isinstance(pin, OutputConfig) else (None, None)
    limit = "pulse" if pulse else "max_on" if pin.max_on else None
    if pulse and pin.initial == "on":
        message = "expected off, keep or restore, got on: every start would press it"
        yield Violation("initial", f"{message}; write initial: off")
    for key, how, moment in (
        ("on_stop", pin.on_stop, "while the server is stopped"),
        ("on_failure", pin.on_failure, "after a crash"),
    ):
        if limit and how in ("keep", "on"):
            message = f"expected off or input, got {how}: {limit} could not switch it off {moment}"
            yield Violation(key, f"{message}; write {key}: off")
        elif group and how == "on":  # no pause can be kept then
            message = "expected off, keep or input, got on, which a group does not allow"
            yield Violation(key, message)
    if "group_pause" in present and not group:
        message = "expected only beside group, got no group; write both or none"
        yield Violation("group_pause", message)


def wiring(pin: PinConfig) -> Iterator[Violation]:
    """Check a pin against the circuits on the board."""
    if isinstance(pin, InputConfig) and pin.gpio in (2, 3) and pin.pull != "up":
        message = f"expected up, got {pin.pull}: GPIO{pin.gpio} has a pull-up on the board"
        yield Violation("pull", message)


def doubts(pin: PinConfig) -> Iterator[Violation]:
    """Check a pin for values that are allowed but may be mistakes."""
    if pin.words and pin.words.on == pin.words.off:
        yield Violation("words", f"both states have the word {pin.words.on}")
    if isinstance(pin, OutputConfig) and (pin.pulse or 0) > LONG_PULSE_S:
        message = (
            f"{pin.pulse:g} seconds are long for a press (half a second is 0.5);"
            f" a switch that goes off by itself has max_on: {pin.pulse:g} instead"
        )
        yield Violation("pulse", message)


def initially_on(pin: PinConfig, others: Iterable[PinConfig]) -> Iterator[Violation]:
    """Check that no two outputs of one group start on."""
    if not isinstance(pin, OutputConfig) or pin.group is None:
        return
    for other in others:
        if not isinstance(other, OutputConfig) or pin.group != other.group:
            continue
        if pin.initial == other.initial == "on":
            message = (
                f"expected off, got on, which {other.name} has:"
                f" at most one output of group {pin.group} is on"
            )
            yield Violation("initial", message)


def what_moves(pin: str, covers: Mapping[str, CoverConfig]) -> str | None:
    """Return the name of the cover that has an output, or None."""
    return next((name for name, cover in covers.items() if pin in cover.outputs), None)


def no_cover(name: str, pins: Mapping[str, PinConfig], covers: Mapping[str, CoverConfig]) -> str:
    """Return the message for a name that no cover has."""
    what, hint = "no cover", ""
    if name in pins:
        what = "an output" if isinstance(pins[name], DrivenConfig) else "an input"
        mover = next((cover for cover, each in covers.items() if name in each.pins), None)
        hint = f"; write {mover}, the cover that has it" if mover else ""
    elif near := nearest(name, covers):
        hint = f" (did you mean {near}?)"
    return f"expected a cover, got {name}, which is {what}{hint}"


def needs_unattended(cover: CoverConfig, has_own: bool, what: str) -> str:
    """Return the message for a cover with `confirm` that `what` may not move, or ""."""
    if not cover.confirm or cover.unattended or has_own:
        return ""
    message = f"expected true, since {cover.name} has confirm: true and {what} asks nobody"
    return f"{message}; write unattended: true"


def no_position(cover: CoverConfig, goal: Goal) -> str:
    """Return the message for a goal that a cover cannot reach, or ""."""
    if isinstance(goal, str) or cover.has_position:
        return ""
    message = f"expected open or close, got {goal:g}: {cover.name} has one button"
    return f"{message}, and so no position"


HOOK_ACTIONS = "on, off, toggle or pulse, or for a cover open, close or stop"
_OF_PINS = ("on", "off", "toggle", "pulse")


def hook_keys(present: Container[str], values: Mapping[str, Any]) -> Iterator[Violation]:
    """Check the keys of a hook: those `present`, and the `values` of those that are valid."""
    if "pin" in present and "cover" in present:
        yield Violation("cover", "expected a pin or a cover, got both")
    elif "pin" not in present and "cover" not in present:
        yield Violation("pin", "expected the name of a pin, got nothing")
    elif "do" in values:
        do, of_pin = values["do"], "pin" in present
        if of_pin and do not in _OF_PINS:
            yield Violation("do", f"expected on, off, toggle or pulse for a pin, got {do}")
        elif not of_pin and do in _OF_PINS:
            yield Violation("do", f"expected open, close or stop for a cover, got {do}")
    if "do" not in present:
        yield Violation("do", f"expected {HOOK_ACTIONS}, got nothing")


def hook(
    hook: HookConfig,
    pins: Mapping[str, PinConfig],
    covers: Mapping[str, CoverConfig],
    access: AccessConfig,
) -> Iterator[Violation]:
    """Check a hook against the pin that it switches, or the cover that it moves."""
    if hook.cover is not None:
        yield from _cover_hook(hook, hook.cover, pins, covers, access)
        return
    name = hook.target
    pin = pins.get(name)
    if name in covers:
        message = f"expected an output or a pwm pin, got {name}, which is a cover"
        yield Violation("pin", f"{message}; write cover: {name}")
        return
    if mover := what_moves(name, covers):
        message = f"expected an output of no cover, got {name}, which is one of {mover}"
        yield Violation("pin", f"{message}; write cover: {mover} and do: open, for example")
        return
    if not isinstance(pin, DrivenConfig):
        near = None if pin else nearest(name, pins)
        what = "an input" if pin else f"no pin (did you mean {near}?)" if near else "no pin"
        yield Violation("pin", f"expected an output or a pwm pin, got {name}, which is {what}")
        return
    if (pin.control or access.control) == "nobody":
        key = f"pins.{pin.name}.control" if pin.control else "access.control"
        yield Violation(
            "pin", f"expected a pin that may be switched, got {pin.name} ({key}: nobody)"
        )
    if pin.confirm and not hook.unattended:
        message = f"expected true, since {pin.name} has confirm: true and a hook asks nobody"
        yield Violation("unattended", f"{message}; write unattended: true", "pin")
    if hook.do == "pulse" and not getattr(pin, "pulse", None):
        message = f"expected on, off or toggle, got pulse: {pin.name} has no pulse of its own"
        yield Violation("do", message)


def _cover_hook(
    hook: HookConfig,
    name: str,
    pins: Mapping[str, PinConfig],
    covers: Mapping[str, CoverConfig],
    access: AccessConfig,
) -> Iterator[Violation]:
    cover = covers.get(name)
    if cover is None:
        yield Violation("cover", no_cover(name, pins, covers))
        return
    if (cover.control or access.control) == "nobody":
        key = f"covers.{name}.control" if cover.control else "access.control"
        message = f"expected a cover that may be moved, got {name} ({key}: nobody)"
        yield Violation("cover", message)
    if message := needs_unattended(cover, hook.unattended, "a hook"):
        yield Violation("unattended", message, "cover")
    if hook.do == "stop" and not cover.can_stop:
        message = f"expected open or close, got stop: a press may not stop {name}"
        hint = "write presses: below the cover, which says what a press does"
        yield Violation("do", f"{message}; {hint}")


def group_of_one(group: str, others: Iterable[str]) -> str:
    """Return the message for a group with only one output; `others` are the other groups."""
    near = nearest(group, others)
    hint = f"did you mean {near}?" if near else "one output alone needs no group"
    return f"expected a name that two outputs or more have, got {group} here only ({hint})"
