"""`/hook/SECRET`: a request to it switches the pin or moves the cover of a hook, without a code.

It is the only path where GET changes something. Its secret appears in no log."""

import re
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError

from ..config.schema import HookConfig
from ..errors import STATUS, RequestError
from ..messages import Close, Command, CoverCommand, Open, Pulse, Set, Stop, Toggle
from ..security.hooks import PATH
from .context import TEXT_HEADERS, WebContext
from .handler import NamedHandler, log, reason

ROUTE = rf"{PATH}(.*)"
_WORDS: dict[float, object] = {0: "off", 1: "on"}
_PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Headers of browsers that load a page before anybody opens it, as `prefetch` or `preview`."""
_PREVIEWS = re.compile(
    r"bot\b|crawler|spider|externalhit|preview|prefetch|embedly|whatsapp|telegram|slack|discord"
    r"|signal|facebot|mattermost|google-read|python-link",
    re.IGNORECASE,
)
"""Programs that open each address that somebody sends in a message, to show what is there. The
preview of iMessage calls itself facebookexternalhit and Twitterbot, that of Signal WhatsApp."""


class Hook(NamedHandler):
    """`/hook/SECRET`, in plain text."""

    SUPPORTED_METHODS = ("GET", "POST")

    def initialize(self, context: WebContext) -> None:
        """Take the parts that the handler uses."""
        self.context = context

    def set_default_headers(self) -> None:
        """Set the headers of every answer, errors included."""
        for name, value in TEXT_HEADERS.items():
            self.set_header(name, value)

    async def get(self, secret: str) -> None:
        """Carry out what config.yaml says of the hook. Raises RequestError."""
        if _is_for_nobody(self.request):
            words = "a preview or a prefetch switches nothing: open the address itself"
            raise RequestError("not-allowed", words)
        address = str(self.request.remote_ip)
        name = self.context.hooks.take(secret, address)
        hook = self.context.status.config.hooks.get(name)
        if hook is None:
            raise RequestError("not-found", "there is no such hook")
        by = f"{address} (hook {name})"
        if hook.cover is not None:
            cover = self.context.found_cover(hook.cover)
            self.context.auth.check_hook(cover.config)
            cover.carry_out(_cover_command(hook), by)
            self.finish(f"{cover.config.label}: {cover.state}\n")
            return
        pin = self.context.board[hook.target]
        self.context.auth.check_hook(pin.config)
        value = await self.context.board.carry_out(_command(hook), by)
        self.finish(f"{pin.config.label}: {_WORDS.get(value or 0, value)}\n")

    post = get

    def compute_etag(self) -> str | None:
        """Return None: each request switches again."""
        return None

    def log_exception(self, *exc_info: Any) -> None:
        """Log an unexpected exception, without the address, which is secret."""
        if not isinstance(exc_info[1], RequestError | HTTPError):
            log.error("%s failed", self.subject, exc_info=exc_info)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error in text, with its reason."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, RequestError):
            self.set_status(STATUS[error.code])
        words = error.message if isinstance(error, RequestError) else reason(self, None)
        if status_code == 405:
            self.set_header("Allow", "GET, POST")
        self.finish(f"{self.get_status()}: {words}\n")


def _command(hook: HookConfig) -> Command:
    if hook.do == "toggle":
        return Toggle(pin=hook.target)
    if hook.do == "pulse":
        return Pulse(pin=hook.target)
    return Set(pin=hook.target, value=hook.do == "on")


def _cover_command(hook: HookConfig) -> CoverCommand:
    if hook.do == "stop":
        return Stop(cover=hook.target)
    return Open(cover=hook.target) if hook.do == "open" else Close(cover=hook.target)


def _is_for_nobody(request: HTTPServerRequest) -> bool:
    """Return True if a program loads the address although nobody has opened it."""
    headers = request.headers
    purposes = " ".join(headers.get(name, "") for name in _PREFETCH_HEADERS).lower()
    is_early = any(word in purposes for word in ("prefetch", "preview", "prerender"))
    return is_early or bool(_PREVIEWS.search(headers.get("User-Agent", "")))
