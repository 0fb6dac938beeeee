"""Keys of config.yaml as typed, frozen structs with their defaults.

No other module has a list of the keys.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from ..messages import Audience
from .kinds import CoverKind, Icon, InputKind, OutputKind, PwmKind

MIN_PULSE_S = 0.01
MAX_PULSE_S = 86400
"""Limits of `pulse` and `max_on`, and of a pulse that a client requests."""
LONG_PULSE_S = 60
"""A longer `pulse` gets a warning: the number may be in milliseconds."""

NAME = r"[a-z][a-z0-9_-]{0,31}"
"""Pattern of the names of pins, groups, hooks and rules."""

Seconds = Annotated[float, Meta(ge=MIN_PULSE_S, le=MAX_PULSE_S, extra={"unit": "seconds"})]
Name = Annotated[
    str,
    Meta(
        pattern=rf"\A{NAME}\Z",
        description="a name of at most 32 characters from a-z, 0-9, _ and -, a letter first",
    ),
]
Gpio = Annotated[int, Meta(description="a pin from GPIO0 to GPIO27")]
Address = Annotated[str, Meta(description='one IP address of this machine, or "" for all')]
HostName = Annotated[
    str, Meta(description="a host name such as pi.example.org or *.example.org, without a port")
]
ProxyNetwork = Annotated[
    str,
    Meta(description="an address or a network such as 127.0.0.1 or 172.16.0.0/12"),
]
PageOrigin = Annotated[
    str, Meta(description="an origin such as https://dash.example.org, with its port and no path")
]
BrokerUrl = Annotated[str, Meta(description="a URL such as mqtt://HOST or mqtts://HOST:8883")]
Topic = Annotated[
    str,
    Meta(
        pattern=r"\A[^\s+#$/]+(/[^\s+#/]+)*\Z",
        max_length=100,
        description="a topic such as house/kitchen, without +, # and spaces",
    ),
]
User = Annotated[str, Meta(min_length=1, max_length=100, description="a user's name")]
Label = Annotated[str, Meta(min_length=1, max_length=64, description="1 to 64 characters of text")]


class Words(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words for the two states of one pin, in place of those of its kind."""

    on: Label
    off: Label


class PinConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="mode"):
    """One configured pin.

    `active` is the level that means 1. `room` is the heading under which pages show the pin, and
    `hidden` keeps it out of their lists. As text it is `lamp (GPIO17)`, for messages.
    """

    name: Name
    gpio: Gpio
    label: Label
    active: Literal["high", "low"]
    kind: str | None = None
    room: Label | None = None
    icon: Icon | None = None
    words: Words | None = None
    hidden: bool = False

    def __str__(self) -> str:
        return f"{self.name} (GPIO{self.gpio})"


class InputConfig(PinConfig, frozen=True, kw_only=True, tag="input"):
    """A pin that is read.

    A new level counts after it has lasted for `debounce` seconds. The limit of 5 s is lgpio's.
    """

    kind: InputKind | None = None
    pull: Literal["up", "down", "none"] = "none"
    debounce: Annotated[float, Meta(ge=0, le=5, extra={"unit": "seconds"})] = 0


class DrivenConfig(PinConfig, frozen=True, kw_only=True):
    """A pin that the server drives.

    Each mode narrows the values of `initial`, `on_stop` and `on_failure`.
    """

    max_on: Seconds | None = None
    manual_hold: Seconds | None = None
    confirm: bool = False
    control: Audience | None = None
    initial: str | float = "off"
    on_stop: str = "off"
    on_failure: str = "off"


class OutputConfig(DrivenConfig, frozen=True, kw_only=True, tag="output"):
    """A pin that is switched on and off."""

    kind: OutputKind = "switch"
    initial: Literal["off", "on", "keep", "restore"] = "off"
    on_stop: Literal["off", "on", "keep", "input"] = "off"
    on_failure: Literal["off", "on", "keep", "input"] = "off"
    pulse: Seconds | None = None
    group: Name | None = None
    group_pause: Annotated[float, Meta(ge=0, le=60, extra={"unit": "seconds"})] = 0.1


class PwmConfig(DrivenConfig, frozen=True, kw_only=True, tag="pwm"):
    """A pin that is dimmed. The limit of 10 kHz is that of lgpio's PWM in software."""

    kind: PwmKind = "light"
    initial: (
        Literal["off", "on", "keep", "restore"] | Annotated[float, Meta(ge=0, le=1)]
    ) = "off"  # fmt: skip
    on_stop: Literal["off", "on", "input"] = "off"
    on_failure: Literal["off", "on", "input"] = "off"
    frequency: Annotated[float, Meta(ge=0.1, le=10000, extra={"unit": "hertz"})] = 100


AnyPin = InputConfig | OutputConfig | PwmConfig
MODES: dict[str, type[PinConfig]] = {"input": InputConfig, "output": OutputConfig, "pwm": PwmConfig}
PIN_KEYS = frozenset({"mode"}.union(*(mode.__struct_fields__ for mode in MODES.values()))) - {
    "name"
}
"""The keys of pins, of all modes."""


