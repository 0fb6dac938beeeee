"""Every route of the API with all that its OpenAPI description allows, and much that it does not
(made by schemathesis): nothing breaks the server, and each response is as described."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from raspi_server import __version__
from raspi_server.security.codes import Codes
from raspi_server.web import openapi, routes
from tests.support.coded_server import folders, new_link
from tests.support.http import ask
from tests.support.server import LIMIT, Server

EXAMPLES = 100
"""For each operation and each of those who ask; `schemathesis run` makes as many as one likes."""
PINS = ["lamp", "gate", "fan", "bell", "boiler", "door"]
CONFIG = """
access: {control: everyone}
pins:
  lamp:   {gpio: 27, mode: output}
  gate:   {gpio: 5, mode: output, control: code}
  fan:    {gpio: 18, mode: pwm, control: code}
  bell:   {gpio: 22, mode: output, pulse: 0.05}
  boiler: {gpio: 6, mode: output, control: nobody}
  door:   {gpio: 17, mode: input}
"""
described = [(path, handler.operations) for path, handler in routes.API]
# What is in order for one pin is not for another, which no schema can say: 0.5 for a lamp.
welcome = [200, 401, 403, 404, 409, 422, 429]
schema = schemathesis.openapi.from_dict(
    openapi.document(described, __version__),
    config=schemathesis.Config.from_dict(
        {"checks": {"positive_data_acceptance": {"expected-statuses": welcome}}}
    ),
)


@schema.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Half of the names that are made up stand for pins there are."""
    name = str((path_parameters or {}).get("name", ""))
    if len(name) % 2:
        path_parameters["name"] = PINS[len(name) // 2 % len(PINS)]
    return path_parameters


class Pi:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        Codes(folder).renew("control")
        file = folder / "config.yaml"
        file.write_text(CONFIG)
        arguments = ["run", "--simulate", "--config", str(file)]
        self.server = Server(arguments, env=folders(folder))
        self.cookie = self.sign_in()

    def sign_in(self) -> dict[str, str]:
        """The header of a browser that has just signed in; wrong codes do not hinder a link."""
        token = new_link(self._folder).partition("=")[2]
        return ask(self.server, "POST", "/api/login", {"token": token}).cookie_header


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    pi = Pi(tmp_path_factory.mktemp("house"))
    yield pi
    assert pi.server.stop() == 0, pi.server.log
    assert "Traceback" not in pi.server.log, pi.server.log
    assert "ERROR" not in pi.server.log, pi.server.log


@pytest.mark.parametrize("who", ["anybody", "owner"])
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_route(case: Any, pi: Pi, who: str) -> None:
    """No request makes the server fail, and every answer has a status, a type and a form that are
    described, for those without a code and for the owner."""
    headers = {}
    if who == "owner":
        headers = pi.sign_in() if case.path == "/api/logout" else pi.cookie
    case.call_and_validate(base_url=pi.server.url, headers=headers, timeout=LIMIT)
