"""The board and the windows as rules see them."""

from collections.abc import Mapping
from typing import Protocol

from ..config.schema import PinConfig
from ..messages import Value
from .outputs import Outputs


class Window(Protocol):
    """The windows of each day that `only` names."""

    def contains(self, now: float) -> bool:
        """Tell if a Unix time is in one of them. None is open while the clock is not known."""

    def stays_open(self, now: float, until: float) -> bool:
        """Tell if none that is open now closes before a later time, or another begins then."""


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


class Pins(Outputs, Protocol):
    """The board, as rules see it. An output that is unavailable raises no error."""

    def __getitem__(self, name: str) -> Pin:
        """Return one pin."""

    def first_value(self, pin: str) -> Value:
        """Return the value with which an output that is not open yet will be opened.

        All that claims it has done so. None is a pin that is unavailable.
        """

    def is_spent(self, pin: str, rule: str) -> bool:
        """Return True if a limit or `relinquish` has ended what a rule claims for an output."""

    def tell(self, pin: str, source: str) -> None:
        """Report an output that the rule `source` decides: until when it does has changed."""

    def values(self) -> Mapping[str, Value]:
        """Return the values of all pins by name."""
