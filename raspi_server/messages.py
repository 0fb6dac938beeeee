"""Everything that crosses the wire, both ways, as typed structs; and the words for what is refused.

Times are Unix seconds. Values are logical: 1 is active, None is a pin that could not be opened; for
pwm the duty cycle from 0 to 1.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

NAME = "raspi-server"
HEADERS = {
    "Server": NAME,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    # Not even as a picture or a script, which a page of another site may otherwise ask for.
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer carries: no page of another site may frame it, include it, guess its kind, or
learn its address."""
SUBPROTOCOL = "raspi-server.1"
MAX_MESSAGE = 16 * 1024
"""Bytes of one message from a browser; more is closed with 1009."""

Value = int | float | None
Right = Literal["view", "control"]
Audience = Literal["everyone", "code", "nobody"]
"""Who may switch a pin: code is whoever has shown the control code."""
Ref = Annotated[int, Meta(ge=1 - 2**53, le=2**53 - 1)] | Annotated[str, Meta(max_length=64)]
"""Whole numbers only as far as JavaScript holds them exactly."""

UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""All that decoding raises where JSON from outside is not what was expected: wrong UTF-8 is a
ValueError, as is a number of thousands of digits; nesting without end a RecursionError."""

ErrorCode = Literal[
    "bad-message",  # not JSON, not an object, a missing or unknown field, a wrong type
    "sign-in",  # needs a code
    "foreign",  # a page of another site asks
    "not-allowed",
    "not-simulated",  # `drive` on a real pin
    "not-writable",  # an input
    "not-found",
    "unknown-pin",
    "method",
    "superseded",  # another command came before this one took effect
    "unavailable",  # the pin could not be opened, or failed
    "too-large",
    "unknown-host",
    "bad-value",  # a value the pin cannot take
    "too-fast",
    "https-only",  # plain http where https is spoken
    "no-answer",  # a command to another Pi, of which nobody knows what became
    "internal",
]

STATUS: dict[ErrorCode, int] = {
    "bad-message": 400,
    "sign-in": 401,
    "foreign": 403,
    "not-allowed": 403,
    "not-simulated": 403,
    "not-writable": 403,
    "not-found": 404,
    "unknown-pin": 404,
    "method": 405,
    "superseded": 409,
    "unavailable": 409,
    "too-large": 413,
    "unknown-host": 421,
    "bad-value": 422,
    "too-fast": 429,
    "https-only": 403,
    "internal": 500,
    "no-answer": 504,
}
"""The HTTP status of each."""


class Refused(Exception):
    """A command that is not carried out, with a `code` for programs and a sentence for people.

    `ref` is the reference the command came with, or None where it had none or it was unreadable."""

    def __init__(self, code: ErrorCode, message: str, ref: Ref | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.ref = ref


# Browser to server


class _Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pin: str
    ref: Ref | None = None


class Set(_Command, frozen=True, kw_only=True, tag="set"):
    value: float


class Toggle(_Command, frozen=True, kw_only=True, tag="toggle"):
    pass


class Pulse(_Command, frozen=True, kw_only=True, tag="pulse"):
    seconds: float | None = None


class Drive(_Command, frozen=True, kw_only=True, tag="drive"):
    """Makes a simulated input active (1) or not (0)."""

    value: float


Command = Set | Toggle | Pulse | Drive


class _OnlyRef(Struct):
    ref: Ref | None = None


# Browser to the page of all Pis


class _Remote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A command to the Pi at the topic `pi`."""

    pi: str
    pin: str
    ref: Ref | None = None


class RemoteSet(_Remote, frozen=True, kw_only=True, tag="set"):
    value: float


class RemoteToggle(_Remote, frozen=True, kw_only=True, tag="toggle"):
    pass


class RemotePulse(_Remote, frozen=True, kw_only=True, tag="pulse"):
    seconds: float | None = None


RemoteCommand = RemoteSet | RemoteToggle | RemotePulse


_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_remote_commands: msgspec.json.Decoder[RemoteCommand] = msgspec.json.Decoder(RemoteCommand)
_refs = msgspec.json.Decoder(_OnlyRef)
_Any = TypeVar("_Any")


def command(text: str | bytes) -> Command:
    """Return the command in a text frame, or in UTF-8. Raises Refused, with the `ref` if that much
    can be read."""
    return _decoded(_commands, text, '{"type":"set","pin":"lamp","value":1}')


