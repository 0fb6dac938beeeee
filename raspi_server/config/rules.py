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
    DrivenConfig,
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


HOOK_ACTIONS = "on, off, toggle or pulse"


def hook(
    hook: HookConfig, pins: Mapping[str, PinConfig], access: AccessConfig
) -> Iterator[Violation]:
    """Check a hook against the pin that it switches."""
    pin = pins.get(hook.pin)
    if not isinstance(pin, DrivenConfig):
        near = None if pin else nearest(hook.pin, pins)
        what = "an input" if pin else f"no pin (did you mean {near}?)" if near else "no pin"
        yield Violation("pin", f"expected an output or a pwm pin, got {hook.pin}, which is {what}")
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


def group_of_one(group: str, others: Iterable[str]) -> str:
    """Return the message for a group with only one output; `others` are the other groups."""
    near = nearest(group, others)
    hint = f"did you mean {near}?" if near else "one output alone needs no group"
    return f"expected a name that two outputs or more have, got {group} here only ({hint})"
