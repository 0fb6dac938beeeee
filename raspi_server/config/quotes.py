"""Quotes in a line of config.yaml."""

import re
from collections.abc import Iterator


def end_of_quotes(value: str) -> int | None:
    """Return the index after the quotes with which a value begins, or None if they stay open."""
    pattern = r'"(?:[^"\\]|\\.)*"' if value[0] == '"' else r"'(?:[^']|'')*'"
    match = re.match(pattern, value)
    return match.end() if match else None


def outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """Yield index and character of all that is not in quotes."""
    place = 0
    while place < len(text):
        is_start = text[place] in "\"'" and (place == 0 or text[place - 1] in " \t{[,:")
        if is_start and (end := end_of_quotes(text[place:])):
            place += end
            continue
        if text[place] == "#" and place and text[place - 1] in " \t":
            yield place, "#"
            return
        yield place, text[place]
        place += 1


def mask_quotes(text: str) -> str:
    """Return a text of the same length in which all that is in quotes is `"`."""
    masked = ['"'] * len(text)
    end = 0
    for place, character in outside_quotes(text):
        masked[place], end = character, place + 1
        if character == "#":
            return "".join(masked[:place])
    return "".join(masked[:end]) + '"' * (len(text) - end)
