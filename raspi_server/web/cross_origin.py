"""Answers to pages of other sites: those in `access.origins` may read them, by fetch (CORS)."""

from tornado.web import RequestHandler

from ..messages import HEADERS
from .handler import NamedHandler

CONTEXT = "raspi_server_context"
"""The setting of the application with its WebContext: default headers are set before `initialize`.
"""


def allow_origin(handler: RequestHandler) -> None:
    """Let the page read the answer if its site is in `access.origins`, but never with cookies."""
    auth = handler.application.settings[CONTEXT].auth
    if not auth.access.origins:
        return
    handler.add_header("Vary", "Origin")
    origin = auth.listed_origin(handler.request)
    if origin:
        handler.set_header("Access-Control-Allow-Origin", origin)


class Preflight(NamedHandler):
    """The question of a browser whether a page of `access.origins` may send a request."""

    def set_default_headers(self) -> None:
        """Set the headers of every answer."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        allow_origin(self)

    def options(self) -> None:
        """Allow what the API takes, for ten minutes."""
        self.set_header("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST")
        self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)
