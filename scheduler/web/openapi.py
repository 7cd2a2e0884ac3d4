"""The OpenAPI 3.1 document, made from the routes and from the models that validate and answer."""

from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from scheduler.db.uow import DatabaseUnavailableError
from scheduler.domain.people import (
    ApprovalsSuspendedError,
    GrantTooYoungError,
    PermissionDeniedError,
    ScopeDeniedError,
)
from scheduler.domain.text import TextControlError, TextSurrogateError
from scheduler.errors import ChanceryError, NotFoundError
from scheduler.services.tokens import TokenRejectedError
from scheduler.web import problems
from scheduler.web.idempotency import HEADER, REPLAY_HEADER
from scheduler.web.paging import Paging
from scheduler.web.refusals import (
    AnswerShownOnceError,
    BodyInvalidError,
    BodySlowError,
    BodyTooLargeError,
    ContentEncodingError,
    ContentTypeError,
    CursorGoneError,
    FieldUnknownError,
    IdempotencyKeyInUseError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
    IfMatchInvalidError,
    IfMatchMissingError,
    JsonDuplicateKeyError,
    JsonInvalidError,
    JsonNumberError,
    JsonTooDeepError,
    QueryInvalidError,
    RaceLostError,
    TokenMissingError,
)
from scheduler.web.routing import CODE, SHA256, Raw, Route, Unit

PREFIX: Final = "/api/v1"
_REF: Final = "#/components/schemas/{model}"
_BODY_ERRORS: Final = (BodyTooLargeError, BodySlowError, ContentTypeError, ContentEncodingError)
_JSON_ERRORS: Final = (
    JsonInvalidError,
    JsonDuplicateKeyError,
    JsonTooDeepError,
    JsonNumberError,
    BodyInvalidError,
    FieldUnknownError,
    TextSurrogateError,
    TextControlError,
)
_ENTRY_ERRORS: Final = (
    TokenMissingError,
    TokenRejectedError,
    PermissionDeniedError,
    GrantTooYoungError,
    ApprovalsSuspendedError,
    ScopeDeniedError,
)
_KEY_ERRORS: Final = (
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
    IdempotencyKeyInUseError,
)
_BINARY: Final = {"type": "string", "format": "binary"}
_PATH_SCHEMAS: Final = {
    "sha256": {"type": "string", "pattern": SHA256},
    "seq": {"type": "integer", "minimum": 0},
    "code": {"type": "string", "pattern": CODE},
}
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457; further members tell the details of the code.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; scripts may rely on it."},
        "detail": {"type": "string"},
    },
}


def build_document(routes: Sequence[Route], *, version: str, server: str) -> dict[str, Any]:
    """The whole document, as JSON values."""
    schemas, refs = _collect_schemas(routes)
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes:
        paths[PREFIX + route.path][route.method.lower()] = _operation(route, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Chancery",
            "version": version,
            "description": "Posts of a foreign ministry: written, approved, published and proved.",
        },
        "servers": [{"url": server}],
        "security": [{"token": []}],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas, "Problem": _PROBLEM},
        },
    }


def find_errors(route: Route) -> tuple[type[ChanceryError], ...]:
    """Every refusal a caller of the route may meet."""
    groups = (
        (True, (*route.errors, QueryInvalidError, DatabaseUnavailableError)),
        (route.unit is not Unit.NONE, _ENTRY_ERRORS),
        (route.body is not None, (*_BODY_ERRORS, *_JSON_ERRORS)),
        (bool(route.raw_types), _BODY_ERRORS),
        (route.query is not None and issubclass(route.query, Paging), (CursorGoneError,)),
        (route.if_match, (IfMatchMissingError, IfMatchInvalidError)),
        (route.is_repeatable, (*_KEY_ERRORS, RaceLostError)),
        (route.answer_shown_once, (AnswerShownOnceError,)),
        ("{" in route.path, (NotFoundError,)),
    )
    return tuple(dict.fromkeys(error for applies, errors in groups if applies for error in errors))


def _collect_schemas(routes: Sequence[Route]) -> tuple[dict[str, Any], dict[Any, Any]]:
    wanted: dict[tuple[type[BaseModel], Any], None] = {}
    for route in routes:
        for model in (route.body, route.query):
            if model is not None:
                wanted[model, "validation"] = None
        if _is_model(route.answer):
            wanted[route.answer, "serialization"] = None
    refs, definitions = models_json_schema(list(wanted), ref_template=_REF)
    return definitions.get("$defs", {}), refs


def _operation(route: Route, refs: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.noun],
        "summary": route.summary,
        "description": f"Needs: {route.needs}.",
        "parameters": _parameters(route),
        "responses": {str(route.status): _success(route, refs), **_failures(route)},
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": bool(route.body.model_json_schema().get("required")),
            "content": {"application/json": {"schema": refs[route.body, "validation"]}},
        }
    if route.raw_types:
        content = {each: {"schema": _BINARY} for each in route.raw_types}
        operation["requestBody"] = {"required": True, "content": content}
    if route.unit is Unit.NONE:
        operation["security"] = []
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]
    found = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _PATH_SCHEMAS.get(name, {"type": "string", "format": "uuid"}),
        }
        for name in names
    ]
    if route.query is not None:
        found += _query_parameters(route.query)
    if route.if_match:
        found.append(_header("If-Match", r'^"[1-9][0-9]{0,8}"$', required=True))
    if route.is_repeatable:
        found.append(_header(HEADER, r"^[!-~]([ -~]{0,198}[!-~])?$", required=False))
    return found


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=_REF)
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _inlined(each, definitions),
        }
        for name, each in schema["properties"].items()
    ]


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON Schema
    """The schema with its references to enums filled in, and without null: a query cannot say it."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].rpartition("/")[2]]
    if {"type": "null"} in schema.get("anyOf", []):
        [present] = [each for each in schema["anyOf"] if each != {"type": "null"}]
        return _inlined(present, definitions)
    return {key: _inlined(each, definitions) for key, each in schema.items() if key != "default"}


def _header(name: str, pattern: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "schema": {"type": "string", "pattern": pattern},
    }


def _success(route: Route, refs: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": route.summary}
    if _is_model(route.answer):
        schema = refs[route.answer, "serialization"]
        described["content"] = {"application/json": {"schema": schema}}
    elif route.answer is Raw:
        described["content"] = {each: {"schema": _BINARY} for each in route.answer_types}
    if route.is_repeatable:
        described["headers"] = {REPLAY_HEADER: {"schema": {"type": "string", "const": "true"}}}
    return described


def _failures(route: Route) -> dict[str, Any]:
    codes: dict[int, list[str]] = defaultdict(list)
    for error in find_errors(route):
        codes[error.status].append(error.code)
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(sorted(codes[status]))}.",
            "content": {problems.CONTENT_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        for status in sorted(codes)
    }


def _is_model(answer: Any) -> bool:  # noqa: ANN401 - any annotation
    return isinstance(answer, type) and issubclass(answer, BaseModel)
