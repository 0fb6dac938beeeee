"""The recipes of docs/automation.md do what the text above each of them says.

Each is taken out of the document and played: the real board, on simulated pins.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from raspi_server.automation.forecast import Forecast
from raspi_server.automation.given import read as read_given
from raspi_server.automation.simulation import play
from tests.automation.house import Zone
from tests.config.reading import read

BERLIN = ZoneInfo("Europe/Berlin")
DOCUMENT = Path(__file__).parents[2] / "docs" / "automation.md"


class Day(NamedTuple):
    """What happens on a day, and what outputs do then: `HH:MM:SS pin value`."""

    date: str
    given: str
    wanted: list[str]


WATERING = [
    "06:00:00 zone1 on", "06:00:00 master on", "06:10:00 zone1 off", "06:10:00 zone2 on",
    "06:20:00 zone2 off", "06:20:00 zone3 on", "06:30:00 zone3 off", "06:30:00 zone4 on",
    "06:40:00 zone4 off", "06:40:00 zone5 on", "06:50:00 zone5 off", "06:50:00 zone6 on",
    "07:00:00 zone6 off", "07:00:00 zone7 on", "07:10:00 zone7 off", "07:10:00 zone8 on",
    "07:20:00 zone8 off", "07:20:05 master off",
]  # fmt: skip
DAYS = {
    "A hall light": [
        Day(
            "2026-06-01",
            """12:00:00 motion on
            12:00:10 motion off
            23:00:00 motion on
            23:00:10 motion off
            23:02:00 motion on
            23:02:10 motion off
            23:30:00 motion on
            23:30:05 button on
            23:30:05.2 button off
            23:30:20 motion off
            23:31:00 motion on
            23:31:10 motion off
            23:50:00 motion on
            23:50:10 motion off""",
            [
                "23:00:00 hall_lamp on",
                "23:05:10 hall_lamp off",
                "23:30:00 hall_lamp on",
                "23:30:05 hall_lamp off",
                "23:50:00 hall_lamp on",
                "23:53:10 hall_lamp off",
            ],
        ),
    ],
    "A doorbell with a chime": [
        Day(
            "2026-06-01",
            """06:59:59 doorbell on
            07:00:00 doorbell off
            12:00:00 doorbell on
            12:00:05 doorbell off""",
            [
                "06:59:59 signal on",
                "07:00:30 signal off",
                "12:00:00 chime on",
                "12:00:00 signal on",
                "12:00:02 chime off",
                "12:00:35 signal off",
            ],
        ),
    ],
    "Watering with eight zones and a master valve": [
        Day("2026-06-01", "", WATERING),
        Day("2026-06-02", "", []),
        Day(
            "2026-06-04",
            """10:00:00 zone3 on
            10:05:00 zone4 on""",
            [
                "10:00:00 zone3 on",
                "10:00:00 master on",
                "10:05:00 zone3 off",
                "10:05:00 zone4 on",
                "10:25:00 zone4 off",
                "10:25:05 master off",
            ],
        ),
    ],
    "A lamp for a door that was left open": [
        Day(
            "2026-06-01",
            """10:00:00 door on
            10:09:00 door off
            11:00:00 door on
            12:00:00 door off""",
            ["11:10:00 lamp on", "12:00:00 lamp off"],
        ),
    ],
    "All off at a long press": [
        Day(
            "2026-06-01",
            """20:00:00 porch on
            20:00:00 fan 0.4
            20:01:00 button on
            20:01:00.3 button off
            21:00:00 button on
            21:00:02 button off""",
            [
                "20:00:00 porch on",
                "20:00:00 fan on",
                "20:01:00 bed on",
                "21:00:00 bed off",
                "21:00:00 porch off",
                "21:00:00 fan off",
            ],
        ),
    ],
    "Lights by the sun, morning and evening": [
        Day(
            "2026-01-05",
            "23:10:00 porch on",
            [
                "06:00:00 porch on",
                "08:03:39 porch off",
                "16:49:42 porch on",
                "23:00:00 porch off",
                "23:10:00 porch on",
                "23:30:00 porch off",
            ],
        ),
        Day("2026-06-21", "", ["21:32:35 porch on", "23:00:00 porch off"]),
        Day("2026-06-22", "", ["21:32:45 porch on", "23:00:00 porch off"]),
    ],
    "Shutters down at sunset": [
        Day(
            "2026-01-05",
            "12:00:00 shutter 40",
            [
                "07:00:00 shutter opening",
                "07:00:28 shutter open",
                "12:00:00 shutter closing",
                "12:00:13 shutter stopped 40 %",
                "16:34:42 shutter closing",
                "16:34:55 shutter closed",
            ],
        ),
        Day("2026-01-04", "", ["16:33:37 shutter closing", "16:33:41 shutter closed"]),
    ],
    "A garage door that was left open at night": [
        Day(
            "2026-06-01",
            """10:00:00 garage open
            21:59:00 garage close
            21:59:30 garage open
            23:00:00 garage_shut on
            23:09:00 garage_shut off
            23:30:00 garage open""",
            [
                "10:00:00 garage opening",
                "10:00:18 garage open",
                "21:59:00 garage closing",
                "21:59:15 garage closed",
                "21:59:30 garage opening",
                "21:59:48 garage open",
                "22:00:00 garage closing",
                "22:00:15 garage closed",
                "23:00:00 garage opening",
                "23:00:18 garage open",
                "23:09:00 garage closed",
                "23:30:00 garage opening",
                "23:30:18 garage open",
                "23:40:00 garage closing",
                "23:40:15 garage closed",
            ],
        ),
    ],
}


def recipes() -> dict[str, str]:
    """Return the YAML of each recipe by its heading."""
    part = DOCUMENT.read_text().partition("\n## Recipes\n")[2]
    headings, texts = re.findall("^### (.*)", part, re.M), re.split("^### .*", part, flags=re.M)[1:]
    shown = [re.findall("^```yaml\n(.*?)^```", text, re.M | re.DOTALL) for text in texts]
    assert all(len(each) == 1 for each in shown)
    return {heading: each[0] for heading, each in zip(headings, shown, strict=True)}


def test_each_recipe_is_tested():
    """No recipe is without a day, and none of them has an error or a warning in `check`."""
    assert list(recipes()) == list(DAYS)
    zone = Zone("Europe/Berlin")
    zone.name = "Europe/Berlin"
    for text in recipes().values():
        problems = Forecast(read(text), at("2026-01-01", "00:00:00"), zone).problems()
        assert [each for each in problems if each.is_error] == []


@pytest.mark.parametrize("heading", DAYS)
def test_recipe(heading):
    """A recipe does in the days of the table what its text says."""
    config = read(recipes()[heading])
    pins = {each.name: each for each in (*config.pins, *config.covers)}
    for date, given, wanted in DAYS[heading]:
        lines = "\n".join(f"{date}T{','.join(line.split())}" for line in given.splitlines())
        events = play(
            config,
            at(date, "00:00:00"),
            at(date, "23:59:59"),
            Zone("Europe/Berlin"),
            read_given(lines, "given", pins, BERLIN),
        )
        assert [
            f"{datetime.fromtimestamp(each.moment, BERLIN):%H:%M:%S} {each.pin} {shown(each.value)}"
            for each in events
            if each.why != "given" or isinstance(each.value, str)
        ] == wanted, date


def shown(value: float | str | None) -> str:
    """Return the state of a cover, or if an output is on."""
    return value if isinstance(value, str) else "on" if value else "off"


def at(date: str, time: str) -> float:
    return datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=BERLIN).timestamp()
