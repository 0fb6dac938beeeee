"""Model of the pins in plain Python: the rules of docs/architecture.md, section "Pin rules".

It shares no line with the package, so that the two can be compared after each event. What it
predicts has four forms: the `values` of all pins, each `Change`, the `Answer` to each command, and
the levels of each `Line`. A configuration is a dict of names to dicts of keys, as in config.yaml.
Times are seconds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

EDGE_LATENCY_S = 0.02
"""Time an edge gets to arrive before a level that was read counts as a lost edge."""
SAME_S = 1e-6
"""Moments closer than this are one."""
KEPT = ("keep", "restore")
"""Values of `initial` with which an output continues after a restart."""

Keys = dict[str, Any]
Pins = dict[str, Keys]
Causes = frozenset[str | None]

LINE_DEFAULTS: Keys = dict.fromkeys(["pulse", "max_on", "group"])
LINE_DEFAULTS |= {"pull": "none", "debounce": 0, "group_pause": 0.1}
LINE_KEYS = ("gpio", "mode", "active", *LINE_DEFAULTS)
"""Keys that open the line again when a reload changes them."""


@dataclass
class Answer:
    """The answer that a command must get: a value, an error with one of `codes`, or none yet."""

    value: float | None = None
    codes: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        return self == Answer()

    def check(self, value: float | None, code: str | None = None) -> None:
        """Fail if a client got another value or code of an error, or got it too early."""
        assert code in self.codes if code else value == self.value is not None, (value, code, self)


def rejected(*codes: str) -> Answer:
    return Answer(codes=frozenset(codes))


@dataclass(frozen=True)
class Change:
    """A change that is reported. `by` has all causes that may be given."""

    pin: str
    value: float
    by: Causes
    moment: float


class Line:
    """The wire of one GPIO, whichever program holds it, with all levels that it has had."""

    def __init__(self) -> None:
        self.levels: list[float] = [0]
        self.pull = "none"
        self.fails = False

    @property
    def level(self) -> float:
        return self.levels[-1]

    @level.setter
    def level(self, level: float) -> None:
        self.levels += [level] if level != self.level else []

    def become_input(self, pull: str) -> None:
        """A simulated line follows its old pull first, then its new one."""
        for each in (self.pull, pull):
            if each != "none":
                self.level = int(each == "up")
        self.pull = pull


@dataclass(frozen=True)
class State:
    """The value of an output, with the ends of its pulse and of `max_on`."""

    value: float = 0
    pulse_end: float | None = None
    max_end: float | None = None

    @property
    def off_at(self) -> float | None:
        return min((end for end in (self.pulse_end, self.max_end) if end is not None), default=None)

    @property
    def ended_by(self) -> Causes:
        ends = {"pulse": self.pulse_end, "max_on": self.max_end}
        off_at = self.off_at
        return frozenset(cause for cause, end in ends.items() if end and end <= off_at + SAME_S)


class Pin:
    """The base of inputs and outputs. `is_open` is true while the server holds the line."""

    def __init__(self, name: str, keys: Keys, line: Line, changes: list[Change]) -> None:
        active = "low" if keys.get("pull") == "up" else "high"
        self.name, self.keys = name, {"active": active} | LINE_DEFAULTS | keys
        self.line, self._changes = line, changes
        self.gpio: int = keys["gpio"]
        self.high_is_on = self.keys["active"] == "high"
        self.is_open = False
        self.was_open = False  # since the last start
        self.value: float = 0
        self.since: float | None = None

    def report(self, value: float, by: Causes, moment: float) -> None:
        self.value, self.since = value, moment
        self._changes.append(Change(self.name, value, by, moment))


class Input(Pin):
    seen = 0
    """The value after the last edge that arrived."""
    recheck_at: float | None = None

    def open(self) -> None:
        self.line.become_input(self.keys["pull"])
        self.is_open = not self.line.fails
        if self.is_open:
            self.seen = self.value = self.reading
            self.burst: list[float] = []  # edges after which no level has held yet
            self.since, self.recheck_at, self.was_open = None, None, True

    @property
    def reading(self) -> int:
        return int(bool(self.line.level) == self.high_is_on)

    @property
    def held_at(self) -> float | None:
        """The moment at which the level has held for the debounce time."""
        held_at: float | None = self.burst[-1] + self.keys["debounce"] if self.burst else None
        return held_at

    def hold(self) -> None:
        first, self.burst = self.burst[0], []
        if self.seen != self.value:
            self.report(self.seen, frozenset({None}), first)

    def edge(self, value: int, moment: float) -> None:
        """An edge of `moment` arrives."""
        if not self.is_open or value == self.seen:
            return
        if self.held_at is not None and self.held_at <= moment + SAME_S:
            self.hold()
        self.seen = value
        self.burst.append(moment)
        if not self.keys["debounce"]:
            self.hold()


class Output(Pin):
    state = State()
    last_on: float = 1
    may_have_been_on = 0.0

    def __init__(self, name: str, keys: Keys, line: Line, changes: list[Change]) -> None:
        super().__init__(name, keys, line, changes)
        self.group: str | None = self.keys["group"]
        self.is_pwm = keys["mode"] == "pwm"

    @property
    def initial(self) -> str | float:
        return self.keys.get("initial", "off")

    @property
    def default(self) -> float:
        return self.initial if isinstance(self.initial, float) else float(self.initial == "on")

    def drive(self, state: State) -> None:
        self.state, self.value = state, state.value
        self.line.level = self.value if self.high_is_on else 1 - self.value

    def limited(self, value: float, before: State, now: float, seconds: float | None) -> State:
        """Return the state with this value after `before`, if a command asks for `seconds`."""
        if not value:
            return State()
        length, max_on = seconds or self.keys["pulse"], self.keys["max_on"]
        max_end = before.max_end if before.value else now + max_on if max_on else None
        return State(value, now + length if length else None, max_end)

    def open(self, first: State, now: float) -> None:
        """Continue with `first`, for no longer than its deadlines."""
        self.is_open = self.was_open = True
        self.since, self.may_have_been_on = None, now
        state = self.limited(
            first.value if self.is_pwm else int(first.value > 0), State(), now, None
        )
        if state.value and first.pulse_end:
            state = replace(state, pulse_end=first.pulse_end)
        if state.max_end and first.max_end:
            state = replace(state, max_end=min(state.max_end, first.max_end))
        is_over = first.off_at is not None and first.off_at <= now + SAME_S
        self.drive(State() if is_over else state)
        self.last_on = self.value or (self.initial if isinstance(self.initial, float) else 0) or 1


@dataclass
class Waiting:
    """The output of a group that waits for the pause."""

    output: Output
    ready_at: float
    switch: Callable[[], bool]
    answers: list[Answer]


class Model:
    """All pins, and the events that happen to them. `changes` has all that was reported, in order,
    and is emptied by the caller; `reopened` counts how often pins failed or came back."""

    def __init__(self, pins: Pins, now: float) -> None:
        self.now = now
        self.reopened = 0
        self.changes: list[Change] = []
        self.waiting: dict[str | None, Waiting] = {}
        self.kept: dict[int, State] = {}  # over a restart
        self.chosen: dict[int, float] = {}  # of outputs with `initial: restore`
        self.saved: dict[int, float] = {}  # over a power cut
        self.left: dict[str | None, float] = {}  # when an output that left may have been on
        self.pins: dict[str, Input | Output] = {}
        self.spent: set[int] = set()  # outputs whose `initial` counts no more until the next boot
        self.cut_power()
        self.start(pins)

    def _make(self, name: str, keys: Keys) -> Input | Output:
        kind = Input if keys["mode"] == "input" else Output
        return kind(name, keys, self.lines[keys["gpio"]], self.changes)

    def values(self) -> dict[str, float | None]:
        return {name: pin.value if pin.is_open else None for name, pin in self.pins.items()}

    @property
    def outputs(self) -> list[Output]:
        return [pin for pin in self.pins.values() if isinstance(pin, Output)]

    def _others(self, output: Output) -> list[Output]:
        """Return the other outputs of its group."""
        others = [each for each in self.outputs if each is not output]
        return [each for each in others if output.group and each.group == output.group]

    # Time and inputs

    def due(self) -> list[tuple[float, Callable[[], object]]]:
        """Return all that will happen by itself, each with its moment."""
        found: list[tuple[float | None, Callable[[], object]]] = [
            (waiting.ready_at, lambda group=group: self._go_on(group))
            for group, waiting in self.waiting.items()
        ]
        for pin in self.pins.values():
            if isinstance(pin, Output) and pin.is_open:
                found.append((pin.state.off_at, lambda out=pin: self._end_limit(out)))
            elif isinstance(pin, Input) and pin.is_open:
                found.append((pin.held_at, pin.hold))
                found.append((pin.recheck_at, lambda pin=pin: self._recheck(pin)))
        return [(moment, happens) for moment, happens in found if moment is not None]

    def _end_limit(self, out: Output) -> None:
        """A time limit ends, and with it what `initial` gives, until the next boot."""
        if out.default:
            self.spent.add(out.gpio)
        self._switch(out, 0, out.state.ended_by)

    def pass_time(self, to: float) -> None:
        """All that is due happens, in order."""
        while due := [each for each in self.due() if each[0] <= to + SAME_S]:
            moment, happens = min(due, key=lambda each: each[0])
            self.now = max(self.now, moment)
            happens()
        self.now = max(self.now, to)

    def set_line(self, name: str, high: bool) -> None:
        """A line takes a level, with an edge if that is another."""
        pin = self.pins[name]
        assert isinstance(pin, Input)
        if bool(pin.line.level) != high:
            pin.line.level = int(high)
            pin.edge(pin.reading, self.now)

    def refresh(self) -> None:
        """The server reads all inputs."""
        for pin in self.pins.values():
            if isinstance(pin, Input) and pin.is_open and pin.recheck_at is None:
                if pin.line.fails:
                    self._lose(pin)
                elif pin.reading != pin.seen:
                    pin.recheck_at = self.now + EDGE_LATENCY_S

    def _recheck(self, pin: Input) -> None:
        pin.recheck_at = None
        if pin.line.fails:
            self._lose(pin)
        else:
            pin.edge(pin.reading, self.now)

    # Opening and releasing lines

    def _lose(self, pin: Input | Output) -> None:
        self._release(pin)
        self.reopened += 1

    def _release(self, pin: Input | Output) -> None:
        pin.is_open = False
        if isinstance(pin, Output) and pin.group:
            if self._waits(pin):
                self._supersede(pin.group)
            may_have_been_on = self.now if pin.value else pin.may_have_been_on
            self.left[pin.group] = max(may_have_been_on, self.left.get(pin.group, 0))

    def reopen_failed(self) -> None:
        self.reopened += self._open([pin for pin in self.pins.values() if not pin.is_open], set())

    def _open(self, pins: list[Input | Output], held: set[int]) -> bool:
        """Open those that start off first. In a group only an output that was on all the time, on a
        line that was `held`, goes on immediately. Return true if any was opened."""
        waits: list[tuple[Output, float]] = []
        for pin in sorted(pins, key=lambda pin: self._first(pin).value > 0):
            if isinstance(pin, Input):
                pin.open()
            elif not pin.line.fails:
                first = self._first(pin)
                is_over = first.off_at is not None and first.off_at <= self.now + SAME_S
                if is_over and pin.default:
                    self.spent.add(pin.gpio)
                was_on = pin.gpio in self.kept and self.kept[pin.gpio].value > 0
                if first.value and any(each.is_open and each.value for each in self._others(pin)):
                    first = State()
                elif first.value and pin.group and not (pin.gpio in held and was_on):
                    if (first.pulse_end or first.max_end) is None:  # else its time would restart
                        waits.append((pin, first.value))
                    first = State()
                if pin.group in self.waiting:
                    self._supersede(pin.group)
                pin.open(first, self.now)
                self._remember(pin)
        opened = any(pin.is_open for pin in pins)
        for out, value in waits:
            self._command(out, value if out.is_pwm else 1, "initial", None)
        return opened

    def _first(self, pin: Input | Output) -> State:
        """Return the state with which a pin opens."""
        if isinstance(pin, Input) or pin.was_open or pin.initial == "off":
            return State()
        kept = self.kept.get(pin.gpio)
        if pin.initial in KEPT:
            if kept is None and pin.initial == "restore":
                kept = State(self.chosen.get(pin.gpio, 0))
            if kept is None or (pin.keys["pulse"] and kept.pulse_end is None):
                return State()
            return kept
        if pin.gpio in self.spent:
            return State()
        value = 1 if pin.initial == "on" else float(pin.initial)
        return replace(kept, value=value) if kept and kept.value else State(value)

    def _remember(self, out: Output) -> None:
        self.kept[out.gpio] = out.state
        if out.initial == "restore":
            self.chosen[out.gpio] = 0 if out.state.off_at is not None else out.value

    # Starts, stops and reloads

    def start(self, pins: Pins) -> None:
        for each in (self.left, self.waiting, self.changes):
            each.clear()
        self.chosen = dict(self.saved)
        self.pins = {name: self._make(name, keys) for name, keys in pins.items()}
        self._open([*self.pins.values()], held={*self.lines})
        self.reopened = 0

    def save(self) -> None:
        self.saved = dict(self.chosen)

    def stop(self) -> None:
        for pin in self.pins.values():
            self._close(pin)

    def cut_power(self) -> None:
        """No line is driven any more, and only what was saved is known."""
        self.lines = {gpio: Line() for gpio in range(28)}
        self.kept.clear()
        self.spent.clear()

    def _close(self, pin: Input | Output, how: str | None = None) -> None:
        """Leave a line as `how`, or as `on_stop`."""
        if not pin.is_open:
            return
        self._release(pin)
        if isinstance(pin, Input):
            return
        if how is None:
            how = pin.keys.get("on_stop", "off")
            how = "off" if pin.state.off_at is not None and how == "keep" else how
        left = State(int(how == "on"))
        if how in ("off", "on"):
            if pin.line.fails:
                return
            pin.drive(left)
        elif how == "input":
            pin.line.become_input("none")
        if pin.initial not in KEPT and how != "keep":
            self.kept[pin.gpio] = left

    def reload(self, pins: Pins) -> None:
        before = {pin.gpio: pin for pin in self.pins.values()}
        after = {keys["gpio"]: self._make(name, keys) for name, keys in pins.items()}
        held: set[int] = set()
        self.changes.clear()
        for pin in before.values():
            found = after.get(pin.gpio)
            if found and all(found.keys[key] == pin.keys[key] for key in LINE_KEYS):
                after[pin.gpio] = pin
                if isinstance(pin, Output) and isinstance(found, Output) and pin.is_open:
                    self.spent -= {pin.gpio} if pin.default != found.default else set()
                pin.name, pin.keys = found.name, found.keys
                if isinstance(pin, Output) and pin.is_open:
                    self._remember(pin)
            else:
                is_kept = isinstance(found, Output) and found.initial in KEPT
                held |= {pin.gpio} if is_kept and isinstance(pin, Output) and pin.is_open else set()
                self._close(pin, "keep" if is_kept else None)
        self.pins = {pin.name: pin for pin in after.values()}
        groups = {out.group for out in self.outputs}
        self.left = {group: left for group, left in self.left.items() if group in groups}
        reopened = self.reopened
        self._open([pin for pin in after.values() if before.get(pin.gpio) is not pin], held)
        self.reopened = reopened

    # Commands

    def command(self, act: str, name: str, value: float | None, by: str) -> Answer:
        """Carry out a command. `value` is the one of the message, for a pulse its seconds."""
        pin = self.pins.get(name)
        if pin is None:
            return rejected("unknown-pin")
        if act == "drive":
            codes = set() if isinstance(pin, Input) and value in (0, 1) else {"bad-value"}
            codes |= set() if pin.is_open else {"unavailable"}
            if codes:
                return rejected(*codes)
            self.set_line(name, bool(value) == pin.high_is_on)
            return Answer(value)
        if isinstance(pin, Input):
            return rejected("not-writable")
        if act == "toggle":
            on = pin.last_on if pin.is_pwm else 1
            return self._command(pin, 0 if pin.value or self._waits(pin) else on, by, None)
        if act == "set":
            fits = 0 <= value <= 1 if pin.is_pwm else value in (0, 1)
            return self._command(pin, value if fits else None, by, None)
        longest = min(pin.keys["pulse"] or 86400, pin.keys["max_on"] or 86400)
        fits = pin.keys["pulse"] is not None if value is None else 0.01 <= value <= longest
        return self._command(pin, 1 if fits and not pin.is_pwm else None, by, value)

    def _command(self, pin: Output, value: float | None, by: str, seconds: float | None) -> Answer:
        """Switch an output, after the pause of its group. A `value` that it cannot have is None."""
        others = self._others(pin)
        codes = {"bad-value"} if value is None else set()
        if not pin.is_open or (value and not all(other.is_open for other in others)):
            codes.add("unavailable")
        if value is None or codes:
            return rejected(*codes)
        if not pin.group or not value:
            if self._waits(pin):
                self._supersede(pin.group)
            obeys = self._switch(pin, value, frozenset({by}), seconds)
            return Answer(pin.value) if obeys else rejected("unavailable")
        if pin.group in self.waiting and not self._waits(pin):
            self._supersede(pin.group)
        for other in others:
            if other.value and not self._switch(other, 0, frozenset({"group"})):
                return rejected("unavailable")
        rested = [self.left.get(pin.group, 0), *(other.may_have_been_on for other in others)]
        ready_at = max(rested) + pin.keys["group_pause"]
        answers = [*(self.waiting[pin.group].answers if self._waits(pin) else []), Answer()]
        self.waiting[pin.group] = Waiting(
            pin, ready_at, lambda: self._switch(pin, value, frozenset({by}), seconds), answers
        )
        if pin.value or ready_at <= self.now:
            self._go_on(pin.group)
        return answers[-1]

    def _waits(self, pin: Output) -> bool:
        waiting = self.waiting.get(pin.group)
        return waiting is not None and waiting.output is pin

    def _go_on(self, group: str | None) -> None:
        """The output of the group that waits is switched on."""
        waiting = self.waiting.pop(group)
        obeys = waiting.switch()
        for answer in waiting.answers:
            if obeys:
                answer.value = waiting.output.value
            else:
                answer.codes = frozenset({"unavailable"})

    def _supersede(self, group: str | None) -> None:
        for answer in self.waiting.pop(group).answers:
            answer.codes = frozenset({"superseded"})

    def _switch(self, out: Output, value: float, by: Causes, seconds: float | None = None) -> bool:
        """Return true if the line obeyed."""
        before = out.value
        if value != before and out.line.fails:
            self._lose(out)
            return False
        out.drive(out.limited(value, out.state, self.now, seconds))
        if value:
            out.last_on = value
        elif before:
            out.may_have_been_on = self.now
        if value != before:
            out.report(value, by, self.now)
        self._remember(out)
        return True
