"""JSON messages, both ways, as typed structs, and the functions that read and write them.

Times are Unix seconds. Values are logical: 1 is active, None is an unavailable pin; for pwm it is
the duty cycle from 0 to 1.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .decoding import UNREADABLE as UNREADABLE
from .decoding import InputError, decode
from .errors import ErrorCode, NoticeCode, Ref, RequestError, Values

NAME = "raspi-server"
HEADERS = {
    "Server": NAME,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    # Without it, pages of other sites may include an answer as a picture or a script.
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every HTTP answer. Other sites can neither frame nor include it, browsers do not guess
its type, and links do not send its address."""
SUBPROTOCOL = "raspi-server.1"
MAX_MESSAGE_BYTES = 16 * 1024
"""Size of one message from a browser; a larger one closes the connection with 1009."""

Value = int | float | None
Right = Literal["view", "control"]
HealthLevel = Literal["ok", "degraded", "failing"]
Audience = Literal["everyone", "code", "nobody"]
"""The callers that may switch a pin. `code` means those that presented the control code."""

# Browser to server


class _Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    pin: str
    ref: Ref | None = None


class Set(_Command, frozen=True, kw_only=True, tag="set"):
    """A command that switches an output (0 or 1), or dims it (0 to 1), perhaps for some seconds."""

    value: float
    seconds: float | None = None


class Toggle(_Command, frozen=True, kw_only=True, tag="toggle"):
    """A command that switches an output to the other value, perhaps for some seconds."""

    seconds: float | None = None


class Pulse(_Command, frozen=True, kw_only=True, tag="pulse"):
    """A command that switches an output on for some seconds, or for the `pulse` of the pin."""

    seconds: float | None = None


class Auto(_Command, frozen=True, kw_only=True, tag="auto"):
    """A command that ends what people claim: rules, schedules or the default decide."""


class Drive(_Command, frozen=True, kw_only=True, tag="drive"):
    """A command that makes a simulated input active (1) or inactive (0)."""

    value: float


Command = Set | Toggle | Pulse | Auto | Drive


