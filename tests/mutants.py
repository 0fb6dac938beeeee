"""Power of the tests: change the program in small ways, and count the changes that a test notices.

    python -m tests.mutants --count 300 --seed 19 gpio net/hub.py security config

draws changes of these files, makes one after the other in this checkout, runs the tests of the
package with it, and prints which ones made a test fail. The checkout must have no uncommitted
changes. With the same seed and the same code it draws the same.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path("raspi_server")
TIMEOUT_S = 900
"""A mutant that keeps the tests busy for longer counts as noticed."""
MODELS = {"gpio": ["tests/test_stateful.py"], "net": ["tests/test_stateful_hub.py"]}
"""Tests of a package that are not in its folder."""
PAIRS = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)),
    *((ast.In, ast.NotIn), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitOr, ast.BitAnd)),
    *((ast.Or, ast.And), (ast.Break, ast.Continue)),
)
SWAPPED: dict[type, Any] = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}


class Mutant(NamedTuple):
    """A change of a file, and the whole text with it."""

    file: Path
    line: int
    old: str
    new: str
    text: str


def changed(node: ast.AST) -> ast.AST | None:
    """Return a changed copy of a node, or None if it is of no kind that is changed."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPPED:
            new.ops = [SWAPPED[type(operator)]()]
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in SWAPPED:
            new.op = SWAPPED[type(operator)]()
        case ast.UnaryOp(op=ast.Not()):
            return new.operand
        case ast.Constant(value=bool(value)):
            new.value = not value
        case ast.Constant(value=int() | float() as value):
            new.value = value + 1
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            new.value = ast.Constant(None)
        case ast.Expr(value=ast.Call() | ast.Await()) if "log." not in ast.unparse(new):
            return ast.Pass()
        case ast.AugAssign() | ast.Raise() | ast.Delete():
            return ast.Pass()
        case ast.Break() | ast.Continue():
            return SWAPPED[type(new)]()  # type: ignore[no-any-return]
        case _:
            return None
    return new


def candidates(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a node in the order of the file, annotations left out."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.AST):
                yield child
                yield from candidates(child)


def mutants(file: Path) -> Iterator[Mutant]:
    """Yield all changes of a file, the same ones in the same order for the same code."""
    source = file.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    node: Any
    for node in candidates(ast.parse(source)):
        if (new := changed(node)) is None:
            continue
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        written = f"({ast.unparse(new)})" if isinstance(node, ast.expr) else ast.unparse(new)
        text = (source[:begin] + written.encode() + source[end:]).decode()
        with contextlib.suppress(SyntaxError):  # inside an f-string, for example
            ast.parse(text)
            yield Mutant(file, node.lineno, ast.unparse(node), written, text)


def is_noticed(mutant: Mutant) -> bool:
    """Run the tests of its package, without those that boot a machine; return if they fail."""
    package = mutant.file.relative_to(PACKAGE).parts[0]
    files = sorted(map(str, Path("tests", package).glob("test_*.py"))) + MODELS.get(package, [])
    options = ["-x", "-q", "--ff", "-m", "not (machine or browser or long or peers or pi)"]
    options += ["-o", f"cache_dir=.mutants/{mutant.file.stem}"]
    before = mutant.file.read_bytes()
    mutant.file.write_text(mutant.text)
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *files],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return run.wait(TIMEOUT_S) != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        mutant.file.write_bytes(before)


def main() -> None:
    """Draw mutants, try each, and print what happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--part", default="1/1", help="K/N: every Nth mutant, from the Kth on")
    parser.add_argument("paths", nargs="+", help="files and folders below raspi_server/")
    options = parser.parse_args()
    if subprocess.run(["git", "diff", "--quiet", "--", PACKAGE]).returncode:
        parser.error("raspi_server/ has uncommitted changes: commit them first")
    found: list[Mutant] = []
    for path in (PACKAGE / each for each in options.paths):
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            found += mutants(file)
    drawn = random.Random(options.seed).sample(found, min(options.count, len(found)))
    first, step = map(int, options.part.split("/"))
    drawn = drawn[first - 1 :: step]
    count = 0
    for number, mutant in enumerate(drawn, 1):
        noticed = is_noticed(mutant)
        count += noticed
        what = f"{mutant.file}:{mutant.line}: {mutant.old} -> {mutant.new}".replace("\n", " ")
        print(number, "noticed " if noticed else "SURVIVED", what, flush=True)
    print(f"{count} of {len(drawn)} noticed: {count / len(drawn):.1%}")


if __name__ == "__main__":
    main()
