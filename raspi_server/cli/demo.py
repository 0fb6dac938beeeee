"""The command `raspi-server demo`: simulated pins that everyone may switch.

Its motion sensor changes by itself. A garage door and a shutter move when they are told to.
"""

import asyncio
import itertools
from pathlib import Path

from ..config.parser import parse
from ..config.schema import Config
from ..gpio.board import Board
from ..messages import Drive

_CONFIG = b"""
gpio: simulated
access: {control: everyone}
pins:
  door: {gpio: 17, mode: input, kind: door, label: Front door, room: Hall, debounce: 0.02}
  motion: {gpio: 4, mode: input, kind: motion, label: Motion in the hall, room: Hall}
  doorbell: {gpio: 22, mode: output, kind: bell, label: Doorbell, room: Hall, pulse: 0.5}
  lamp: {gpio: 27, mode: output, kind: light, label: Desk lamp, room: Study, active: low}
  fan: {gpio: 18, mode: pwm, kind: fan, label: Fan, room: Study}
  opener: {gpio: 23, mode: output, kind: garage_door, label: Garage opener, pulse: 0.5}
  garage_shut: {gpio: 24, mode: input, kind: garage_door, label: Garage shut, pull: up}
  garage_up: {gpio: 25, mode: input, label: Garage up, pull: up}
  shutter_up: {gpio: 20, mode: output, label: Shutter up, group: shutter, group_pause: 0.5}
  shutter_down: {gpio: 21, mode: output, label: Shutter down, group: shutter, group_pause: 0.5}
covers:
  garage:
    label: Garage door
    room: Outside
    button: opener
    closed: garage_shut
    opened: garage_up
    travel: 12
    presses: {opening: stop, closing: reverse, stopped: opposite}
  shutter: {room: Study, label: Shutter, up: shutter_up, down: shutter_down, travel: 18}
"""
_MOTION = ((1, 2.0), (0, 5.0), (1, 0.7), (0, 3.3))
"""Values of the motion sensor, each with its duration in seconds."""


def config() -> Config:
    """Return the configuration of the demo. Pages in ./www replace or extend the built-in ones."""
    return parse(_CONFIG, "demo", Path.cwd())


async def move(board: Board) -> None:
    """Change the motion sensor until the task is cancelled."""
    for value, seconds in itertools.cycle(_MOTION):
        await board.carry_out(Drive(pin="motion", value=value), "demo")
        await asyncio.sleep(seconds)
