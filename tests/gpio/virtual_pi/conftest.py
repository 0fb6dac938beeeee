"""One virtual Pi for all tests of this folder. It is stopped after the last of them: even an idle
one takes a third of a processor."""

import os
from collections.abc import Iterator

import pytest

from tests.gpio.virtual_pi.machine import CannotBuildError, running
from tests.gpio.virtual_pi.pi import Pi


@pytest.fixture(scope="package")
def booted_pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    try:
        with running(tmp_path_factory.mktemp("pi")) as machine:
            yield Pi(machine)
    except CannotBuildError as error:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def pi(booted_pi: Pi) -> Pi:
    """The Pi without a running service, kept state, or driven line."""
    booted_pi.reset()
    return booted_pi
