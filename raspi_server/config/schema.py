"""config.yaml as frozen, checked values; or everything that is wrong with it, each fault with its
line and what was expected. The structs below are the only list of the keys."""

import contextlib
import difflib
import ipaddress
import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from ..messages import Audience
from . import strict_yaml
from .pinout import gpio_number
from .strict_yaml import YamlError, line_of, quote, show

SYSTEM_FILE = Path("/etc/raspi-server/config.yaml")
LOCAL_FILE = Path("config.yaml")

Seconds = Annotated[float, Meta(ge=0.01, le=86400, extra={"unit": "seconds"})]
Name = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z][a-z0-9_-]{0,31}\Z",
        description="a name of at most 32 characters from a-z, 0-9, _ and -, a letter first",
    ),
]
Gpio = Annotated[int, Meta(description="a pin from GPIO0 to GPIO27")]
Address = Annotated[str, Meta(description='one IP address of this machine, or "" for all')]
HostName = Annotated[str, Meta(description="a host name such as pi.example.org, without a port")]
BrokerUrl = Annotated[str, Meta(description="a URL such as mqtt://HOST or mqtts://HOST:8883")]
Topic = Annotated[
    str,
    Meta(
        pattern=r"\A[^\s+#$/]+(/[^\s+#/]+)*\Z",
        max_length=100,
        description="a topic such as house/kitchen, without +, # and spaces",
    ),
]
User = Annotated[str, Meta(min_length=1, max_length=100, description="a user's name")]
Label = Annotated[str, Meta(min_length=1, max_length=64, description="1 to 64 characters of text")]


class _Pin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="mode"):
    name: Name
    gpio: Gpio
    label: Label
    active: Literal["high", "low"]
    """The level that means 1."""

    def __str__(self) -> str:
        return f"{self.name} (GPIO{self.gpio})"


class InputPin(_Pin, frozen=True, kw_only=True, tag="input"):
    pull: Literal["up", "down", "none"] = "none"
    debounce: Annotated[float, Meta(ge=0, le=5, extra={"unit": "seconds"})] = 0
    """A level counts once it has held this long. lgpio's own debounce ends at 5 s, too."""


class _Driven(_Pin, frozen=True, kw_only=True):
    max_on: Seconds | None = None
    confirm: bool = False
    control: Audience | None = None


class OutputPin(_Driven, frozen=True, kw_only=True, tag="output"):
    initial: Literal["off", "on", "keep", "restore"] = "off"
    on_stop: Literal["off", "on", "keep", "input"] = "off"
    on_failure: Literal["off", "on", "keep", "input"] = "off"
    pulse: Seconds | None = None
    group: Name | None = None
    group_pause: Annotated[float, Meta(ge=0, le=60, extra={"unit": "seconds"})] = 0.1


class PwmPin(_Driven, frozen=True, kw_only=True, tag="pwm"):
    initial: (
        Literal["off", "on", "keep", "restore"] | Annotated[float, Meta(ge=0, le=1)]
    ) = "off"  # fmt: skip
    on_stop: Literal["off", "on", "input"] = "off"
    on_failure: Literal["off", "on", "input"] = "off"
    frequency: Annotated[float, Meta(ge=0.1, le=10000, extra={"unit": "hertz"})] = 100
    """Hertz. lgpio times PWM in software, up to 10 kHz."""


LONG_PULSE_S = 60
"""A longer `pulse` is warned of: it may have been meant in milliseconds."""

Pin = InputPin | OutputPin | PwmPin
DrivenPin = OutputPin | PwmPin
MODES: dict[str, type[Pin]] = {"input": InputPin, "output": OutputPin, "pwm": PwmPin}


class Certificate(Struct, frozen=True, kw_only=True):
    """A certificate chain and its private key, PEM files."""

    certificate: Path
    key: Path


class Access(Struct, frozen=True, kw_only=True):
    view: Literal["everyone", "code"] = "everyone"
    control: Audience = "code"
    hosts: tuple[HostName, ...] = ()