def remote_command(text: str) -> RemoteCommand:
    """The same for a command to another Pi."""
    example = '{"type":"set","pi":"raspi-server/kitchen","pin":"lamp","value":1}'
    return _decoded(_remote_commands, text, example)


def _decoded(decoder: msgspec.json.Decoder[_Any], text: str | bytes, example: str) -> _Any:
    try:
        return decoder.decode(text)
    except UNREADABLE as error:
        try:
            ref = _refs.decode(text).ref
        except UNREADABLE:
            ref = None
        words = f"expected a command such as {example}: {error}"
        raise Refused("bad-message", words[:300], ref) from None


# The bodies of the API's PUT and POST


class Setting(Struct, frozen=True, forbid_unknown_fields=True):
    value: Annotated[float, Meta(ge=0, le=1)]


class Pulsing(Struct, frozen=True, forbid_unknown_fields=True):
    seconds: Annotated[float, Meta(ge=0.01, le=86400)] | None = None


class SigningIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A code that was typed, or the token of a link: one of them."""

    code: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    token: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.code is UNSET) == (self.token is UNSET):
            raise ValueError("expected either `code` or `token`")


# Server to browser


class Notice(Struct, frozen=True):
    """Something the owner should know: a faulty configuration, an expired certificate."""

    code: Literal["configuration", "simulated", "certificate", "open"]
    message: str


class Server(Struct, frozen=True):
    name: str
    version: str
    host: str
    simulated: bool
    notices: tuple[Notice, ...]


class Pin(Struct, frozen=True, kw_only=True):
    """One pin as a viewer may see it. `header` is its position 1-40; `since` is the time of its
    last change, None before the first; `writable` is for the viewer who asked, `control` whom the
    configuration lets switch it, None for inputs."""

    name: str
    label: str
    gpio: int
    header: int
    mode: Literal["input", "output", "pwm"]
    value: Value
    since: float | None
    writable: bool
    pulse: float | None = None
    max_on: float | None = None
    group: str | None = None
    confirm: bool = False
    control: Audience | None = None
    error: str | None = None


class Hello(Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """Everything a page needs to begin. `access` is what the viewer may do, `signed_in` which code
    was shown for it, or None; `code_would_help`: whether the control code would switch more."""

    id: str
    time: float
    interval: float
    server: Server
    access: Right
    signed_in: Right | None
    code_would_help: bool
    pins: list[Pin]
    state: dict[str, Value]
    fleet: bool
    """Whether `/fleet/` shows the other Pis, too."""


class State(Struct, frozen=True, tag_field="type", tag="state"):
    seq: int
    time: float
    pins: dict[str, Value] | Raw
    """Raw where they are encoded already."""


class Change(Struct, frozen=True, tag_field="type", tag="change", omit_defaults=True):
    """A pin changed. `by` is the address of who did it, `mqtt` for somebody at a broker, or
    `pulse`, `max_on`, `group` or `initial` where the server did; absent for inputs."""

    seq: int
    time: float
    pin: str
    value: Value
    by: str | None = None


class Health(Struct, frozen=True, kw_only=True, tag_field="type", tag="health"):
    """The machine's pulse: degrees Celsius, the firmware's complaints in words, load per core, the
    used share of memory and disk from 0 to 1, and seconds since it started; None where the machine
    does not tell. `addresses` are those, and the name, under which others reach it now."""

    time: float
    temperature: float | None
    throttled: list[str] | None
    load: float | None
    memory: float | None
    disk: float | None
    uptime: float | None
    addresses: list[str]
    viewers: int


class Report(Health, frozen=True, kw_only=True, tag="health"):
    """The machine's pulse, and whether all is well: `degraded` and `failing` come with reasons."""

    status: Literal["ok", "degraded", "failing"]
    reasons: list[str]


class Result(Struct, frozen=True, tag_field="type", tag="result"):
    ref: Ref | None
    pin: str
    value: Value


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    ref: Ref | None
    code: ErrorCode
    message: str


# To a broker


class PinState(Struct, frozen=True):
    """A pin's value since `time`, the moment of the edge; None before the first."""

    value: Value
    time: float | None


class Description(Struct, frozen=True):
    """What stands at a Pi. `writable` of a pin is for those whom the broker lets publish; values
    are those of the moment of the description; `url` is where its page is,
    or None."""

    time: float
    server: Server
    url: str | None
    pins: list[Pin]


# Of all Pis at a broker


