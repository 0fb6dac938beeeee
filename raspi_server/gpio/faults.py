"""Reasons why a line cannot be read or driven."""

from gpiozero.exc import GPIOPinInUse

from ..errors import Reason, reason


class LineInUse(GPIOPinInUse):
    """A line that another program holds."""

    def __init__(self, gpio: int, holder: str) -> None:
        self.reason = reason("line-in-use", gpio=gpio, holder=holder)
        super().__init__(self.reason.message)


def why(error: Exception) -> Reason:
    """Return the reason of one of LINE_ERRORS."""
    return error.reason if isinstance(error, LineInUse) else reason("line-failed", why=str(error))
