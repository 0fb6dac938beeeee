"""A pin at runtime: its open device, or the reason why it is unavailable."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ..config import schema
from ..config.kinds import PRESSED
from ..errors import Reason, RequestError, reason, refusal
from ..limits import Limits
from ..messages import Source, Value
from ..system import busy
from ..system.clock import wall_time
from .backend import LINE_ERRORS, Line, PinFactory
from .claims import WORDS, Claims, KeptClaims, Level
from .faults import why
from .input import Input
from .interlock import Interlock
from .output import Output
from .output_state import OutputState, OutputStateStore

log = logging.getLogger(__name__)


class Decision(NamedTuple):
    """The source that decides the value of an output, until the monotonic moment `until`, if known.

    `auto` is true if the command `auto` would end a claim.
    """

    source: Source
    until: float | None
    auto: bool


class PinChange(NamedTuple):
    """A new value of a pin.

    `moment` is in seconds of the monotonic clock; `by` is the caller or the cause, None for an
    input, as `decision` is.
    """

    pin: str
    value: Value
    moment: float
    by: str | None
    decision: Decision | None = None


class PinEnvironment(NamedTuple):
    """The parts that all pins of a board share.

    `when_changed` is called for each new value, `when_decided` for another decision about the same
    value, `when_lost` after a line has failed, and `limit_ended` at the end of a time limit.
    """

    factory: PinFactory
    states: OutputStateStore
    loop: asyncio.AbstractEventLoop
    limits: Limits
    when_changed: Callable[[PinChange], None]
    when_decided: Callable[[str, Decision], None]
    when_lost: Callable[[], None]
    limit_ended: Callable[["Pin", str], None]


class Pin:
    """A pin of the board.

    `device` is its open input or output, or None; `error` is then the reason. `claims` decide the
    value of an output, open or not. Its `str` is that of its configuration: `lamp (GPIO17)`.
    """

    def __init__(
        self,
        config: schema.PinConfig,
        interlock: Interlock | None,
        environment: PinEnvironment,
    ) -> None:
        self.config = config
        self.interlock = interlock
        self.error: Reason | None = None
        self.device: Input | Output | None = None
        self._environment = environment
        self._factory = environment.factory
        self._states = environment.states
        self._was_open = False
        self._decision: Decision | None = None
        """The decision that was reported last."""
        self._timer: asyncio.TimerHandle | None = None
        self.claims = self._first_claims(config)

    def __str__(self) -> str:
        return str(self.config)

    @property
    def value(self) -> Value:
        """The value of the input or output, None while the pin is unavailable."""
        return self.device.value if self.device else None

    @property
    def since(self) -> float | None:
        """Unix time of the last change, or None."""
        moment = self.device.since if self.device else None
        return None if moment is None else wall_time(moment)

    @property
    def wanted(self) -> float:
        """The value that the claims give the output."""
        value = self.claims.winner.value
        return value if isinstance(self.config, schema.PwmConfig) else int(value > 0)

    @property
    def is_waiting(self) -> bool:
        """True while the output waits for the pause of its interlock."""
        return (
            self.interlock is not None
            and isinstance(self.device, Output)
            and self.interlock.is_waiting(self.device)
        )

    @property
    def decision(self) -> Decision | None:
        """The source that decides, None for an input and while the pin is unavailable."""
        if not isinstance(self.device, Output):
            return None
        claim = self.claims.winner
        until, off_at = claim.until, self.device.state.off_at
        if until is None or (off_at is not None and off_at < until):
            until = off_at
        source = Source(WORDS[claim.level], claim.source or None)
        return Decision(source, until, self.claims.is_by_hand)

    @property
    def output(self) -> Output:
        """The open output. Raises RequestError for an input, and for an unavailable pin."""
        if isinstance(self.config, schema.InputConfig):
            raise refusal("not-writable", label=self.config.label)
        if not isinstance(self.device, Output):
            raise self.unavailable()
        return self.device

    def unavailable(self) -> RequestError:
        """Return the error for a command to the pin while it is unavailable."""
        error = self.error or Reason("unavailable", "unavailable")
        message = f"{self.config.label}: {error}"
        return RequestError("unavailable", message, reason=error.name, values=error.values)

    def open(self, was_held: bool = False) -> bool:
        """Open the pin. If that fails, log the reason once and return False.

        `was_held` means that no other output of its interlock can have gone on since the server
        last drove this line, so that an output that is on may stay on.
        """
        try:
            with busy.on(str(self)):
                self.device = self._open_device(was_held)
        except LINE_ERRORS as error:
            found = why(error)
            if self.error != found:
                log.error("%s: %s; shown as unavailable", self, error)
            self.error = found
            return False
        if self.error:
            log.info("%s: available again", self)
        self.error = None
        self._was_open = True
        return True

    def refresh(self) -> None:
        """Read an input again, to find edges that were lost."""
        if isinstance(self.device, Input):
            self.device.refresh()

    def adopt(self, config: schema.PinConfig) -> bool:
        """Take another configuration, if the line can stay as it is.

        Return False if it reads or drives the line in another way; then nothing has changed.
        """
        if not _drives_alike(self.config, config):
            return False
        if config.name != self.config.name:
            self.claims.orphan()  # schedules and rules claim outputs by their names
        before, self.config = self.config, config
        if self.device:
            self.device.name = str(config)
        if isinstance(self.device, Output):
            if _default(before) != _default(config):
                self.claims.change_default(_default(config))
            self._keep(self.device.state)
        return True

    def update(self) -> None:
        """Keep and report other claims on an output that has their value already."""
        decision, before = self.decision, self._decision
        if decision is None:
            return
        is_by_hand = self.claims.winner.level is Level.MANUAL
        if before and before.source.level == "manual" and not is_by_hand:
            self.output.forget_pulse()
            decision = self.decision
        if self._kept_claims(self.output.value) != self._states.claims(self.config.gpio):
            self._keep(self.output.state)
        self._report(decision)

    def set_timer(self, ended: Callable[["Pin", float], None]) -> None:
        """Call `ended` with the moment at which the next claim ends, if one does by itself."""
        at = self.claims.next_end
        self.stop_timer()
        if at is not None:
            self._timer = self._environment.loop.call_at(at, ended, self, at)

    def stop_timer(self) -> None:
        """Forget the claim that ends next."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def close(self, how: str | None = None) -> None:
        """Bring an output to the state `how`, or else its `on_stop`, and release the line."""
        self.stop_timer()
        device, self.device = self.device, None
        if device is None:
            return
        self.error = reason("server-stopping")
        try:
            with busy.on(str(self)):
                if isinstance(device, Output):
                    self._leave(device, how)
                else:
                    device.close()
                self._factory.release(self._factory.pin(self.config.gpio))
        except LINE_ERRORS as error:
            log.error("%s: could not be brought to its on_stop state: %s", self, error)

    @property
    def is_driven(self) -> bool:
        """True while it is an open output: no other program can have changed its line."""
        return isinstance(self.device, Output)

    def prepare(self) -> bool:
        """Take over the level of the line with `initial: keep`. Return True if it will start on."""
        config = self.config
        if not isinstance(config, schema.DrivenConfig):
            return False
        if config.initial == "keep" and self._states.before_restart(config.gpio) is None:
            level = self._factory.level(config.gpio)
            is_on = level is not None and bool(level) == (config.active == "high")
            self.claims.restore(int(is_on))
        return self.wanted > 0

    def first_value(self, was_held: bool) -> float:
        """Return the value with which `open` will open an output, as `open` works it out."""
        config, interlock = self.config, self.interlock
        assert isinstance(config, schema.DrivenConfig)
        self.prepare()
        may_go_on = interlock is None or (was_held and self._was_on() and not interlock.is_any_on)
        return self._initial_state(config).value if may_go_on else 0

    def _open_device(self, was_held: bool) -> Input | Output:
        config, environment = self.config, self._environment
        line = self._factory.pin(config.gpio)
        if isinstance(config, schema.InputConfig):
            changed, failed = self._input_changed, self._fail
            return Input(config, line, environment.loop, changed, failed, environment.limits)
        assert isinstance(config, schema.DrivenConfig)
        return self._open_output(config, line, was_held)

    def _open_output(self, config: schema.DrivenConfig, line: Line, was_held: bool) -> Output:
        initial = self._initial_state(config)
        if initial.value and self.interlock:
            if self.interlock.is_any_on:
                if not self.claims.winner.is_automatic and self.claims.winner.level != Level.RULE:
                    log.warning("%s: starts off, since another output of its group is on", self)
                    self.claims.give_way()
                initial = OutputState(0)
            elif not (was_held and self._was_on()):
                if initial.off_at is not None:  # it would be switched on late
                    self.claims.give_way()
                initial = OutputState(0)
        loop, limit_ended = self._environment.loop, self._limit_ended
        output = Output(config, line, loop, self._output_driven, self._fail, limit_ended, initial)
        if self.interlock:
            self.interlock.add(output)
        self._keep(output.state)
        return output

    def _leave(self, output: Output, how: str | None) -> None:
        config = self.config
        assert isinstance(config, schema.DrivenConfig)
        if self.interlock:
            self.interlock.remove(output)
        if how is None:  # an output with a deadline must not stay on without a server to end it
            has_deadline = output.state.until(self.claims.winner.until).off_at is not None
            how = "off" if has_deadline and config.on_stop == "keep" else config.on_stop
        output.leave(how)
        # With keep or restore, the state before the stop is kept, not the one of on_stop.
        if config.initial not in KEPT and how != "keep":
            self._keep(OutputState(int(how == "on")), self.claims.kept())

    def _was_on(self) -> bool:
        """Return True if the server, or one before a restart, last switched it on."""
        last = self._states.before_restart(self.config.gpio)
        return last is not None and last.value > 0

    def _first_claims(self, config: schema.PinConfig) -> Claims:
        """Return the claims before any of a schedule or rule, with those of before a restart."""
        if not isinstance(config, schema.DrivenConfig):
            return Claims()
        initial, gpio = config.initial, config.gpio
        is_kept = initial in KEPT
        claims = Claims(_default(config))
        kept, last = self._states.claims(gpio), self._states.before_restart(gpio)
        # The claims are those of the last value, unless a stop, `safe-state` or another release
        # has set that.
        is_known = kept is not None and last is not None and last.value == kept.value
        if kept:
            claims.resume(kept, is_kept and is_known, self._environment.loop.time())
        if initial == "restore" and last is None:
            last = self._states.before_power_cut(gpio)
        if is_kept and last and not is_known:
            claims.restore(min(1, max(0, last.value)))
        return claims

    def _initial_state(self, config: schema.DrivenConfig) -> OutputState:
        """Return the state for `open`, with its deadlines. What these have ended is spent."""
        last, now = self._states.before_restart(config.gpio), self._environment.loop.time()
        # An output that is on already has used up some of its time.
        state = last if last and last.value else OutputState(0)
        if state.ends_claim:
            state = OutputState(state.value, None, state.max_at)
        if state.off_at is not None and state.off_at <= now:
            self.claims.cut(state.off_at)
            state = OutputState(0)
        pulse = config.pulse if isinstance(config, schema.OutputConfig) else None
        if self.wanted and pulse and state.pulse_at is None:
            claim = self.claims.winner
            # Its end is known of a claim with an end of its own. Else it counts as over, as it
            # does for what is pressed: nothing is pressed twice.
            is_known = claim.until is not None and config.kind not in PRESSED
            if is_known and claim.began + pulse > now:
                state = OutputState(1, claim.began + pulse, state.max_at)
            else:
                self.claims.cut(now)
        return OutputState(self.wanted, state.pulse_at, state.max_at)

    def _fail(self, error: Exception) -> None:
        """Make the pin unavailable after its line has failed. The board opens it again later."""
        log.error("%s: %s; shown as unavailable", self, error)
        device, self.device, self.error = self.device, None, why(error)
        if isinstance(device, Output) and self.interlock:
            self.interlock.remove(device)
        self.claims.fail()
        try:
            if isinstance(device, Input):
                device.close()
            self._factory.release(self._factory.pin(self.config.gpio))
        except LINE_ERRORS as again:
            log.debug("%s: could not be released: %s", self, again)
        self._environment.when_lost()

    def _input_changed(self, value: int, moment: float) -> None:
        self._environment.when_changed(PinChange(self.config.name, value, moment, None))

    def _limit_ended(self, by: str) -> None:
        self._environment.limit_ended(self, by)

    def _output_driven(self, before: float, by: str | None) -> None:
        output, decision = self.output, self.decision
        self._keep(output.state)
        if output.value == before:
            self._report(decision)
            return
        level = logging.DEBUG if before and output.value else logging.INFO  # sliders send many
        words = "off" if not output.value else "on" if output.value == 1 else f"{output.value:.0%}"
        log.log(level, "%s: %s, by %s", self, words, by)
        moment = self._environment.loop.time() if output.since is None else output.since
        self._decision = decision
        name = self.config.name
        self._environment.when_changed(PinChange(name, output.value, moment, by, decision))

    def _report(self, decision: Decision | None) -> None:
        """Report a decision that does not change the value, unless it was reported before."""
        if decision and decision != self._decision:
            is_first, self._decision = self._decision is None, decision
            if not is_first:
                self._environment.when_decided(self.config.name, decision)

    def _kept_claims(self, value: float) -> KeptClaims:
        """Return what to keep of the claims on an output that has this value by them.

        In a group that may be off, since another one goes first. A command that waits for the pause
        has not been carried out.
        """
        kept = self.claims.kept()
        if kept.value == value or self.is_waiting:
            return kept
        return msgspec.structs.replace(kept, value=value)

    def _keep(self, state: OutputState, kept: KeptClaims | None = None) -> None:
        config, claims = self.config, self.claims
        assert isinstance(config, schema.DrivenConfig)
        state = state.until(claims.winner.until)
        over_power_cut: float | None = None
        if config.initial == "restore":
            # The length of a power cut is not known, so an output with a deadline is off after it.
            # What a schedule or rule gave is off, too: they claim again if it still holds.
            is_chosen = state.value and state.off_at is None
            over_power_cut = claims.chosen if is_chosen else 0
        kept = kept or self._kept_claims(state.value)
        self._states.remember(config.gpio, state, kept, over_power_cut)


KEPT = ("keep", "restore")
"""The values of `initial` with which the level before a start is taken over."""

_KEYS_OFF_THE_LINE = {
    *("name", "label", "kind", "room", "icon", "words", "hidden"),
    *("confirm", "control", "initial", "manual_hold", "on_stop", "on_failure"),
}
"""Keys that do not affect a line while it is open."""


def _default(config: schema.PinConfig) -> float:
    """Return the value of an output that nothing claims."""
    initial = config.initial if isinstance(config, schema.DrivenConfig) else "off"
    return 0 if initial in ("off", *KEPT) else 1 if initial == "on" else float(initial)


def _drives_alike(one: schema.PinConfig, other: schema.PinConfig) -> bool:
    """Return True if two configurations of a line read or drive it in the same way."""
    keys = set(one.__struct_fields__) - _KEYS_OFF_THE_LINE
    return type(one) is type(other) and all(getattr(one, k) == getattr(other, k) for k in keys)
