"""Edges: none is lost, they stay in order, and each has the kernel's time."""

from tests.gpio.virtual_pi.pi import Edge, Pi
from tests.support.websocket import WebSocketClient

EVERYONE_SLOWLY = "access: {control: everyone}\ninterval: 60\n"
"""Between ticks this far apart only an edge can cause a change."""
END = "  end: {gpio: 27, mode: input}\n"
DOOR = "  door: {gpio: 17, mode: input}\n" + END
MILLISECOND = 0.001
HELD_UP = 0.004
"""Seconds by which a busy host may delay one edge in twenty."""


def changes_after(pi: Pi, viewer: WebSocketClient) -> list[dict[str, object]]:
    """Return all changes until now: until the one of another pin, which marks the end."""
    pi.drive([(27, 1)])
    found = []
    while (change := viewer.receive("change"))["pin"] != "end":
        found.append(change)
    return found


def assert_same(changes: list[dict[str, object]], edges: list[Edge], names: dict[int, str]) -> None:
    """Assert that the changes are the edges, in order, each with the time of its edge."""
    assert [(change["pin"], change["value"]) for change in changes] == [
        (names[edge.gpio], edge.level) for edge in edges
    ]
    late = 0
    for change, edge in zip(changes, edges, strict=True):
        time = change["time"]
        assert isinstance(time, float)
        assert edge.before - MILLISECOND < time < edge.after + HELD_UP, (change, edge)
        late += time >= edge.after + MILLISECOND
    assert late <= len(edges) / 20


def test_two_hundred_edges_five_milliseconds_apart(pi: Pi) -> None:
    """A button is pressed a hundred times in a second. Every edge arrives, in order, with its
    time."""
    pi.start(DOOR, EVERYONE_SLOWLY)
    with pi.viewer() as viewer:
        viewer.receive("hello")
        edges = pi.drive([(17, number % 2) for number in range(1, 201)], gap=0.005)
        assert_same(changes_after(pi, viewer), edges, {17: "door"})


def test_one_edge_on_each_of_twenty_pins_at_once(pi: Pi) -> None:
    """Edges of twenty pins that reach the server together all arrive, in order, with their times.
    The guest needs some milliseconds to drive them, so the server is paused meanwhile."""
    gpios = [gpio for gpio in range(4, 25) if gpio != 8]
    names = {gpio: f"pin{gpio}" for gpio in gpios}
    pins = "".join(f"  {name}: {{gpio: {gpio}, mode: input}}\n" for gpio, name in names.items())
    pi.drive([(gpio, 0) for gpio in gpios])
    pi.start(pins + END, EVERYONE_SLOWLY)
    with pi.viewer() as viewer:
        viewer.receive("hello")
        pi.signal("STOP")
        edges = pi.drive([(gpio, 1) for gpio in gpios])
        pi.signal("CONT")
        assert_same(changes_after(pi, viewer), edges, names)


def test_the_time_is_right_after_a_clock_step(pi: Pi) -> None:
    """If the clock jumps, as on a Pi when NTP answers, the next edge has the new time."""
    pi.start(DOOR, EVERYONE_SLOWLY)
    with pi.viewer() as viewer:
        viewer.receive("hello")
        for level, step in enumerate(("-1 year", "+1 year", "-1 hour", "+1 hour"), start=1):
            level %= 2
            pi.run(f"date -s '{step}'")
            edges = pi.drive([(17, level)])
            assert_same([viewer.receive("change")], edges, {17: "door"})


SLOW = """
import sys, threading, time
from pathlib import Path
from raspi_server.cli.main import main

class Slowly:
    def __init__(self, pipe):
        self.pipe = pipe

    def read(self, size):
        while Path("/tmp/hold").exists():
            time.sleep(0.1)
        return self.pipe.read(size)

def slow_down():
    while "lgpio" not in sys.modules or not hasattr(sys.modules["lgpio"], "_notify_thread"):
        time.sleep(0.1)
    thread = sys.modules["lgpio"]._notify_thread
    thread._file = Slowly(thread._file)

threading.Thread(target=slow_down, daemon=True).start()
sys.exit(main())
"""


def test_a_burst_that_overruns_the_pipe(pi: Pi) -> None:
    """After a burst that overruns lgpio's pipe, whose last edges are lost, the server finds the
    levels of the lines."""
    last = {17: 1, 22: 0, 23: 1, 24: 0}  # in the burst all lines have the same level
    pi.write("/tmp/slow.py", SLOW)
    with pi.program("/tmp/slow.py"):
        pi.start("".join(f"  pin{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in last))
        pi.run("touch /tmp/hold")
        pi.drive([(gpio, number % 2) for number in range(1, 1500) for gpio in last])
        pi.drive(list(last.items()))
        pi.run("rm /tmp/hold")
        expected = {f"pin{gpio}": level for gpio, level in last.items()}
        pi.wait_for(
            lambda: {name: pin["value"] for name, pin in pi.pins.items()} == expected,
            "the server knows the levels",
        )


RAISING = """
import os, threading
os.chdir("/run")
from pathlib import Path
from raspi_server.gpio.lgpio_backend import BlipFreeFactory

seen = []
comes = threading.Semaphore(0)

def fail(ticks, state):
    seen.append("fails")
    comes.release()
    raise ValueError("an error of the test")

def hear(ticks, state):
    seen.append("hears")
    comes.release()

factory = BlipFreeFactory()
for gpio, callback in ((17, fail), (22, hear)):
    pin = factory.pin(gpio)
    pin.input_with_pull("down")
    pin.edges = "both"
    pin.when_changed = callback
for gpio in (17, 22):
    Path(f"/run/gpio-sim/sim_gpio{gpio}/pull").write_text("pull-up")
    comes.acquire(timeout=10)
print(seen, factory.is_listening)
"""


def test_a_raising_callback_does_not_silence_the_others(pi: Pi) -> None:
    """After an exception in the delivery of one pin's edge, the edges of others still arrive."""
    pi.write("/tmp/raising.py", RAISING)
    output = pi.run("PYTHONPATH=/opt/raspi-server/current python3 /tmp/raising.py")
    assert output.splitlines()[-1] == "['fails', 'hears'] True"
    assert "an error of the test" in output


DYING = """
import sys, threading, time
from pathlib import Path

def end_the_thread():
    while not Path("/tmp/die").exists():
        time.sleep(0.1)
    import lgpio
    lgpio._notify_thread.stop()

threading.Thread(target=end_the_thread, daemon=True).start()
from raspi_server.cli.main import main
sys.exit(main())
"""


def test_a_dead_gpio_thread_is_noticed(pi: Pi) -> None:
    """If lgpio's thread has ended, the server reports it, still reads the inputs at each tick, and
    is ended by systemd's watchdog."""
    pi.write("/tmp/dying.py", DYING)
    with pi.program("/tmp/dying.py"):
        pi.start(DOOR)
        assert pi.get("/api/health")[0] == 200
        pi.run("touch /tmp/die")
        pi.drive([(17, 1)])  # wakes the thread, which ends silently
        pi.wait_for(lambda: pi.get("/api/health")[0] == 503, "health is 503")
        ended = "the GPIO thread has ended: no edge arrives any more"
        assert pi.get("/api/health")[1]["reasons"] == [ended]
        with pi.viewer() as viewer:
            viewer.receive("hello")
            viewer.receive("state", pins={"door": 1, "end": 0})
        pi.wait_for(
            lambda: ended in pi.attempt("systemctl status raspi-server")[1], "the status names it"
        )
        pi.wait_until_failed()
        assert pi.run("systemctl show -P Result raspi-server").strip() == "watchdog"
