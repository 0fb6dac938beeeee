"""Random configurations for the models, and random sequences of events."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.support.model import Pins

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
"""The usual name of each GPIO, and what is connected to it; a motor is an output in a group."""
KINDS = ["input", "output", "pwm", "motor"]
Choices = dict[str, st.SearchStrategy[Any]]
"""The keys of each of KINDS, those that do not open a line again, and the `pause` of the group."""


@st.composite
def configurations(draw: Any, choices: Choices, before: Pins | None = None) -> Pins:
    """A configuration, or an edited one: pins are left, changed, renamed, removed, or moved."""
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
                keys |= draw(choices["unopened"])
        elif act == "rename":
            name = f"{usual}2" if name == usual else usual
        elif act in ("usual", "any"):
            kind = kind if act == "usual" else draw(st.sampled_from(KINDS))
            mode, more = ("output", {"group": "shutter"}) if kind == "motor" else (kind, {})
            keys = {"gpio": gpio, "mode": mode, **draw(choices[kind]), **more}
        found[name] = keys
    pauses = [keys["group_pause"] for keys in found.values() if "group_pause" in keys]
    is_same = pauses and draw(st.booleans(), "same pause")
    pause = pauses[0] if is_same else draw(choices["pause"], "pause")
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
        is_grouped = "group" in keys and members["shutter"] > 1
        for key in ("group", "group_pause") if not is_grouped else ():
            keys.pop(key, None)
        if keys.get("initial") == "on" and ("pulse" in keys or (is_grouped and is_start_taken)):
            keys["initial"] = "off"
        is_start_taken |= is_grouped and keys.get("initial") == "on"
        is_limited = "pulse" in keys or "max_on" in keys
        forbidden = {"on": is_grouped or is_limited, "keep": is_limited or keys["mode"] == "pwm"}
        if forbidden.get(keys.get("on_stop")):
            keys["on_stop"] = "off"
    return found


def run(machine: Callable[[], RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run so many random sequences of events; the shortest one that fails is printed."""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]
        settings=settings(
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )
