"""What to do next after a platform said no: five errors, one for each decision of the engine."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

Evidence = Mapping[str, str | int]

_NONE: Evidence = MappingProxyType({})


class AdapterError(Exception):
    """Base of the five; the message is fit for a person and never holds a secret.

    `code` is stable and lower case. `evidence` holds the HTTP status, the endpoint's path, milliseconds, and the
    SHA-256 of the answer, never its text.
    """

    def __init__(self, message: str, *, code: str, evidence: Evidence = _NONE) -> None:
        super().__init__(message)
        self.code = code
        self.evidence = evidence


class UnavailableError(AdapterError):
    """Definitely nothing published: the same step may be tried again later."""


class RateLimitedError(AdapterError):
    """The platform asks us to wait `retry_after`; nothing was published and no attempt is spent."""

    def __init__(
        self, message: str, *, code: str, retry_after: timedelta, evidence: Evidence = _NONE
    ) -> None:
        super().__init__(message, code=code, evidence=evidence)
        self.retry_after = retry_after


class CredentialsRejectedError(AdapterError):
    """The account cannot act; `session_only` means that `refresh` may mend it without a person."""

    def __init__(
        self, message: str, *, code: str, session_only: bool = False, evidence: Evidence = _NONE
    ) -> None:
        super().__init__(message, code=code, evidence=evidence)
        self.session_only = session_only


class ContentRejectedError(AdapterError):
    """Definitely refused for what it says or shows: trying again cannot help."""


class OutcomeUnknownError(AdapterError):
    """The post may be public: look before anything else is done."""
