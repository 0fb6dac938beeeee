"""The history of the pins over HTTP: JSON for pages, CSV for spreadsheets."""

import asyncio
import csv
import io
import time
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..errors import RequestError
from ..messages import HistoryAnswer, PinHistoryAnswer, Value
from ..system.clock import wall_time
from .api import ApiHandler
from .openapi import Operation

Seconds = Annotated[float, Meta(ge=1, le=86400)]
_SECONDS = "seconds from 1 to 86400"
_Query = TypeVar("_Query", bound=Struct)


class Span(Struct, frozen=True):
    """The query of the history of all pins."""

    seconds: Seconds = 300


class PinSpan(Struct, frozen=True):
    """The query of the history of one pin.

    By default it asks for all that is kept, in the form that `Accept` prefers.
    """

    seconds: Seconds | UnsetType = UNSET
    format: Literal["json", "csv"] | UnsetType = UNSET


class AllHistory(ApiHandler):
    """`/api/history`."""

    operations = {
        "get": Operation(
            "The last seconds of every pin", HistoryAnswer, query=Span, errors=("bad-value",)
        )
    }

    async def get(self) -> None:
        """Answer with the last `seconds` of all pins. Raises RequestError."""
        seconds = _query(self, Span, _SECONDS).seconds
        now = time.monotonic()
        histories = {}
        for pin, history in self.context.history.of_all(now, seconds):
            histories[pin] = history
            # One may hold a thousand changes: let edges and ticks run in between.
            await asyncio.sleep(0)
        self.answer(HistoryAnswer(wall_time(now), histories))

    head = get


class OneHistory(ApiHandler):
    """`/api/pins/NAME/history`."""

    operations = {
        "get": Operation(
            "The last seconds of one pin, or all that is kept",
            PinHistoryAnswer,
            query=PinSpan,
            also="text/csv",
            errors=("unknown-pin", "bad-value"),
        )
    }

    def get(self, name: str) -> None:
        """Answer with the history of the pin, as JSON or CSV. Raises RequestError."""
        asked = _query(self, PinSpan, f"{_SECONDS}, format json or csv")
        now = time.monotonic()
        pin = self.context.board[name].config.name
        history = self.context.history.of(
            pin, now, None if asked.seconds is UNSET else asked.seconds
        )
        found = PinHistoryAnswer(
            time=wall_time(now),
            pin=pin,
            since=history.since,
            value=history.value,
            changes=history.changes,
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
        """Return True if `Accept` prefers CSV to JSON."""
        qualities = {"text/csv": 0.0, "application/json": 0.0}
        for part in self.request.headers.get("Accept", "").lower().split(","):
            kind, *parameters = (each.strip() for each in part.split(";"))
            quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
            if kind in qualities and quality.replace(".", "", 1).isdecimal():
                qualities[kind] = float(quality)
        return qualities["text/csv"] > qualities["application/json"]


def _query(handler: ApiHandler, kind: type[_Query], expected: str) -> _Query:
    """Read the query; unknown names are ignored. Raises RequestError."""
    asked = {name: values[-1] for name, values in handler.request.query_arguments.items()}
    try:
        texts = {name: value.decode() for name, value in asked.items()}
        return msgspec.convert(texts, kind, strict=False)
    except ValueError:
        sent = handler.request.query[:100]
        raise RequestError("bad-value", f"expected {expected}, got {sent}") from None


def _as_csv(history: PinHistoryAnswer) -> str:
    """Return CSV (RFC 4180): the value before the first change, then each change, a line each.

    No cell can begin like a formula. All are numbers, names of pins, addresses or our own words.
    """
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
    """Return Unix time as ISO 8601 in UTC, to the millisecond."""
    shown = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")
