"""Converters from a YAML scalar to the value of a key, and the description of what a key takes.

Both depend only on the type that the schema gives the key.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from . import origins, strict_yaml
from .errors import nearest
from .kinds import Icon, InputKind, OutputKind, PwmKind
from .pinout import gpio_advice, gpio_number
from .schema import (
    DAYS,
    Address,
    BrokerUrl,
    CertificateFiles,
    Day,
    Discovery,
    Gpio,
    HostName,
    Label,
    PageOrigin,
    ProxyNetwork,
    TimeOfDay,
    Topic,
)
from .strict_yaml import Scalar, YamlError

_UNITS = {
    "seconds": {
        **dict.fromkeys(("ms", "millisecond", "milliseconds"), Decimal("0.001")),
        **dict.fromkeys(("s", "sec", "second", "seconds"), Decimal(1)),
        **dict.fromkeys(("min", "minute", "minutes"), Decimal(60)),
        **dict.fromkeys(("h", "hour", "hours"), Decimal(3600)),
    },
    "hertz": {"hz": Decimal(1), "khz": Decimal(1000)},
}
"""The units that a number may have, by the unit that the schema names, which needs none."""
_UNIT_WORDS = {"seconds": "ms, s, min or h", "hertz": "Hz or kHz"}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?([a-z]+)", re.IGNORECASE)
_WORDS_FOR = {
    True: ("yes", "on", "true", "1"),
    False: ("no", "off", "false", "0"),
}
_QUOTES_AND_SPACES = " \t\xa0\u2007\u202f\u200b\u2060\"'“”„‟‘’‚‛«»"

_KINDS: dict[Any, str] = {
    InputKind | None: "inputs",
    OutputKind: "outputs",
    PwmKind: "pwm pins",
}
"""The types of `kind`, and the pins that have them."""
_SYNONYMS = {
    **dict.fromkeys(("contact", "reed"), ("door", "window")),
    **dict.fromkeys(("water", "leak", "flood", "wet"), ("moisture", "valve", "droplets")),
    **dict.fromkeys(("pir", "movement"), ("motion",)),
    **dict.fromkeys(("fire",), ("smoke", "flame")),
    **dict.fromkeys(("co",), ("carbon_monoxide", "gas")),
    **dict.fromkeys(("doorbell", "ring"), ("bell", "button")),
    **dict.fromkeys(("push_button", "pushbutton"), ("button",)),
    **dict.fromkeys(("lamp", "led", "dimmer"), ("light", "bulb")),
    **dict.fromkeys(("relay",), ("switch",)),
    **dict.fromkeys(("plug", "socket"), ("outlet", "plug")),
    **dict.fromkeys(("heating", "boiler"), ("heater",)),
    **dict.fromkeys(("ventilator", "ventilation"), ("fan",)),
    **dict.fromkeys(("garage",), ("garage_door", "door-garage")),
    **dict.fromkeys(("alarm",), ("siren", "problem")),
    **dict.fromkeys(("water-drop", "drop"), ("droplets",)),
    **dict.fromkeys(("hold", "held", "longpress", "long_press"), ("long",)),
    **dict.fromkeys(("single", "click", "tap", "once", "press"), ("short",)),
    **dict.fromkeys(("twice", "doubleclick", "double_click"), ("double",)),
    **dict.fromkeys(("dusk", "sundown", "evening"), ("sunset",)),
    **dict.fromkeys(("dawn", "sunup", "morning"), ("sunrise",)),
    **dict.fromkeys(("noon", "midday"), ("12:00",)),
    **dict.fromkeys(("shut", "closed", "down"), ("close",)),
    **dict.fromkeys(("opened", "up"), ("open",)),
    **dict.fromkeys(("midnight",), ("24:00", "00:00")),
}
"""The kinds, icons, presses, times and goals that other words mean; the first that fits."""
_TIME = re.compile(r"(?:(?P<sun>sunrise|sunset)(?:(?P<sign>[-+])|$))?(?P<clock>\d\d?:\d\d|)")
_CLOCK_TEXT = re.compile(r"([0-9]{1,2})[:.]?([0-9]{2})?(?::[0-9]{2})?(?:h|uhr)?([ap])?\.?(?:m\.?)?")
_CLOCK_RANGE = re.compile(r"([0-9]{1,2}:[0-9]{2})(?:-|–|to)([0-9]{1,2}:[0-9]{2})")
_SUN_TEXT = re.compile(r"(sunset|sunrise)([-+])([0-9]{1,3})(m|min|minutes|h|hours)?")
_COMPASS = re.compile(r"([0-9]+(?:\.[0-9]*)?) ?°? ?([NSEWnsew])")
_DAY_RANGE = re.compile(r"([a-z]{3,}) ?(?:-|–|to) ?([a-z]{3,})")
_DAY_WORDS = {
    **dict.fromkeys(("weekday", "weekdays", "workday", "workdays"), DAYS[:5]),
    **dict.fromkeys(("weekend", "weekends"), DAYS[5:]),
    **dict.fromkeys(("all", "daily", "every day", "everyday"), DAYS),
}
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")

_LOST_COMMENT = re.compile(r"(\S+) +\S")
_LOST_COMMENT_FAR = re.compile(r"(\S.*?) {2,}\S")
"""A value before what may be a comment whose sign is lost. A number may have a unit behind it."""

_SHARE = "a number from 0 to 1"
_PERCENT = "a number from 0 to 100"
_MAX_ADVICE = 60
_LETTERS_FOR_DIGITS = str.maketrans("oOlI", "0011")


class Converter(NamedTuple):
    """Conversion of one type.

    `convert` takes the scalar and the folder that relative paths are relative to. It raises
    ValueError (msgspec.ValidationError is one) if the scalar does not fit. `expected` is for the
    message "expected …, got …".
    """

    convert: Callable[[Scalar, Path], Any]
    expected: str


def converter(kind: Any) -> Converter:
    """Return the converter for a type of the schema."""
    if kind in CONVERTERS:
        return CONVERTERS[kind]
    units = _UNITS.get(_unit(kind))
    convert = partial(_to_quantity, kind, units) if units else partial(_to_plain, kind)
    return Converter(convert, expected(kind))


def advice(kind: Any, node: strict_yaml.ScalarNode, folder: Path) -> str:
    """Return what a scalar that a type of the schema does not take was probably meant to be.

    It is empty, or in brackets, to stand at the end of an error.
    """
    for other, pins in _KINDS.items():
        if kind in _KINDS and kind != other and node.value in _choices(other):
            return f" ({node.value} is a kind of {pins})"
    for text, style, words in _repairs(kind, node):
        fixed = strict_yaml.ScalarNode(node.tag, text, node.start_mark, style=style)
        try:
            converter(kind).convert(strict_yaml.scalar(fixed), folder)
        except (ValueError, YamlError):
            continue
        if len(text) <= _MAX_ADVICE and text.isprintable():
            return f" ({words.format(text)})"
    words = gpio_advice(node.value) if kind is Gpio else ""
    if kind is BrokerUrl and "@" in node.value:
        words = "write the URL without what is before @: user and password_file are keys beside it"
    if (unit := _unit(kind)) and re.match(r"\.?[0-9].*[a-z]", node.value):
        match = _QUANTITY.fullmatch(node.value)
        if not match or match[2].lower() not in _UNITS[unit]:
            words = f"write a number with {_UNIT_WORDS[unit]}, or without a unit"
    if kind in _KINDS or kind == Icon | None:
        words = f"write {choice(_choices(kind))}"
    return f" ({words})" if words else ""


def _repairs(kind: Any, node: strict_yaml.ScalarNode) -> Iterator[tuple[str, str | None, str]]:
    """Yield what a scalar may have meant: its text, its style, and the advice to write it."""
    text = node.value
    bare = text.strip(_QUOTES_AND_SPACES).rstrip(",;").replace("\N{MINUS SIGN}", "-")
    if node.style is not None:
        yield text, None, "write {} without quotes"
    elif text == bare and (text not in ("", "true", "false") or kind is Label):
        yield text, '"', 'write it in quotes: "{}"'
    for near in (bare, bare.lower()):
        yield near, None, "write {}"
    yield re.sub(r"([0-9]),([0-9])", r"\1.\2", bare), None, "write {}, with a point"
    yield re.sub(r"^([0-9]{1,2})[.h]([0-9]{2})$", r"\1:\2", bare), None, "write {}"
    yield bare.translate(_LETTERS_FOR_DIGITS), None, "write {}, with digits only"
    yield re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", bare), None, "write {}"
    yield re.sub(r"\.0*$", "", bare), None, "write {}"
    if match := re.fullmatch(r"([0-9.]+) ?m", bare):
        yield f"{match[1]}min", None, "write {} for minutes"
    if match := re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", bare):
        yield f"{int(match[1]) * 60 + int(match[2])}min", None, "write {}, or a number of seconds"
    if "degrees" in expected(kind) and (match := _COMPASS.fullmatch(bare)):
        sign = "-" if match[2] in "SWsw" else ""
        yield f"{sign}{match[1]}", None, "write {}"
    if match := re.fullmatch(r"([0-9]+)( ?%?)", bare):
        if expected(kind).endswith(_PERCENT):
            yield match[1], None, "write {}"
        elif not _unit(kind):
            yield f"{int(match[1]) / 100:g}", None, f"{match[1]} percent is {{}}"
        yield f"{match[1]}ms", None, "write {} for milliseconds"
    if kind is HostName:
        yield re.sub(r"^[a-z]+://(?:.*@)?|(?<=[^:/])[:/].*$", "", bare), None, "write {}"
    if kind is BrokerUrl and "@" not in bare:
        yield f"mqtt://{bare.rpartition('://')[2]}", None, "write {}"
    for value, words in _WORDS_FOR.items():
        if bare.lower() in words:
            for word in ("true" if value else "false", "on" if value else "off"):
                yield word, None, "write {}"
            if expected(kind) == _SHARE:
                yield str(int(value)), None, "write {}"
    choices = [word for word in _choices(kind) if isinstance(word, str)]
    if kind is Day and (days := meant_days(bare)):
        yield days[0], None, f"write {', '.join(days)}"
    if kind in (TimeOfDay, TimeOfDay | None):
        yield from _meant_times(bare.lower().replace(" ", ""))
    for meant in _SYNONYMS.get(bare.lower(), ()):
        yield meant, None, "did you mean {}?"
    starts = [word for word in choices if bare and word.startswith(bare.lower())]
    if near_word := starts[0] if len(starts) == 1 else nearest(bare.lower(), choices):
        yield near_word, None, "did you mean {}?"
    if match := (_LOST_COMMENT if choices or kind is bool else _LOST_COMMENT_FAR).match(bare):
        yield match[1], None, "write {}, and # before the rest"


def _meant_times(text: str) -> Iterator[tuple[str, None, str]]:
    """Yield what a time in another form may have meant: its text, and the advice to write it."""
    if match := _CLOCK_TEXT.fullmatch(text):
        hours = int(match[1])
        if match[3]:  # 12 am is midnight
            hours = hours % 12 + (12 if match[3] == "p" else 0)
        yield f"{hours:02}:{match[2] or '00'}", None, "write {}"
    if match := _CLOCK_RANGE.fullmatch(text):
        yield match[1], None, f"write from: {match[1]} and to: {match[2]}"
    if match := _SUN_TEXT.fullmatch(text):
        in_hours = (match[4] or "").startswith("h")
        hours, minutes = (int(match[3]), 0) if in_hours else divmod(int(match[3]), 60)
        yield f"{match[1]}{match[2]}{hours:02}:{minutes:02}", None, "write {}"


def meant_days(text: str) -> tuple[str, ...]:
    """Return the days that a text such as `Mon-Fri`, `monday, Tue` or `weekend` means, or none."""
    text = text.lower().strip()
    if text in _DAY_WORDS:
        return _DAY_WORDS[text]
    if match := _DAY_RANGE.fullmatch(text):
        first, last = match[1][:3], match[2][:3]
        if first in DAYS and last in DAYS:
            begin, count = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % 7 + 1
            return tuple((DAYS * 2)[begin : begin + count])
    found = tuple(word[:3] for word in re.split(r"[\s,;/+&]+(?:and )?", text))
    return found if all(word in DAYS for word in found) else ()


def _choices(kind: Any) -> Iterator[Any]:
    """Yield the words of a type that is a choice, or has one."""
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield part
        elif get_origin(kind) is not Annotated:
            yield from _choices(part)


def _unit(kind: Any) -> str:
    """Return the unit that the schema gives a number, or an empty text."""
    for part in (kind, *get_args(kind)):
        if get_origin(part) is Annotated and (extra := get_args(part)[1].extra):
            return str(extra.get("unit", ""))
    return ""


def expected(kind: Any) -> str:
    """Return a description of the values that a type of the schema takes."""
    if kind in CONVERTERS:
        return CONVERTERS[kind].expected
    if kind is bool:
        return "true or false"
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return choice(parts)
    if get_origin(kind) is not Annotated:
        return " or ".join(expected(part) for part in parts if part is not NoneType)
    base, meta = parts
    if meta.description:
        return str(meta.description)
    number = "a whole number" if base is int else "a number"
    unit = f" of {meta.extra['unit']}" if meta.extra else ""
    return f"{number}{unit} from {meta.ge} to {meta.le}"


def choice(words: Iterable[object]) -> str:
    """Return the words as "a, b or c". There is at least one."""
    *most, last = [str(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def _to_plain(kind: Any, value: Scalar, folder: Path) -> Any:
    if value is None:  # `key:` alone on its line is an error, even if None is the default
        raise ValueError(value)
    return msgspec.convert(value, kind)


def _to_quantity(kind: Any, units: dict[str, Decimal], value: Scalar, folder: Path) -> Any:
    """Return a number, in the unit that the schema names, of a text such as `20ms`."""
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value.strip(" "))):
        factor = units.get(match[2].lower())
        if factor is None:
            raise ValueError(value)
        value = float(Decimal(match[1]) * factor)
    return _to_plain(kind, value, folder)


def _to_gpio(value: Scalar, folder: Path) -> int:
    number = gpio_number(value) if type(value) in (int, str) else None  # type: ignore[arg-type]
    if number is None:
        raise ValueError(value)
    return number


def _to_time(value: Scalar, folder: Path) -> TimeOfDay:
    """Return the time in a text such as 06:30, 24:00, sunset or sunset+00:20."""
    match: Any = _TIME.fullmatch(msgspec.convert(value, str).replace(" ", ""))
    if not match or not match[0] or bool(match["sign"]) != bool(match["sun"] and match["clock"]):
        raise ValueError(value)
    hours, minutes = (int(part) for part in (match["clock"] or "0:0").split(":"))
    total = hours * 60 + minutes
    if minutes > 59 or total > (24 * 60 - 1 if match["sun"] else 24 * 60):
        raise ValueError(value)
    return TimeOfDay(-total if match["sign"] == "-" else total, match["sun"])


def _to_path(value: Scalar, folder: Path) -> Path:
    text: str = msgspec.convert(value, Annotated[str, Meta(min_length=1)])
    if "\0" in text:
        raise ValueError(value)
    return folder / text


def _to_address(value: Scalar, folder: Path) -> str:
    text = msgspec.convert(value, str)
    if text:
        address, _, scope = text.partition("%")
        ipaddress.ip_address(address)
        if not re.fullmatch(r"[\w.:-]*", scope):
            raise ValueError(value)
    return text


def _to_host_name(value: Scalar, folder: Path) -> str:
    """Return the name. `*.` stands for one label, before a name of two labels or more.

    Anyone may have a name in a domain of one label."""
    name = msgspec.convert(value, str).lower()
    domain = name.removeprefix("*.")
    if not _HOST_NAME.fullmatch(domain) or (domain != name and "." not in domain):
        raise ValueError(value)
    return name


def _to_network(value: Scalar, folder: Path) -> str:
    """Return the network; raise ValueError for one of all addresses, which would trust any client.

    An address with a length has to be the first one of its network, as a typing error seldom is."""
    network = ipaddress.ip_network(msgspec.convert(value, str))
    if network.prefixlen == 0:
        raise ValueError(value)
    return str(network)


def _to_origin(value: Scalar, folder: Path) -> str:
    text = msgspec.convert(value, str)
    origin = origins.parse(text)
    is_page = text.lower().startswith(("http://", "https://")) and text.isascii()
    if origin is None or not is_page or not 0 < origin.port <= 65535 or re.search("[;'*%]", text):
        raise ValueError(value)
    return str(origin)


def _to_broker_url(value: Scalar, folder: Path) -> str:
    """Return the URL; raise ValueError if it has a user, a password or a path.

    The user and the password have keys of their own, and a path does not set the topic.
    """
    text = msgspec.convert(value, str)
    url = urlsplit(text)
    is_one = url.scheme in ("mqtt", "mqtts") and url.hostname and url.port != 0
    if not is_one or text.split("://")[1] != url.netloc or "@" in text or not text.isprintable():
        raise ValueError(text)
    return text


def _to_discovery(value: Scalar, folder: Path) -> Any:
    return False if value is False else msgspec.convert(value, Topic)


def _described(
    kind: Any, convert: Callable[[Scalar, Path], Any] | None = None
) -> dict[Any, Converter]:
    """Return the entry of a type that has its description in the schema."""
    description = str(get_args(kind)[1].description)
    return {kind: Converter(convert or partial(_to_plain, kind), description)}


_PATH = Converter(_to_path, "a path")
CONVERTERS: dict[Any, Converter] = {
    Path: _PATH,
    Path | None: _PATH,
    **_described(Gpio, _to_gpio),
    **_described(Label),
    **_described(Address, _to_address),
    **_described(HostName, _to_host_name),
    **_described(ProxyNetwork, _to_network),
    **_described(PageOrigin, _to_origin),
    **_described(BrokerUrl, _to_broker_url),
    **{
        kind: Converter(partial(_to_plain, kind), f"a kind of {pins}, such as {example}")
        for (kind, pins), example in zip(_KINDS.items(), ("door", "outlet", "fan"), strict=True)
    },
    Icon | None: Converter(partial(_to_plain, Icon), "the name of an icon, such as fish"),
    **dict.fromkeys(
        (TimeOfDay, TimeOfDay | None),
        Converter(_to_time, "a time such as 06:30, 23:00 or sunset+00:20"),
    ),
    Discovery: Converter(_to_discovery, "false or a topic such as homeassistant"),
    bool | CertificateFiles: Converter(
        partial(_to_plain, bool), "true, false or {certificate: FILE, key: FILE}"
    ),
}
"""The types that need more than msgspec's own conversion, or their own description.

msgspec converts all other types; their description comes from their limits.
"""
