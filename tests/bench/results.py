"""RESULTS.md and the lines README quotes: what a whole run has printed, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .process import CHECKOUT

RESULTS = Path(__file__).with_name("RESULTS.md")
FINDINGS = Path(__file__).with_name("FINDINGS.md")
README = CHECKOUT / "README.md"
QUOTED = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->\n)", re.DOTALL)
HEADING = (
    "# Measured by `scripts/bench.sh --write`\n\n"
    f"Written by that command alone. What was tried, and what it gave, is in"
    f" [{FINDINGS.name}]({FINDINGS.name}).\n\n"
)


def write(printed: Sequence[str]) -> None:
    """Keeps what was printed, and puts its first table into README between the marks."""
    RESULTS.write_text(HEADING + "\n".join(printed) + "\n", encoding="utf-8")
    table = "\n".join(printed[: list(printed).index("")])
    readme = README.read_text(encoding="utf-8")
    quoting = QUOTED.sub(lambda found: f"{found[1]}{table}\n{found[2]}", readme)
    README.write_text(quoting, encoding="utf-8")
