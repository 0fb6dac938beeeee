"""Error codes of requests and commands, the HTTP status of each, and RequestError."""

from typing import Annotated, Literal, NamedTuple

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
    "conflict",  # what it is about is in a state that does not allow it
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
    "conflict": 409,
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

NoticeCode = Literal["configuration", "simulated", "certificate", "open", "clock"]
Values = dict[str, str | int | float]
"""What fills the braces of a message."""

REASONS: dict[str, tuple[ErrorCode, str]] = {
    # Pins
    "unknown-pin": ("unknown-pin", "there is no pin '{name}'"),
    "not-writable": ("not-writable", "{label} is an input"),
    "not-simulated": ("not-simulated", "{label} is a real pin; drive needs a simulated one"),
    "not-an-input": ("bad-value", "{label} is not an input: expected set, toggle or pulse"),
    "not-0-or-1": ("bad-value", "{label}: expected 0 or 1, got {got}"),
    "out-of-range": (
        "bad-value",
        "{label}: expected a number from {minimum} to {maximum}, got {got}",
    ),
    "no-pulse": ("bad-value", "{label}: expected an output; a pwm pin has no pulse"),
    "no-seconds": (
        "bad-value",
        "{label}: expected seconds, since the pin has no pulse in config.yaml",
    ),
    "unknown-schedule": ("not-found", "there is no schedule '{name}'"),
    "unknown-rule": ("not-found", "there is no rule '{name}'"),
    "pulse-length": ("bad-value", "{label}: expected {minimum} to {maximum} seconds, got {got}"),
    "line-in-use": ("unavailable", "GPIO{gpio} is in use by {holder}"),
    "line-failed": ("unavailable", "{why}"),
    "server-stopping": ("unavailable", "the server is stopping"),
    "group-unavailable": ("unavailable", "{other} of the same group is unavailable"),
    "other-switched-on": (
        "superseded",
        "not switched on: another output of its group was switched on",
    ),
    "other-goes-first": ("superseded", "not switched on: another output of its group goes first"),
    "other-joined": (
        "superseded",
        "not switched on: another output joined its group, and may have been on until now",
    ),
    "switched-off": ("superseded", "not switched on: it was switched off"),
    "pin-lost": ("superseded", "not switched on: its pin became unavailable or was removed"),
    "stopped": ("superseded", "not switched on: the server is stopping"),
    # Covers
    "unknown-cover": ("not-found", "there is no cover '{name}'"),
    "cover-output": ("conflict", "{label} belongs to {cover}, which is moved as a whole"),
    "cover-state-unknown": ("conflict", "{label}: its state is not known, so it is not moved"),
    "cover-direction-unknown": (
        "conflict",
        "{label} rests between its ends, and a press could move it the wrong way: move it to an end"
        " by hand",
    ),
    "cover-cannot-stop": ("conflict", "{label} cannot be stopped while it moves this way"),
    "cover-no-position": ("bad-value", "{label} can be opened and closed only"),
    "cover-position-range": ("bad-value", "{label}: expected a position from 0 to 100, got {got}"),
    "cover-not-confirmed": ("conflict", "{contact} did not confirm it within {seconds} s"),
    "cover-contacts-both": ("conflict", "{closed} and {opened} are active at the same time"),
    "cover-contact-unavailable": ("conflict", "the contact {contact} is unavailable"),
    "cover-output-failed": ("conflict", "the output {output} failed while it moved"),
    "cover-output-unavailable": ("conflict", "the output {output} is unavailable"),
    # Rights
    "foreign": ("foreign", "{why}"),
    "view-needs-code": ("sign-in", "viewing needs an access code"),
    "no-view-code": ("sign-in", "viewing needs an access code, and none exists yet ({command})"),
    "switching-needs-code": ("sign-in", "switching {label} needs the control code"),
    "no-control-code": (
        "sign-in",
        "switching {label} needs the control code, and none exists yet ({command})",
    ),
    "clock-needs-code": ("sign-in", "trusting the clock needs the control code"),
    "no-clock-code": (
        "sign-in",
        "trusting the clock needs the control code, and none exists yet ({command})",
    ),
    "fleet-needs-code": ("sign-in", "switching {label} of {pi} needs the control code of this Pi"),
    "no-fleet-code": (
        "sign-in",
        "switching {label} of {pi} needs the control code of this Pi, and none exists yet"
        " ({command})",
    ),
    "nobody": ("not-allowed", "nobody may switch {label} ({key}: nobody)"),
    "fleet-nobody": (
        "not-allowed",
        "nobody may switch other Pis from here (access.control: nobody)",
    ),
    "session-ended": ("sign-in", "signed out, or the code was replaced: sign in again"),
    "wrong-code": ("sign-in", "this is not the code"),
    "wrong-codes": ("too-fast", "too many wrong codes: try again in {seconds} s"),
    "slow-codes": (
        "too-fast",
        "too many codes to check: try again in a minute, or make a link that needs none: {command}",
    ),
    "used-link": (
        "sign-in",
        "this link was used or is older than 15 minutes; {command} shows a fresh one",
    ),
    "link-failed": ("unavailable", "the link could not be used: {why}; open it again"),
    "old-form": ("foreign", "this form was too old, or this browser keeps no cookies: try again"),
    "too-many-connections": ("too-fast", "this address has too many connections"),
    # Other Pis
    "unknown-pi": ("not-found", "there is no Pi at '{pi}'"),
    "unknown-fleet-pin": ("unknown-pin", "{pi} has no pin '{name}'"),
    "unknown-fleet-cover": ("not-found", "{pi} has no cover '{name}'"),
    "fleet-input": ("not-writable", "{label} of {pi} is an input"),
    "takes-no-commands": ("not-allowed", "{pi} accepts no commands from the broker for {label}"),
    "pi-offline": ("unavailable", "{pi} is offline: nothing was sent"),
    "pi-not-back": (
        "unavailable",
        "{pi} has not reconnected to the broker yet: nothing was sent",
    ),
    "pi-silent": ("no-answer", "{pi} did not answer within {seconds} s"),
    "broker-unreachable": ("unavailable", "the broker is unreachable: nothing was sent"),
    "broker-slow": ("unavailable", "the broker is too slow: nothing was sent"),
    "broker-lost": ("no-answer", "the connection to the broker ended before the answer came"),
    "broker-forbids": ("not-allowed", "{why}"),
}
"""Reasons of errors that pages put into words in every language.

Each has its code, and its English message with the names of its values in braces. A page has its
own words for each reason, and for each code: an error with another text has its code as reason."""

