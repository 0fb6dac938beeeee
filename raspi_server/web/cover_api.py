"""`/api/covers`: doors, gates and shutters that are moved as one thing."""

import time
from typing import ClassVar

from .. import messages
from ..errors import ErrorCode
from ..messages import PositionRequest
from .api import ApiHandler
from .openapi import Operation

_ERRORS: tuple[ErrorCode, ...] = (
    "foreign",
    "not-allowed",
    "not-found",
    "conflict",
    "unavailable",
    "bad-value",
)


class _Handler(ApiHandler):
    """A handler for covers. Without any it answers that there are none."""

    def move(self, command: messages.CoverCommand) -> None:
        """Carry out a command, and answer with the new state of the cover. Raises RequestError."""
        cover = self.context.carry_out_cover(command, self.caller)
        self.answer(self.context.cover(cover, self.caller))


class AllCovers(_Handler):
    """`/api/covers`."""

    operations = {"get": Operation("All covers, in the order of config.yaml", messages.Covers)}

    def get(self) -> None:
        """Answer with all covers as the caller may see them."""
        self.answer(messages.Covers(time.time(), self.context.all_covers(self.caller)))

    head = get


class OneCover(_Handler):
    """`/api/covers/NAME`."""

    operations = {
        "get": Operation("One cover", messages.CoverInfo, errors=("not-found",)),
        "put": Operation(
            "Move a cover with two outputs to a position",
            messages.CoverInfo,
            PositionRequest,
            errors=_ERRORS,
        ),
        "post": Operation("The same as PUT", messages.CoverInfo, PositionRequest, errors=_ERRORS),
    }

    def get(self, name: str) -> None:
        """Answer with the cover. Raises RequestError if there is none of this name."""
        self.answer(self.context.cover(self.context.found_cover(name), self.caller))

    head = get

    def put(self, name: str) -> None:
        """Move the cover to the `position` of the body. Raises RequestError."""
        position = self.body(PositionRequest).position
        self.move(messages.Position(cover=name, position=position))

    post = put


class _Command(_Handler):
    """A command without a body."""

    command: ClassVar[type[messages.Open | messages.Close | messages.Stop]]

    def post(self, name: str) -> None:
        """Carry out the command. Raises RequestError."""
        self.move(self.command(cover=name))


def _operation(what: str) -> dict[str, Operation]:
    return {"post": Operation(what, messages.CoverInfo, errors=_ERRORS)}


class OpenCover(_Command):
    """`/api/covers/NAME/open`."""

    operations = _operation("Open it")
    command = messages.Open


class CloseCover(_Command):
    """`/api/covers/NAME/close`."""

    operations = _operation("Close it")
    command = messages.Close


class StopCover(_Command):
    """`/api/covers/NAME/stop`."""

    operations = _operation("Stop it, and drop what it waits for")
    command = messages.Stop
