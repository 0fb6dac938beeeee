"""Random requests to every route, made by schemathesis from the OpenAPI description: no request
makes the server fail, and each answer is as described."""

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
from tests.support.server import LIMIT, Server, check_end

EXAMPLES = 25
"""Requests to each operation by each caller. `schemathesis run` makes as many as one likes."""
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
pytestmark = pytest.mark.slow

described = [(path, handler.operations) for path, handler in routes.API]
# A body that is valid for one pin is not for another, such as 0.5 for a lamp. No schema says so.
answers_to_valid = [200, 401, 403, 404, 409, 422, 429]
schema = schemathesis.openapi.from_dict(
    openapi.document(described, __version__),
    config=schemathesis.Config.from_dict(
        {"checks": {"positive_data_acceptance": {"expected-statuses": answers_to_valid}}}
    ),
)


@schema.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Replace half of the random names by those of existing pins."""
    name = str((path_parameters or {}).get("name", ""))
    if len(name) % 2:
        path_parameters["name"] = PINS[len(name) // 2 % len(PINS)]
    return path_parameters


class Pi:
    """A server with a control code, and a session of its owner."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        Codes(folder).renew("control")
        (folder / "config.yaml").write_text(CONFIG)
        arguments = ["run", "--simulate", "--config", str(folder / "config.yaml")]
        self.server = Server(arguments, env=folders(folder))
        self.cookie = self.sign_in()

    def sign_in(self) -> dict[str, str]:
        """Return the header of a new session. A sign-in link works after wrong codes, too."""
        token = new_link(self._folder).partition("=")[2]
        return ask(self.server, "POST", "/api/login", {"token": token}).cookie_header


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    pi = Pi(tmp_path_factory.mktemp("fuzz"))
    yield pi
    check_end(pi.server)
    assert "ERROR" not in pi.server.log, pi.server.log


@pytest.mark.parametrize("caller", ["anyone", "owner"])
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_route(case: Any, pi: Pi, caller: str) -> None:
    """No request makes the server fail, and every answer has a status, a type and a form of the
    description, for callers without a code and for the owner."""
    headers = {}
    if caller == "owner":
        headers = pi.sign_in() if case.path == "/api/logout" else pi.cookie
    case.call_and_validate(base_url=pi.server.url, headers=headers, timeout=LIMIT)