NOTICES: dict[str, tuple[NoticeCode, str]] = {
    # For callers that may not switch, and for clients of the broker.
    "configuration": (
        "configuration",
        "config.yaml has errors, so an earlier one runs: {command} says which",
    ),
    "configuration-error": ("configuration", "{why}"),
    "simulated": ("simulated", "The pins are simulated: nothing real is read or switched"),
    "open": ("open", "Everyone on this network may switch the pins (access.control: everyone)"),
    "clock-unknown": (
        "clock",
        "The Pi does not know the time yet (its clock says {clock}), so schedules rest",
    ),
    "certificate-expired": ("certificate", "the certificate has expired"),
    "certificate-early": ("certificate", "the certificate is not yet valid, or the clock is wrong"),
    "certificate-faulty": ("certificate", "the certificate is not in order: {why}"),
}
"""Reasons of notices, as REASONS has those of errors."""


class Reason(NamedTuple):
    """Why something failed: a name of REASONS or NOTICES, or a code, and the values of its message.

    As text it is the English message."""

    name: str
    message: str
    values: Values = {}

    def __str__(self) -> str:
        return self.message


def reason(name: str, /, **values: str | int | float) -> Reason:
    """Return one of REASONS or NOTICES with its values."""
    _, message = REASONS.get(name) or NOTICES[name]
    return Reason(name, message.format(**values), values)


class RequestError(Exception):
    """A request or command that is rejected: a `code` for programs, and a sentence for people.

    `reason` and `values` are for pages that have own words for it. `ref` is the command's
    reference, or None if it had none that is valid."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        ref: Ref | None = None,
        reason: str = "",
        values: Values | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message
        self.ref = ref
        self.reason = reason or code
        self.values = values or {}


def refusal(name: str, ref: Ref | None = None, /, **values: str | int | float) -> RequestError:
    """Return the error for one of REASONS, with its values."""
    why = reason(name, **values)
    return RequestError(REASONS[name][0], why.message, ref, name, why.values)
