"""Fixtures of the tests of mqtt."""

from datetime import timedelta

import pytest

from tests.security.test_tls import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose certificates are valid for brokers and for clients."""
    found = Authority(tmp_path_factory.mktemp("authority"))
    file = found.folder / "ca.cnf"
    file.write_text(file.read_text().replace("serverAuth", "serverAuth, clientAuth"))
    return found


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """A certificate for this machine, and its key."""
    return authority.issue("broker", -timedelta(days=1), timedelta(days=1))
