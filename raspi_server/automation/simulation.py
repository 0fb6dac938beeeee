"""Simulation: the schedules of a configuration over a stretch of time, without waiting for it."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..config.schema import Config, DrivenConfig, OutputConfig
from .engine import Engine, Zone
from .memory import Memory


class Switch(NamedTuple):
    """A change of an output, and why. `moment` is Unix time."""

    moment: float
    pin: str
    value: float
    why: str


Input = tuple[float, Callable[[], None]]
"""Something from outside at a Unix time, such as a change of an input, and what it does."""


class _Clock:
    """A clock that is set by hand. Its monotonic time begins with it."""

    def __init__(self, now: float) -> None:
        self._begin = self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - self._begin


class _Claim(NamedTuple):
    began: float
    value: float
    end: float


class _Outputs:
    """Outputs that only note what they do: claims decide, and `pulse` and `max_on` limit them."""

    def __init__(self, config: Config, clock: _Clock) -> None:
        self._clock = clock
        self._pins = {pin.name: pin for pin in config.pins if isinstance(pin, DrivenConfig)}
        self._claims: dict[str, dict[str, _Claim]] = {name: {} for name in self._pins}
        self._values = {name: _default(pin) for name, pin in self._pins.items()}
        self.switches: list[Switch] = []

    def claim(
        self,
        pin: str,
        source: str,
        level: int,
        value: float,
        began: float,
        seconds: float | None = None,
    ) -> None:
        ends = [began + limit for limit in (seconds, self._limit(pin)) if limit and value]
        self._claims[pin][source] = _Claim(began, value, min(ends, default=float("inf")))
        self._decide(pin, source)

    def release(self, pin: str, source: str, level: int) -> None:
        self._claims[pin].pop(source, None)
        self._decide(pin, f"the end of {source}")

    def relinquish(self, pin: str) -> None:
        """Do nothing: there are no people and no rules here."""

    def next_end(self) -> float:
        """Return the monotonic time at which the first claim runs out."""
        return min(
            (claim.end for claims in self._claims.values() for claim in claims.values()),
            default=float("inf"),
        )

    def expire(self) -> None:
        """End the claims that have run out."""
        for pin, claims in self._claims.items():
            for source, claim in list(claims.items()):
                if claim.end <= self._clock.monotonic():
                    del claims[source]
                    self._decide(pin, f"the end of {source}")

    def _limit(self, pin: str) -> float | None:
        config = self._pins[pin]
        pulse = config.pulse if isinstance(config, OutputConfig) else None
        return min((limit for limit in (pulse, config.max_on) if limit), default=None)

    def _decide(self, pin: str, why: str) -> None:
        claims = self._claims[pin]
        newest = max(claims.items(), key=lambda item: item[1].began, default=None)
        value = newest[1].value if newest else _default(self._pins[pin])
        if newest and why.startswith("the end of "):
            why = f"{newest[0]}, after {why}"
        if value != self._values[pin]:
            self._values[pin] = value
            self.switches.append(Switch(self._clock.now, pin, value, why))


def play(
    config: Config, begin: float, end: float, zone: Zone, inputs: Iterable[Input] = ()
) -> Iterator[Switch]:
    """Yield what switches from `begin` to `end`, in Unix time, in its order.

    `inputs` are what happens from outside meanwhile, in the order of time.
    """
    clock = _Clock(begin)
    outputs = _Outputs(config, clock)
    engine = Engine(outputs, Memory(None, ""), clock, zone, lambda done: done())
    engine.is_known = True
    engine.configure(config.schedules, config.location)
    events = list(inputs)
    while clock.now < end:
        outputs.expire()
        while events and events[0][0] <= clock.now:
            events.pop(0)[1]()
        following = [engine.step(), begin + outputs.next_end()]
        following += [events[0][0]] if events else []
        yield from outputs.switches
        outputs.switches.clear()
        clock.now = max(min(following), clock.now + 1e-6)


def _default(pin: DrivenConfig) -> float:
    """Return the value of an output that nothing claims."""
    return float(pin.initial == "on") if isinstance(pin.initial, str) else pin.initial
