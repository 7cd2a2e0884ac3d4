"""The installation's API as one person sees it; plain HTTP/1.1, no redirects, a connection a request."""

import functools
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, BinaryIO, Concatenate, Final, ParamSpec
from urllib.parse import quote, urlencode, urlsplit

import click

from scheduler.commands.logins import ClientSettings, Login, find_login
from scheduler.commands.refusals import (
    AddressInsecureError,
    AddressInvalidError,
    AnswerUnreadableError,
    RefusedError,
    ServerUnreachableError,
)

P = ParamSpec("P")
Json = Any  #: whatever JSON the endpoint is documented to answer

_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 300.0  #: a long log takes its time to be verified
_PAGE: Final = 200
_CHUNK: Final = 1 << 16
_REFUSED: Final = 300  #: every status from here on is not what was asked for


class Api:
    """Speaks to one installation, with a token or without."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Take the address apart.

        Raises:
            AddressInsecureError: plain http to another machine.
            AddressInvalidError: not an http address.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise AddressInvalidError(f"{url!r} is no address such as https://chancery.example")
        if parts.scheme == "http" and not _is_this_machine(parts.hostname):
            raise AddressInsecureError(
                f"use https for {parts.hostname}: the token would be readable"
            )
        self.url = url
        self._parts = parts
        self._token = token

    def get(self, path: str, **query: object) -> Json:
        return self.call("GET", path, query=query)

    def post(
        self, path: str, body: Mapping[str, object] | None = None, *, revision: int | None = None
    ) -> Json:
        return self.call("POST", path, body or {}, headers=_if_match(revision))

    def patch(self, path: str, body: Mapping[str, object], *, revision: int) -> Json:
        return self.call("PATCH", path, body, headers=_if_match(revision))

    def delete(self, path: str, body: Mapping[str, object] | None = None) -> None:
        self.call("DELETE", path, body)

    def items(self, path: str, *, limit: int, **query: object) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page, at most `limit` of them."""
        cursor = None
        while limit > 0:
            page = self.get(path, limit=min(limit, _PAGE), cursor=cursor, **query)
            yield from page["items"]
            limit -= len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | bytes | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Ask, and read the JSON of the answer (None when there is none).

        Raises:
            RefusedError: the API refused, with the API's own code.
            ServerUnreachableError: nobody answers.
            AnswerUnreadableError: somebody else answers.
        """
        with self._ask(method, path, body, query=query, headers=headers) as answer:
            data = answer.read()
        return _read_json(data, self.url) if data else None

    def download(
        self, path: str, to: BinaryIO, *, tell: Callable[[int], None] | None = None
    ) -> None:
        """Write the answer's bytes as they come; `tell` hears how many each time."""
        with self._ask("GET", path, None, query=None, headers=None) as answer:
            while chunk := answer.read(_CHUNK):
                to.write(chunk)
                if tell is not None:
                    tell(len(chunk))

    @contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | bytes | None,
        *,
        query: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
    ) -> Iterator[http.client.HTTPResponse]:
        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if isinstance(body, Mapping):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = self._connect()
        try:
            connection.connect()
            connection.sock.settimeout(_SILENCE_S)
            connection.request(method, self._target(path, query or {}), body, sent)
            answer = connection.getresponse()
            if answer.status >= _REFUSED:
                raise _refusal(answer, self.url)
            yield answer
        except (OSError, http.client.HTTPException) as exc:
            why = str(exc) or type(exc).__name__
            raise ServerUnreachableError(f"{self.url} does not answer: {why}") from exc
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        kind = (
            http.client.HTTPSConnection
            if self._parts.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(str(self._parts.hostname), self._parts.port, timeout=_CONNECT_S)

    def _target(self, path: str, query: Mapping[str, object]) -> str:
        asked = {name: value for name, value in query.items() if value not in (None, (), "")}
        target = f"{self._parts.path}/api/v1{quote(path)}"
        return f"{target}?{urlencode(asked, doseq=True)}" if asked else target


def needs_api(run: Callable[Concatenate[Api, P], None]) -> Callable[P, None]:
    """Give the command the API with the person's token, as its first argument."""

    @functools.wraps(run)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        run(open_api(), *args, **kwargs)

    return wrapped


def open_api() -> Api:
    login = current_login()
    return Api(login.url, login.token)


def current_login() -> Login:
    """The token that this command runs with, `--as` considered."""
    root = click.get_current_context().find_root()
    return find_login(ClientSettings(), as_person=root.params.get("as_person"))


def _if_match(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"If-Match": f'"{revision}"'}


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(answer: http.client.HTTPResponse, url: str) -> Exception:
    problem = _read_json(answer.read(), url)
    if not isinstance(problem, dict) or not {"code", "detail"} <= problem.keys():
        return AnswerUnreadableError(f"{url} answers {answer.status}, but not as Chancery does")
    return RefusedError(str(problem["detail"]), str(problem["code"]))


def _read_json(data: bytes, url: str) -> Json:
    try:
        return json.loads(data)
    except ValueError as exc:
        raise AnswerUnreadableError(f"{url} does not answer as Chancery's API does") from exc
