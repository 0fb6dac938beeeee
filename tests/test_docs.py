"""Documentation for people: the files that it names exist."""

import re
from pathlib import Path

from tests.config.reading import read

ROOT = Path(__file__).parent.parent
FOLDERS = ("raspi_server", "tests", "scripts", "systemd", "docs", "www")
PAGES = ("docs/architecture.md", "SECURITY.md", "README.md", "systemd/README.md", "CONTRIBUTING.md")
NAMED = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|sh|js|md)|(?:[\w-]+/)+)`")
LINKED = re.compile(r"\]\(([\w/.-]+\.(?:md|json|png))")


def test_named_files_exist() -> None:
    """Each file that a page names exists, and docs/architecture.md describes each package."""
    below = [each for name in FOLDERS for each in (ROOT / name, *(ROOT / name).rglob("*"))]
    paths = [f"{each}/" if each.is_dir() else str(each) for each in (*below, *ROOT.glob("*.*"))]
    for page in PAGES:
        text = (ROOT / page).read_text()
        named, linked = set(NAMED.findall(text)), set(LINKED.findall(text))
        assert named
        assert [
            each for each in named if not any(path.endswith(f"/{each}") for path in paths)
        ] == []
        assert [each for each in linked if not ((ROOT / page).parent / each).exists()] == []
    for page in (ROOT / "docs").glob("*.md"):
        linked = set(LINKED.findall(page.read_text()))
        assert [each for each in linked if not (page.parent / each).exists()] == [], page
    package, text = ROOT / "raspi_server", (ROOT / "docs/architecture.md").read_text()
    names = [f"{each.parent.name}/" for each in package.glob("*/__init__.py")]
    names += [each.name for each in package.glob("*.py") if not each.name.startswith("__")]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_keys_that_go_with_a_proxy() -> None:
    """Each section of docs/proxies.md says which keys of config.yaml go with its proxy, and those
    that are shown are valid."""
    text = (ROOT / "docs" / "proxies.md").read_text()
    names, sections = re.findall("^## (.*)", text, re.M), re.split("^## .*", text, flags=re.M)[1:]
    for name, section in zip(names, sections, strict=True):
        shown = re.findall("^```yaml\n(.*?)^```", section, re.M | re.DOTALL)
        keys = [each for each in shown if "access:" in each]
        for each in keys:
            assert read(each).access.proxies
        assert keys or "](#configyaml)" in section or "needs no keys" in section, name
    assert len(names) >= 8