TravelSeconds = Annotated[float, Meta(ge=0.1, le=600, extra={"unit": "seconds"})]


class Travel(Struct, frozen=True, kw_only=True):
    """The seconds that a drive takes from one end to the other: `up` opens, `down` closes."""

    up: TravelSeconds
    down: TravelSeconds


class Presses(Struct, frozen=True, kw_only=True):
    """What a press of a drive's only button does while it opens, closes, or rests in between.

    `opposite` is the other direction than before.
    """

    opening: Literal["stop", "reverse"]
    closing: Literal["stop", "reverse"]
    stopped: Literal["opposite", "open", "close"]


class CoverConfig(Struct, frozen=True, kw_only=True):
    """A door, gate or shutter with a drive: one `button`, or the outputs `up` and `down`.

    `closed` and `opened` are contacts at the ends. With `unattended` rules, schedules and hooks may
    move it, although it has `confirm`.
    """

    name: Name
    label: Label
    kind: CoverKind
    room: Label | None = None
    icon: Icon | None = None
    hidden: bool = False
    button: Name | None = None
    up: Name | None = None
    down: Name | None = None
    closed: Name | None = None
    opened: Name | None = None
    travel: Travel
    presses: Presses | None = None
    confirm: bool = False
    control: Audience | None = None
    unattended: bool = False

    def __str__(self) -> str:
        return f"cover {self.name}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of its outputs."""
        return tuple(name for name in (self.button, self.up, self.down) if name)

    @property
    def contacts(self) -> tuple[str, ...]:
        """The names of its contacts."""
        return tuple(name for name in (self.closed, self.opened) if name)

    @property
    def pins(self) -> tuple[str, ...]:
        """The names of all its pins."""
        return self.outputs + self.contacts

    @property
    def has_position(self) -> bool:
        """True if it can be moved to a position between its ends."""
        return self.button is None

    @property
    def can_stop(self) -> bool:
        """True if the command `stop` may stop it, in one direction at least."""
        presses = self.presses
        return self.button is None or (
            presses is not None and "stop" in (presses.opening, presses.closing)
        )


class CertificateFiles(Struct, frozen=True, kw_only=True):
    """PEM files of a certificate chain and its private key."""

    certificate: Path
    key: Path


class AccessConfig(Struct, frozen=True, kw_only=True):
    """Permissions, further names of the server, trusted proxies, and sites that may use it."""

    view: Literal["everyone", "code"] = "everyone"
    control: Audience = "code"
    hosts: tuple[HostName, ...] = ()
    proxies: tuple[ProxyNetwork, ...] = ()
    origins: tuple[PageOrigin, ...] = ()


class HookConfig(Struct, frozen=True, kw_only=True):
    """A secret address, whose every request switches a pin or moves a cover.

    With `unattended` it may be one with `confirm`, although a hook asks nobody.
    """

    pin: Name | None = None
    cover: Name | None = None
    do: Literal["on", "off", "toggle", "pulse", "open", "close", "stop"]
    unattended: bool = False

    @property
    def target(self) -> str:
        """The name of the pin or the cover."""
        return self.pin or self.cover or ""


HookConfigs = dict[str, HookConfig]
"""Hooks by name."""

