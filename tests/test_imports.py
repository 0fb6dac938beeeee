"""Importing a module does nothing. import-linter checks the direction of imports."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import raspi_server
from tests.support.server import LIMIT, Server, changing

PACKAGE = Path(raspi_server.__file__).parent
PROGRAM = """
import importlib, json, os, sys, threading

checkout, *modules = sys.argv[1:]
here = os.getcwd()
OURS = (here, f"{checkout}/www", f"{checkout}/config.yaml", f"{checkout}/tls",
        "/etc/raspi-server", "/var/lib/raspi-server", "/run/raspi-server", "/dev/gpio", "/dev/mem")
CHANGES = ("os.mkdir", "os.remove", "os.rename", "shutil.", "tempfile.", "subprocess.", "socket.")
effects = []

def watch(event, args):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(args[0]))
        writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if path.startswith(OURS) or (writes and path != os.devnull):
            effects.append(f"{module}: {event} {path}")
    elif event.startswith(CHANGES):
        effects.append(f"{module}: {event} {args}")

sys.path.insert(0, checkout)
sys.addaudithook(watch)
for module in modules:
    importlib.import_module(module)
    effects += [f"{module}: {each}" for each in ("astral", "gpiod", "lgpio") if each in sys.modules]
    if len(os.listdir("/proc/self/task")) + threading.active_count() > 2:
        effects.append(f"{module}: a thread")
print(json.dumps(effects))
"""


def test_imports_have_no_side_effects(tmp_path: Path) -> None:
    """Importing a module imports no astral, gpiod or lgpio, starts no thread or program, changes no
    file, and reads none of ours. Only the modules for real pins import gpiod, when asked for."""
    files = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(each.relative_to(PACKAGE.parent).with_suffix("").parts) for each in files]
    modules = [each.removesuffix(".__init__") for each in names]
    for name in ("chardev", "kernel_backend"):
        modules.remove(f"raspi_server.gpio.{name}")
    (tmp_path / "config.yaml").write_text("port: 8080\n")
    (tmp_path / "www").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", PROGRAM, str(PACKAGE.parent), *modules],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []


LISTING = (
    "import atexit, sys",
    "names = lambda: [name for name in sys.modules if 'automation.' in name or name == 'astral']",
    "atexit.register(lambda: print('imported:', *names(), file=sys.stderr))",
)
PINS = "pins: {motion: {gpio: 17, mode: input}, lamp: {gpio: 27, mode: output}}\n"
RULE = "rules: {hall: {when: motion, turn_on: lamp}}\n"
SCHEDULE = "schedules: {day: {pin: lamp, from: 06:00, to: 07:00}}\n"
SUNNY = "location: {latitude: 48, longitude: 11}\n" + SCHEDULE.replace("06:00", "sunset")


@pytest.mark.parametrize(
    ("text", "has_schedules", "has_rules", "has_sun"),
    [
        (PINS, False, False, False),
        (PINS + SCHEDULE, True, False, False),
        (PINS + RULE, True, True, False),
        (PINS + SUNNY, True, False, True),
    ],
)
def test_automation_is_imported_only_when_asked_for(
    start_server: Callable[..., Server],
    text: str,
    has_schedules: bool,
    has_rules: bool,
    has_sun: bool,
) -> None:
    """A server without schedules and rules imports nothing of `automation/`. One without rules
    imports nothing of theirs, and one that does not follow the sun imports no astral."""
    server = start_server(text, program=changing(*LISTING))
    server.stop()
    imported = server.wait_for_log("imported:(.*)")[1].split()
    assert bool([each for each in imported if each != "astral"]) == has_schedules
    assert ("raspi_server.automation.rule_engine" in imported) == has_rules
    assert ("astral" in imported) == has_sun
