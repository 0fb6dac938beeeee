"""Random configurations for the model: the first one of a sequence of events, and edited ones."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.support.model import Keys, Pins

USUAL = {
    4: ("door", "input"),
    7: ("bell", "input"),
    17: ("lamp", "output"),
    18: ("gate", "output"),
    12: ("fan", "pwm"),
    5: ("up", "motor"),
    6: ("down", "motor"),
    13: ("tilt", "motor"),
}
"""The usual name of each GPIO, and what is usually connected to it. A motor is an output in the
only group."""


@dataclass(frozen=True)
class Choices:
    """The keys that configurations may have, by kind of pin: `input`, `output`, `pwm`, `motor`.
    `unopened` are keys that a reload may change without opening the line again."""

    kinds: dict[str, st.SearchStrategy[Keys]]
    unopened: st.SearchStrategy[Keys]
    pauses: list[float]


@st.composite
def configurations(draw: Any, choices: Choices, before: Pins | None = None) -> Pins:
    """A configuration, or an edited one: each pin is left, relabelled, renamed, changed into
    another, or removed, and the order may change."""
    old = {keys["gpio"]: (name, keys) for name, keys in (before or {}).items()}
    found: Pins = {}
    for gpio in draw(st.permutations([*USUAL])) if before and draw(st.booleans()) else [*USUAL]:
        usual, kind = USUAL[gpio]
        name, keys = old.get(gpio, (usual, {}))
        if keys:
            acts = ["leave", "leave", "relabel", "rename", "usual", "any", "remove"]
        else:
            acts = ["remove", "remove", "usual", "any"] if before else ["remove", "usual"]
        act = draw(st.sampled_from(acts), f"GPIO{gpio}")
        if act == "remove":
            continue
        if act == "relabel":
            keys = keys | {"label": draw(st.sampled_from(["One", "Other"]))}
            if keys["mode"] != "input":
                keys |= draw(choices.unopened)
        elif act == "rename":
            name = f"{usual}2" if name == usual else usual
        elif act in ("usual", "any"):
            kind = kind if act == "usual" else draw(st.sampled_from([*choices.kinds]))
            mode = "output" if kind == "motor" else kind
            keys = {"gpio": gpio, "mode": mode, **draw(choices.kinds[kind])}
            if kind == "motor":
                keys["group"] = "shutter"
        found[name] = keys
    pauses = {keys["group_pause"] for keys in found.values() if "group_pause" in keys}
    pause = draw(st.sampled_from([*pauses, *pauses, *choices.pauses]), "pause")
    for name, keys in found.items():
        if "group" in keys:
            found[name] = keys | {"group_pause": pause}
    return allowed(found) or {"lamp": {"gpio": 17, "mode": "output"}}


def allowed(pins: Pins) -> Pins:
    """Return the nearest valid configuration: a group has two outputs or more, at most one of them
    starts on and none is left on; nothing with a time limit is left on; no pulse begins at a start;
    no duty cycle is kept at a stop."""
    found = {name: dict(keys) for name, keys in pins.items()}
    members = Counter(keys.get("group") for keys in found.values())
    is_start_taken = False
    for keys in found.values():
        if members[keys.get("group")] == 1:
            keys.pop("group", None)
        is_grouped = "group" in keys
        if not is_grouped:
            keys.pop("group_pause", None)
        if keys.get("initial") == "on" and ("pulse" in keys or (is_grouped and is_start_taken)):
            keys["initial"] = "off"
        is_start_taken |= is_grouped and keys.get("initial") == "on"
        is_limited = "pulse" in keys or "max_on" in keys
        forbidden = {"on": is_grouped or is_limited, "keep": is_limited or keys["mode"] == "pwm"}
        if forbidden.get(keys.get("on_stop")):
            keys["on_stop"] = "off"
    return found
