"""The lock files, which name what install.sh installs, follow pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = {
    "release": PROJECT["dependencies"],
    "pi": PROJECT["optional-dependencies"]["pi"],
}
PACKAGE = re.compile(
    r"(?P<name>[\w-]+)==(?P<version>\S+)(?P<marker> ; .+)?"
    r"(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
    r"    # via(?P<via>.*(\n    #   .*)*)\n"
)
REMEDY = "scripts/lock.sh writes it again"


@pytest.mark.parametrize("name", ASKED)
def test_lock_follows_pyproject(name: str) -> None:
    """A lock file pins each dependency of pyproject.toml to a version that is allowed there, and
    beside them only what these need. Each package has hashes, and no line names an index."""
    text = (ROOT / f"scripts/requirements/{name}.txt").read_text()
    packages = {found["name"]: found for found in PACKAGE.finditer(text)}
    others = PACKAGE.sub("", text).splitlines()
    assert [line for line in others if not line.startswith("#")] == []
    asked = {canonicalize_name(each.name): each for each in map(Requirement, ASKED[name])}
    assert asked.keys() <= packages.keys(), REMEDY
    for package, requirement in asked.items():
        version = packages[package]["version"]
        assert requirement.specifier.contains(version), f"{requirement}: {REMEDY}"
    for package, found in packages.items():
        needed_by = set(re.findall(r"[\w-]+(?= |$)", found["via"], re.MULTILINE)) & packages.keys()
        assert package in asked or needed_by, f"{package} is not needed: {REMEDY}"
