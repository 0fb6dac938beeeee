"""A house to play with, on simulated pins, control open to everyone; its motion sensor moves by
itself."""

import asyncio
import itertools
from pathlib import Path

from ..config.parser import parse
from ..config.schema import Config
from ..gpio.board import Board
from ..messages import Drive

_HOUSE = b"""
gpio: simulated
access: {control: everyone}
pins:
  door:     {gpio: 17, mode: input, label: Front door, pull: up, debounce: 0.02}
  motion:   {gpio: 4, mode: input, label: Motion in the hall}
  lamp:     {gpio: 27, mode: output, label: Desk lamp, active: low}
  doorbell: {gpio: 22, mode: output, label: Doorbell, pulse: 0.5}
  fan:      {gpio: 18, mode: pwm, label: Fan}
"""
_MOVES = ((1, 2.0), (0, 5.0), (1, 0.7), (0, 3.3))
"""Level, and for how many seconds."""


def config() -> Config:
    """The house's configuration; a `www` in the working directory adds its pages."""
    return parse(_HOUSE, "demo", Path.cwd())


async def move(board: Board) -> None:
    """Somebody walks through the hall, for ever."""
    for level, seconds in itertools.cycle(_MOVES):
        await board.carry_out(Drive(pin="motion", value=level), "demo")
        await asyncio.sleep(seconds)