class _OfCover(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    cover: str
    ref: Ref | None = None


class Open(_OfCover, frozen=True, kw_only=True, tag="open"):
    """A command that opens a cover."""


class Close(_OfCover, frozen=True, kw_only=True, tag="close"):
    """A command that closes a cover."""


class Stop(_OfCover, frozen=True, kw_only=True, tag="stop"):
    """A command that stops a cover, and drops what it waits for."""


class Position(_OfCover, frozen=True, kw_only=True, tag="position"):
    """A command that moves a cover to a position: 100 is open, 0 closed."""

    position: float


CoverCommand = Open | Close | Stop | Position


class _OnlyRef(Struct):
    ref: Ref | None = None


# Browser to the fleet page


class _Remote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A command to the Pi at the topic `pi`."""

    pi: str
    pin: str
    ref: Ref | None = None


class RemoteSet(_Remote, frozen=True, kw_only=True, tag="set"):
    """A `set` for a pin of another Pi."""

    value: float
    seconds: float | None = None


class RemoteToggle(_Remote, frozen=True, kw_only=True, tag="toggle"):
    """A `toggle` for a pin of another Pi."""

    seconds: float | None = None


class RemotePulse(_Remote, frozen=True, kw_only=True, tag="pulse"):
    """A `pulse` for a pin of another Pi."""

    seconds: float | None = None


class RemoteAuto(_Remote, frozen=True, kw_only=True, tag="auto"):
    """An `auto` for a pin of another Pi."""


class RemoteMove(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A command to a cover of the Pi at the topic `pi`."""

    pi: str
    cover: str
    ref: Ref | None = None


class RemoteOpen(RemoteMove, frozen=True, kw_only=True, tag="open"):
    """An `open` for a cover of another Pi."""


class RemoteClose(RemoteMove, frozen=True, kw_only=True, tag="close"):
    """A `close` for a cover of another Pi."""


class RemoteStop(RemoteMove, frozen=True, kw_only=True, tag="stop"):
    """A `stop` for a cover of another Pi."""


class RemotePosition(RemoteMove, frozen=True, kw_only=True, tag="position"):
    """A `position` for a cover of another Pi."""

    position: float


RemoteCommand = (
    RemoteSet
    | RemoteToggle
    | RemotePulse
    | RemoteAuto
    | RemoteOpen
    | RemoteClose
    | RemoteStop
    | RemotePosition
)


class SignIn(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="sign-in"
):
    """A code, from a client that cannot send headers."""

    code: Annotated[str, Meta(min_length=1, max_length=100)]
    ref: Ref | None = None


_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_cover_commands: msgspec.json.Decoder[CoverCommand] = msgspec.json.Decoder(CoverCommand)
_messages: msgspec.json.Decoder[Command | CoverCommand | SignIn] = msgspec.json.Decoder(
    Command | CoverCommand | SignIn
)
_remote_messages: msgspec.json.Decoder[RemoteCommand | SignIn] = msgspec.json.Decoder(
    RemoteCommand | SignIn
)
_refs = msgspec.json.Decoder(_OnlyRef)
_Any = TypeVar("_Any")


_EXAMPLE = '{"type":"set","pin":"lamp","value":1}'
_COVER_EXAMPLE = '{"type":"open","cover":"garage"}'
_REMOTE_EXAMPLE = '{"type":"set","pi":"raspi-server/kitchen","pin":"lamp","value":1}'


def decode_command(text: str | bytes) -> Command:
    """Return the command in UTF-8.

    Raise RequestError with the code `bad-message`, and the command's `ref` if that is valid."""
    return _decode(_commands, text, _EXAMPLE)


def decode_cover_command(text: str | bytes) -> CoverCommand:
    """Return the command to a cover in UTF-8. Raise RequestError like decode_command."""
    return _decode(_cover_commands, text, _COVER_EXAMPLE)


def decode_message(text: str) -> Command | CoverCommand | SignIn:
    """Return the message of a viewer. Raise RequestError like decode_command."""
    return _decode(_messages, text, _EXAMPLE)


def decode_remote_message(text: str) -> RemoteCommand | SignIn:
    """Return the message of a viewer of the fleet. Raise RequestError like decode_command."""
    return _decode(_remote_messages, text, _REMOTE_EXAMPLE)


def _decode(decoder: msgspec.json.Decoder[_Any], text: str | bytes, example: str) -> _Any:
    try:
        return decode(decoder, text, example)
    except InputError as error:
        try:
            ref = _refs.decode(text).ref
        except UNREADABLE:
            ref = None
        raise RequestError("bad-message", str(error), ref) from None


# The bodies of the API's PUT and POST

_WORD_VALUES = {
    "type": ["number", "boolean", "string"],
    "pattern": "^([Oo][Nn]|[Oo][Ff][Ff]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]"
    "|[01]|0?\\.[0-9]{1,20})$",
}
"""The values that `decoding.pin_value` takes, for the description of the API."""

_TEXT_NUMBER = {"type": ["number", "string"], "pattern": r"^[0-9]{1,3}(\.[0-9]{1,20})?$"}
"""The numbers that `decoding.number` takes."""

_Seconds = Annotated[float, Meta(ge=0.01, le=86400)]


class SetRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The value to switch or dim a pin to, and for how many seconds."""

    value: Annotated[float, Meta(ge=0, le=1, extra_json_schema=_WORD_VALUES)]
    seconds: _Seconds | None = None


class ToggleRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The seconds for which a pin is toggled, or none."""

    seconds: _Seconds | None = None


class PulseRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The length of a pulse, or the pin's own."""

    seconds: _Seconds | None = None


class PositionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The position to move a cover to, in percent: 100 is open."""

    position: Annotated[float, Meta(ge=0, le=100, extra_json_schema=_TEXT_NUMBER)]


class LogoutRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The `path` of the cookie: below it the browser reaches this server, such as `/pi/`.

    It counts only if it is plain: letters, digits, and `.`, `_`, `~` and `-` between slashes."""

    path: Annotated[str, Meta(max_length=1000)] = "/"


class LoginRequest(LogoutRequest, frozen=True, forbid_unknown_fields=True):
    """A code that was typed, or the token of a link: exactly one of them. `path` is as above."""

    code: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    token: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.code is UNSET) == (self.token is UNSET):
            raise ValueError("expected either `code` or `token`")


# Server to browser


