"""Commands that were sent to other Pis and wait for their answers."""

import asyncio
import secrets
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from ..errors import STATUS, ErrorCode, Ref, RequestError, Values, refusal
from ..messages import (
    UNREADABLE,
    CoverResult,
    CoverState,
    RemoteCommand,
    RemotePosition,
    RemoteSet,
    Value,
    encode,
)
from .fleet import PinValue, Position
from .message import Message

_MAX_WORDS_CHARACTERS = 300
_SENT = ("value", "seconds", "position")
"""The fields of commands that are sent on."""
_Word = Annotated[str, Meta(max_length=40)]
_Text = Annotated[str, Meta(max_length=_MAX_WORDS_CHARACTERS)]


Future = asyncio.Future[Value | CoverResult]


class _Answer(msgspec.Struct):
    """Answer of a Pi: a `result` or an `error`. That of a cover has a `state`."""

    type: str
    ref: Ref | None = None
    value: PinValue = None
    state: CoverState | None = None
    position: Position = None
    code: str = ""
    message: str = ""


class _Details(msgspec.Struct):
    """Reason of an `error`, and its values, as far as they are short enough to pass on."""

    reason: _Word = ""
    values: Annotated[dict[_Word, _Text | float], Meta(max_length=8)] = {}


_answers = msgspec.json.Decoder(_Answer)
_details = msgspec.json.Decoder(_Details)


class _Pending(NamedTuple):
    topic: str
    """Topic of the answer."""
    pi_name: str
    done: Future
    timer: asyncio.TimerHandle


class PendingCommands:
    """Commands without an answer, by the id they were sent with.

    Each fails after `timeout_s` seconds."""

    def __init__(self, timeout_s: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._pending: dict[str, _Pending] = {}

    def add(self, answer_topic: str, pi_name: str) -> tuple[str, Future]:
        """Return an id for a command and the future of its answer, which may raise RequestError.

        `pi_name` names the Pi in errors.
        """
        command_id = secrets.token_hex(16)
        done: Future = self._loop.create_future()
        timer = self._loop.call_later(self._timeout_s, self._time_out, command_id)
        self._pending[command_id] = _Pending(answer_topic, pi_name, done, timer)
        return command_id, done

    def answer(self, message: Message) -> None:
        """Finish the command that a message answers.

        Anything else is ignored: any client at the broker may publish it."""
        if message.retain:
            return
        try:
            answer = _answers.decode(message.payload)
        except UNREADABLE:
            return
        command_id = str(answer.ref)
        pending = self._pending.get(command_id)
        if pending is None or pending.topic != message.topic:
            return
        if answer.type == "result":
            self._remove(command_id).set_result(_result(answer, message.topic))
        else:
            code: ErrorCode = answer.code if answer.code in STATUS else "unavailable"
            words = answer.message[:_MAX_WORDS_CHARACTERS] or "no reason was given"
            words = f"{pending.pi_name}: {words}"
            try:
                details = _details.decode(message.payload)
            except UNREADABLE:
                details = _Details()
            values: Values = {**details.values}
            self.fail(command_id, RequestError(code, words, reason=details.reason, values=values))

    def fail(self, command_id: str, error: RequestError) -> None:
        """Let one command fail, if it still waits."""
        if command_id in self._pending:
            self._remove(command_id).set_exception(error)

    def fail_all(self, error: RequestError) -> None:
        """Let all commands fail."""
        for command_id in list(self._pending):
            self.fail(command_id, error)

    def _remove(self, command_id: str) -> Future:
        pending = self._pending.pop(command_id)
        pending.timer.cancel()
        return pending.done

    def _time_out(self, command_id: str) -> None:
        pi = self._pending[command_id].pi_name
        self.fail(command_id, refusal("pi-silent", pi=pi, seconds=self._timeout_s))


def _result(answer: _Answer, topic: str) -> Value | CoverResult:
    """Return the value of a pin, or the state of a cover, in an answer at a topic."""
    *_, kind, name, _ = topic.split("/")
    if kind == "pins":
        return answer.value
    return CoverResult(None, name, answer.state or "unknown", answer.position)


def payload(command: RemoteCommand, command_id: str) -> bytes:
    """Return the payload with which a command is published for a Pi."""
    fields = msgspec.structs.asdict(command)
    kind = type(command).__struct_config__.tag
    sent = {key: fields[key] for key in _SENT if fields.get(key) is not None}
    return encode({"type": kind, "ref": command_id, **sent})


def in_words(command: RemoteCommand) -> str:
    """Return a command for the log."""
    length = getattr(command, "seconds", None)
    seconds = "" if length is None else f" for {length:g} s"
    if isinstance(command, RemoteSet):
        return f"set to {command.value:g}{seconds}"
    if isinstance(command, RemotePosition):
        return f"position {command.position:g}"
    return f"{type(command).__struct_config__.tag}{seconds}"
