"""Every deliberate refusal of the application, each with a code that scripts may rely on.

A refusal is a `ChanceryError` subclass with a stable `code` (`noun_reason`, lower case). The edge maps it: one line on
stderr and exit status 1 in the command, `application/problem+json` with `status` in the API.
"""

from typing import ClassVar


class ChanceryError(Exception):
    """A refusal: the message says what is wrong and what to do; nothing was changed."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400  #: the HTTP status the API answers with

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details  #: machine-readable facts, JSON types only; never a secret


class NotFoundError(ChanceryError):
    """Not there, or outside of what the person may see: the two are not told apart."""

    code = "not_found"
    status = 404


class ForbiddenError(ChanceryError):
    code = "forbidden"
    status = 403


class UnauthenticatedError(ChanceryError):
    code = "unauthenticated"
    status = 401


class ConflictError(ChanceryError):
    code = "conflict"
    status = 409


class InvalidError(ChanceryError):
    """The input breaks a rule; `details` may name the field."""

    code = "invalid"
    status = 422


class UnavailableError(ChanceryError):
    """A part the application needs is away; trying later may work."""

    code = "unavailable"
    status = 503