class Mqtt(Struct, frozen=True, kw_only=True):
    """A broker, and what is said there. `topic` is None for raspi-server/HOST; `discovery` is the
    prefix under which Home Assistant looks for devices, or False; `fleet`: /fleet/ shows all Pis
    there."""

    url: BrokerUrl
    user: User | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    topic: Topic | None = None
    control: bool = False
    discovery: Literal[False] | Topic = False
    fleet: bool = False


class Config(Struct, frozen=True, kw_only=True):
    """One checked configuration. Paths are absolute; pins stand in the order of the file."""

    port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    address: Address = ""
    ssl: bool | Certificate = False
    interval: Annotated[float, Meta(ge=0.01, le=3600, extra={"unit": "seconds"})] = 0.1
    www: Path = Path("www")
    gpio: Literal["auto", "real", "simulated"] = "auto"
    access: Access = Access()
    mqtt: Mqtt | None = None
    metrics: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pins: tuple[Pin, ...] = ()

    @property
    def certificate(self) -> Certificate | None:
        """The pair to serve https with, or None for plain http."""
        return self.ssl if isinstance(self.ssl, Certificate) else None

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """Private keys, the authority's beside the certificate included, and the broker's
        password; not each of them need exist."""
        found: list[Path | None] = []
        if self.certificate:
            key = self.certificate.key
            found += [key, self.certificate.certificate.with_name("ca.key")]
        if self.mqtt:
            found += [self.mqtt.password_file, self.mqtt.key]
        return tuple(file for file in found if file)


class Fault(NamedTuple):
    """One thing that is wrong. `line` counts from 1 and is None for the file as a whole; `key` is a
    dotted path such as `pins.lamp.gpio`, or empty."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)


class ConfigError(ValueError):
    """A configuration that cannot be used, with all its `faults`."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


def default_file() -> Path:
    """Return /etc/raspi-server/config.yaml where it exists, else config.yaml in the working
    directory. Raises ConfigError where root would read one that another has put there."""
    if SYSTEM_FILE.exists():
        return SYSTEM_FILE
    with contextlib.suppress(FileNotFoundError):
        if os.geteuid() == 0 != LOCAL_FILE.stat().st_uid:
            message = "it belongs to another user: root reads it only where the command names it"
            raise ConfigError([Fault(str(LOCAL_FILE.absolute()), None, "", message)])
    return LOCAL_FILE


def load(file: Path) -> Config:
    """The configuration in `file`. Raises ConfigError with every fault it has."""
    return parse(read(file), str(file), file.absolute().parent)


def read(file: Path) -> bytes:
    """The text of a configuration. Raises ConfigError where there is none to read."""
    name = str(file)
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ConfigError([Fault(name, None, "", "expected a file, found none")]) from None
    except IsADirectoryError:
        raise ConfigError([Fault(name, None, "", "expected a file, found a folder")]) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError([Fault(name, None, "", message)]) from None


def parse(
    data: bytes,
    name: str,
    folder: Path,
    warnings: list[Fault] | None = None,
    has_run: bool = False,
) -> Config:
    """The configuration in the text `data`; `name` stands in faults, relative paths begin at
    `folder`; `warnings` gets what is allowed but may not be meant. Raises ConfigError with every
    fault it has.

    One that `has_run` may be of an older release, which allowed what is refused now: of keys that
    do not go together the one to blame is ignored, with a warning."""
    try:
        root = strict_yaml.compose(data)
    except YamlError as error:
        raise ConfigError([Fault(name, error.line, "", str(error))]) from None
    reader = _Reader(name, folder, has_run)
    values = {} if root is None or strict_yaml.is_empty(root) else reader.mapping(root, "", Config)
    if warnings is not None:
        warnings += sorted(reader.warnings, key=lambda warning: warning.line or 0)
    if reader.faults:
        raise ConfigError(sorted(reader.faults, key=lambda fault: fault.line or 0))
    if values.get("ssl") is True:
        tls = folder / "tls"
        values["ssl"] = Certificate(certificate=tls / "server.crt", key=tls / "server.key")
    return Config(**{"www": folder / "www", **values})


