"""Metrics for Prometheus: some counted as they happen, the others read for each request.

Each label is the name of a pin, a cover, a schedule or a rule, or one of a few fixed words, so the
number of series is bounded.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from .. import __version__
from ..config.schema import InputConfig
from ..gpio.pin import PinChange
from ..messages import CoverState, Value
from ..system import vitals
from .context import WebContext

BUCKETS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Seconds from an edge to its frames, the debouncing included."""
DEBOUNCED = ((False, "no"), (True, "yes"))
STATES = ("ok", "degraded", "failing")
COVER_STATES = get_args(CoverState)


@dataclass
class _Tally:
    """Sums of one pin."""

    changes: int = 0
    seconds_on: float = 0.0
    on_since: float | None = None
    """A moment of the monotonic clock."""

    def add(self, value: Value, moment: float) -> None:
        """Note the value that the pin has since `moment`."""
        if self.on_since is not None:
            self.seconds_on += max(0.0, moment - self.on_since)
        self.on_since = moment if value else None


class Metrics(Collector):
    """The metrics of one server. All methods run on the event loop's thread."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._status = context.status
        self._registry = CollectorRegistry()
        self._tallies: dict[str, _Tally] = {}
        self._unavailable: set[str] = set()
        self._errors = 0
        latency = Histogram(
            "raspi_server_edge_to_send_seconds",
            "From a pin's edge, debouncing included, until the frames for all viewers were sent",
            ["debounced"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._latency = {is_debounced: latency.labels(word) for is_debounced, word in DEBOUNCED}
        self._debounced: set[str] = set()
        ProcessCollector(registry=self._registry)
        self._registry.register(self)
        self.remade()

    def changed(self, changed: PinChange) -> None:
        """Count a change, after it was sent to all viewers."""
        latency = self._latency[changed.pin in self._debounced]
        latency.observe(max(0.0, time.monotonic() - changed.moment))
        tally = self._tallies.setdefault(changed.pin, _Tally())
        tally.changes += 1
        tally.add(changed.value, changed.moment)

    def remade(self) -> None:
        """Count pins that have failed, and take over the pins of a new configuration."""
        unavailable = {pin.config.name for pin in self._context.board if pin.error}
        self._errors += len(unavailable - self._unavailable)
        self._unavailable = unavailable
        configs = [pin.config for pin in self._context.board]
        self._debounced = {
            each.name for each in configs if isinstance(each, InputConfig) and each.debounce
        }
        names = {each.name for each in configs}
        self._tallies = {name: self._tallies.get(name, _Tally()) for name in names}
        self._add_values()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _add_values(self) -> None:
        now = time.monotonic()
        for pin in self._context.board:
            self._tallies[pin.config.name].add(pin.value, now)

    def describe(self) -> list[Metric]:
        """Return nothing, so the registry does not call `collect` while this is being built."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read and yield all metrics but the histogram."""
        self._add_values()
        yield from self._pins()
        yield from self._covers()
        yield from self._server()
        yield from self._machine()
        yield from self._automation()
        broker = self._status.broker
        if broker:
            name = "raspi_server_mqtt"
            yield _gauge(
                f"{name}_connected", "1 while connected to the broker", broker.is_connected
            )
            words = "Changes that wait for the broker"
            yield _gauge(f"{name}_kept_changes", words, broker.kept)
            words = "Changes that were dropped because too many waited"
            yield _counter(f"{name}_lost_changes", words, broker.lost_changes)

    def _pins(self) -> Iterator[Metric]:
        name = "raspi_server_pin"
        value = GaugeMetricFamily(
            f"{name}_value", "1 is active, whatever the level; pwm is 0 to 1", labels=["pin"]
        )
        up = GaugeMetricFamily(f"{name}_up", "0 for a pin that cannot be opened", labels=["pin"])
        changes = CounterMetricFamily(f"{name}_changes", "Changes of the value", labels=["pin"])
        on = CounterMetricFamily(
            f"{name}_on_seconds", "Seconds for which it was on", labels=["pin"]
        )
        last = GaugeMetricFamily(
            f"{name}_last_change_timestamp_seconds", "When it changed last", labels=["pin"]
        )
        for pin in self._context.board:
            label = [pin.config.name]
            tally = self._tallies[pin.config.name]
            up.add_metric(label, pin.error is None)
            changes.add_metric(label, tally.changes)
            on.add_metric(label, tally.seconds_on)
            if pin.value is not None:
                value.add_metric(label, pin.value)
            if pin.since is not None:
                last.add_metric(label, pin.since)
        yield from (value, up, changes, on, last)

    def _covers(self) -> Iterator[Metric]:
        covers = self._context.covers
        if not covers:
            return
        name = "raspi_server_cover"
        state = GaugeMetricFamily(
            f"{name}_state", "1 for the state that the cover has", labels=["cover", "state"]
        )
        position = GaugeMetricFamily(
            f"{name}_position", "Percent that it is open, where that is known", labels=["cover"]
        )
        problem = GaugeMetricFamily(f"{name}_problem", "1 while it has a problem", labels=["cover"])
        for cover in covers:
            label = cover.config.name
            for each in COVER_STATES:
                state.add_metric([label, each], each == cover.state)
            if cover.position is not None:
                position.add_metric([label], cover.position)
            problem.add_metric([label], cover.problem is not None)
        yield from (state, position, problem)

    def _server(self) -> Iterator[Metric]:
        name = "raspi_server"
        hub = self._context.hub
        build = GaugeMetricFamily(f"{name}_build_info", "Always 1", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        viewers = self._context.broadcaster.viewers
        yield _gauge(f"{name}_viewers", "Clients of /ws and /api/events", len(viewers))
        words = "States and changes sent, counted once for each viewer"
        yield _counter(f"{name}_frames_sent", words, hub.sent)
        words = "States skipped for a viewer that had not read the last one"
        yield _counter(f"{name}_frames_skipped", words, hub.skipped)
        yield _counter(f"{name}_gpio_errors", "How often a pin failed or was lost", self._errors)
        status = self._status.verdict(False).status
        words = "1 while the heartbeat thread runs"
        yield _gauge(f"{name}_heartbeat_up", words, self._status.is_watchdog_alive)
        words = "1 while systemd's watchdog is fed: no part of the server is stuck"
        yield _gauge(
            f"{name}_watchdog_fed", words, status != "failing" and self._status.is_watchdog_alive
        )
        health = GaugeMetricFamily(
            f"{name}_health", "1 for the status that /api/health reports", labels=["status"]
        )
        for state in STATES:
            health.add_metric([state], state == status)
        yield health

    def _automation(self) -> Iterator[Metric]:
        automation = self._context.automation
        if automation is None:
            return
        for label, words, runs in (
            ("schedule", "Windows that began, and moments", automation.schedules.runs),
            (
                "rule",
                "How often a rule has acted",
                automation.rules.runs if automation.rules else {},
            ),
        ):
            if runs:
                found = CounterMetricFamily(f"raspi_server_{label}_runs", words, labels=[label])
                for name, count in runs.items():
                    found.add_metric([name], count)
                yield found
        if automation.needs_time:
            words = "1 once the clock is known: until then schedules, and rules with only, rest"
            yield _gauge("raspi_server_clock_known", words, not automation.is_resting)

    def _machine(self) -> Iterator[Metric]:
        health = self._status.machine_health()
        for name, words, value in (
            ("temperature_celsius", "Temperature of the processor", health.temperature),
            ("load_ratio", "Processes that want to run, for each core", health.load),
            ("memory_used_ratio", "The used share of the memory", health.memory),
            ("disk_used_ratio", "The used share of the root file system", health.disk),
        ):
            if value is not None:
                yield _gauge(f"raspi_server_{name}", words, value)
        if health.throttled is not None:
            words = "1 for a warning of the firmware, now or at some time since the boot"
            throttled = GaugeMetricFamily("raspi_server_throttled", words, labels=["warning"])
            for warning in vitals.THROTTLING.values():
                throttled.add_metric([warning], warning in health.throttled)
            yield throttled


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)
