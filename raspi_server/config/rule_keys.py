"""Parser of the section `rules`, and the rules for combinations of its keys."""

import re
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, get_args

import msgspec

from . import schedule_rules, strict_yaml
from .converters import choice, expected
from .errors import nearest
from .kinds import OPENINGS
from .rules import Violation, needs_unattended, no_cover, no_position, what_moves
from .schema import (
    NAME,
    CoverConfig,
    CoverGoals,
    DrivenConfig,
    Goal,
    InputConfig,
    Location,
    Name,
    OnlyConfig,
    OutputConfig,
    PinConfig,
    PinNames,
    PinValues,
    PwmConfig,
    RuleConfig,
    SunEvent,
)
from .strict_yaml import Node, line_of, quote, show

_ACTIONS = ("turn_on", "turn_off", "toggle", "set", "pulse", "move")
_OF_OUTPUTS = _ACTIONS[:-1]
_STATES = ("turn_on", "turn_off", "set")
"""The actions that can last."""
_NO_MESSAGES = "this release sends no messages; a rule with for can switch an output"
NOT_YET = {
    "notify": f"expected no notify: {_NO_MESSAGES}",
    "repeat": f"expected no repeat: {_NO_MESSAGES}",
    "done": f"expected no done: {_NO_MESSAGES}",
}
"""Keys that a later release will have, each with its message."""
_NO_CLOCK = "; a rule follows pins, and a schedule the clock"
_CONDITION = re.compile(r"([a-z][a-z0-9_-]*) *(?: is |=|==) *(?:on|1|true|open|pressed|active)")
_NEGATION = re.compile(
    r"(?:not +|! *)(?P<not>[a-z][a-z0-9_-]*)"
    r"|(?P<off>[a-z][a-z0-9_-]*) *(?: is |=|==) *(?:off|0|false|closed|released|inactive)"
)
_BETWEEN_NAMES = r" *[,;+&] *| +(?:and|or) +"
_FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(RuleConfig)}
_WINDOW = {field.encode_name: field for field in msgspec.structs.fields(OnlyConfig)}


