"""Request for the health of the server on this machine, for doctor and wait-healthy."""

import ssl
import urllib.error
import urllib.request
from typing import NamedTuple

from ..config.schema import Config
from ..net.addresses import in_url

MAX_ANSWER_BYTES = 64 * 1024
"""Limit of the answer: another program on the port could send without end, and root reads it."""


class Answer(NamedTuple):
    """HTTP status of an answer, and the start of its body."""

    status: int
    body: bytes


def request_health(config: Config, timeout_s: float) -> Answer:
    """Return the answer to GET /api/health, also if its HTTP status is an error.

    The request goes to the server that `config` describes. Raise OSError,
    http.client.HTTPException or ValueError without an answer.
    """
    scheme = "https" if config.certificate else "http"
    url = f"{scheme}://{in_url(config.address or '127.0.0.1')}:{config.port}/api/health"
    # The certificate may be for another name. A port of this machine needs no proof.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=timeout_s, context=context) as answer:
            return Answer(answer.status, answer.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(MAX_ANSWER_BYTES))
