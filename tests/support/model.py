"""A model of the pins in plain Python: a list of moments, each with what is due at it. It shares no
line with the package, so that the two can be compared. A configuration is a dict of names to dicts
of keys, as in config.yaml. Times are seconds."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

EDGE_ON_ITS_WAY = 0.02
"""Before a look takes a level for an edge that was lost, it gives the edge this long to arrive."""

SAME = 1e-6
"""Moments closer than this are one."""

KEPT = ("keep", "restore")


def allowed(pins: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The nearest configuration whose keys go together: of a group two or more, and at most one of
    them starts on; nothing that runs out is left on; no start presses."""
    found = {name: dict(keys) for name, keys in pins.items()}
    members = Counter(keys.get("group") for keys in found.values())
    start_on = set()
    for keys in found.values():
        if members[keys.get("group")] == 1:
            keys.pop("group", None)
        group = keys.get("group")
        if not group:
            keys.pop("group_pause", None)
        if keys.get("initial") == "on" and ("pulse" in keys or group in start_on):
            keys["initial"] = "off"
        if group and keys.get("initial") == "on":
            start_on.add(group)
        if keys.get("on_stop") in ("on", "keep") and ("pulse" in keys or "max_on" in keys):
            keys["on_stop"] = "off"
    return found


@dataclass
class Answer:
    """The result of a command: still open, a value, or rejected with one of `codes`."""

    value: float | None = None
    codes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Told:
    """A change that is told. `by` holds all that may be given as the reason."""

    value: float
    by: frozenset[str | None]
    moment: float


@dataclass
class Line:
    """The wire of one GPIO, whichever program holds it."""

    level: float = 0
    pull: str = "none"
    fails: bool = False

    def let_go(self, pull: str) -> None:
        """A simulated line follows its pull whenever it becomes an input: the old one, then
        the new one."""
        for each in (self.pull, pull):
            if each != "none":
                self.level = int(each == "up")
        self.pull = pull


@dataclass(frozen=True)
class Kept:
    """The state of an output that was kept, and its deadlines."""

    value: float = 0
    pulse_end: float | None = None
    max_end: float | None = None


class Pin:
    """The base of inputs and outputs: a line, and whether the server holds it."""

    def __init__(self, name: str, keys: dict[str, Any], line: Line) -> None:
        self.name, self.keys, self.line = name, keys, line
        self.gpio = keys["gpio"]
        self.active = keys.get("active", "low" if keys.get("pull") == "up" else "high")
        self.is_open = False
        self.was_open = False  # since the last start
        self.value: float = 0
        self.since: float | None = None
        self.told: list[Told] = []

    @property
    def asks(self) -> dict[str, Any]:
        """All that matters to a line that is open."""
        found = {key: self.keys.get(key) for key in ("gpio", "mode", "pulse", "max_on", "group")}
        return found | {
            "active": self.active,
            "debounce": self.keys.get("debounce", 0),
            "pull": self.keys.get("pull", "none"),
            "frequency": self.keys.get("frequency", 100),
            "group_pause": self.keys.get("group_pause", 0.1),
        }

    def tell(self, value: float, by: frozenset[str | None], moment: float) -> None:
        self.value, self.since = value, moment
        self.told.append(Told(value, by, moment))


