"""Random requests to every route, made by schemathesis from the OpenAPI description."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from raspi_server import __version__
from raspi_server.web import openapi, routes
from tests.support.coded_server import CodedServer
from tests.support.server import LIMIT, check_end

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

described = [
    (path, handler.operations)
    for path, handler in routes.API
    if path != "/api/events"  # an answer without an end
]
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


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodedServer]:
    pi = CodedServer(tmp_path_factory.mktemp("fuzz"), "{}")
    pi.file.write_text(CONFIG)
    pi.new("control")
    yield pi
    check_end(pi.server)
    assert "ERROR" not in pi.server.log, pi.server.log


@pytest.fixture(params=["anyone", "owner"])
def headers(pi: CodedServer, request: pytest.FixtureRequest) -> dict[str, str]:
    """The headers of a caller. A sign-in link works after wrong codes, too."""
    if request.param == "anyone":
        return {}
    return pi.ask("POST", "/api/login", {"token": pi.token("control")}).cookie_header


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_route(case: Any, pi: CodedServer, headers: dict[str, str]) -> None:
    """No request makes the server fail, and every answer has a form of the description."""
    case.call_and_validate(base_url=pi.server.url, headers=headers, timeout=LIMIT)
