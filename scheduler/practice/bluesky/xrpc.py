"""XRPC as a PDS speaks it: inputs, and refusals as `{error, message}`; a bad token is a 400."""

from typing import Any, Final

from scheduler.practice.book import Book
from scheduler.practice.model import Account
from scheduler.practice.wire import Answer, Call, RefusalError, json_answer, read_json

_FAULTS: Final = {
    401: ("AuthenticationRequired", "Authentication Required"),
    403: ("Forbidden", "Forbidden"),
    404: ("NotFound", "Not Found"),
    413: ("PayloadTooLarge", "request entity too large"),
    429: ("RateLimitExceeded", "Rate Limit Exceeded"),
    500: ("InternalServerError", "Internal Server Error"),
    501: ("MethodNotImplemented", "Method Not Implemented"),
    502: ("UpstreamFailure", "Upstream Failure"),
    503: ("NotEnoughResources", "Not Enough Resources"),
    504: ("UpstreamTimeout", "Upstream Timeout"),
}


def refusal(error: str, message: str, *, status: int = 400) -> RefusalError:
    return RefusalError(json_answer({"error": error, "message": message}, status=status))


def invalid(message: str) -> RefusalError:
    return refusal("InvalidRequest", message)


def unauthorized(message: str = "Authentication Required") -> RefusalError:
    return refusal("AuthenticationRequired", message, status=401)


def fault_answer(status: int) -> Answer:
    error, message = _FAULTS.get(status, ("InvalidRequest", "Invalid Request"))
    return json_answer({"error": error, "message": message}, status=status)


def read_input(call: Call, *required: str) -> dict[str, Any]:
    """Parse the JSON input; the required properties are there, and those that are not `record` or `writes` are text."""
    if call.content_type != "application/json":
        raise invalid(f"Wrong request encoding (Content-Type): {call.content_type or 'none'}")
    try:
        value = read_json(call.body)
    except ValueError:
        raise invalid("Request body is not valid JSON") from None
    if not isinstance(value, dict):
        raise invalid("Input must be an object")
    for name in required:
        if name not in value:
            raise invalid(f'Input must have the property "{name}"')
        if name not in {"record", "writes"} and not isinstance(value[name], str):
            raise invalid(f"Input/{name} must be a string")
    return value


def param(call: Call, name: str) -> str:
    value = call.query.get(name, "")
    if not value:
        raise invalid(f'Params must have the property "{name}"')
    return value


def page_size(call: Call, *, default: int = 50, maximum: int = 100) -> int:
    text = call.query.get("limit", str(default))
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= maximum:
        raise invalid(f"limit must be an integer between 1 and {maximum}")
    return int(text)


def find_account(book: Book, name: str) -> Account | None:
    """By DID or by handle."""
    return book.accounts.get(name) or book.account_by_handle(name)


def require(account: Account | None) -> Account:
    if account is None:
        raise unauthorized()
    return account
