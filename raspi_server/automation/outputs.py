"""The outputs as automation sees them."""

from typing import Protocol

SCHEDULE = 1
"""The level of schedules, above the default value of an output, and below rules and people."""


class Outputs(Protocol):
    """Claims on outputs. A claim is the value that one source wants for one output.

    The highest level decides, and within a level the claim that began last, in monotonic seconds.
    """

    def claim(
        self,
        pin: str,
        source: str,
        level: int,
        value: float,
        began: float,
        seconds: float | None = None,
    ) -> None:
        """Begin or renew the claim of a source. It ends `seconds` after `began`, if they are given.

        For an output that is unavailable it waits."""

    def release(self, pin: str, source: str, level: int) -> None:
        """End the claim of a source, if there is one. The next one decides."""

    def relinquish(self, pin: str) -> None:
        """End what was switched by hand, and by edges of inputs."""