class Notice(Struct, frozen=True):
    """A message for the owner: an invalid configuration, an expired certificate.

    `reason` and `values` are for pages that have own words for it."""

    code: NoticeCode
    message: str
    reason: str
    values: Values


class ServerInfo(Struct, frozen=True):
    """The server: its name and version, its host name, and its notices."""

    name: str
    version: str
    host: str
    simulated: bool
    notices: tuple[Notice, ...]


class PinWords(Struct, frozen=True):
    """The words for the values 1 and 0 of a pin."""

    on: str
    off: str


class Source(Struct, frozen=True, omit_defaults=True):
    """The source that decides the value of an output: a person, a rule, a schedule, its default.

    `name` is that of the rule or schedule."""

    level: Literal["manual", "rule", "schedule", "default"]
    name: str | None = None


class PinInfo(Struct, frozen=True, kw_only=True):
    """A pin as one viewer may see it.

    `header` is its position 1-40. `since` is the time of its last change, None before the first.
    `writable` is true if this viewer may switch it. `control` is what the configuration allows,
    None for inputs. `kind` is what the pin means, None for an input without one. `words` are for
    the two states, where they are not those of the kind. `hidden` pins are in no list of a page.
    `error_reason` and `error_values` are for pages that have own words for the error.
    `source` decides the value of an output, until the time `until` if that is known. `auto` is true
    if the command `auto` would end a claim. `next` is the next time at which its schedules want
    another value, if that is within a day. `cover` is the cover that it belongs to."""

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
    kind: str | None = None
    room: str | None = None
    icon: str | None = None
    words: PinWords | None = None
    hidden: bool = False
    error_reason: str | None = None
    error_values: Values = {}
    source: Source | None = None
    until: float | None = None
    auto: bool = False
    next: float | None = None
    cover: str | None = None


CoverState = Literal["open", "opening", "closed", "closing", "stopped", "unknown"]
CoverGoal = Literal["open", "close"] | int


class CoverInfo(Struct, frozen=True, kw_only=True):
    """A cover, such as a garage door, as one viewer may see it.

    `position` is in percent, 100 is open; None where it is not known. `goal` is what it was told
    and has not reached yet. `problem` is what went wrong last; `problem_reason` and
    `problem_values` are for pages that have own words for it. `since` is the time of the last
    change of its state, None before the first. `writable` is true if this viewer may move it. With
    `has_position` it takes positions, with `can_stop` it may be stopped, in one direction at least.
    `pins` are the names of its outputs and contacts."""

    name: str
    label: str
    kind: str
    room: str | None
    icon: str | None
    hidden: bool
    state: CoverState
    position: int | None
    goal: CoverGoal | None
    problem: str | None
    problem_reason: str | None
    problem_values: Values
    since: float | None
    writable: bool
    confirm: bool
    control: Audience
    has_position: bool
    can_stop: bool
    pins: tuple[str, ...]

    @property
    def is_lost(self) -> bool:
        """True if its place is not known, as after a power cut on its way."""
        is_counted = self.has_position and self.position is None
        return self.state == "unknown" or (self.state == "stopped" and is_counted)

    @property
    def waiting_goal(self) -> CoverGoal | None:
        """The end it was told to go to once something else is over, or None."""
        motion = {"open": "opening", "close": "closing"}.get(str(self.goal), self.state)
        return None if motion == self.state else self.goal


