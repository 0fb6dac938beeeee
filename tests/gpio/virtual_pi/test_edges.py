"""Edges: none lost, in order, each with the kernel's time, and debounced as a person means it."""

from tests.gpio.virtual_pi.pi import Edge, Pi
from tests.web.test_websocket import Browser

EVERYONE_SLOWLY = "access: {control: everyone}\ninterval: 60\n"
"""With ticks this far apart nothing but an edge can bring a change."""
END = "  end: {gpio: 27, mode: input}\n"
DOOR = "  door: {gpio: 17, mode: input}\n" + END
MILLISECOND = 0.001
HELD_UP = 0.004
"""Seconds by which a busy host may hold up one edge in twenty between the guest and its kernel."""


def changes_after(pi: Pi, browser: Browser) -> list[dict[str, object]]:
    """All changes up to now: up to the one with which another pin marks the end."""
    pi.drive([(27, 1)])
    found = []
    while (change := browser.read_until("change"))["pin"] != "end":
        found.append(change)
    return found


def assert_same(changes: list[dict[str, object]], edges: list[Edge], names: dict[int, str]) -> None:
    """The changes are the edges, in order, and each has the time of its edge."""
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
    """A button that is pressed a hundred times in a second, each press shorter than any interval:
    every edge arrives, in order, with its time."""
    pi.start(DOOR, EVERYONE_SLOWLY)
    with pi.browser() as browser:
        browser.read_until("hello")
        edges = pi.drive([(17, number % 2) for number in range(1, 201)], gap=0.005)
        assert_same(changes_after(pi, browser), edges, {17: "door"})


def test_one_edge_on_each_of_twenty_pins_at_once(pi: Pi) -> None:
    """Edges of twenty pins that reach the server at one moment all arrive, in order, with their
    times. The guest needs some milliseconds to drive them, so the server is held up meanwhile."""
    gpios = [gpio for gpio in range(4, 25) if gpio != 8]
    names = {gpio: f"pin{gpio}" for gpio in gpios}
    pins = "".join(f"  {name}: {{gpio: {gpio}, mode: input}}\n" for gpio, name in names.items())
    pi.drive([(gpio, 0) for gpio in gpios])
    pi.start(pins + END, EVERYONE_SLOWLY)
    with pi.browser() as browser:
        browser.read_until("hello")
        pi.signal("STOP")
        edges = pi.drive([(gpio, 1) for gpio in gpios])
        pi.signal("CONT")
        assert_same(changes_after(pi, browser), edges, names)


def test_the_time_is_right_after_a_clock_step(pi: Pi) -> None:
    """A clock that jumps by an hour or a year, as on a Pi when NTP answers: the very next edge has
    the new time, and the next after it was put back the old one."""
    pi.start(DOOR, EVERYONE_SLOWLY)
    with pi.browser() as browser:
        browser.read_until("hello")
        for level, step in enumerate(("-1 year", "+1 year", "-1 hour", "+1 hour"), start=1):
            level %= 2
            pi.run(f"date -s '{step}'")
            edges = pi.drive([(17, level)])
            assert_same([browser.read_until("change")], edges, {17: "door"})


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


def test_the_truth_after_a_burst_too_fast_for_us(pi: Pi) -> None:
    """After a burst that overruns lgpio's pipe, where the last edges are lost, the server soon
    knows what the lines show."""
    last = {17: 1, 22: 0, 23: 1, 24: 0}  # lines that take turns never show this by themselves
    pi.write("/tmp/slow.py", SLOW)
    with pi.program("/tmp/slow.py"):
        pi.start("".join(f"  pin{gpio}: {{gpio: {gpio}, mode: input}}\n" for gpio in last))
        pi.run("touch /tmp/hold")
        pi.drive([(gpio, number % 2) for number in range(1, 1500) for gpio in last])
        pi.drive(list(last.items()))
        pi.run("rm /tmp/hold")
        pi.wait_for(lambda: values(pi) == last, "the server knows what the lines show")


def values(pi: Pi) -> dict[int, int]:
    return {pin["gpio"]: pin["value"] for pin in pi.get("/api/pins")[1]["pins"]}


def test_a_bouncing_button_is_pressed_once(pi: Pi) -> None:
    """A button that bounces gives one press and one release, each with the time of its first edge,
    and no state in between says otherwise."""
    pi.start(
        "  button: {gpio: 17, mode: input, pull: up, debounce: 0.1}\n",
        "access: {control: everyone}\ninterval: 0.01\n",
    )
    bounces = [0, 1, 0, 1, 0, 1, 0]
    with pi.browser() as browser:
        browser.read_until("hello")
        heard = []
        for value, levels in ((1, bounces), (0, [1 - level for level in bounces])):
            edges = pi.drive([(17, level) for level in levels], gap=0.005)
            change = browser.read_until("change")
            assert change["value"] == value
            assert edges[0].before - MILLISECOND < change["time"] < edges[0].after + MILLISECOND
            while True:
                message = browser.read()
                heard.append(message["type"])
                if message["type"] == "state":
                    assert message["pins"] == {"button": value}
                    if message["time"] > edges[-1].after + 0.5:
                        break
    assert "change" not in heard


RAISING = """
import os, threading
os.chdir("/run")
from pathlib import Path
from raspi_server.gpio.lgpio_backend import BlipFreeFactory

seen = []
comes = threading.Semaphore(0)

def fails(ticks, state):
    seen.append("fails")
    comes.release()
    raise ValueError("a fault of ours")

def hears(ticks, state):
    seen.append("hears")
    comes.release()

factory = BlipFreeFactory()
for gpio, callback in ((17, fails), (22, hears)):
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
    """After any failure in the delivery of one pin's edge, the others' still arrive."""
    pi.write("/tmp/raising.py", RAISING)
    said = pi.run("PYTHONPATH=/opt/raspi-server/current python3 /tmp/raising.py")
    assert said.splitlines()[-1] == "['fails', 'hears'] True"
    assert "a fault of ours" in said


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
    """A server to which no edge arrives any more says so, still sees at each tick what the lines
    show, and lets systemd end it."""
    pi.write("/tmp/dying.py", DYING)
    with pi.program("/tmp/dying.py"):
        pi.start(DOOR)
        assert pi.get("/api/health")[0] == 200
        pi.run("touch /tmp/die")
        pi.drive([(17, 1)])  # wakes the thread, which ends without telling of it
        pi.wait_for(lambda: pi.get("/api/health")[0] == 503, "the server is not well")
        ended = "the GPIO thread has ended: no edge arrives any more"
        assert pi.get("/api/health")[1]["reasons"] == [ended]
        with pi.browser() as browser:
            browser.read_until("hello")
            browser.read_until("state", pins={"door": 1, "end": 0})
        pi.wait_for(lambda: ended in pi.attempt("systemctl status raspi-server")[1], "it is told")
        pi.wait_until_failed()
        assert pi.run("systemctl show -P Result raspi-server").strip() == "watchdog"
