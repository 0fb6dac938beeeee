"""Request for the health of the server on this machine, for doctor and wait-healthy."""

import ssl
import urllib.error
import urllib.request
from typing import NamedTuple

from ..config.schema import Config
from ..net.addresses import in_url

MAX_ANSWER_BYTES = 64 * 1024
"""Root must not read for as long as another program, in the server's place, sends."""


class Answer(NamedTuple):
    """HTTP status and body of an answer."""

    status: int
    body: bytes


def request_health(config: Config, timeout_s: float) -> Answer:
    """Return the answer of the server that `config` describes to GET /api/health, whatever its
    HTTP status. Raises OSError, http.client.HTTPException, ValueError."""
    scheme = "https" if config.certificate else "http"
    url = f"{scheme}://{in_url(config.address or '127.0.0.1')}:{config.port}/api/health"
    # The certificate may be for another name. On a port of this machine it need not be proved.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=timeout_s, context=context) as answer:
            return Answer(answer.status, answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(MAX_ANSWER_BYTES))
