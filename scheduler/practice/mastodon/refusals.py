"""Mastodon's refusals, word for word, https://docs.joinmastodon.org/entities/Error/."""

from scheduler.practice.model import Account
from scheduler.practice.wire import Answer, Call, Form, RefusalError, json_answer, read_form


def refusal(status: int, error: str, **headers: str) -> RefusalError:
    return RefusalError(json_answer({"error": error}, status=status, headers=headers))


def unprocessable(error: str) -> RefusalError:
    return refusal(422, error)


def invalid(*problems: str) -> RefusalError:
    return unprocessable("Validation failed: " + ", ".join(problems))


def not_found() -> RefusalError:
    return refusal(404, "Record not found")


def unauthorized(description: str) -> RefusalError:
    challenge = (
        f'Bearer realm="Doorkeeper", error="invalid_token", error_description="{description}"'
    )
    return refusal(401, description, **{"WWW-Authenticate": challenge})


def fields(call: Call) -> Form:
    try:
        return read_form(call)
    except ValueError:
        raise RefusalError(
            json_answer({"status": 400, "error": "Bad Request"}, status=400)
        ) from None


def fault_answer(status: int) -> Answer:
    words = {
        404: "Record not found",
        429: "Too many requests",
        403: "This action is not allowed",
        401: "The access token is invalid",
        503: "There was a temporary problem serving your request, please try again",
    }
    if status >= 500 and status != 503:  # noqa: PLR2004 - the web server answers, not the application
        page = "<!doctype html><title>We're sorry, but something went wrong (500)</title>"
        return Answer(status=status, body=page.encode(), content_type="text/html; charset=utf-8")
    return json_answer({"error": words.get(status, "This request was refused")}, status=status)


def require(account: Account | None) -> Account:
    """The caller, once `check_token` let the call pass."""
    if account is None:
        raise unauthorized("The access token is invalid")
    return account
