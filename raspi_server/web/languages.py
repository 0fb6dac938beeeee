"""Languages of the pages, as the server itself needs them: for `/plain`, which runs no script.

Their strings are in the files that the other pages load, `languages/TAG.json`. A file in the user's
own folder counts before a built-in one. What a file lacks is English.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec

from ..decoding import UNREADABLE
from ..errors import Values
from ..messages import PinInfo
from .compression import open_regular
from .versions import languages

_FOLDER = "languages"
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")
_MAX_WANTED = 20
"""Most languages of a browser that count."""
_MAX_FILE_BYTES = 1024 * 1024
_MAX_LOGGED_KEYS = 5
_FORMER_TAGS = {"in": "id", "iw": "he", "ji": "yi"}
"""The tags of languages as old Androids send them."""
_BRACES = re.compile(r"\{(\w+)\}")
_ENGLISH = "en"
_PARTS = {"first": ("name", "direction", "page", "kinds"), "covers": ("covers",)}
"""The sections in a part of a file: `first` is all that a list of pins needs."""
_PART = re.compile(rf"(?P<file>{_FOLDER}/{_TAG.pattern})\.(?P<part>{'|'.join(_PARTS)})\.json")

log = logging.getLogger(__name__)


class _Strings(msgspec.Struct, frozen=True):
    """The sections of a file that the server needs."""

    page: dict[str, str] = {}
    covers: dict[str, str] = {}
    plain: dict[str, str] = {}
    kinds: dict[str, dict[str, dict[str, str]]] = {}
    direction: Literal["ltr", "rtl"] = "ltr"


class Language(NamedTuple):
    """A language by its tag, with all its strings; those that its file lacks are English."""

    tag: str
    direction: Literal["ltr", "rtl"]
    page: Mapping[str, str]
    plain: Mapping[str, str]
    kinds: Mapping[str, Mapping[str, Mapping[str, str]]]

    def text(self, key: str, **values: str | int | float) -> str:
        """Return a string of the plain page with its braces filled in."""
        return fill(self.plain[key], values)

    def worded(self, key: str, values: Values) -> str | None:
        """Return the string for a reason, such as `error:nobody`, or None if there is none."""
        template = self.page.get(key)
        if not template or not values.keys() >= {*_BRACES.findall(template)}:
            return None
        return fill(template, values)

    def kind(self, pin: PinInfo) -> Mapping[str, str]:
        """Return the words of a pin's kind: `on`, `off` and `press`, as far as it has them."""
        section = "inputs" if pin.mode == "input" else "outputs"
        return self.kinds.get(section, {}).get(pin.kind or "", {})


def part_of(path: str) -> tuple[str, str]:
    """Return `languages/TAG.json` and `first` for `languages/TAG.first.json`.

    For a path that names no part, return the path itself and "".
    """
    found = _PART.fullmatch(path)
    return (f"{found['file']}.json", found["part"]) if found else (path, "")


def part_strings(file: bytes, part: str) -> bytes:
    """Return the sections of a language's file that belong to a part.

    A file that is no JSON object stays as it is: the page says what is wrong with it.
    """
    try:
        sections = msgspec.json.decode(file, type=dict[str, Any])
    except UNREADABLE:
        return file
    return msgspec.json.encode({name: sections[name] for name in _PARTS[part] if name in sections})


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Return a string with its braces filled in; braces without a value stay."""
    return _BRACES.sub(lambda found: str(values.get(found[1], found[0])), template)


class Languages:
    """The languages of the pages in some folders: the first that has a file wins.

    A file is read when the first browser wants it, and again after it has changed. What is wrong
    with it is logged then.
    """

    def __init__(self, folders: Callable[[], Sequence[str]], built_in: str) -> None:
        self._folders = folders
        self._built_in = built_in
        self._known: dict[str, tuple[object, Language | None]] = {}

    def choose(self, accepted: str) -> Language:
        """Return the first language of an `Accept-Language` that there is, else English."""
        folders = self._folders()
        names = [each.rstrip("+") for each in languages(folders)]
        for tag in _wanted(accepted):
            name = _name_of(tag, names)
            for folder in folders if name else ():
                if found := self._language(_path(folder, name), name):
                    return found
        return _language(_ENGLISH, self._english, self._english)

    @cached_property
    def _english(self) -> _Strings:
        return _decode(_path(self._built_in, _ENGLISH))

    def _language(self, path: str, tag: str) -> Language | None:
        """Return the language in a file, or None if there is none that can be read."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if path not in self._known or self._known[path][0] != stamp:
            self._known[path] = stamp, self._read(path, tag)
        return self._known[path][1]

    def _read(self, path: str, tag: str) -> Language | None:
        english = self._english
        try:
            strings = _decode(path)
        except (OSError, *UNREADABLE) as error:
            log.warning("%s: %s; the plain page does without it", path, error)
            return None
        lacking = [f"plain.{key}" for key in english.plain if not strings.plain.get(key)]
        lacking += [f"page.{key}" for key in _reasons(english) if not strings.page.get(key)]
        if lacking:
            shown = ", ".join(lacking[:_MAX_LOGGED_KEYS])
            more = ", …" if len(lacking) > _MAX_LOGGED_KEYS else ""
            log.warning("%s: no %s%s; on the plain page these are English", path, shown, more)
        return _language(tag, strings, english)


def _path(folder: str, tag: str) -> str:
    return os.path.join(folder, _FOLDER, f"{tag}.json")


def _decode(path: str) -> _Strings:
    """Return the strings in a file. Raises OSError, or one of UNREADABLE."""
    with open_regular(path) as file:
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"expected at most {_MAX_FILE_BYTES} bytes")
    return msgspec.json.decode(data, type=_Strings)


def _reasons(strings: _Strings) -> list[str]:
    return [key for key in strings.page if key.startswith(("error:", "notice:"))]


def _language(tag: str, strings: _Strings, english: _Strings) -> Language:
    kinds = {
        section: {
            kind: _over(words, strings.kinds.get(section, {}).get(kind, {}))
            for kind, words in kinds.items()
        }
        for section, kinds in english.kinds.items()
    }
    page = _over(english.covers, strings.covers) | _over(english.page, strings.page)
    return Language(tag, strings.direction, page, _over(english.plain, strings.plain), kinds)


def _over(english: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    return {**english, **{key: text for key, text in own.items() if text}}


def _wanted(accepted: str) -> list[str]:
    """Return the tags of an `Accept-Language` in lower case, the best first."""
    found: list[tuple[float, str]] = []
    for part in accepted.lower().split(",")[:_MAX_WANTED]:
        tag, *parameters = (each.strip() for each in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        is_number = quality.replace(".", "", 1).isdecimal()
        if _TAG.fullmatch(tag) and is_number and float(quality) > 0:
            found.append((float(quality), tag))
    found.sort(key=lambda each: -each[0])
    return [tag for _, tag in found]


def _name_of(tag: str, names: Sequence[str]) -> str:
    """Return the name of the file for a language, "" without one, as `www/ui/i18n.js` does.

    It is that of its region or script, that of the language, or that of another region."""
    language, *rest = tag.split("-")
    language = _FORMER_TAGS.get(language, language)
    for end in range(len(rest), -1, -1):
        if (name := "-".join((language, *rest[:end]))) in names:
            return name
    return next((name for name in names if name.startswith(f"{language}-")), "")
