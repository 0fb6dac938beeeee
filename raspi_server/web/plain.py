"""`/plain`: pins and covers as one HTML page with forms, for old and text browsers and e-readers.

It needs no script. Each form has a token that is bound to the sign-in of the browser, or to a
cookie that is made for it, so a form of another site is rejected, also of one that
`access.origins` lists. GET changes nothing.
"""

import hmac
import secrets
import time
from html import escape
from typing import Any, NamedTuple

from ..config.kinds import ALARMS, OPENINGS
from ..decoding import pin_value, shorten
from ..errors import STATUS, RequestError, refusal
from ..messages import (
    HEADERS,
    Auto,
    Close,
    Command,
    CoverCommand,
    CoverInfo,
    Notice,
    Open,
    PinInfo,
    Position,
    Pulse,
    Set,
    Stop,
)
from ..security.access import Caller, cookie_name
from .context import WebContext
from .handler import NamedHandler, reason
from .languages import fill

PATH = "/plain"
_PAGE = PATH.lstrip("/")
"""Its own address, relative, since a reverse proxy may serve it below a path."""
_MIN_REFRESH_S, _MAX_REFRESH_S = 2, 3600
_REFRESH_S = 10
_DAY_S = 86400
_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
_BUTTON = "do-"
"""The names of buttons begin with it and end with what they do. Their words are of any language."""


class _Answer(NamedTuple):
    """A page that is not the usual one: a failure in words, or a question with its form."""

    status: int
    failure: str = ""
    question: str = ""


