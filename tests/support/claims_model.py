"""Oracle of the claims for tests/test_stateful_claims.py: the rules of docs/architecture.md.

It shares no line with the package. A configuration is a dict of names to dicts of keys. Times are
seconds. After each event `values`, `source` and the `levels` of each output say what must be."""

from dataclasses import dataclass, field, replace
from typing import Any

DEFAULT, SCHEDULE, RULE, MANUAL = range(4)
KEPT = ("keep", "restore")
NAMES = ("default", "schedule", "rule", "manual")


@dataclass
class Claim:
    level: int
    source: str
    value: float
    began: float
    end: float | None = None
    passing: bool = False
    order: int = 0

    @property
    def key(self) -> tuple[int, str]:
        return self.level, self.source

    @property
    def is_automatic(self) -> bool:
        return self.level in (SCHEDULE, RULE) and not self.passing


@dataclass
class Limits:
    """The ends of a pulse and of `max_on`."""

    pulse: float | None = None
    max_on: float | None = None
    asked: bool = False  # by a command, of an output without a `pulse` of its own

    @property
    def first(self) -> float | None:
        return min((end for end in (self.pulse, self.max_on) if end is not None), default=None)


@dataclass
class Output:
    name: str
    keys: dict[str, Any]
    default: float = 0
    is_default_spent: bool = False
    has_waited: bool = False
    """If it waited for the pause when the server ended."""
    claims: list[Claim] = field(default_factory=list)
    spent: dict[tuple[int, str], float] = field(default_factory=dict)
    value: float = 0
    limits: Limits = field(default_factory=Limits)
    off_since: float = 0
    levels: list[float] = field(default_factory=lambda: [0])
    saved: float = 0

    def winner(self, automatic: bool = False, schedules: bool = False) -> Claim:
        found = [
            each
            for each in self.claims
            if (each.is_automatic or not automatic) and (each.level == SCHEDULE or not schedules)
        ]
        default = Claim(DEFAULT, "", self.default, 0)
        return max(found, key=lambda each: (each.level, each.began, each.order), default=default)

    @property
    def ends(self) -> set[float | None]:
        return {claim.end for claim in self.claims}

    @property
    def wanted(self) -> float:
        value = self.winner().value
        return value if self.keys["mode"] == "pwm" else int(value > 0)

    @property
    def scheduled(self) -> float | None:
        is_any = any(each.level == SCHEDULE for each in self.claims)
        return self.winner(schedules=True).value if is_any else None

    def drop(self, *claims: Claim) -> None:
        self.claims = [each for each in self.claims if all(each is not one for one in claims)]

    def drop_passing(self, but: Claim | None = None) -> None:
        self.drop(*(each for each in self.claims if each.passing and each is not but))

    def drop_by_hand(self) -> None:
        self.drop(*(each for each in self.claims if each.passing or each.level == MANUAL))

    def give_way(self, level: int) -> None:
        """Another output of the group was switched on by hand."""
        self.drop(
            *(
                each
                for each in self.claims
                if each.value and not each.is_automatic and each.level <= level
            )
        )
        self.default = 0

    def cut(self, at: float) -> None:
        for claim in [each for each in self.claims if each.value and each.began <= at]:
            self.drop(claim)
            if claim.is_automatic:
                self.spent[claim.key] = at
        self.is_default_spent |= self.keys.get("initial", "off") not in ("off", *KEPT)
        self.default = 0

    def drive(self, value: float, now: float) -> None:
        if self.value and not value:
            self.off_since = now
        self.value = value
        if value != self.levels[-1]:
            self.levels.append(value)