_ABSENT = object()


class _Reader:
    """Walks the node tree along the structs and collects every fault on the way."""

    def __init__(self, file: str, folder: Path, has_run: bool) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._file = file
        self._folder = folder
        self._has_run = has_run
        self._owners: dict[int, str] = {}
        self._members: Counter[str] = Counter()
        """How many pins name each group, those with faults of their own among them."""
        self._group_lines: dict[str, tuple[str, int]] = {}
        """The group that an output names, by the output's name, and in which line."""

    def fault(self, line: int, key: str, message: str) -> None:
        self.faults.append(Fault(self._file, line, key, message))

    def warn(self, line: int, key: str, message: str) -> None:
        """Note what is allowed but may not be meant; of what has run it was said before."""
        if not self._has_run:
            self.warnings.append(Fault(self._file, line, key, message))

    def conflict(self, line: int, key: str, message: str) -> None:
        """Refuse a key beside others, or note that it is ignored in what has run."""
        if self._has_run:
            message += " (the last good configuration runs without this key)"
            self.warnings.append(Fault(self._file, line, key, message))
        else:
            self.fault(line, key, message)

    def entries(self, node: strict_yaml.Node, path: str) -> Iterator[tuple[str, int, Any]]:
        """Key, line and value node of each entry of a mapping; faults for all else."""
        if strict_yaml.is_empty(node):
            return
        if not strict_yaml.is_mapping(node):
            self.fault(line_of(node), path, f"expected keys and values, got {show(node)}")
            return
        lines: dict[str, int] = {}
        for key_node, value in node.value:
            line, text = line_of(key_node), key_node.value
            if not isinstance(text, str):
                self.fault(line, path, f"expected a word as key, got {show(key_node)}")
            elif text in lines:
                message = f"expected each key once, got it in line {lines[text]} already"
                self.fault(line, _join(path, text), message)
            else:
                lines[text] = line
                yield text, line, value

    def mapping(self, node: strict_yaml.Node, path: str, struct: type[Struct]) -> dict[str, Any]:
        """The values of those keys of `struct` that stand in `node` and are right."""
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
        values: dict[str, Any] = {}
        for key, line, value in self.entries(node, path):
            if key not in fields:
                self.fault(line, _join(path, key), _unknown(key, fields))
                continue
            found = self.value(value, _join(path, key), fields[key])
            if found is not _ABSENT:
                values[key] = found
        return values

    def value(self, node: strict_yaml.Node, path: str, kind: Any) -> Any:
        """What `node` holds, as `kind`, or _ABSENT after a fault."""
        if kind == tuple[Pin, ...]:
            return self.pins(node)
        if kind is Access:
            return Access(**self.mapping(node, path, Access))
        if kind == bool | Certificate and strict_yaml.is_mapping(node):
            pair = self.mapping(node, path, Certificate)
            present = {key.value for key, _ in node.value if strict_yaml.is_scalar(key)}
            for key in [key for key in ("certificate", "key") if key not in present]:
                self.fault(line_of(node), _join(path, key), "expected a file, got nothing")
            return Certificate(**pair) if len(pair) == 2 else _ABSENT
        if kind == Mqtt | None:
            return self.mqtt(node, path)
        if kind == tuple[HostName, ...]:
            return self.hosts(node, path)
        if not strict_yaml.is_scalar(node):
            self.fault(line_of(node), path, f"expected {_expected(kind)}, got {show(node)}")
            return _ABSENT
        try:
            found = strict_yaml.scalar(node)
        except YamlError as error:
            self.fault(line_of(node), path, str(error))
            return _ABSENT
        try:
            return self.convert(found, kind)
        except ValueError:
            hint = ""
            if kind in (Label, Path, Path | None) and type(found) in (int, float):
                hint = " (text that looks like a number stands in quotes)"
            got = show(node)
            if kind == BrokerUrl and "@" in node.value:  # the password is nobody's business
                got = "one with a name, which goes into user, or a password, into password_file"
            message = f"expected {_expected(kind)}, got {got}{hint}"
            self.fault(line_of(node), path, message)
            return _ABSENT

    def convert(self, found: strict_yaml.Scalar, kind: Any) -> Any:
        """One scalar as `kind`. Raises ValueError (msgspec's own is one) where it does not fit."""
        if kind == Gpio:
            number = gpio_number(found) if type(found) in (int, str) else None  # type: ignore[arg-type]
            if number is None:
                raise ValueError(found)
            return number
        if kind in (Path, Path | None):
            text = msgspec.convert(found, Annotated[str, Meta(min_length=1)])
            if "\0" in text:
                raise ValueError(found)
            return self._folder / text
        if kind == Address and found:
            address, _, scope = msgspec.convert(found, str).partition("%")
            ipaddress.ip_address(address)
            if not re.fullmatch(r"[\w.:-]*", scope):
                raise ValueError(found)
        if kind == BrokerUrl:
            return _checked_url(msgspec.convert(found, str))
        if kind == Literal[False] | Topic:
            return False if found is False else msgspec.convert(found, Topic)
        if found is None:  # `key:` with nothing behind it is no value, also where None is a default
            raise ValueError(found)
        return msgspec.convert(found, kind)

    def mqtt(self, node: strict_yaml.Node, path: str) -> Any:
        """A broker and the rules that join several of its keys; `false` is None."""
        if not strict_yaml.is_mapping(node):
            try:
                if strict_yaml.is_scalar(node) and strict_yaml.scalar(node) is False:
                    return None
            except YamlError as error:
                self.fault(line_of(node), path, str(error))
                return _ABSENT
            message = f"expected false or {{url: mqtt://HOST, …}}, got {show(node)}"
            self.fault(line_of(node), path, message)
            return _ABSENT
        before = len(self.faults)
        values = self.mapping(node, path, Mqtt)
        lines = {key.value: line_of(key) for key, _ in node.value if strict_yaml.is_scalar(key)}
        secure = str(values.get("url")).startswith("mqtts:")
        if "url" not in lines:
            self.fault(
                line_of(node), _join(path, "url"), f"expected {_expected(BrokerUrl)}, got nothing"
            )
        for key, other in (
            ("password_file", "user"),
            ("certificate", "key"),
            ("key", "certificate"),
        ):
            if key in lines and other not in lines:
                self.fault(lines[key], _join(path, other), f"expected it beside {key}, got nothing")
        for key in ("ca", "certificate", "key"):
            if key in lines and "url" in values and not secure:
                message = "expected it only with a url that begins with mqtts://"
                self.fault(lines[key], _join(path, key), message)
        topic = values.get("topic")
        if values.get("fleet") and topic and "/" not in topic:
            message = (
                f"expected two levels or more beside fleet, such as house/{topic}, got {topic}"
            )
            self.fault(lines["topic"], _join(path, "topic"), message)
        return Mqtt(**values) if len(self.faults) == before else _ABSENT

    def hosts(self, node: strict_yaml.Node, path: str) -> Any:
        if strict_yaml.is_empty(node):
            return ()
        if not strict_yaml.is_list(node):
            message = f"expected a list such as [pi.example.org], got {show(node)}"
            self.fault(line_of(node), path, message)
            return _ABSENT
        hosts = []
        for item in node.value:
            name = self.value(item, path, HostName)
            if name is _ABSENT:
                continue
            if re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", name.lower()):
                hosts.append(name.lower())
            else:
                message = f"expected {_expected(HostName)}, got {show(item)}"
                self.fault(line_of(item), path, message)
        return tuple(hosts)

    def pins(self, node: strict_yaml.Node) -> tuple[Pin, ...]:
        pins: list[Pin] = []
        for name, line, body in self.entries(node, "pins"):
            before = len(self.faults)
            try:
                msgspec.convert(name, Name)
            except msgspec.ValidationError:
                message = f"expected {_expected(Name)}, got {quote(name)}"
                self.fault(line, _join("pins", name), message)
            pin = self.pin(name, line, body)
            if pin is None:
                continue
            self.check_group(pin, pins, body)
            if len(self.faults) == before:
                pins.append(pin)
        lonely = self.check_members()
        return tuple(
            msgspec.structs.replace(pin, group=None) if pin.name in lonely else pin for pin in pins
        )

    def pin(self, name: str, line: int, node: strict_yaml.Node) -> Pin | None:
        """One pin, checked by itself; None after a fault."""
        path = _join("pins", name)
        before = len(self.faults)
        nodes: dict[str, strict_yaml.Node] = {}
        key_lines: dict[str, int] = {}
        for key, key_line, value in self.entries(node, path):
            nodes[key], key_lines[key] = value, key_line
        if len(self.faults) > before and not nodes:
            return None
        for key, wanted in (("gpio", _expected(Gpio)), ("mode", _choice(MODES))):
            if key not in nodes:
                self.fault(line, _join(path, key), f"expected {wanted}, got nothing")
        mode = None
        if "mode" in nodes:
            mode = self.value(nodes["mode"], _join(path, "mode"), Literal[*MODES])
        kinds = [MODES[mode]] if mode in MODES else list(MODES.values())
        fields: dict[str, Any] = {}
        for kind in kinds:
            for field in msgspec.structs.fields(kind):
                known = fields.setdefault(field.encode_name, field.type)
                if known != field.type:  # what fits depends on the mode, which is unknown
                    fields[field.encode_name] = _ABSENT
        del fields["name"]
        values: dict[str, Any] = {}
        if "group" in nodes and strict_yaml.is_scalar(nodes["group"]):
            self._members[nodes["group"].value] += 1
        for key, value in nodes.items():
            if key == "mode":
                continue
            if fields.get(key) is _ABSENT:
                continue
            if key in fields:
                found = self.value(value, _join(path, key), fields[key])
                if found is not _ABSENT:
                    values[key] = found
            else:
                self.fault(key_lines[key], _join(path, key), _misplaced(key, mode, fields))
        if "gpio" in values:
            owner = self._owners.setdefault(values["gpio"], name)
            if owner != name:
                taken = f"GPIO{values['gpio']}, which {_join('', owner)} has"
                message = f"expected a GPIO of its own, got {taken}"
                self.fault(line_of(nodes["gpio"]), _join(path, "gpio"), message)
        lines = {key: line_of(value) for key, value in nodes.items()}
        if len(self.faults) > before:
            return None
        if "group" in values:
            self._group_lines[name] = values["group"], lines["group"]
        active = "low" if values.get("pull") == "up" else "high"
        values = {"name": name, "label": name, "active": active, **values}
        pin: Pin = kinds[0](**values)
        for key, message in _conflicts(pin, values):
            self.conflict(lines[key], _join(path, key), message)
            del values[key]
        pin = kinds[0](**values)
        self.check(pin, path, lines, line)
        return pin if len(self.faults) == before else None

    def check(self, pin: Pin, path: str, lines: dict[str, int], line: int) -> None:
        """Check what a pin asks for against the board, and against habit."""
        if isinstance(pin, InputPin) and pin.gpio in (2, 3) and pin.pull != "up":
            message = f"expected up, got {pin.pull}: GPIO{pin.gpio} has a pull-up on the board"
            self.fault(lines.get("pull", line), _join(path, "pull"), message)
        if isinstance(pin, OutputPin) and (pin.pulse or 0) > LONG_PULSE_S:
            message = (
                f"{pin.pulse:g} seconds are long for a press (half a second is 0.5);"
                f" a switch that goes off by itself has max_on: {pin.pulse:g} instead"
            )
            self.warn(lines["pulse"], _join(path, "pulse"), message)

    def check_group(self, pin: Pin, others: list[Pin], node: strict_yaml.Node) -> None:
        """Refuse two outputs of one group that are to be on at the same moment."""
        if not isinstance(pin, OutputPin) or pin.group is None:
            return
        lines = {key: line_of(value) for key, _, value in self.entries(node, "")}
        path = _join("pins", pin.name)
        for other in others:
            if not isinstance(other, OutputPin) or pin.group != other.group:
                continue
            if pin.initial == other.initial == "on":
                message = (
                    f"expected off, got on, which {other.name} has:"
                    f" at most one output of group {pin.group} is on"
                )
                self.fault(lines["initial"], _join(path, "initial"), message)

    def check_members(self) -> set[str]:
        """Refuse each group of one output, which keeps nothing off; return those outputs' names."""
        lonely = set()
        for name, (group, line) in self._group_lines.items():
            if self._members[group] > 1:
                continue
            lonely.add(name)
            others = [other for other, _ in self._group_lines.values() if other != group]
            near = difflib.get_close_matches(group, others, n=1)
            hint = f"did you mean {near[0]}?" if near else "one output alone needs no group"
            message = f"expected a name that two outputs or more have, got {group} here only"
            self.conflict(line, _join(_join("pins", name), "group"), f"{message} ({hint})")
        return lonely


