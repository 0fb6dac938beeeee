"""One emulated Pi with each suite of Debian. The tests are a story: each goes on where the one
before it ended, because a boot takes minutes and an installation more."""

import os
from collections.abc import Iterator

import pytest

from tests.gpio.virtual_pi.machine import CannotBuildError
from tests.pi.machine import Machine
from tests.pi.pi import PERSIST, Pi

SUITES = ("trixie", "bookworm")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pi" in metafunc.fixturenames:
        metafunc.parametrize("pi", SUITES, indirect=True, scope="package")


@pytest.fixture(scope="package")
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A Pi that was never used before the first test, with the kernel word PERSIST."""
    try:
        machine = Machine(request.param, tmp_path_factory.mktemp(request.param))
    except CannotBuildError as error:
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    try:
        machine.boot(words=PERSIST)
        yield Pi(machine, request.param)
    finally:
        machine.kill()
