"""One virtual Pi for all tests here, booted once, and switched off after the last: emulated, it
takes a third of a processor even when it rests."""

import os
from collections.abc import Iterator

import pytest

from tests.gpio.virtual_pi.machine import CannotBuild, running
from tests.gpio.virtual_pi.pi import Pi


@pytest.fixture(scope="package")
def booted_pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    try:
        with running(tmp_path_factory.mktemp("pi")) as machine:
            yield Pi(machine)
    except CannotBuild as error:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def pi(booted_pi: Pi) -> Pi:
    """The Pi with nothing running, remembered or driven."""
    booted_pi.begin()
    return booted_pi