PinNames = Annotated[
    tuple[Name, ...], Meta(description="the name of a pin, or a list such as [lamp, porch]")
]
SunEvent = Literal["sunrise", "sunset"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of the week, in the order of `date.weekday()`."""


class Location(Struct, frozen=True, kw_only=True):
    """A place, in degrees, for the times of sunrise and sunset there."""

    latitude: Annotated[
        float, Meta(ge=-90, le=90, description="degrees from -90 (south) to 90 (north)")
    ]
    longitude: Annotated[
        float, Meta(ge=-180, le=180, description="degrees from -180 (west) to 180 (east)")
    ]


class TimeOfDay(Struct, frozen=True):
    """A time of the day: `minutes` after midnight, or after `sun`, which may be before it.

    As text it is `06:30`, `sunset` or `sunset+00:20`.
    """

    minutes: int
    sun: SunEvent | None = None

    def __str__(self) -> str:
        hours, minutes = divmod(abs(self.minutes), 60)
        clock = f"{hours:02}:{minutes:02}"
        if self.sun is None:
            return clock
        return f"{self.sun}{'-' if self.minutes < 0 else '+'}{clock}" if self.minutes else self.sun


Goal = Literal["open", "close"] | Annotated[float, Meta(ge=0, le=100)]
"""Where a cover goes: to one of its ends, or to a position in percent; 100 is open."""


class ScheduleConfig(Struct, frozen=True, kw_only=True):
    """A window from `begin` to `end`, in which `pin` has `value`, or a moment `at`.

    At a moment `pin` is on for `pulse` seconds, or `cover` moves to its `goal`, or what was
    switched on by hand and by rules at the pins `turn_off` ends. A moment that is more than `late`
    seconds past is not made up for. With `unattended` the pins and the cover may have `confirm`.
    """

    pin: Name | None = None
    cover: Name | None = None
    begin: TimeOfDay | None = field(default=None, name="from")
    end: TimeOfDay | None = field(default=None, name="to")
    at: TimeOfDay | None = None
    days: tuple[Day, ...] = DAYS
    value: Annotated[float, Meta(ge=0, le=1)] = 1
    pulse: Seconds | None = None
    turn_off: PinNames = ()
    goal: Goal | None = None
    late: Annotated[float, Meta(ge=0, le=MAX_PULSE_S, extra={"unit": "seconds"})] = 60
    unattended: bool = False

    @property
    def times(self) -> tuple[TimeOfDay, ...]:
        """The times that it names."""
        return tuple(time for time in (self.begin, self.end, self.at) if time)

    @property
    def pins(self) -> tuple[str, ...]:
        """The names of the pins that it switches."""
        return (self.pin,) if self.pin else self.turn_off

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the pins that it switches, and of the cover that it moves."""
        return (self.cover,) if self.cover else self.pins


ScheduleConfigs = dict[str, ScheduleConfig]
"""Schedules by name."""
Press = Literal["short", "long", "double"]
PinValues = Annotated[
    dict[Name, Annotated[float, Meta(ge=0, le=1)]],
    Meta(description="values of pins such as {porch: 0.4}"),
]
CoverGoals = Annotated[
    dict[Name, Goal], Meta(description="goals of covers such as {garage: close}")
]


class OnlyConfig(Struct, frozen=True, kw_only=True):
    """The window of the day in which a rule acts."""

    begin: TimeOfDay = field(name="from")
    end: TimeOfDay = field(name="to")


class RuleConfig(Struct, frozen=True, kw_only=True):
    """A rule: what switches outputs when a pin changes (`when`), or while it is on (`while`).

    With several pins any of them counts; a cover is on unless it is closed. `hold` is how long it
    lasts after its pins went off, `for` how long one of them must have been on. `move` has the
    goals of covers. With `unattended` outputs and covers may have `confirm`.
    """

    when: PinNames = ()
    while_: PinNames = field(default=(), name="while")
    press: Press | None = None
    for_: Seconds | None = field(default=None, name="for")
    hold: Seconds | None = None
    only: OnlyConfig | None = None
    turn_on: PinNames = ()
    turn_off: PinNames = ()
    toggle: PinNames = ()
    set_: PinValues = field(default={}, name="set")
    pulse: PinNames = ()
    move: CoverGoals = {}
    unattended: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """The pins and covers that it depends on."""
        return self.when or self.while_

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that it switches."""
        return (*self.turn_on, *self.turn_off, *self.toggle, *self.set_, *self.pulse)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the outputs that it switches, and of the covers that it moves."""
        return (*self.outputs, *self.move)

    @property
    def is_state(self) -> bool:
        """True if it holds its outputs while something is so; else it acts at events."""
        return bool(self.while_) or (self.hold is not None and self.press is None)


RuleConfigs = dict[str, RuleConfig]
"""Rules by name."""
Discovery = Literal[False] | Topic


class MqttConfig(Struct, frozen=True, kw_only=True):
    """An MQTT broker, and what this Pi publishes there.

    `topic` is None for raspi-server/HOST. `discovery` is the prefix under which Home Assistant
    finds devices, or False. With `fleet`, /fleet/ shows all Pis that use the broker.
    """

    url: BrokerUrl
    user: User | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    topic: Topic | None = None
    control: bool = False
    discovery: Discovery = False
    fleet: bool = False


class Config(Struct, frozen=True, kw_only=True):
    """One valid configuration. Paths are absolute; pins have the order of the file."""

    port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    address: Address = ""
    ssl: bool | CertificateFiles = False
    interval: Annotated[float, Meta(ge=0.01, le=3600, extra={"unit": "seconds"})] = 0.1
    www: Path = Path("www")
    gpio: Literal["auto", "real", "simulated"] = "auto"
    access: AccessConfig = AccessConfig()
    mqtt: MqttConfig | None = None
    hooks: HookConfigs = {}
    location: Location | None = None
    schedules: ScheduleConfigs = {}
    rules: RuleConfigs = {}
    metrics: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pins: tuple[AnyPin, ...] = ()
    covers: tuple[CoverConfig, ...] = ()

    @property
    def certificate(self) -> CertificateFiles | None:
        """The files for HTTPS, or None for plain HTTP."""
        return self.ssl if isinstance(self.ssl, CertificateFiles) else None

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files with private keys and the broker's password. Some may not exist.

        The key of the certificate authority, in the certificate's folder, is one of them.
        """
        found: list[Path | None] = []
        if self.certificate:
            key = self.certificate.key
            found += [key, self.certificate.certificate.with_name("ca.key")]
        if self.mqtt:
            found += [self.mqtt.password_file, self.mqtt.key]
        return tuple(file for file in found if file)