class Input(Pin):
    def __init__(self, name: str, keys: dict[str, Any], line: Line) -> None:
        super().__init__(name, keys, line)
        self.debounce = keys.get("debounce", 0)
        self.seen = 0  # the value after the last edge that arrived
        self.burst: list[float] = []  # edges after which no level has held yet
        self.doubt: float | None = None

    @property
    def shows(self) -> int:
        return int(bool(self.line.level) == (self.active == "high"))

    def open(self) -> None:
        self.line.let_go(self.keys.get("pull", "none"))
        self.is_open = not self.line.fails
        if self.is_open:
            self.seen = self.value = self.shows
            self.since, self.burst, self.doubt, self.was_open = None, [], None, True

    @property
    def held_at(self) -> float | None:
        """When the level will have held for the time it must."""
        return self.burst[-1] + self.debounce if self.burst else None

    def hold(self) -> None:
        first, self.burst = self.burst[0], []
        if self.seen != self.value:
            self.tell(self.seen, frozenset({None}), first)

    def edge(self, value: int, moment: float) -> None:
        """An edge arrives, which happened at `moment`."""
        if not self.is_open or value == self.seen:
            return
        if self.held_at is not None and self.held_at <= moment + SAME:
            self.hold()
        self.seen = value
        self.burst.append(moment)
        if not self.debounce:
            self.hold()


class Output(Pin):
    def __init__(self, name: str, keys: dict[str, Any], line: Line) -> None:
        super().__init__(name, keys, line)
        self.pulse, self.max_on = keys.get("pulse"), keys.get("max_on")
        self.group, self.pause = keys.get("group"), keys.get("group_pause", 0.1)
        self.is_pwm = keys["mode"] == "pwm"
        self.last: float = 1
        self.pulse_end: float | None = None
        self.max_end: float | None = None
        self.may_have_been_on = 0.0

    @property
    def initial(self) -> str | float:
        return self.keys.get("initial", "off")

    @property
    def off_at(self) -> float | None:
        return min((end for end in (self.pulse_end, self.max_end) if end is not None), default=None)

    @property
    def ended_by(self) -> frozenset[str | None]:
        ends = {"pulse": self.pulse_end, "max_on": self.max_end}
        return frozenset(
            name for name, end in ends.items() if end is not None and end <= self.off_at + SAME
        )

    def drive(self, value: float) -> None:
        self.value = value
        self.line.level = value if self.active == "high" else 1 - value

    def limit(self, now: float, goes_on: bool, seconds: float | None) -> None:
        length = seconds or self.pulse
        self.pulse_end = now + length if length else None
        if goes_on:
            self.max_end = now + self.max_on if self.max_on else None

    def off(self) -> None:
        self.pulse_end = self.max_end = None

    def open(self, first: Kept, now: float) -> None:
        """Goes on with `first`, for no longer than it says."""
        self.off()
        self.is_open = self.was_open = True
        self.since, self.may_have_been_on = None, now
        self.drive(first.value if self.is_pwm else int(first.value > 0))
        if self.value:
            self.limit(now, True, None)
            self.pulse_end = first.pulse_end or self.pulse_end
            if self.max_end and first.max_end:
                self.max_end = min(self.max_end, first.max_end)
        if self.off_at is not None and self.off_at <= now + SAME:
            self.drive(0)
            self.off()
        self.last = self.value or (self.initial if isinstance(self.initial, float) else 0) or 1


@dataclass
class Waiting:
    """The one of a group that waits for the pause."""

    output: Output
    ready_at: float
    switch: Callable[[], bool]
    answers: list[Answer] = field(default_factory=list)


