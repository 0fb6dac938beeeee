"""Fixtures of the tests of the package system."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.test_systemd import Systemd


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """The end of a notify socket that systemd has."""
    systemd = Systemd(str(tmp_path / "notify"))
    yield systemd
    systemd.close()
