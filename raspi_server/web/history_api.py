"""The past of the pins over HTTP: JSON for pages, CSV for spreadsheets."""

import asyncio
import csv
import io
import time
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from .. import messages
from ..messages import PinHistory, Refused, Value
from ..system.clock import wall_time
from .api import ApiHandler
from .openapi import Operation

Seconds = Annotated[float, Meta(ge=1, le=86400)]
_SECONDS = "seconds from 1 to 86400"
_Query = TypeVar("_Query", bound=Struct)


class Span(Struct, frozen=True):
    seconds: Seconds = 300


class PinSpan(Struct, frozen=True):
    """Everything that is kept, and what `Accept` asks for, unless something else is said."""

    seconds: Seconds | UnsetType = UNSET
    format: Literal["json", "csv"] | UnsetType = UNSET


class AllHistory(ApiHandler):
    operations = {
        "get": Operation(
            "The last seconds of every pin", messages.History, query=Span, refusals=("bad-value",)
        )
    }

    async def get(self) -> None:
        seconds = _query(self, Span, _SECONDS).seconds
        now = time.monotonic()
        pasts = {}
        for pin, past in self.site.history.of_all(now, seconds):
            pasts[pin] = past
            await asyncio.sleep(0)  # a thousand changes may be in one: edges and ticks go between
        self.answer(messages.History(wall_time(now), pasts))

    head = get


class OneHistory(ApiHandler):
    operations = {
        "get": Operation(
            "The last seconds of one pin, or all that is kept",
            PinHistory,
            query=PinSpan,
            also="text/csv",
            refusals=("unknown-pin", "bad-value"),
        )
    }

    def get(self, name: str) -> None:
        asked = _query(self, PinSpan, f"{_SECONDS}, format json or csv")
        now = time.monotonic()
        pin = self.site.board[name].config.name
        past = self.site.history.of(pin, now, None if asked.seconds is UNSET else asked.seconds)
        found = PinHistory(
            time=wall_time(now),
            pin=pin,
            since=past.since,
            value=past.value,
            changes=past.changes,
        )
        wants_csv = self._prefers_csv() if asked.format is UNSET else asked.format == "csv"
        if not wants_csv:
            self.answer(found)
            return
        file = f"{pin}-{_iso(found.time)[:19].replace(':', '')}.csv"
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{file}"')
        self.finish(_as_csv(found))

    head = get

    def _prefers_csv(self) -> bool:
        """Whether `Accept` names CSV before JSON."""
        qualities = {"text/csv": 0.0, "application/json": 0.0}
        for part in self.request.headers.get("Accept", "").lower().split(","):
            kind, *parameters = (each.strip() for each in part.split(";"))
            quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
            if kind in qualities and quality.replace(".", "", 1).isdecimal():
                qualities[kind] = float(quality)
        return qualities["text/csv"] > qualities["application/json"]


def _query(handler: ApiHandler, kind: type[_Query], expected: str) -> _Query:
    """What stands behind the question mark, other names passed over. Raises Refused."""
    asked = {name: values[-1] for name, values in handler.request.query_arguments.items()}
    try:
        texts = {name: value.decode() for name, value in asked.items()}
        return msgspec.convert(texts, kind, strict=False)
    except ValueError as error:
        raise Refused("bad-value", f"expected {expected}: {error}"[:300]) from None


def _as_csv(history: PinHistory) -> str:
    """A line for each change, after one for what it was before them (RFC 4180). No cell can begin
    as a formula does: they are numbers of our own, names of pins, addresses and our own words."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["time", "unix", "pin", "value", "by"])
    lines.writerow(_cells(history.pin, history.since, history.value, None))
    for change in history.changes:
        lines.writerow(_cells(history.pin, change.time, change.value, change.by))
    return text.getvalue()


def _cells(pin: str, moment: float, value: Value, by: str | None) -> list[str]:
    shown = "" if value is None else f"{value:.6g}"
    return [_iso(moment), f"{moment:.6f}", pin, shown, by or ""]


def _iso(moment: float) -> str:
    """Unix time as ISO 8601 in UTC, to the millisecond."""
    shown = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")