class Plain(NamedHandler):
    """`/plain`."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST")
    caller: Caller

    def initialize(self, context: WebContext) -> None:
        """Take the parts that the handler uses."""
        self.context = context
        self._cookie = ""
        self._words = context.languages.choose(self.request.headers.get("Accept-Language", ""))

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
            self._answer(self._failure(error))

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
                raise refusal("old-form")
            question = await self._carry_out(self._pressed())
        except RequestError as error:
            self._answer(self._failure(error))
            return
        if question:
            self._answer(_Answer(200, question=question))
        else:
            self.redirect(self._address(self._refresh()), status=303)

    async def _carry_out(self, what: str) -> str:
        """Do what a button says; return the form that asks first, or "". Raise RequestError."""
        auth = self.context.auth
        if what == "sign_in":
            found = await auth.caller(self.request, self._sent("code"))
            assert found.code, "it is known by its code"
            await auth.begin_session(self, found.code)
        elif what == "sign_out":
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
        if self._sent("cover"):
            return self._move(self._sent("cover"), what)
        pin = board[self._sent("pin")]
        auth.check_control(pin.config, self.caller)
        info = self.context.pin(pin, self.caller)
        level = self._sent("level")
        command = self._command(info, what, level)
        if info.confirm and self._sent("sure") != "yes":
            return self._question(info, what, level)
        await board.carry_out(command, auth.name(self.caller))
        return ""

    def _move(self, name: str, what: str) -> str:
        """Move a cover; return the form that asks first, or "". Raise RequestError."""
        auth, cover = self.context.auth, self.context.found_cover(name)
        auth.check_control(cover.config, self.caller)
        info = self.context.cover(cover, self.caller)
        level = self._sent("level")
        command = self._cover_command(info, what, level)
        if info.confirm and what != "stop" and self._sent("sure") != "yes":
            return self._cover_question(info, what, level)
        self.context.carry_out_cover(command, self.caller)
        return ""

    def _cover_command(self, cover: CoverInfo, what: str, level: str) -> CoverCommand:
        """Return what a button means. Raise RequestError."""
        if what == "open":
            return Open(cover=cover.name)
        if what == "close":
            return Close(cover=cover.name)
        if what == "stop":
            return Stop(cover=cover.name)
        if what != "set_position":
            words = f"expected one of the buttons, got {shorten(what)}"
            raise RequestError("bad-value", words)
        if not cover.has_position:
            raise refusal("cover-no-position", label=cover.label)
        percent = pin_value(level.replace(",", ".").rstrip("% "))
        if not isinstance(percent, float):
            raise refusal("cover-position-range", label=cover.label, got=shorten(level))
        return Position(cover=cover.name, position=percent)

    def _command(self, pin: PinInfo, what: str, level: str) -> Command:
        """Return what a button means. Raise RequestError."""
        if what in ("on", "off"):
            return Set(pin=pin.name, value=what == "on")
        if what == "press":
            return Pulse(pin=pin.name)
        if what == "auto":
            return Auto(pin=pin.name)
        if what != "set_level":
            words = f"expected one of the buttons, got {shorten(what)}"
            raise RequestError("bad-value", words)
        percent = pin_value(level.replace(",", ".").rstrip("% "))
        if not isinstance(percent, float) or not 0 <= percent <= 100:
            limits = {"minimum": 0, "maximum": 100}
            raise refusal("out-of-range", label=pin.label, got=shorten(level), **limits)
        return Set(pin=pin.name, value=percent / 100)

    # What the browser sent

    def _sent(self, name: str) -> str:
        """Return a field of the form, "" without it."""
        found = self.request.body_arguments.get(name, [b""])
        return found[-1].decode(errors="replace").strip()

    def _pressed(self) -> str:
        """Return what the button does that was pressed, "" without one."""
        names = (each for each in self.request.body_arguments if each.startswith(_BUTTON))
        return next(names, "").removeprefix(_BUTTON)

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
        failure = ""
        if answer.failure:
            words = self._html("not_done", why=answer.failure)
            failure = f"<p class='error'><strong>{words}</strong></p>"
        may_view = self.context.auth.may_view(self.caller)
        if answer.question:
            parts = [answer.question]
        elif may_view:
            notices = [self._notice(each) for each in server.notices]
            parts = [failure, *notices, *self._pins(), self._session(), self._links(refresh)]
        else:
            parts = [failure, self._session()]
        body = "".join(f"{part}\n" for part in parts if part)
        host = escape(server.host if may_view else server.name)
        self.finish(
            f"<!DOCTYPE html>\n<html lang='{self._words.tag}' dir='{self._words.direction}'>"
            "<head><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            "<meta name='color-scheme' content='light dark'>"
            f"{again}<title>{host}</title><link rel='stylesheet' href='plain.css'></head>"
            f"<body><h1>{host}</h1>\n{body}</body></html>\n"
        )

    def _failure(self, error: RequestError) -> _Answer:
        # Not 401: some text browsers would ask for a user and a password, and show no page.
        words = self._words.worded(f"error:{error.reason}", error.values) or error.message
        return _Answer(403 if error.code == "sign-in" else STATUS[error.code], words)

    def _html(self, key: str, **values: str | int | float) -> str:
        """Return a string of the page for HTML."""
        return escape(self._words.text(key, **values))

    def _question(self, pin: PinInfo, what: str, level: str) -> str:
        key = {"set_level": "ask_set"}.get(what, f"ask_{what}")
        values = {"level": level.rstrip("% "), "seconds": f"{pin.pulse or 0:g}"}
        fields = self._hidden(pin=pin.name, level=level, sure="yes")
        back = f"<a href='{self._address(self._refresh())}'>{self._html('no')}</a>"
        yes = self._press_button(pin) if what == "press" else self._button(what)
        question = self._html(key, label=pin.label, **values)
        if what == "press" and (of_kind := self._words.kind(pin).get("ask")):
            question = escape(fill(of_kind, {"label": pin.label}))
        return f"<p>{question}</p>{_form(f'{fields}{yes} {back}')}"

    def _cover_question(self, cover: CoverInfo, what: str, level: str) -> str:
        key = "ask_position" if what == "set_position" else f"ask_{what}"
        question = self._html(key, label=cover.label, level=level.rstrip("% "))
        fields = self._hidden(cover=cover.name, level=level, sure="yes")
        back = f"<a href='{self._address(self._refresh())}'>{self._html('no')}</a>"
        return f"<p>{question}</p>{_form(f'{fields}{self._button(what)} {back}')}"

    def _notice(self, notice: Notice) -> str:
        words = self._words.worded(f"notice:{notice.reason}", notice.values)
        detail = str(notice.values.get("why", "")) if words else notice.message
        shown = f" <span lang='en' dir='ltr'>{escape(detail)}</span>" if detail else ""
        return f"<p>{escape(words or '')}{shown}</p>"

    def _pins(self) -> list[str]:
        """Return covers and pins below the headings of their rooms; those without one come first.

        The pins of a cover have no rows of their own."""
        rooms: dict[str | None, list[str]] = {None: []}
        for cover in self.context.all_covers(self.caller):
            if not cover.hidden:
                rooms.setdefault(cover.room, []).append(self._cover_row(cover))
        for pin in self.context.pins(self.caller):
            if not pin.hidden and not pin.cover:
                rooms.setdefault(pin.room, []).append(self._row(pin))
        found = []
        for room, rows in rooms.items():
            heading = f"<h2>{escape(room)}</h2>" if room else ""
            found += [f"{heading}<table>\n{''.join(rows)}</table>"] if rows else []
        return found or [f"<p>{self._html('no_pins')}</p>"]

    def _row(self, pin: PinInfo) -> str:
        is_open = pin.kind in OPENINGS and pin.mode == "input"
        active = "alarm" if pin.kind in ALARMS else "open" if is_open else "on"
        kind = "" if pin.value is None else f" class='{active if pin.value else 'off'}'"
        state = f"<strong{kind}>{escape(self._state(pin))}</strong>"
        if pin.since and pin.value is not None:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(pin.since))
            state += f" <small>{self._html('since', time=since)}{self._source(pin)}</small>"
        if pin.value is None and pin.error_reason not in (None, "unavailable"):
            words = self._words.worded(f"error:{pin.error_reason}", pin.error_values)
            state += f"<small>: {escape(words or str(pin.error))}</small>"
        forms = "".join(self._controls(pin)) if pin.writable and pin.value is not None else ""
        rest = f"<td>{state}</td><td>{forms}</td>" if forms else f"<td colspan='2'>{state}</td>"
        return f"<tr><th>{escape(pin.label)}</th>{rest}</tr>\n"

    def _cover_row(self, cover: CoverInfo) -> str:
        found = "unknown" if cover.is_lost else cover.state
        active = {"unknown": "", "closed": " class='off'"}.get(found, " class='open'")
        words = self._words.text(f"cover_{found}")
        if cover.position is not None and 0 < cover.position < 100:
            words += f", {cover.position} %"
        if cover.waiting_goal:
            words += f", {self._words.text(f'cover_then_{cover.waiting_goal}')}"
        state = f"<strong{active}>{escape(words)}</strong>"
        if cover.since and found != "unknown":
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(cover.since))
            state += f" <small>{self._html('since', time=since)}</small>"
        if cover.problem:
            why = self._words.worded(f"error:{cover.problem_reason}", cover.problem_values)
            state += f"<small>: {escape(why or cover.problem)}</small>"
        forms = "".join(self._cover_controls(cover)) if cover.writable else ""
        rest = f"<td>{state}</td><td>{forms}</td>" if forms else f"<td colspan='2'>{state}</td>"
        return f"<tr><th>{escape(cover.label)}</th>{rest}</tr>\n"

    def _cover_controls(self, cover: CoverInfo) -> list[str]:
        """Return the forms to move a cover.

        All that it can do is offered in any state: this page may be old. A stop also drops a goal
        that waits, where it cannot stop the drive."""
        fields = self._hidden(cover=cover.name)
        has_stop = cover.can_stop or cover.waiting_goal
        names = ("open", "stop", "close") if has_stop else ("open", "close")
        found = [_form(f"{fields}{' '.join(self._button(name) for name in names)}")]
        if cover.has_position:
            name = self._html("position", label=cover.label)
            at = "" if cover.position is None else cover.position
            level = f"<input name='level' size='4' value='{at}' title='{name}'> % "
            found.append(_form(fields + level + self._button("set_position")))
        return found

    def _source(self, pin: PinInfo) -> str:
        """Return who decides the value, and until when, for HTML; "" for what needs no words."""
        source, end = pin.source, pin.until
        if source is None or source.level == "default" or pin.pulse:
            return ""
        if source.level == "manual":
            end = end or pin.next
            if not end:
                return ""
        key = source.level if end is None else f"{source.level}_until"
        day = "" if (end or 0) < time.time() + _DAY_S else "%Y-%m-%d "
        until = time.strftime(f"{day}%H:%M", time.localtime(end))
        name = (source.name or "").replace("_", " ")
        return f", {self._html(key, name=name, time=until)}"

    def _is_automatic(self, pin: PinInfo) -> bool:
        """Tell if a schedule or a rule switches the pin."""
        config = self.context.status.config
        outputs = [schedule.pins for schedule in config.schedules.values()]
        outputs += [rule.outputs for rule in config.rules.values()]
        return any(pin.name in names for names in outputs)

    def _state(self, pin: PinInfo) -> str:
        if pin.value is None:
            return self._words.text("unavailable")
        if pin.mode == "pwm" and 0 < pin.value < 1:
            return f"{_percent(pin)} %"
        if pin.words:
            return pin.words.on if pin.value else pin.words.off
        words = self._words.kind(pin)
        key = "on" if pin.value else "off"
        return words.get(key) or self._words.text(f"is_{key}")

    def _controls(self, pin: PinInfo) -> list[str]:
        """Return the forms for what the caller may do with a pin."""
        fields = self._hidden(pin=pin.name)
        first = self._press_button(pin) if pin.pulse else self._button("on")
        found = [_form(f"{fields}{first} {self._button('off')}")]
        if pin.auto and self._is_automatic(pin):
            found.append(_form(fields + self._button("auto")))
        if pin.mode == "pwm":  # a form of its own: Enter in the field presses its first button
            name = self._html("level", label=pin.label)
            level = f"<input name='level' size='4' value='{_percent(pin)}' title='{name}'> % "
            found.append(_form(fields + level + self._button("set_level")))
        return found

    def _session(self) -> str:
        """Return the form to sign in or out, "" where neither would change anything."""
        auth = self.context.auth
        role = auth.role(self.caller)
        if role:
            known = self._html(f"signed_in_{role}")
            out = _form(self._hidden() + self._button("sign_out")) if self.caller.session else ""
            return f"<p>{known}</p>{out}"
        if auth.may_view(self.caller):
            if not self.context.code_would_help(self.caller):
                return ""
            what, right = "switch_needs_code", "control"
        else:
            what, right = "needs_code", "view"
        code = "<input type='password' name='code' size='20'>"
        label = f"<label>{self._html('code')} {code}</label> "
        command = f"<code dir='ltr'>sudo raspi-server code --new {right}</code>"
        lost = fill(escape(self._words.plain["lost_code"]), {"command": command})
        form = _form(self._hidden() + label + self._button("sign_in"))
        return f"<p>{self._html(what)}</p>{form}<p><small>{lost}</small></p>"

    def _links(self, refresh: int | None) -> str:
        other = None if refresh else _REFRESH_S
        words = self._html("load_no_more" if refresh else "load_every", seconds=_REFRESH_S)
        now = f"<a href='{self._address(refresh)}'>{self._html('load_again')}</a>"
        later = f"<a href='{self._address(other)}'>{words}</a>"
        live = f"<a href='./'>{self._html('live_page')}</a>"
        return f"<ul>{''.join(f'<li>{each}</li>' for each in (now, later, live))}</ul>"

    def _button(self, what: str, words: str = "") -> str:
        shown = escape(words or self._words.text(what))
        return f"<input type='submit' name='{_BUTTON}{what}' value='{shown}'>"

    def _press_button(self, pin: PinInfo) -> str:
        return self._button("press", self._words.kind(pin).get("press", ""))

    def _hidden(self, **fields: str) -> str:
        """Return the fields of a form that nobody sees, with the token."""
        refresh = self._refresh()
        known = {"token": self._token(), **fields, **({"refresh": refresh} if refresh else {})}
        return "".join(
            f"<input type='hidden' name='{name}' value='{escape(str(value))}'>"
            for name, value in known.items()
            if value != ""
        )


def _percent(pin: PinInfo) -> str:
    return f"{(pin.value or 0) * 100:g}"


def _form(content: str) -> str:
    return f"<form method='post' action='{_PAGE}'>{content}</form>"
