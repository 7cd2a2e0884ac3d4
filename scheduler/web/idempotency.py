"""`Idempotency-Key` on POST: the answer is stored in the transaction of the effect and given again for 24 hours.

So there is never one without the other. Refusals are not stored: they changed nothing, and the request may be repeated.
Where a handler waits between units of its own, the answer is stored after the last; what it does is unique by itself.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiohttp import web
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from scheduler.db.tables import IdempotencyRecord
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.web.refusals import (
    AnswerShownOnceError,
    IdempotencyKeyInUseError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
)

HEADER: Final = "Idempotency-Key"
REPLAY_HEADER: Final = "Idempotent-Replay"
LIFETIME: Final = timedelta(hours=24)
_KEY: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?")
_KEPT_HEADERS: Final = ("Content-Type", "ETag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """What makes two requests the same one."""

    key_sha256: str
    request_sha256: str  #: keyed, because a body may hold a password that could be guessed


def find_repetition(request: web.Request, body: bytes, secret: bytes) -> Repetition | None:
    """Read the key; None without one.

    Raises:
        IdempotencyKeyInvalidError: empty, over 200 characters or not printable ASCII.
    """
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise IdempotencyKeyInvalidError(
            f"{HEADER} is one value of 1 to 200 printable ASCII characters"
        )
    parts = (request.method, request.raw_path, request.headers.get("If-Match", ""))
    head = "\n".join(parts).encode("utf-8", "surrogateescape")
    return Repetition(
        key_sha256=hashlib.sha256(given[0].encode()).hexdigest(),
        request_sha256=hmac.new(secret, head + b"\0" + body, hashlib.sha256).hexdigest(),
    )


async def recall(uow: UnitOfWork, actor: Actor, repetition: Repetition) -> web.Response | None:
    """The stored answer, when this person's request was answered in the last 24 hours.

    Raises:
        IdempotencyKeyReusedError: the key belongs to another request.
        AnswerShownOnceError: the answer held a secret.
    """
    row = await uow.session.get(IdempotencyRecord, (actor.person_id, repetition.key_sha256))
    if row is None or row.created_at <= uow.now - LIFETIME:
        return None
    if not hmac.compare_digest(row.request_sha256, repetition.request_sha256):
        raise IdempotencyKeyReusedError("this key was used for another request; take a new one")
    if not row.status:
        raise AnswerShownOnceError(
            "this request was done, and its answer is not kept because it held a secret"
        )
    return web.Response(
        status=row.status,
        body=row.body.encode(),
        headers={**row.headers, REPLAY_HEADER: "true"},
    )


async def remember(
    uow: UnitOfWork,
    actor: Actor,
    repetition: Repetition,
    response: web.Response,
    *,
    keep_answer: bool,
) -> None:
    """Store the answer beside the effect.

    Raises:
        IdempotencyKeyInUseError: another request with the key was faster; this one is undone.
    """
    await uow.session.execute(
        delete(IdempotencyRecord).where(
            col(IdempotencyRecord.person_id) == actor.person_id,
            col(IdempotencyRecord.created_at) <= uow.now - LIFETIME,
        )
    )
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    row = IdempotencyRecord(
        person_id=actor.person_id,
        key_sha256=repetition.key_sha256,
        request_sha256=repetition.request_sha256,
        status=response.status if keep_answer else 0,
        body=(response.text or "") if keep_answer else "",
        headers=kept if keep_answer else {},
        created_at=uow.now,
    )
    uow.session.add(row)
    try:
        await uow.session.flush()
    except IntegrityError as exc:
        raise IdempotencyKeyInUseError(
            "a request with this key is being answered; send it again for its answer"
        ) from exc
