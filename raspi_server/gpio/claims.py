"""Claims: the values that sources want for an output, and which of them decides."""

from enum import IntEnum


class Level(IntEnum):
    """The strength of a claim. A higher one wins."""

    DEFAULT = 0
    SCHEDULE = 1
    RULE = 2
    MANUAL = 3
