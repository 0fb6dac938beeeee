"""The rules of a running server: they hear of each change of a pin, and claim outputs.

Nothing here polls: changes, timers, and the opening and closing of windows are all that moves it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..config.schema import InputConfig, OnlyConfig, Press, RuleConfig
from ..gpio.claims import Level
from ..gpio.pin import PinChange
from ..messages import Value
from .covers import MovableCovers
from .presses import Button
from .rule_memory import KeptRule, KeptRules, RuleMemory, keys_of
from .rule_ports import Pins, Window
from .rules import Action, Rule, Track
from .storms import STORM_CHANGES, STORM_S, Storms

_LATE_S = 60
"""Time after which nothing is pressed or moved that fell due while the server was away. It is that
of schedules without `late`."""
_BY_RULE = "rule "
"""What the cause of a change by a rule begins with; its name follows."""

log = logging.getLogger(__name__)


class RuleStatus(NamedTuple):
    """What a rule does, for people.

    It `is_acting` while it claims outputs because its condition holds. Outside of its `only` it is
    not `is_open`. `runs` counts how often it has acted since the start.
    """

    name: str
    is_paused: bool
    is_parked: bool
    is_acting: bool
    is_open: bool
    runs: int


class _Runner:
    """A rule at work: its timer, and the reasons why it may rest."""

    def __init__(self, name: str, rule: Rule, window: Window | None) -> None:
        self.name, self.rule, self.window = name, rule, window
        self.timer: asyncio.TimerHandle | None = None
        self.at = 0.0
        """Moment up to which it was worked out."""
        self.end: float | None = None
        """When its hold ends, as it was told."""
        self.is_parked = self.is_claiming = self.was_on = False
        self.runs = 0

    def set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = timer


class RuleEngine:
    """The rules of a configuration, on the event loop `loop`.

    `window_of` returns the window that an `only` means. `paused` has the names of rules that rest
    until `resume`, and is kept up to date. `when_parked` is called after a rule was parked.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        memory: RuleMemory,
        window_of: Callable[[OnlyConfig], Window],
        paused: set[str] | None = None,
        wall: Callable[[], float] = time.time,
        when_parked: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._memory = memory
        self._window_of = window_of
        self._paused = set() if paused is None else paused
        self._when_parked = when_parked
        self._wall = wall
        self._pins: Pins | None = None
        self._covers: MovableCovers | None = None
        self._kept: KeptRules | None = None
        self._runners: dict[str, _Runner] = {}
        self._by_pin: dict[str, list[_Runner]] = {}
        self._buttons: dict[str, Button] = {}
        self._kinds: dict[str, frozenset[Press]] = {}
        self._press_timers: dict[str, asyncio.TimerHandle] = {}
        self._tracks: dict[str, Track] = {}
        self._before: dict[str, Track] = {}
        """The tracks of pins that were not found yet since the start, as they were."""
        self._early: set[str] = set()
        """From `configure` to `synchronize`, the outputs that were not open yet."""
        self._storms = Storms()
        self._acting = ""
        """The rule that claims or releases an output just now."""
        self._queue: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_busy = self._is_saving = self._is_closed = self._has_file = False
        self._is_opening = False
        """True from `configure` to `synchronize`: outputs are not open yet."""

    @property
    def parked(self) -> set[str]:
        """The names of rules that rest because they changed an output too often."""
        return {name for name, runner in self._runners.items() if runner.is_parked}

    @property
    def paused(self) -> set[str]:
        """The names of rules that a person has paused."""
        return self._paused

    @property
    def runs(self) -> dict[str, int]:
        """How often each rule has acted since the start, or since it was changed."""
        return {name: runner.runs for name, runner in self._runners.items()}

    def until(self, name: str) -> float | None:
        """Return the Unix time at which the hold of a rule ends, None if that is not known.

        It is not while a pin of the rule is on, nor if its window closes before.
        """
        runner, now, wall = self._runners.get(name), self._loop.time(), self._wall()
        end = runner.rule.end(now) if runner and runner.is_claiming else None
        if runner is None or end is None:
            return None
        at = wall + end - now
        is_sure = runner.window is None or runner.window.stays_open(wall, at)
        return at if is_sure else None

    def states(self) -> list[RuleStatus]:
        """Return the state of each rule, in the order of config.yaml."""
        return [
            RuleStatus(
                name,
                name in self._paused,
                runner.is_parked,
                runner.is_claiming,
                runner.window is None or runner.window.contains(self._wall()),
                runner.runs,
            )
            for name, runner in self._runners.items()
        ]

    # What happens

    def configure(
        self, pins: Pins, rules: Mapping[str, RuleConfig], covers: MovableCovers | None = None
    ) -> None:
        """Begin with rules, or go on with others, and claim what they give now.

        Call it at a start and at each reload while the inputs are open and no other output has been
        opened; then `synchronize`. Rules that stay as they were go on; none is parked any more.
        """
        self._pins, self._covers = pins, covers
        self._run(self._configure, rules)

    def synchronize(self) -> None:
        """Read all pins again, after a start, a reload, or when some became (un)available."""
        self._run(self._synchronize)

    def reconsider(self) -> None:
        """Work out again what windows allow: one has opened or closed, or the clock was set."""
        self._run(self._reconsider)

    def changed(self, change: PinChange) -> None:
        """Take a change of a pin. That of an input acts before this returns."""
        self._count(change)
        step = self._change, (change.pin, bool(change.value), change.moment)
        if change.by is None:
            self._run(step[0], *step[1])
            return
        self._queue.append(step)  # the board is in the middle of switching this output
        if not self._is_busy:
            self._loop.call_soon(self._work)

    def cover_changed(self, cover: str, value: Value, moment: float) -> None:
        """Take a change of a cover: what it starts follows in the next turn of the loop."""
        if value is None:
            self._queue.append((self._synchronize, ()))
        else:
            self._queue.append((self._change, (cover, bool(value), moment)))
        if not self._is_busy:
            self._loop.call_soon(self._work)

    def pause(self, name: str) -> None:
        """Let a rule rest, and end its claims. Raise KeyError."""
        runner = self._runners[name]
        self._paused.add(name)
        self._run(self._rest, runner)

    def resume(self, name: str) -> None:
        """Let a rule act again that was paused or parked. Raise KeyError."""
        runner = self._runners[name]
        self._paused.discard(name)
        if runner.is_parked:
            for pin in runner.rule.config.targets:
                self._storms.forget(pin)
        runner.is_parked = False
        self._run(self._advance, runner, self._loop.time())

    def close(self) -> None:
        """Stop. Outputs keep the claims that they have."""
        self._is_closed = True
        self._queue.clear()
        for runner in self._runners.values():
            runner.set_timer(None)
        for timer in self._press_timers.values():
            timer.cancel()
        self._save(self._loop.time())

    # One after the other: what a rule does may start another rule, after it is done

    def _run(self, step: Callable[..., None], *args: Any) -> None:
        self._queue.append((step, args))
        self._work()

    def _work(self) -> None:
        if self._is_busy or self._is_closed:
            return
        self._is_busy = True
        try:
            while self._queue:
                step, args = self._queue.popleft()
                step(*args)
        finally:
            self._is_busy = False

    # Configuration

    def _configure(self, rules: Mapping[str, RuleConfig]) -> None:
        if self._kept is None:
            self._kept = self._memory.read()
            self._has_file = bool(self._kept.boot)
            self._before = dict(self._kept.tracks)
        old, self._runners, self._storms = self._runners, {}, Storms()
        for name, config in rules.items():
            runner = old.get(name)
            if runner and runner.rule.config == config:
                runner.is_parked = False
                del old[name]
            else:
                rule = Rule(config, self._tracks, self._kept.state(name, config))
                window = self._window_of(config.only) if config.only else None
                runner = _Runner(name, rule, window)
            runner.is_claiming = False  # the outputs may be new, so it claims them again
            self._runners[name] = runner
        for runner in old.values():
            self._rest(runner)
            runner.set_timer(None)
        self._kept = KeptRules(stopped=self._kept.stopped)
        self._paused.intersection_update(rules)  # the caller's set, not another one
        self._index()
        self._look_ahead()

    def _index(self) -> None:
        """Note which rules hear of which pin, and the presses that matter at each button."""
        self._by_pin = {}
        kinds: dict[str, frozenset[Press]] = {}
        for runner in self._runners.values():
            config = runner.rule.config
            for pin in config.sources:
                self._by_pin.setdefault(pin, []).append(runner)
                if config.press:
                    kinds[pin] = kinds.get(pin, frozenset()) | {config.press}
        values = self._values()
        for pin in self._tracks.keys() - values.keys():
            del self._tracks[pin]
        for pin in values:
            self._tracks.setdefault(pin, Track())
        for pin in [pin for pin in self._buttons if kinds.get(pin) != self._kinds[pin]]:
            del self._buttons[pin]
            self._set_press_timer(pin)
        for pin in kinds.keys() - self._buttons.keys():
            self._buttons[pin] = Button(kinds[pin])
            self._buttons[pin].reset(bool(self._tracks[pin].active))
        self._kinds = kinds

    # Pins and covers

    def _values(self) -> dict[str, Value]:
        """Return the values of all pins and covers by name."""
        assert self._pins
        values = self._pins.values()
        return {**values, **self._covers.values(values)} if self._covers else dict(values)

    def _look_ahead(self) -> None:
        """Claim what rules give, before the outputs are opened.

        What an output will be follows from the claims on it. So a rule comes after those that
        switch its pins; the parser allows no circle.
        """
        now, self._is_opening = self._loop.time(), True
        values, waiting = dict(self._values()), list(self._runners.values())
        while values or waiting:
            undecided = {pin for each in waiting for pin in each.rule.config.outputs}
            for pin in [pin for pin in values if pin not in undecided] or list(values):
                self._find_early(pin, values.pop(pin), now)
            ready = [each for each in waiting if not values.keys() & set(each.rule.config.sources)]
            for runner in ready:
                self._begin(runner, now)
            waiting = [each for each in waiting if each not in ready]
        self._save_soon()

    def _find_early(self, pin: str, value: Value, now: float) -> None:
        """Take the value of a pin, or that with which an output will be opened.

        A cover that is made later is as it was.
        """
        assert self._pins
        if value is not None or pin in self._pins.values():
            if value is None:
                self._early.add(pin)
                value = self._pins.first_value(pin)
            self._find(pin, value, now)
        elif self._covers and self._covers.is_made_later(pin, self._pins.values()):
            self._tracks[pin] = self._before.setdefault(pin, self._tracks[pin])
        else:
            self._find(pin, None, now)

    def _synchronize(self) -> None:
        now = self._loop.time()
        if not self._is_opening:
            for runner in self._runners.values():
                self._advance(runner, now)
        self._is_opening = False
        for pin, value in self._values().items():
            self._find(pin, value, now)
        self._before.clear()
        self._early.clear()
        self._kept = KeptRules()
        for runner in self._runners.values():
            self._begin(runner, now)
        self._save_soon()

    def _begin(self, runner: _Runner, now: float) -> None:
        """Bring a rule to now after its pins were found: that is no edge."""
        runner.was_on = runner.rule.is_on(now)
        self._advance(runner, now)

    def _find(self, pin: str, value: Value, now: float) -> None:
        """Take a value that no edge has told."""
        track, is_first = self._tracks[pin], pin in self._before
        known = self._before.pop(pin, track)
        if value is None:
            self._tracks[pin] = Track()
        elif known.active is None:
            self._tracks[pin] = Track(bool(value), now)
        elif known.active != bool(value):
            stopped = self._kept.stopped if self._kept and is_first and known.active else None
            self._tracks[pin] = known.turned(bool(value), now if stopped is None else stopped)
        else:
            self._tracks[pin] = known
        if pin in self._buttons and self._tracks[pin] is not track:
            self._buttons[pin].reset(bool(value))
            self._set_press_timer(pin)
        for runner in self._by_pin.get(pin, ()):
            runner.rule.look(pin, now)

    def _change(self, pin: str, is_active: bool, moment: float) -> None:
        track, now = self._tracks.get(pin), self._loop.time()
        if track is None or track.active == is_active:
            return
        if track.active is None or pin in self._early:
            self._synchronize()
            return
        runners = self._by_pin.get(pin, ())
        for runner in runners:
            self._advance(runner, moment)
        self._tracks[pin] = track.turned(is_active, moment)
        button = self._buttons.get(pin)
        presses = button.change(is_active, moment) if button else []
        for runner in runners:
            rule = runner.rule
            rule.look(pin, moment)
            if rule.config.press in presses or (rule.is_edge and is_active):
                self._happen(runner, pin, moment)
            self._advance(runner, now)
        if runners:
            self._set_press_timer(pin)
            self._save_soon()

    def _press_ends(self, pin: str, at: float) -> None:
        presses = self._buttons[pin].expire(at)
        for runner in self._by_pin[pin]:
            if runner.rule.config.press in presses:
                self._happen(runner, pin, at)
                self._advance(runner, self._loop.time())
        self._set_press_timer(pin)
        self._save_soon()

    def _set_press_timer(self, pin: str) -> None:
        if timer := self._press_timers.pop(pin, None):
            timer.cancel()
        at = self._buttons[pin].deadline if pin in self._buttons else None
        if at is None:
            return
        assert self._pins
        config = self._pins[pin].config
        # An edge before the deadline is heard of after its debounce.
        late_s = config.debounce if isinstance(config, InputConfig) else 0
        timer = self._loop.call_at(at + late_s, self._run, self._press_ends, pin, at)
        self._press_timers[pin] = timer

    # Rules

    def _reconsider(self) -> None:
        for runner in self._runners.values():
            if runner.window:
                self._advance(runner, self._loop.time())
        self._save_soon()

    def _may_act(self, runner: _Runner) -> bool:
        if runner.is_parked or runner.name in self._paused:
            return False
        return runner.window is None or runner.window.contains(self._wall())

    def _happen(self, runner: _Runner, pin: str, moment: float) -> None:
        """Act at an edge or a press."""
        if not self._may_act(runner):
            return
        if runner.rule.is_lasting:
            runner.rule.press(pin, moment)
            runner.rule.state.began, runner.is_claiming = None, False  # a press begins anew
        else:
            self._react(runner, moment)

    def _react(self, runner: _Runner, moment: float) -> None:
        """Act at an event. Nothing is pressed or moved late."""
        pulses, now = runner.rule.config.pulse, self._loop.time()
        is_late = now - moment > _LATE_S
        actions = [
            action
            for action in runner.rule.reaction(self._is_on, self._on_value)
            if action.pin not in pulses or (self._is_open(action.pin) and not is_late)
        ]
        moves = runner.rule.config.move
        if is_late and (pulses or moves):
            words = "rule %s: %s: not pressed or moved, %.0f s late"
            log.warning(words, runner.name, ", ".join([*pulses, *moves]), now - moment)
        if not actions and (is_late or not moves):
            return
        runner.runs += 1
        self._claim(runner, actions, now, edge=True)
        for cover, goal in () if is_late else moves.items():
            if self._covers and self._covers.move(cover, goal, f"{_BY_RULE}{runner.name}"):
                self._count_for(runner, cover)

    def _advance(self, runner: _Runner, at: float) -> None:
        """Bring a rule to a moment: its claims begin or end, what was due happens.

        Events wait until the outputs are open.
        """
        rule = runner.rule
        at = runner.at = max(at, runner.at)
        may_act = self._may_act(runner)
        due = None if self._is_opening else rule.take_due(at)
        if due is not None and may_act:
            self._react(runner, due)
        if rule.is_lasting:
            if not may_act:
                rule.forget_presses()
            is_met = may_act and rule.is_met(at)
            goes_on = rule.is_on(at) and not runner.was_on
            runner.was_on = rule.is_on(at)
            if is_met and not runner.is_claiming:
                if rule.state.began is None:
                    runner.runs += 1
                    rule.state.began = self._loop.time()
                runner.is_claiming = True
                self._claim(runner, rule.values(), rule.state.began)
            elif is_met and goes_on:
                self._renew(runner)
            elif not is_met and rule.state.began is not None:
                self._release(runner)
            self._tell_end(runner, at)
        next_at = rule.next_change(at)
        if next_at is None:
            runner.set_timer(None)
        elif runner.timer is None or runner.timer.cancelled() or runner.timer.when() != next_at:
            runner.set_timer(self._loop.call_at(next_at, self._run, self._due, runner, next_at))

    def _tell_end(self, runner: _Runner, now: float) -> None:
        """Report the outputs of a rule if its hold has begun, or ends at another time."""
        assert self._pins
        end = runner.rule.end(now) if runner.is_claiming else None
        if end != runner.end:
            runner.end = end
            for pin in runner.rule.config.outputs:
                self._pins.tell(pin, runner.name)

    def _due(self, runner: _Runner, at: float) -> None:
        runner.timer = None
        self._advance(runner, max(at, self._loop.time()))
        self._save_soon()

    def _renew(self, runner: _Runner) -> None:
        """Claim again what a limit has cut: within the hold a pin went off and on."""
        assert self._pins
        actions = [a for a in runner.rule.values() if self._pins.is_spent(a.pin, runner.name)]
        if actions:
            now = self._loop.time()
            runner.runs += 1
            runner.rule.state.renewed |= {action.pin: now for action in actions}
            self._claim(runner, actions, now)

    def _claim(
        self, runner: _Runner, actions: Iterable[Action], began: float, edge: bool = False
    ) -> None:
        assert self._pins
        renewed = runner.rule.state.renewed
        for action in actions:
            self._acting, at = runner.name, renewed.get(action.pin, began)
            try:
                self._pins.claim(action.pin, runner.name, Level.RULE, action.value, at, edge=edge)
            finally:
                self._acting = ""

    def _release(self, runner: _Runner) -> None:
        assert self._pins
        runner.rule.state.began, runner.is_claiming = None, False
        runner.rule.state.renewed.clear()
        for pin in runner.rule.config.outputs:
            self._acting = runner.name
            try:
                self._pins.release(pin, runner.name, Level.RULE)
            finally:
                self._acting = ""

    def _rest(self, runner: _Runner) -> None:
        """End all claims of a rule, those of edges, too."""
        runner.rule.forget_presses()
        self._release(runner)
        self._save_soon()

    # Outputs

    def _is_open(self, pin: str) -> bool:
        assert self._pins
        return self._pins[pin].value is not None

    def _is_on(self, pin: str) -> bool:
        assert self._pins
        found = self._pins[pin]
        return bool(found.value) or found.is_waiting

    def _on_value(self, pin: str) -> float:
        assert self._pins
        return self._pins[pin].output.on_value if self._is_open(pin) else 1

    # Storms

    def _count(self, change: PinChange) -> None:
        """Count a change of an output by a rule. In a storm that rule rests."""
        by = change.by or ""
        name = self._acting or (by.removeprefix(_BY_RULE) if by.startswith(_BY_RULE) else "")
        runner = self._runners.get(name)
        if runner and change.by is not None:
            self._count_for(runner, change.pin)

    def _count_for(self, runner: _Runner, target: str) -> None:
        """Count a change of an output or a cover by a rule."""
        if self._storms.count(target, self._loop.time()) and not runner.is_parked:
            runner.is_parked = True
            words = "rule %s is parked: %s changed more than %d times in %g s; reload or resume it"
            log.warning(words, runner.name, target, STORM_CHANGES, STORM_S)
            self._queue += (self._rest, (runner,)), (self._when_parked, ())
            if not self._is_busy:
                self._loop.call_soon(self._work)

    # Memory

    def _save_soon(self) -> None:
        """Save once this turn of the loop is over, so that no output waits for a file."""
        has_memory = any(_has_memory(each) for each in self._runners.values())
        if not self._is_saving and (has_memory or self._has_file):
            self._is_saving = True
            self._loop.call_soon(self._save)

    def _save(self, stopped: float | None = None) -> None:
        if self._is_closed and stopped is None:
            return
        self._is_saving = False
        keeping = [runner for runner in self._runners.values() if _has_memory(runner)]
        if not keeping and not self._has_file:
            return
        self._has_file = bool(keeping)
        pins = {pin for runner in keeping for pin in runner.rule.config.sources}
        tracks = {pin: self._tracks[pin] for pin in pins if self._tracks[pin].active is not None}
        rules = {
            runner.name: KeptRule(keys_of(runner.rule.config), runner.rule.state)
            for runner in keeping
        }
        self._memory.write(tracks, rules, stopped)


def _has_memory(runner: _Runner) -> bool:
    return runner.rule.is_lasting or runner.rule.is_delayed