class Model:
    def __init__(self, pins: dict[str, dict[str, Any]], now: float) -> None:
        self.now = now
        self.remade = 0
        self.waiting: dict[str, Waiting] = {}
        self.lines = {gpio: Line() for gpio in range(28)}
        self.kept: dict[int, Kept] = {}  # over a restart
        self.chosen: dict[int, float] = {}  # by those that are to outlive a power cut
        self.saved: dict[int, float] = {}
        self.left: dict[str, float] = {}  # when one that left a group may have been on
        self.pins: dict[str, Input | Output] = {}
        self.start(pins)

    def make(self, name: str, keys: dict[str, Any]) -> Input | Output:
        kind = Input if keys["mode"] == "input" else Output
        return kind(name, keys, self.lines[keys["gpio"]])

    # What it says

    def values(self) -> dict[str, float | None]:
        return {name: pin.value if pin.is_open else None for name, pin in self.pins.items()}

    @property
    def inputs(self) -> list[Input]:
        return [pin for pin in self.pins.values() if isinstance(pin, Input)]

    @property
    def outputs(self) -> list[Output]:
        return [pin for pin in self.pins.values() if isinstance(pin, Output)]

    def others(self, output: Output) -> list[Output]:
        return [
            other
            for other in self.outputs
            if other is not output and output.group and other.group == output.group
        ]

    def due(self) -> list[tuple[float, Callable[[], object]]]:
        """All that will happen by itself, and when."""
        found: list[tuple[float, Callable[[], object]]] = []
        for pin in self.inputs:
            if pin.is_open and pin.held_at is not None:
                found.append((pin.held_at, pin.hold))
            if pin.is_open and pin.doubt is not None:
                found.append((pin.doubt, lambda pin=pin: self.look_again(pin)))
        for out in self.outputs:
            if out.is_open and out.off_at is not None:
                found.append((out.off_at, lambda out=out: self.switch(out, 0, out.ended_by)))
        for group, waiting in self.waiting.items():
            found.append((waiting.ready_at, lambda group=group: self.go(group)))
        return found

    # What happens to it

    def pass_time(self, to: float) -> None:
        """All that is due happens, in order."""
        while due := [each for each in self.due() if each[0] <= to + SAME]:
            moment, happens = min(due, key=lambda each: each[0])
            self.now = max(self.now, moment)
            happens()
        self.now = max(self.now, to)

    def be_busy(self, to: float) -> None:
        """Nothing happens although it is due; all of it happens at the end."""
        self.now = to
        self.pass_time(to)

    def line(self, name: str, high: bool, moment: float) -> None:
        """A line takes a level, with an edge if that is another."""
        pin = self.pins[name]
        assert isinstance(pin, Input)
        if bool(pin.line.level) != high:
            pin.line.level = int(high)
            pin.edge(pin.shows, moment)

    def lose_edge(self, name: str) -> None:
        pin = self.pins[name]
        assert isinstance(pin, Input)
        pin.line.level = int(not pin.line.level)

    def look(self) -> None:
        for pin in self.inputs:
            if pin.is_open and pin.doubt is None:
                if pin.line.fails:
                    self.lose(pin)
                elif pin.shows != pin.seen:
                    pin.doubt = self.now + EDGE_ON_ITS_WAY

    def look_again(self, pin: Input) -> None:
        pin.doubt = None
        if pin.line.fails:
            self.lose(pin)
        else:
            pin.edge(pin.shows, self.now)

    def lose(self, pin: Input | Output) -> None:
        self.let_go(pin)
        self.remade += 1

    def let_go(self, pin: Input | Output) -> None:
        pin.is_open = False
        if isinstance(pin, Output) and pin.group:
            if pin.group in self.waiting and self.waiting[pin.group].output is pin:
                self.supersede(pin.group)
            may_have_been_on = self.now if pin.value else pin.may_have_been_on
            self.left[pin.group] = max(may_have_been_on, self.left.get(pin.group, 0))

    def try_again(self) -> None:
        self.remade += self.open([pin for pin in self.pins.values() if not pin.is_open], set())

    def open(self, pins: list[Input | Output], held: set[int]) -> bool:
        """Those first that start off. Of a group goes on at once only what was on all the time,
        on a line that was `held`. Whether any could be opened."""
        wishes: list[tuple[Output, float]] = []
        opened = False
        for pin in sorted(pins, key=lambda pin: self.first(pin).value > 0):
            if isinstance(pin, Input):
                pin.open()
            elif not pin.line.fails:
                first = self.first(pin)
                others = self.others(pin)
                if first.value and any(other.is_open and other.value for other in others):
                    first = Kept()
                elif first.value and pin.group and not (pin.gpio in held and self.was_on(pin)):
                    if (first.pulse_end or first.max_end) is None:  # else its time would begin anew
                        wishes.append((pin, first.value if pin.is_pwm else 1))
                    first = Kept()
                if pin.group in self.waiting:
                    self.supersede(pin.group)
                pin.open(first, self.now)
                self.remember(pin)
            opened |= pin.is_open
        for pin, value in wishes:
            self.command(pin, value, "initial", None, True)
        return opened

    def was_on(self, out: Output) -> bool:
        return out.gpio in self.kept and self.kept[out.gpio].value > 0

    def first(self, pin: Input | Output) -> Kept:
        """Return the state to start with."""
        if isinstance(pin, Input) or pin.was_open or pin.initial == "off":
            return Kept()
        kept = self.kept.get(pin.gpio)
        if pin.initial in KEPT:
            if kept is None and pin.initial == "restore":
                kept = Kept(self.chosen.get(pin.gpio, 0))
            if kept is None or (pin.pulse and kept.pulse_end is None):
                return Kept()
            return kept
        value = 1 if pin.initial == "on" else float(pin.initial)
        return replace(kept, value=value) if kept and kept.value else Kept(value)

    def remember(self, out: Output) -> None:
        self.kept[out.gpio] = Kept(out.value, out.pulse_end, out.max_end)
        if out.initial == "restore":
            self.chosen[out.gpio] = 0 if out.off_at is not None else out.value

    def save(self) -> None:
        self.saved = dict(self.chosen)

    def start(self, pins: dict[str, dict[str, Any]]) -> None:
        self.left.clear()
        self.waiting.clear()
        self.chosen = dict(self.saved)
        self.pins = {name: self.make(name, keys) for name, keys in pins.items()}
        self.open(list(self.pins.values()), {pin.gpio for pin in self.pins.values()})
        self.remade = 0  # all is new anyway

    def leave(self, pin: Input | Output, how: str | None = None) -> None:
        """Lets a line go, as `how` or else on_stop says."""
        if not pin.is_open:
            return
        runs_out = isinstance(pin, Output) and pin.off_at is not None
        self.let_go(pin)
        if isinstance(pin, Input):
            return
        if how is None:
            how = pin.keys.get("on_stop", "off")
            how = "off" if runs_out and how == "keep" else how
        if how in ("off", "on"):
            if pin.line.fails:
                return
            pin.drive(int(how == "on"))
        elif how == "input":
            pin.line.let_go("none")
        if pin.initial not in KEPT and how != "keep":
            self.kept[pin.gpio] = Kept(int(how == "on"))

    def stop(self) -> None:
        for pin in self.pins.values():
            self.leave(pin)

    def cut_power(self) -> None:
        self.lines = {gpio: Line() for gpio in range(28)}
        self.kept.clear()

    def reload(self, pins: dict[str, dict[str, Any]]) -> None:
        before = {pin.gpio: pin for pin in self.pins.values()}
        after = {keys["gpio"]: self.make(name, keys) for name, keys in pins.items()}
        held: set[int] = set()
        for pin in before.values():
            pin.told.clear()
            found = after.get(pin.gpio)
            if found and found.asks == pin.asks:
                after[pin.gpio] = pin
                pin.name, pin.keys = found.name, found.keys
                if isinstance(pin, Output) and pin.is_open:
                    self.remember(pin)
            else:
                is_kept = isinstance(found, Output) and found.initial in KEPT
                held |= {pin.gpio} if is_kept and isinstance(pin, Output) and pin.is_open else set()
                self.leave(pin, "keep" if is_kept else None)
        self.pins = {pin.name: pin for pin in after.values()}
        groups = {out.group for out in self.outputs}
        self.left = {group: left for group, left in self.left.items() if group in groups}
        remade = self.remade
        self.open([pin for pin in after.values() if before.get(pin.gpio) is not pin], held)
        self.remade = remade

    # Commands

    def drive(self, name: str, value: float) -> Answer:
        pin = self.pins[name]
        if not isinstance(pin, Input) or not (pin.is_open and value in (0, 1)):
            codes = {"bad-value"} if isinstance(pin, Output) or value not in (0, 1) else set()
            return refused(codes | ({"unavailable"} if not pin.is_open else set()))
        self.line(name, bool(value) == (pin.active == "high"), self.now)
        return Answer(value)

    def set(self, name: str, value: float, by: str) -> Answer:
        pin = self.pins[name]
        fits = 0 <= value <= 1 if isinstance(pin, Output) and pin.is_pwm else value in (0, 1)
        return self.command(pin, value, by, None, fits)

    def toggle(self, name: str, by: str) -> Answer:
        pin = self.pins[name]
        value: float = 0
        if isinstance(pin, Output):
            waiting = self.waiting.get(pin.group)
            is_on = bool(pin.value) or (waiting is not None and waiting.output is pin)
            value = 0 if is_on else pin.last if pin.is_pwm else 1
        return self.command(pin, value, by, None, True)

    def pulse(self, name: str, seconds: float | None, by: str) -> Answer:
        pin = self.pins[name]
        if not isinstance(pin, Output):
            fits = True
        elif pin.is_pwm or (seconds is None and pin.pulse is None):
            fits = False
        else:
            longest = min(pin.pulse or 86400, pin.max_on or 86400)
            fits = seconds is None or 0.01 <= seconds <= longest
        return self.command(pin, 1, by, seconds, fits)

    def command(
        self, pin: Input | Output, value: float, by: str, seconds: float | None, fits: bool
    ) -> Answer:
        if isinstance(pin, Input):
            return refused({"not-writable"})
        others = self.others(pin)
        codes = set()
        if not fits:
            codes.add("bad-value")
        if not pin.is_open or (fits and value and not all(other.is_open for other in others)):
            codes.add("unavailable")
        if codes:
            return refused(codes)
        if not pin.group or not value:
            if pin.group in self.waiting and self.waiting[pin.group].output is pin:
                self.supersede(pin.group)
            obeys = self.switch(pin, value, frozenset({by}), seconds)
            return Answer(pin.value) if obeys else refused({"unavailable"})
        waiting = self.waiting.get(pin.group)
        if waiting and waiting.output is not pin:
            self.supersede(pin.group)
        for other in others:
            if other.value and not self.switch(other, 0, frozenset({"group"})):
                return refused({"unavailable"})
        rested = [self.left.get(pin.group, 0), *(other.may_have_been_on for other in others)]
        ready_at = max(rested) + pin.pause
        answer = Answer()
        self.waiting[pin.group] = Waiting(
            pin,
            ready_at,
            lambda: self.switch(pin, value, frozenset({by}), seconds),
            [*(self.waiting[pin.group].answers if pin.group in self.waiting else []), answer],
        )
        if pin.value or ready_at <= self.now:
            self.go(pin.group)
        return answer

    def go(self, group: str) -> None:
        waiting = self.waiting.pop(group)
        obeys = waiting.switch()
        for answer in waiting.answers:
            if obeys:
                answer.value = waiting.output.value
            else:
                answer.codes = frozenset({"unavailable"})

    def supersede(self, group: str) -> None:
        for answer in self.waiting.pop(group).answers:
            answer.codes = frozenset({"superseded"})

    def switch(
        self, out: Output, value: float, by: frozenset[str | None], seconds: float | None = None
    ) -> bool:
        """Return whether the line obeyed."""
        before = out.value
        if value != before and out.line.fails:
            self.lose(out)
            return False
        out.drive(value)
        if value:
            out.last = value
            out.limit(self.now, not before, seconds)
        else:
            out.off()
            if before:
                out.may_have_been_on = self.now
        if value != before:
            out.tell(value, by, self.now)
        self.remember(out)
        return True


def refused(codes: set[str]) -> Answer:
    return Answer(codes=frozenset(codes))
