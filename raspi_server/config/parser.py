"""Parser of config.yaml.

It compares the YAML nodes with the structs of the schema. The result is a `Config`, or all errors
at once, each with its line and what was expected.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from . import cover_rules, rules, schedule_rules, strict_yaml
from .converters import advice, choice, converter, expected, meant_days
from .cover_rules import CoverReader
from .errors import ConfigError, Diagnostic, Fault, told_once
from .kinds import BUTTON_DEBOUNCE_S, OPENINGS
from .pinout import POSITION_BY_GPIO
from .rule_keys import RuleReader
from .rules import Violation
from .schema import (
    MODES,
    NAME,
    AccessConfig,
    AnyPin,
    CertificateFiles,
    Config,
    CoverConfig,
    Day,
    Gpio,
    HookConfig,
    HookConfigs,
    HostName,
    Label,
    Location,
    MqttConfig,
    Name,
    PageOrigin,
    PinConfig,
    Press,
    ProxyNetwork,
    RuleConfigs,
    ScheduleConfig,
    ScheduleConfigs,
    TimeOfDay,
    Words,
)
from .strict_yaml import Node, YamlError, line_of, quote, show
from .unknown_keys import has_alike, misplaced, unknown

MAX_PINS = len(POSITION_BY_GPIO)


def parse(
    data: bytes,
    name: str,
    folder: Path,
    warnings: list[Diagnostic] | None = None,
    has_run: bool = False,
    lines: dict[str, int] | None = None,
) -> Config:
    """Return the configuration in the text `data`. Raise ConfigError with all errors.

    Messages name the file `name`. Relative paths are relative to `folder`. Warnings about values
    that are allowed but may be mistakes are added to `warnings`. The lines of the keys of schedules
    and rules are added to `lines`, by their dotted paths.

    A configuration that `has_run` may be from an older release that accepted more. If two of its
    keys conflict, the wrong one is ignored with a warning.
    """
    found_warnings: list[Diagnostic] = []
    try:
        return _parse(data, name, folder, found_warnings, has_run, lines)
    except ConfigError as error:
        found_warnings.clear()
        read = partial(_parse, name=name, folder=folder, warnings=found_warnings, has_run=has_run)
        raise ConfigError(_without_secrets(error, data, read)) from None
    finally:
        if warnings is not None:
            warnings += sorted(found_warnings, key=lambda warning: warning.line or 0)


def _without_secrets(
    error: ConfigError, data: bytes, read: Callable[[bytes], Config]
) -> list[Diagnostic]:
    """Return the errors of a configuration as they are without the passwords that are in it."""
    from . import masking  # only for a configuration with an error: a start is slow on a small Pi

    try:
        read(masking.masked(strict_yaml.decode(data)).encode())
    except YamlError:  # it is no text
        return list(error.errors)
    except ConfigError as found:
        return list(found.errors)
    message = "expected another value here, got one that is not shown: it may be a password"
    return [each._replace(key="", message=message, excerpt=()) for each in error.errors]


def _parse(
    data: bytes,
    name: str,
    folder: Path,
    warnings: list[Diagnostic],
    has_run: bool = False,
    lines: dict[str, int] | None = None,
) -> Config:
    try:
        root = strict_yaml.compose(data, may_have_anchors=has_run)
    except YamlError as error:
        found = _mistakes_in_lines(data, name, error)
        found = found or [Diagnostic(name, error.line, "", str(error))]
        raise ConfigError(told_once(found)) from None
    parser = _Parser(name, folder, has_run, data)
    values = {} if root is None or strict_yaml.is_empty(root) else parser.mapping(root, "", Config)
    parser.check_references(values)
    if lines is not None:
        lines.update(parser.lines | parser.rule_lines)
    warnings += parser.warnings
    if parser.errors:
        raise ConfigError(told_once(_with_mistakes_in_lines(parser.errors, data, name)))
    if values.get("ssl") is True:
        tls = folder / "tls"
        values["ssl"] = CertificateFiles(certificate=tls / "server.crt", key=tls / "server.key")
    return Config(**{"www": folder / "www", **values})


def _mistakes_in_lines(data: bytes, name: str, error: YamlError) -> list[Diagnostic]:
    """Return the mistakes that the lines of a text that is no YAML show. There may be none."""
    from . import syntax  # only for a configuration with an error: a start is slow on a small Pi

    try:
        text = strict_yaml.decode(data)
    except YamlError:
        return []
    found = syntax.faults(text, is_rejected=True, problem=error.problem)
    return _diagnostics(found, text, name)


def _with_mistakes_in_lines(errors: list[Diagnostic], data: bytes, name: str) -> list[Diagnostic]:
    """Return errors of values without those that follow from a mistake in the lines, and that."""
    from . import syntax

    text = strict_yaml.decode(data)
    faults = syntax.faults(text)
    if any(fault.moves_keys for fault in faults):
        errors = []
    lines = {fault.line for fault in faults}
    if faults:  # a pin with a mistake may be the other one of a group
        errors = [error for error in errors if not error.key.endswith(".group")]
    rest = [error for error in errors if error.line not in lines]
    return rest + _diagnostics(faults, text, name)


def _diagnostics(faults: list[Fault], text: str, name: str) -> list[Diagnostic]:
    from . import syntax

    rows = text.splitlines()
    return [
        Diagnostic(name, fault.line, "", fault.message, syntax.excerpt(rows, fault))
        for fault in faults
    ]


_ONE_ONLY: dict[Any, str] = {
    **dict.fromkeys((Name, Name | None), " (write one name)"),
    **dict.fromkeys((TimeOfDay, TimeOfDay | None), " (write one time, and a schedule for each)"),
    Press | None: " (write one, and a rule for each)",
}
"""What to write in place of a list."""
_ABSENT = object()
"""Placeholder for the value of a key that has an error."""


class _Parser:
    """Parser of one file, with the `errors` and `warnings` found so far."""

    def __init__(self, file: str, folder: Path, has_run: bool, data: bytes) -> None:
        self._rows = strict_yaml.decode(data).splitlines()
        self.errors: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self._file = file
        self._folder = folder
        self._has_run = has_run
        self._rules = RuleReader(self)
        self._covers = CoverReader(self)
        self._sections: dict[Any, Callable[[Node, str], Any]] = {
            tuple[AnyPin, ...]: self._pins,
            AccessConfig: self._access,
            bool | CertificateFiles: self._certificate,
            MqttConfig | None: self._mqtt,
            tuple[HostName, ...]: partial(self._list, HostName, "[pi.example.org]"),
            tuple[ProxyNetwork, ...]: partial(self._list, ProxyNetwork, "[127.0.0.1]"),
            tuple[PageOrigin, ...]: partial(self._list, PageOrigin, "[https://dash.example.org]"),
            HookConfigs: self._hooks,
            Location | None: self._location,
            ScheduleConfigs: self._schedules,
            tuple[Day, ...]: partial(self._list, Day, "[mon, wed, fri]"),
            RuleConfigs: self._rules.read,
            **self._rules.sections,
            tuple[CoverConfig, ...]: self._covers.read,
            **self._covers.sections,
            Words | None: self._words,
        }
        self._hook_lines: dict[tuple[str, str], int] = {}
        """The line of each key of each hook."""
        self.lines: dict[str, int] = {}
        """The line of each schedule and cover, and of each of its keys, by their dotted paths."""

    def error(self, line: int, key: str, message: str) -> None:
        """Add an error."""
        self.errors.append(Diagnostic(self._file, line, key, message))

    def warn(self, line: int, key: str, message: str) -> None:
        """Add a warning. A file that has run got its warnings before."""
        if not self._has_run:
            self.warnings.append(Diagnostic(self._file, line, key, message))

    def conflict(self, line: int, key: str, message: str) -> None:
        """Add an error for a key that conflicts with others.

        In a file that has run, add a warning that the key is ignored.
        """
        if self._has_run:
            message += " (the last good configuration runs without this key)"
            self.warnings.append(Diagnostic(self._file, line, key, message))
        else:
            self.error(line, key, message)

    def entries(self, node: Node, path: str, hint: str = "") -> Iterator[tuple[str, int, Any]]:
        """Yield key, line and value node of each entry of a mapping; add errors for all else."""
        if strict_yaml.is_empty(node):
            return
        if not strict_yaml.is_mapping(node):
            self.error(line_of(node), path, f"expected keys and values, got {show(node)}{hint}")
            return
        lines: dict[str, int] = {}
        for key_node, value in node.value:
            line, text = line_of(key_node), key_node.value
            if not isinstance(text, str):
                self.error(line, path, f"expected a word as key, got {show(key_node)}")
            elif text in lines:
                message = f"expected each key once, got it in line {lines[text]} already"
                if text in ("gpio", "mode") and path.startswith("pins."):
                    message += " (a second pin needs a line with its name)"
                self.error(line, _join(path, text), message)
            else:
                lines[text] = line
                yield text, line, value

    def mapping(
        self,
        node: Node,
        path: str,
        struct: type[Struct],
        not_yet: Mapping[str, str] = {},
        given: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return the values of those keys of `struct` that are in `node` and valid.

        `not_yet` has messages for keys that only a later release has. The fields `given` are no
        keys.
        """
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
        for name in given:
            del fields[name]
        values: dict[str, Any] = {}
        for key, line, value in self.entries(node, path):
            if key not in fields:
                message = not_yet.get(key) or unknown(key, fields)
                self.error(line, _join(path, key), message)
                continue
            found = self.value(value, _join(path, key), fields[key])
            if found is not _ABSENT:
                values[key] = found
        return values

    def value(self, node: Node, path: str, kind: Any) -> Any:
        """Return the value in `node`, of the type `kind`, or _ABSENT after an error."""
        section = self._sections.get(kind)
        return section(node, path) if section else self._scalar(node, path, kind)

    def _scalar(self, node: Node, path: str, kind: Any) -> Any:
        convert, wanted = converter(kind)
        if not strict_yaml.is_scalar(node):
            hint = " (write it in quotes)" if kind is Label else ""
            if strict_yaml.is_list(node):
                hint = _ONE_ONLY.get(kind, hint)
            got = show(node)
            if path.endswith("password_file"):  # a list masks what may be the password itself
                got = "something else (the password belongs into that file)"
            self.error(line_of(node), path, f"expected {wanted}, got {got}{hint}")
            return _ABSENT
        try:
            return convert(strict_yaml.scalar(node), self._folder)
        except YamlError as error:
            message = str(error)
        except ValueError:
            message = f"expected {wanted}, got {show(node)}"
        message += advice(kind, node, self._folder)
        self.error(line_of(node), path, message)
        return _ABSENT

    @property
    def rule_lines(self) -> dict[str, int]:
        """The lines of the rules and their keys, by dotted path."""
        return self._rules.lines

    def check_text(self, node: Node, path: str, what: str) -> None:
        """Warn of a text whose end YAML reads as a comment, or which has quotes of its own."""
        if not strict_yaml.is_scalar(node) or node.style is not None or not node.value:
            return
        end = node.end_mark
        behind = self._rows[end.line][end.column :] if end.line < len(self._rows) else ""
        if re.match(r"[ \t]+#\S", behind):
            cut = quote(f"{node.value}{behind.rstrip()}")
            message = f"the {what} ends before #, which begins a comment; if it should not: {cut}"
            self.warn(line_of(node), path, message)
        elif node.value[:1] in "“”„‘’«»" or re.fullmatch(
            r"""[^"]*[^"0-9]"|[^']+ [^']*'""", node.value
        ):
            shown = quote(node.value)
            message = (
                f"the quotes are part of the {what} {shown}; around it write two straight ones"
            )
            self.warn(line_of(node), path, message)

    def _words(self, node: Node, path: str) -> Any:
        """Return the words of a pin."""
        example = "{on: Open, off: Shut}"
        if strict_yaml.is_empty(node) or not strict_yaml.is_mapping(node):
            message = f"expected two words such as {example}, got {show(node)}"
            self.error(line_of(node), path, message)
            return _ABSENT
        before = len(self.errors)
        words = self.mapping(node, path, Words)
        for key in Words.__struct_fields__:
            if key not in words and len(self.errors) == before:
                message = f"expected a word for {key}, got nothing (write {example})"
                self.error(line_of(node), path, message)
        return Words(**words) if len(self.errors) == before else _ABSENT

    def _access(self, node: Node, path: str) -> AccessConfig:
        return AccessConfig(**self.mapping(node, path, AccessConfig))

    def _certificate(self, node: Node, path: str) -> Any:
        if not strict_yaml.is_mapping(node):
            return self._scalar(node, path, bool | CertificateFiles)
        files = self.mapping(node, path, CertificateFiles)
        present = {key.value for key, _ in node.value if strict_yaml.is_scalar(key)}
        for key in ("certificate", "key"):
            if key not in present:
                self.error(line_of(node), _join(path, key), "expected a file, got nothing")
        return CertificateFiles(**files) if len(files) == 2 else _ABSENT

    def _mqtt(self, node: Node, path: str) -> Any:
        """Return a broker's settings; None for `false`."""
        if not strict_yaml.is_mapping(node):
            try:
                if strict_yaml.is_scalar(node) and strict_yaml.scalar(node) is False:
                    return None
            except YamlError as error:
                self.error(line_of(node), path, str(error))
                return _ABSENT
            message = f"expected false or {{url: mqtt://HOST, …}}, got {show(node)}"
            self.error(line_of(node), path, message)
            return _ABSENT
        before = len(self.errors)
        values = self.mapping(node, path, MqttConfig)
        lines = {key.value: line_of(key) for key, _ in node.value if strict_yaml.is_scalar(key)}
        for violation in rules.broker(lines, values):
            line = lines.get(violation.line_key, line_of(node))
            self.error(line, _join(path, violation.key), violation.message)
        return MqttConfig(**values) if len(self.errors) == before else _ABSENT

    def _list(self, kind: Any, example: str, node: Node, path: str) -> Any:
        """Return the values of a list. `example` is for the error about all else."""
        if strict_yaml.is_empty(node):
            return ()
        if not strict_yaml.is_list(node):
            message = f"expected a list such as {example}, got {show(node)}"
            if strict_yaml.is_scalar(node) and re.fullmatch("[A-Za-z0-9.:/, -]{1,60}", node.value):
                days = meant_days(node.value) if kind is Day else ()
                message += f" (write [{', '.join(days) or node.value}])"
            self.error(line_of(node), path, message)
            return _ABSENT
        values = [self._scalar(item, path, kind) for item in node.value]
        found = tuple(value for value in values if value is not _ABSENT)
        return found if found or not values else _ABSENT

    def _hooks(self, node: Node, path: str) -> dict[str, HookConfig]:
        hooks: dict[str, HookConfig] = {}
        for name, line, body in self.entries(node, path):
            before, own_path = len(self.errors), _join(path, name)
            try:
                msgspec.convert(name, Name)
            except msgspec.ValidationError:
                self.error(line, own_path, f"expected {expected(Name)}, got {quote(name)}")
            values = self.mapping(body, own_path, HookConfig)
            nodes = body.value if strict_yaml.is_mapping(body) else ()
            lines = {key.value: line_of(key) for key, _ in nodes if strict_yaml.is_scalar(key)}
            self._hook_lines |= {(name, key): at for key, at in lines.items()}
            if strict_yaml.is_mapping(body) or strict_yaml.is_empty(body):
                for violation in rules.hook_keys(lines, values):
                    at = lines.get(violation.line_key, line)
                    self.error(at, _join(own_path, violation.key), violation.message)
            if len(self.errors) == before:
                hooks[name] = HookConfig(**values)
        return hooks

    def check_references(self, values: dict[str, Any]) -> None:
        """Check hooks, schedules and rules, once all sections are read and have no errors."""
        if self.errors:
            return
        pins = {pin.name: pin for pin in values.get("pins", ())}
        covers = {cover.name: cover for cover in values.get("covers", ())}
        location = values.get("location")
        cover_rules.check(tuple(covers.values()), pins, self)
        for cover in covers.values():
            for violation in cover_rules.doubts(cover, pins):
                line = self.lines[f"covers.{cover.name}.{violation.line_key}"]
                self.warn(line, f"covers.{cover.name}.{violation.key}", violation.message)
        self._check_hooks(values, pins, covers)
        for name, schedule in values.get("schedules", {}).items():
            for violation in schedule_rules.schedule(schedule, pins, covers, location):
                self.report(_join("schedules", name), violation)
        self._rules.check(values.get("rules", {}), pins, covers, location)

    def _check_hooks(
        self,
        values: dict[str, Any],
        pins: Mapping[str, PinConfig],
        covers: Mapping[str, CoverConfig],
    ) -> None:
        access = values.get("access", AccessConfig())
        for name, hook in values.get("hooks", {}).items():
            for violation in rules.hook(hook, pins, covers, access):
                line = self._hook_lines[name, violation.line_key]
                self.error(line, _join(_join("hooks", name), violation.key), violation.message)

    def _location(self, node: Node, path: str) -> Any:
        if strict_yaml.is_empty(node) or not strict_yaml.is_mapping(node):
            message = "expected a place such as {latitude: 48.14, longitude: 11.58}"
            self.error(line_of(node), path, f"{message}, got {show(node)}")
            return _ABSENT
        values = self.mapping(node, path, Location)
        present = {key.value for key, _ in node.value if strict_yaml.is_scalar(key)}
        others = present - set(Location.__struct_fields__)
        for field in msgspec.structs.fields(Location):
            if field.name not in present and not has_alike(others, field.name):
                message = f"expected {expected(field.type)}, got nothing"
                self.error(line_of(node), _join(path, field.name), message)
        return Location(**values) if len(values) == 2 else _ABSENT

    def _schedules(self, node: Node, path: str) -> dict[str, ScheduleConfig]:
        names = {field.encode_name: field.name for field in msgspec.structs.fields(ScheduleConfig)}
        schedules: dict[str, ScheduleConfig] = {}
        for name, line, body in self.entries(node, path):
            before, own_path = len(self.errors), _join(path, name)
            try:
                msgspec.convert(name, Name)
            except msgspec.ValidationError:
                self.error(line, own_path, f"expected {expected(Name)}, got {quote(name)}")
            self.lines[own_path] = line
            nodes = body.value if strict_yaml.is_mapping(body) else ()
            present = {key.value: line_of(key) for key, _ in nodes if strict_yaml.is_scalar(key)}
            self.lines |= {_join(own_path, key): at for key, at in present.items()}
            values = self.mapping(body, own_path, ScheduleConfig)
            if strict_yaml.is_mapping(body) or strict_yaml.is_empty(body):
                for violation in schedule_rules.keys(present, values):
                    self.report(own_path, violation)
            if len(self.errors) == before:
                schedules[name] = ScheduleConfig(**{names[key]: values[key] for key in values})
        return schedules

    def report(self, path: str, violation: Violation) -> None:
        """Add an error in the line of a key below `path`, else in the line of `path`."""
        line = self.lines.get(_join(path, violation.line_key), self.lines[path])
        key = _join(path, violation.key) if violation.key else path
        self.error(line, key, violation.message)

    def _pins(self, node: Node, path: str) -> tuple[PinConfig, ...]:
        return _Pins(self).read(node, path)


