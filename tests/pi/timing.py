"""Program in the guest: measures the installed service and prints the figures as JSON.

timing.py WHAT ROUNDS PINS measures `all`, or `idle` alone, with the pins of this YAML text.
Each figure is a list of one value for each round, so that values of a round can be compared."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

UNIT = "raspi-server"
UNIT_FILE = Path(f"/etc/systemd/system/{UNIT}.service")
TIMED = "raspi-server-timed"
OF_A_SERVER = re.compile(
    "(Type|Exec[A-Z][a-zA-Z]*|Restart[A-Za-z]*|Watchdog[a-zA-Z]*|Notify[a-zA-Z]*)="
)
CURRENT = "/opt/raspi-server/current"
PYTHON = (f"{CURRENT}/venv/bin/python", "-I")
CONFIG = Path("/etc/raspi-server/config.yaml")
SAFE_STATE = (f"{CURRENT}/scripts/start.sh", "safe-state", "--config", str(CONFIG))
SETTLE_S, IDLE_S = 5.0, 30.0
RESTART_LIMIT_S = 10.0
"""Longer than any restart. Nothing else runs meanwhile: the guest has little time."""


def took(*command: str, **options: Any) -> float:
    """Run a command and return its seconds."""
    began = time.monotonic()
    subprocess.run(command, check=True, **options)
    return time.monotonic() - began


def show(name: str, unit: str = UNIT) -> str:
    command = ("systemctl", "show", unit, "--property", name, "--value")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def moment(name: str, unit: str = UNIT) -> float:
    """Return a moment of a unit, in seconds of the monotonic clock."""
    return int(show(f"{name}Monotonic", unit)) / 1e6


def start() -> float:
    """Start the service; return the seconds from the process's start to READY, by systemd."""
    subprocess.run(("systemctl", "start", UNIT), check=True)
    return moment("ActiveEnterTimestamp") - moment("ExecMainStartTimestamp")


def stop() -> None:
    subprocess.run(("systemctl", "stop", UNIT), check=True)


def safe_state() -> float:
    """Run the command as systemd does after a failure; return its seconds."""
    folder = "/run/raspi-server"
    environment = {**os.environ, "RUNTIME_DIRECTORY": folder, "SERVICE_RESULT": "signal"}
    account = {"user": UNIT, "group": UNIT, "extra_groups": ["gpio"]}
    return took(*SAFE_STATE, env=environment, cwd=folder, stderr=subprocess.DEVNULL, **account)


def in_the_unit(*command: str) -> float:
    """Return the seconds that a command takes as a part of the service, by systemd. Before the
    command begins, systemd makes the sandbox for it."""
    words = (line for line in UNIT_FILE.read_text().splitlines() if not OF_A_SERVER.match(line))
    text = "\n".join(words).replace(
        "[Service]",
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={' '.join(command)}",
    )
    Path(f"/run/systemd/system/{TIMED}.service").write_text(text)
    subprocess.run(("systemctl", "daemon-reload"), check=True)
    subprocess.run(("systemctl", "start", TIMED), check=True)
    seconds = moment("ExecMainExitTimestamp", TIMED) - moment("ExecMainStartTimestamp", TIMED)
    subprocess.run(("systemctl", "stop", TIMED), check=True)
    return seconds


def killed() -> float:
    """Kill the service; return the seconds to its next READY."""
    pid, began = int(show("MainPID")), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    time.sleep(RESTART_LIMIT_S)
    assert moment("ActiveEnterTimestamp") > began
    return moment("ActiveEnterTimestamp") - began


def spent() -> float:
    """Return the seconds of CPU of all threads of the service so far, by the scheduler."""
    tasks = Path(f"/proc/{show('MainPID')}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def idle() -> tuple[float, float]:
    """Return the milliseconds of CPU a second with nobody connected, and the resident MB."""
    time.sleep(SETTLE_S)
    before, began = spent(), time.monotonic()
    time.sleep(IDLE_S)
    cost = (spent() - before) / (time.monotonic() - began) * 1000
    status = Path(f"/proc/{show('MainPID')}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident
    return cost, int(resident[1]) / 1024


HEAD = "ssl: true\naccess: {control: everyone}\n"
found: dict[str, list[float]] = {}


def keep(name: str, value: float) -> None:
    found.setdefault(name, []).append(value)


def measure_idle(pins: str) -> None:
    for kind, text in (("pins", f"{HEAD}pins:\n{pins}"), ("bare", HEAD)):
        stop()
        CONFIG.write_text(text)
        start()
        cost, resident = idle()
        keep(f"idle {kind}", cost)
        keep(f"resident {kind}", resident)


def measure_all(pins: str) -> None:
    stop()
    CONFIG.write_text(f"{HEAD}pins:\n{pins}")
    start()  # keeps the configuration, and fills the kernel's cache of files
    stop()
    keep("pass", took(*PYTHON, "-c", "pass"))
    keep("import", took(*PYTHON, "-c", "import tornado.web, gpiozero"))
    keep("gpiod", took(*PYTHON, "-c", "import json, gpiod"))
    keep("sandbox", in_the_unit("/bin/true"))
    keep("start", start())
    stop()
    keep("safe-state", safe_state())
    keep("safe-state in the unit", in_the_unit(*SAFE_STATE))
    start()
    keep("killed", killed())
    measure_idle(pins)


for _ in range(int(sys.argv[2])):
    {"idle": measure_idle, "all": measure_all}[sys.argv[1]](sys.argv[3])
print(json.dumps(found))
