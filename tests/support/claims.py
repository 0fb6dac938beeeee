"""A board of plain values that takes claims, for tests of rules without lines.

It knows as much of what wins as rules have to: the newest claim of a level decides, a person before
a rule, and what a person or an edge has switched ends when a rule begins anything. What `cut` has
ended counts again when it begins later.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raspi_server.gpio.claims import Level
from raspi_server.gpio.pin import PinChange


@dataclass(frozen=True)
class Claim:
    source: str
    level: int
    value: float
    began: float
    is_passing: bool


@dataclass
class ClaimedPin:
    """An input whose value a test sets, or an output whose value its claims give."""

    config: Any
    is_output: bool
    value: float | None = 0
    is_waiting: bool = False
    on_value: float = 1

    @property
    def output(self) -> "ClaimedPin":
        assert self.value is not None
        return self


class ClaimedBoard:
    """Pins and claims. `changed` hears of each change; `edges` has the claims of edges."""

    def __init__(self, loop: asyncio.AbstractEventLoop, configs: dict[str, Any]) -> None:
        self._loop = loop
        self.pins = {
            name: ClaimedPin(config, not hasattr(config, "debounce"))
            for name, config in configs.items()
        }
        self.claims: dict[str, dict[str, Claim]] = {name: {} for name in configs}
        self.spent: dict[tuple[str, str], float] = {}
        """The moments of `cut`, by pin and rule."""
        self.edges: list[tuple[float, str, str, float, dict[str, Any]]] = []
        self.changes: list[tuple[float, str, float]] = []
        self.told: list[tuple[float, str, str]] = []
        """The outputs that were reported because their rule ends at another time."""
        self.changed: Callable[[PinChange], None] = lambda change: None
        self.is_opening = False
        """True at a start, until the outputs are opened."""

    def __getitem__(self, name: str) -> ClaimedPin:
        return self.pins[name]

    def values(self) -> dict[str, float | None]:
        return {name: pin.value for name, pin in self.pins.items()}

    def claim(self, pin, source, level, value, began, seconds=None, edge=False):  # type: ignore[no-untyped-def]
        assert seconds is None and level is Level.RULE and self.pins[pin].is_output
        now = self._loop.time()
        assert began <= now
        if edge:
            self.edges.append((now, source, pin, value, self.values()))
        if self.is_opening and (pin, source) in self.spent:
            self.spent[pin, source] = max(self.spent[pin, source], began)
        if began <= self.spent.get((pin, source), 0):
            return
        self.spent.pop((pin, source), None)
        before = self.claims[pin].pop(source, None)
        if not self.is_opening and (before is None or before.began < began):
            self.claims[pin] = {s: c for s, c in self.claims[pin].items() if not c.is_passing}
        self.claims[pin][source] = Claim(source, level, value, began, edge)
        self._decide(pin, f"rule {source}")

    def release(self, pin, source, level):  # type: ignore[no-untyped-def]
        if pin in self.pins:
            self.claims[pin].pop(source, None)
            self.spent.pop((pin, source), None)
            self._decide(pin, f"rule {source}")

    def resume(self, before: "ClaimedBoard") -> None:
        """Go on over a restart with what was cut and what was switched by hand, as with `keep`."""
        self.spent = dict(before.spent)
        for pin, claims in before.claims.items():
            self.claims[pin] |= {name: c for name, c in claims.items() if name == "by hand"}

    def hands(self) -> set[str]:
        """Return the outputs that were switched by hand."""
        return {pin for pin, claims in self.claims.items() if "by hand" in claims}

    def first_value(self, pin: str) -> float | None:
        """Return the value with which an output will be opened."""
        return self._wanted(pin) if self.is_opening and self.pins[pin].is_output else None

    def is_spent(self, pin: str, rule: str) -> bool:
        return (pin, rule) in self.spent

    def cut(self, pin: str) -> None:
        """Let a limit end what is on."""
        for source, claim in list(self.claims[pin].items()):
            if claim.value:
                del self.claims[pin][source]
                if not claim.is_passing:
                    self.spent[pin, source] = self._loop.time()
        self._decide(pin, "max_on")

    def tell(self, pin: str, source: str) -> None:
        self.told.append((self._loop.time(), pin, source))

    def switch(self, pin: str, value: float) -> None:
        """Switch an output by hand."""
        self.claims[pin]["by hand"] = Claim("", Level.MANUAL, value, self._loop.time(), True)
        self._decide(pin, "me")

    def drive(self, pin: str, value: float, moment: float | None = None) -> None:
        """Change an input, and report it."""
        self.pins[pin].value = value
        at = self._loop.time() if moment is None else moment
        self.changed(PinChange(pin, value, at, None))

    def lasting(self) -> dict[tuple[str, str], Claim]:
        """Return the claims that are not of edges, by pin and source."""
        return {
            (pin, name): claim
            for pin, claims in self.claims.items()
            for name, claim in claims.items()
            if not claim.is_passing
        }

    def open(self, name: str) -> None:
        """Open an output: its first value is what its claims give, and no change."""
        self.pins[name].value = self._wanted(name)

    def _wanted(self, name: str) -> float:
        claims = list(self.claims[name].values())
        winner = max(reversed(claims), key=lambda c: (c.level, c.began), default=None)
        return winner.value if winner else 0

    def _decide(self, name: str, by: str) -> None:
        pin, value = self.pins[name], self._wanted(name)
        if pin.value not in (None, value):
            pin.value = value
            now = self._loop.time()
            self.changes.append((now, name, value))
            self.changed(PinChange(name, value, now, by))
