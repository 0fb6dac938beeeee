"""The dashboard's files: requests for a second of CPU, beside nginx with one worker."""

from __future__ import annotations

import contextlib

from raspi_server.web.context import BUILT_IN_WWW

from .. import nginx
from ..asker import Asker
from ..contenders import Rig
from ..process import Running
from ..table import Findings, Row, Spread

SECONDS = 1.5
OURS, NGINX = "ours", "nginx"


def measure(rig: Rig, rounds: int) -> Findings:
    found: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = {OURS: stack.enter_context(rig.running(rig.ours()))}
        findings = Findings()
        if nginx.find():
            command = nginx.command(rig.folder, BUILT_IN_WWW)
            servers[NGINX] = stack.enter_context(rig.running(command))
        else:
            findings.notes.append("Missing: nginx, since it is not installed.")
        askers = {}
        for name, server in servers.items():
            askers[name] = Asker(server.port, paths())
            stack.callback(askers[name].close)
        for what in ("compressed", "304"):
            if what == "304":
                for asker in askers.values():
                    asker.remember()
            for name, server in servers.items():
                _requests(server, askers[name], 0.3)
            for _ in range(rounds):
                for name, server in servers.items():
                    rate = _requests(server, askers[name], rig.seconds or SECONDS)
                    found.setdefault((name, what), []).append(rate)
    for what in ("compressed", "304"):
        findings.rows.append(_row(found, what))
    return findings


def paths() -> list[str]:
    """The page and all that it may load, as a browser asks for it."""
    kinds = (".css", ".js", ".svg", ".webmanifest", ".png")
    files = sorted(file.name for file in BUILT_IN_WWW.iterdir() if file.suffix in kinds)
    return ["/", *(f"/{name}" for name in files)]


def _requests(server: Running, asker: Asker, seconds: float) -> float:
    """Answered requests for each second of CPU."""
    before = server.cpu_seconds()
    answers = asker.ask_for(seconds)
    return answers / (server.cpu_seconds() - before)


def _row(found: dict[tuple[str, str], list[float]], what: str) -> Row:
    ours = Spread(found[OURS, what])
    measured = f"{ours.median:,.0f} requests a CPU second"
    reached = None
    if (NGINX, what) in found:
        theirs = found[NGINX, what]
        ratio = Spread([a / b for a, b in zip(found[OURS, what], theirs, strict=True)])
        measured = f"{ratio.text(2)} × nginx; {ours.median:,.0f} requests a CPU second"
        reached = ratio.median >= 0.5
    return Row(f"a page load, {what}", measured, "at least 0.5 ×", reached)
