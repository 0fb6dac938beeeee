"""Broken configurations and what people are told: the corpus in broken.txt, and mutations."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from raspi_server.config.errors import ConfigError
from tests.config.reading import read

CORPUS = Path(__file__).with_name("broken.txt")
PARSER_WORDS = re.compile(
    r"mapping values|simple key|block (end|mapping|sequence)|scanning|parsing|token|scalar|flow"
)


class Case(NamedTuple):
    title: str
    text: str
    told: list[tuple[str, int, list[str]]]
    """For each error or warning: `->` or `-?`, its line, and the words that it has."""


def cases():
    """Return the cases of the corpus."""
    _, *parts = CORPUS.read_text().split("\n== ")
    found = []
    for part in parts:
        title, *rows = re.sub(r"\n## .*", "", part).strip("\n").split("\n")
        told, text = [], []
        for row in rows:
            match = re.fullmatch(r"(->|-\?) (\d+): (.*)", row)
            if match:
                told.append((match[1], int(match[2]), match[3].split(" | ")))
            else:
                text.append(row.replace("␉", "\t").replace("⍽", "\xa0"))
        found.append(Case(title, "\n".join(text).rstrip("\n") + "\n", told))
    return found


def report(text):
    """Return the errors and the warnings of a text, and all that the terminal shows of it."""
    warnings = []
    try:
        read(text, warnings=warnings)
    except ConfigError as error:
        return error.errors, warnings, error.report
    return (), warnings, ""


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.title)
def test_message_suffices_to_mend_the_file(case):
    """Each error names the line of the mistake, and says in our words what to write there. No
    message, and no excerpt, shows a password."""
    errors, warnings, shown = report(case.text)
    wanted = [told for told in case.told if told[0] == "->"]
    assert [error.line for error in errors] == [line for _, line, _ in wanted], shown
    for error, (_, _, words) in zip(errors, wanted, strict=True):
        assert all(word in str(error) for word in words), str(error)
        assert error.message.startswith("expected ")
    wanted = [told for told in case.told if told[0] == "-?"]
    if not errors:
        assert [warning.line for warning in warnings] == [line for _, line, _ in wanted]
        for warning, (_, _, words) in zip(warnings, wanted, strict=True):
            assert all(word in str(warning) for word in words), str(warning)
    assert not PARSER_WORDS.search(shown)
    assert "s3cret" not in shown and "77777" not in shown


def test_corpus_is_large():
    """The corpus has at least sixty files, each with something to tell."""
    assert len(cases()) >= 60
    assert all(case.told for case in cases())
