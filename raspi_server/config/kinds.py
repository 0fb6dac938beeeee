"""Kinds of pins: what a pin means to the people of the house.

Pages have a picture, colours and words in each language for each kind (`www/ui/kinds.js`,
`www/languages/`). Where Home Assistant has a device class for it, a kind has its name.
"""

from typing import Literal, get_args

OpeningKind = Literal["door", "window", "garage_door", "gate", "opening"]
InputKind = (
    OpeningKind
    | Literal[
        "lock",
        "motion",
        "occupancy",
        "presence",
        "smoke",
        "gas",
        "carbon_monoxide",
        "moisture",
        "problem",
        "tamper",
        "vibration",
        "sound",
        "light",
        "power",
        "running",
        "heat",
        "cold",
        "button",
    ]
)
OutputKind = Literal[
    "switch", "outlet", "light", "fan", "heater", "pump", "valve", "siren", "lock",
    "button", "bell", "garage_door", "gate",
]  # fmt: skip
PwmKind = Literal["light", "fan", "heater", "pump"]
CoverKind = Literal[
    "garage_door", "gate", "door", "window", "shutter", "blind", "awning", "curtain"
]  # fmt: skip
Icon = Literal[
    "bell", "blinds", "bolt", "bulb", "button", "camera", "car", "cold", "desk-lamp", "door",
    "door-garage", "droplets", "fan", "fish", "flame", "fumes", "garden", "gas", "gate", "heater",
    "house", "key", "lock", "motion", "music", "oven", "person", "pet", "plug", "pool", "power",
    "pump", "radiator", "running", "shield", "siren", "smoke", "snow", "sound", "sprinkler", "sun",
    "switch", "thermometer", "tv", "valve", "vibration", "warning", "wifi", "window",
]  # fmt: skip
"""Names of the pictures in `www/ui/icons.js`."""

OPENINGS = frozenset(get_args(OpeningKind))
"""Inputs whose 1 means open. A contact with a pull opens the circuit when the door opens."""
ALARMS = frozenset({"smoke", "gas", "carbon_monoxide", "moisture", "problem", "tamper", "siren"})
"""Kinds whose 1 is an alarm."""
PRESSED = frozenset({"button", "bell", "garage_door", "gate"})
"""Outputs that are pressed, not switched: they have a `pulse`."""
BUTTON_DEBOUNCE_S = 0.03
"""Default of `debounce` for an input of the kind button: its contacts bounce for less."""

_IN_WORDS = {
    **dict.fromkeys(OPENINGS | {"valve"}, ("open", "closed")),
    "lock": ("unlocked", "locked"),
    "motion": ("motion", "no motion"),
    "occupancy": ("occupied", "empty"),
    "presence": ("present", "away"),
    "smoke": ("smoke", "no smoke"),
    "gas": ("gas", "no gas"),
    "carbon_monoxide": ("carbon monoxide", "no carbon monoxide"),
    "moisture": ("wet", "dry"),
    "problem": ("problem", "in order"),
    "tamper": ("tampered with", "untouched"),
    "vibration": ("vibration", "still"),
    "sound": ("sound", "quiet"),
    "light": ("light", "dark"),
    "power": ("powered", "no power"),
    "running": ("running", "not running"),
    "heat": ("hot", "not hot"),
    "cold": ("cold", "not cold"),
    "button": ("pressed", "released"),
}


def in_words(kind: str | None, mode: str) -> tuple[str, str]:
    """Return what 1 and 0 mean, in English, for `check` and the log."""
    if mode != "input" and kind not in ("lock", "valve"):
        return "on", "off"
    return _IN_WORDS.get(kind or "", ("on", "off"))
