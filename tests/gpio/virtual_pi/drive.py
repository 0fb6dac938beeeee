"""Program in the guest that drives the far ends of lines and prints the Unix times of that.

drive.py GAP LINE:LEVEL... waits GAP seconds after each step, and prints JSON:
[[line, level, before, after], ...]."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

gap = float(sys.argv[1])
steps = [tuple(map(int, step.split(":"))) for step in sys.argv[2:]]
ends = {
    line: os.open(f"/run/gpio-sim/sim_gpio{line}/pull", os.O_WRONLY)
    for line in {line for line, _ in steps}
}
# On a real machine the kernel handles an edge within a millisecond. On a busy host it may take
# longer, so the kernel's threads for edges get this program's processor and run before it.
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
for process in ("self", *filter(str.isdigit, os.listdir("/proc"))):
    with contextlib.suppress(FileNotFoundError):
        name = Path(f"/proc/{process}/comm").read_text()
        if process == "self" or name.startswith("irq/"):
            os.sched_setaffinity(0 if process == "self" else int(process), {0})
pulls = (b"pull-down", b"pull-up")
done = []
for line, level in steps:
    before = time.time()
    os.pwrite(ends[line], pulls[level], 0)
    done.append((line, level, before, time.time()))
    time.sleep(gap)
json.dump(done, sys.stdout)