class FleetPin(Struct, kw_only=True):
    """A pin of some Pi as it was told last. `writable`: whether its Pi obeys the broker; `control`:
    who may switch it from the server that is asked, None for inputs."""

    name: str
    label: str
    mode: Literal["input", "output", "pwm"]
    value: Value
    since: float | None
    writable: bool
    pulse: float | None
    group: str | None
    confirm: bool
    control: Audience | None
    error: str | None


class FleetPi(Struct, frozen=True, kw_only=True):
    """A Pi by its topic. `group` are the levels between the first and the last, `heard` when it
    said anything last, None where that is not known; `url` is where its page is, or None."""

    topic: str
    group: str
    host: str
    online: bool
    heard: float | None
    simulated: bool
    version: str
    url: str | None
    pins: list[FleetPin]


BROKER_TROUBLE = "mqtt: trouble with the broker: sudo raspi-server doctor says which"
"""What callers who may not switch read in the place of host, user and the broker's own words."""


class BrokerState(Struct, frozen=True):
    """How it stands with the broker, in words where anything is wrong."""

    connected: bool
    error: str | None


class Fleet(Struct, frozen=True):
    """All Pis, as of `seq`: a `news` with a later one comes on top of it."""

    time: float
    seq: int
    broker: BrokerState
    pis: list[FleetPi]


class FleetHello(Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """`access` is what `access.control` lets the viewer do with other Pis, `code_would_help`:
    whether the control code would allow it; `signed_in` is the code that was shown, or None: of
    pins whose `control` is code, it says whether the viewer may switch them."""

    seq: int
    access: Right
    signed_in: Right | None
    code_would_help: bool


class News(Struct, frozen=True, tag_field="type", tag="news", omit_defaults=True):
    """What is other than before: pins as [value, since] by topic and name, whole entries of Pis,
    and the topics of removed ones. To be applied in the order removed, pis, pins. The first
    two are encoded already, since they are measured before they are sent."""

    seq: int
    time: float
    pins: dict[str, Raw] = {}
    pis: list[Raw] = []
    removed: list[str] = []


class BrokerNews(Struct, frozen=True, tag_field="type", tag="broker"):
    """As in BrokerState."""

    connected: bool
    error: str | None


class FleetPing(Struct, frozen=True, tag_field="type", tag="ping"):
    """Keep-alive message, sent every five seconds, so that a viewer notices a lost connection."""

    time: float


# The answers of the API


class Api(Struct, frozen=True, kw_only=True):
    name: str
    version: str
    host: str
    simulated: bool
    time: float
    links: dict[str, str]


class Trust(Struct, frozen=True):
    """A certificate authority, with the SHA-256 of its certificate in hexadecimal pairs."""

    name: str
    fingerprint: str


class Pins(Struct, frozen=True):
    time: float
    pins: list[Pin]


class PastChange(Struct, frozen=True):
    """As in `change`."""

    time: float
    value: Value
    by: str | None


class Past(Struct, frozen=True):
    """What a pin has been: it held `value` at the time `since`; after it came `changes`, the oldest
    first."""

    since: float
    value: Value
    changes: list[PastChange]


class History(Struct, frozen=True):
    """The past of every pin by name, until `time`."""

    time: float
    pins: dict[str, Past]


class PinHistory(Struct, frozen=True, kw_only=True):
    """The past of one pin, until `time`."""

    time: float
    pin: str
    since: float
    value: Value
    changes: list[PastChange]


class SignedIn(Struct, frozen=True):
    access: Right
    signed_in: Right | None


class Status(Struct, frozen=True):
    """All that is told of the health to those who may not look."""

    status: Literal["ok", "degraded", "failing"]


class Wellness(Status, frozen=True):
    """`degraded` and `failing` come with their reasons."""

    reasons: list[str]


class HeaderPin(Struct, frozen=True, kw_only=True):
    """One position 1-40 of the header. `holder` is `raspi-server` for our pins, the consumer's name
    for others in use, None for free ones and power; `pin` and `value` only for ours."""

    position: int
    function: str
    gpio: int | None
    holder: str | None
    pin: str | None = None
    value: Value = None


class Header(Struct, frozen=True):
    model: str
    pins: list[HeaderPin]


class _Reason(Struct, frozen=True):
    code: ErrorCode
    message: str


class Failure(Struct, frozen=True):
    """The body of every answer of the API that is not 2xx."""

    error: _Reason

    @classmethod
    def of(cls, code: ErrorCode, message: str) -> "Failure":
        return cls(_Reason(code, message))


encode = msgspec.json.Encoder().encode
"""Any of the structs above, or a part of one, as UTF-8 JSON."""
