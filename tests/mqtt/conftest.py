"""Fixtures of the tests of mqtt."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.fleet import FakePis
from tests.support.mqtt import Mosquitto


@pytest.fixture
def fake_pis() -> Iterator[Callable[[Mosquitto], FakePis]]:
    """`fake_pis(broker)`: a client that publishes what many Pis would."""
    clients: list[FakePis] = []

    def start(broker: Mosquitto) -> FakePis:
        clients.append(FakePis(broker))
        return clients[-1]

    yield start
    for each in clients:
        each.close()