class Oracle:
    """All outputs. Outputs with a `group` are in the same one."""

    def __init__(self, pins: dict[str, dict[str, Any]], now: float) -> None:
        self.pins, self.now, self.count = pins, now, 0
        self.outputs: dict[str, Output] = {}
        self.waiting: Output | None = None
        self.waits_pulse: float | None = None
        self.start_new()
        self.open({}, [])

    def _others(self, out: Output) -> list[Output]:
        if "group" not in out.keys:
            return []
        return [each for each in self.outputs.values() if "group" in each.keys and each is not out]

    # Time

    def due(self) -> list[tuple[float, int, Output, Any]]:
        found: list[tuple[float, int, Output, Any]] = []
        for out in self.outputs.values():
            found += [(each.end, 1, out, each) for each in out.claims if each.end is not None]
            if out.limits.first is not None:
                found.append((out.limits.first, 0, out, "limit"))
        if self.waiting:
            found.append((self._ready_at(self.waiting), 2, self.waiting, "pause"))
        return found

    def _ready_at(self, out: Output) -> float:
        rested = max((each.off_since for each in self._others(out)), default=0)
        return rested + float(out.keys["group_pause"])

    def pass_time(self, to: float) -> None:
        while due := sorted((each for each in self.due() if each[0] <= to), key=lambda e: e[:2]):
            at, _, out, what = due[0]
            self.now = max(self.now, at)
            if what == "limit":
                out.cut(self.now)
            elif what == "pause":
                self._go_on()
                continue
            else:  # all that end now end together: nothing else shows in between
                ending = [out] + [each for each in self._others(out) if at in each.ends]
                for each in ending:
                    each.drop(*(claim for claim in each.claims if claim.end == at))
                for each in ending[1:]:
                    self.settle(each)
            self.settle(out)
        self.now = to

    # Events

    def command(
        self, out: Output, value: float, seconds: float | None, pulse: float | None
    ) -> None:
        """A person switches an output, for so many seconds or with a pulse of that length."""
        hold = out.keys.get("manual_hold")
        length = seconds if seconds is not None else hold
        self.count += 1
        end = None if length is None else self.now + length
        claim = Claim(MANUAL, "", value, self.now, end, seconds is None, self.count)
        out.drop(*(each for each in out.claims if each.level in (MANUAL, DEFAULT)))
        out.claims.append(claim)
        if value:
            for other in self._others(out):
                other.give_way(MANUAL)
        self.settle(out, is_new=True, pulse=pulse)

    def auto(self, out: Output) -> None:
        out.drop_by_hand()
        self.settle(out)

    def claim(self, out: Output, claim: Claim, is_start: bool = False) -> None:
        """A schedule or a rule begins or renews a claim."""
        self.count += 1
        claim = replace(claim, order=self.count)
        if claim.passing and claim.end is None and "manual_hold" in out.keys:
            claim.end = claim.began + out.keys["manual_hold"]
        if claim.key in out.spent and claim.began <= out.spent[claim.key]:
            return
        out.spent.pop(claim.key, None)
        before = out.winner(automatic=True).value
        old = next((each for each in out.claims if each.key == claim.key), None)
        if old:
            out.drop(old)
        out.claims.append(claim)
        if is_start:
            return
        is_new = old is None or claim.began > old.began
        is_event = is_new and (claim.level == RULE or claim.end is not None)
        if is_event or out.winner(automatic=True).value != before:
            out.drop_passing(but=claim)
        if out.winner() is claim:
            if claim.passing and out.wanted:
                for other in self._others(out):
                    other.give_way(claim.level)
            self.settle(out, is_new=True)
        else:
            self.settle(out)

    def release(self, out: Output, key: tuple[int, str]) -> None:
        before = out.winner(automatic=True).value
        if key[0] == RULE:
            out.spent.pop(key, None)
        found = next((each for each in out.claims if each.key == key), None)
        if found:
            out.drop(found)
            is_window = found.level == SCHEDULE and found.end is None
            if is_window and out.winner(automatic=True).value != before:
                out.drop_passing()
        self.settle(out)

    # The decision

    def settle(self, out: Output, is_new: bool = False, pulse: float | None = None) -> None:
        """The claims of an output have changed: what follows for it and for its group."""
        if "group" not in out.keys:
            self._bring(out, out.wanted, is_new, pulse)
            return
        members = [out, *self._others(out)]
        wanting = [each for each in members if each.wanted]

        def rank(each: Output) -> tuple[int, float, bool]:
            winner = each.winner()
            return winner.level, winner.began, bool(each.value) or self.waiting is each

        first = max(wanting, key=rank, default=None)
        if self.waiting and self.waiting is not first:
            self.waiting = None
        if first is not out:
            self._bring(out, 0, is_new)
        if first is None:
            return
        if first is not out:
            is_new, pulse = False, None
        if not is_new and (first.value or self.waiting is first):
            if first.value:
                self._bring(first, first.value, False)
            return
        for other in members:
            if other is not first:
                self._bring(other, 0, False)
        self.waiting, self.waits_pulse = first, pulse
        if first.value or self._ready_at(first) <= self.now:
            self._go_on()

    def _go_on(self) -> None:
        out, self.waiting = self.waiting, None
        assert out
        self._bring(out, 1, True, self.waits_pulse)

    def _bring(self, out: Output, value: float, is_new: bool, pulse: float | None = None) -> None:
        if not is_new and value == out.value:
            if out.limits.asked and out.winner().level != MANUAL:
                out.limits = Limits(None, out.limits.max_on)
            return
        was_on = bool(out.value)
        out.drive(value, self.now)
        if not value:
            out.limits = Limits()
            return
        own, max_on = out.keys.get("pulse"), out.keys.get("max_on")
        length = pulse or own
        counting = out.limits.max_on if was_on else None
        fresh = self.now + max_on if max_on else None
        out.limits = Limits(
            self.now + length if length else None, counting or fresh, bool(pulse) and not own
        )

    # Starts

    def start_new(self) -> None:
        """The power was cut: nothing but the saved values is known."""
        saved = {name: out.saved for name, out in self.outputs.items()}
        self.outputs = {name: Output(name, keys) for name, keys in self.pins.items()}
        for name, out in self.outputs.items():
            out.saved = saved.get(name, 0)
            if out.keys.get("initial") == "restore" and out.saved:
                out.claims.append(Claim(DEFAULT, "", out.saved, 0, passing=True))

    def save(self) -> None:
        """What a person chose without an end is saved, unless a limit would end it."""
        for out in self.outputs.values():
            winner = out.winner()
            chosen = replace(out, claims=[e for e in out.claims if e.passing and e.end is None])
            is_lasting = out.value and out.limits.first is None and winner.end is None
            out.saved = chosen.winner().value if is_lasting else 0

    def restart(self, is_stop: bool) -> dict[str, Output]:
        """The server ends. Return the outputs as they were then."""
        before = self.outputs
        for out in before.values():
            out.has_waited = self.waiting is out
        self.waiting = None
        self.outputs = {name: Output(name, keys) for name, keys in self.pins.items()}
        for name, out in self.outputs.items():
            old = before[name]
            out.saved, out.levels = old.saved, old.levels
            if not is_stop:
                continue
            has_end = old.value and (old.limits.first or old.winner().end) is not None
            stays = out.keys.get("on_stop") == "keep" and not has_end
            out.drive(old.value if stays else 0, self.now)
        return before

    def open(self, before: dict[str, Output], held: list[tuple[str, Claim]]) -> None:
        """The server starts. `held` is what windows and conditions give now."""
        left = {name: self._take_over(out, before.get(name)) for name, out in self.outputs.items()}
        for name, out in self.outputs.items():
            self._claim_first(out, before.get(name), [each for pin, each in held if pin == name])
        for out in sorted(self.outputs.values(), key=lambda each: each.wanted > 0):
            self._open_line(out, left[out.name])
        for out in sorted(self.outputs.values(), key=lambda each: each.wanted > 0):
            is_by_hand = out.wanted and not out.winner().is_automatic
            goes_first = max(
                (each.winner() for each in [out, *self._others(out)] if each.wanted),
                key=lambda claim: (claim.level, claim.began),
                default=out.winner(),
            )
            is_first = not goes_first.is_automatic
            if "group" in out.keys and not out.value and is_by_hand and is_first:
                for other in self._others(out):
                    other.give_way(MANUAL)
                self.settle(out, is_new=True)
        for out in self.outputs.values():
            self.settle(out)

    def _take_over(self, out: Output, old: Output | None) -> Limits | None:
        """Return the limits that count on, None if the output was left off."""
        initial: Any = out.keys.get("initial", "off")
        out.default = 1 if initial == "on" else 0 if isinstance(initial, str) else initial
        if old is None:
            return None
        out.is_default_spent = old.is_default_spent
        out.default = 0 if out.is_default_spent else out.default
        is_off = initial not in KEPT and out.levels[-1] != old.value  # the stop switched it off
        left = 0 if is_off else old.value
        winner, was = old.winner(), [*old.claims]
        if old.default and not any(each.level == DEFAULT for each in was):
            was.append(Claim(DEFAULT, "", old.default, 0, passing=True))
        is_known = initial in KEPT and (left == winner.value or not old.has_waited)
        out.claims = [
            each
            for each in was
            if (is_known or not each.passing)
            and (each.passing or each.end is not None)
            and (each.end is None or each.end > self.now)
        ]
        if initial in KEPT and not is_known and left:
            out.claims.append(Claim(DEFAULT, "", left, 0, passing=True))
        out.spent = dict(old.spent)
        ends = old.limits
        if winner.end is not None and (ends.pulse is None or ends.pulse > winner.end):
            ends = replace(ends, pulse=None)  # the claim would end before the pulse
        return ends if left else None

    def _claim_first(self, out: Output, old: Output | None, held: list[Claim]) -> None:
        resumed = set()
        for claim in held:
            if claim.level == RULE and claim.key in out.spent:
                out.spent[claim.key] = max(out.spent[claim.key], claim.began)
                resumed.add(claim.key)
            self.claim(out, claim, is_start=True)
        out.spent = {key: at for key, at in out.spent.items() if key[0] != RULE or key in resumed}
        rules = any(each.level == RULE and each.is_automatic for each in out.claims)
        if old and old.scheduled != out.scheduled and not rules:
            out.drop_passing()

    def _open_line(self, out: Output, before: Limits | None) -> None:
        limits = before or Limits()
        if limits.first is not None and limits.first <= self.now:
            out.cut(limits.first)
            limits = Limits()
        pulse, winner = out.keys.get("pulse"), out.winner()
        if out.wanted and pulse and limits.pulse is None:
            if winner.end is not None and winner.began + pulse > self.now:
                limits = replace(limits, pulse=winner.began + pulse)
            else:
                out.cut(self.now)
        value = out.wanted
        if value and "group" in out.keys:
            is_taken = any(other.value for other in self._others(out))
            if is_taken and not out.winner().is_automatic and out.winner().level != RULE:
                out.give_way(MANUAL)
            if is_taken or before is None:
                value = 0
        out.value, out.limits, out.off_since = 0, Limits(), self.now
        if not value:
            out.drive(0, self.now)
            return
        self._bring(out, value, True)
        if limits.pulse is not None:
            asked = not out.keys.get("pulse") and out.winner().level == MANUAL
            out.limits.pulse, out.limits.asked = limits.pulse, asked
        if limits.max_on is not None and out.limits.max_on is not None:
            out.limits.max_on = min(limits.max_on, out.limits.max_on)
