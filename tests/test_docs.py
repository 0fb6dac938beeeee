"""Documentation for people: the files that it names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATHS = [
    f"/{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}"
    for folder in ("raspi_server", "tests", "scripts", "systemd", "docs", "www")
    for path in (ROOT / folder, *(ROOT / folder).rglob("*"))
] + [f"/{path.name}" for path in ROOT.glob("*.*")]
NAMED = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|sh|js|md)|(?:[\w-]+/)+)`")
LINKED = re.compile(r"\]\(([\w/.-]+\.(?:md|json|png))")


@pytest.mark.parametrize(
    "page",
    ["docs/architecture.md", "SECURITY.md", "README.md", "systemd/README.md", "CONTRIBUTING.md"],
)
def test_named_files_exist(page: str) -> None:
    """Each file or folder that a page names or links to is in the checkout."""
    text = (ROOT / page).read_text()
    named = set(NAMED.findall(text))
    missing = {name for name in named if not any(path.endswith(f"/{name}") for path in PATHS)}
    missing |= {name for name in LINKED.findall(text) if not ((ROOT / page).parent / name).exists()}
    assert named
    assert missing == set()


def test_all_packages_are_described() -> None:
    """docs/architecture.md describes each package and each module beside them."""
    text = (ROOT / "docs/architecture.md").read_text()
    package = ROOT / "raspi_server"
    names = [f"{each.parent.name}/" for each in package.glob("*/__init__.py")]
    names += [each.name for each in package.glob("*.py") if not each.name.startswith("__")]
    assert [name for name in names if f"`{name}`" not in text] == []
