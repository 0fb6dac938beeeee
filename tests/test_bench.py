"""The published figures are those that the benchmark printed."""

from tests.bench.results import BENCHMARKS, QUOTED, README, RESULTS, lines, table


def test_pages_quote_the_results() -> None:
    """docs/benchmarks.md has the table of RESULTS.md, README five rows of it, both unchanged."""
    results = RESULTS.read_text(encoding="utf-8")
    for page, text in ((BENCHMARKS, table(results)), (README, lines(results))):
        found = QUOTED.search(page.read_text(encoding="utf-8"))
        assert found
        assert found[2] == text
