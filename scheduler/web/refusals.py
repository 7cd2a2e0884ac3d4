"""What the edge refuses before any rule of the ministry is asked, each with its stable code."""

from scheduler.errors import (
    ChanceryError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
)


class TokenMissingError(UnauthenticatedError):
    """The request carries no `Authorization: Bearer TOKEN`."""

    code = "token_missing"


class RouteUnknownError(NotFoundError):
    code = "route_unknown"


class MethodNotAllowedError(ChanceryError):
    """The address exists, but not for this method; the header `Allow` names those that do."""

    code = "method_not_allowed"
    status = 405


class JsonInvalidError(ChanceryError):
    """Not JSON in UTF-8 without a byte order mark."""

    code = "json_invalid"


class JsonDuplicateKeyError(JsonInvalidError):
    """Two readers could understand an object with a key given twice in two ways."""

    code = "json_duplicate_key"


class JsonTooDeepError(JsonInvalidError):
    code = "json_too_deep"


class JsonNumberError(JsonInvalidError):
    """A number that not every reader understands alike: NaN, an infinity, or an integer beyond 2^53."""

    code = "json_number"


class BodyTooLargeError(ChanceryError):
    code = "body_too_large"
    status = 413


class BodySlowError(ChanceryError):
    """The body did not arrive in time."""

    code = "body_slow"
    status = 408


class ContentTypeError(ChanceryError):
    code = "content_type_unsupported"
    status = 415


class ContentEncodingError(ContentTypeError):
    """A compressed body; its size would be unknown until it is unpacked."""

    code = "content_encoding_unsupported"


class BodyInvalidError(InvalidError):
    """The body is JSON, but not of the documented form; `errors` names every field."""

    code = "body_invalid"


class FieldUnknownError(BodyInvalidError):
    """A field that is not documented, perhaps misspelt: ignoring it would do less than was asked."""

    code = "field_unknown"


class QueryInvalidError(InvalidError):
    """A query parameter is unknown, given twice or not of the documented form; `errors` names it."""

    code = "query_invalid"


class CursorGoneError(InvalidError):
    """What the cursor points at is no longer in the list; start again without it."""

    code = "cursor_gone"


class IfMatchMissingError(ChanceryError):
    """A change says which revision it is meant for, so that nobody overwrites what they have not read."""

    code = "if_match_missing"
    status = 428


class IfMatchInvalidError(InvalidError):
    code = "if_match_invalid"


class IdempotencyKeyInvalidError(InvalidError):
    code = "idempotency_key_invalid"


class IdempotencyKeyReusedError(InvalidError):
    """The key belongs to another request of yours."""

    code = "idempotency_key_reused"


class IdempotencyKeyInUseError(ConflictError):
    """Another request with this key is being answered now; ask again for its answer."""

    code = "idempotency_key_in_use"


class AnswerShownOnceError(ConflictError):
    """The first answer held a secret, which is not kept, not even for a repeated request."""

    code = "answer_shown_once"


class TooManyTriesError(ChanceryError):
    code = "too_many_tries"
    status = 429


class RaceLostError(ConflictError):
    """Somebody else wrote the same thing at the same moment; look again."""

    code = "race_lost"


class InternalFaultError(ChanceryError):
    """A fault of ours: the log has it under the request id; what the request wanted was not done."""

    code = "internal_error"
    status = 500
