"""The outputs as schedules and rules see them."""

from typing import Protocol

from ..gpio.claims import Level


class Outputs(Protocol):
    """The board, as what claims its outputs sees it. Moments are monotonic seconds."""

    def claim(
        self,
        pin: str,
        source: str,
        level: Level,
        value: float,
        began: float,
        seconds: float | None = None,
        edge: bool = False,
        window: float | None = None,
    ) -> None:
        """Begin or renew the claim of a source. It ends `seconds` after `began`, if they are given.

        An `edge` of a rule makes one that ends as one by hand does. `window` is the Unix time at
        which the window of a schedule began. For an output that is unavailable the claim waits.
        """

    def release(self, pin: str, source: str, level: Level) -> None:
        """End the claim of a source, if there is one. The pin may be gone."""

    def relinquish(self, pin: str, by: str, rules_too: bool = False) -> None:
        """End what was switched by hand and by edges, and with `rules_too` by rules."""
