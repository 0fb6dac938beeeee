"""The GPIO pins of a Raspberry Pi, live on any phone in the house."""

__version__ = "0.3.0"
