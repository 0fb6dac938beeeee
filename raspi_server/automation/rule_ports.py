"""The board and the windows as rules see them."""

from collections.abc import Mapping
from typing import Protocol

from ..config.schema import PinConfig
from ..gpio.claims import Level
from ..messages import Value


class Window(Protocol):
    """The windows of each day that `only` names."""

    def contains(self, now: float) -> bool:
        """Tell if a Unix time is in one of them. None is open while the clock is not known."""


class Output(Protocol):
    """An open output."""

    @property
    def on_value(self) -> float:
        """The value that `toggle` switches on to."""


class Pin(Protocol):
    """A pin of the board."""

    @property
    def config(self) -> PinConfig:
        """Its keys."""

    @property
    def value(self) -> Value:
        """Its value, None while it is unavailable."""

    @property
    def is_waiting(self) -> bool:
        """True if it is an output that goes on after the pause of its group."""

    @property
    def output(self) -> Output:
        """The open output."""


class Pins(Protocol):
    """The board, as rules see it. An output that is unavailable raises no error."""

    def __getitem__(self, name: str) -> Pin:
        """Return one pin."""

    def values(self) -> Mapping[str, Value]:
        """Return the values of all pins by name."""

    def claim(
        self,
        pin: str,
        source: str,
        level: Level,
        value: float,
        began: float,
        seconds: float | None = None,
        edge: bool = False,
    ) -> None:
        """Begin or renew the claim of a rule. An `edge` makes one that ends as one by hand does."""

    def release(self, pin: str, source: str, level: Level) -> None:
        """End the claim of a rule, if it has one. The pin may be gone."""