class Hello(Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message to a viewer.

    `access` is what the viewer may do. `signed_in` is the code it presented, or None.
    `code_would_help` is true if the control code would let it switch more. `fleet` is true if
    `/fleet/` shows other Pis, `automation` if there are schedules or rules. `covers` are doors and
    shutters that are moved as a whole."""

    id: str
    time: float
    interval: float
    server: ServerInfo
    access: Right
    signed_in: Right | None
    code_would_help: bool
    pins: list[PinInfo]
    state: dict[str, Value]
    fleet: bool
    automation: bool = False
    covers: list[CoverInfo] = []


class State(Struct, frozen=True, tag_field="type", tag="state"):
    """The values of all pins; Raw where they are encoded already."""

    seq: int
    time: float
    pins: dict[str, Value] | Raw


class Change(Struct, frozen=True, tag_field="type", tag="change", omit_defaults=True):
    """A change of a pin.

    `by` is the address of the client that switched it, or `mqtt` for a command from the broker. It
    is `schedule NAME` or `rule NAME` where one of these did, and `pulse`, `max_on`, `group`,
    `timer`, `manual_hold` or `initial` where the server did. Inputs have none, and of the last
    three only outputs have some, as in PinInfo."""

    seq: int
    time: float
    pin: str
    value: Value
    by: str | None = None
    source: Source | None = None
    until: float | None = None
    auto: bool = False


class SourceChange(Struct, frozen=True, tag_field="type", tag="source"):
    """A change of the source that decides an output, or of the end, while the value stays."""

    seq: int
    time: float
    pin: str
    source: Source | None
    until: float | None
    auto: bool


class CoverChange(Struct, frozen=True, kw_only=True, tag_field="type", tag="cover"):
    """A change of a cover, with its state as in CoverInfo.

    `by` is what moves it, as in Change; None for a contact or the time."""

    seq: int
    time: float
    cover: str
    state: CoverState
    position: int | None
    goal: CoverGoal | None
    problem: str | None
    problem_reason: str | None
    problem_values: Values
    since: float | None
    by: str | None


class AutomationChange(Struct, frozen=True, tag_field="type", tag="automation"):
    """News of schedules or rules: what the API says of them has changed."""

    seq: int
    time: float


class MachineHealth(Struct, frozen=True, kw_only=True, tag_field="type", tag="health"):
    """Readings of the machine, each None where it is unavailable.

    `temperature` is in degrees Celsius, `throttled` the firmware's warnings in words, `load` per
    core, `memory` and `disk` the used share from 0 to 1, and `uptime` in seconds. `addresses` are
    the name and addresses under which it is reached."""

    time: float
    temperature: float | None
    throttled: list[str] | None
    load: float | None
    memory: float | None
    disk: float | None
    uptime: float | None
    addresses: list[str]
    viewers: int


class Health(MachineHealth, frozen=True, kw_only=True, tag="health"):
    """Readings of the machine, and the health of the server.

    `degraded` and `failing` come with their reasons."""

    status: HealthLevel
    reasons: list[str]


class Result(Struct, frozen=True, tag_field="type", tag="result"):
    """The answer to a command that was carried out."""

    ref: Ref | None
    pin: str
    value: Value


class CoverResult(Struct, frozen=True, tag_field="type", tag="result"):
    """The answer to a command to a cover that was accepted: its state right after that."""

    ref: Ref | None
    cover: str
    state: CoverState
    position: int | None


class Error(Struct, frozen=True, tag_field="type", tag="error"):
    """The answer to a command that was rejected.

    `code` is for programs, `message` for people. `reason` and `values` are for pages that have own
    words for it."""

    ref: Ref | None
    code: ErrorCode
    message: str
    reason: str
    values: Values

    @classmethod
    def of(cls, error: RequestError, ref: Ref | None = None) -> "Error":
        """Return the answer for an error, with the reference of the command."""
        return cls(ref, error.code, error.message, error.reason, error.values)


# To a broker


class PinState(Struct, frozen=True):
    """A pin's value since `time`, the moment of the edge; None before the first."""

    value: Value
    time: float | None


class CoverStatus(Struct, frozen=True):
    """A cover's state since `time`, and its position in percent, None where it is not known.

    `problem` is what is wrong, in words, or None. `problem_reason` and `problem_values` are for
    pages that have own words for it."""

    state: CoverState
    position: int | None
    problem: str | None
    problem_reason: str | None
    problem_values: Values
    time: float | None


class ScheduleState(Struct, frozen=True):
    """A schedule: `value` is 1, or 0 while it is paused.

    `until` is the end of its window or pulse, None while it claims nothing. `next` is the time of
    its next window or moment, None while it is paused or the clock is not known."""

    value: int
    until: float | None
    next: float | None


class ScheduleResult(Struct, frozen=True, tag_field="type", tag="result"):
    """The answer to a command to a schedule that was carried out."""

    ref: Ref | None
    schedule: str
    value: int


class Description(Struct, frozen=True):
    """A Pi, its pins and its covers, as they are at `time`.

    `writable` is true for those that clients of the broker may switch and move. `url` is the
    address of its page, or None."""

    time: float
    server: ServerInfo
    url: str | None
    pins: list[PinInfo]
    covers: list[CoverInfo]


# The fleet: all Pis at a broker


class FleetPin(Struct, kw_only=True):
    """A pin of another Pi as last published.

    `writable` is true if its Pi takes commands from the broker. `control` is the callers that may
    switch it from this server, None for inputs."""

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
    error_reason: str | None
    error_values: Values
    kind: str | None
    room: str | None
    icon: str | None
    words: PinWords | None
    hidden: bool


class FleetCover(Struct, kw_only=True):
    """A cover of another Pi as last published.

    `writable` is true if its Pi takes commands from the broker. `control` is the callers that may
    move it from this server."""

    name: str
    label: str
    kind: str
    room: str | None
    icon: str | None
    hidden: bool
    state: CoverState
    position: int | None
    problem: str | None
    problem_reason: str | None
    problem_values: Values
    since: float | None
    writable: bool
    confirm: bool
    control: Audience | None
    has_position: bool
    can_stop: bool
    pins: list[str]


class FleetPi(Struct, frozen=True, kw_only=True):
    """A Pi by its topic.

    `group` is the part of the topic between the first and the last level. `heard` is the time of
    its last message, None if unknown. `url` is the address of its page, or None."""

    topic: str
    group: str
    host: str
    online: bool
    heard: float | None
    simulated: bool
    version: str
    url: str | None
    pins: list[FleetPin]
    covers: list[FleetCover]


BROKER_ERROR = "mqtt: the broker connection has an error: sudo raspi-server doctor says which"
"""The text for callers that may not switch, instead of host, user and the broker's own words."""


class BrokerState(Struct, frozen=True):
    """The connection to the broker, with its error, or None."""

    connected: bool
    error: str | None


class Fleet(Struct, frozen=True):
    """All Pis as of `seq`; every `news` with a later `seq` applies on top of it."""

    time: float
    seq: int
    broker: BrokerState
    pis: list[FleetPi]


class FleetHello(Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message to a viewer of the fleet.

    `access` is what `access.control` lets the viewer do with other Pis. `code_would_help` is true
    if the control code would allow more. `signed_in` is the code it presented, or None; it decides
    on pins whose `control` is `code`."""

    seq: int
    access: Right
    signed_in: Right | None
    code_would_help: bool


class News(Struct, frozen=True, tag_field="type", tag="news", omit_defaults=True):
    """Changes of the fleet, which apply in the order removed, pis, pins.

    `pins` are [value, since] by topic and name, `pis` whole entries, `removed` topics, and `covers`
    [state, position, since, problem, problem_reason, problem_values] by topic and name. Pins,
    covers and entries are encoded already, since their size is measured before they are sent."""

    seq: int
    time: float
    pins: dict[str, Raw] = {}
    pis: list[Raw] = []
    removed: list[str] = []
    covers: dict[str, Raw] = {}


class BrokerNews(Struct, frozen=True, tag_field="type", tag="broker"):
    """A change of the connection to the broker, as in BrokerState."""

    connected: bool
    error: str | None


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    """A keep-alive, sent at least every five seconds."""

    time: float


# The answers of the API


class Api(Struct, frozen=True, kw_only=True):
    """The index of the API."""

    name: str
    version: str
    host: str
    simulated: bool
    time: float
    links: dict[str, str]


class AuthorityInfo(Struct, frozen=True):
    """The certificate authority of this Pi.

    `fingerprint` is the SHA-256 of its certificate, in hexadecimal pairs."""

    name: str
    fingerprint: str


class Pins(Struct, frozen=True):
    """All pins as of `time`."""

    time: float
    pins: list[PinInfo]


class Covers(Struct, frozen=True):
    """All covers as of `time`, in the order of the configuration."""

    time: float
    covers: list[CoverInfo]


class Coming(Struct, frozen=True):
    """A window of a schedule from `begin` to `end`, or a moment, whose `end` is None."""

    begin: float
    end: float | None


class ScheduleInfo(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A schedule: its keys as config.yaml has them, and its state.

    Times of the day are text such as `sunset+00:20`.
    `writable` is true if this caller may pause it. `until` is the end of what it claims now, None
    while it claims nothing. `next` is what has not begun yet, without the day `skipped`. `runs`
    counts how often it has acted since the start."""

    name: str
    pin: str | None
    from_: str | None
    to: str | None
    at: str | None
    days: list[str]
    value: float | None
    pulse: float | None
    turn_off: list[str]
    cover: str | None
    goal: str | float | None
    writable: bool
    paused: bool
    until: float | None
    next: Coming | None
    skipped: str | None
    runs: int


class Schedules(Struct, frozen=True):
    """All schedules as of `time`. While the clock is not known, all rest."""

    time: float
    clock_known: bool
    schedules: list[ScheduleInfo]


class RuleWindow(Struct, frozen=True, rename={"from_": "from"}):
    """The window of the day in which a rule acts, as config.yaml has it."""

    from_: str
    to: str


class RuleInfo(
    Struct, frozen=True, kw_only=True, rename={"while_": "while", "for_": "for", "set_": "set"}
):
    """A rule: its keys as config.yaml has them, and its state.

    `writable` is true if this caller may pause it. A rule is `parked` after it has switched an
    output too often. It is `acting` while it claims outputs since its condition holds, and `open`
    unless it is outside of `only`. `runs` counts how often it has acted since the start."""

    name: str
    when: list[str]
    while_: list[str]
    press: Literal["short", "long", "double"] | None
    for_: float | None
    hold: float | None
    only: RuleWindow | None
    turn_on: list[str]
    turn_off: list[str]
    toggle: list[str]
    set_: dict[str, float]
    pulse: list[str]
    move: dict[str, str | float]
    writable: bool
    paused: bool
    parked: bool
    acting: bool
    open: bool
    runs: int


class Rules(Struct, frozen=True):
    """All rules as of `time`."""

    time: float
    rules: list[RuleInfo]


class Planned(Struct, frozen=True):
    """A time in which a schedule wants a value for an output."""

    begin: float
    end: float
    value: float
    schedule: str


class Plan(Struct, frozen=True):
    """What schedules want for outputs from `time` to `end`. In between they want nothing."""

    time: float
    end: float
    pins: dict[str, list[Planned]]


class HistoryChange(Struct, frozen=True):
    """A change in a history, as in Change."""

    time: float
    value: Value
    by: str | None


class PinHistory(Struct, frozen=True):
    """The history of a pin.

    `value` is its value at the time `since`. The `changes` after it begin with the oldest."""

    since: float
    value: Value
    changes: list[HistoryChange]


class HistoryAnswer(Struct, frozen=True):
    """The history of every pin by name, until `time`."""

    time: float
    pins: dict[str, PinHistory]


class PinHistoryAnswer(Struct, frozen=True, kw_only=True):
    """The history of one pin, until `time`."""

    time: float
    pin: str
    since: float
    value: Value
    changes: list[HistoryChange]


class LoginAnswer(Struct, frozen=True):
    """The rights of the caller after a login or logout."""

    access: Right
    signed_in: Right | None


class HealthStatus(Struct, frozen=True):
    """The health for callers that may not view."""

    status: HealthLevel


class HeaderPin(Struct, frozen=True, kw_only=True):
    """A position 1-40 of the header.

    `holder` is `raspi-server` for our pins, the name of the program for other pins in use, and None
    for free ones and power. `pin` and `value` are set for ours only."""

    position: int
    function: str
    gpio: int | None
    holder: str | None
    pin: str | None = None
    value: Value = None


class Header(Struct, frozen=True):
    """The 40-pin header of the board."""

    model: str
    pins: list[HeaderPin]


class _ErrorDetail(Struct, frozen=True):
    code: ErrorCode
    message: str
    reason: str
    values: Values


class ErrorAnswer(Struct, frozen=True):
    """The body of every answer of the API that is not 2xx. The fields are those of Error."""

    error: _ErrorDetail

    @classmethod
    def of(cls, error: RequestError) -> "ErrorAnswer":
        """Return the body for an error."""
        return cls(_ErrorDetail(error.code, error.message, error.reason, error.values))


encode = msgspec.json.Encoder().encode
"""Return a struct of this module, or a part of one, as UTF-8 JSON."""
