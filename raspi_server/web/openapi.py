"""The OpenAPI description of the API, made from the structs and handlers that answer."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ..errors import STATUS, ErrorCode
from ..messages import ErrorAnswer

MethodName = str


class Operation(NamedTuple):
    """One method of one path.

    - `body` and `query`: the structs of the body and the query that it takes, if any.
    - `answer`: the struct that it answers with, under one of `statuses`; None for another JSON
      document.
    - `also`: another content type of its answer, the only one if `answer` is None.
    - `answer_without_view`: the struct for callers that may not view, where they get an answer.
    - `errors`: its error codes beyond those of every request.
    """

    summary: str
    answer: type[Struct] | None
    body: type[Struct] | None = None
    body_required: bool = True
    errors: tuple[ErrorCode, ...] = ()
    statuses: tuple[int, ...] = (200,)
    query: type[Struct] | None = None
    also: str | None = None
    answer_without_view: type[Struct] | None = None


Described = Iterable[tuple[str, Mapping[MethodName, Operation]]]
"""Path templates such as `/api/pins/{name}`, each with its operations by lower-case method."""

_COMMON_ERRORS: tuple[ErrorCode, ...] = (
    "bad-message",
    "sign-in",
    "method",
    "too-large",
    "unknown-host",
    "too-fast",
)
"""Errors of every request."""


def document(paths: Described, version: str) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document."""
    described = [(path, dict(operations)) for path, operations in paths]
    structs = {
        struct
        for _, operations in described
        for operation in operations.values()
        for struct in (operation.answer, operation.answer_without_view, operation.body, ErrorAnswer)
        if struct is not None
    }
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    _, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "raspi-server", "version": version},
        "servers": [{"url": ".."}],  # relative to /api/openapi.json, also below a proxy's path
        "paths": {path: _path(path, operations) for path, operations in described},
        "components": {"schemas": components},
    }


def _path(path: str, operations: Mapping[MethodName, Operation]) -> dict[str, Any]:
    found: dict[str, Any] = {method: _operation(path, op) for method, op in operations.items()}
    names = re.findall(r"{(\w+)}", path)
    if names:
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    return found


def _operation(path: str, operation: Operation) -> dict[str, Any]:
    statuses: dict[int, list[str]] = {}
    for code in (*_COMMON_ERRORS, *operation.errors):
        statuses.setdefault(STATUS[code], []).append(code)
    found: dict[str, Any] = {"summary": operation.summary, "responses": {}}
    for status in operation.statuses:
        is_json = operation.answer is not None or operation.also is None
        content = _content(operation.answer, operation.answer_without_view) if is_json else {}
        if operation.also:
            content[operation.also] = {"schema": {"type": "string"}}
        answer = {"description": HTTPStatus(status).phrase, "content": content}
        found["responses"][str(status)] = answer
    for status, codes in sorted(statuses.items()):
        error = {"description": ", ".join(codes), "content": _content(ErrorAnswer)}
        found["responses"][str(status)] = error
    if operation.query:
        found["parameters"] = _parameters(operation.query)
    if operation.body:
        found["requestBody"] = {
            "required": operation.body_required,
            "content": _content(operation.body),
        }
    return found


def _parameters(query: type[Struct]) -> list[dict[str, Any]]:
    (_,), components = msgspec.json.schema_components([query])
    properties = components[query.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": form} for name, form in properties.items()]


def _content(*structs: type[Struct] | None) -> dict[str, Any]:
    """Return the schema of JSON of one of the structs, or of any object where there is none."""
    refs = [{"$ref": f"#/components/schemas/{struct.__name__}"} for struct in structs if struct]
    schema = {"anyOf": refs} if len(refs) > 1 else refs[0] if refs else {"type": "object"}
    return {"application/json": {"schema": schema}}
