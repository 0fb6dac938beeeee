"""Fixtures of the tests with other programs at a broker."""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.mqtt.peers.programs import HomeAssistant, folder_for


@pytest.fixture
def start_home_assistant() -> Iterator[Callable[[str, int], HomeAssistant]]:
    """`start_home_assistant(release, broker_port)`."""
    running = []

    def start(release: str, broker_port: int) -> HomeAssistant:
        folder = folder_for(release)
        try:
            running.append((HomeAssistant(release, broker_port, folder), folder))
        except BaseException:
            shutil.rmtree(folder)
            raise
        return running[-1][0]

    yield start
    for each, folder in running:
        each.stop()
        shutil.rmtree(folder)
