"""The command `raspi-server wait-healthy`, the last step of install.sh.

If it fails, install.sh switches back to the previous release.
"""

import json
import sys
import time
from http.client import HTTPException
from typing import Any

from ..config.schema import Config
from ..limits import DEFAULT, Limits
from ..system.logs import legible
from .health import request_health

_POLL_INTERVAL_S = 0.5


def wait_healthy(config: Config, limits: Limits = DEFAULT) -> bool:
    """Wait until the server that `config` describes answers /api/health.

    Print the reasons if its health is not ok. After `wait_healthy_s`, print the last error and
    return False.
    """
    end = time.monotonic() + limits.wait_healthy_s
    while True:
        try:
            status, body = request_health(config, limits.health_timeout_s)
            found = json.loads(body) if status < 300 else None
            if isinstance(found, dict) and "status" in found:
                _print_reasons(found)
                return True
            said = body.decode(errors="replace") if found is None else json.dumps(found)[:200]
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            said = str(error)
        if time.monotonic() > end:
            print(f"The server does not report its health: {legible(said)}", file=sys.stderr)
            return False
        time.sleep(_POLL_INTERVAL_S)


def _print_reasons(health: dict[str, Any]) -> None:
    """Print each reason, or the status if the server gives no reasons to callers without a code."""
    reasons = health.get("reasons", [] if health["status"] == "ok" else [health["status"]])
    for reason in reasons if isinstance(reasons, list) else ():
        print(f"The server reports: {legible(str(reason))}")
