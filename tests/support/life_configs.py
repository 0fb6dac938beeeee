"""Configurations and messages for lives over the network."""

from typing import Any

from hypothesis import strategies as st

from tests.support.life_server import Pins
from tests.support.model import allowed

SHORT = 0.02
LONG = 3600.0
LONGEST_PAUSE = 60.0
"""Seconds. No life here lasts as long as the longest pause that a configuration may ask for."""

Keys = dict[str, Any]
HERE: Keys = {}
KEEP: Keys = {"initial": "keep", "on_stop": "keep"}
RESTORE: Keys = {"initial": "restore"}
INPUTS: list[Keys] = [HERE, {"pull": "up"}, {"debounce": SHORT}, {"active": "low"}]
LAMPS: list[Keys] = [
    HERE,
    KEEP,
    RESTORE,
    {"initial": "on", "active": "low"},
    {"max_on": LONG, "initial": "keep"},
    {"max_on": SHORT},
    {"control": "nobody", "initial": "on"},
    {"pulse": SHORT},
    {"pulse": LONG, "initial": "keep"},
    {"pulse": LONG, "max_on": LONG / 2, "initial": "restore", "on_stop": "input"},
]
FANS: list[Keys] = [
    HERE,
    {"initial": 0.25},
    {"initial": "keep", "max_on": LONG},
    RESTORE | {"active": "low"},
]
MOTORS: list[Keys] = [HERE, KEEP, RESTORE, {"pulse": LONG}]
PLAN = {
    "door": (4, "input", INPUTS),
    "bell": (7, "input", INPUTS),
    "lamp": (17, "output", LAMPS),
    "gate": (22, "output", LAMPS),
    "fan": (18, "pwm", FANS),
    "up": (5, "output", [*MOTORS, {"initial": "on"}]),
    "down": (6, "output", MOTORS),
}
GPIOS = [gpio for gpio, _, _ in PLAN.values()]

# Reset: each line is closed, driven low, and forgotten.
AS_INPUTS: Pins = {f"p{gpio}": {"gpio": gpio, "mode": "input"} for gpio in GPIOS}
AS_OUTPUTS: Pins = {f"p{gpio}": {"gpio": gpio, "mode": "output"} for gpio in GPIOS}
AT_REST: Pins = {name: keys | {"initial": "restore"} for name, keys in AS_OUTPUTS.items()}

FAULTY = ["pins: [lamp]\n", "\t", "pins: {lamp: {gpio: 99, mode: output}}\n", "prot: 80\n", None]

WRONG = [
    ("hello", "bad-message", False),
    ("[1]", "bad-message", False),
    ('{"type":"set","pin":"lamp","value":1,"ref":1.5}', "bad-message", False),
    ('{"type":"set","pin":"lamp","ref":%s}', "bad-message", True),
    ('{"type":"set","pin":"lamp","value":true,"ref":%s}', "bad-message", True),
    ('{"type":"set","pin":"lamp","value":"1","ref":%s}', "bad-message", True),
    ('{"type":"set","pin":["lamp"],"value":1,"ref":%s}', "bad-message", True),
    ('{"type":"open","pin":"lamp","ref":%s}', "bad-message", True),
    ('{"type":"toggle","pin":"nope","ref":%s}', "unknown-pin", True),
]
"""Messages that are no command, each with the code of its error, and whether that has the ref."""

WRONG_HTTP = [
    ("PUT", "/api/pins/nope", '{"value":1}', "unknown-pin"),
    ("PUT", "/api/pins/nope", "{", "bad-message"),
    ("PUT", "/api/pins/lamp", '{"value":true}', "bad-value"),
    ("PUT", "/api/pins/lamp", '{"vlaue":1}', "bad-value"),
    ("POST", "/api/pins/nope/toggle", None, "unknown-pin"),
    ("POST", "/api/pins/lamp/pulse", '{"seconds":"1"}', "bad-value"),
    ("DELETE", "/api/pins/lamp", None, "method"),
]


@st.composite
def configurations(draw: Any, before: Pins | None = None) -> Pins:
    """A configuration, of which most is as it was before."""
    old = {keys["gpio"]: (name, keys) for name, keys in (before or {}).items()}
    pauses = [keys["group_pause"] for _, keys in old.values() if "group" in keys]
    pause = draw(st.sampled_from([*pauses, 0, SHORT, LONGEST_PAUSE]), "pause")
    found: Pins = {}
    for plain, (gpio, mode, variants) in PLAN.items():
        name, keys = old.get(gpio, (plain, {}))
        acts = ["leave", "leave", "new", "label", "rename", "other", "remove"]
        act = draw(st.sampled_from(acts if keys else ["new", "new", "remove"]), plain)
        if act == "remove":
            continue
        if act == "label":
            keys = keys | {"label": draw(st.sampled_from(["One", "Other"]))}
        elif act == "rename":
            name = plain if name != plain else f"{plain}2"
        elif act == "other":
            keys = {"gpio": gpio, "mode": "output" if keys["mode"] == "input" else "input"}
        elif act == "new":
            keys = {"gpio": gpio, "mode": mode, **draw(st.sampled_from(variants))}
        if plain in ("up", "down") and keys["mode"] == "output":
            keys = keys | {"group": "shutter", "group_pause": pause}
        found[name] = keys
    return allowed(found) or {"lamp": {"gpio": 17, "mode": "output"}}


def is_quick(keys: dict[str, Any]) -> bool:
    """Return whether something may happen by itself while a test is still sending."""
    return SHORT in keys.values()
