"""The lists of kinds, pictures and strings agree with each other."""

import html
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import raspi_server
from raspi_server.config.kinds import Icon, InputKind, OutputKind, PwmKind
from raspi_server.web.context import BUILT_IN_WWW

UI = BUILT_IN_WWW / "ui"
LANGUAGES = sorted((BUILT_IN_WWW / "languages").glob("*.json"))
ENGLISH: dict[str, dict[str, Any]] = json.loads((BUILT_IN_WWW / "languages/en.json").read_text())
USING = (".js", ".html", ".py")
PLURAL = re.compile(r"_(one|other)$")
INPUT_KINDS = {kind for each in get_args(InputKind) for kind in get_args(each)}
OUTPUT_KINDS = {*get_args(OutputKind), *get_args(PwmKind)}


def block(name: str) -> str:
    """Return an object of kinds.js as its text."""
    found = re.search(rf"const {name} = {{\n(.*?)\n}}", (UI / "kinds.js").read_text(), re.S)
    assert found
    return found[1]


def keys(text: str) -> set[str]:
    return set(re.findall(r'^ *"?([a-z_-]+)"?: ', text, re.M))


def pictures() -> set[str]:
    return set(re.findall(r'^  "?([a-z-]+)"?: "M', (UI / "icons.js").read_text(), re.M))


def test_each_kind_and_icon_has_a_picture() -> None:
    """The page knows the kinds of config.yaml and no other, and has a picture of each, and of
    each icon that config.yaml can choose. It has no other pictures than pages name."""
    assert keys(block("INPUTS")) == INPUT_KINDS
    assert keys(block("OUTPUTS")) == OUTPUT_KINDS
    named = set(re.findall(r'"([a-z-]+)"', block("INPUTS") + block("OUTPUTS")))
    named -= {"calm", "warm", "attention", "alarm"}
    known = {*get_args(Icon), *named}
    assert known <= pictures()
    pages = "".join(file.read_text() for file in BUILT_IN_WWW.rglob("*.js"))
    for name in pictures() - known:
        assert f'"{name}")' in pages or f'", "{name}"' in pages or name == "door-garage-open"


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_each_kind_has_words_in_each_language(file: Path) -> None:
    """An input has a word for both of its states. Words of kinds that are unknown are an error."""
    kinds: dict[str, dict[str, Any]] = json.loads(file.read_text())["kinds"]
    assert set(kinds["inputs"]) == INPUT_KINDS
    assert set(kinds["outputs"]) == OUTPUT_KINDS
    for words in kinds["inputs"].values():
        assert words["on"] != words["off"]


@pytest.mark.parametrize(
    ("page", "sections"),
    [
        ("index.html", ("page",)),
        ("fleet/index.html", ("fleet", "page")),
        ("trust/index.html", ("trust",)),
        ("dashboard/*.js", ("details", "automation", "covers", "page")),
    ],
)
def test_each_text_of_a_page_has_a_string(page: str, sections: tuple[str, ...]) -> None:
    """The files of languages have all strings that HTML names."""
    text = "".join(file.read_text() for file in BUILT_IN_WWW.glob(page))
    named = set(re.findall(r'data-(?:text|label)="(\w+)"', text))
    assert named and named <= {key for section in sections for key in ENGLISH[section]}


def test_trust_page_is_english_without_a_script() -> None:
    """The trust page has the strings of en.json, for browsers that load no file."""
    text = (BUILT_IN_WWW / "trust/index.html").read_text()
    found = re.findall(r'data-text="(\w+)"[^>]*>([^<]*)<', text)
    assert {(key, html.unescape(words)) for key, words in found} == set(ENGLISH["trust"].items())


@pytest.mark.parametrize("section", ["page", "details", "automation", "covers", "fleet", "trust"])
def test_each_string_is_used(section: str) -> None:
    """Translators have nothing to do that nobody reads."""
    folders = (BUILT_IN_WWW, Path(raspi_server.__file__).parent)
    files = [file for each in folders for file in each.rglob("*") if file.suffix in USING]
    pages = "".join(file.read_text() for file in files)
    keys = {PLURAL.sub("", key).rpartition(":")[2] for key in ENGLISH[section]}
    assert [key for key in keys if not re.search(rf'"{key}["\s]|\b{key}:', pages)] == []