class _PinNode(NamedTuple):
    """One pin as written in the file: the nodes of its keys, and the line of each key."""

    name: str
    path: str
    line: int
    nodes: dict[str, Node]
    key_lines: dict[str, int]

    def line_of(self, violation: Violation) -> int:
        """Return the line of the value that breaks a rule, else that of the pin."""
        node = self.nodes.get(violation.line_key)
        return line_of(node) if node else self.line

    def path_of(self, violation: Violation) -> str:
        return _join(self.path, violation.key)


class _Pins:
    """Parser of the section `pins`: each pin, and the conflicts between pins."""

    def __init__(self, parser: _Parser) -> None:
        self._parser = parser
        self._owners: dict[int, tuple[str, int]] = {}
        """The pin that has a GPIO first, and the line that says so."""
        self._group_sizes: Counter[str] = Counter()
        """The number of pins that name a group, including pins with errors."""
        self._groups: dict[str, tuple[str, int]] = {}
        """The group that an output names, and its line, by the output's name."""

    def read(self, node: Node, path: str) -> tuple[PinConfig, ...]:
        """Return the pins without errors, in the order of the file."""
        parser = self._parser
        pins: list[PinConfig] = []
        for count, (name, line, body) in enumerate(parser.entries(node, path), start=1):
            before = len(parser.errors)
            if count == MAX_PINS + 1:
                message = f"expected at most {MAX_PINS} pins: a Raspberry Pi has {MAX_PINS}"
                parser.error(line, path, message)
            try:
                msgspec.convert(name, Name)
            except msgspec.ValidationError:
                simple = re.sub("[^a-z0-9_]+", "-", name.lower()).strip("-")
                hint = f" (write {simple})" if re.fullmatch(NAME, simple) else ""
                message = f"expected {expected(Name)}, got {quote(name)}{hint}"
                parser.error(line, _join(path, name), message)
            before_keys = len(parser.errors)
            found = self._node(name, _join(path, name), line, body)
            pin = found and self._pin(found, before_keys)
            if found is None or pin is None:
                continue
            for violation in rules.initially_on(pin, pins):
                self._report(found, violation)
            if len(parser.errors) == before:
                pins.append(pin)
        alone = self._groups_of_one(path)
        return tuple(
            msgspec.structs.replace(pin, group=None) if pin.name in alone else pin for pin in pins
        )

    def _node(self, name: str, path: str, line: int, node: Node) -> _PinNode | None:
        """Return the keys of a pin, or None if it has none because of an error."""
        before = len(self._parser.errors)
        found = _PinNode(name, path, line, {}, {})
        hint = " (write gpio: 17 and mode: output below it, for example)"
        for key, key_line, value in self._parser.entries(node, path, hint):
            found.nodes[key], found.key_lines[key] = value, key_line
        return found if found.nodes or len(self._parser.errors) == before else None

    def _pin(self, pin: _PinNode, before: int) -> PinConfig | None:
        """Return one pin, checked by itself; None if there are more errors than `before`."""
        parser, nodes = self._parser, pin.nodes
        for key, wanted in (("gpio", expected(Gpio)), ("mode", choice(MODES))):
            if key not in nodes and not has_alike(nodes, key):
                parser.error(pin.line, _join(pin.path, key), f"expected {wanted}, got nothing")
        mode: Any = None
        if "mode" in nodes:
            mode = parser.value(nodes["mode"], _join(pin.path, "mode"), Literal[*MODES])
        if "group" in nodes and strict_yaml.is_scalar(nodes["group"]):
            self._group_sizes[nodes["group"].value] += 1
        values = self._values(pin, mode)
        if "gpio" in values:
            self._check_owner(pin, values["gpio"])
        if len(parser.errors) > before:
            return None
        if "group" in values:
            self._groups[pin.name] = values["group"], line_of(nodes["group"])
        if values.get("kind") == "button" and mode == "input":
            values.setdefault("debounce", BUTTON_DEBOUNCE_S)
        values = {"name": pin.name, "label": pin.name, "active": _active(values), **values}
        for violation in rules.conflicts(MODES[mode](**values), tuple(values)):
            parser.conflict(pin.line_of(violation), pin.path_of(violation), violation.message)
            del values[violation.key]
        found = MODES[mode](**values)
        for violation in rules.wiring(found):
            self._report(pin, violation)
        for violation in rules.doubts(found):
            parser.warn(pin.line_of(violation), pin.path_of(violation), violation.message)
        return found if len(parser.errors) == before else None

    def _values(self, pin: _PinNode, mode: Any) -> dict[str, Any]:
        """Return the values of the valid keys.

        If the mode is unknown, these are keys with the same type in every mode that has them.
        """
        fields = _fields([MODES[mode]] if mode in MODES else MODES.values())
        values: dict[str, Any] = {}
        for key, node in pin.nodes.items():
            path = _join(pin.path, key)
            if key == "mode" or fields.get(key) is _ABSENT:
                continue
            if key not in fields:
                self._parser.error(pin.key_lines[key], path, misplaced(key, mode, fields))
                continue
            found = self._parser.value(node, path, fields[key])
            if found is not _ABSENT:
                values[key] = found
            if key in ("label", "room"):
                self._parser.check_text(node, path, key)
        return values

    def _check_owner(self, pin: _PinNode, gpio: int) -> None:
        node = pin.nodes["gpio"]
        owner, line = self._owners.setdefault(gpio, (pin.name, line_of(node)))
        if owner != pin.name:
            written = "" if str(gpio) in node.value else f" ({node.value.strip()})"
            has = f"which {_join('', owner)} has in line {line}"
            message = f"expected a GPIO of its own, got GPIO{gpio}{written}, {has}"
            self._parser.error(line_of(node), _join(pin.path, "gpio"), message)

    def _groups_of_one(self, path: str) -> set[str]:
        """Report each group that has only one output; return the names of those outputs."""
        alone: set[str] = set()
        if any(has_alike([error.key.rpartition(".")[2]], "group") for error in self._parser.errors):
            return alone  # it may be the other one of a group
        for name, (group, line) in self._groups.items():
            if self._group_sizes[group] > 1:
                continue
            alone.add(name)
            others = [other for other, _ in self._groups.values() if other != group]
            message = rules.group_of_one(group, others)
            self._parser.conflict(line, _join(_join(path, name), "group"), message)
        return alone

    def _report(self, pin: _PinNode, violation: Violation) -> None:
        self._parser.error(pin.line_of(violation), pin.path_of(violation), violation.message)


def _active(values: dict[str, Any]) -> str:
    """Return the default of `active` for the other keys of a pin.

    A contact to ground with a pull-up is closed when it is low. A reed contact at a door is open
    when the door is, so for openings the level of an open contact means 1.
    """
    is_low = values.get("pull") == "up"
    if values.get("kind") in OPENINGS and values.get("pull", "none") != "none":
        is_low = not is_low
    return "low" if is_low else "high"


def _fields(structs: Iterable[type[PinConfig]]) -> dict[str, Any]:
    """Return the types of the keys of pins; _ABSENT for a key whose type depends on the mode."""
    fields: dict[str, Any] = {}
    for struct in structs:
        for field in msgspec.structs.fields(struct):
            known = fields.setdefault(field.encode_name, field.type)
            if known != field.type:
                fields[field.encode_name] = _ABSENT
    del fields["name"]
    return fields


def _join(path: str, key: str) -> str:
    """Return the dotted path of a key below `path`, safe to print."""
    shown = key if key.isprintable() and len(key) <= 40 else quote(key)
    return f"{path}.{shown}" if path else shown
