"""What rules do, worked out from docs/automation.md by brute force: it searches the whole past.

It shares no code with the package. A rule is a dict of keys as in config.yaml, names are lists.
A `Past` has what happened to each pin; `Oracle` asks it at each moment at which a time may have
passed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LONG, DOUBLE = 0.8, 0.35
Keys = dict[str, Any]


@dataclass
class Activity:
    """A time in which a pin was active. It counts until `void`, when the pin was lost."""

    begin: float
    end: float
    void: float
    is_edge: bool
    row: int


@dataclass
class Past:
    """The values of one pin: moment, value (None is unavailable), and if it was an edge."""

    rows: list[tuple[float, int | None, bool]] = field(default_factory=list)
    pressed_since: float = 0
    """Moment before which presses of this button are forgotten."""

    @property
    def value(self) -> int | None:
        return self.rows[-1][1] if self.rows else None

    def activities(self) -> Iterator[Activity]:
        for index, (begin, value, is_edge) in enumerate(self.rows):
            if value == 1:
                later = self.rows[index + 1 :]
                end = later[0][0] if later else math.inf
                void = next((at for at, value, _ in later if value is None), math.inf)
                yield Activity(begin, end, void, is_edge, index)


def presses_of(past: Past, kinds: set[str], now: float) -> Iterator[tuple[float, str]]:
    """Yield the presses of a button until now: the moment at which each one acts, and its kind."""
    edges = [(at, value) for at, value, is_edge in past.rows if is_edge and at > past.pressed_since]
    while edges and edges[0][1] == 0:
        edges.pop(0)
    pairs = [
        (edges[i][0], edges[i + 1][0] if i + 1 < len(edges) else math.inf)
        for i in range(0, len(edges), 2)
    ]
    while pairs:
        down, up = pairs.pop(0)
        if kinds == {"short"}:
            at, kind = down, "short"
        elif "long" in kinds and up >= down + LONG:
            at, kind = down + LONG, "long"
        elif "double" in kinds and pairs and pairs[0][0] < up + DOUBLE:
            at, kind = pairs.pop(0)[0], "double"
        else:
            at, kind = up + (DOUBLE if "double" in kinds else 0), "short"
        if at <= now and kind in kinds:
            yield at, kind


class Oracle:
    """The rules that run, and the past since the Pi was started."""

    def __init__(self) -> None:
        self.rules: dict[str, Keys] = {}
        self.born: dict[str, float] = {}
        self.rows_at_birth: dict[tuple[str, str], int] = {}
        """How much of a pin's past there was when a reload made a rule."""
        self.paused: set[str] = set()
        self.windows: set[str] = set()
        self.past: dict[str, Past] = {}
        self.began: dict[str, float] = {}
        """The moments at which the lasting claims began."""
        self.spent: set[tuple[str, str]] = set()
        """What a limit has cut, by pin and rule."""
        self.renewed: dict[tuple[str, str], float] = {}
        """The moments at which claims that were cut began again."""
        self.was_on: set[str] = set()
        """The lasting rules of which a pin was on at the last moment, not only their hold."""
        self.holds: dict[str, list[tuple[str, float]]] = {}
        """The presses whose hold may last: pin and moment."""
        self.done: set[tuple[str, str, float, float]] = set()
        self.at = 0.0
        self.started = 0.0

    # What happens

    def start(self, now: float, rules: dict[str, Keys], values: dict[str, int | None]) -> None:
        """The first start since a boot."""
        past = {pin: Past([(now, value, False)], now) for pin, value in values.items()}
        self.__dict__.update(Oracle().__dict__ | {"windows": self.windows, "past": past})
        self.rules, self.born = rules, dict.fromkeys(rules, now)
        self.at = self.started = now

    def restart(self, now: float, stopped: float | None, values: dict[str, int | None]) -> None:
        """A start in the same boot. A change that nobody saw is one at the end or at the start."""
        kept = {pin for rule in self.rules.values() if is_kept(rule) for pin in sources(rule)}
        for pin, value in values.items():
            past = self.past[pin]
            if pin not in kept:
                past.rows = [(now, value, False)]
            elif value != past.value:
                is_fall = value == 0 and past.value == 1 and stopped is not None
                past.rows.append((stopped if is_fall and stopped else now, value, False))
            past.pressed_since = now
        self.paused.clear()
        self.at = self.started = now  # what ended while the server was away did so unseen
        self._look(now)

    def reload(self, now: float, rules: dict[str, Keys]) -> None:
        kinds = {pin: self.kinds(pin) for pin in self.past}
        for name in set(self.rules) | set(rules):
            if self.rules.get(name) != rules.get(name):
                self._end(name)
                self.holds.pop(name, None)
                self.born[name] = now
                rows = {(name, pin): len(past.rows) for pin, past in self.past.items()}
                self.rows_at_birth |= rows
        self.rules = rules
        self._look(now)
        self.paused &= rules.keys()
        for pin, past in self.past.items():
            if self.kinds(pin) != kinds[pin]:
                past.pressed_since = now

    def change(self, now: float, pin: str, value: int | None, is_edge: bool = True) -> None:
        past = self.past[pin]
        if value == past.value:
            return
        if value is None or past.value is None:
            past.pressed_since = now
            is_edge = False
        past.rows.append((now, value, is_edge))
        if not is_edge:
            self._look(now)

    def cut(self, pin: str) -> None:
        """A limit has ended what is on."""
        self.spent |= {key for key, value in self.lasting().items() if key[0] == pin and value}

    # What follows

    def kinds(self, pin: str) -> set[str]:
        return {r["press"] for r in self.rules.values() if "press" in r and pin in sources(r)}

    def step(self, now: float) -> list[tuple[float, str]]:
        """Go on to `now`; return the events since: moment and rule."""
        events: list[tuple[float, str]] = []
        moments = sorted({m for m in self._moments() if self.at <= m < now} | {now})
        for moment in moments:
            for at, name, pin in sorted(self._events(moment)):
                keys = self.rules[name]
                if (name, pin, at, self.born[name]) in self.done:
                    continue
                self.done.add((name, pin, at, self.born[name]))
                if not self.may_act(name):
                    continue
                if "hold" in keys:
                    self.holds.setdefault(name, []).append((pin, at))
                    self._end(name)
                elif (event := (max(at, self.started), name)) not in events or "for" not in keys:
                    events.append(event)
            for name in self.rules:
                self._last(name, moment)
        self.at = now
        return events

    def lasting(self) -> dict[tuple[str, str], float]:
        """Return the claims that last, by pin and rule."""
        found: dict[tuple[str, str], float] = {}
        for name in self.began:
            rule = self.rules[name]
            found |= {(pin, name): 1 for pin in rule.get("turn_on", ())}
            found |= {(pin, name): 0 for pin in rule.get("turn_off", ())}
            found |= {(pin, name): value for pin, value in rule.get("set", {}).items()}
        return {key: value for key, value in found.items() if key not in self.spent}

    def since(self, pin: str, name: str) -> float:
        """Return the moment at which a lasting claim began."""
        return self.renewed.get((pin, name), self.began[name])

    def may_act(self, name: str) -> bool:
        only = self.rules[name].get("only")
        return name not in self.paused and (only is None or only["from"] in self.windows)

    def _last(self, name: str, moment: float) -> None:
        if not self.may_act(name):
            self.holds.pop(name, None)
        if self.may_act(name) and self._is_met(name, moment):
            self.began.setdefault(name, max(moment, self.started))
            if self._is_on(name, moment) and name not in self.was_on:
                again = {key for key in self.spent if key[1] == name}
                self.spent -= again
                self.renewed |= dict.fromkeys(again, moment)
        else:
            self._end(name)
        self.was_on.discard(name)
        self.was_on |= {name} if self._is_on(name, moment) else set()

    def _end(self, name: str) -> None:
        """End the claims of a rule."""
        self.began.pop(name, None)
        self.spent = {key for key in self.spent if key[1] != name}
        self.renewed = {key: at for key, at in self.renewed.items() if key[1] != name}

    def _look(self, now: float) -> None:
        """Take the pins as they are: what was found is no edge."""
        self.was_on = {name for name in self.rules if self._is_on(name, now)}

    def _is_on(self, name: str, now: float) -> bool:
        """Tell if a rule without `press` has a pin that is on, and has been for its `for`."""
        rule = self.rules[name]
        return "press" not in rule and any(
            each.begin + rule.get("for", 0) <= now < each.end
            for pin in sources(rule)
            for each in self.past[pin].activities()
        )

    def _is_met(self, name: str, now: float) -> bool:
        rule = self.rules[name]
        for_s, hold = rule.get("for", 0), rule.get("hold", 0)
        if "press" in rule:
            return any(now < self._hold_end(name, *hold) for hold in self.holds.get(name, ()))
        if "while" not in rule and "hold" not in rule:
            return False
        return any(
            each.begin + for_s <= min(now, each.end) and now < min(each.end + hold, each.void)
            for pin in sources(rule)
            for each in self.past[pin].activities()
            if self._knows(name, pin, each)
        )

    def _knows(self, name: str, pin: str, each: Activity) -> bool:
        """Tell if a rule knows a time. What was before the rule it knows as each pin's last one."""
        return not any(each.end < at <= self.born[name] for at, _, _ in self.past[pin].rows)

    def _hold_end(self, name: str, pin: str, pressed: float) -> float:
        rows = self.past[pin].rows
        later = [(at, value) for at, value, _ in rows if at >= pressed and value != 1]
        is_down = next((value for at, value, _ in reversed(rows) if at <= pressed), 0) == 1
        released = next((at for at, _ in later), math.inf) if is_down else pressed
        lost = next((at for at, value in later if value is None), math.inf)
        return min(released + self.rules[name]["hold"], lost)

    def _events(self, now: float) -> Iterator[tuple[float, str, str]]:
        """Yield all events of the past until now, whenever they were: moment, rule and pin."""
        for name, rule in self.rules.items():
            for pin in sources(rule):
                past = self.past[pin]
                if "press" in rule:
                    for at, kind in presses_of(past, self.kinds(pin), now):
                        if kind == rule["press"] and at > self.born[name]:
                            yield at, name, pin
                elif "while" in rule or "hold" in rule:
                    continue
                for each in past.activities() if "press" not in rule else ():
                    at = each.begin + rule.get("for", 0)
                    if "for" in rule:
                        was_seen = at <= each.end and (at > self.started or self.started < each.end)
                        if at <= now and was_seen and at > self.born[name]:
                            yield at, name, pin
                    elif each.is_edge and at <= now and self._comes_later(name, pin, each):
                        yield at, name, pin

    def _comes_later(self, name: str, pin: str, each: Activity) -> bool:
        """Tell if a pin went on after a rule was made: a reload may switch an output itself."""
        is_by_reload = each.row >= self.rows_at_birth.get((name, pin), math.inf)
        return each.begin > self.born[name] or (each.begin == self.born[name] and is_by_reload)

    def _moments(self) -> Iterator[float]:
        """Yield all moments at which the passing of time can change anything."""
        for name, rule in self.rules.items():
            for pin in sources(rule):
                for at, _, _ in self.past[pin].rows:
                    yield from (at, at + LONG, at + DOUBLE)
                    yield at + rule.get("for", 0)
                    for delay in (0, LONG, DOUBLE):
                        yield at + delay + rule.get("hold", 0)
            for pin, at in self.holds.get(name, ()):
                yield self._hold_end(name, pin, at)


def sources(rule: Keys) -> list[str]:
    return list(rule.get("when", rule.get("while", ())))


def is_kept(rule: Keys) -> bool:
    """Tell if a rule remembers its pins over a restart."""
    return "while" in rule or "hold" in rule or "for" in rule