def _conflicts(pin: Pin, present: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield each of the `present` keys that another key of the pin does not allow, with the
    message. What runs out needs a server to switch it off, so it is on only while there is one."""
    if isinstance(pin, InputPin):
        return
    pulse, group = (pin.pulse, pin.group) if isinstance(pin, OutputPin) else (None, None)
    limit = "pulse" if pulse else "max_on" if pin.max_on else None
    if pulse and pin.initial == "on":
        message = "expected off, keep or restore, got on: every start would press it"
        yield "initial", f"{message}; write initial: off"
    for key, how, moment in (
        ("on_stop", pin.on_stop, "while the server is stopped"),
        ("on_failure", pin.on_failure, "after a crash"),
    ):
        if limit and how in ("keep", "on"):
            message = f"expected off or input, got {how}: {limit} could not switch it off {moment}"
            yield key, f"{message}; write {key}: off"
        elif group and how == "on":  # no pause can be kept then
            yield key, "expected off, keep or input, got on, which a group does not allow"
    if "group_pause" in present and not group:
        yield "group_pause", "expected only beside group, got no group; write both or none"


def _checked_url(text: str) -> str:
    """A broker's URL. Raises ValueError for what is none, and for one with a password, which has a
    file of its own, or with a path, which is no topic."""
    url = urlsplit(text)
    is_one = url.scheme in ("mqtt", "mqtts") and url.hostname and url.port != 0
    if not is_one or text.split("://")[1] != url.netloc or "@" in text or not text.isprintable():
        raise ValueError(text)
    return text


def _join(path: str, key: str) -> str:
    shown = key if key.isprintable() and len(key) <= 40 else quote(key)
    return f"{path}.{shown}" if path else shown


def _unknown(key: str, keys: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, keys, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"expected one of the keys {', '.join(keys)}{hint}"


def _misplaced(key: str, mode: str | None, fields: dict[str, Any]) -> str:
    """Why a pin of `mode` has no `key`."""
    owners = [
        name
        for name, kind in MODES.items()
        if key in {field.encode_name for field in msgspec.structs.fields(kind)} - {"name"}
    ]
    if owners:
        return f"expected only with mode: {' or '.join(owners)}, got it with mode: {mode}"
    return _unknown(key, ["mode", *fields])


def _choice(words: Any) -> str:
    *most, last = [str(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def _expected(kind: Any) -> str:
    """What a key takes, in words, from its type."""
    if kind is Path:
        return "a path"
    if kind is bool:
        return "true or false"
    if kind == Literal[False] | Topic:
        return "false or a topic such as homeassistant"
    if kind == bool | Certificate:
        return "true, false or {certificate: FILE, key: FILE}"
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return _choice(parts)
    if get_origin(kind) is not Annotated:
        return " or ".join(_expected(part) for part in parts if part is not NoneType)
    base, meta = parts
    if meta.description:
        return str(meta.description)
    number = "a whole number" if base is int else "a number"
    unit = f" of {meta.extra['unit']}" if meta.extra else ""
    return f"{number}{unit} from {meta.ge} to {meta.le}"
