"""Converters from a YAML scalar to the value of a key, and the description of what a key takes.

Both depend only on the type that the schema gives the key.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from . import origins, strict_yaml
from .pinout import gpio_number
from .schema import (
    Address,
    BrokerUrl,
    CertificateFiles,
    Discovery,
    Gpio,
    HostName,
    Label,
    PageOrigin,
    ProxyNetwork,
    Topic,
)
from .strict_yaml import Scalar, show

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")


class Converter(NamedTuple):
    """Conversion of one type.

    `convert` takes the scalar and the folder that relative paths are relative to. It raises
    ValueError (msgspec.ValidationError is one) if the scalar does not fit. `expected` and `show`
    give the two halves of the message "expected …, got …".
    """

    convert: Callable[[Scalar, Path], Any]
    expected: str
    show: Callable[[strict_yaml.ScalarNode], str] = show


def converter(kind: Any) -> Converter:
    """Return the converter for a type of the schema."""
    found = CONVERTERS.get(kind)
    return found or Converter(partial(_to_plain, kind), expected(kind))


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


def _to_gpio(value: Scalar, folder: Path) -> int:
    number = gpio_number(value) if type(value) in (int, str) else None  # type: ignore[arg-type]
    if number is None:
        raise ValueError(value)
    return number


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


def _show_text(node: strict_yaml.ScalarNode) -> str:
    is_number = type(strict_yaml.scalar(node)) in (int, float)
    hint = " (put text that looks like a number in quotes)" if is_number else ""
    return show(node) + hint


def _show_url(node: strict_yaml.ScalarNode) -> str:
    if "@" in node.value:  # it may hold a password
        return "a URL with a user or a password; write them as user and password_file"
    return show(node)


def _described(
    kind: Any,
    convert: Callable[[Scalar, Path], Any] | None = None,
    show: Callable[[strict_yaml.ScalarNode], str] = show,
) -> dict[Any, Converter]:
    """Return the entry of a type that has its description in the schema."""
    description = str(get_args(kind)[1].description)
    return {kind: Converter(convert or partial(_to_plain, kind), description, show)}


_PATH = Converter(_to_path, "a path", _show_text)
CONVERTERS: dict[Any, Converter] = {
    Path: _PATH,
    Path | None: _PATH,
    **_described(Gpio, _to_gpio),
    **_described(Label, show=_show_text),
    **_described(Address, _to_address),
    **_described(HostName, _to_host_name),
    **_described(ProxyNetwork, _to_network),
    **_described(PageOrigin, _to_origin),
    **_described(BrokerUrl, _to_broker_url, _show_url),
    Discovery: Converter(_to_discovery, "false or a topic such as homeassistant"),
    bool | CertificateFiles: Converter(
        partial(_to_plain, bool), "true, false or {certificate: FILE, key: FILE}"
    ),
}
"""The types that need more than msgspec's own conversion, or their own description.

msgspec converts all other types; their description comes from their limits.
"""
