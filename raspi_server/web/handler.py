"""Parts that all request handlers share."""

import logging
import re
from http.client import responses
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, OutputTransform, RequestHandler

from ..security.hooks import PATH as HOOK_PATH
from ..system import busy

_SECRET = re.compile(r"[0-9a-f]{32,}", re.IGNORECASE)
"""What may be the secret of a hook, or most of it. Versions of files are shorter."""

log = logging.getLogger(__name__)


def shown_path(request: HTTPServerRequest) -> str:
    """Return the path of a request for the log, without the secret of a hook.

    A secret is left out of other paths, too: a proxy may have changed the address of a hook."""
    path = request.path
    return f"{HOOK_PATH}…" if path.startswith(HOOK_PATH) else _SECRET.sub("…", path)[:80]


class NamedHandler(RequestHandler):
    """A request handler that names its request while it runs, for the report about a stuck loop."""

    @property
    def subject(self) -> str:
        """The request in a few words."""
        return f"{self.request.method} {shown_path(self.request)}"

    async def _execute(
        self, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        # Tornado runs `prepare` and the method in here.
        await busy.run(self.subject, super()._execute(transforms, *args, **kwargs))


class OwnHTTPError(HTTPError):
    """An error with a reason of ours. Those of Tornado's own errors reach no client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, "%s", message)
        self.message = message


def write_plainly(handler: RequestHandler, exc_info: tuple[Any, ...] | None) -> None:
    """Finish a failed request with its status and the reason as text."""
    handler.set_header("Content-Type", "text/plain; charset=utf-8")
    handler.finish(f"{handler.get_status()}: {reason(handler, exc_info)}\n")


def reason(handler: RequestHandler, exc_info: tuple[Any, ...] | None) -> str:
    """Return the reason of a failed request.

    It is the message of our OwnHTTPError, else the standard phrase of the status.
    """
    error = exc_info[1] if exc_info else None
    if isinstance(error, OwnHTTPError):
        return error.message
    return responses.get(handler.get_status(), "Unknown")
