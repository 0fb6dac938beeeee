"""Reasons of errors and notices: each has words in each language, which use only its values."""

import ast
import json
import re
from pathlib import Path
from string import Formatter
from typing import Any, get_args

import pytest

from raspi_server.config.kinds import InputKind, OutputKind
from raspi_server.errors import NOTICES, REASONS, STATUS, reason, refusal

ROOT = Path(__file__).parents[1]
LANGUAGES = sorted((ROOT / "www/languages").glob("*.json"))
SAID = {f"error:{name}": text for name, (_, text) in REASONS.items()}
SAID |= {f"error:{code}": "" for code in STATUS if code not in REASONS}
SAID |= {f"notice:{name}": text for name, (_, text) in NOTICES.items()}
"""The key of each reason in a language file, and its English message."""


def values_of(message: str) -> set[str]:
    """Return the names of the values of a message."""
    return {name for _, name, _, _ in Formatter().parse(message) if name}


def load(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_every_reason_has_words(file: Path) -> None:
    """Each language has words for each reason and each code. Their braces name values of it."""
    strings = load(file)
    page = strings["details"] | strings["covers"] | strings["page"]
    for key, message in SAID.items():
        assert page.get(key), key
        assert set(re.findall(r"\{(\w+)\}", page[key])) <= values_of(message), key


@pytest.mark.parametrize("file", LANGUAGES, ids=lambda file: file.stem)
def test_every_kind_has_words(file: Path) -> None:
    """Each language has an entry for each kind, and words for both states of each input."""
    kinds = load(file)["kinds"]
    inputs = {kind for part in get_args(InputKind) for kind in get_args(part)}
    assert (kinds["inputs"].keys(), kinds["outputs"].keys()) == (inputs, {*get_args(OutputKind)})
    assert all(words["on"] and words["off"] for words in kinds["inputs"].values())


def calls() -> list[tuple[str, set[str | None]]]:
    """Return the name and the values of each call of `reason` and `refusal` that has a name."""
    found = []
    for file in (ROOT / "raspi_server").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("reason", "refusal"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant):
                    found.append((first.value, {keyword.arg for keyword in node.keywords}))
    return found


def test_reasons_are_given_with_their_values() -> None:
    """What gives a reason gives exactly the values that its message has. No reason is unused."""
    package = [file for file in (ROOT / "raspi_server").rglob("*.py") if file.name != "errors.py"]
    source = "".join(file.read_text(encoding="utf-8") for file in package)
    assert not [name for name in (*REASONS, *NOTICES) if f'"{name}"' not in source]
    found = calls()
    assert len(found) > 30
    for name, given in found:
        _, message = REASONS.get(name) or NOTICES[name]
        assert None in given or given == values_of(message), name


def test_a_refusal() -> None:
    """A refusal has the code, the message, the reason and its values; braces in these stay."""
    error = refusal("not-0-or-1", 7, label="{x}", got="35")
    assert (error.code, error.reason, error.ref) == ("bad-value", "not-0-or-1", 7)
    assert error.message == str(error) == "{x}: expected 0 or 1, got 35"
    assert error.values == {"label": "{x}", "got": "35"}
    assert str(reason("simulated")).startswith("The pins are simulated")