class Reader(Protocol):
    """The parser of the whole file."""

    @property
    def errors(self) -> list[Any]:
        """The errors found so far."""

    def error(self, line: int, key: str, message: str) -> None:
        """Add an error."""

    def entries(self, node: Node, path: str, hint: str = "") -> Iterator[tuple[str, int, Any]]:
        """Yield key, line and value node of each entry of a mapping; add errors for all else."""

    def mapping(
        self, node: Node, path: str, struct: Any, not_yet: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        """Return the values of those keys of `struct` that are in `node` and valid."""

    def value(self, node: Node, path: str, kind: Any) -> Any:
        """Return the value in `node`, of the type `kind`, or a placeholder after an error."""


class RuleReader:
    """Parser of the rules. It knows the line of each of their keys."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.lines: dict[str, int] = {}
        """The lines of rules, their keys, and the pins below them, by dotted path."""
        self.sections: dict[Any, Callable[[Node, str], Any]] = {
            PinNames: self._names,
            PinValues: partial(self._values, PinValues),
            CoverGoals: partial(self._values, CoverGoals),
            OnlyConfig | None: self._window,
        }
        """The functions that read the types of a rule's keys."""

    def read(self, node: Node, path: str) -> dict[str, RuleConfig]:
        """Return the rules without errors, in the order of the file."""
        reader = self._reader
        rules: dict[str, RuleConfig] = {}
        for name, line, body in reader.entries(node, path):
            shown = name if name.isprintable() and len(name) <= 40 else quote(name)
            before, own_path = len(reader.errors), f"{path}.{shown}"
            try:
                msgspec.convert(name, Name)
            except msgspec.ValidationError:
                reader.error(line, own_path, f"expected {expected(Name)}, got {quote(name)}")
            self.lines[own_path] = line
            nodes = body.value if strict_yaml.is_mapping(body) else ()
            present = {key.value: line_of(key) for key, _ in nodes if strict_yaml.is_scalar(key)}
            self.lines |= {f"{own_path}.{key}": at for key, at in present.items()}
            values = reader.mapping(body, own_path, RuleConfig, NOT_YET)
            if strict_yaml.is_mapping(body) or strict_yaml.is_empty(body):
                self._report(own_path, _keys(present))
            if len(reader.errors) == before:
                rules[name] = RuleConfig(**{_FIELDS[key]: values[key] for key in values})
        return rules

    def check(
        self,
        rules: Mapping[str, RuleConfig],
        pins: Mapping[str, PinConfig],
        covers: Mapping[str, CoverConfig],
        location: Location | None,
    ) -> None:
        """Check the rules against all they name, once all is read and has no errors."""
        before = len(self._reader.errors)
        for name, rule in rules.items():
            path = f"rules.{name}"
            self._report(path, _sources(rule, pins, covers))
            self._report(path, _targets(rule, pins, covers))
            self._report(path, _moves(rule, pins, covers))
            if rule.only:
                times = {"from": rule.only.begin, "to": rule.only.end}
                self._report(f"{path}.only", schedule_rules.sun(times, location))
        if len(self._reader.errors) == before:
            for circle in _circles(rules, pins, covers):
                self._report_circle(circle, rules)

    def _report(self, path: str, violations: Iterator[Violation]) -> None:
        for violation in violations:
            line = self.lines.get(f"{path}.{violation.line_key}", self.lines[path])
            self._reader.error(line, f"{path}.{violation.key}", violation.message)

    def _report_circle(self, circle: list["_Step"], rules: Mapping[str, RuleConfig]) -> None:
        """Report a circle in the line of its last rule; the message names the lines of all."""
        lines = {step.rule: self.lines[f"rules.{step.rule}"] for step in circle}
        words = [f"{step.rule} (line {lines[step.rule]}) {step}" for step in circle]
        last = max(lines, key=lambda rule: lines[rule])
        message = f"expected rules that do not start each other in a circle: {', and '.join(words)}"
        rule, step = rules[last], circle[-1]
        if rule.for_ and step.source == step.target and step.target in rule.turn_off:
            message += f"; write max_on: {rule.for_:g} below {step.target}, for the same"
        self._reader.error(lines[last], f"rules.{last}", message)

    def _names(self, node: Node, path: str) -> tuple[str, ...]:
        """Return one name, or the names in a list."""
        items = node.value if strict_yaml.is_list(node) else [node]
        if not items or strict_yaml.is_empty(node) or strict_yaml.is_mapping(node):
            got = f"{show(node)}{_hint(_condition(node))}" if items else "an empty list"
            self._reader.error(line_of(node), path, f"expected {expected(PinNames)}, got {got}")
            return ()
        if strict_yaml.is_scalar(node) and (hint := _hint(node.value)):
            message = f"expected {expected(PinNames)}, got {quote(node.value)}{hint}"
            self._reader.error(line_of(node), path, message)
            return ()
        names = [(self._reader.value(item, path, Name), item) for item in items]
        for name, item in names:
            if isinstance(name, str):
                self._note(path, name, item)
        return tuple(name for name, _ in names)

    def _values(self, mapping: Any, node: Node, path: str) -> dict[str, Any]:
        """Return the values of pins or the goals of covers, from one mapping or a list of them."""
        kind = mapping.__origin__.__args__[1]
        parts = node.value if strict_yaml.is_list(node) else [node]
        found: dict[str, Any] = {}
        for part in parts:
            if strict_yaml.is_empty(part) or not strict_yaml.is_mapping(part) or not part.value:
                got = "{}" if strict_yaml.is_mapping(part) else show(part)
                message = f"expected {expected(mapping)}, got {got}"
                self._reader.error(line_of(part), path, message)
                continue
            for name, _, value in self._reader.entries(part, path):
                self._note(path, name, value)
                found[name] = self._reader.value(value, path, kind)
        if not parts:
            message = f"expected {expected(mapping)}, got an empty list"
            self._reader.error(line_of(node), path, message)
        return found

    def _note(self, path: str, name: str, node: Node) -> None:
        """Note the line of a name below a key. In a rule a second one is an error."""
        own_path = f"{path}.{name}"
        if own_path in self.lines and path.startswith("rules."):
            line = self.lines[own_path]
            what = "cover" if path.endswith(".move") else "pin"
            message = f"expected each {what} once, got {quote(name)} in line {line} already"
            self._reader.error(line_of(node), path, message)
        self.lines.setdefault(own_path, line_of(node))

    def _window(self, node: Node, path: str) -> OnlyConfig | None:
        example = "{from: sunset, to: 23:00}"
        if strict_yaml.is_empty(node) or not strict_yaml.is_mapping(node):
            message = f"expected a window such as {example}, got {show(node)}"
            self._reader.error(line_of(node), path, message)
            return None
        values = self._reader.mapping(node, path, OnlyConfig)
        present = {key.value for key, _ in node.value if strict_yaml.is_scalar(key)}
        for key, field in _WINDOW.items():
            if key not in present:
                message = f"expected {expected(field.type)}, got nothing"
                self._reader.error(line_of(node), f"{path}.{key}", message)
        self.lines |= {path: line_of(node)} | {
            f"{path}.{key.value}": line_of(key)
            for key, _ in node.value
            if strict_yaml.is_scalar(key)
        }
        self._report(path, schedule_rules.window(values))
        found = {_WINDOW[key].name: value for key, value in values.items()}
        return OnlyConfig(**found) if len(found) == 2 else None


def _condition(node: Node) -> str:
    """Return the condition in a mapping such as {pin: door, value: 1}, as text, or nothing."""
    found: dict[str, str] = {}
    for key, value in node.value if strict_yaml.is_mapping(node) else ():
        if strict_yaml.is_scalar(key) and strict_yaml.is_scalar(value):
            found[key.value] = value.value
    value = found.get("value", found.get("state", found.get("is")))
    return f"{found['pin']} is {value}" if "pin" in found and value else ""


def _hint(text: str) -> str:
    """Return what to write for a text that is no name of a pin, or an empty text."""
    if re.match("[0-9]", text):
        return _NO_CLOCK
    if match := _CONDITION.fullmatch(text):
        return f" (write {match[1]})"
    if match := _NEGATION.fullmatch(text):
        name = match["not"] or match["off"]
        words = f"; a rule follows what is on. For the opposite change active of {name}"
        return f"{words}, or write while: {name} and turn_off"
    names = re.split(_BETWEEN_NAMES, text)
    is_list = len(names) > 1 and all(re.fullmatch(NAME, name) for name in names)
    return f" (write [{', '.join(names)}])" if is_list else ""


def _keys(present: Container[str]) -> Iterator[Violation]:
    """Check which keys of a rule are `present` together."""
    if "when" in present and "while" in present:
        message = "expected when (at a change) or while (as long as a pin is on), got both"
        yield Violation("while", message)
    elif "when" not in present and "while" not in present:
        yield Violation("when", f"expected {expected(PinNames)}, got neither when nor while")
    if not any(key in present for key in (*_ACTIONS, *NOT_YET)):
        message = f"expected at least one of {choice(_ACTIONS)}, got none"
        yield Violation("turn_on", f"{message}; write turn_on: lamp, for example")
    if "press" in present:
        for key in ("while", "for"):
            if key in present:
                hint = "; press: long is a press of 0.8 seconds" if key == "for" else ""
                yield Violation(key, f"expected only without press, got it with press{hint}")
    for key in ("while", "hold"):
        for action in _ACTIONS:
            if key in present and action in present and action not in _STATES:
                message = f"expected {choice(_STATES)} with {key}, got {action}"
                hint = "; write when in place of while" if key == "while" else ", which cannot last"
                if action == "move":  # a cover stays where it went
                    way = "write when in place of while" if key == "while" else "leave out hold"
                    hint = f", which happens once; {way}"
                yield Violation(action, message + hint)


def _sources(
    rule: RuleConfig, pins: Mapping[str, PinConfig], covers: Mapping[str, CoverConfig]
) -> Iterator[Violation]:
    """Check the pins and covers that a rule depends on."""
    key = "when" if rule.when else "while"
    for name in rule.sources:
        if name in covers:
            if rule.press:
                message = f"expected an input with press, got {name}, which is a cover"
                yield Violation(key, message, f"{key}.{name}")
        elif name not in pins:
            hint = _NO_CLOCK if name in get_args(SunEvent) else ""
            message = f"expected a pin, got {name}, which is {_unknown(name, pins, covers)}{hint}"
            yield Violation(key, message, f"{key}.{name}")
        elif rule.press and not isinstance(pins[name], InputConfig):
            message = f"expected an input with press, got {name}, which is an output"
            yield Violation(key, message, f"{key}.{name}")


def _targets(
    rule: RuleConfig, pins: Mapping[str, PinConfig], covers: Mapping[str, CoverConfig]
) -> Iterator[Violation]:
    """Check the pins that a rule switches."""
    keys: dict[str, str] = {}
    groups: dict[str, str] = {}
    for key, name in _actions(rule):
        pin, at = pins.get(name), f"{key}.{name}"
        if name in covers:
            message = f"expected an output or a pwm pin, got {name}, which is a cover"
            yield Violation(key, f"{message}; write move: {{{name}: close}}", at)
            continue
        if mover := what_moves(name, covers):
            message = f"expected an output of no cover, got {name}, which is one of {mover}"
            yield Violation(key, f"{message}; write move: {{{mover}: close}}", at)
            continue
        if not isinstance(pin, DrivenConfig):
            what = "an input" if pin else _unknown(name, pins, covers)
            message = f"expected an output or a pwm pin, got {name}, which is {what}"
            yield Violation(key, message, at)
            continue
        if keys.setdefault(name, key) != key:
            yield Violation(key, f"expected one action for {name}, got {keys[name]}, too", at)
        if pin.confirm and not rule.unattended:
            message = f"expected true, since {name} has confirm: true and a rule asks nobody"
            yield Violation("unattended", f"{message}; write unattended: true", at)
        value = rule.set_.get(name, 0)
        if key == "set" and value not in (0, 1) and not isinstance(pin, PwmConfig):
            message = f"expected 0 or 1 for {name}, got {value:g}; only a pwm pin can be dimmed"
            yield Violation(key, message, at)
        if not isinstance(pin, OutputConfig):
            if key == "pulse":
                message = f"expected an output with pulse, got {name}, which is a pwm pin"
                yield Violation(key, f"{message}; write turn_on and hold", at)
            continue
        if key == "pulse" and not pin.pulse:
            message = f"expected an output with pulse, got {name}, which has no pulse of its own"
            yield Violation(key, message, at)
        if (
            pin.group
            and _switches_on(rule, key, name)
            and groups.setdefault(pin.group, name) != name
        ):
            message = f"expected one output of group {pin.group}, got {name} and"
            yield Violation(key, f"{message} {groups[pin.group]}: at most one of them is on", at)


def _moves(
    rule: RuleConfig, pins: Mapping[str, PinConfig], covers: Mapping[str, CoverConfig]
) -> Iterator[Violation]:
    """Check the covers that a rule moves."""
    for name, goal in rule.move.items():
        at = f"move.{name}"
        cover = covers.get(name)
        if cover is None:
            yield Violation("move", no_cover(name, pins, covers), at)
            continue
        if message := needs_unattended(cover, rule.unattended, "a rule"):
            yield Violation("unattended", message, at)
        if message := no_position(cover, goal):
            yield Violation("move", message, at)


def _actions(rule: RuleConfig) -> Iterator[tuple[str, str]]:
    """Yield the key and the pin of each action of a rule that switches pins."""
    for key in _OF_OUTPUTS:
        for name in getattr(rule, _FIELDS[key]):
            yield key, name


def _switches_on(rule: RuleConfig, key: str, name: str) -> bool:
    """Tell if an action may switch an output on."""
    return key != "turn_off" and not (key == "set" and rule.set_[name] == 0)


def _unknown(name: str, pins: Mapping[str, PinConfig], covers: Mapping[str, CoverConfig]) -> str:
    near = nearest(name, [*pins, *covers])
    return f"no pin (did you mean {near}?)" if near else "no pin"


class _Step:
    """One rule of a circle: it switches or moves `target`, and so `reaches` another source."""

    def __init__(self, rule: str, source: str, target: str, reaches: str, does: str) -> None:
        self.rule, self.source, self.target, self.reaches = rule, source, target, reaches
        self._does = does

    def __str__(self) -> str:
        how = "in the group of" if self._does == "switches" else "which has"
        beside = "" if self.reaches == self.target else f", {how} {self.reaches},"
        return f"{self._does} {self.target}{beside} when {self.source} changes"


def _circles(
    rules: Mapping[str, RuleConfig],
    pins: Mapping[str, PinConfig],
    covers: Mapping[str, CoverConfig],
) -> Iterator[list[_Step]]:
    """Yield the shortest circle of each rule that is in one, each circle once.

    It leads through outputs, covers, and the pins of covers.
    """
    steps: dict[str, list[_Step]] = {}
    moving = {pin for cover in covers.values() for pin in cover.pins} | covers.keys()
    for name, rule in rules.items():
        for source in rule.sources:
            if source in moving or isinstance(pins[source], DrivenConfig):
                steps.setdefault(source, []).extend(_steps(name, rule, source, pins, covers))
    seen: set[frozenset[str]] = set()
    for source in steps:
        circle = _circle(source, steps)
        members = frozenset(step.rule for step in circle)
        if circle and members not in seen:
            seen.add(members)
            yield circle


def _steps(
    name: str,
    rule: RuleConfig,
    source: str,
    pins: Mapping[str, PinConfig],
    covers: Mapping[str, CoverConfig],
) -> Iterator[_Step]:
    """Yield where a rule leads from one of its sources."""
    for key, target in _actions(rule):
        for reached in _reached(target, pins, _switches_on(rule, key, target)):
            yield _Step(name, source, target, reached, "switches")
    for target, goal in rule.move.items():
        for reached in _set_going(covers[target], goal, pins):
            yield _Step(name, source, target, reached, "moves")


def _circle(output: str, steps: Mapping[str, list[_Step]]) -> list[_Step]:
    """Return the shortest way from an output back to itself, or nothing."""
    ways: list[list[_Step]] = [[step] for step in steps[output]]
    visited: set[str] = set()
    for way in ways:  # it grows meanwhile: the shortest ways come first
        last = way[-1].reaches
        if last == output:
            return way
        if last not in visited:
            visited.add(last)
            ways += [[*way, step] for step in steps.get(last, ())]
    return []


def _reached(target: str, pins: Mapping[str, PinConfig], switches_on: bool) -> Iterator[str]:
    """Yield an output, and those of its group that go off when it goes on."""
    group = getattr(pins[target], "group", None) if switches_on else None
    yield target
    for name, pin in pins.items():
        if group and name != target and getattr(pin, "group", None) == group:
            yield name


def _set_going(cover: CoverConfig, goal: Goal, pins: Mapping[str, PinConfig]) -> Iterator[str]:
    """Yield what may go on when a cover moves: the cover itself, its contacts and outputs.

    On its way to be closed the cover goes off, which starts no rule.
    """
    may_open, may_close = goal not in ("close", 0), goal not in ("open", 100)
    if may_open:
        yield cover.name
    for name, is_used in (
        (cover.button, True),
        (cover.up, may_open),
        (cover.down, may_close),
        (cover.opened, may_open),
    ):
        if name and is_used:
            yield name
    if cover.closed:
        is_open_contact = getattr(pins.get(cover.closed), "kind", None) in OPENINGS
        if may_open if is_open_contact else may_close:
            yield cover.closed
