"""A server for the GPIO pins of a Raspberry Pi, with a page for phones and browsers."""

__version__ = "0.9.0"
