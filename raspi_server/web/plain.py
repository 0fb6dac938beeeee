"""`/plain`: the pins as one HTML page with forms, for old browsers, text browsers and e-readers.

It needs no script. Each form has a token that is bound to the sign-in of the browser, or to a
cookie that is made for it, so a form of another site is rejected. GET changes nothing.
"""

import hmac
import secrets
import time
from html import escape
from typing import Any, NamedTuple

from ..decoding import pin_value, shorten
from ..errors import STATUS, RequestError
from ..messages import HEADERS, Command, PinInfo, Pulse, Set
from ..security.access import Caller, cookie_name
from .context import WebContext
from .handler import NamedHandler, reason

PATH = "/plain"
_PAGE = PATH.lstrip("/")
"""Its own address, relative, since a reverse proxy may serve it below a path."""
_MIN_REFRESH_S, _MAX_REFRESH_S = 2, 3600
_REFRESH_S = 10
_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
_OLD_FORM = "this form was too old, or this browser keeps no cookies: nothing was done, try again"
_SIGN_IN, _SIGN_OUT = "Sign in", "Sign out"
_ON, _OFF, _PRESS, _SET = "On", "Off", "Press", "Set"


class _Answer(NamedTuple):
    """A page that is not the usual one: a failure in words, or a question with its form."""

    status: int
    words: str = ""
    question: str = ""


