"""Error codes of requests and commands, the HTTP status of each, and RequestError."""

from typing import Annotated, Literal

from msgspec import Meta

Ref = Annotated[int, Meta(ge=1 - 2**53, le=2**53 - 1)] | Annotated[str, Meta(max_length=64)]
"""The reference that a client gives to a command; numbers as far as JavaScript holds them."""

ErrorCode = Literal[
    "bad-message",  # not JSON, not an object, a missing or unknown field, a wrong type
    "sign-in",  # needs a code
    "foreign",  # a request from a page of another site
    "not-allowed",
    "not-simulated",  # `drive` on a real pin
    "not-writable",  # an input
    "not-found",
    "unknown-pin",
    "method",
    "superseded",  # another command replaced it while it waited
    "unavailable",  # the pin could not be opened, or failed
    "too-large",
    "unknown-host",
    "bad-value",  # a value the pin cannot take
    "too-fast",
    "https-only",  # plain http where https is on
    "no-answer",  # a command to another Pi that did not answer in time: its effect is unknown
    "internal",
]

STATUS: dict[ErrorCode, int] = {
    "bad-message": 400,
    "sign-in": 401,
    "foreign": 403,
    "not-allowed": 403,
    "not-simulated": 403,
    "not-writable": 403,
    "not-found": 404,
    "unknown-pin": 404,
    "method": 405,
    "superseded": 409,
    "unavailable": 409,
    "too-large": 413,
    "unknown-host": 421,
    "bad-value": 422,
    "too-fast": 429,
    "https-only": 403,
    "internal": 500,
    "no-answer": 504,
}
"""The HTTP status of each error code."""


class RequestError(Exception):
    """A request or command that is rejected: a `code` for programs, and a sentence for people.

    `ref` is the command's reference, or None if it had none that is valid."""

    def __init__(self, code: ErrorCode, message: str, ref: Ref | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.ref = ref
