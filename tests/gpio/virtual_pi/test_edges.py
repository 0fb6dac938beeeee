"""Edges: none is lost, they stay in order, and each has the kernel's time."""

import re
from statistics import median
from typing import Any

from tests.gpio.virtual_pi.pi import STARTUP, Edge, Pi
from tests.support.websocket import WebSocketClient

EVERYONE_SLOWLY = "access: {control: everyone}\ninterval: 60\n"
"""Between ticks this far apart only an edge can cause a change."""
HELD = 8
GPIOS, END = [gpio for gpio in range(4, 25) if gpio != HELD], 27
MILLISECOND, PAUSE_S = 0.001, 2


def delays(pi: Pi, viewer: WebSocketClient, edges: list[Edge]) -> list[float]:
    """Return the seconds from each edge to the time of its change. Assert that the changes until
    now, to one of another pin, are the edges in order, and that no time is too early."""
    pi.drive([(END, 1 - pi.level(END))])
    changes: list[dict[str, Any]] = []
    while (change := viewer.receive("change"))["pin"] != f"p{END}":
        changes.append(change)
    pairs = list(zip(changes, edges, strict=True))
    for change, edge in pairs:
        assert (change["pin"], change["value"]) == (f"p{edge.gpio}", edge.level)
        assert change["time"] > edge.before - MILLISECOND, (change, edge)
    return [change["time"] - edge.after for change, edge in pairs]


def test_every_edge_has_its_time(pi: Pi) -> None:
    """Every edge arrives, in order, with the kernel's time: two hundred of one pin, five
    milliseconds apart; one of each of twenty pins while the server is paused; and those after jumps
    of the clock, as on a Pi when NTP answers."""
    pi.drive([(gpio, 0) for gpio in GPIOS])
    pins = (f"  p{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in (*GPIOS, END))
    pi.start("".join(pins), EVERYONE_SLOWLY)
    with pi.viewer() as viewer:
        viewer.receive("hello")
        edges = pi.drive([(17, number % 2) for number in range(1, 201)], gap=0.005)
        found = delays(pi, viewer, edges)
        pi.signal("STOP")
        edges = pi.drive([(gpio, 1) for gpio in GPIOS])
        pi.run(f"sleep {PAUSE_S}")
        pi.signal("CONT")
        found += delays(pi, viewer, edges)
        for level, step in enumerate(("-1 year", "+1 year")):
            pi.run(f"date -s '{step}'")
            found += delays(pi, viewer, pi.drive([(17, level)]))
    # A busy host may delay the kernel, too, but not half of the edges.
    assert median(found) < MILLISECOND
    assert max(found) < PAUSE_S


def test_all_lines_at_once(pi: Pi) -> None:
    """A hundred edges of every line, as fast as the machine drives them, arrive in order: of all
    lines but the one that the kernel of the virtual Pi holds."""
    gpios = [gpio for gpio in range(28) if gpio != HELD]
    pi.drive([(gpio, 0) for gpio in gpios])
    # GPIO2 and GPIO3 have a pull-up on the board.
    pulls = {gpio: ", pull: up, active: high" for gpio in (2, 3)}
    pins = (f"  p{gpio}: {{gpio: {gpio}, mode: input{pulls.get(gpio, '')}}}\n" for gpio in gpios)
    pi.start("".join(pins), EVERYONE_SLOWLY)
    first = {gpio: pi.level(gpio) for gpio in gpios}
    with pi.viewer() as viewer:
        viewer.receive("hello")
        steps = [(gpio, (first[gpio] + n) % 2) for n in range(1, 101) for gpio in gpios]
        pi.drive(steps)
        found: dict[str, list[int]] = {}
        for _ in steps:
            change = viewer.receive("change")
            found.setdefault(change["pin"], []).append(change["value"])
    assert found == {f"p{gpio}": [(first[gpio] + n) % 2 for n in range(1, 101)] for gpio in gpios}
    assert "were lost" not in pi.journal


FAULT = """
from raspi_server.gpio.input import Input

def edge(self, moment, level, edge=Input._edge):
    if self.name.startswith("faulty"):
        raise ValueError("an error of the test")
    edge(self, moment, level)

Input._edge = edge
"""


def test_lost_edges_and_errors(pi: Pi) -> None:
    """An error in the delivery of one pin's edge does not silence the others. After a burst that
    overruns the kernel's queue the log counts the lost edges, and the server has the levels."""
    last = {17: 1, 22: 0, 23: 1, 24: 0}  # in the burst all lines have the same level
    pins = "".join(f"  p{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in last)

    def wait_for_levels(levels: dict[int, int]) -> None:
        pi.wait_for(
            lambda: all(pi.pins[f"p{gpio}"]["value"] == level for gpio, level in levels.items()),
            "the server knows the levels",
        )

    pi.write(STARTUP, FAULT)
    pi.start(pins + "  faulty: {gpio: 25, mode: input}\n", EVERYONE_SLOWLY)
    pi.drive([(25, 1), (17, 1)])
    wait_for_levels({17: 1})
    assert "an error of the test" in pi.journal
    assert pi.get("/api/health")[0] == 200
    pi.signal("STOP")
    pi.drive([(gpio, number % 2) for number in range(1, 1500) for gpio in last])
    pi.drive(list(last.items()))
    pi.signal("CONT")
    wait_for_levels(last)
    lost = re.search(r"GPIO\d+: (\d+) edges came too fast and were lost", pi.journal)
    assert lost and 470 < int(lost[1]) < 480
