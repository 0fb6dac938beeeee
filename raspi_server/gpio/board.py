"""The board: all pins of a configuration, their commands, their claims and their changes.

`_follow` is the only place that gives an output a value: what its claims give, within its limits.

Permissions are checked in `security/access.py`, before a command arrives here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator

from ..config import schema
from ..config.pinout import GPIO_BY_POSITION
from ..decoding import shorten
from ..errors import RequestError, refusal
from ..limits import DEFAULT, Limits
from ..messages import Auto, Command, Drive, HeaderPin, Pulse, Set, Source, Value
from .backend import PinFactory
from .claims import Claim, Level
from .input import Input
from .interlock import Interlock
from .output import Output
from .output_state import OutputStateStore
from .pin import Decision, Pin, PinChange, PinEnvironment

log = logging.getLogger(__name__)


class Board:
    """The pins, by name and in the order of the configuration.

    `when_changed` is called for each new value. `when_availability_changed` is called after a pin
    became unavailable or available again, but not by `reconfigure`: its caller reads all pins
    again. `when_decided` is called if another claim decides about the same value.

    `claim_first` is called with the board at a start and at each reload, when the inputs are open
    and no output has been opened: it calls `claim` for what schedules and rules give now. All
    methods run on the loop's thread.
    """

    def __init__(
        self,
        pins: Iterable[schema.PinConfig],
        factory: PinFactory,
        states: OutputStateStore,
        loop: asyncio.AbstractEventLoop,
        when_changed: Callable[[PinChange], None],
        when_availability_changed: Callable[[], None],
        limits: Limits = DEFAULT,
        when_decided: Callable[[str, Decision], None] = lambda pin, decision: None,
        claim_first: Callable[["Board"], None] = lambda board: None,
    ) -> None:
        self._factory = factory
        self._loop = loop
        self._when_availability_changed = when_availability_changed
        self._environment = PinEnvironment(
            factory,
            states,
            loop,
            limits,
            when_changed,
            when_decided,
            self._pin_lost,
            self._limit_ended,
        )
        self._claim_first = claim_first
        self._interlocks: dict[str, Interlock] = {}
        self._pins: dict[str, Pin] = {}
        self._members: dict[Interlock | None, list[Pin]] = {}
        self._is_new = True
        self._is_changing = False
        self._held: set[int] = set()
        """In `reconfigure`, the lines that this server drove all the time: an output of an
        interlock that is on may stay on there."""
        self.cover_of: dict[str, schema.CoverConfig] = {}
        """The cover of each output that belongs to one. No other command switches such an output,
        and no rule and no schedule, since the parser allows none."""
        self.reconfigure(pins)

    def __iter__(self) -> Iterator[Pin]:
        """Iterate over the pins in the order of the configuration."""
        return iter(self._pins.values())

    def __getitem__(self, name: str) -> Pin:
        """Return one pin. Raises RequestError for an unknown name."""
        try:
            return self._pins[name]
        except KeyError:
            raise refusal("unknown-pin", name=shorten(name)) from None

    @property
    def simulated(self) -> bool:
        """True if no real line is read or driven."""
        return self._factory.simulated

    @property
    def model(self) -> str:
        """Name of the Raspberry Pi, such as `Raspberry Pi 3B rev 1.2`."""
        return self._factory.model

    def values(self) -> dict[str, Value]:
        """Return the values of all pins by name."""
        return {name: pin.value for name, pin in self._pins.items()}

    def refresh(self) -> None:
        """Read all inputs again, to find edges that were lost."""
        for pin in self:
            pin.refresh()

    def reopen_failed(self) -> None:
        """Try again to open each unavailable pin."""
        if self._open(pin for pin in self if pin.error):
            self._when_availability_changed()

    def _open(self, pins: Iterable[Pin]) -> bool:
        """Open pins; return True if any could be opened.

        Inputs are opened first, then outputs that start off. An output of an interlock goes on only
        after the others are known to be off and its pause has passed.
        """
        pins = list(pins)
        opened = [pin for pin in pins if not _is_output(pin) and pin.open()]
        if self._is_changing:
            self._claim_first(self)
            for pin in self:
                pin.claims.start_ends()
        outputs = sorted(filter(_is_output, pins), key=Pin.prepare)
        for pin in outputs:
            waiting = [other for other in self._group(pin) if other.is_waiting]
            if pin.open(pin.config.gpio in self._held):
                opened.append(pin)
                for other in waiting:  # its command was cancelled
                    other.claims.give_way()
        for pin in outputs:
            if pin in opened:
                self._begin_to_switch_on(pin)
        for pin in self:
            winner = pin.claims.winner
            self._decide(pin, winner.name if winner.is_automatic else "initial")
        return bool(opened)

    def _begin_to_switch_on(self, pin: Pin) -> None:
        """Switch on an output that starts on by hand or by its default, after the pause."""
        is_on = isinstance(pin.device, Output) and pin.device.is_on
        if is_on or not pin.wanted or pin.claims.winner.is_automatic:
            return
        first = self._first(pin)
        if first and first is not pin and first.claims.winner.is_automatic:
            return  # it waits
        try:
            self._check_others(pin)
            self._switch(pin, "initial", None, Level.MANUAL).add_done_callback(_ignore)
        except RequestError as error:
            log.warning("%s: starts off: %s", pin, error.message)
            pin.claims.give_way()

    def carry_out(
        self, command: Command, by: str, is_of_cover: bool = False
    ) -> asyncio.Future[Value]:
        """Carry out a command of the caller `by`, or one of the cover that the output belongs to.

        Return a future of the pin's value after the command. It waits while an interlock pauses.
        This call or the future raises RequestError.
        """
        pin = self[command.pin]
        if isinstance(command, Drive):
            return self._done(self._drive(pin, command.value))
        cover = self.cover_of.get(command.pin)
        if cover and not is_of_cover:
            raise refusal("cover-output", label=pin.config.label, cover=cover.label)
        output = pin.output
        if isinstance(command, Auto):
            pin.claims.relinquish()
            self._decide(pin, by)
            return self._done(pin.value)
        seconds = pulse_s = None
        if isinstance(command, Pulse):
            value, pulse_s = 1.0, _checked_pulse(pin.config, command.seconds)
        else:
            seconds = _checked_seconds(pin.config, command.seconds)
            if isinstance(command, Set):
                value = _checked_value(pin.config, command.value)
            else:
                value = 0 if output.is_on or pin.is_waiting else output.on_value
        if value:
            self._check_others(pin)
        now = self._loop.time()
        until, passing = self._end_of_command(pin, now, seconds), seconds is None
        pin.claims.begin(Claim(Level.MANUAL, "", value, now, until, passing))
        try:
            return self._switch(pin, by, pulse_s, Level.MANUAL)
        except RequestError:
            pin.claims.give_way()
            pin.update()
            raise

    def _end_of_command(self, pin: Pin, now: float, seconds: float | None) -> float | None:
        """Return the moment at which a claim by hand ends by itself, or None."""
        if seconds is None and isinstance(pin.config, schema.DrivenConfig):
            seconds = pin.config.manual_hold
        return None if seconds is None else now + seconds

    # Claims of schedules and rules

    def claim(
        self,
        pin: str,
        source: str,
        level: Level,
        value: float,
        began: float,
        seconds: float | None = None,
        edge: bool = False,
        window: float | None = None,
    ) -> None:
        """Begin or renew the claim of a source, such as the rule `hall`, at the moment `began`.

        The claim that began last decides among those of one level. The same `began` again is no
        event, so nothing ends by it. With `seconds` the claim ends by itself, so long after
        `began`. An `edge` of a rule makes a claim that ends as one by hand does. A claim that a
        limit cut counts again when it has begun later than that, or, with a `window`, for another
        one: the Unix time at which a schedule's window began. On an output that is unavailable it
        waits. Raises RequestError for an unknown pin and for an input.
        """
        found, now = self[pin], self._loop.time()
        if not _is_output(found):
            raise refusal("not-writable", label=found.config.label)
        began = min(began, now)
        until = None if seconds is None else began + seconds
        if edge and until is None:
            until = self._end_of_command(found, began, None)
        claim = Claim(level, source, value, began, until, edge, window)
        if until is not None and until <= now:
            self.release(pin, source, level)
            return
        decides = found.claims.begin(claim)
        if self._is_changing:
            return
        with contextlib.suppress(RequestError):  # the pin says that its line failed
            if decides and isinstance(found.device, Output):
                done = self._switch(found, claim.name, None, level if edge else None)
                done.add_done_callback(_ignore)
            else:
                self._decide(found, claim.name)

    def release(self, pin: str, source: str, level: Level) -> None:
        """End the claim of a source, if it has one. The next claim decides, with nothing between.

        A rule releases when its condition ends, also if its claim was spent.
        """
        found = self._pins.get(pin)
        if found:
            name = Claim(level, source, 0, 0).name
            found.claims.end(name)
            self._decide_later_or_now(found, name)

    def keep_rules(self, names: Collection[str]) -> None:
        """End all claims of rules that have other names: they are gone.

        It is for `claim_first`. A claim of an edge may be kept over the restart in which its rule
        goes.
        """
        for pin, claim in list(self.claims()):
            if claim.level is Level.RULE and claim.source not in names:
                self.release(pin, claim.source, Level.RULE)

    def is_spent(self, pin: str, rule: str) -> bool:
        """Return True if a limit or `relinquish` has ended what a rule claims for an output."""
        found = self._pins.get(pin)
        return found is not None and found.claims.is_spent(Claim(Level.RULE, rule, 0, 0).name)

    def relinquish(self, pin: str, by: str = "auto", rules_too: bool = False) -> None:
        """End all claims by hand, and of edges. With `rules_too`, spend those of all rules."""
        found = self._pins.get(pin)
        if found:
            found.claims.relinquish(self._loop.time() if rules_too else None)
            self._decide_later_or_now(found, by)

    def first_value(self, pin: str) -> Value:
        """Return the value of a pin, or the one with which an output will be opened.

        It is for `claim_first`, when all that claims the output has done so.
        """
        found = self[pin]
        if found.value is not None or found.error or not _is_output(found):
            return found.value
        found.claims.start_ends()
        return found.first_value(found.config.gpio in self._held)

    def tell(self, pin: str, source: str) -> None:
        """Report an output that the rule `source` decides: until when it does has changed."""
        found = self._pins.get(pin)
        decision = found.decision if found else None
        if decision and decision.source == Source("rule", source):
            self._environment.when_decided(pin, decision)

    def winner(self, pin: str) -> tuple[Level, str, float | None]:
        """Return the level and the source that decide an output, and until when, or None."""
        claim = self[pin].claims.winner
        decision = self[pin].decision
        return claim.level, claim.source, decision.until if decision else claim.until

    def claims(self) -> Iterator[tuple[str, Claim]]:
        """Yield all claims, each with its pin, also those kept over a restart."""
        for name, pin in self._pins.items():
            for claim in pin.claims:
                yield name, claim

    # The decision

    def _decide_later_or_now(self, pin: Pin, by: str) -> None:
        if not self._is_changing:
            self._decide(pin, by)

    def _decide(self, pin: Pin, by: str) -> None:
        """Bring an output to what its claims give. If that fails, the pin says so."""
        pin.set_timer(self._claim_ended)
        if isinstance(pin.device, Output):
            with contextlib.suppress(RequestError):
                self._follow(pin, by, None, is_new=False).add_done_callback(_ignore)

    def _switch(
        self, pin: Pin, by: str, pulse_s: float | None, hand: Level | None
    ) -> asyncio.Future[Value]:
        """Carry out a new claim that decides an output.

        With the level `hand` it is one by hand, which ends those of the others in its group.
        Return a future of the value. This call or the future raises RequestError.
        """
        pin.set_timer(self._claim_ended)
        others = self._group(pin) if hand is not None and pin.wanted else []
        for other in others:
            other.claims.give_way(hand or Level.MANUAL)
        done = self._follow(pin, by, pulse_s, is_new=True)
        for other in others:
            other.set_timer(self._claim_ended)
            other.update()
        return done

    def _follow(
        self, pin: Pin, by: str, pulse_s: float | None, is_new: bool
    ) -> asyncio.Future[Value]:
        output, interlock = pin.output, pin.interlock
        first = self._first(pin) if interlock else pin
        if first is not pin and interlock and interlock.is_waiting(output):
            is_off = not pin.wanted
            interlock.cancel("switched-off" if is_off else "other-goes-first")
        if interlock is None or first is not pin:
            value = pin.wanted if interlock is None else 0
            if is_new or value != output.value:
                output.switch(value, "group" if value != pin.wanted else by, pulse_s)
            else:
                pin.update()
        done = self._done(output.value)
        if interlock is None or first is None:
            return done
        if first is not pin:
            winner = first.claims.winner
            by, pulse_s, is_new = winner.name if winner.is_automatic else "initial", None, False
        if not is_new and (first.output.is_on or first.is_waiting):
            first.update()
            return done
        try:
            self._check_others(first)
        except RequestError:
            return done
        switched = self._switch_on(first, by, pulse_s)
        if first is pin:
            pin.update()
            return switched
        switched.add_done_callback(_ignore)
        return done

    def _switch_on(self, pin: Pin, by: str, pulse_s: float | None) -> asyncio.Future[Value]:
        """Switch on an output of a group, after the others are off and the pause has passed."""
        output, interlock, config = pin.output, pin.interlock, pin.config
        assert interlock and isinstance(config, schema.OutputConfig)

        def switch() -> None:
            output.switch(1, by, pulse_s)

        done = interlock.switch_on(output, config.group_pause, switch)
        for other in self._group(pin):
            other.update()  # it may have waited until now
        return done

    def _first(self, pin: Pin) -> Pin | None:
        """Return the output of a group that may be on: by level, then the one that began last.

        Return None if none wants to be on. If two began together, the one that is on stays on.
        """

        def rank(pin: Pin) -> tuple[int, float, bool]:
            winner = pin.claims.winner
            return winner.level, winner.began, pin.output.is_on or pin.is_waiting

        members = [pin, *self._group(pin)]
        wanting = [each for each in members if isinstance(each.device, Output) and each.wanted]
        return max(wanting, key=rank, default=None)

    def _group(self, pin: Pin) -> list[Pin]:
        """Return the other outputs of its interlock."""
        return [each for each in self._members.get(pin.interlock, ()) if each is not pin]

    def _limit_ended(self, pin: Pin, by: str) -> None:
        pin.claims.cut(self._loop.time())
        self._decide(pin, by)

    def _claim_ended(self, pin: Pin, at: float) -> None:
        """End the claims whose time has come, those of its group too, before any output decides.

        So none decides for an instant between two that end together.
        """
        causes = {pin: ""}
        for each in (pin, *self._group(pin)):
            for claim in each.claims.end_due(at):
                is_hold = claim.passing
                by = claim.name if claim.is_automatic else "manual_hold" if is_hold else "timer"
                causes[each] = by
        for each, by in causes.items():
            self._decide(each, by)

    def header(self) -> list[HeaderPin]:
        """Return each position of the 40-pin header, with the program that holds its line."""
        ours = {pin.config.gpio: pin for pin in self}
        found = []
        for position, info in sorted(self._factory.board_info.headers["J8"].pins.items()):
            gpio = GPIO_BY_POSITION.get(position)
            pin = None if gpio is None else ours.get(gpio)
            if pin and pin.device:
                holder: str | None = "raspi-server"
            else:
                holder = None if gpio is None else self._factory.holder(gpio)
            found.append(
                HeaderPin(
                    position=position,
                    function=info.name,
                    gpio=gpio,
                    holder=holder,
                    pin=pin.config.name if pin else None,
                    value=pin.value if pin else None,
                )
            )
        return found

    def reconfigure(self, configs: Iterable[schema.PinConfig]) -> None:
        """Change to another configuration.

        A pin whose keys do not affect its line differently is not touched; a running pulse goes on.
        Other pins are closed and opened again. Removed pins get the state of their `on_stop`.
        """
        self._is_changing = True
        configs = tuple(configs)
        wanted = {config.gpio: config for config in configs}
        staying: dict[int, Pin] = {}
        self._held = set(wanted) if self._is_new else set()
        self._is_new = False
        # First close all that change or go: new pins may need their lines and interlocks.
        for pin in self:
            config = wanted.get(pin.config.gpio)
            if config is not None and pin.adopt(config):
                staying[config.gpio] = pin
            else:
                is_kept = _is_kept(config)
                self._held |= {pin.config.gpio} if is_kept and pin.is_driven else set()
                pin.close("keep" if is_kept else None)
        names = {group for config in configs if (group := _group(config))}
        self._interlocks = {
            name: self._interlocks.get(name) or Interlock(self._loop) for name in names
        }
        self._pins = {
            config.name: staying.get(config.gpio) or self._new_pin(config) for config in configs
        }
        self._members = {
            interlock: [pin for pin in self if pin.interlock is interlock]
            for interlock in self._interlocks.values()
        }
        self._open(pin for pin in self if pin.device is None and pin.error is None)
        self._is_changing = False
        self._held = set()

    def _new_pin(self, config: schema.PinConfig) -> Pin:
        group = _group(config)
        return Pin(config, self._interlocks[group] if group else None, self._environment)

    def _pin_lost(self) -> None:
        if not self._is_changing:
            self._when_availability_changed()

    def close(self) -> None:
        """Bring each output to the state of its `on_stop`, and release all pins."""
        for interlock in self._interlocks.values():
            interlock.cancel("stopped")
        for pin in self:
            pin.close()
        self._factory.close()

    def _check_others(self, pin: Pin) -> None:
        """Raise RequestError if another output of the interlock is unavailable: it may be on."""
        for other in self._group(pin):
            if other.error:
                raise refusal("group-unavailable", other=other.config.label)

    def _drive(self, pin: Pin, value: float) -> Value:
        if not self.simulated:
            raise refusal("not-simulated", label=pin.config.label)
        if not isinstance(pin.config, schema.InputConfig):
            raise refusal("not-an-input", label=pin.config.label)
        if not isinstance(pin.device, Input):
            raise pin.unavailable()
        pin.device.drive(int(_checked_value(pin.config, value)))
        return int(value)

    def _done(self, value: Value) -> asyncio.Future[Value]:
        future: asyncio.Future[Value] = self._loop.create_future()
        future.set_result(value)
        return future


def _is_output(pin: Pin) -> bool:
    return isinstance(pin.config, schema.DrivenConfig)


def _ignore(done: asyncio.Future[Value]) -> None:
    """Take note of an error of a command that nothing awaits."""
    done.exception()


def _group(config: schema.PinConfig) -> str | None:
    return config.group if isinstance(config, schema.OutputConfig) else None


def _is_kept(config: schema.PinConfig | None) -> bool:
    return isinstance(config, schema.DrivenConfig) and config.initial in ("keep", "restore")


def _checked_value(pin: schema.PinConfig, value: float) -> float:
    """Return the value of a command. Raises RequestError if the pin cannot have that value."""
    if isinstance(pin, schema.PwmConfig):
        if not 0 <= value <= 1:
            raise refusal("out-of-range", label=pin.label, minimum=0, maximum=1, got=f"{value:g}")
    elif value not in (0, 1):
        raise refusal("not-0-or-1", label=pin.label, got=f"{value:g}")
    return value


def _checked_seconds(pin: schema.PinConfig, seconds: float | None) -> float | None:
    """Return the time for which a command holds. Raises RequestError if it is out of range."""
    if seconds is None or schema.MIN_PULSE_S <= seconds <= schema.MAX_PULSE_S:
        return seconds
    limits = {"minimum": f"{schema.MIN_PULSE_S:g}", "maximum": f"{schema.MAX_PULSE_S:g}"}
    raise refusal("pulse-length", label=pin.label, got=f"{seconds:g}", **limits)


def _checked_pulse(pin: schema.PinConfig, seconds: float | None) -> float:
    """Return the length of a pulse in seconds: that of the command, else that of the pin.

    Raises RequestError if the pin has no pulse, or the length is too short or too long. A command
    can shorten the pin's `pulse` and `max_on`, not lengthen them.
    """
    if not isinstance(pin, schema.OutputConfig):
        raise refusal("no-pulse", label=pin.label)
    if seconds is None:
        if pin.pulse is None:
            raise refusal("no-seconds", label=pin.label)
        return pin.pulse
    longest = min(pin.pulse or schema.MAX_PULSE_S, pin.max_on or schema.MAX_PULSE_S)
    if not schema.MIN_PULSE_S <= seconds <= longest:
        limits = {"minimum": f"{schema.MIN_PULSE_S:g}", "maximum": f"{longest:g}"}
        raise refusal("pulse-length", label=pin.label, got=f"{seconds:g}", **limits)
    return seconds
