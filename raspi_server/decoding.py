"""JSON from clients: decoded into structs, or rejected in our own words.

An error says what was expected and what was sent, both as JSON. The words of the library that
decodes never reach a client.
"""

import json
import math
import re
from typing import Any, NoReturn, TypeVar, get_args

import msgspec
from msgspec import Struct

UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""Errors of decoding JSON from outside: invalid UTF-8 and numbers of thousands of digits raise
ValueError, very deep nesting raises RecursionError."""
VALUE = "value"
"""The field that has the value of a pin, in all messages."""

_WORDS = {"on": 1.0, "true": 1.0, "off": 0.0, "false": 0.0}
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?|\.[0-9]{1,20}")
_MAX_SHOWN = 40
_Any = TypeVar("_Any")


class InputError(ValueError):
    """Input that is rejected; `is_json` tells a wrong field from text that is no JSON."""

    def __init__(self, message: str, is_json: bool) -> None:
        super().__init__(message)
        self.is_json = is_json


def pin_value(sent: Any) -> Any:
    """Return the number that is meant by true, false, "on", "off" in any case, or "0.35".

    Return anything else as it is."""
    if isinstance(sent, bool):
        return float(sent)
    if not isinstance(sent, str):
        return sent
    return _WORDS.get(sent.strip().lower(), number(sent))


def number(sent: Any) -> Any:
    """Return the number that a text such as "40" is. Return anything else as it is."""
    is_number = isinstance(sent, str) and _NUMBER.fullmatch(sent.strip())
    return float(sent) if is_number else sent


_MEANT = {VALUE: pin_value, "position": number}
"""What turns the value of a field into what is meant by it."""


def _meant(name: str, sent: Any) -> Any:
    return _MEANT[name](sent) if name in _MEANT else sent


def decode(decoder: msgspec.json.Decoder[_Any], text: str | bytes, example: str) -> _Any:
    """Return the struct in `text`. Raise InputError; `example` shows what was expected."""
    try:
        return decoder.decode(text)
    except UNREADABLE:
        pass
    kinds: tuple[type[Struct], ...] = get_args(decoder.type) or (decoder.type,)
    try:
        sent = json.loads(text, parse_int=_whole, parse_constant=_reject)
        json.dumps(sent, ensure_ascii=False).encode()  # half a character could not be answered
    except (ValueError, RecursionError):
        shown = text.decode(errors="replace") if isinstance(text, bytes) else text
        raise InputError(f"expected JSON such as {example}, got {shorten(shown)}", False) from None
    if not isinstance(sent, dict):
        raise InputError(f"expected an object such as {example}, got {_show(sent)}", True)
    kind = _kind(sent, kinds)
    try:
        meant = {name: _meant(name, value) for name, value in sent.items()}
        found: _Any = msgspec.convert(meant, decoder.type)
    except UNREADABLE as error:
        raise InputError(_complaint(sent, kind, error), True) from None
    return found


def _kind(sent: dict[str, Any], kinds: tuple[type[Struct], ...]) -> type[Struct]:
    """Return the struct that the object names. Raise InputError."""
    field = kinds[0].__struct_config__.tag_field
    if field is None:
        return kinds[0]
    by_tag = {kind.__struct_config__.tag: kind for kind in kinds}
    found = sent.get(field)
    if isinstance(found, str) and found in by_tag:
        return by_tag[found]
    got = _show(found) if field in sent else "nothing"
    raise InputError(f"{field}: expected {_any_of(by_tag)}, got {got}", True)


def _complaint(sent: dict[str, Any], kind: type[Struct], error: Exception) -> str:
    """Return the first thing that is wrong with an object that is no `kind`."""
    from msgspec import inspect  # only for input that has an error

    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    fields = {field.encode_name: field for field in described.fields}
    for name in sent:
        if name not in fields and name != described.tag_field:
            known = [*([described.tag_field] if described.tag_field else []), *fields]
            what = "field" if len(known) == 1 else "fields"
            return f"expected only the {what} {_any_of(known)}, got {_show(name)}"
    for name, field in fields.items():
        is_sent, value = name in sent, sent.get(name)
        if field.required and not is_sent or is_sent and not _fits(_meant(name, value), kind, name):
            wanted = _expected(field.type)
            if name == VALUE:
                is_number = isinstance(value, int | float)
                wanted = "a number from 0 to 1" + ', true, false, "on" or "off"' * (not is_number)
            return f"{name}: expected {wanted}, got {_show(value) if is_sent else 'nothing'}"
    return str(error.__cause__ or "expected another object")  # the struct's own words


def _fits(sent: Any, kind: type[Struct], name: str) -> bool:
    wanted = next(each.type for each in msgspec.structs.fields(kind) if each.encode_name == name)
    try:
        msgspec.convert(sent, wanted)
    except UNREADABLE:
        return False
    return True


def _expected(described: Any) -> str:
    """Return a description of the values of a field, in JSON terms."""
    kinds = {type(part).__name__: part for part in getattr(described, "types", (described,))}
    parts = []
    if found := kinds.get("FloatType"):
        limits = f" from {found.ge:g} to {found.le:g}" if found.ge is not None else ""
        parts.append(f"a number{limits}")
    if "IntType" in kinds:
        parts.append("a whole number up to 2^53 - 1")
    if found := kinds.get("StrType"):
        least = f"{found.min_length} to " if found.min_length else "at most "
        parts.append(
            "a text" + f" of {least}{found.max_length} characters" * bool(found.max_length)
        )
    return " or ".join(parts)


def _any_of(names: Any) -> str:
    *most, last = [json.dumps(name) for name in names]
    return f"{', '.join(most)} or {last}" if most else last


def _show(sent: Any) -> str:
    """Return a value as JSON, on one short line."""
    if isinstance(sent, float) and not math.isfinite(sent):
        return "a number that is too large"
    return shorten(json.dumps(sent, ensure_ascii=False))


def shorten(text: str) -> str:
    """Return what a client sent on one short line, for an error."""
    one_line = " ".join(text[: 4 * _MAX_SHOWN].split())
    shown = one_line if len(one_line) <= _MAX_SHOWN else f"{one_line[:_MAX_SHOWN]}…"
    return shown.encode(errors="replace").decode() or "nothing"


def _whole(digits: str) -> float:
    return int(digits) if len(digits) < 20 else float(digits)


def _reject(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are no JSON