class Plain(NamedHandler):
    """`/plain`."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST")
    caller: Caller

    def initialize(self, context: WebContext) -> None:
        """Take the parts that the handler uses."""
        self.context = context
        self._cookie = ""

    def set_default_headers(self) -> None:
        """Set the headers of every answer, errors included."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", _POLICY)
        # With no-referrer, browsers would send a form of this page with `Origin: null`.
        self.set_header("Referrer-Policy", "same-origin")

    def compute_etag(self) -> str | None:
        """Return None: each answer has another time."""
        return None

    async def prepare(self) -> None:
        """Identify the caller. A rejected code makes it a stranger, and the page says why."""
        try:
            self.caller = await self.context.auth.caller(self.request)
        except RequestError as error:
            self.caller = Caller(str(self.request.remote_ip))
            self._answer(_failure(error))

    def get(self) -> None:
        """Answer with the pins as the caller may see them."""
        self.context.auth.renew_cookie(self)
        self._answer(_Answer(200))

    head = get

    async def post(self) -> None:
        """Do what a form asks for, and show the pins again."""
        try:
            self.context.auth.check_origin(self.request, only_own=True)
            if not hmac.compare_digest(self._sent("token").encode(), self._token().encode()):
                raise RequestError("foreign", _OLD_FORM)
            question = await self._carry_out(self._sent("do"))
        except RequestError as error:
            self._answer(_failure(error))
            return
        if question:
            self._answer(_Answer(200, question=question))
        else:
            self.redirect(self._address(self._refresh()), status=303)

    async def _carry_out(self, what: str) -> str:
        """Do what a button says; return the form that asks first, or "". Raise RequestError."""
        auth = self.context.auth
        if what == _SIGN_IN:
            found = await auth.caller(self.request, self._sent("code"))
            assert found.code, "it is known by its code"
            await auth.begin_session(self, found.code)
        elif what == _SIGN_OUT:
            written = auth.end_session(self)
            if written:
                await written
        else:
            return await self._switch(what)
        self.context.close_ended_sessions()
        return ""

    async def _switch(self, what: str) -> str:
        auth, board = self.context.auth, self.context.board
        auth.check_view(self.caller)
        pin = board[self._sent("pin")]
        auth.check_control(pin.config, self.caller)
        info = self.context.pin(pin, self.caller)
        level = self._sent("level")
        command = _command(info, what, level)
        if info.confirm and self._sent("sure") != "yes":
            fields = self._hidden(pin=info.name, level=level, sure="yes")
            words = f"{info.label}: {what} {level}".rstrip()
            yes = f"{fields}{_button(what)} <a href='{self._address(self._refresh())}'>No</a>"
            return f"<p>{escape(words)}?</p>{_form(yes)}"
        await board.carry_out(command, auth.name(self.caller))
        return ""

    # What the browser sent

    def _sent(self, name: str) -> str:
        """Return a field of the form, "" without it."""
        found = self.request.body_arguments.get(name, [b""])
        return found[-1].decode(errors="replace").strip()

    def _refresh(self) -> int | None:
        """Return the seconds after which the page is asked to load itself again, or None."""
        found = self.request.arguments.get("refresh", [b""])[-1]
        if not found.isdigit() or len(found) > 5:
            return None
        return min(max(int(found), _MIN_REFRESH_S), _MAX_REFRESH_S)

    def _token(self) -> str:
        """Return the token of the forms of this browser; it has lost them after a restart."""
        bound_to = self.caller.session or self.caller.code or f"cookie {self._stranger()}"
        return hmac.digest(self.context.form_key, bound_to.encode(), "sha256").hex()

    def _stranger(self) -> str:
        """Return the cookie of a browser that is not signed in; give it one if it has none."""
        name = f"{cookie_name(self.request)}-plain"
        if not self._cookie:
            sent = self.request.cookies.get(name)
            self._cookie = sent.value if sent else secrets.token_urlsafe(16)
            if not sent:
                is_secure = self.request.protocol == "https"
                self.set_cookie(
                    name,
                    self._cookie,
                    expires_days=None,
                    httponly=True,
                    samesite="Strict",
                    secure=is_secure,
                )
        return self._cookie

    # The page

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error that no form expects in text."""
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {reason(self, kwargs.get('exc_info'))}\n")

    def _address(self, refresh: int | None) -> str:
        return f"{_PAGE}?refresh={refresh}" if refresh else _PAGE

    def _answer(self, answer: _Answer) -> None:
        """Finish with the page, and above the pins what there is to say."""
        self.set_status(answer.status)
        server = self.context.status.server_info(self.context.sees_details(self.caller))
        refresh = None if answer.question else self._refresh()
        again = ""
        if refresh:
            to = self._address(refresh)
            again = f'<meta http-equiv="refresh" content="{refresh}; url={to}">'
        words = [f"<p class='error'><strong>{escape(answer.words)}</strong></p>"] * bool(
            answer.words
        )
        may_view = self.context.auth.may_view(self.caller)
        if answer.question:
            parts = [answer.question]
        elif may_view:
            notices = [f"<p>{escape(each.message)}</p>" for each in server.notices]
            parts = [*words, *notices, self._pins(), self._session(), self._links(refresh)]
        else:
            parts = [*words, "<p>Viewing needs an access code.</p>", self._session()]
        body = "".join(f"{part}\n" for part in parts)
        host = escape(server.host if may_view else server.name)
        self.finish(
            "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            f"{again}<title>{host}</title><link rel='stylesheet' href='plain.css'></head>"
            f"<body><h1>{host}</h1>\n{body}</body></html>\n"
        )

    def _pins(self) -> str:
        rows = [self._row(pin) for pin in self.context.pins(self.caller)]
        return f"<table>\n{''.join(rows)}</table>" if rows else "<p>There are no pins yet.</p>"

    def _row(self, pin: PinInfo) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(pin.since)) if pin.since else ""
        state = f"<strong>{escape(_word(pin))}</strong>"
        when = f" <small>since {since}</small>" if since else ""
        forms = "".join(self._controls(pin)) if pin.writable else ""
        return f"<tr><th>{escape(pin.label)}</th><td>{state}{when}</td><td>{forms}</td></tr>\n"

    def _controls(self, pin: PinInfo) -> list[str]:
        """Return the forms for what the caller may do with a pin."""
        fields = self._hidden(pin=pin.name)
        buttons = (_PRESS, _OFF) if pin.pulse else (_ON, _OFF)
        found = [_form(fields + " ".join(_button(each) for each in buttons))]
        if pin.mode == "pwm":  # a form of its own: Enter in the field presses its first button
            label = f"<label><input name='level' size='4' value='{_percent(pin)}'> %</label> "
            found.append(_form(fields + label + _button(_SET)))
        return found

    def _session(self) -> str:
        auth = self.context.auth
        role = auth.role(self.caller)
        if role is None:
            pins = (pin.config for pin in self.context.board)
            if auth.may_view(self.caller) and not auth.code_would_help(pins, self.caller):
                return ""
            label = "<label>Access code <input type='password' name='code' size='20'></label> "
            return _form(self._hidden() + label + _button(_SIGN_IN))
        words = f"<p>Signed in with the {role} code.</p>"
        return words + (_form(self._hidden() + _button(_SIGN_OUT)) if self.caller.session else "")

    def _links(self, refresh: int | None) -> str:
        other = None if refresh else _REFRESH_S
        words = "Stop loading again" if refresh else f"Load again every {_REFRESH_S} seconds"
        now = f"<a href='{self._address(refresh)}'>Load again</a>"
        later = f"<a href='{self._address(other)}'>{words}</a>"
        return f"<p>{now} | {later} | <a href='./'>The live page</a></p>"

    def _hidden(self, **fields: str) -> str:
        """Return the fields of a form that nobody sees, with the token."""
        refresh = self._refresh()
        known = {"token": self._token(), **fields, **({"refresh": refresh} if refresh else {})}
        return "".join(
            f"<input type='hidden' name='{name}' value='{escape(str(value))}'>"
            for name, value in known.items()
            if value != ""
        )


def _failure(error: RequestError) -> _Answer:
    # Not 401: some text browsers would ask for a user and a password, and show no page.
    return _Answer(403 if error.code == "sign-in" else STATUS[error.code], error.message)


def _command(pin: PinInfo, what: str, level: str) -> Command:
    """Return what a button means. Raise RequestError."""
    if what in (_ON, _OFF):
        return Set(pin=pin.name, value=what == _ON)
    if what == _PRESS:
        return Pulse(pin=pin.name)
    if what != _SET:
        raise RequestError("bad-value", f"expected one of the buttons, got {shorten(what)}")
    percent = pin_value(level.replace(",", ".").rstrip("% "))
    if not isinstance(percent, float) or not 0 <= percent <= 100:
        words = f"{pin.label}: expected a number from 0 to 100, got {shorten(level)}"
        raise RequestError("bad-value", words)
    return Set(pin=pin.name, value=percent / 100)


def _word(pin: PinInfo) -> str:
    if pin.value is None:
        return (
            f"unavailable: {pin.error}" if pin.error not in (None, "unavailable") else "unavailable"
        )
    return f"{_percent(pin)} %" if pin.mode == "pwm" and 0 < pin.value < 1 else _state(pin.value)


def _state(value: float) -> str:
    return "on" if value else "off"


def _percent(pin: PinInfo) -> str:
    return f"{(pin.value or 0) * 100:g}"


def _form(content: str) -> str:
    return f"<form method='post' action='{_PAGE}'>{content}</form>"


def _button(words: str) -> str:
    return f"<input type='submit' name='do' value='{words}'>"
