"""CPU time for each delivered message: ours beside all others, plain and over TLS.

In each round every server is started once and hears of more and more clients; the rounds begin with
another server each. Ratios are taken within a round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..contenders import BARE_LOOP, CONTENDERS, OURS, TUTORIAL, Contender, Rig
from ..process import Running, ServerFailedError
from ..reader import ProtocolError, Reader
from ..table import Findings, Row, Spread

SECONDS = 1.5
HEADINGS = ["server", "over", "clients", "µs CPU a message", "× bare loop", "× ours", "a second"]


@dataclass(frozen=True)
class Result:
    """One server with so many clients, once."""

    micros: float  # CPU time for each delivered message
    rate: float  # messages each client got a second: below 10 the server could not keep up


@dataclass
class Results:
    """Of every server, transport and number of clients, by rounds."""

    found: dict[tuple[str, bool, int], dict[int, Result]] = field(default_factory=dict)

    def add(self, name: str, tls: bool, clients: int, turn: int, result: Result) -> None:
        self.found.setdefault((name, tls, clients), {})[turn] = result

    def has(self, name: str, tls: bool, clients: int) -> bool:
        return (name, tls, clients) in self.found

    def spread(self, name: str, tls: bool, clients: int) -> Spread:
        return Spread([result.micros for result in self.found[name, tls, clients].values()])

    def rate(self, name: str, tls: bool, clients: int) -> Spread:
        return Spread([result.rate for result in self.found[name, tls, clients].values()])

    def ratio(self, one: tuple[str, bool, int], other: tuple[str, bool, int]) -> Spread | None:
        """One against another, in the rounds in which both took part."""
        if one not in self.found or other not in self.found:
            return None
        ours, theirs = self.found[one], self.found[other]
        both = ours.keys() & theirs.keys()
        return Spread([ours[turn].micros / theirs[turn].micros for turn in both])


def measure(
    rig: Rig,
    names: Sequence[str],
    counts: Sequence[int],
    transports: Sequence[bool],
    rounds: int,
    bare_rounds: int,
) -> Findings:
    """`rounds` with all of `names`, then more with the bare loop and ours alone, plain, up to
    `bare_rounds`."""
    missing = {name: reason for name in names if (reason := CONTENDERS[name].missing())}
    present = [name for name in names if name not in missing]
    results = Results()
    for turn in range(max(rounds, bare_rounds)):
        for tls in transports:
            taking_part = [name for name in present if not tls or CONTENDERS[name].over_tls]
            if turn >= rounds:
                taking_part = [] if tls else [n for n in present if n in (OURS, BARE_LOOP)]
            for name in _in_turn(taking_part, turn):
                try:
                    _measure_one(rig, name, tls, counts, turn, results)
                except (ServerFailedError, ProtocolError) as error:
                    raise type(error)(f"{name}: {error}") from error
    findings = Findings(details=_details(results, present, counts))
    findings.notes += [f"Missing: {name}, since {reason}." for name, reason in missing.items()]
    for clients in counts:
        _judge_plain(results, present, clients, findings)
    for clients in counts:
        _judge_tls(results, present, clients, findings)
    return findings


def _in_turn(names: Sequence[str], turn: int) -> list[str]:
    """Each round begins with another server, so that none is always the first."""
    first = turn % len(names) if names else 0
    return [*names[first:], *names[:first]]


def _measure_one(
    rig: Rig, name: str, tls: bool, counts: Sequence[int], turn: int, results: Results
) -> None:
    contender: Contender = CONTENDERS[name]
    with contender.broadcasting(rig, tls) as (server, reader):
        for clients in sorted(counts):
            reader.grow_to(clients)
            result = _measure_window(server, reader, rig.seconds or SECONDS)
            results.add(name, tls, clients, turn, result)
            print(
                f"round {turn + 1}, {'TLS' if tls else 'plain'}, {clients} clients: "
                f"{name} {result.micros:.1f} µs, {result.rate:.1f} a second",
                file=sys.stderr,
                flush=True,
            )


def _measure_window(server: Running, reader: Reader, seconds: float) -> Result:
    reader.read_for(0.3)
    reader.read_until_quiet()
    before, cpu_before, began = reader.snapshot(), server.cpu_seconds(), time.monotonic()
    each_before = reader.told_to_each()
    reader.read_for(seconds)
    reader.read_until_quiet()
    cpu, lasted = server.cpu_seconds() - cpu_before, time.monotonic() - began
    counts = reader.snapshot() - before
    each = [now - then for now, then in zip(reader.told_to_each(), each_before, strict=True)]
    if min(each) == 0:
        raise ProtocolError(f"{each.count(0)} of its {len(each)} clients heard nothing")
    messages = counts.told + counts.others  # ours sends its health, too
    return Result(cpu / messages * 1e6, counts.told / len(reader) / lasted)


def _judge_plain(
    results: Results, present: Sequence[str], clients: int, findings: Findings
) -> None:
    if not results.has(OURS, False, clients):
        return
    ours = (OURS, False, clients)
    what = f"CPU per delivered message, N={clients:,}, plain"
    bare = results.ratio(ours, (BARE_LOOP, False, clients))
    if bare:
        micros = results.spread(*ours).median
        findings.rows.append(
            Row(
                what,
                f"{bare.text(2)} × the bare loop; {micros:.1f} µs",
                "at most 1.15 ×",
                bare.median <= 1.15,
            )
        )
    tutorial = results.ratio((TUTORIAL, False, clients), ours)
    if tutorial:
        findings.rows.append(
            Row(
                f"{what}: the tutorial",
                f"takes {tutorial.text(1)} × ours",
                "at least 6 ×",
                tutorial.median >= 6,
            )
        )
    best = _best_peer(results, present, False, clients)
    if best:
        name, ratio = best
        findings.rows.append(
            Row(
                f"{what}: the best peer, {name}",
                f"takes {ratio.text(2)} × ours",
                "not less in every round",
                ratio.high >= 1,
            )
        )


def _judge_tls(results: Results, present: Sequence[str], clients: int, findings: Findings) -> None:
    what = f"CPU per delivered message, N={clients:,}, TLS"
    plain = results.ratio((OURS, True, clients), (OURS, False, clients))
    if plain:
        micros = results.spread(OURS, True, clients).median
        findings.rows.append(
            Row(
                what,
                f"{plain.text(2)} × our plain figure; {micros:.1f} µs",
                "at most 1.6 ×",
                plain.median <= 1.6,
            )
        )
    best = _best_peer(results, present, True, clients)
    if best:
        name, ratio = best
        findings.rows.append(
            Row(
                f"{what}: the best peer, {name}",
                f"takes {ratio.text(2)} × ours",
                "more",
                ratio.median > 1,
            )
        )


def _best_peer(
    results: Results, present: Sequence[str], tls: bool, clients: int
) -> tuple[str, Spread] | None:
    """The peer that takes least of ours."""
    ratios = {}
    for name in present:
        ratio = results.ratio((name, tls, clients), (OURS, tls, clients))
        if CONTENDERS[name].is_peer and ratio:
            ratios[name] = ratio
    name = min(ratios, key=lambda name: ratios[name].median, default=None)
    return None if name is None else (name, ratios[name])


def _details(results: Results, present: Sequence[str], counts: Sequence[int]) -> list[list[str]]:
    rows = [HEADINGS]
    for tls in (False, True):
        for clients in counts:
            for name in present:
                if not results.has(name, tls, clients):
                    continue
                mine = (name, tls, clients)
                bare = results.ratio(mine, (BARE_LOOP, tls, clients))
                ours = results.ratio(mine, (OURS, tls, clients))
                rows.append(
                    [
                        CONTENDERS[name].meaning,
                        "TLS" if tls else "plain",
                        f"{clients:,}",
                        results.spread(*mine).text(1),
                        bare.text(2) if bare else "–",
                        ours.text(2) if ours else "–",
                        f"{results.rate(*mine).median:.1f}",
                    ]
                )
    return rows
