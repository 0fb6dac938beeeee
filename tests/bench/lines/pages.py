"""The dashboard's files: the server's CPU time for a browser's first and second visit, beside nginx
with one worker serving the same files."""

from __future__ import annotations

import contextlib
import gzip
import re
from urllib.parse import urljoin
from urllib.request import Request, urlopen

from raspi_server.web.context import BUILT_IN_WWW

from .. import nginx
from ..asker import Asker
from ..contenders import Rig
from ..process import Running
from ..table import Findings, Row, Spread

SECONDS = 1.5
OURS, NGINX = "ours", "nginx"
FIRST, SECOND = "first", "second"
VISITS = {
    FIRST: "all files, compressed",
    SECOND: "ours the page alone, nginx whether each file is still the same",
}
_LINK = re.compile(rb'<(?:link|script|img)[^>]* (?:src|href)="([\w./-]+\.\w+)"')
_IMPORT = re.compile(rb'^(?:import|export|})[^"\n]*"([\w./-]+\.js)"', re.MULTILINE)
_VERSION = re.compile(r"^/v/\w+(?=/)")


def measure(rig: Rig, rounds: int) -> Findings:
    """Return the CPU time of both visits. Ours names versions, so on a second visit a browser asks
    for the page alone; it has all files from nginx too, but has to ask about each."""
    found: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        servers = {OURS: stack.enter_context(rig.running(rig.ours()))}
        findings = Findings()
        paths = loaded_by(servers[OURS], "/")
        asked = {(OURS, FIRST): paths, (OURS, SECOND): ["/"]}
        if nginx.find():
            command = nginx.command(rig.folder, BUILT_IN_WWW)
            servers[NGINX] = stack.enter_context(rig.running(command))
            plain = [_VERSION.sub("", path) for path in paths]
            asked |= {(NGINX, FIRST): plain, (NGINX, SECOND): plain}
        else:
            findings.notes.append("Missing: nginx, since it is not installed.")
        askers = {}
        for (name, visit), requests in asked.items():
            # One at a time, as they come: loads at once would share a look at the files.
            asker = Asker(servers[name].port, requests, connections=1)
            stack.callback(asker.close)
            if visit == SECOND:
                asker.remember()
            _cpu_ms(servers[name], asker, len(requests), 0.3)
            askers[name, visit] = asker
        for _ in range(rounds):
            for (name, visit), asker in askers.items():
                seconds = rig.seconds or SECONDS
                cost = _cpu_ms(servers[name], asker, len(asked[name, visit]), seconds)
                found.setdefault((name, visit), []).append(cost)
    for visit, meaning in VISITS.items():
        findings.rows.append(_row(found, visit, f"{visit} visit of the dashboard: {meaning}"))
    return findings


def loaded_by(server: Running, page: str) -> list[str]:
    """Return the paths of a page and of all files that it loads."""
    paths = [page]
    for path in paths:  # which grows meanwhile
        if path == page or path.endswith(".js"):
            pattern = _LINK if path == page else _IMPORT
            links = [urljoin(path, link.decode()) for link in pattern.findall(_get(server, path))]
            paths += [link for link in dict.fromkeys(links) if link not in paths]
    return paths


def _get(server: Running, path: str) -> bytes:
    asked = Request(f"http://127.0.0.1:{server.port}{path}", headers={"Accept-Encoding": "gzip"})
    with urlopen(asked, timeout=30) as response:
        content: bytes = response.read()
        is_gzip = response.headers["Content-Encoding"] == "gzip"
        return gzip.decompress(content) if is_gzip else content


def _cpu_ms(server: Running, asker: Asker, requests: int, seconds: float) -> float:
    """Return milliseconds of CPU for a visit of so many requests."""
    before = server.cpu_seconds()
    answers = asker.ask_for(seconds)
    return (server.cpu_seconds() - before) * 1000 / answers * requests


def _row(found: dict[tuple[str, str], list[float]], visit: str, what: str) -> Row:
    ours = found[OURS, visit]
    measured = f"{Spread(ours).text(2, ' ms')} of CPU"
    reached = None
    if (NGINX, visit) in found:
        theirs = found[NGINX, visit]
        measured += f"; nginx {Spread(theirs).text(2, ' ms')}"
        reached = Spread(ours).median <= 2 * Spread(theirs).median if visit == SECOND else None
    return Row(what, measured, "at most 2 × nginx" if visit == SECOND else "–", reached)
